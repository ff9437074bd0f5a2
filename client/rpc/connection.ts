/**
 * The client's end: one connection object over a row of duplexes, each dialled when the one before is lost or asks to move. Knows no
 * router and no link.
 *
 * ```
 * connecting ──dial() gives a duplex──▶ open ──it closes, or says `reconnect`──▶ waiting ──backoff──▶ connecting
 *     └─────────────dial() throws──────────────────────────────────────────────────▲
 * any ──close(), a fatal DialError, or a final close code──▶ closed (final)
 * ```
 * After a fatal DialError, duplexes that are left may still answer what they were asked. A duplex that says `reconnect` is kept until its calls are answered; its subscriptions move as soon as there is another.
 * A call waits while there is no duplex, until its own deadline. A call in flight when its duplex closes is sent again on the next one if
 * `resend` allows it, at most twice; a subscription goes on from its last event id; any other fails with `connection_lost`. After a message
 * that was too large (1009), the call that would close the next duplex too fails with `message_too_large`.
 */
import { Deadlines, now } from '../../shared/rpc/deadlines.js'
import {
  type CloseReason,
  closeCodes,
  type Duplex,
  type DuplexReceiver,
  type Message,
} from '../../shared/rpc/duplex.js'
import { RpcError, transportError } from '../../shared/rpc/errors.js'
import { connectionLimits, times } from '../../shared/rpc/limits.js'
import { type CallMessage, type CallType, InvalidMessage, parseServerMessage } from '../../shared/rpc/messages.js'
import { type CallObserver, type CallOptions, cancelledError, type Line, largestOf, PendingCall } from './call.js'
import { type CallEnd, ObservedCall } from './call-end.js'
import { closedError, DialError, noTimeError, notSent } from './errors.js'

/** How to reach a server, and the rules by which lost calls are sent again. Times are in milliseconds. */
export interface ConnectOptions {
  /**
   * Gives a fresh duplex each time, or throws. A {@link DialError} that is fatal stops the connection; anything else is tried again with full jitter,
   * 50 ms to 10 s. Its signal aborts when the connection is closed.
   */
  dial: (info: { signal: AbortSignal }) => Duplex | Promise<Duplex>
  /** Whether a query or mutation that was in flight may run a second time. Default: queries. */
  resend?: (call: { type: CallType; path: string }) => boolean
  /** Deadline of a query or mutation that names none, waiting for a connection included; `Infinity` is none. Default 30 s. */
  callTimeoutMs?: number
  /** Further calls are held back until one is answered. Default 1,024. */
  maxInFlight?: number
  /**
   * Close codes of this user's servers after which the client does not dial again, beside 4401 and 4403: code → the reason that it stands
   * for, which `closed` resolves with. Default: none.
   */
  finalCloseCodes?: Readonly<Record<number, string>>
  /** Hears what no caller hears: failed dials, messages that are none. */
  onError?: (error: Error) => void
  /** Hears of each call when it has ended. Left out, no time is taken. */
  onCallEnd?: (end: CallEnd) => void
}

/**
 * The states of a connection: `connecting` dials, `open` has a duplex, `waiting` pauses until the next dial, `closed`
 * is final.
 */
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

/** Final on every connection: the server knows who this is, and does not want it back. */
const alwaysFinal: ReadonlySet<number> = new Set([closeCodes.unauthorized, closeCodes.forbidden])

class ReconnectingConnection implements Connection {
  readonly closed: Promise<CloseReason>
  readonly #dial: ConnectOptions['dial']
  readonly #resend: (call: { type: CallType; path: string }) => boolean
  readonly #callTimeoutMs: number
  readonly #maxInFlight: number
  readonly #finalCloseCodes: Readonly<Record<number, string>>
  readonly #onError: (error: Error) => void
  readonly #onCallEnd: ((end: CallEnd) => void) | undefined
  readonly #deadlines = new Deadlines()
  readonly #listeners = new Set<(state: ConnectionState) => void>()
  /** all that have not closed: the current one, and those that end their calls */
  readonly #lines = new Set<Line>()
  /** where calls are sent; there is none unless the state is open */
  #line: Line | undefined
  /** sent before and to be sent again, ahead of all that wait: they are older */
  readonly #again = new Set<PendingCall>()
  /** to be sent, oldest first */
  readonly #waiting = new Set<PendingCall>()
  #state: ConnectionState = 'connecting'
  /** of the dial under way */
  #dialling: AbortController | undefined
  #failures = 0
  #lastFailure: string | undefined
  #backoff: NodeJS.Timeout | undefined
  #nextId = 1
  #reason: CloseReason | undefined
  #resolveClosed: (reason: CloseReason) => void = () => {}

