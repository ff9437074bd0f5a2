import { chmod, type FileHandle, mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { lockFolder } from '../../../../shared/files/folder-lock.js'
import type { Logger } from '../../../../shared/values/log.js'

/** When entries reach the disk itself: with each write, within 200 ms, or when the system pleases. */
export type FsyncMode = 'always' | 'interval' | 'never'

/** What {@link openJournal} needs. */
export interface OpenJournalOptions {
  /** made with mode 0700 if it is missing */
  folder: string
  fsync: FsyncMode
  logger: Logger
  /** a segment that is larger gets no more entries; default 8 MiB */
  segmentBytes?: number
}

/** What was live for a key when the journal was opened. */
export interface RecoveredKey {
  key: string
  /** the newest payload of each slot, in the order of their first entries */
  slots: ReadonlyMap<string, Buffer>
}

/** How {@link Journal.put} treats the other slots of the key. */
export interface PutOptions {
  /** the key's other slots are gone with the same frame: either both happened or neither */
  replaces?: boolean
}

/**
 * A log of keys on disk: each key has slots, and each slot its newest payload. Written entries survive the end of the
 * process; synced ones also a power cut.
 */
export interface Journal {
  /** Returns all that was live at opening, in the order of the keys' first entries. A second call returns nothing. */
  takeRecovered(): RecoveredKey[]
  /**
   * Makes `payload` the newest of a key's slot. Resolves when it is written; under `always`, when it is synced. Puts of
   * one turn share a write.
   * @throws the error of the disk; the entry is not live then, and what was live before still is
   */
  put(key: string, slot: string, payload: string | Buffer, options?: PutOptions): Promise<void>
  /**
   * Forgets a key. The removal is written with a later write: if the process dies before, the key is recovered once
   * more.
   */
  remove(key: string): void
  /**
   * Writes what is live anew, and deletes all files that were there before: when the promise resolves, no file has a
   * byte of an entry that was removed or replaced.
   * @throws the error of the disk; nothing that is live is lost then
   */
  rewrite(): Promise<void>
  /** the size of all segments */
  readonly bytes: number
  /** the number of keys that are not removed */
  readonly liveKeys: number
  /** the error of the newest write, until a write succeeds */
  readonly fault: Error | undefined
  /** Writes and syncs all pending entries, and releases the folder. Later puts are rejected. */
  close(): Promise<void>
}

/**
 * Opens the journal in a folder, which belongs to this process until `close()` or the end of the process.
 * @throws PRECONDITION_FAILED `data_in_use` if another process has the folder; the error of the disk if the folder
 *   cannot be read or written
 */
export async function openJournal(options: OpenJournalOptions): Promise<Journal> {
  const { folder, fsync } = options
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await chmod(folder, 0o700)
  const lock = await lockFolder(folder, 'outbox')
  try {
    const path = join(folder, 'journal')
    const { live, order } = await readEntries(path)
    const file = await open(path, 'a', 0o600)
    return new FileJournal(path, file, lock, fsync, live, order, (await file.stat()).size)
  } catch (error) {
    await lock.release()
    throw error
  }
}

type Entry = [key: string, slot: string, payload: string, replaces: boolean] | [key: string]

async function readEntries(path: string) {
  const live = new Map<string, Map<string, Buffer>>()
  const text = await readFile(path, 'utf8').catch(() => '')
  for (const line of text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .slice(0, -1)) {
    // The lines are this file's own.
    const [key, slot, payload, replaces] = JSON.parse(line) as Entry
    if (slot === undefined || payload === undefined) live.delete(key)
    else {
      const slots = live.get(key) ?? new Map<string, Buffer>()
      if (replaces) slots.clear()
      live.set(key, slots.set(slot, Buffer.from(payload, 'base64')))
    }
  }
  return { live, order: [...live] }
}

class FileJournal implements Journal {
  bytes: number
  fault: Error | undefined
  #file: FileHandle
  readonly #path: string
  readonly #lock: { release(): Promise<void> }
  readonly #fsync: FsyncMode
  readonly #keys: Set<string>
  #recovered: [string, Map<string, Buffer>][]
  #writing: Promise<void> = Promise.resolve()

  constructor(
    path: string,
    file: FileHandle,
    lock: { release(): Promise<void> },
    fsync: FsyncMode,
    live: ReadonlyMap<string, unknown>,
    recovered: [string, Map<string, Buffer>][],
    bytes: number,
  ) {
    this.#path = path
    this.#file = file
    this.#lock = lock
    this.#fsync = fsync
    this.#keys = new Set(live.keys())
    this.#recovered = recovered
    this.bytes = bytes
  }

  get liveKeys(): number {
    return this.#keys.size
  }

  takeRecovered(): RecoveredKey[] {
    const recovered = this.#recovered.map(([key, slots]) => ({ key, slots }))
    this.#recovered = []
    return recovered
  }

  put(key: string, slot: string, payload: string | Buffer, { replaces = false }: PutOptions = {}): Promise<void> {
    this.#keys.add(key)
    return this.#append([key, slot, Buffer.from(payload).toString('base64'), replaces])
  }

  remove(key: string): void {
    if (this.#keys.delete(key)) this.#append([key]).catch(() => {})
  }

  #append(entry: Entry): Promise<void> {
    const line = `${JSON.stringify(entry)}\n`
    const written = this.#writing.then(async () => {
      await this.#file.appendFile(line)
      this.bytes += line.length
      if (this.#fsync === 'always') await this.#file.datasync()
    })
    this.#writing = written.catch(() => {})
    return written
  }

  rewrite(): Promise<void> {
    const rewritten = this.#writing.then(async () => {
      const { order } = await readEntries(this.#path)
      const lines = order.flatMap(([key, slots]) =>
        [...slots].map(([slot, payload]) => `${JSON.stringify([key, slot, payload.toString('base64'), false])}\n`),
      )
      const copy = `${this.#path}-new`
      await rm(copy, { force: true })
      const file = await open(copy, 'a', 0o600)
      await file.appendFile(lines.join(''))
      await file.datasync()
      await rename(copy, this.#path)
      await this.#file.close()
      this.#file = file
      this.bytes = (await file.stat()).size
    })
    this.#writing = rewritten.catch(() => {})
    return rewritten
  }

  async close(): Promise<void> {
    await this.#writing
    await this.#file.datasync()
    await this.#file.close()
    await this.#lock.release()
  }
}
