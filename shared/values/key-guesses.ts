/** Slows down peers that guess keys. */
import { abortablePause } from './abortable.js'
import { networkOf } from './network-of.js'

/** Options of {@link KeyGuesses}. */
export interface KeyGuessesOptions {
  /** longest delay in milliseconds; at most a second where one address may stand for many clients */
  maxDelayMs: number
  /** keys of one address that are looked at or rejected at once; further ones wait */
  maxAtOnce?: number
  /** keys of one address that wait */
  maxWaiting?: number
  /** addresses that are remembered; the oldest make room for new ones */
  maxAddresses?: number
  /** an address without a further wrong key is forgotten after this time */
  forgetAfterMs?: number
}

/** Returns the longest delay of a rejection: without trusted proxies, one address may stand for all clients. */
export function guessDelayMs(trustedProxies: readonly string[]): number {
  return trustedProxies.length > 0 ? 10_000 : 1_000
}

/** Delay of the second wrong key; each further one doubles it. The first one is a slip. */
const firstDelayMs = 50

/**
 * A key of unknown value that is being looked at. One of the functions has to be called; only the first call counts.
 */
export interface Guess {
  /** The key is good, or its value stays unknown: the next one may be looked at. */
  release(): void
  /** The key is wrong: resolves when its rejection may be sent, or when the signal aborts. */
  reject(signal: AbortSignal): Promise<void>
}

/** The keys of one address. */
interface Peer {
  /** wrong keys, and the time of the newest */
  count: number
  at: number
  /** keys that are looked at, and rejections that wait */
  atOnce: number
  waiting: Set<() => void>
}

/**
 * Bounds the keys that one address can try. The rejection of a wrong key is delayed, each further one longer, and only
 * `maxAtOnce` keys are under way: so the rate is bounded by `maxAtOnce` in `maxDelayMs`, however many connections a
 * peer has. A good key passes at once unless its address guesses as fast as that; the caller lets keys pass that were
 * good before.
 */
export class KeyGuesses {
  readonly #options: Required<KeyGuessesOptions>
  /** in the order of the newest key */
  readonly #peers = new Map<string, Peer>()

  constructor(options: KeyGuessesOptions) {
    this.#options = {
      maxAtOnce: 64,
      maxWaiting: 1_000,
      maxAddresses: 10_000,
      forgetAfterMs: 10 * 60_000,
      ...options,
    }
  }

  /** number of addresses that are remembered */
  get size(): number {
    return this.#peers.size
  }

  /**
   * Resolves when a key of an address may be looked at; undefined if its turn does not come within `maxDelayMs`: then
   * the key must not be looked at.
   * @throws the signal's reason if the signal aborts before
   */
  async begin(address: string, signal: AbortSignal): Promise<Guess | undefined> {
    const peer = this.#peerAt(address)
    const { maxAtOnce, maxWaiting } = this.#options
    if (peer.atOnce < maxAtOnce) peer.atOnce++
    else if (peer.waiting.size >= maxWaiting || !(await this.#turn(peer, signal))) return undefined
    let state: 'open' | 'over' = 'open'
    const release = () => {
      if (state === 'open') handOver(peer)
      state = 'over'
    }
    return {
      release,
      reject: async signal => {
        const delayMs = this.#note(peer)
        if (delayMs > 0) await abortablePause(delayMs, signal)
        release()
      },
    }
  }

  /** Resolves with whether the turn has come in time; the place is the caller's then. */
  #turn({ waiting }: Peer, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', onAbort)
        waiting.delete(begin)
      }
      const begin = () => {
        leave()
        resolve(true)
      }
      const onAbort = () => {
        leave()
        reject(signal.reason)
      }
      const timer = setTimeout(() => {
        leave()
        resolve(false)
      }, this.#options.maxDelayMs)
      if (signal.aborted) return onAbort()
      signal.addEventListener('abort', onAbort, { once: true })
      waiting.add(begin)
    })
  }

  /** Counts a wrong key, and returns the delay of its rejection in milliseconds. */
  #note(peer: Peer): number {
    peer.count++
    peer.at = performance.now()
    return peer.count === 1 ? 0 : Math.min(this.#options.maxDelayMs, firstDelayMs * 2 ** (peer.count - 2))
  }

  #peerAt(address: string): Peer {
    const { maxAddresses, forgetAfterMs } = this.#options
    const now = performance.now()
    const network = networkOf(address)
    const peer = this.#peers.get(network) ?? { count: 0, at: now, atOnce: 0, waiting: new Set() }
    if (now - peer.at >= forgetAfterMs) peer.count = 0
    this.#peers.delete(network)
    this.#peers.set(network, peer)
    for (const [oldest, { at, atOnce }] of this.#peers) {
      const isPast = now - at >= forgetAfterMs && atOnce === 0 && oldest !== network
      if (this.#peers.size <= maxAddresses && !isPast) break
      this.#peers.delete(oldest)
    }
    return peer
  }
}

/** Gives a place to the next key that waits. */
function handOver(peer: Peer): void {
  const [next] = peer.waiting
  if (next) next()
  else peer.atOnce--
}
