import { backgroundTimer } from './background-timer.js'
import { longestTimeoutMs } from './timeouts.js'

/** Something that ends at a point in time. */
export interface Deadline {
  /** on the clock of {@link now} */
  readonly deadlineAt: number
  onDeadline(): void
}

/** Monotonic milliseconds. */
export const now = (): number => performance.now()

/**
 * Many deadlines on one timer. Calls come and go by the thousand and hardly ever reach their deadline, so adding and
 * deleting must cost next to nothing: the timer is set for the earliest deadline seen and, when it fires, for the
 * earliest that is left.
 */
export class Deadlines {
  readonly #entries = new Set<Deadline>()
  #timer: NodeJS.Timeout | undefined
  #timerAt = Infinity

  add(deadline: Deadline): void {
    this.#entries.add(deadline)
    if (deadline.deadlineAt < this.#timerAt) this.#arm(deadline.deadlineAt)
  }

  delete(deadline: Deadline): void {
    this.#entries.delete(deadline)
  }

  /** Stops the timer; nothing fires any more. */
  clear(): void {
    this.#entries.clear()
    this.#disarm()
  }

  #arm(at: number): void {
    this.#disarm()
    this.#timerAt = at
    // Rounded up: a timer that fires early would be set again for a fraction of a millisecond.
    // A peer, a socket or the caller keeps the process alive, not the watch over them.
    this.#timer = backgroundTimer(this.#fire, Math.min(longestTimeoutMs, Math.ceil(Math.max(0, at - now()))))
  }

  #disarm(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#timerAt = Infinity
  }

  readonly #fire = (): void => {
    this.#disarm()
    const time = now()
    let earliest = Infinity
    for (const entry of [...this.#entries]) {
      if (entry.deadlineAt <= time) {
        this.#entries.delete(entry)
        entry.onDeadline()
      } else if (entry.deadlineAt < earliest) earliest = entry.deadlineAt
    }
    if (earliest < this.#timerAt && this.#entries.size > 0) this.#arm(earliest)
  }
}
