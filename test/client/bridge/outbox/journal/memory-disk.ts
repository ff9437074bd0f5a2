/** A disk in memory: it fails on demand, its processes can be killed in any operation, and its power can be cut. */
import type { JournalFile, JournalFiles } from '../../../../../client/bridge/outbox/journal/journal-files.js'

/** What a process does with its files. */
export type Operation =
  | 'create'
  | 'open'
  | 'read'
  | 'list'
  | 'write'
  | 'sync'
  | 'cut'
  | 'remove'
  | 'rename'
  | 'syncFolder'

/**
 * Decides about an operation: an error, the number of bytes that a write takes, or a `kill` after a part of the bytes.
 */
export type Fault = (operation: Operation, path: string) => Error | number | { kill: number } | undefined

interface MemoryFile {
  bytes: Buffer
  /** what a power cut leaves for sure */
  synced: Buffer
  /** what was done since the last sync: bytes that were written at a place, or the length that the file was cut to */
  changes: Change[]
}

type Change = { at: number; bytes: Buffer } | { length: number }

/** The files of a folder, by path. */
export class MemoryDisk {
  readonly files = new Map<string, MemoryFile>()
  readonly folder = '/journal'
  /** operations of processes that do not hold the folder */
  readonly trespasses: Operation[] = []
  /** how many turns an operation takes that need not be done at once */
  readonly turns: number
  /** the names that a power cut leaves for sure, and the changes since, in their order */
  #syncedNames = new Map<string, MemoryFile>()
  #nameChanges: ((names: Map<string, MemoryFile>) => void)[] = []
  #holder: MemoryProcess | undefined

  constructor({ turns = 0 }: { turns?: number } = {}) {
    this.turns = turns
  }

  /** Returns the file system as a new process sees it. */
  process(fault: Fault = () => undefined): MemoryProcess {
    return new MemoryProcess(this, fault)
  }

  changeNames(change: (names: Map<string, MemoryFile>) => void): void {
    change(this.files)
    this.#nameChanges.push(change)
  }

  syncNames(): void {
    for (const change of this.#nameChanges.splice(0)) change(this.#syncedNames)
  }

  /** Keeps what was synced, some of the changes of each file, and the first changes of names. */
  cutPower(random: () => number): void {
    const kept = Math.floor(random() * (this.#nameChanges.length + 1))
    for (const change of this.#nameChanges.splice(0).slice(0, kept)) change(this.#syncedNames)
    this.files.clear()
    for (const [path, file] of this.#syncedNames) {
      for (const change of file.changes.splice(0)) {
        if (random() < 0.5) file.synced = changed(file.synced, random() < 0.5 ? change : torn(change, random()))
      }
      file.bytes = file.synced
      this.files.set(path, file)
    }
  }

  use(user: MemoryProcess, operation: Operation): void {
    if (user !== this.#holder) this.trespasses.push(operation)
  }

  async lock(holder: MemoryProcess): Promise<{ release(): Promise<void> }> {
    if (this.#holder && !this.#holder.isDead) throw new Error('the folder is in use')
    this.#holder = holder
    return {
      release: async () => {
        if (this.#holder === holder) this.#holder = undefined
      },
    }
  }
}

/** Returns bytes after a change. Zeros stand in a gap. */
function changed(bytes: Buffer, change: Change): Buffer {
  if ('length' in change) return Buffer.from(bytes.subarray(0, change.length))
  const result = Buffer.alloc(Math.max(bytes.length, change.at + change.bytes.length))
  bytes.copy(result)
  change.bytes.copy(result, change.at)
  return result
}

function torn(change: Change, part: number): Change {
  return 'length' in change ? change : { ...change, bytes: change.bytes.subarray(0, part * change.bytes.length) }
}

/** The file system of one process. */
export class MemoryProcess implements JournalFiles {
  isDead = false
  readonly #disk: MemoryDisk
  readonly #fault: Fault

  constructor(disk: MemoryDisk, fault: Fault) {
    this.#disk = disk
    this.#fault = fault
  }

  /** Begins an operation, and returns the number of bytes that it may write. */
  #begin(operation: Operation, path: string, length = 0): number {
    if (this.isDead) throw new Error('killed')
    this.#disk.use(this, operation)
    const outcome = this.#fault(operation, path) ?? length
    if (outcome instanceof Error) throw outcome
    if (typeof outcome === 'number') return Math.min(outcome, length)
    this.isDead = true
    if (operation !== 'write') throw new Error('killed')
    return Math.round(outcome.kill * length)
  }

  #file(path: string): MemoryFile {
    const file = this.#disk.files.get(path)
    if (!file) throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' })
    return file
  }

  async makeFolder(): Promise<void> {}

  lock(): Promise<{ release(): Promise<void> }> {
    return this.#disk.lock(this)
  }

  async list(folder: string): Promise<string[]> {
    this.#begin('list', folder)
    return [...this.#disk.files.keys()].map(path => path.slice(folder.length + 1)).reverse()
  }

  async read(path: string): Promise<Buffer> {
    this.#begin('read', path)
    return this.#file(path).bytes
  }

  async create(path: string): Promise<JournalFile> {
    this.#begin('create', path)
    if (this.#disk.files.has(path)) throw Object.assign(new Error(`EEXIST: ${path}`), { code: 'EEXIST' })
    const file: MemoryFile = { bytes: Buffer.alloc(0), synced: Buffer.alloc(0), changes: [] }
    this.#disk.changeNames(names => names.set(path, file))
    return this.#handle(path, file)
  }

  async open(path: string): Promise<JournalFile> {
    this.#begin('open', path)
    return this.#handle(path, this.#file(path))
  }

  async rename(from: string, to: string): Promise<void> {
    this.#begin('rename', from)
    const file = this.#file(from)
    this.#disk.changeNames(names => void (names.delete(from) && names.set(to, file)))
  }

  async remove(path: string): Promise<void> {
    this.#begin('remove', path)
    this.#disk.changeNames(names => names.delete(path))
  }

  async syncFolder(folder: string): Promise<void> {
    this.#begin('syncFolder', folder)
    this.#disk.syncNames()
  }

  #handle(path: string, file: MemoryFile): JournalFile {
    const change = (change: Change) => {
      file.bytes = changed(file.bytes, change)
      file.changes.push(change)
    }
    const writeNow = (bytes: Buffer, length: number, at: number) => {
      const taken = this.#begin('write', path, length)
      change({ at, bytes: Buffer.from(bytes.subarray(0, taken)) })
      if (this.isDead) throw new Error('killed')
      return taken
    }
    return {
      writeNow,
      write: async (bytes, length, at) => {
        await this.#turns()
        return writeNow(bytes, length, at)
      },
      sync: async () => {
        const count = file.changes.length
        await this.#turns()
        try {
          this.#begin('sync', path)
          for (const change of file.changes.slice(0, count)) file.synced = changed(file.synced, change)
        } catch (error) {
          // Linux takes what it could not write for written: no later sync tries that again.
          if (!this.isDead) file.changes.splice(0, count)
          throw error
        }
        file.changes.splice(0, count)
      },
      cut: async length => {
        this.#begin('cut', path)
        change({ length })
      },
      close: async () => {},
    }
  }

  /** Lets other work go on for some turns, as many as the disk is slow. */
  async #turns(): Promise<void> {
    for (let turn = 0; turn < this.#disk.turns; turn++) await undefined
  }
}
