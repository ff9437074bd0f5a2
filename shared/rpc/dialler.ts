import { now } from './deadlines.js'
import { DialError, textOf } from './dial-error.js'
import type { Duplex, DuplexReceiver } from './duplex.js'
import { closeCodes } from './duplex.js'
import { times } from './limits.js'

/** The connection's callbacks. Each may call {@link Dialler.stop}. */
interface Owner {
  /** Called before each dial. */
  onDial(): void
  /** @throws DialError if the duplex cannot be opened */
  onDialled(duplex: Duplex): void
  /** Called after a dial that failed; {@link onWait} follows unless the owner stops. */
  onDialFailed(error: Error): void
  /** Called before the wait for the next dial. */
  onWait(): void
}

/** Settings of {@link Dialler}, which are settings of the connection. */
export interface DiallerOptions {
  dial: (info: { signal: AbortSignal }) => Duplex | Promise<Duplex>
  random?: () => number
}

type State =
  | { readonly name: 'idle' | 'stopped' }
  | { readonly name: 'waiting'; readonly timer: NodeJS.Timeout }
  | { readonly name: 'dialling'; readonly abort: AbortController }

const idle: State = { name: 'idle' }
const stopped: State = { name: 'stopped' }

/**
 * Dials fresh duplexes for one connection. The wait before a dial is uniform between 0 and half of the time since the
 * last connection of use was lost, so that the clients of a lost server neither return all at once nor long after it.
 *
 * ```
 * idle ──dial()──▶ dialling ──a duplex──▶ idle
 *   └──redial()──▶ waiting ──▲  └──a failure──▶ waiting
 * any ──stop()──▶ stopped
 * ```
 */
export class Dialler {
  readonly #dial: (info: { signal: AbortSignal }) => Duplex | Promise<Duplex>
  readonly #random: () => number
  readonly #owner: Owner
  #state: State = idle
  /** when a connection of use was lost last; before the first one, when the first dial began */
  #lostAt = now()
  /** why no connection is open, for error messages */
  lastFailure: string | undefined

  constructor({ dial, random = Math.random }: DiallerOptions, owner: Owner) {
    this.#dial = dial
    this.#random = random
    this.#owner = owner
  }

  /** Dials now. */
  dial(): void {
    void this.#connect()
  }

  /** Takes note that the current duplex is lost or moves; `wasOfUse` resets the backoff. */
  lost(why: string, wasOfUse: boolean): void {
    this.lastFailure = why
    if (wasOfUse) this.#lostAt = now()
  }

  /** Dials after a wait, and not earlier than the server asked. */
  redial(retryAfterMs = 0): void {
    const asked = retryAfterMs > 0 ? Math.min(times.reconnectMaxMs, retryAfterMs) : 0
    this.#wait(asked + this.#jitter(times.reconnectMinMs))
  }

  /** Dials after a short wait, because the server asked its clients to move. */
  move(): void {
    this.#wait(this.#jitter(times.moveMs))
  }

  /** @param minMs the least bound; a server that asks each new connection to move is dialled less and less often */
  #jitter(minMs: number): number {
    return this.#random() * Math.min(times.reconnectMaxMs, Math.max(minMs, (now() - this.#lostAt) / 2))
  }

  #wait(ms: number): void {
    if (this.#isStopped) return
    this.#owner.onWait()
    if (this.#isStopped) return
    this.#state = { name: 'waiting', timer: setTimeout(() => this.dial(), ms) }
  }

  /** Ends the wait, or aborts the dial under way: no duplex follows. */
  stop(): void {
    const state = this.#state
    this.#state = stopped
    if (state.name === 'waiting') clearTimeout(state.timer)
    else if (state.name === 'dialling') state.abort.abort()
  }

  async #connect(): Promise<void> {
    this.#owner.onDial()
    if (this.#isStopped) return
    const abort = new AbortController()
    this.#state = { name: 'dialling', abort }
    try {
      const duplex = freshDuplex(await this.#dial({ signal: abort.signal }))
      if (this.#isStopped) {
        duplex.open(ignore)
        return duplex.close({ code: closeCodes.normal, message: 'closed while dialling' })
      }
      this.#state = idle
      this.#owner.onDialled(duplex)
    } catch (error) {
      this.#failed(error)
    }
  }

  #failed(thrown: unknown): void {
    if (this.#isStopped) return
    this.#state = idle
    const error = errorOf(thrown)
    this.lastFailure = error.message
    this.#owner.onDialFailed(error)
    this.redial(error instanceof DialError ? error.retryAfterMs : undefined)
  }

  /** Asked after each callback of the owner and each await. */
  get #isStopped(): boolean {
    return this.#state === stopped
  }
}

/** A second receiver of a duplex gets no messages. */
const used = new WeakSet<object>()

/** @throws DialError if a dial did not return a duplex of its own */
function freshDuplex(returned: unknown): Duplex {
  if (!isDuplex(returned)) throw new DialError('dial returned no duplex', { fatal: false })
  if (used.has(returned)) throw new DialError('dial returned a duplex that was opened before', { fatal: false })
  used.add(returned)
  return returned
}

function isDuplex(value: unknown): value is Duplex {
  if (typeof value !== 'object' || value === null) return false
  try {
    return ['open', 'send', 'close', 'terminate'].every(name => typeof Reflect.get(value, name) === 'function')
  } catch {
    return false // an object that throws when it is looked at
  }
}

/** Returns the error of a dial, which may have thrown anything. */
function errorOf(thrown: unknown): Error {
  try {
    if (thrown instanceof Error && typeof thrown.message === 'string') return thrown
  } catch {
    // An object that throws when it is looked at is no error to pass on.
  }
  return new DialError(textOf(thrown), { fatal: false, cause: thrown })
}

const ignore: DuplexReceiver = { onMessage: () => {}, onDrain: () => {}, onClose: () => {} }
