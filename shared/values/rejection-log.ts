import type { Logger } from './log.js'

/** The lines of one time: a peer cannot fill the disk, and many peers cannot either. */
const windowMs = 10_000
const linesOfAddress = 10
const linesOfAll = 1_000

/**
 * Bounds the log lines of rejections that anybody can provoke: 10 for one address and 1,000 for all in 10 s. A line
 * behind the window says how many were left out.
 */
export class RejectionLog {
  readonly #logger: Pick<Logger, 'info'>
  #since = Number.NEGATIVE_INFINITY
  /** lines of this window, by address */
  readonly #lines = new Map<string | undefined, number>()
  #all = 0
  #skipped = 0

  /** @param logger takes the numbers of lines that were left out */
  constructor(logger: Pick<Logger, 'info'>) {
    this.#logger = logger
  }

  /** Returns whether a rejection of this address is to be logged now. */
  admits(address: string | undefined): boolean {
    const now = performance.now()
    if (now - this.#since >= windowMs) this.#begin(now)
    const lines = this.#lines.get(address) ?? 0
    if (lines >= linesOfAddress || this.#all >= linesOfAll) {
      this.#skipped++
      return false
    }
    this.#lines.set(address, lines + 1)
    this.#all++
    return true
  }

  #begin(now: number): void {
    const skipped = this.#skipped
    this.#since = now
    this.#lines.clear()
    this.#all = 0
    this.#skipped = 0
    if (skipped > 0) this.#logger.info({ skipped }, 'further rejections were not logged')
  }
}
