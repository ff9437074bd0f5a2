/**
 * Serves one tRPC router on one duplex, until it closes. Knows neither the link below nor the procedures above.
 *
 * A call: started ──▶ answered (one terminal message) ──▶ released (the procedure has returned). A cancel, a deadline or a lost
 * connection answers first and aborts the call's signal; it is released when the procedure lets go.
 *
 * The connection: open ──drain()──▶ draining ──▶ closed, or open ──▶ closed. Draining refuses calls that come and lets those in flight end.
 * Closed begins when this side closes: from then on nothing can be answered, so nothing is started and what runs is aborted.
 */
import { Deadlines, now } from '../../shared/rpc/deadlines.js'
import {
  type CloseReason,
  closeCodes,
  type Duplex,
  type DuplexReceiver,
  type Message,
} from '../../shared/rpc/duplex.js'
import { type ErrorCode, RpcError, transportError } from '../../shared/rpc/errors.js'
import { type ConnectionLimits, connectionLimits, maxBatchMessages, times } from '../../shared/rpc/limits.js'
import { type CallMessage, InvalidMessage, parseClientMessage } from '../../shared/rpc/messages.js'
import { timeoutOf } from '../../shared/rpc/timeouts.js'
import { type Answered, Answers, type ErrorReport } from './answers.js'
import { Call } from './call.js'
import type { ConnectionGroup, GroupMember } from './connection-group.js'
import { type ConnectionInfo, ContextHandshake, type ContextRequirement } from './context-handshake.js'
import { toTrpcError } from './error-shape.js'
import { invoke } from './invoke.js'
import { isIterable, letGo } from './iterable.js'
import { cancelledUnstarted, draining, duplicate, invalidRequest, tooMany } from './refusals.js'
import { pump } from './subscription.js'
import { type AnyRouter, type inferRouterContext, TRPCError } from './trpc-internals.js'

/** A duplex, the router to serve on it, and how its context is made. Times are in milliseconds. */
export interface ServeDuplexOptions<R extends AnyRouter> {
  duplex: Duplex
  router: R
  /**
   * Called once per connection; no call runs before it has resolved. Its rejection is sent as the connection's error and closes it: with
   * 4401 for `UNAUTHORIZED`, 4403 for `FORBIDDEN`, else 1011. Required where the router's context has required members.
   */
  createContext?: (info: ConnectionInfo) => inferRouterContext<R> | Promise<inferRouterContext<R>>
  /** The peer's first message is tRPC's `connectionParams`. Default false. */
  expectConnectionParams?: boolean
  /** Until there is a context; then the connection is closed. Default 10 s. */
  handshakeTimeoutMs?: number
  /** Counts the connection and its calls, so that the group's `close()` waits for them. */
  group?: ConnectionGroup
  limits?: Partial<ConnectionLimits>
  onError?: (report: ErrorReport) => void
  /** Hears of each call when it is answered, or cannot be any more. Left out, no time is taken. */
  onCallEnd?: (end: CallEnd) => void
  /** Hears why a connection got no context. */
  onRefused?: (error: RpcError<string>) => void
}

/** A call that has ended, for statistics. */
export interface CallEnd {
  type: CallMessage['method']
  /** as the peer gave it: there need not be such a procedure */
  path: string
  /** undefined: it succeeded, or its subscription was ended by one of the two sides */
  code: TRPCError['code'] | undefined
  /** from its arrival; 0 for one that was not started */
  durationMs: number
}

/** The server's end of one connection. */
export interface ServerConnection {
  /** Resolves, never rejects, when the connection has closed; every call's signal is aborted by then. */
  readonly closed: Promise<CloseReason>
  close(reason: CloseReason): void
}

/**
 * Serves a router on a duplex.
 * @throws RpcError `SERVICE_UNAVAILABLE` (draining) if the group is closing; the duplex is closed with 1001. `BAD_REQUEST` (config_invalid) for a
 *   `handshakeTimeoutMs` that is no time
 */
export function serveDuplex<R extends AnyRouter>(
  options: ServeDuplexOptions<R> & ContextRequirement<R>,
): ServerConnection {
  const connection = new Connection(options)
  try {
    options.group?.add(connection)
  } catch (error) {
    connection.abandon({ code: closeCodes.goingAway, message: 'the server is draining', reason: 'draining' })
    throw error
  }
  connection.start()
  return connection
}

