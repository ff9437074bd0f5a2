import { afterTurn } from '../../../shared/rpc/turn.js'

/**
 * Chunks of 64 KiB in one turn of the event loop: 10 ms of the shortest frames, as for a source that is always ready.
 */
const readsPerTurn = 2

/** Lets many sockets read one after the other, a few in each turn of the event loop, so that all others have theirs. */
export class ReadingTurns {
  readonly #waiting: (() => void)[] = []
  #isScheduled = false

  /** Calls `read` in a later turn. */
  wait(read: () => void): void {
    this.#waiting.push(read)
    if (!this.#isScheduled) this.#schedule()
  }

  #schedule(): void {
    this.#isScheduled = true
    afterTurn(this.#take)
  }

  readonly #take = (): void => {
    this.#isScheduled = false
    for (const read of this.#waiting.splice(0, readsPerTurn)) read()
    if (this.#waiting.length > 0 && !this.#isScheduled) this.#schedule()
  }
}
