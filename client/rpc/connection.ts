/**
 * The client's end: one connection object over a row of duplexes, each dialled when the one before is lost. Knows no router and no link.
 *
 * ```
 * connecting ──dial() gives a duplex──▶ open ──the duplex closes──▶ waiting ──backoff──▶ connecting
 *     └─────────────dial() throws──────────────────────────────────────▲
 * any ──close(), or a fatal DialError──▶ closed (final)
 * ```
 * A call waits while there is no duplex, until its own deadline. A call in flight when its duplex closes is sent again on the next one if
 * `resend` allows it, at most twice; a subscription goes on from its last event id; any other fails with `connection_lost`.
 */
import { Deadlines, now } from '../../shared/deadlines.js'
import { type CloseReason, closeCodes, type Duplex, type DuplexReceiver, type Message } from '../../shared/duplex.js'
import { RpcError } from '../../shared/errors.js'
import { connectionLimits, times } from '../../shared/limits.js'
import { type CallMessage, type CallType, InvalidMessage, parseServerMessage } from '../../shared/wire.js'
import { type CallObserver, type CallOptions, cancelledError, PendingCall } from './call.js'
import { DialError } from './errors.js'

export interface ConnectOptions {
  /**
   * Gives a fresh duplex each time, or throws. A {@link DialError} that is fatal stops the connection; anything else is tried again with full jitter,
   * 50 ms to 10 s. Its signal aborts when the connection is closed.
   */
  dial: (info: { signal: AbortSignal }) => Duplex | Promise<Duplex>
  /** Whether a query or mutation that was in flight may run a second time. Default: queries. */
  resend?: (call: { type: CallType; path: string }) => boolean
  /** Deadline of a query or mutation that names none, waiting for a connection included. Default 30 s. */
  callTimeoutMs?: number
  /** Further calls are held back until one is answered. Default 1,024. */
  maxInFlight?: number
  /** Hears what no caller hears: failed dials, messages that are none. */
  onError?: (error: Error) => void
}

export type ConnectionState = 'connecting' | 'open' | 'waiting' | 'closed'

/** A connection to one server. */
export interface Connection {
  readonly state: ConnectionState
  /** Resolves, never rejects, with the cause, once the connection is closed for good. */
  readonly closed: Promise<CloseReason>
  /** Calls `listener` after each change of `state`; returns what ends it. */
  onStateChange(listener: (state: ConnectionState) => void): () => void
  /** Starts a call; returns what cancels it without a word to its observer. The observer is never called from within this function. */
  call(options: CallOptions, observer: CallObserver): () => void
  /** Closes for good: calls in flight fail with `connection_closed`. Resolves when the duplex is closed. */
  close(): Promise<CloseReason>
}

/** Connects at once and stays connected until `close()`. */
export function connect(options: ConnectOptions): Connection {
  return new ReconnectingConnection(options)
}

/** A call in flight may be sent this often again. */
const maxResends = 2

class ReconnectingConnection implements Connection {
  readonly closed: Promise<CloseReason>
  readonly #dial: ConnectOptions['dial']
  readonly #resend: (call: { type: CallType; path: string }) => boolean
  readonly #callTimeoutMs: number
  readonly #maxInFlight: number
  readonly #onError: (error: Error) => void
  readonly #deadlines = new Deadlines()
  readonly #lifetime = new AbortController()
  readonly #listeners = new Set<(state: ConnectionState) => void>()
  /** sent on the current duplex and not answered, by id */
  readonly #inFlight = new Map<number, PendingCall>()
  /** not sent on the current duplex, oldest first */
  readonly #waiting = new Set<PendingCall>()
  #state: ConnectionState = 'connecting'
  #duplex: Duplex | undefined
  #openedAt = 0
  #answered = false
  #failures = 0
  #backoff: NodeJS.Timeout | undefined
  #nextId = 1
  #resolveClosed: (reason: CloseReason) => void = () => {}

  constructor(options: ConnectOptions) {
    this.#dial = options.dial
    this.#resend = options.resend ?? (call => call.type === 'query')
    this.#callTimeoutMs = options.callTimeoutMs ?? times.callTimeoutMs
    this.#maxInFlight = options.maxInFlight ?? connectionLimits.maxInFlight
    this.#onError = options.onError ?? (() => {})
    this.closed = new Promise(resolve => {
      this.#resolveClosed = resolve
    })
    void this.#connect()
  }

  get state(): ConnectionState {
    return this.#state
  }

