import type { Logger } from '../../../../shared/values/log.js'
import { entryBytes } from './frame.js'
import { type Append, type Group, GroupMaker } from './group.js'
import type { LiveEntries } from './live-entries.js'
import type { Rewriter } from './rewriter.js'
import type { Segment } from './segment.js'
import type { FsyncMode, Segments } from './segments.js'
import { WholeWrites } from './whole-writes.js'

/** Options of {@link Writer}. */
export interface WriterOptions {
  segments: Segments
  live: LiveEntries
  fsync: FsyncMode
  logger: Logger
  /** has entries that are to be written again, before others */
  rewriter: Pick<Rewriter, 'isNeeded' | 'next'>
  /** runs after each group that was tried */
  afterGroup(): void
}

/**
 * Writes entries in the order in which they were added. One group is under way at a time; entries that are added
 * meanwhile, or in the same turn, share the next one.
 */
export class Writer {
  /** the error of the last group, until one is written */
  fault: Error | undefined
  readonly #options: WriterOptions
  readonly #groups = new GroupMaker()
  readonly #writes = new WholeWrites()
  readonly #appends: Append[] = []
  #running: Promise<void> | undefined

  constructor(options: WriterOptions) {
    this.#options = options
  }

  /** whether entries are to be written that no group has taken yet */
  get hasWork(): boolean {
    return this.#appends.length > 0 || this.#options.rewriter.isNeeded
  }

  /** Adds entries to the next group. */
  add(append: Append): void {
    this.#appends.push(append)
    void this.run()
  }

  /** Adds entries to the group of a later {@link add} or {@link run}. */
  addLater(append: Append): void {
    this.#appends.push(append)
  }

  /** Resolves when all entries were written, or when the disk has rejected the newest group. */
  run(): Promise<void> {
    this.#running ??= this.#run()
    return this.#running
  }

  async #run(): Promise<void> {
    // Entries of one turn share a group.
    await undefined
    try {
      while (this.hasWork) {
        if (this.#options.rewriter.isNeeded) this.#appends.unshift(...(await this.#options.rewriter.next()))
        if (this.#appends.length > 0) await this.#writeGroup()
        // Entries of the journal itself wait for the next attempt; a caller gets an attempt of its own.
        if (this.fault && !this.#appends.some(({ caller }) => caller)) break
      }
    } finally {
      this.#running = undefined
    }
  }

  async #writeGroup(): Promise<void> {
    let group: Group | undefined
    try {
      const { segment, file } = await this.#options.segments.writable()
      group = this.#groups.take(this.#appends, segment.number)
      await this.#writes.write(file, group.bytes, group.length, segment.bytes)
      if (this.#options.fsync === 'always') await file.sync()
      this.#written(group, segment)
    } catch (error) {
      await this.#failed(group?.appends ?? this.#appends.splice(0), error)
    }
    this.#options.afterGroup()
  }

  #written({ appends, ends }: Group, segment: Segment): void {
    if (this.fault) this.#options.logger.info({ file: segment.path }, 'the journal can be written again')
    this.fault = undefined
    const base = segment.bytes
    let start = 0
    for (const [index, { entries, caller }] of appends.entries()) {
      const end = ends[index] ?? start
      const bytes = entryBytes({ entries, length: end - start })
      for (const entry of entries) {
        this.#options.live.apply(entry, segment, base + start, bytes)
        if (this.#options.fsync === 'interval') segment.unsynced.push({ entry, at: base + start })
      }
      start = end
      caller?.resolve()
    }
    segment.bytes = base + start
  }

  async #failed(appends: readonly Append[], error: unknown): Promise<void> {
    const cause = error instanceof Error ? error : new Error(String(error))
    if (!this.fault) this.#options.logger.error({ err: cause }, 'the journal cannot be written')
    this.fault = cause
    await this.#options.segments.abandon()
    this.#appends.unshift(...appends.filter(({ caller }) => !caller))
    for (const { caller } of appends) caller?.reject(cause)
  }
}
