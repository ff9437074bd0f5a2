/** All requests of a round, as provider, clients and the log of the control plane saw them. */
import type { Plan } from './plan.js'

/**
 * How a request went for its client. `whole`: every byte of the body arrived; `cut`: the connection broke, perhaps
 * before the response; `unreachable`: there was no connection.
 */
export type Outcome = 'whole' | 'cut' | 'left' | 'rejected' | 'unreachable' | 'changed'

/** One request. Times are those of `performance.now()`. */
export interface Exchange {
  readonly plan: Plan
  /** the name of the process whose bridge was asked */
  readonly bridge: string
  readonly askedAt: number
  /** when the provider received each call of it */
  readonly calledAt: number[]
  /** when the provider sent its first byte, and its last one */
  firstSentAt?: number
  lastSentAt?: number
  /** when the client had the last byte: from here on the request is acknowledged */
  acknowledgedAt?: number
  /** when the client was done */
  settledAt?: number
  outcome?: Outcome
  /** the status that the client received */
  status?: number
  /** when the control plane had committed the end, to the millisecond */
  committedAt?: number
}

/** The moments of a request that can be waited for. */
export type Moment = 'asked' | 'called' | 'streaming' | 'sent' | 'acknowledged' | 'settled' | 'committed'

type Listener = (moment: Moment, exchange: Exchange) => void

/** The requests of a round by their tags. */
export class Exchanges {
  readonly #byTag = new Map<string, Exchange>()
  readonly #listeners = new Set<Listener>()
  /** calls of the provider that belong to no request */
  readonly strayCalls: string[] = []
  /** The provider waits for it before the last part of each response. */
  held: Promise<void> = Promise.resolve()

  get all(): readonly Exchange[] {
    return [...this.#byTag.values()]
  }

  get(tag: string): Exchange | undefined {
    return this.#byTag.get(tag)
  }

  /** Adds a request that a client is about to send. */
  ask(plan: Plan, bridge: string): Exchange {
    const exchange: Exchange = { plan, bridge, askedAt: performance.now(), calledAt: [] }
    this.#byTag.set(plan.tag, exchange)
    this.note('asked', exchange)
    return exchange
  }

  /** Holds back the last part of each response until the returned function is called. */
  hold(): () => void {
    let release = () => {}
    this.held = new Promise(resolve => {
      release = resolve
    })
    return () => release()
  }

  /** Passes a moment on to those who wait for it. */
  note(moment: Moment, exchange: Exchange): void {
    for (const listener of [...this.#listeners]) listener(moment, exchange)
  }

  /** Resolves with the next request that comes to a moment and fits; with undefined after `timeoutMs`. */
  next(
    moment: Moment,
    fits: (exchange: Exchange) => boolean = () => true,
    timeoutMs = 10_000,
  ): Promise<Exchange | undefined> {
    return new Promise(resolve => {
      const done = (exchange: Exchange | undefined) => {
        clearTimeout(timer)
        this.#listeners.delete(listener)
        resolve(exchange)
      }
      const listener: Listener = (at, exchange) => {
        if (at === moment && fits(exchange)) done(exchange)
      }
      const timer = setTimeout(() => done(undefined), timeoutMs)
      this.#listeners.add(listener)
    })
  }

  /**
   * Resolves when so many more requests of these bridges are acknowledged; of any, if there are none. Rejects after
   * `timeoutMs`.
   */
  async moreAcknowledged(count: number, timeoutMs: number, bridges: ReadonlySet<string>): Promise<void> {
    const giveUpAt = performance.now() + timeoutMs
    const fits = ({ bridge }: Exchange) => bridges.size === 0 || bridges.has(bridge)
    for (let left = count; left > 0; left--) {
      if (!(await this.next('acknowledged', fits, giveUpAt - performance.now())))
        throw new Error(`only ${count - left} of ${count} requests were acknowledged in ${timeoutMs} ms`)
    }
  }
}
