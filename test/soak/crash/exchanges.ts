/** All requests of a round, as provider, clients and the log of the control plane saw them. */
import type { Plan } from './plan.js'

/** How a request went for its client. `whole`: every byte of the body arrived. */
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
export type Moment = 'asked' | 'called' | 'streaming' | 'sent' | 'acknowledged' | 'settled'

type Listener = (moment: Moment, exchange: Exchange) => void

/** The requests of a round by their tags. */
export class Exchanges {
  readonly #byTag = new Map<string, Exchange>()
  readonly #listeners = new Set<Listener>()
  /** calls of the provider that belong to no request */
  readonly strayCalls: string[] = []
  acknowledged = 0

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

  /** Passes a moment on to those who wait for it. */
  note(moment: Moment, exchange: Exchange): void {
    if (moment === 'acknowledged') this.acknowledged++
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

  /** Resolves when so many more requests are acknowledged; rejects after `timeoutMs`. */
  async moreAcknowledged(count: number, timeoutMs: number): Promise<void> {
    const enough = this.acknowledged + count
    const giveUpAt = performance.now() + timeoutMs
    while (this.acknowledged < enough) {
      const leftMs = giveUpAt - performance.now()
      if (leftMs <= 0)
        throw new Error(`only ${count - (enough - this.acknowledged)} of ${count} requests in ${timeoutMs} ms`)
      await this.next('acknowledged', undefined, leftMs)
    }
  }
}
