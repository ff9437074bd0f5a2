/** The waits between attempts: full jitter, from `reconnectMinMs` to `reconnectMaxMs`. */

/** Settings of {@link Backoff}. */
export interface BackoffTimes {
  readonly reconnectMinMs: number
  readonly reconnectMaxMs: number
}

/** Has no clock: its user waits. */
export class Backoff {
  readonly #times: BackoffTimes
  readonly #random: () => number
  #failures = 0

  constructor(times: BackoffTimes, random: () => number) {
    this.#times = times
    this.#random = random
  }

  /** Returns the wait before the next attempt, at least `askedMs` within the maximum. */
  next(askedMs = 0): number {
    const { reconnectMinMs, reconnectMaxMs } = this.#times
    const most = Math.min(reconnectMaxMs, reconnectMinMs * 2 ** this.#failures)
    this.#failures++
    return Math.max(Math.min(askedMs, reconnectMaxMs), this.#random() * most)
  }

  /** The next failure is a first one again. */
  reset(): void {
    this.#failures = 0
  }
}
