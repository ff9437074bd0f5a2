import { backgroundTimer } from './background-timer.js'
import { longestTimeoutMs } from './timeouts.js'

/** Something that waits for a point in time. Only {@link Alarms} sets its fields. */
export interface Sleeper {
  onAlarm(): void
  /** among which this one waits; undefined for a sleeper without an alarm */
  alarms: Alarms | undefined
  /** on the clock of `performance.now()` */
  alarmAt: number
  /** greater than those of alarms that were set before */
  alarmOrder: number
  /** place in the heap */
  alarmIndex: number
}

/**
 * Calls `onAlarm` once, at `at` on the clock of `performance.now()` or shortly afterwards. A sleeper has one alarm:
 * this one replaces an earlier one.
 */
export function setAlarm(sleeper: Sleeper, at: number): void {
  cancelAlarm(sleeper)
  if (!current.isOfThisClock) current = new Alarms()
  current.add(sleeper, at)
}

/** Takes an alarm back; does nothing for a sleeper without one. */
export function cancelAlarm(sleeper: Sleeper): void {
  sleeper.alarms?.delete(sleeper)
}

/**
 * Many alarms on one timer: a timer takes 300 bytes, and each of ten thousand connections waits for two times. The
 * timer is set for the earliest alarm and does not keep the process alive. Alarms of the same time come in the order in
 * which they were set.
 *
 * All alarms of a thread wait together, as long as the thread keeps its clock. A test may put a clock of its own in
 * place; alarms of one clock must not wait for a timer of another.
 */
export class Alarms {
  readonly #clock = performance
  readonly #setTimeout = setTimeout
  readonly #clearTimeout = clearTimeout
  /** a binary heap: the earliest is the first */
  readonly #sleepers: Sleeper[] = []
  #added = 0
  #timer: NodeJS.Timeout | undefined
  #timerAt = Infinity

  /** Whether a timer that starts now runs on the clock of these alarms. */
  get isOfThisClock(): boolean {
    return this.#setTimeout === setTimeout && this.#clock === performance
  }

  /** Adds the alarm of a sleeper that has none. */
  add(sleeper: Sleeper, at: number): void {
    sleeper.alarms = this
    sleeper.alarmAt = at
    sleeper.alarmOrder = this.#added++
    this.#rise(sleeper, this.#sleepers.length)
    this.#watch()
  }

  /** Takes out an alarm of these. */
  delete(sleeper: Sleeper): void {
    this.#remove(sleeper)
    if (this.#sleepers.length === 0) this.#stopTimer()
  }

  /** Has a timer for the earliest alarm. A timer for an alarm that was taken out stays: it starts the next one. */
  #watch(): void {
    const at = this.#sleepers[0]?.alarmAt ?? Infinity
    if (at >= this.#timerAt) return
    this.#stopTimer()
    this.#timerAt = at
    // Rounded up: a timer that fires early would be set again for a fraction of a millisecond.
    const delayMs = Math.min(longestTimeoutMs, Math.ceil(Math.max(0, at - this.#clock.now())))
    this.#timer = backgroundTimer(() => this.#ring(), delayMs, this.#setTimeout)
  }

  #stopTimer(): void {
    const clear = this.#clearTimeout
    clear(this.#timer)
    this.#timer = undefined
    this.#timerAt = Infinity
  }

  #ring(): void {
    this.#stopTimer()
    const time = this.#clock.now()
    try {
      // Each at most once: a sleeper may set its next alarm for this very moment.
      for (let left = this.#sleepers.length; left > 0; left--) {
        const earliest = this.#sleepers[0]
        if (!earliest || earliest.alarmAt > time) break
        this.#remove(earliest)
        earliest.onAlarm()
      }
    } finally {
      // Also after an error of one sleeper, which is none of the others.
      this.#watch()
    }
  }

  #remove(sleeper: Sleeper): void {
    sleeper.alarms = undefined
    const last = this.#sleepers.pop()
    if (!last || last === sleeper) return
    // The last alarm takes the free place, and goes on from there to its own.
    const { alarmIndex } = sleeper
    this.#sink(last, alarmIndex)
    this.#rise(last, last.alarmIndex)
  }

  /** Puts an alarm at a free place, or nearer to the first. */
  #rise(sleeper: Sleeper, place: number): void {
    let index = place
    while (index > 0) {
      const parent = (index - 1) >> 1
      const above = this.#sleepers[parent]
      if (!above || isBefore(above, sleeper)) break
      this.#put(above, index)
      index = parent
    }
    this.#put(sleeper, index)
  }

  /** Puts an alarm at a free place, or further from the first. */
  #sink(sleeper: Sleeper, place: number): void {
    let index = place
    for (let below = this.#below(index); below && isBefore(below, sleeper); below = this.#below(index)) {
      const { alarmIndex } = below
      this.#put(below, index)
      index = alarmIndex
    }
    this.#put(sleeper, index)
  }

  /** Returns the earlier of the two alarms below a place. */
  #below(index: number): Sleeper | undefined {
    const left = this.#sleepers[2 * index + 1]
    const right = this.#sleepers[2 * index + 2]
    return left && right && isBefore(right, left) ? right : left
  }

  #put(sleeper: Sleeper, index: number): void {
    this.#sleepers[index] = sleeper
    sleeper.alarmIndex = index
  }
}

let current = new Alarms()

function isBefore(one: Sleeper, other: Sleeper): boolean {
  return one.alarmAt < other.alarmAt || (one.alarmAt === other.alarmAt && one.alarmOrder < other.alarmOrder)
}
