import { abortablePause } from '../../../shared/values/abortable.js'
import type { Logger } from '../../../shared/values/log.js'
import type { DeadLetter, DeadLetters } from './dead-letters.js'
import type { RejectedRecord } from './parcel.js'

/** Options of {@link LetterWatch}. */
export interface LetterWatchOptions {
  letters: DeadLetters
  /** the outbox's folder, for the log */
  folder: string
  logger: Logger
  /** Takes the records of a letter that is sent again. Resolves when they are written. */
  takeOver: (letter: DeadLetter) => Promise<void>
  /** ends the watch */
  signal: AbortSignal
}

/** Time between two looks for retries. */
const lookMs = 5_000

/** Time between two removals of dead letters that are too old. */
const expiryMs = 3_600_000

/**
 * The dead letters of an open outbox: keeps rejected records, sends letters again that an operator has moved, and
 * removes old ones.
 */
export class LetterWatch {
  readonly #options: LetterWatchOptions
  /** names of retried letters whose files are still there */
  readonly #takenOver = new Set<string>()
  /** the work on letters, one after the other */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: LetterWatchOptions) {
    this.#options = options
  }

  /** Watches until the signal aborts. Never rejects. */
  async run(): Promise<void> {
    await Promise.all([this.#watchRetries(), this.#watchExpiry()])
  }

  /** Returns whether a rejected record is kept; if not, it stays in the journal and is sent at the next start. */
  async keep(rejected: RejectedRecord): Promise<boolean> {
    try {
      await this.#options.letters.keep(rejected)
      return true
    } catch (error) {
      const { kind, id } = rejected.record
      this.#options.logger.error({ err: error, kind, id }, 'a dead letter could not be kept')
      return false
    }
  }

  /** Works on the letters while the watch does not. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => {})
    return result
  }

  async #watchRetries(): Promise<void> {
    const { signal, logger, folder } = this.#options
    while (!signal.aborted) {
      await this.inTurn(() => this.#takeOverRetries()).catch((error: unknown) => {
        logger.warn({ err: error, folder }, 'dead letters cannot be sent again')
      })
      await abortablePause(lookMs, signal)
    }
  }

  async #watchExpiry(): Promise<void> {
    const { letters, signal, logger, folder } = this.#options
    for (;;) {
      await abortablePause(expiryMs, signal)
      if (signal.aborted) return
      await this.inTurn(() => letters.expire(new Date())).catch((error: unknown) => {
        logger.warn({ err: error, folder }, 'old dead letters cannot be removed')
      })
    }
  }

  async #takeOverRetries(): Promise<void> {
    const { letters, takeOver } = this.#options
    const retries = await letters.retries()
    const names = new Set(retries.map(({ name }) => name))
    for (const name of this.#takenOver) if (!names.has(name)) this.#takenOver.delete(name)
    for (const letter of retries) {
      if (this.#takenOver.has(letter.name)) continue
      await takeOver(letter)
      this.#takenOver.add(letter.name)
      await letters.takenOver(letter)
    }
  }
}
