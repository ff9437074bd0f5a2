import { type Entry, enoughFrameBytes, frameBytes, writeFrame } from './frame.js'

/** Entries that are to be written as one frame, and who waits for that. */
export interface Append {
  entries: readonly Entry[]
  /** without a caller the entries are the journal's own, and are written again until the disk takes them */
  caller?: { resolve(): void; reject(error: unknown): void }
}

/** Frames that are written at once. */
export interface Group {
  appends: readonly Append[]
  bytes: Buffer
  length: number
  /** where each frame ends */
  ends: readonly number[]
}

const groupBytes = 256 * 1024

/** Makes groups, one at a time: the frames of the next one overwrite those of the last one. */
export class GroupMaker {
  /** texts are encoded in their place, without a measuring first and a copy afterwards */
  #buffer: Buffer | undefined

  /** Takes as many appends from the beginning of a list as fit into one group, and at least one. */
  take(appends: Append[], segment: number): Group {
    const [first] = appends
    if (first && enoughBytes(first) > groupBytes) return this.#takeLarge(appends, first, segment)
    this.#buffer ??= Buffer.allocUnsafeSlow(groupBytes)
    const ends: number[] = []
    let length = 0
    for (const append of appends) {
      if (length + enoughBytes(append) > groupBytes) break
      length = writeFrame(this.#buffer, length, segment, append.entries)
      ends.push(length)
    }
    return { appends: appends.splice(0, ends.length), bytes: this.#buffer, length, ends }
  }

  #takeLarge(appends: Append[], { entries }: Append, segment: number): Group {
    const bytes = Buffer.allocUnsafeSlow(frameBytes(entries))
    writeFrame(bytes, 0, segment, entries)
    return { appends: appends.splice(0, 1), bytes, length: bytes.length, ends: [bytes.length] }
  }
}

function enoughBytes({ entries }: Append): number {
  let total = 0
  for (const entry of entries) total += enoughFrameBytes(entry)
  return total
}
