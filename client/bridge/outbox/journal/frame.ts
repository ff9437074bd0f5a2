/**
 * A frame holds entries that are recovered together or not at all:
 *
 *     mark 4 | segment 6 | length 4 | checksum 4 | entries
 *     kind 1 | slot's length 1 | key's length 2 | payload's length 4 | key | slot | payload
 *
 * The second line is an entry. Numbers are big-endian. The checksum is the CRC-32 of segment, length and entries. The
 * segment's number keeps bytes of another segment, in a file that was renamed or in a block that the file system handed
 * out uncleaned, from being taken for this one's.
 */
import { crc32 } from 'node:zlib'

/** The content of a frame: the newest payload of a slot of a key, or the end of a key. */
export type Entry = PutEntry | RemovalEntry

/** The newest payload of a slot; with `replaces` the key's other slots are gone. */
export interface PutEntry {
  key: string
  slot: string
  payload: string | Buffer
  replaces: boolean
}

/** A key that is gone. */
export interface RemovalEntry {
  key: string
  slot?: undefined
}

/** A frame that was read. The payloads are parts of the bytes that were read. */
export interface Frame {
  segment: number
  entries: (RemovalEntry | (PutEntry & { payload: Buffer }))[]
  /** the number of its bytes */
  length: number
}

/** Returns the share of each entry in the bytes of its frame. */
export function entryBytes({ entries, length }: { entries: readonly Entry[]; length: number }): number {
  return Math.floor(length / entries.length)
}

/** Begins each frame. UTF-8 text contains none of these bytes, so a search for it skips texts. */
export const mark = Buffer.from([0xff, 0xf9, 0xfd, 0xfb])

const segmentAt = 4
const lengthAt = 10
const checksumAt = 14
/** The size of a frame without entries. */
export const headBytes = 18
const entryHeadBytes = 8
const kinds = { removal: 0, put: 1, replacement: 2 }

/** The longest key and slot, in bytes of UTF-8. */
export const maxKeyBytes = 65_535
export const maxSlotBytes = 255

/** Returns the number of bytes that a frame of these entries takes. */
export function frameBytes(entries: readonly Entry[]): number {
  let total = headBytes
  for (const entry of entries) {
    total += entryHeadBytes + Buffer.byteLength(entry.key)
    if (entry.slot !== undefined) total += Buffer.byteLength(entry.slot) + byteLength(entry.payload)
  }
  return total
}

/** Returns a number of bytes that is enough for a frame of one entry, without reading its texts. */
export function enoughFrameBytes(entry: Entry): number {
  // A character of a JavaScript string takes up to three bytes.
  const head = headBytes + entryHeadBytes + 3 * entry.key.length
  if (entry.slot === undefined) return head
  return head + 3 * entry.slot.length + (typeof entry.payload === 'string' ? 3 : 1) * entry.payload.length
}

function byteLength(payload: string | Buffer): number {
  return typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length
}

/** Writes a frame into `target`, which has room for it, and returns the place behind it. */
export function writeFrame(target: Buffer, at: number, segment: number, entries: readonly Entry[]): number {
  let end = at + headBytes
  for (const entry of entries) end = writeEntry(target, end, entry)
  target.set(mark, at)
  target.writeUIntBE(segment, at + segmentAt, 6)
  target.writeUInt32BE(end - at - headBytes, at + lengthAt)
  target.writeUInt32BE(checksum(target, at, end), at + checksumAt)
  return end
}

function writeEntry(target: Buffer, at: number, entry: Entry): number {
  const keyBytes = target.write(entry.key, at + entryHeadBytes)
  let end = at + entryHeadBytes + keyBytes
  let [kind, slotBytes, payloadBytes] = [kinds.removal, 0, 0]
  if (entry.slot !== undefined) {
    kind = entry.replaces ? kinds.replacement : kinds.put
    slotBytes = target.write(entry.slot, end)
    end += slotBytes
    const { payload } = entry
    payloadBytes = typeof payload === 'string' ? target.write(payload, end) : payload.copy(target, end)
    end += payloadBytes
  }
  target[at] = kind
  target[at + 1] = slotBytes
  target.writeUInt16BE(keyBytes, at + 2)
  target.writeUInt32BE(payloadBytes, at + 4)
  return end
}

function checksum(bytes: Buffer, at: number, end: number): number {
  const head = crc32(bytes.subarray(at + segmentAt, at + checksumAt))
  return crc32(bytes.subarray(at + headBytes, end), head)
}

/** Returns the whole frame, of any segment, that begins at a place; undefined if there is none. */
export function readFrame(bytes: Buffer, at: number): Frame | undefined {
  const end = claimedEnd(bytes, at)
  if (end === undefined || end > bytes.length) return undefined
  if (checksum(bytes, at, end) !== bytes.readUInt32BE(at + checksumAt)) return undefined
  const entries = readEntries(bytes, at + headBytes, end)
  return entries && { segment: bytes.readUIntBE(at + segmentAt, 6), entries, length: end - at }
}

/** Returns where a frame ends by its head, whole or not; undefined if no whole head begins at the place. */
export function claimedEnd(bytes: Buffer, at: number): number | undefined {
  if (at + headBytes > bytes.length || bytes.compare(mark, 0, mark.length, at, at + mark.length) !== 0) return undefined
  return at + headBytes + bytes.readUInt32BE(at + lengthAt)
}

/** Returns whether a frame is whole if it ends at a place, whatever its head says of its length. */
export function isWholeUntil(bytes: Buffer, at: number, end: number): boolean {
  if (at + headBytes > end || end > bytes.length) return false
  const head = Buffer.from(bytes.subarray(at + segmentAt, at + checksumAt))
  head.writeUInt32BE(end - at - headBytes, lengthAt - segmentAt)
  return crc32(bytes.subarray(at + headBytes, end), crc32(head)) === bytes.readUInt32BE(at + checksumAt)
}

function readEntries(bytes: Buffer, from: number, end: number): Frame['entries'] | undefined {
  const entries: Frame['entries'] = []
  let at = from
  while (at < end) {
    if (at + entryHeadBytes > end) return undefined
    const kind = bytes[at]
    const slotFrom = at + entryHeadBytes + bytes.readUInt16BE(at + 2)
    const payloadFrom = slotFrom + (bytes[at + 1] ?? 0)
    const next = payloadFrom + bytes.readUInt32BE(at + 4)
    if (next > end) return undefined
    const key = bytes.toString('utf8', at + entryHeadBytes, slotFrom)
    if (kind === kinds.removal) entries.push({ key })
    else if (kind === kinds.put || kind === kinds.replacement) {
      const slot = bytes.toString('utf8', slotFrom, payloadFrom)
      const replaces = kind === kinds.replacement
      entries.push({ key, slot, payload: bytes.subarray(payloadFrom, next), replaces })
    } else return undefined
    at = next
  }
  return entries
}
