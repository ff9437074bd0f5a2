/**
 * The client's end: one connection object over a row of duplexes, each dialled when the one before is lost or asks to
 * move. Knows no router and no link.
 *
 * ```
 * connecting ──dial() returns a duplex──▶ open ──closed, or `reconnect` received──▶ waiting ──backoff──▶ connecting
 *     └─────────────dial() throws──────────────────────────────────────────────────────▲
 * any ──close(), a fatal DialError, or a final close code──▶ closed (final)
 * ```
 * After a fatal DialError, remaining duplexes may still deliver responses to calls in flight. A duplex that says
 * `reconnect` stays until its calls have responses; its subscriptions move as soon as another duplex is open.
 *
 * A call waits for a duplex until its own deadline. A call in flight on a duplex that closes is sent again on the next
 * duplex if `resend` allows that, at most twice; a subscription goes on after its last event id; any other call fails
 * with `connection_lost`. After a message that was too large (1009), the call that would close the next duplex too
 * fails with `message_too_large`.
 */
import type { CallEnd } from '../../shared/rpc/call-end.js'
import { DialError, textOf } from '../../shared/rpc/dial-error.js'
import { Dialler } from '../../shared/rpc/dialler.js'
import { type CloseReason, closeCodes, type Duplex } from '../../shared/rpc/duplex.js'
import { RpcError } from '../../shared/rpc/errors.js'
import type { CallType, WireError } from '../../shared/rpc/messages.js'
import type { PendingCall } from './call.js'
import type { CallObserver, CallOptions } from './call-observer.js'
import { LiveDuplex } from './live-duplex.js'
import { ObservedCall } from './observed-call.js'
import { PendingCalls } from './pending-calls.js'

/** Settings of {@link connect}. */
export interface ConnectOptions {
  /**
   * Returns a fresh duplex each time, or throws; a duplex that was opened before, or none, counts as a failed dial. A
   * fatal {@link DialError} stops the connection; after any other error the connection dials again, after a random wait
   * of at most half of the time since the last connection was lost, at least 1 s and at most 10 s. The signal aborts
   * when the connection is closed.
   */
  dial: (info: { signal: AbortSignal }) => Duplex | Promise<Duplex>
  /**
   * Returns the random part of each wait, in [0, 1): 0 for a dial that waits by itself, such as that of a `ParkedDial`.
   * Default: `Math.random`.
   */
  random?: () => number
  /** Whether a query or mutation that was in flight may run a second time. Default: queries. */
  resend?: (call: { type: CallType; path: string }) => boolean
  /**
   * deadline of a query or mutation that names none, the wait for a connection included; `Infinity` is none; default 30
   * s
   */
  callTimeoutMs?: number
  /** number of calls in flight above which further calls are held back; default 1,024 */
  maxInFlight?: number
  /**
   * Close codes of this user's servers after which the client does not dial again, beside 4401 and 4403: code → the
   * reason for which the code stands;  `closed` resolves with. Default: none.
   */
  finalCloseCodes?: Readonly<Record<number, string>>
  /** Called with errors that no caller gets: failed dials, invalid messages. */
  onError?: (error: Error) => void
  /** Called for each call at its end. Absent: no time is taken. */
  onCallEnd?: (end: CallEnd) => void
}

/** The state of a connection; `closed` is final. */
export type ConnectionState = 'connecting' | 'open' | 'waiting' | 'closed'

/** A connection to one server. */
export interface Connection {
  readonly state: ConnectionState
  /** Resolves, never rejects, with the cause, once the connection is closed for good. */
  readonly closed: Promise<CloseReason>
  /** Calls `listener` after each change of `state`. Returns a function that ends the calls of `listener`. */
  onStateChange(listener: (state: ConnectionState) => void): () => void
  /**
   * Starts a call. Returns a function that cancels it without a further callback. The observer is never called from
   * within this function.
   */
  call(options: CallOptions, observer: CallObserver): () => void
  /** Closes for good: calls in flight fail with `connection_closed`. Resolves when the duplex is closed. */
  close(): Promise<CloseReason>
}

/** Connects at once and stays connected until `close()`. */
export function connect(options: ConnectOptions): Connection {
  return new ReconnectingConnection(options)
}

/** Final on every connection: the server knows this client and rejects further connections. */
const alwaysFinal: ReadonlySet<number> = new Set([closeCodes.unauthorized, closeCodes.forbidden])

type State =
  | { readonly name: 'connecting' | 'open' | 'waiting' }
  | { readonly name: 'closed'; readonly reason: CloseReason; readonly rejection: WireError | undefined }

type Live = LiveDuplex<PendingCall>

class ReconnectingConnection implements Connection {
  readonly closed: Promise<CloseReason>
  /** the duplex for new calls; set in the state open only */
  current: Live | undefined
  readonly #finalCloseCodes: Readonly<Record<number, string>>
  readonly #onError: (error: Error) => void
  readonly #onCallEnd: ((end: CallEnd) => void) | undefined
  readonly #listeners = new Set<(state: ConnectionState) => void>()
  readonly #dialler: Dialler
  readonly #calls: PendingCalls
  /** duplexes that have not closed: the current duplex, and duplexes with calls in flight */
  readonly #live = new Set<Live>()
  #state: State = { name: 'connecting' }
  #resolveClosed: (reason: CloseReason) => void = () => {}

  constructor(options: ConnectOptions) {
    this.#finalCloseCodes = options.finalCloseCodes ?? {}
    this.#onError = options.onError ?? (() => {})
    this.#onCallEnd = options.onCallEnd
    this.#calls = new PendingCalls(this, options)
    this.closed = new Promise(resolve => {
      this.#resolveClosed = resolve
    })
    this.#dialler = new Dialler(options, this)
    this.#dialler.dial()
  }

