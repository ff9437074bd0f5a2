/** Breakers: an endpoint that fails again and again is left alone for a while. */

/** The state of a breaker. */
export type BreakerState = 'closed' | 'open' | 'half-open'

/** The endpoint and the model that a breaker stands for. */
export interface BreakerPlace {
  provider: string
  /** base URL */
  endpoint: string
  model: string
}

/** A call that a breaker lets through. It ends with one of the functions but the first. */
export interface BreakerPass {
  /** Notes that a response begins: the trial of a half-open breaker has succeeded. */
  responded(): void
  /** Notes that the call succeeded. */
  succeeded(): void
  /** Notes that the endpoint failed. */
  failed(): void
  /** Notes that the call was lost before its response, which is a failure of a trial, and says nothing else. */
  lost(): void
  /** Notes that the call says nothing about the endpoint. */
  released(): void
}

/** Consecutive failures that open a breaker. */
export const maxFailures = 5

/** Time for which a breaker is open, and after which a trial that has not ended makes room for another. */
export const openMs = 30_000

/** Breakers that are kept: models come from clients. */
const maxBreakers = 1_000

/** Time without a call after which a breaker is forgotten. */
const forgottenMs = 3_600_000

/** Wait of a call beside the trial of a half-open breaker. */
const besideTrialMs = 1_000

/**
 * The breakers of a bridge, one for each endpoint and model that has failed:
 * ```
 * closed ──5 failures in a row──▶ open ──30 s──▶ half-open ──success──▶ closed
 *                                  ▲                 │
 *                                  └─────failure─────┘
 * ```
 * A half-open breaker lets one call through. An endpoint without a breaker is closed, so endpoints that work cost
 * nothing.
 */
export class Breakers {
  readonly #breakers = new Map<string, Breaker>()
  readonly #now: () => number
  readonly #max: number

  readonly #onOpened: (place: BreakerPlace) => void

  /**
   * @param now milliseconds on a clock that nobody sets
   * @param onOpened is called when a breaker opens, also after a trial
   */
  constructor({
    now = () => performance.now(),
    max = maxBreakers,
    onOpened = (_place: BreakerPlace): void => {},
  } = {}) {
    this.#now = now
    this.#max = max
    this.#onOpened = onOpened
  }

  /** Lets a call through, or returns how long it has to wait. */
  enter(place: BreakerPlace): BreakerPass | { waitMs: number } {
    if (this.#breakers.size === 0) return new Pass(this, place)
    const breaker = this.#breakers.get(nameOf(place))
    if (!breaker || breaker.state === 'closed') return new Pass(this, place)
    const now = this.#now()
    if (breaker.state === 'open' && now < breaker.until) return { waitMs: breaker.until - now }
    if (breaker.state === 'half-open' && breaker.trial && now < breaker.trialUntil) return { waitMs: besideTrialMs }
    const trial = new Pass(this, place)
    breaker.state = 'half-open'
    breaker.trial = trial
    breaker.trialUntil = now + openMs
    breaker.at = now
    return trial
  }

  /** Returns all breakers that have noted a failure, with their states. */
  states(): (BreakerPlace & { state: BreakerState })[] {
    const now = this.#now()
    for (const [name, { at }] of this.#breakers) if (now - at > forgottenMs) this.#breakers.delete(name)
    return [...this.#breakers.values()].map(({ place, state, until }) => ({
      ...place,
      state: state === 'open' && until <= now ? 'half-open' : state,
    }))
  }

  /** Ends the trial of a half-open breaker, or the failures of a closed one, with a success. */
  succeeded(place: BreakerPlace, pass: BreakerPass, isWhole: boolean): void {
    const breaker = this.#of(place)
    if (breaker && (breaker.trial === pass || (isWhole && breaker.state === 'closed'))) {
      this.#breakers.delete(nameOf(place))
    }
  }

  /** Notes a failure; of a call that was `lost` only if it was a trial. */
  failed(place: BreakerPlace, pass: BreakerPass, isLost: boolean): void {
    if (!isLost || this.#of(place)?.trial === pass) this.#failed(place, pass)
  }

  /** Ends a trial without a result. */
  released(place: BreakerPlace, pass: BreakerPass): void {
    const breaker = this.#of(place)
    if (breaker?.trial === pass) breaker.trial = undefined
  }

  #of(place: BreakerPlace): Breaker | undefined {
    return this.#breakers.size > 0 ? this.#breakers.get(nameOf(place)) : undefined
  }

  /** Calls from before the breaker opened do not open it again. */
  #failed(place: BreakerPlace, pass: BreakerPass): void {
    const name = nameOf(place)
    const breaker = this.#breakers.get(name) ?? this.#add(name, place)
    const now = this.#now()
    if (breaker.state === 'closed') breaker.failures++
    else if (breaker.trial !== pass) return
    breaker.at = now
    if (breaker.state === 'closed' && breaker.failures < maxFailures) return
    breaker.state = 'open'
    breaker.until = now + openMs
    breaker.trial = undefined
    this.#onOpened(place)
  }

  #add(name: string, place: BreakerPlace): Breaker {
    if (this.#breakers.size >= this.#max) this.#drop()
    const breaker: Breaker = {
      place,
      state: 'closed',
      failures: 0,
      until: 0,
      trial: undefined,
      trialUntil: 0,
      at: this.#now(),
    }
    this.#breakers.set(name, breaker)
    return breaker
  }

  /** Forgets the oldest closed breaker, else the oldest. */
  #drop(): void {
    const [oldest] = this.#breakers.keys()
    const [closed] = [...this.#breakers].find(([, { state }]) => state === 'closed') ?? []
    const name = closed ?? oldest
    if (name !== undefined) this.#breakers.delete(name)
  }
}

/** A call that is under way. */
class Pass implements BreakerPass {
  readonly #breakers: Breakers
  readonly #place: BreakerPlace

  constructor(breakers: Breakers, place: BreakerPlace) {
    this.#breakers = breakers
    this.#place = place
  }

  responded(): void {
    this.#breakers.succeeded(this.#place, this, false)
  }

  succeeded(): void {
    this.#breakers.succeeded(this.#place, this, true)
  }

  failed(): void {
    this.#breakers.failed(this.#place, this, false)
  }

  lost(): void {
    this.#breakers.failed(this.#place, this, true)
  }

  released(): void {
    this.#breakers.released(this.#place, this)
  }
}

interface Breaker {
  readonly place: BreakerPlace
  state: BreakerState
  /** in a row, while closed */
  failures: number
  /** end of the open state */
  until: number
  /** the one call that a half-open breaker has let through */
  trial: BreakerPass | undefined
  trialUntil: number
  /** the last failure or trial */
  at: number
}

function nameOf({ provider, endpoint, model }: BreakerPlace): string {
  return JSON.stringify([provider, endpoint, model])
}