  constructor(options: ConnectOptions) {
    this.#dial = options.dial
    this.#resend = options.resend ?? (call => call.type === 'query')
    this.#callTimeoutMs = options.callTimeoutMs ?? times.callTimeoutMs
    this.#maxInFlight = options.maxInFlight ?? connectionLimits.maxInFlight
    this.#finalCloseCodes = options.finalCloseCodes ?? {}
    this.#onError = options.onError ?? (() => {})
    this.#onCallEnd = options.onCallEnd
    this.closed = new Promise(resolve => {
      this.#resolveClosed = resolve
    })
    void this.#connect()
  }

  get state(): ConnectionState {
    return this.#state
  }

  get lastFailure(): string | undefined {
    return this.#lastFailure
  }

  onStateChange(listener: (state: ConnectionState) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  call(options: CallOptions, observer: CallObserver): () => void {
    if (!this.#onCallEnd) return this.#begin(options, observer)
    const observed = new ObservedCall(options, observer, this.#onCallEnd)
    const cancel = this.#begin(options, observed)
    return () => {
      observed.cancelled()
      cancel()
    }
  }

  #begin(options: CallOptions, observer: CallObserver): () => void {
    const call = new PendingCall(this.#nextId++, options, observer, this)
    const timeoutMs = options.timeoutMs ?? (options.type === 'subscription' ? Infinity : this.#callTimeoutMs)
    if (this.#state === 'closed') {
      queueMicrotask(() => call.fail(closedError(this.#reason)))
    } else if (options.signal?.aborted) {
      queueMicrotask(() => call.fail(cancelledError(options.signal, false)))
    } else if (!(timeoutMs > 0)) {
      queueMicrotask(() => call.fail(noTimeError(options.path, timeoutMs)))
    } else {
      if (timeoutMs !== Infinity) {
        call.deadlineAt = now() + Math.min(timeoutMs, times.maxCallTimeoutMs)
        this.#deadlines.add(call)
      }
      if (options.signal) call.listen(options.signal)
      const line = this.#line
      if (line && this.#again.size + this.#waiting.size === 0 && this.#hasRoom(line)) this.#sendCall(line, call)
      else this.#waiting.add(call)
    }
    return () => this.cancel(call)
  }

  close(): Promise<CloseReason> {
    this.#finish({ code: closeCodes.normal, message: 'closed by this side' })
    this.#closeLines()
    return this.closed
  }

  /** Ends a call and tells the server, who may be working on it. */
  cancel(call: PendingCall): void {
    if (call.settled) return
    if (call.line) this.#trySend(call.line, { id: call.id, method: 'subscription.stop' })
    this.forget(call)
    this.#sendWaiting()
  }

  /** Drops a call that is settled. */
  forget(call: PendingCall): void {
    call.settled = true
    this.#waiting.delete(call)
    this.#again.delete(call)
    if (call.deadlineAt !== Infinity) this.#deadlines.delete(call)
    call.unlisten()
    this.#takeFrom(call)
  }

  /** Whether the server may have begun to run a call. */
  mayHaveRun(call: PendingCall): boolean {
    return call.sends > 0
  }

  // ── the duplexes ──

  async #connect(): Promise<void> {
    this.#backoff = undefined
    this.#setState('connecting')
    if (this.#reason) return // a listener has closed it
    this.#dialling = new AbortController()
    let duplex: Duplex
    try {
      duplex = await this.#dial({ signal: this.#dialling.signal })
    } catch (error) {
      return this.#dialFailed(error)
    } finally {
      this.#dialling = undefined
    }
    if (this.#state === 'closed') {
      duplex.open(ignore)
      return duplex.close({ code: closeCodes.normal, message: 'closed while dialling' })
    }
    const line: Line = { duplex, calls: new Map(), openedAt: now(), answered: false }
    this.#lines.add(line)
    this.#line = line
    duplex.open(this.#receiver(line))
    this.#setState('open')
    for (const old of this.#lines) if (old !== line) this.#moveSubscriptions(old)
    this.#sendWaiting()
  }

  #dialFailed(thrown: unknown): void {
    if (this.#state === 'closed') return
    const error = thrown instanceof Error ? thrown : new Error(String(thrown))
    this.#report(error)
    this.#lastFailure = error.message
    if (error instanceof DialError && error.fatal) {
      const { message, reason } = error
      return this.#finish({ code: closeCodes.abnormal, message, ...(reason && { reason }) })
    }
    this.#failures++
    this.#dialLater(error instanceof DialError ? error.retryAfterMs : undefined)
  }

  /** After full jitter, so that the clients of a server that has gone do not come back all at once; not before the server wants it. */
  #dialLater(retryAfterMs = 0): void {
    this.#setState('waiting')
    if (this.#reason) return // closed by a listener, or by onError before
    const bound = Math.min(times.reconnectMaxMs, times.reconnectMinMs * 2 ** Math.min(this.#failures, 20))
    const asked = Math.min(times.reconnectMaxMs, retryAfterMs)
    this.#backoff = setTimeout(() => void this.#connect(), asked + Math.random() * bound)
  }

  #receiver(line: Line): DuplexReceiver {
    return {
      onMessage: message => this.#receive(line, message),
      onDrain: () => this.#sendWaiting(),
      onClose: reason => this.#lost(line, reason),
    }
  }

  #lost(line: Line, given: CloseReason): void {
    const finalReason = this.#finalCloseCodes[given.code]
    const reason = finalReason === undefined ? given : { reason: finalReason, ...given }
    if (finalReason !== undefined || alwaysFinal.has(reason.code)) {
      this.#finish(reason)
      this.#closeLines()
    }
    this.#lines.delete(line)
    if (this.#reason) {
      this.#requeue(line, reason)
      return this.#settle()
    }
    const isCurrent = line === this.#line
    if (isCurrent) {
      this.#leave(line)
      const message = `the connection was lost: ${reason.message} (${reason.code})`
      this.#lastFailure = message
      if (reason.code !== closeCodes.goingAway) {
        this.#report(
          new RpcError<string>('SERVICE_UNAVAILABLE', message, { reason: reason.reason ?? 'connection_lost' }),
        )
      }
    }
    this.#requeue(line, reason)
    if (isCurrent) this.#dialLater()
  }

  /** Sends no further call there. A connection that was of use resets the backoff. */
  #leave(line: Line): void {
    this.#line = undefined
    if (line.answered || now() - line.openedAt >= times.reconnectResetMs) this.#failures = 0
    else this.#failures++
  }

  /** The server wants its clients elsewhere: dials anew, and lets what is under way end here. */
  #move(line: Line): void {
    if (line !== this.#line) return
    this.#leave(line)
    this.#lastFailure = 'the server asked to reconnect'
    this.#dialLater()
    this.#closeWhenDone(line)
  }

  #moveSubscriptions(line: Line): void {
    const subscriptions = subscriptionsOf(line)
    for (const call of subscriptions) {
      this.#trySend(line, { id: call.id, method: 'subscription.stop' })
      this.#takeFrom(call)
    }
    this.#waitAgain(subscriptions)
  }

  /** A duplex that is not current any more is of no use without calls. */
  #closeWhenDone(line: Line): void {
    if (line === this.#line || line.calls.size > 0) return
    const message = this.#reason?.message ?? 'moved to another connection'
    line.duplex.close({ code: closeCodes.normal, message })
  }

  /** Lets what may be sent again wait for the next duplex; fails the rest. */
  #requeue(line: Line, reason: CloseReason): void {
    const lost = [...line.calls.values()]
    line.calls.clear()
    for (const call of lost) call.line = undefined
    this.#failTooLarge(lost, reason)
    const again = lost.filter(call => !call.settled && this.#maySendAgain(call))
    this.#waitAgain(again)
    for (const call of lost) {
      if (again.includes(call)) continue
      const message = `the connection was lost before ${call.options.path} was answered: ${reason.message} (${reason.code})`
      call.fail(new RpcError('SERVICE_UNAVAILABLE', message, { reason: 'connection_lost', mayHaveRun: true }))
    }
  }

  /** Fails the calls that would close the next connection too. */
  #failTooLarge(lost: readonly PendingCall[], { code, message, received }: CloseReason): void {
    if (code !== closeCodes.messageTooLarge) return
    // What was received has not been read, so nobody knows whose it was; calls other than subscriptions are sent again only so often.
    const failed = received ? lost.filter(({ options }) => options.type === 'subscription') : largestOf(lost)
    for (const call of failed) {
      const what = received ? 'an event of this or of another subscription' : 'the largest call of its connection'
      const problem = `${call.options.path} is not sent again: ${what} was too large: ${message}`
      // The largest need not have been the one: that one may have been cancelled.
      call.fail(transportError('message_too_large', problem, { mayHaveRun: true }))
    }
  }

  #maySendAgain({ options, sends }: PendingCall): boolean {
    if (this.#reason) return false
    if (options.type === 'subscription') return true
    if (sends > maxResends) return false
    try {
      return this.#resend(options)
    } catch (thrown) {
      // Called while a connection closes, where nobody else would catch it.
      this.#report(thrown instanceof Error ? thrown : new Error(String(thrown)))
      return false
    }
  }

  #waitAgain(calls: readonly PendingCall[]): void {
    for (const call of calls) this.#again.add(call)
    this.#sendWaiting()
  }

  /** Final. What waits fails, and subscriptions do; other calls in flight may still be answered, unless {@link closeLines} follows. */
  #finish(reason: CloseReason): void {
    if (this.#reason) return
    this.#reason = reason
    this.#line = undefined
    clearTimeout(this.#backoff)
    this.#setState('closed')
    this.#listeners.clear()
    this.#dialling?.abort()
    for (const call of [...this.#again, ...this.#waiting]) this.#failClosed(call)
    for (const line of this.#lines) {
      for (const call of subscriptionsOf(line)) {
        this.#trySend(line, { id: call.id, method: 'subscription.stop' })
        this.#failClosed(call)
      }
      this.#closeWhenDone(line)
    }
    this.#settle()
  }

  /** After {@link finish}: nothing in flight is waited for. */
  #closeLines(): void {
    const reason = this.#reason
    if (!reason) return
    for (const { duplex, calls } of this.#lines) {
      duplex.close(reason)
      for (const call of [...calls.values()]) this.#failClosed(call)
    }
  }

  #failClosed(call: PendingCall): void {
    call.fail(closedError(this.#reason, this.mayHaveRun(call)))
  }

  #settle(): void {
    if (!this.#reason || this.#lines.size > 0) return
    this.#deadlines.clear()
    this.#resolveClosed(this.#reason)
  }

  #setState(state: ConnectionState): void {
    if (this.#state === state || this.#state === 'closed') return
    this.#state = state
    for (const listener of [...this.#listeners]) this.#guard(() => listener(state))
  }

  // ── messages ──

  #hasRoom({ duplex, calls }: Line): boolean {
    return !duplex.full && calls.size < this.#maxInFlight
  }

  #sendWaiting(): void {
    if (this.#again.size > 0 && this.#line) this.#sendFrom(this.#again, inOrder(this.#again))
    if (this.#again.size === 0) this.#sendFrom(this.#waiting, this.#waiting)
  }

  #sendFrom(queue: Set<PendingCall>, calls: Iterable<PendingCall>): void {
    for (const call of calls) {
      const line = this.#line
      if (!line || !this.#hasRoom(line)) return
      // A callback of an earlier one may have settled it.
      if (queue.delete(call)) this.#sendCall(line, call)
    }
  }

  #sendCall(line: Line, call: PendingCall): void {
    const { type, path, input } = call.options
    const params: CallMessage['params'] = { path, input }
    if (call.lastEventId !== undefined) params.lastEventId = call.lastEventId
    if (call.deadlineAt !== Infinity) params.timeoutMs = Math.max(0, Math.round(call.deadlineAt - now()))
    line.calls.set(call.id, call)
    call.line = line
    try {
      line.duplex.send({ id: call.id, method: type, params })
      call.sends++
    } catch (thrown) {
      // Not encodable or too large: nothing has left, and the other calls are not concerned.
      this.#takeFrom(call)
      queueMicrotask(() => call.fail(notSent(RpcError.from(thrown))))
    }
  }

  /** Takes a call from the duplex on which it was sent. */
  #takeFrom(call: PendingCall): void {
    const { line } = call
    if (!line) return
    line.calls.delete(call.id)
    call.line = undefined
    this.#closeWhenDone(line)
  }

  #trySend({ duplex }: Line, message: Message): void {
    try {
      duplex.send(message)
    } catch (thrown) {
      this.#report(RpcError.from(thrown))
    }
  }

  #receive(line: Line, message: Message): void {
    if (message === 'PING') this.#pong(line)
    else if (message === 'PONG') return
    else if (Array.isArray(message)) for (const item of message) this.#receiveOne(line, item)
    else this.#receiveOne(line, message)
  }

  /** Everything else that is sent waits for room by itself. */
  #pong(line: Line): void {
    this.#trySend(line, 'PONG')
    if (line.duplex.bufferedBytes <= connectionLimits.maxBufferedBytes) return
    line.duplex.terminate({ code: closeCodes.slowReader, message: 'the server sends PING and does not read' })
  }

  #receiveOne(line: Line, raw: unknown): void {
    const message = parseServerMessage(raw)
    if (message instanceof InvalidMessage) {
      this.#report(new RpcError('PARSE_ERROR', `the server sent no valid message: ${message.problem}`))
      return line.duplex.terminate({
        code: closeCodes.protocolError,
        message: `not a valid message: ${message.problem}`,
      })
    }
    if (message.id === null) {
      if (!('error' in message)) return this.#move(line)
      this.#report(new RpcError('SERVICE_UNAVAILABLE', 'the server refused the connection', { cause: message.error }))
      return
    }
    const call = typeof message.id === 'number' ? line.calls.get(message.id) : undefined
    if (!call) return // answered, cancelled, moved or timed out on this side while the message was on its way
    if ('error' in message && message.refused === 'draining') return this.#sendElsewhere(line, call)
    if ('error' in message) {
      line.answered = true
      this.forget(call)
      this.#guard(() => call.observer.onError({ remote: message.error }))
    } else {
      // What starts a subscription may be followed by what ends the connection, each time.
      if (message.result.type !== 'started') line.answered = true
      this.#receiveResult(call, message.result)
    }
    if (this.#again.size + this.#waiting.size > 0) this.#sendWaiting()
  }

  /** It came after the server had begun to drain, and was not started. */
  #sendElsewhere(line: Line, call: PendingCall): void {
    this.#move(line)
    call.sends--
    this.#takeFrom(call)
    if (this.#reason) this.#failClosed(call)
    else this.#waitAgain([call])
  }

  #receiveResult(
    call: PendingCall,
    result: { type: 'started' | 'stopped' } | { type: 'data'; data?: unknown; id?: string },
  ): void {
    if (result.type === 'data') {
      if (call.options.type !== 'subscription') this.forget(call)
      // An event without an id does not erase the point to resume from.
      else if (result.id !== undefined) call.lastEventId = result.id
      this.#guard(() => call.observer.onData(result.data, result.id))
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

function subscriptionsOf(line: Line): PendingCall[] {
  return [...line.calls.values()].filter(({ options }) => options.type === 'subscription')
}

/** Oldest first, as they were made. */
function inOrder(calls: Iterable<PendingCall>): PendingCall[] {
  return [...calls].sort((a, b) => a.id - b.id)
}

const ignore: DuplexReceiver = { onMessage: () => {}, onDrain: () => {}, onClose: () => {} }
