import type { JournalFile } from './journal-files.js'

/** Longest write for which the thread waits: some microseconds of copying into the system's memory. */
const maxWaitedBytes = 64 * 1024
/** A write that took longer waited for a disk. */
const slowWriteMs = 10
/** How long no write is waited for afterwards. */
const patienceMs = 10_000

/**
 * Writes bytes to the end. The thread waits for short writes: a tenth of the processor time that a write on another
 * thread takes, and no wait for one that is free. If a disk is slow to take them, later writes go to another thread for
 * a while.
 */
export class WholeWrites {
  #patientUntil = 0

  /** @throws the error of the disk; some of the bytes may have been written then */
  async write(file: JournalFile, bytes: Buffer, length: number, at: number): Promise<void> {
    let done = 0
    while (done < length) {
      const rest = done === 0 ? bytes : bytes.subarray(done, length)
      const written = await this.#write(file, rest, length - done, at + done)
      if (written <= 0) throw new Error(`the disk took ${done} of ${length} bytes`)
      done += written
    }
  }

  #write(file: JournalFile, bytes: Buffer, length: number, at: number): number | Promise<number> {
    const begin = performance.now()
    if (length > maxWaitedBytes || begin < this.#patientUntil) return file.write(bytes, length, at)
    const written = file.writeNow(bytes, length, at)
    const end = performance.now()
    if (end - begin > slowWriteMs) this.#patientUntil = end + patienceMs
    return written
  }
}
