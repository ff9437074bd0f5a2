import { now } from './deadlines.js'
import { afterRun, afterTurn } from './turn.js'

/**
 * Work between two turns of the event loop, in milliseconds. The contract says 10: the last unit may begin just before
 * the end, and the clock is looked at only so often.
 */
const budgetMs = 5

/** Work between two looks at the clock, in milliseconds. */
const stepMs = 1

/** Most units between two looks. A look costs 40 ns and an event 2 µs or more: more units would save nothing. */
const maxStep = 64

/** Calls that may begin together, whatever calls cost. */
const minBegun = 4

/** Pulls that go on after a turn, all before the next look at the clock; each goes on while there is time. */
const pullsPerTurn = 4

/** Taken once: a fake clock, which a test may put in its place for some time, must not stop the turns of the thread. */
const immediate: unknown = Reflect.get(globalThis, 'setImmediate')

/**
 * Shares the time between two turns of the event loop among all work of this thread that could go on for ever in
 * microtasks or that comes in bulk: events of sources that are always ready, the calls of a frame, deliveries in
 * memory. A *unit* is one event, one call or one delivery. A *run* is one callback of the event loop with its
 * microtasks.
 *
 * ```
 * resting ──the first unit of a run──▶ running ──the run ends, and its time is added──▶ resting
 * ```
 * Once the added time reaches the budget, units wait until the event loop had a turn. What they take in that turn is
 * forgotten in the next; the runs between the two count once more, since nothing else had its turn behind them. Time
 * between runs does not count, so a process that waits for its peers takes no turn in vain. Few units look at the
 * clock: a look grants as many units as took {@link stepMs} before, and at most twice as many as the look before.
 */
export class TurnBudget {
  /** in runs that have ended since the last turn */
  #spentMs = 0
  /** the part of it after the units that went on in that turn */
  #spentSinceMs = 0
  /** whether this run belongs to units that go on in a turn */
  #isTurnsRun = false
  /** undefined while resting */
  #startedAt: number | undefined
  readonly #delivered = new Grants()
  readonly #pulled = new Grants()
  /** calls that have begun in this run: all, and those that have not ended */
  #begins = 0
  #begun = 0
  #maxBegun = minBegun
  #deliveries: (() => void)[] = []
  #calls: (() => void)[] = []
  #pulls: (() => void)[] = []
  #turn: 'not needed' | 'awaited' = 'not needed'

  /** Returns whether one delivery may begin now. Otherwise the delivery waits, see {@link wait}. */
  deliver(): boolean {
    return this.#delivered.take() || this.#look(this.#delivered)
  }

  /** Returns the same for one pull. */
  pull(): boolean {
    return this.#pulled.take() || this.#look(this.#pulled)
  }

  /**
   * Returns the same for a call, whose work is done later, in microtasks: the clock shows nothing of it before the next
   * call of a frame. Only as many begin as took {@link stepMs} in the runs before, until they end or the run ends. So
   * at most {@link maxStep} slow calls begin together behind quick ones.
   */
  begin(): boolean {
    if (this.#begun >= this.#maxBegun || !this.#hasTime(now())) return false
    this.#begun++
    this.#begins++
    return true
  }

  /** Reports that a call has ended. */
  end(): void {
    if (this.#begun > 0) this.#begun--
  }

  /** Returns the granted unit of a call that does not begin. */
  giveBack(): void {
    this.end()
    if (this.#begins > 0) this.#begins--
  }

  /**
   * Calls `go` once, after a turn of the event loop and in order, with one unit granted. Deliveries go first and pulls
   * last, so that many sources do not delay a call; at least one pull goes on in each turn, whatever the calls do.
   */
  wait(kind: 'delivery' | 'call' | 'pull', go: () => void): void {
    if (kind === 'delivery') this.#deliveries.push(go)
    else if (kind === 'call') this.#calls.push(go)
    else this.#pulls.push(go)
    this.#awaitTurn()
  }

  #awaitTurn(): void {
    if (this.#turn === 'awaited') return
    this.#turn = 'awaited'
    afterTurn(this.#onTurn, immediate)
  }

  #look(grants: Grants): boolean {
    const time = now()
    if (!this.#hasTime(time)) return false
    grants.grant(time)
    return true
  }

  #hasTime(time: number): boolean {
    if (this.#startedAt === undefined) {
      this.#startedAt = time
      afterRun(this.#onRunEnd)
    }
    return this.#spentMs + time - this.#startedAt < budgetMs
  }

  readonly #onRunEnd = (): void => {
    // A clock that was set back in between, as a test may do, gives no time.
    const spentMs = Math.max(0, now() - (this.#startedAt ?? 0))
    // A run that was mostly about other units says nothing about calls.
    if (this.#begins > (this.#delivered.total + this.#pulled.total) / 4) {
      this.#maxBegun = Math.max(minBegun, nextStep(this.#maxBegun, spentMs / this.#begins))
    }
    this.#spentMs += spentMs
    if (!this.#isTurnsRun) this.#spentSinceMs += spentMs
    this.#isTurnsRun = false
    this.#startedAt = undefined
    this.#delivered.reset()
    this.#pulled.reset()
    this.#begins = 0
    this.#begun = 0
  }

  readonly #onTurn = (): void => {
    this.#turn = 'not needed'
    this.#spentMs = this.#spentSinceMs
    this.#spentSinceMs = 0
    this.#isTurnsRun = true
    const { deliveries, calls, pulls } = this.#takeAll()
    const left = {
      deliveries: goOn(deliveries, () => this.deliver()),
      calls: goOn(calls, () => this.begin()),
      pulls: goOn(pulls, count => (count < pullsPerTurn && this.pull()) || count === 0),
    }
    // Units that have gone on and wait again stand behind those that have not.
    this.#deliveries = [...left.deliveries, ...this.#deliveries]
    this.#calls = [...left.calls, ...this.#calls]
    this.#pulls = [...left.pulls, ...this.#pulls]
    if (left.deliveries.length + left.calls.length + left.pulls.length > 0) this.#awaitTurn()
  }

  #takeAll(): { deliveries: Waiting; calls: Waiting; pulls: Waiting } {
    const waiting = { deliveries: this.#deliveries, calls: this.#calls, pulls: this.#pulls }
    this.#deliveries = []
    this.#calls = []
    this.#pulls = []
    return waiting
  }
}

/** The units of one kind that may begin without a look at the clock: deliveries cost less than pulls. */
class Grants {
  /** in this run */
  total = 0
  #left = 0
  /** granted by the last look; 0 before the first look of a run */
  #step = 0
  #lookedAt = 0

  take(): boolean {
    if (this.#left === 0) return false
    this.#left--
    return true
  }

  /** Grants the next units, of which one is taken. */
  grant(time: number): void {
    this.#step = this.#step === 0 ? 1 : nextStep(this.#step, (time - this.#lookedAt) / this.#step)
    this.#lookedAt = time
    this.#left = this.#step - 1
    this.total += this.#step
  }

  reset(): void {
    this.total = 0
    this.#left = 0
    this.#step = 0
  }
}

type Waiting = readonly (() => void)[]

/** Lets units go on, in order, while they may. Returns those that wait further. */
function goOn(waiting: Waiting, may: (count: number) => boolean): Waiting {
  let count = 0
  for (const go of waiting) {
    if (!may(count)) break
    go()
    count++
  }
  return waiting.slice(count)
}

function nextStep(step: number, unitMs: number): number {
  return Math.max(1, Math.min(2 * step, maxStep, Math.floor(stepMs / unitMs)))
}

/** The budget of this thread's event loop. */
export const turnBudget = new TurnBudget()
