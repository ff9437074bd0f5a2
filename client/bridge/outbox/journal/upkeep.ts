import type { Logger } from '../../../../shared/values/log.js'
import type { Segment } from './segment.js'
import type { FsyncMode, Segments } from './segments.js'
import type { Writer } from './writer.js'

/** Options of {@link Upkeep}. */
export interface UpkeepOptions {
  segments: Segments
  writer: Pick<Writer, 'run' | 'addLater' | 'hasWork' | 'fault'>
  fsync: FsyncMode
  logger: Logger
}

/** Time between writing and syncing under `interval`, and until a removal is written that no entry takes along. */
const intervalMs = 200
/** The same after an error: each attempt may begin a new segment. */
const retryMs = 2_000

/** Writes removals that no entry takes along, syncs, and deletes segments, each soon after there is a need. */
export class Upkeep {
  /** the error of the last sync, until one succeeds */
  fault: Error | undefined
  /** the error of the last deletion, until one succeeds: the files take room, and that is all */
  deletionError: Error | undefined
  readonly #options: UpkeepOptions
  #timer: NodeJS.Timeout | undefined
  /** one run after the other */
  #runs: Promise<void> = Promise.resolve()
  #isStopped = false

  constructor(options: UpkeepOptions) {
    this.#options = options
  }

  /** Does what is to be done soon, unless that is planned already. */
  plan(): void {
    if (this.#timer || this.#isStopped || !this.#isNeeded()) return
    this.#timer = setTimeout(() => this.#tick(), this.#hasFault ? retryMs : intervalMs).unref()
  }

  get #hasFault(): boolean {
    return (this.fault ?? this.#options.writer.fault ?? this.deletionError) !== undefined
  }

  #isNeeded(): boolean {
    const { segments, writer } = this.#options
    if (this.#hasFault || writer.hasWork || segments.dead().length > 0) return true
    return segments.list.some(({ unsynced }) => unsynced.length > 0)
  }

  #tick(): void {
    void this.run().then(() => {
      this.#timer = undefined
      this.plan()
    })
  }

  /** Plans nothing any more. */
  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
  }

  /** Writes what waits, syncs what was written, and deletes segments without live entries. */
  run(): Promise<void> {
    this.#runs = this.#runs.then(() => this.#run())
    return this.#runs
  }

  async #run(): Promise<void> {
    const { segments, writer, fsync } = this.#options
    // A caller that puts nothing while there is a fault would never learn that the disk takes entries again.
    if (writer.fault && !writer.hasWork) writer.addLater({ entries: [] })
    await writer.run()
    // What overrides the entries of these segments was written before, so the sync takes it along.
    const dead = segments.dead()
    if (fsync === 'interval') await this.#sync()
    if (this.fault) await writer.run()
    else await this.#delete(dead)
  }

  async #sync(): Promise<void> {
    const { segments, logger } = this.#options
    try {
      await segments.syncNames()
      for (const segment of [...segments.list]) await this.#syncSegment(segment)
      this.fault = undefined
    } catch (error) {
      if (!this.fault) logger.error({ err: error }, 'the journal cannot be synced')
      this.fault = error instanceof Error ? error : new Error(String(error))
    }
  }

  async #syncSegment(segment: Segment): Promise<void> {
    const count = segment.unsynced.length
    if (count === 0) return
    try {
      await segment.file?.sync()
    } catch (error) {
      segment.syncError = error instanceof Error ? error : new Error(String(error))
      throw error
    }
    segment.unsynced.splice(0, count)
    await this.#options.segments.closeIfLeft(segment)
  }

  async #delete(dead: readonly Segment[]): Promise<void> {
    const { segments, logger } = this.#options
    try {
      await segments.delete(dead)
      this.deletionError = undefined
    } catch (error) {
      if (!this.deletionError) logger.warn({ err: error }, 'a journal file cannot be deleted')
      this.deletionError = error instanceof Error ? error : new Error(String(error))
    }
  }
}
