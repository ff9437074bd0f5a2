import type { Logger } from '../../../../shared/values/log.js'
import { removeDamaged } from './damage.js'
import { maxKeyBytes, maxSlotBytes } from './frame.js'
import { type JournalFiles, nodeFiles } from './journal-files.js'
import type { LiveEntries } from './live-entries.js'
import { type Recovered, recover } from './recovery.js'
import { Rewriter } from './rewriter.js'
import type { Segment } from './segment.js'
import { type FsyncMode, Segments } from './segments.js'
import { Upkeep } from './upkeep.js'
import { Writer } from './writer.js'

export type { FsyncMode } from './segments.js'

/** Options of {@link openJournal}. */
export interface OpenJournalOptions {
  /** made with mode 0700 if it is missing */
  folder: string
  fsync: FsyncMode
  logger: Logger
  /** a file of this size gets no more entries; default 8 MiB */
  segmentBytes?: number
  /** default: those of this machine */
  files?: JournalFiles
}

/** The live payloads of a key when the journal was opened. */
export interface RecoveredKey {
  key: string
  /** the newest payload of each slot */
  slots: ReadonlyMap<string, Buffer>
}

/** How {@link Journal.put} treats the other slots of the key. */
export interface PutOptions {
  /** the key's other slots are gone with the same frame: either both happened or neither */
  replaces?: boolean
}

/**
 * A log of keys on disk: each key has slots, and each slot its newest payload. Written entries survive the end of the
 * process; synced ones also a power cut. It uses no library: embedded stores are native builds, and none of the others
 * reads on behind a damaged part.
 */
export interface Journal {
  /** Returns all that was live at opening, in the order of the keys' first entries. A second call returns nothing. */
  takeRecovered(): RecoveredKey[]
  /**
   * Makes `payload` the newest of a key's slot. Resolves when it is written; under `always`, when it is synced. Puts of
   * one turn share a write. A buffer must not change until then.
   * @throws the error of the disk; the entry is not live then, and what was live before still is
   */
  put(key: string, slot: string, payload: string | Buffer, options?: PutOptions): Promise<void>
  /**
   * Forgets a key. The removal is written with a later entry, or soon: if the process dies before, the key is recovered
   * once more.
   */
  remove(key: string): void
  /**
   * Writes what is live anew, and deletes all files that were there before, also copies of damaged parts: when the
   * promise resolves, no file has a byte of an entry that was removed or replaced.
   * @throws the error of the disk, also of a removal that waits to be written; nothing that is live is lost then
   */
  rewrite(): Promise<void>
  /** the size of all segments */
  readonly bytes: number
  /** the number of keys with a written entry that are not removed */
  readonly liveKeys: number
  /** the error of the newest write or sync, until one succeeds */
  readonly fault: Error | undefined
  /**
   * Writes all pending entries, syncs them unless `fsync` is `never`, and releases the folder. Later puts are rejected.
   * An error of the disk is logged: what was written is there at the next start, unless the power is cut.
   */
  close(): Promise<void>
}

const defaultSegmentBytes = 8 * 1024 * 1024

/**
 * Opens the journal in a folder, which belongs to this process until `close()` or the end of the process.
 * @throws PRECONDITION_FAILED `data_in_use` if another process has the folder; the error of the disk if the folder
 *   cannot be read or written
 */
export async function openJournal(options: OpenJournalOptions): Promise<Journal> {
  const { folder, files = nodeFiles, logger } = options
  await files.makeFolder(folder)
  const lock = await files.lock(folder)
  try {
    const recovered = await recover({ folder, files, logger })
    const journal = new SegmentedJournal({ ...options, files }, recovered, lock)
    await journal.begin()
    return journal
  } catch (error) {
    await lock.release()
    throw error
  }
}

class SegmentedJournal implements Journal {
  readonly #options: OpenJournalOptions & { files: JournalFiles }
  readonly #lock: { release(): Promise<void> }
  readonly #live: LiveEntries
  readonly #segments: Segments
  readonly #rewriter: Rewriter
  readonly #writer: Writer
  readonly #upkeep: Upkeep
  #recovered: Recovered['payloads']
  #rewriting: Promise<void> = Promise.resolve()
  #closed: Promise<void> | undefined