/** Close codes of a connection that gets no context; 1011 for any other error. */
const refusalCodes: { readonly [code in ErrorCode]?: number } = {
  UNAUTHORIZED: closeCodes.unauthorized,
  FORBIDDEN: closeCodes.forbidden,
  PARSE_ERROR: closeCodes.protocolError,
}

/** A call that waits to be started. */
interface Held {
  readonly message: CallMessage
  readonly batchIndex: number
  readonly receivedAt: number
  readonly frame: Frame
}

/** What arrived as one; its bytes stay as long as one call of it waits. */
interface Frame {
  readonly bytes: number
  held: number
}

class Connection implements ServerConnection, GroupMember, DuplexReceiver {
  readonly closed: Promise<CloseReason>
  readonly deadlines = new Deadlines()
  readonly #duplex: Duplex
  readonly #router: AnyRouter
  readonly #limits: ConnectionLimits
  readonly #answers: Answers
  readonly #handshake: ContextHandshake
  readonly #onCallEnd: ((end: CallEnd) => void) | undefined
  readonly #onRefused: ((error: RpcError<string>) => void) | undefined
  /** not yet answered, by id */
  readonly #calls = new Map<string | number, Call>()
  /**
   * Held back, oldest first, by id: until there is a context, while the peer reads too slowly, and while procedures that were answered
   * (cancelled, timed out) have not let go.
   */
  readonly #waiting = new Map<string | number, Held>()
  #waitingBytes = 0
  /** subscriptions among the two above */
  #openSubscriptions = 0
  /** bytes of what is received now, and what is held of it */
  #receivedBytes = 0
  #frame: Frame | undefined
  #ready = false
  /** calls that were refused or stopped before there was a context */
  #answeredEarly = 0
  #state: 'open' | 'draining' | 'closed' = 'open'
  /** queries and mutations that were started and not released; subscriptions likewise */
  #running = 0
  #subscriptions = 0
  #drainWaiters: (() => void)[] = []
  #idleWaiters: (() => void)[] = []
  #releaseWaiters: (() => void)[] = []
  #resolveClosed: (reason: CloseReason) => void = () => {}

  constructor(options: ServeDuplexOptions<AnyRouter>) {
    this.#duplex = options.duplex
    this.#router = options.router
    this.#limits = { ...connectionLimits, ...options.limits }
    const { duplex, router, onError } = options
    this.#onCallEnd = options.onCallEnd
    this.#onRefused = options.onRefused
    const { maxBufferedBytes } = this.#limits
    this.#answers = new Answers({ duplex, router, maxBufferedBytes, onError, owner: this })
    this.closed = new Promise(resolve => {
      this.#resolveClosed = resolve
    })
    const { createContext, expectConnectionParams, handshakeTimeoutMs = times.handshakeTimeoutMs } = options
    const timeoutMs = timeoutOf('handshakeTimeoutMs', handshakeTimeoutMs)
    this.#handshake = new ContextHandshake(this, { createContext, expectConnectionParams, timeoutMs })
  }

  start(): void {
    this.#duplex.open(this)
    this.#handshake.start()
  }

