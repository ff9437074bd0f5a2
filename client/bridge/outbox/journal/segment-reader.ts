import { claimedEnd, type Frame, headBytes, isWholeUntil, mark, readFrame } from './frame.js'

/** A part of a segment: a frame, or bytes that are none. */
export type Part = { at: number; frame: Frame; damage?: undefined } | DamagedPart

/** Bytes of a segment that are no frame of it. */
export interface DamagedPart {
  at: number
  end: number
  damage: Damage
  frame?: undefined
}

/**
 * Why bytes are no frame of their segment:
 * - `torn` the segment ends within a frame, as a write that was cut short leaves it
 * - `foreign` a whole frame of another segment
 * - `corrupt` anything else
 */
export type Damage = 'torn' | 'foreign' | 'corrupt'

/** Returns the parts of a segment in their order. After damage it goes on with the next whole frame of the segment. */
export function* partsOf(bytes: Buffer, segment: number): Generator<Part> {
  let at = 0
  while (at < bytes.length) {
    const frame = readFrame(bytes, at)
    if (frame?.segment === segment) {
      yield { at, frame }
      at += frame.length
      continue
    }
    const end = frame ? at + frame.length : nextFrame(bytes, at + 1)
    yield { at, end, damage: frame ? 'foreign' : isTorn(bytes, at, end) ? 'torn' : 'corrupt' }
    at = end
  }
}

/** Returns where the next whole frame begins, or the end. */
function nextFrame(bytes: Buffer, from: number): number {
  let at = from
  for (;;) {
    const found = bytes.indexOf(mark, at)
    if (found < 0) return bytes.length
    if (readFrame(bytes, found)) return found
    at = found + 1
  }
}

/**
 * Whether the last bytes are the beginning of a frame, which nothing relied on. After a power cut, zeros may stand
 * where the rest was to be written. A whole frame with a damaged length looks alike, and is told apart by its checksum,
 * or by the mark of a frame behind it.
 */
function isTorn(bytes: Buffer, at: number, end: number): boolean {
  if (end < bytes.length) return false
  let written = end
  while (written > at && bytes[written - 1] === 0) written--
  const begin = bytes.subarray(at, Math.min(written, at + mark.length))
  if (!begin.equals(mark.subarray(0, begin.length))) return false
  if (written < at + headBytes) return true
  if ((claimedEnd(bytes, at) ?? 0) <= written || bytes.indexOf(mark, at + 1) >= 0) return false
  // Of the mark of a torn frame there may be no more than the beginning.
  const ends = [end, written, bytes.lastIndexOf(mark.subarray(0, 1), written - 1)]
  return !ends.some(possible => isWholeUntil(bytes, at, possible))
}