  constructor(
    options: OpenJournalOptions & { files: JournalFiles },
    { segments, live, payloads }: Recovered,
    lock: { release(): Promise<void> },
  ) {
    const parts = { ...options, segmentBytes: options.segmentBytes ?? defaultSegmentBytes, live }
    this.#options = options
    this.#lock = lock
    this.#live = live
    this.#recovered = payloads
    this.#segments = new Segments(parts, segments)
    this.#rewriter = new Rewriter({ ...parts, segments: this.#segments })
    this.#writer = new Writer({
      ...parts,
      segments: this.#segments,
      rewriter: this.#rewriter,
      afterGroup: () => this.#upkeep.plan(),
    })
    this.#upkeep = new Upkeep({ ...parts, segments: this.#segments, writer: this.#writer })
  }

  get bytes(): number {
    return this.#segments.bytes
  }

  get liveKeys(): number {
    return this.#live.size
  }

  get fault(): Error | undefined {
    return this.#writer.fault ?? this.#upkeep.fault
  }

  /** Syncs the segments that were found: the process that wrote them may have died before it did. */
  async begin(): Promise<void> {
    if (this.#options.fsync !== 'never') {
      for (const segment of this.#segments.list) await this.#syncFound(segment)
    }
    await this.#upkeep.run()
  }

  async #syncFound(segment: Segment): Promise<void> {
    const { files, logger } = this.#options
    try {
      const file = await files.open(segment.path)
      await file.sync().finally(() => file.close())
    } catch (error) {
      logger.warn({ file: segment.path, err: error }, 'a journal file cannot be synced; its entries are written again')
      for (const [key, slots] of this.#recovered) {
        if (!this.#live.placesOf(key).some(place => place.segment === segment)) continue
        const entries = [...slots].map(([slot, payload], index) => ({ key, slot, payload, replaces: index === 0 }))
        this.#writer.addLater({ entries })
      }
    }
  }

  takeRecovered(): RecoveredKey[] {
    const recovered = this.#recovered
    this.#recovered = new Map()
    return [...recovered].map(([key, slots]) => ({ key, slots }))
  }

  put(key: string, slot: string, payload: string | Buffer, { replaces = false }: PutOptions = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw new Error('the journal is closed')
      if (Buffer.byteLength(key) > maxKeyBytes || Buffer.byteLength(slot) > maxSlotBytes)
        throw new RangeError(`a key has up to ${maxKeyBytes} bytes and a slot ${maxSlotBytes}`)
      this.#writer.add({ entries: [{ key, slot, payload, replaces }], caller: { resolve, reject } })
    })
  }

  remove(key: string): void {
    if (this.#closed) return
    this.#live.willRemove(key)
    this.#writer.addLater({ entries: [{ key }] })
    this.#upkeep.plan()
  }

  rewrite(): Promise<void> {
    if (this.#closed) return Promise.reject(new Error('the journal is closed'))
    const rewriting = this.#rewriting.then(() => this.#rewrite())
    this.#rewriting = rewriting.catch(() => {})
    return rewriting
  }

  async #rewrite(): Promise<void> {
    // Removals that wait are written first, or the entries that they remove would be written anew.
    await this.#writer.run()
    if (this.#writer.fault) throw this.#writer.fault
    const old = [...this.#segments.list]
    this.#rewriter.writeAll()
    await this.#upkeep.run()
    if (old.some(segment => this.#segments.list.includes(segment))) {
      throw this.fault ?? this.#upkeep.deletionError ?? new Error('a journal file cannot be read')
    }
    await removeDamaged(this.#options)
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    await this.#rewriting
    this.#upkeep.stop()
    await this.#upkeep.run()
    await this.#segments.leave()
    await this.#upkeep.run()
    await this.#segments.closeAll()
    await this.#lock.release()
  }
}
