/** Calls of the store by a run: a store that fails for a moment costs a wait, and one that is gone ends the run. */
import type { RunChanges, RunOutcome } from '../run-changes.js'
import type { RunnerParts } from './runner-parts.js'

class StoreGone extends Error {}

/** time between two tries */
const retryMs = 1_000

/**
 * Repeats failed calls for the length of a lease: then another server may have the chat. A change that was stored in
 * spite of its error is `lost` the second time, and the run reads the store again.
 */
export class StoreCalls {
  readonly #parts: RunnerParts
  readonly #signal: AbortSignal

  /** @param signal ends waits between two tries, and the calls */
  constructor(parts: RunnerParts, signal: AbortSignal) {
    this.#parts = parts
    this.#signal = signal
  }

  /**
   * Calls the store.
   * @param isResponse whether an error is the response, and no failure of the store
   */
  async call<T>(
    operation: string,
    work: (store: RunnerParts['store']) => Promise<T>,
    isResponse: (error: unknown) => boolean = () => false,
  ): Promise<T> {
    const { logger, limits, pause } = this.#parts
    const giveUpAt = performance.now() + limits.leaseMs
    for (;;) {
      try {
        return await work(this.#parts.store)
      } catch (error) {
        if (isResponse(error)) throw error
        logger.warn({ err: error, operation }, 'the store failed under a running chat')
        if (performance.now() >= giveUpAt || this.#signal.aborted)
          throw new StoreGone('the store failed', { cause: error })
        await pause(Math.min(retryMs, limits.leaseMs / 10), this.#signal)
      }
    }
  }

  /** Makes a change of a run. */
  async change(work: (changes: RunChanges) => Promise<RunOutcome>): Promise<RunOutcome> {
    const outcome = await this.call('a change', () => work(this.#parts.changes))
    if (outcome.state === 'lost') this.#parts.onEvent('stale_commit')
    return outcome
  }

  /** Returns whether an error says that the store was given up. */
  isGone(error: unknown): boolean {
    return error instanceof StoreGone
  }
}
