import { join } from 'node:path'
import type { Entry } from './frame.js'
import type { JournalFile } from './journal-files.js'

/** A file of the journal. Later segments have higher numbers, and no number is used twice. */
export interface Segment {
  readonly number: number
  readonly path: string
  /** the size of its whole frames */
  bytes: number
  /** the size of its entries that no later entry overrides */
  liveBytes: number
  /** open while it is written, or until it is synced */
  file: JournalFile | undefined
  /** its entries that a power cut may still take, if the journal syncs at all */
  unsynced: { entry: Entry; at: number }[]
  /** the error of a sync: the system may have dropped what was not synced, and reports that once */
  syncError: Error | undefined
}

const prefix = 'segment-'

/** Returns a segment without bytes. */
export function newSegment(folder: string, number: number, file?: JournalFile): Segment {
  const path = join(folder, `${prefix}${number}`)
  return { number, path, bytes: 0, liveBytes: 0, file, unsynced: [], syncError: undefined }
}

/** Returns the numbers of all segments among the names in a folder, the oldest first. */
export function segmentNumbers(names: readonly string[]): number[] {
  const numbers = names.flatMap(name => (/^segment-\d{1,15}$/.test(name) ? [Number(name.slice(prefix.length))] : []))
  return numbers.sort((a, b) => a - b)
}

/**
 * Returns the number of the next segment. The clock makes it, so that it is new also in a folder from which all
 * segments were deleted.
 */
export function nextSegmentNumber(newest: number): number {
  return Math.max(newest + 1, Date.now())
}
