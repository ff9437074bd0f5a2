/** The files of a journal, as the journal uses them. Tests put faults behind this interface. */
import { close, fdatasync, ftruncate, open as openFile, write, writeSync } from 'node:fs'
import { chmod, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { promisify } from 'node:util'
import { lockFolder } from '../../../../shared/files/folder-lock.js'

/** A file that is being written. */
export interface JournalFile {
  /** Writes at a place, and returns how many of the bytes were written. */
  write(bytes: Buffer, length: number, at: number): Promise<number>
  /** The same at once: the thread waits. */
  writeNow(bytes: Buffer, length: number, at: number): number
  sync(): Promise<void>
  cut(length: number): Promise<void>
  close(): Promise<void>
}

/** The file system. */
export interface JournalFiles {
  /** Makes a folder for its owner alone, or closes an existing one to others. */
  makeFolder(folder: string): Promise<void>
  /** Takes the folder for this process. */
  lock(folder: string): Promise<{ release(): Promise<void> }>
  list(folder: string): Promise<string[]>
  read(path: string): Promise<Buffer>
  /** Makes a file that does not exist yet, for its owner alone. */
  create(path: string): Promise<JournalFile>
  /** Opens a file that exists. */
  open(path: string): Promise<JournalFile>
  rename(from: string, to: string): Promise<void>
  remove(path: string): Promise<void>
  /** Makes the names in a folder survive a power cut. */
  syncFolder(folder: string): Promise<void>
}

const [openAsync, closeAsync] = [promisify(openFile), promisify(close)]
const [syncAsync, cutAsync] = [promisify(fdatasync), promisify(ftruncate)]

/** The file system of this machine. */
export const nodeFiles: JournalFiles = {
  async makeFolder(folder) {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await chmod(folder, 0o700).catch((error: NodeJS.ErrnoException) => {
      // Another user's folder stays as it is; the files in it are closed to others all the same.
      if (error.code !== 'EPERM') throw error
    })
  },
  lock: folder => lockFolder(folder, 'outbox'),
  list: folder => readdir(folder),
  read: path => readFile(path),
  create: async path => fileOf(await openAsync(path, 'wx', 0o600)),
  open: async path => fileOf(await openAsync(path, 'r+')),
  rename,
  remove: path => rm(path, { force: true }),
  async syncFolder(folder) {
    const handle = await open(folder, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  },
}

/** Numbers of open files instead of `FileHandle`s, which cannot write at once. */
function fileOf(fd: number): JournalFile {
  return {
    write: (bytes, length, at) =>
      new Promise((resolve, reject) => {
        write(fd, bytes, 0, length, at, (error, written) => (error ? reject(error) : resolve(written)))
      }),
    writeNow: (bytes, length, at) => writeSync(fd, bytes, 0, length, at),
    sync: () => syncAsync(fd),
    cut: length => cutAsync(fd, length),
    close: () => closeAsync(fd),
  }
}
