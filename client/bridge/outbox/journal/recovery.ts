import type { Logger } from '../../../../shared/values/log.js'
import { damagedName, setAside } from './damage.js'
import { entryBytes } from './frame.js'
import type { JournalFiles } from './journal-files.js'
import { LiveEntries } from './live-entries.js'
import { newSegment, type Segment, segmentNumbers } from './segment.js'
import { partsOf } from './segment-reader.js'

/** The content of a folder of segments. */
export interface Recovered {
  /** the oldest first */
  segments: Segment[]
  live: LiveEntries
  /** the live payloads: key → slot → payload, in the order of the keys' first entries */
  payloads: Map<string, Map<string, Buffer>>
}

/** Options of {@link recover}. */
export interface RecoverOptions {
  folder: string
  files: JournalFiles
  logger: Logger
}

/**
 * Reads all segments of a folder. Damage is set aside, and reading goes on behind it; a torn end is cut off.
 * @throws the error of the disk if the folder cannot be read
 */
export async function recover(options: RecoverOptions): Promise<Recovered> {
  const { folder, files } = options
  const recovered: Recovered = { segments: [], live: new LiveEntries(), payloads: new Map() }
  for (const number of segmentNumbers(await files.list(folder))) {
    const segment = newSegment(folder, number)
    const bytes = await files.read(segment.path).catch((error: unknown) => rejectFile(segment, error, options))
    if (!bytes) continue
    recovered.segments.push(segment)
    await takeSegment(segment, bytes, recovered, options)
  }
  return recovered
}

/** Sets a file aside that cannot be read, so that the others can be used. */
async function rejectFile(segment: Segment, error: unknown, { files, logger }: RecoverOptions): Promise<undefined> {
  const copy = damagedName(segment)
  await files.rename(segment.path, copy)
  logger.error({ file: segment.path, copy, err: error }, 'a journal file that cannot be read was set aside')
}

async function takeSegment(
  segment: Segment,
  bytes: Buffer,
  { live, payloads }: Recovered,
  options: RecoverOptions,
): Promise<void> {
  segment.bytes = bytes.length
  for (const part of partsOf(bytes, segment.number)) {
    if (part.damage) {
      if (part.damage === 'torn') await cutOff(segment, part.at, options)
      else await setAside(segment, bytes, part, options)
      continue
    }
    for (const entry of part.frame.entries) {
      live.apply(entry, segment, part.at, entryBytes(part.frame))
      if (entry.slot === undefined) payloads.delete(entry.key)
      else {
        const slots = payloads.get(entry.key) ?? new Map<string, Buffer>()
        if (entry.replaces) slots.clear()
        // A copy, as a part of the file's bytes keeps all of them in memory.
        payloads.set(entry.key, slots.set(entry.slot, Buffer.from(entry.payload)))
      }
    }
  }
}

/** Cuts off a frame that was not written whole: nothing relied on it. */
async function cutOff(segment: Segment, length: number, { files, logger }: RecoverOptions): Promise<void> {
  const fields = { file: segment.path, at: length, bytes: segment.bytes - length }
  try {
    const file = await files.open(segment.path)
    try {
      await file.cut(length)
    } finally {
      await file.close()
    }
    segment.bytes = length
    logger.warn(fields, 'the torn end of a journal file was cut off')
  } catch (error) {
    logger.warn({ ...fields, err: error }, 'the torn end of a journal file could not be cut off')
  }
}
