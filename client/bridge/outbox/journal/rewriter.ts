import type { Logger } from '../../../../shared/values/log.js'
import { setAside } from './damage.js'
import type { PutEntry } from './frame.js'
import type { Append } from './group.js'
import type { JournalFiles } from './journal-files.js'
import type { LiveEntries } from './live-entries.js'
import type { Segment } from './segment.js'
import { partsOf } from './segment-reader.js'
import type { Segments } from './segments.js'

/** Options of {@link Rewriter}. */
export interface RewriterOptions {
  segments: Segments
  live: LiveEntries
  files: JournalFiles
  logger: Logger
  segmentBytes: number
}

/**
 * Writes entries a second time: those that a failed sync may have lost, those that keep the oldest segment from being
 * deleted while the files are much larger than what is live, and all of them on demand. The copies go before all
 * entries that are waiting, so that no copy overrides a newer entry.
 */
export class Rewriter {
  readonly #options: RewriterOptions
  /** the live entries of all segments up to this number were added to the next groups */
  #added = 0
  /** the live entries of all segments up to this number are to be added */
  #wanted = 0
  #wantsAll = false

  constructor(options: RewriterOptions) {
    this.#options = options
  }

  /** Has all live entries written again with the next groups. */
  writeAll(): void {
    this.#wantsAll = true
  }

  /** whether entries are to be written again */
  get isNeeded(): boolean {
    if (this.#wantsAll || this.#options.segments.list.some(({ syncError }) => syncError)) return true
    return this.#nextSegment() !== undefined
  }

  /** Returns the entries that the next group has to begin with. Call it while no group is under way. */
  async next(): Promise<Append[]> {
    const { segments, live } = this.#options
    const appends: Append[] = []
    if (segments.list.some(({ syncError }) => syncError)) {
      const unsynced = segments.list.filter(segment => segment.unsynced.length > 0)
      appends.push(...unsyncedAgain(unsynced, live))
      for (const segment of unsynced) await segments.giveUp(segment)
    }
    if (this.#wantsAll) {
      await segments.leave()
      this.#wanted = segments.list.at(-1)?.number ?? 0
      this.#wantsAll = false
    }
    const segment = this.#nextSegment()
    if (segment) {
      this.#added = segment.number
      appends.push(...(await this.#liveAgain(segment)))
    }
    return appends
  }

  /** Returns the segment whose live entries are to be added. */
  #nextSegment(): Segment | undefined {
    const { segments, live, segmentBytes } = this.#options
    const oldest = segments.list.findIndex(({ liveBytes }) => liveBytes > 0)
    const segment = segments.list[oldest]
    // Copies of its entries wait to be written, or it cannot be read.
    if (!segment || segment.number <= this.#added) return undefined
    if (segment.number <= this.#wanted) return segment
    // With one segment, the files are no larger than a segment.
    if (oldest === segments.list.length - 1) return undefined
    let bytes = 0
    for (const { bytes: more } of segments.list.slice(oldest)) bytes += more
    return bytes > 2 * live.bytes + segmentBytes ? segment : undefined
  }

  async #liveAgain(segment: Segment): Promise<Append[]> {
    const { live, files, logger } = this.#options
    const appends: Append[] = []
    const frames = new Set<number>()
    let isDamaged = false
    let bytes: Buffer
    try {
      bytes = await files.read(segment.path)
    } catch (error) {
      // It stays, and so do all later ones, until its entries are removed.
      logger.warn({ file: segment.path, err: error }, 'a journal file cannot be read')
      return []
    }
    for (const part of partsOf(bytes, segment.number)) {
      if (part.damage) {
        isDamaged = true
        await setAside(segment, bytes, part, { files, logger })
        continue
      }
      frames.add(part.at)
      for (const entry of part.frame.entries) {
        // The entry replaced older ones, so they are in no later segment; later entries must stay.
        if (entry.slot !== undefined && live.isNewest(entry, segment, part.at))
          appends.push({ entries: [{ ...entry, replaces: false }] })
      }
    }
    if (isDamaged) live.keepOnly(segment, frames)
    return appends
  }
}

/**
 * Returns the entries that were not synced and still count. Those of a key share a frame, since the first one may have
 * to replace a slot that another one sets again.
 */
function unsyncedAgain(segments: readonly Segment[], live: LiveEntries): Append[] {
  const keys = new Map<string, { entries: PutEntry[]; replaces: boolean }>()
  for (const segment of segments) {
    for (const { entry, at } of segment.unsynced) {
      const known = keys.get(entry.key) ?? { entries: [], replaces: false }
      keys.set(entry.key, known)
      // What an entry replaced stays replaced when a later one overrides the entry itself.
      if (entry.slot === undefined || entry.replaces) known.replaces = true
      if (entry.slot !== undefined && live.isNewest(entry, segment, at)) known.entries.push(entry)
    }
  }
  return [...keys].flatMap(([key, { entries, replaces }]) => {
    if (entries.length === 0) return live.has(key) ? [] : [{ entries: [{ key }] }]
    return [{ entries: entries.map((entry, index) => ({ ...entry, replaces: replaces && index === 0 })) }]
  })
}