  get state(): ConnectionState {
    return this.#state.name
  }

  get closeReason(): CloseReason | undefined {
    return this.#state.name === 'closed' ? this.#state.reason : undefined
  }

  get rejection(): WireError | undefined {
    return this.#state.name === 'closed' ? this.#state.rejection : undefined
  }

  get lastFailure(): string | undefined {
    return this.#dialler.lastFailure
  }

  onStateChange(listener: (state: ConnectionState) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  call(options: CallOptions, observer: CallObserver): () => void {
    if (!this.#onCallEnd) return this.#calls.begin(options, observer)
    const observed = new ObservedCall(options, observer, this.#onCallEnd)
    const cancel = this.#calls.begin(options, observed)
    return () => {
      observed.cancelled()
      cancel()
    }
  }

  close(): Promise<CloseReason> {
    this.#finish({ code: closeCodes.normal, message: 'closed by this side' })
    this.#closeLive()
    return this.closed
  }

  onDial(): void {
    this.#enter({ name: 'connecting' })
  }

  onWait(): void {
    this.#enter({ name: 'waiting' })
  }

  onDialFailed(error: Error): void {
    this.report(error)
    if (!(error instanceof DialError && error.fatal)) return
    const { message, reason } = error
    this.#finish({ code: closeCodes.abnormal, message, ...(reason !== undefined && { reason }) })
  }

  onDialled(duplex: Duplex): void {
    const live: Live = new LiveDuplex(duplex, this)
    // Before the first message and the first close, whenever they arrive.
    this.#live.add(live)
    this.current = live
    try {
      duplex.open(live)
    } catch (cause) {
      this.#live.delete(live)
      this.current = undefined
      throw new DialError(`the duplex of the dial cannot be opened: ${textOf(cause)}`, { fatal: false, cause })
    }
    if (live.isClosed) return
    this.#enter({ name: 'open' })
    for (const old of this.#live) if (old !== live) this.#calls.moveSubscriptions(old)
    this.#calls.sendQueued()
  }

  forget(call: PendingCall): void {
    this.#calls.forget(call)
  }

  sendQueued(): void {
    this.#calls.sendQueued()
  }

  sendElsewhere(live: Live, call: PendingCall): void {
    this.move(live)
    this.#calls.sendElsewhere(live, call)
  }

  /** Dials anew, because the server wants its clients elsewhere; calls in flight end on this duplex. */
  move(live: Live): void {
    if (live !== this.current) return
    this.#leave(live, 'the server asked to reconnect')
    this.#dialler.move()
    this.closeWhenDone(live)
  }

  lost(live: Live, given: CloseReason): void {
    const finalReason = this.#finalCloseCodes[given.code]
    const reason = finalReason === undefined ? given : { reason: finalReason, ...given }
    if (finalReason !== undefined || alwaysFinal.has(reason.code)) {
      this.#finish(reason, live.rejection)
      this.#closeLive()
    }
    this.#live.delete(live)
    const isCurrent = live === this.current
    if (isCurrent) {
      const message = `the connection was lost: ${reason.message} (${reason.code})`
      this.#leave(live, message)
      if (reason.code !== closeCodes.goingAway) this.report(lostError(message, reason))
    }
    this.#calls.release(live, reason)
    if (isCurrent) this.#dialler.redial()
    else this.#settle()
  }

  /** Closes a duplex that is neither current nor has calls in flight. */
  closeWhenDone(live: Live): void {
    if (live === this.current || live.calls.size > 0) return
    const message = this.closeReason?.message ?? 'moved to another connection'
    live.close({ code: closeCodes.normal, message })
  }

  report(thrown: unknown): void {
    try {
      this.#onError(thrown instanceof Error ? thrown : new Error(textOf(thrown)))
    } catch {
      // An observer that throws is the last observer; the error is lost.
    }
  }

  /** Sends no further call on a duplex. */
  #leave(live: Live, why: string): void {
    this.current = undefined
    this.#dialler.lost(why, live.wasOfUse)
  }

  /**
   * Closes for good: queued calls and subscriptions fail. Other calls in flight may still get their responses, unless
   * {@link #closeLive} follows.
   */
  #finish(reason: CloseReason, rejection?: WireError): void {
    if (this.closeReason) return
    this.current = undefined
    this.#enter({ name: 'closed', reason, rejection })
    this.#listeners.clear()
    this.#dialler.stop()
    this.#calls.failQueued()
    for (const live of this.#live) {
      this.#calls.failSubscriptions(live)
      this.closeWhenDone(live)
    }
    this.#settle()
  }

  /** Closes all duplexes after {@link #finish}, without a wait for calls in flight. */
  #closeLive(): void {
    const reason = this.closeReason
    if (!reason) return
    for (const live of this.#live) {
      live.close(reason)
      this.#calls.failAll(live)
    }
  }

  /** Resolves `closed` after the last duplex. */
  #settle(): void {
    const reason = this.closeReason
    if (!reason || this.#live.size > 0) return
    this.#calls.stop()
    this.#resolveClosed(reason)
  }

  #enter(state: State): void {
    if (this.#state.name === state.name || this.#state.name === 'closed') return
    this.#state = state
    for (const listener of [...this.#listeners]) {
      try {
        listener(state.name)
      } catch (thrown) {
        this.report(thrown)
      }
    }
  }
}

function lostError(message: string, { reason = 'connection_lost' }: CloseReason): RpcError<string> {
  return new RpcError<string>('SERVICE_UNAVAILABLE', message, { reason })
}
