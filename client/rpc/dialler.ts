import type { Duplex, DuplexReceiver } from '../../shared/rpc/duplex.js'
import { closeCodes } from '../../shared/rpc/duplex.js'
import { times } from '../../shared/rpc/limits.js'
import { DialError } from './errors.js'

/** The connection's callbacks. Each may call {@link Dialler.stop}. */
interface Owner {
  /** Called before each dial. */
  onDial(): void
  onDialled(duplex: Duplex): void
  /** Called after a dial that failed; {@link onWait} follows unless the owner stops. */
  onDialFailed(error: Error): void
  /** Called before the wait for the next dial. */
  onWait(): void
}

type State =
  | { readonly name: 'idle' | 'stopped' }
  | { readonly name: 'waiting'; readonly timer: NodeJS.Timeout }
  | { readonly name: 'dialling'; readonly abort: AbortController }

const idle: State = { name: 'idle' }
const stopped: State = { name: 'stopped' }

/**
 * Dials fresh duplexes for one connection, with full jitter between failures, so that the clients of a lost server do
 * not return all at once.
 *
 * ```
 * idle ──dial()──▶ dialling ──a duplex──▶ idle
 *   └──redial()──▶ waiting ──▲  └──a failure──▶ waiting
 * any ──stop()──▶ stopped
 * ```
 */
export class Dialler {
  readonly #dial: (info: { signal: AbortSignal }) => Duplex | Promise<Duplex>
  readonly #owner: Owner
  #state: State = idle
  /** since a connection was of use */
  #failures = 0
  /** why no connection is open, for error messages */
  lastFailure: string | undefined

  constructor(dial: (info: { signal: AbortSignal }) => Duplex | Promise<Duplex>, owner: Owner) {
    this.#dial = dial
    this.#owner = owner
  }

  /** Dials now. */
  dial(): void {
    void this.#connect()
  }

  /** Takes note that the current duplex is lost or moves; `wasOfUse` resets the backoff. */
  lost(why: string, wasOfUse: boolean): void {
    this.lastFailure = why
    this.#failures = wasOfUse ? 0 : this.#failures + 1
  }

  /** Dials after a wait, and not earlier than the server asked. */
  redial(retryAfterMs = 0): void {
    if (this.#state === stopped) return
    this.#owner.onWait()
    if (this.#isStopped) return
    const bound = Math.min(times.reconnectMaxMs, times.reconnectMinMs * 2 ** Math.min(this.#failures, 20))
    const asked = Math.min(times.reconnectMaxMs, retryAfterMs)
    this.#state = { name: 'waiting', timer: setTimeout(() => this.dial(), asked + Math.random() * bound) }
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
    let duplex: Duplex
    try {
      duplex = await this.#dial({ signal: abort.signal })
    } catch (error) {
      return this.#failed(error)
    }
    if (this.#isStopped) {
      duplex.open(ignore)
      return duplex.close({ code: closeCodes.normal, message: 'closed while dialling' })
    }
    this.#state = idle
    this.#owner.onDialled(duplex)
  }

  #failed(thrown: unknown): void {
    if (this.#isStopped) return
    this.#state = idle
    const error = thrown instanceof Error ? thrown : new Error(String(thrown))
    this.lastFailure = error.message
    this.#failures++
    this.#owner.onDialFailed(error)
    this.redial(error instanceof DialError ? error.retryAfterMs : undefined)
  }

  /** Asked after each callback of the owner and each await. */
  get #isStopped(): boolean {
    return this.#state === stopped
  }
}

const ignore: DuplexReceiver = { onMessage: () => {}, onDrain: () => {}, onClose: () => {} }