  onMessage(message: Message, bytes: number): void {
    if (this.#state === 'closed') return
    if (this.#handshake.expectsParams && typeof message === 'object') return this.#handshake.takeParams(message)
    if (message === 'PING') this.#answers.send('PONG')
    else if (message !== 'PONG') this.#receiveFrame(message, bytes)
  }

  onDrain(): void {
    for (const resume of this.#drainWaiters.splice(0)) resume()
    this.#startWaiting()
  }

  onClose(reason: CloseReason): void {
    this.#end(reason)
    this.#resolveClosed(reason)
  }

  close(reason: CloseReason, patienceMs?: number): void {
    this.#end(reason)
    this.#duplex.close(reason, patienceMs)
  }

  /** Closes for a peer that is not waited for: it hears why, should it still read. */
  abandon(reason: CloseReason): void {
    this.close(reason)
    this.#resolveClosed(reason)
  }

  /** Nothing can be answered any more. */
  #end({ message }: CloseReason): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    const lost = new RpcError('CLIENT_CLOSED_REQUEST', `the connection closed: ${message}`, {
      reason: 'connection_lost',
    })
    for (const call of [...this.#calls.values()]) this.#endCall(call, lost)
    for (const { message } of this.#takeWaiting()) this.#tellUnstarted(message, lost)
    this.#handshake.abort(lost)
    this.deadlines.clear()
    for (const resume of this.#drainWaiters.splice(0)) resume()
    this.#settleIdle()
  }

  // ── what the handshake tells ──

  begin(context: unknown): void {
    this.#answers.context = context
    this.#ready = true
    this.#startWaiting()
  }

  refuse(thrown: unknown): void {
    this.#answers.sendError(undefined, thrown)
    const error = RpcError.from(thrown)
    this.#tell(() => this.#onRefused?.(error))
    const reason = { code: refusalCodes[error.code] ?? closeCodes.internalError, message: error.message }
    this.close(error.reason ? { ...reason, reason: error.reason } : reason)
  }

  // ── what the connection group asks ──

  drain(): void {
    if (this.#state !== 'open') return
    this.#state = 'draining'
    this.#duplex.send({ id: null, method: 'reconnect' })
    for (const { message } of this.#takeWaiting()) this.#refuseDraining(message)
    // A client that has not been let in has nothing here that it would have to move.
    if (!this.#ready) this.close({ code: closeCodes.goingAway, message: 'the server shuts down', reason: 'draining' })
    this.#settleIdle()
  }

  get activeCalls(): number {
    return this.#running
  }

  whenIdle(): Promise<void> {
    if (this.#running === 0 || this.#state === 'closed') return Promise.resolve()
    return new Promise(resolve => this.#idleWaiters.push(resolve))
  }

  whenReleased(): Promise<void> {
    if (this.#running + this.#subscriptions === 0) return Promise.resolve()
    return new Promise(resolve => this.#releaseWaiters.push(resolve))
  }

  abortCalls(): void {
    const error = transportError('draining', 'the server shut down before the call ended', { mayHaveRun: true })
    for (const call of [...this.#calls.values()]) {
      if (call.type !== 'subscription') this.#answerError(call, error)
      this.#endCall(call, error)
    }
  }

  terminate(reason: CloseReason): void {
    this.#duplex.terminate(reason)
  }

  // ── what a subscription asks ──

  /** Whether a subscription must wait before it is pulled again. */
  get full(): boolean {
    return this.#duplex.full
  }

  /** Resolves when the peer has caught up, or the connection has closed. */
  drained(): Promise<void> {
    return new Promise(resolve => this.#drainWaiters.push(resolve))
  }

  /** One event of a subscription. */
  sendData(call: Call, data: unknown, eventId?: string): void {
    this.#answers.sendData(call, data, eventId)
  }

  sendStarted(call: Call): void {
    this.#answers.sendStarted(call)
  }

  /** The terminal message of a subscription that ran to its end or was stopped. */
  stop(call: Call): void {
    if (call.answered) return
    this.#answered(call)
    this.#answers.sendStopped(call)
  }

  /** The terminal message of a call that failed. */
  fail(call: Call, thrown: unknown): void {
    if (!call.answered) this.#answerError(call, thrown)
    // Cancelled, timed out or lost: the peer has its answer, and how the procedure then gave up is not news unless it is a fault.
    else if (!isAbort(thrown)) this.report(call, thrown)
  }

  /** Something failed that the peer is not told. */
  report(call: Call, thrown: unknown): void {
    this.#answers.report(call, thrown)
  }

  // ── calls ──

  #receiveFrame(message: object, bytes: number): void {
    this.#receivedBytes = bytes
    this.#frame = undefined
    if (!Array.isArray(message)) return this.#receive(message, 0)
    if (message.length > maxBatchMessages) {
      const problem = `a batch of ${message.length.toLocaleString('en')}, more than ${maxBatchMessages.toLocaleString('en')} messages`
      return this.close({ code: closeCodes.protocolError, message: `not a valid request: ${problem}` })
    }
    for (let index = 0; index < message.length && this.#state !== 'closed'; index++)
      this.#receive(message[index], index)
  }

  #receive(raw: unknown, batchIndex: number): void {
    const message = parseClientMessage(raw)
    if (message instanceof InvalidMessage) return this.#receiveInvalid(message)
    if (message.method === 'subscription.stop') {
      const call = this.#calls.get(message.id)
      if (call) this.#cancel(call)
      else this.#cancelWaiting(message.id)
      return
    }
    if (this.#state === 'draining') return this.#refuseDraining(message)
    const mustWait = !this.#mayStart || this.#waiting.size > 0
    const refused = this.#refusal(message, mustWait)
    if (refused) return this.#refuseCall(message, refused)
    if (message.method === 'subscription') this.#openSubscriptions++
    if (mustWait) this.#hold(message, batchIndex)
    else this.#start(message, batchIndex)
  }

  #receiveInvalid({ id, problem }: InvalidMessage): void {
    // Who has not been let in is told nothing.
    if (id !== null && this.#ready) return this.#answers.sendInvalid(id, invalidRequest(problem))
    this.close({ code: closeCodes.protocolError, message: `not a valid request: ${problem}` })
  }

  /** Why a call may not even wait: by what its peer can know, which is what it has asked and got no answer to. */
  #refusal(message: CallMessage, mustWait: boolean): RpcError | undefined {
    const { maxInFlight, maxSubscriptions } = this.#limits
    const { id } = message
    if (this.#calls.has(id) || this.#waiting.has(id)) return duplicate
    if (this.#calls.size + this.#waiting.size >= maxInFlight) {
      return tooMany('too_many_calls', `${maxInFlight} calls are in flight, as many as maxInFlight allows`)
    }
    if (message.method === 'subscription' && this.#openSubscriptions >= maxSubscriptions) {
      const problem = `${maxSubscriptions} subscriptions are open, as many as maxSubscriptions allows`
      return tooMany('too_many_subscriptions', problem)
    }
    if (mustWait && !this.#frame && this.#waitingBytes + this.#receivedBytes > this.#maxWaitingBytes) {
      const limit = this.#maxWaitingBytes.toLocaleString('en')
      return tooMany('too_many_calls', `calls that wait to be started would take more than ${limit} bytes`)
    }
    return undefined
  }

  /** Less before the peer is let in: it need not be one that ever will be. */
  get #maxWaitingBytes(): number {
    const { maxBufferedBytes, maxMessageBytes } = this.#limits
    return this.#ready ? maxBufferedBytes : maxMessageBytes
  }

  #hold(message: CallMessage, batchIndex: number): void {
    this.#frame ??= { bytes: this.#receivedBytes, held: 0 }
    if (this.#frame.held++ === 0) this.#waitingBytes += this.#frame.bytes
    this.#waiting.set(message.id, { message, batchIndex, receivedAt: now(), frame: this.#frame })
  }

  #unhold({ message, frame }: Held): void {
    this.#waiting.delete(message.id)
    if (--frame.held === 0) this.#waitingBytes -= frame.bytes
  }

  /** All that is held, which is not held any more: there will be nothing to start it for. */
  #takeWaiting(): Held[] {
    const held = [...this.#waiting.values()]
    this.#waiting.clear()
    return held
  }

  get #mayStart(): boolean {
    return this.#ready && !this.#duplex.full && this.#running + this.#subscriptions < this.#limits.maxInFlight
  }

  #startWaiting(): void {
    for (const held of this.#waiting.values()) {
      if (!this.#mayStart || this.#state !== 'open') return
      this.#unhold(held)
      this.#start(held.message, held.batchIndex, now() - held.receivedAt)
    }
  }

  #start(message: CallMessage, batchIndex: number, waitedMs = 0): void {
    const { timeoutMs = Infinity } = message.params
    if (timeoutMs <= waitedMs) {
      const problem = `not started within timeoutMs ${timeoutMs}`
      return this.#refuseHeld(message, new RpcError('TIMEOUT', problem, { mayHaveRun: false }))
    }
    const call = new Call(message, batchIndex, this.#router, this)
    if (this.#onCallEnd) call.startedAt = now() - waitedMs
    this.#calls.set(call.id, call)
    if (call.type === 'subscription') {
      this.#subscriptions++
      void pump(this, call, invoke(this.#router, this.#answers.context, call)).then(() => this.#release(call))
    } else {
      this.#running++
      void this.#run(call)
    }
    if (timeoutMs <= times.maxCallTimeoutMs && !call.answered) call.setDeadline(timeoutMs, waitedMs)
  }

  async #run(call: Call): Promise<void> {
    try {
      const value = await invoke(this.#router, this.#answers.context, call)
      if (isIterable(value)) {
        letGo(value, thrown => this.report(call, thrown))
        const message = `a ${call.type} cannot return an async iterable or observable on this link`
        if (!call.answered) throw new TRPCError({ code: 'UNSUPPORTED_MEDIA_TYPE', message })
      } else if (!call.answered) {
        this.#answers.sendData(call, value)
        this.#answered(call)
      }
    } catch (thrown) {
      this.fail(call, thrown)
    }
    this.#release(call)
  }

  #cancel(call: Call): void {
    const cancelled = new RpcError('CLIENT_CLOSED_REQUEST', 'the caller cancelled')
    if (call.type === 'subscription') this.stop(call)
    else this.#answerError(call, cancelled)
    call.abort(cancelled)
  }

  #cancelWaiting(id: string | number): void {
    const held = this.#waiting.get(id)
    if (!held) return
    this.#unhold(held)
    const { message } = held
    if (message.method !== 'subscription') return this.#refuseHeld(message, cancelledUnstarted)
    this.#openSubscriptions--
    this.#tellUnstarted(message, undefined)
    if (this.#mayAnswer()) this.#answers.sendStopped(answeredBy(message))
  }

  /** A call's deadline has passed. */
  expire(call: Call, timeoutMs: number): void {
    const error = new RpcError('TIMEOUT', `no answer within timeoutMs ${timeoutMs}`, { mayHaveRun: true })
    this.#answerError(call, error)
    call.abort(error)
  }

  /** Ends a call whose peer is not told any more. */
  #endCall(call: Call, reason: RpcError): void {
    this.#answered(call, reason)
    call.abort(reason)
  }

  #answered(call: Call, error?: unknown): void {
    if (call.answered) return
    call.answered = true
    if (this.#onCallEnd) this.#tellEnd(call, now() - call.startedAt, error)
    call.clearDeadline()
    this.#calls.delete(call.id)
    if (call.type === 'subscription') this.#openSubscriptions--
  }

  #release(call: Call): void {
    if (call.type === 'subscription') this.#subscriptions--
    else this.#running--
    if (this.#running === 0) this.#settleIdle()
    if (this.#running + this.#subscriptions === 0) for (const resolve of this.#releaseWaiters.splice(0)) resolve()
    if (this.#waiting.size > 0) this.#startWaiting()
  }

  #settleIdle(): void {
    if (this.#running > 0 && this.#state !== 'closed') return
    for (const resolve of this.#idleWaiters.splice(0)) resolve()
  }

  #answerError(call: Call, thrown: unknown): void {
    if (call.answered) return
    this.#answered(call, thrown)
    this.#answers.sendError(call, thrown)
  }

  /** Answers a call that waited and is not started. */
  #refuseHeld(message: CallMessage, error: RpcError): void {
    if (message.method === 'subscription') this.#openSubscriptions--
    this.#refuseCall(message, error)
  }

  /** Answers a call that was not started. */
  #refuseCall(message: CallMessage, error: RpcError, refused?: 'draining'): void {
    this.#tellUnstarted(message, error)
    if (refused || this.#mayAnswer()) this.#answers.sendError(answeredBy(message), error, refused)
  }

  /**
   * Who has not been let in can provoke only so many answers. Draining is none of theirs: each call that waits is refused once, and then
   * the connection is closed.
   */
  #mayAnswer(): boolean {
    if (this.#ready || ++this.#answeredEarly <= this.#limits.maxInFlight) return true
    const problem = `more than ${this.#limits.maxInFlight} calls were refused or stopped before there was a context`
    this.close({ code: closeCodes.protocolError, message: `not a valid request: ${problem}` })
    return false
  }

  #tellUnstarted({ method: type, params: { path } }: CallMessage, error: RpcError | undefined): void {
    if (this.#onCallEnd) this.#tellEnd({ type, path }, 0, error)
  }

  #tellEnd({ type, path }: Pick<CallEnd, 'type' | 'path'>, durationMs: number, error: unknown): void {
    this.#tell(() => {
      const code = error === undefined ? undefined : toTrpcError(error).code
      this.#onCallEnd?.({ type, path, code, durationMs })
    })
  }

  #tell(observe: () => void): void {
    try {
      observe()
    } catch {
      // An observer that throws must not change what the peer gets, and there is nobody else to tell.
    }
  }

  #refuseDraining(message: CallMessage): void {
    this.#refuseCall(message, draining, 'draining')
  }
}

function answeredBy({ id, jsonrpc, method, params }: CallMessage): Answered {
  return { id, jsonrpc, type: method, path: params.path }
}

function isAbort(thrown: unknown): boolean {
  try {
    if (!(thrown instanceof Error)) return false
    const cause = thrown.cause instanceof Error ? thrown.cause : thrown
    return cause.name === 'AbortError' || cause instanceof RpcError
  } catch {
    return false // It throws when it is looked at.
  }
}
