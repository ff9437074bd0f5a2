import type { Logger } from '../../../../shared/values/log.js'
import type { JournalFile, JournalFiles } from './journal-files.js'
import { newSegment, nextSegmentNumber, type Segment } from './segment.js'

/** When entries reach the disk itself: with each write, within 200 ms, or when the system pleases. */
export type FsyncMode = 'always' | 'interval' | 'never'

/** Options of {@link Segments}. */
export interface SegmentsOptions {
  folder: string
  fsync: FsyncMode
  files: JournalFiles
  logger: Logger
  /** a segment of this size gets no more entries */
  segmentBytes: number
}

/** The segments of a folder: entries are added to the newest one, and the oldest one is deleted first. */
export class Segments {
  /** the oldest first */
  readonly list: Segment[]
  readonly #options: SegmentsOptions
  #current: { segment: Segment; file: JournalFile } | undefined
  #newest: number
  /** a power cut may still take names of files in the folder */
  #namesAreNew = false

  /** @param found the segments of the folder, the oldest first; none of them gets more entries */
  constructor(options: SegmentsOptions, found: Segment[]) {
    this.#options = options
    this.list = found
    this.#newest = found.at(-1)?.number ?? 0
  }

  /** the size of all segments */
  get bytes(): number {
    return this.list.reduce((total, { bytes }) => total + bytes, 0)
  }

  /**
   * Returns the segment that the next entries go to. It is made if there is none, or if the last one is full.
   * @throws the error of the disk
   */
  async writable(): Promise<{ segment: Segment; file: JournalFile }> {
    if (this.#current && this.#current.segment.bytes >= this.#options.segmentBytes) await this.leave()
    this.#current ??= await this.#create()
    return this.#current
  }

  async #create(): Promise<{ segment: Segment; file: JournalFile }> {
    const { folder, fsync, files } = this.#options
    this.#newest = nextSegmentNumber(this.#newest)
    const segment = newSegment(folder, this.#newest)
    const file = await files.create(segment.path)
    segment.file = file
    this.list.push(segment)
    this.#namesAreNew = true
    try {
      if (fsync === 'always') await this.syncNames()
    } catch (error) {
      await this.#remove(segment)
      throw error
    }
    return { segment, file }
  }

  /** Makes the names of new segments survive a power cut. */
  async syncNames(): Promise<void> {
    if (!this.#namesAreNew) return
    await this.#options.files.syncFolder(this.#options.folder)
    this.#namesAreNew = false
  }

  /** Lets the next entries go to another segment. The file stays open if it has yet to be synced. */
  async leave(): Promise<void> {
    const left = this.#current
    this.#current = undefined
    if (left) await this.closeIfLeft(left.segment)
  }

  /** Leaves the segment in which a write failed, after its whole frames. */
  async abandon(): Promise<void> {
    if (!this.#current) return
    const { segment, file } = this.#current
    try {
      await file.cut(segment.bytes)
      await this.leave()
      if (segment.bytes === 0) await this.#remove(segment)
    } catch (error) {
      // A reader cuts a torn rest off. Entries that are whole in it come back, although their puts were rejected.
      this.#options.logger.warn({ file: segment.path, err: error }, 'a failed write could not be cut off')
      await this.leave()
    }
  }

  /** Closes a segment's file, unless entries still go there. */
  async closeIfLeft(segment: Segment): Promise<void> {
    if (segment !== this.#current?.segment && segment.unsynced.length === 0) await this.#close(segment)
  }

  /** Leaves a segment whose sync failed: what the system dropped then, a later sync does not report. */
  async giveUp(segment: Segment): Promise<void> {
    if (segment === this.#current?.segment) this.#current = undefined
    segment.unsynced = []
    segment.syncError = undefined
    await this.#close(segment)
  }

  /** Closes all files. */
  async closeAll(): Promise<void> {
    for (const segment of this.list) await this.#close(segment)
  }

  async #close(segment: Segment): Promise<void> {
    const { file } = segment
    segment.file = undefined
    // The bytes were written or given up; no error of closing changes that.
    await file?.close().catch(() => {})
  }

  /** Returns the oldest segments up to one with a live entry. */
  dead(): Segment[] {
    const end = this.list.findIndex(segment => segment.liveBytes > 0 || segment === this.#current?.segment)
    return this.list.slice(0, end < 0 ? this.list.length : end)
  }

  /**
   * Deletes segments that {@link dead} returned, in their order: an entry is deleted after those that it overrides, so
   * none comes back.
   */
  async delete(segments: readonly Segment[]): Promise<void> {
    for (const segment of segments) {
      await this.#remove(segment)
      if (this.#options.fsync !== 'never') await this.#options.files.syncFolder(this.#options.folder)
    }
  }

  async #remove(segment: Segment): Promise<void> {
    await this.#close(segment)
    await this.#options.files.remove(segment.path)
    // The abandonment of an empty segment and the deletion of segments without live entries may meet.
    const index = this.list.indexOf(segment)
    if (index >= 0) this.list.splice(index, 1)
  }
}
