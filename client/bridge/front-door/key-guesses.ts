/** Slows down clients that guess keys. */
import { setTimeout as sleep } from 'node:timers/promises'

/** Options of {@link KeyGuesses}. */
export interface KeyGuessesOptions {
  /** longest delay in milliseconds; at most a second where one address may stand for many clients */
  maxDelayMs: number
  /** addresses that are remembered; the oldest make room for new ones */
  maxAddresses?: number
  /** an address without a further wrong key is forgotten after this time */
  forgetAfterMs?: number
}

/** Delay of the second wrong key; each further one doubles it. The first one is a slip. */
const firstDelayMs = 50

/**
 * Counts the wrong keys of each client address, and delays the rejection of each further one. A good key is never
 * delayed, also not one from the same address.
 */
export class KeyGuesses {
  readonly #maxDelayMs: number
  readonly #maxAddresses: number
  readonly #forgetAfterMs: number
  /** in the order of the newest wrong key */
  readonly #known = new Map<string, { count: number; at: number }>()

  constructor({ maxDelayMs, maxAddresses = 10_000, forgetAfterMs = 10 * 60_000 }: KeyGuessesOptions) {
    this.#maxDelayMs = maxDelayMs
    this.#maxAddresses = maxAddresses
    this.#forgetAfterMs = forgetAfterMs
  }

  /** number of addresses that are remembered */
  get size(): number {
    return this.#known.size
  }

  /** Notes a wrong key, and returns the delay of its rejection in milliseconds. */
  note(address: string): number {
    const now = performance.now()
    const client = networkOf(address)
    const before = this.#known.get(client)
    const count = before && now - before.at < this.#forgetAfterMs ? before.count + 1 : 1
    this.#known.delete(client)
    this.#known.set(client, { count, at: now })
    for (const [oldest, { at }] of this.#known) {
      if (this.#known.size <= this.#maxAddresses && now - at < this.#forgetAfterMs) break
      this.#known.delete(oldest)
    }
    return count === 1 ? 0 : Math.min(this.#maxDelayMs, firstDelayMs * 2 ** (count - 2))
  }

  /** Notes a wrong key, and resolves when its rejection may be sent; also when `signal` aborts. */
  async delay(address: string, signal: AbortSignal): Promise<void> {
    const delayMs = this.note(address)
    if (delayMs > 0) await sleep(delayMs, undefined, { signal }).catch(() => {}) // an aborted exchange waits no more
  }
}

/** One household or server has 2^64 addresses of IPv6: its network counts. */
function networkOf(address: string): string {
  if (!address.includes(':')) return address
  const [head = '', tail] = address.split('::')
  const groups = head === '' ? [] : head.split(':')
  const missing = tail === undefined ? 0 : 8 - groups.length - (tail === '' ? 0 : tail.split(':').length)
  return [...groups, ...Array<string>(Math.max(0, missing)).fill('0'), ...(tail ?? '').split(':')].slice(0, 4).join(':')
}