  onStateChange(listener: (state: ConnectionState) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  call(options: CallOptions, observer: CallObserver): () => void {
    const call = new PendingCall(this.#nextId++, options, observer, this)
    const timeoutMs = options.timeoutMs ?? (options.type === 'subscription' ? Infinity : this.#callTimeoutMs)
    if (this.#state === 'closed') {
      queueMicrotask(() => call.fail(closedError()))
    } else if (options.signal?.aborted) {
      queueMicrotask(() => call.fail(cancelledError(options.signal, false)))
    } else {
      if (timeoutMs <= times.maxCallTimeoutMs) {
        call.deadlineAt = now() + timeoutMs
        this.#deadlines.add(call)
      }
      if (options.signal) call.listen(options.signal)
      if (this.#canSend() && this.#waiting.size === 0) this.#sendCall(call)
      else this.#waiting.add(call)
    }
    return () => this.cancel(call)
  }

  close(): Promise<CloseReason> {
    if (this.#state !== 'closed') {
      const reason = { code: closeCodes.normal, message: 'closed by this side' }
      const duplex = this.#duplex
      this.#finish(reason, duplex === undefined)
      duplex?.close(reason)
    }
    return this.closed
  }

  /** Ends a call and tells the server, who may be working on it. */
  cancel(call: PendingCall): void {
    if (call.settled) return
    const sent = this.#inFlight.has(call.id)
    this.forget(call)
    if (sent) this.#trySend({ id: call.id, method: 'subscription.stop' })
    this.#sendWaiting()
  }

  /** Drops a call that is settled. */
  forget(call: PendingCall): void {
    call.settled = true
    this.#inFlight.delete(call.id)
    this.#waiting.delete(call)
    if (call.deadlineAt !== Infinity) this.#deadlines.delete(call)
    call.unlisten()
  }

  /** Whether the server may have begun to run a call. */
  mayHaveRun(call: PendingCall): boolean {
    return call.sends > 0
  }

  // ── the duplex ──

  async #connect(): Promise<void> {
    this.#backoff = undefined
    this.#setState('connecting')
    let duplex: Duplex
    try {
      duplex = await this.#dial({ signal: this.#lifetime.signal })
    } catch (thrown) {
      return this.#dialFailed(thrown)
    }
    if (this.#isClosed()) {
      duplex.open(ignore)
      return duplex.close({ code: closeCodes.normal, message: 'closed while dialling' })
    }
    this.#duplex = duplex
    this.#openedAt = now()
    this.#answered = false
    duplex.open(this.#receiver(duplex))
    this.#setState('open')
    this.#sendWaiting()
  }

  #dialFailed(thrown: unknown): void {
    if (this.#isClosed()) return
    const error = thrown instanceof Error ? thrown : new Error(String(thrown))
    this.#report(error)
    if (error instanceof DialError && error.fatal) {
      const reason = {
        code: closeCodes.abnormal,
        message: error.message,
        ...(error.reason && { reason: error.reason }),
      }
      return this.#finish(reason, true)
    }
    this.#failures++
    this.#dialLater()
  }

  #dialLater(): void {
    this.#setState('waiting')
    const bound = Math.min(times.reconnectMaxMs, times.reconnectMinMs * 2 ** Math.min(this.#failures, 20))
    this.#backoff = setTimeout(() => void this.#connect(), Math.random() * bound)
  }

  #receiver(duplex: Duplex): DuplexReceiver {
    return {
      onMessage: message => this.#receive(duplex, message),
      onDrain: () => this.#sendWaiting(),
      onClose: reason => this.#lost(duplex, reason),
    }
  }

  #lost(duplex: Duplex, reason: CloseReason): void {
    if (this.#duplex !== duplex) return
    this.#duplex = undefined
    if (this.#state === 'closed') return this.#resolveClosed(reason)
    if (this.#answered || now() - this.#openedAt >= times.reconnectResetMs) this.#failures = 0
    else this.#failures++
    this.#requeue(reason)
    this.#dialLater()
  }

  /** Puts what may be sent again before what was never sent; fails the rest. */
  #requeue(reason: CloseReason): void {
    const waiting = [...this.#waiting]
    const lost = [...this.#inFlight.values()]
    this.#inFlight.clear()
    this.#waiting.clear()
    const failed: PendingCall[] = []
    for (const call of lost) {
      const again = call.options.type === 'subscription' || (call.sends <= maxResends && this.#resend(call.options))
      if (again) this.#waiting.add(call)
      else failed.push(call)
    }
    for (const call of waiting) this.#waiting.add(call)
    for (const call of failed) {
      const message = `the connection was lost before ${call.options.path} was answered: ${reason.message} (${reason.code})`
      call.fail(new RpcError('SERVICE_UNAVAILABLE', message, { reason: 'connection_lost', mayHaveRun: true }))
    }
  }

  #finish(reason: CloseReason, resolve: boolean): void {
    clearTimeout(this.#backoff)
    this.#setState('closed')
    this.#lifetime.abort()
    for (const call of [...this.#inFlight.values(), ...this.#waiting])
      call.fail(closedError(reason, this.mayHaveRun(call)))
    this.#deadlines.clear()
    this.#listeners.clear()
    if (resolve) this.#resolveClosed(reason)
  }

  #isClosed(): boolean {
    return this.#state === 'closed'
  }

  #setState(state: ConnectionState): void {
    if (this.#state === state || this.#state === 'closed') return
    this.#state = state
    for (const listener of [...this.#listeners]) this.#guard(() => listener(state))
  }

  // ── messages ──

  #canSend(): boolean {
    return (
      this.#duplex !== undefined &&
      this.#state === 'open' &&
      !this.#duplex.full &&
      this.#inFlight.size < this.#maxInFlight
    )
  }

  #sendWaiting(): void {
    for (const call of this.#waiting) {
      if (!this.#canSend()) return
      this.#waiting.delete(call)
      this.#sendCall(call)
    }
  }

  #sendCall(call: PendingCall): void {
    const { type, path, input } = call.options
    const params: CallMessage['params'] = { path, input }
    if (call.lastEventId !== undefined) params.lastEventId = call.lastEventId
    if (call.deadlineAt !== Infinity) params.timeoutMs = Math.max(0, Math.round(call.deadlineAt - now()))
    this.#inFlight.set(call.id, call)
    try {
      this.#duplex?.send({ id: call.id, method: type, params })
      call.sends++
    } catch (thrown) {
      // Not encodable or too large: nothing has left, and the other calls are not concerned.
      this.#inFlight.delete(call.id)
      queueMicrotask(() => call.fail(RpcError.from(thrown)))
    }
  }

  #trySend(message: Message): void {
    try {
      this.#duplex?.send(message)
    } catch (thrown) {
      this.#report(RpcError.from(thrown))
    }
  }

  #receive(duplex: Duplex, message: Message): void {
    if (message === 'PING') this.#trySend('PONG')
    else if (message === 'PONG') return
    else if (Array.isArray(message)) for (const item of message) this.#receiveOne(duplex, item)
    else this.#receiveOne(duplex, message)
  }

  #receiveOne(duplex: Duplex, raw: unknown): void {
    const message = parseServerMessage(raw)
    if (message instanceof InvalidMessage) {
      this.#report(new RpcError('PARSE_ERROR', `the server sent no valid message: ${message.problem}`))
      return duplex.terminate({ code: closeCodes.protocolError, message: `not a valid message: ${message.problem}` })
    }
    if (message.id === null) {
      // `reconnect` asks to move; the server goes on serving this duplex until it closes it, and then the next one is dialled.
      if ('error' in message)
        this.#report(new RpcError('SERVICE_UNAVAILABLE', 'the server refused the connection', { cause: message.error }))
      return
    }
    const call = typeof message.id === 'number' ? this.#inFlight.get(message.id) : undefined
    if (!call) return // answered, cancelled or timed out on this side while the message was on its way
    this.#answered = true
    if ('error' in message) {
      this.forget(call)
      this.#guard(() => call.observer.onError({ remote: message.error }))
    } else this.#receiveResult(call, message.result)
    if (this.#waiting.size > 0) this.#sendWaiting()
  }

  #receiveResult(
    call: PendingCall,
    result: { type: 'started' | 'stopped' } | { type: 'data'; data?: unknown; id?: string },
  ): void {
    if (result.type === 'data') {
      if (call.options.type !== 'subscription') this.forget(call)
      // An event without an id does not erase the point to resume from.
      else if (result.id !== undefined) call.lastEventId = result.id
      this.#guard(() => call.observer.onData(result.data))
    } else if (result.type === 'started') this.#guard(() => call.observer.onStarted?.())
    else {
      this.forget(call)
      this.#guard(() => call.observer.onStopped?.())
    }
  }

  /** A caller's callback that throws is the caller's fault; the connection and its other calls go on. */
  #guard(callback: () => void): void {
    try {
      callback()
    } catch (thrown) {
      this.#report(thrown instanceof Error ? thrown : new Error(String(thrown)))
    }
  }

  #report(error: Error): void {
    try {
      this.#onError(error)
    } catch {
      // An observer that throws has nobody left to tell.
    }
  }
}

const ignore: DuplexReceiver = { onMessage: () => {}, onDrain: () => {}, onClose: () => {} }

function closedError(reason?: CloseReason, mayHaveRun = false): RpcError {
  const message = reason ? `the connection is closed: ${reason.message}` : 'the connection is closed'
  return new RpcError('SERVICE_UNAVAILABLE', message, { reason: 'connection_closed', mayHaveRun })
}
