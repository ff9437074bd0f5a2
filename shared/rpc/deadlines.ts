import { type Alarms, cancelAlarm, type Sleeper, setAlarm } from './alarms.js'

/** Something that ends at a point in time. */
export interface Deadline {
  /** on the clock of {@link now} */
  readonly deadlineAt: number
  onDeadline(): void
  /** Neighbours among the deadlines of one alarm. Only {@link Deadlines} sets them. */
  previousDeadline?: Deadline | undefined
  nextDeadline?: Deadline | undefined
}

/** Monotonic milliseconds. */
export const now = (): number => performance.now()

/**
 * Many deadlines on one alarm. Calls come and go by the thousand and hardly ever reach their deadline, so adding and
 * deleting must cost next to nothing: the alarm is set for the earliest deadline seen and, when it comes, for the
 * earliest that is left. The deadlines are a linked list: a `Set` of short-lived entries keeps garbage alive, as
 * `CallTable` explains.
 */
export class Deadlines implements Sleeper {
  #first: Deadline | undefined
  #last: Deadline | undefined
  alarms: Alarms | undefined
  alarmAt = Infinity
  alarmOrder = 0
  alarmIndex = 0

  /** Adds a deadline that stands in no list. */
  add(deadline: Deadline): void {
    deadline.previousDeadline = this.#last
    if (this.#last) this.#last.nextDeadline = deadline
    else this.#first = deadline
    this.#last = deadline
    this.#watch(deadline.deadlineAt)
  }

  /** Takes a deadline out; does nothing for a deadline that has fired or was never added. */
  delete(deadline: Deadline): void {
    if (!this.#has(deadline)) return
    const { previousDeadline: previous, nextDeadline: next } = deadline
    if (previous) previous.nextDeadline = next
    else this.#first = next
    if (next) next.previousDeadline = previous
    else this.#last = previous
    deadline.previousDeadline = deadline.nextDeadline = undefined
  }

  #has(deadline: Deadline): boolean {
    return deadline.previousDeadline !== undefined || this.#first === deadline
  }

  /** Takes all deadlines out; nothing fires any more. */
  clear(): void {
    for (const deadline of this.#entries()) this.delete(deadline)
    cancelAlarm(this)
  }

  /** Returns the deadlines of this moment. */
  #entries(): Deadline[] {
    const entries: Deadline[] = []
    for (let entry = this.#first; entry; entry = entry.nextDeadline) entries.push(entry)
    return entries
  }

  /** Sets the alarm for a deadline, unless it comes earlier. */
  #watch(at: number): void {
    if (at < (this.alarms ? this.alarmAt : Infinity)) setAlarm(this, at)
  }

  onAlarm(): void {
    const time = now()
    let earliest = Infinity
    for (const entry of this.#entries()) {
      // Another deadline of this moment may have taken it out: one that closes a connection ends its calls.
      if (!this.#has(entry)) continue
      if (entry.deadlineAt <= time) {
        this.delete(entry)
        entry.onDeadline()
      } else if (entry.deadlineAt < earliest) earliest = entry.deadlineAt
    }
    if (this.#first) this.#watch(earliest)
  }
}
