/**
 * Serves one tRPC router on one duplex, until it closes. Knows neither the link below nor the procedures above.
 *
 * A call: started ──▶ answered (one terminal message) ──▶ released (the procedure has returned). A cancel, a deadline or a lost
 * connection answers first and aborts the call's signal; it is released when the procedure lets go.
 *
 * The connection: open ──drain()──▶ draining ──▶ closed, or open ──▶ closed. Draining refuses calls that come and lets those in flight end.
 */
import { Deadlines } from '../../shared/deadlines.js'
import { type CloseReason, closeCodes, type Duplex, type DuplexReceiver, type Message } from '../../shared/duplex.js'
import { type ErrorCode, RpcError } from '../../shared/errors.js'
import { type ConnectionLimits, connectionLimits, times } from '../../shared/limits.js'
import { type CallMessage, InvalidMessage, parseClientMessage } from '../../shared/wire.js'
import { type Answered, Answers, type ErrorReport } from './answers.js'
import { Call } from './call.js'
import type { ConnectionGroup, GroupMember } from './connection-group.js'
import { type ConnectionInfo, ContextHandshake } from './context-handshake.js'
import { invoke } from './invoke.js'
import { pump } from './subscription.js'
import { type AnyRouter, type inferRouterContext, TRPCError } from './trpc-internals.js'

export interface ServeDuplexOptions<R extends AnyRouter> {
  duplex: Duplex
  router: R
  /**
   * Called once per connection; no call runs before it has resolved. Its rejection is sent as the connection's error and closes it: with
   * 4401 for `UNAUTHORIZED`, 4403 for `FORBIDDEN`, else 1011.
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
}

/** The server's end of one connection. */
export interface ServerConnection {
  /** Resolves, never rejects, when the connection has closed; every call's signal is aborted by then. */
  readonly closed: Promise<CloseReason>
  close(reason: CloseReason): void
}

/**
 * Serves a router on a duplex.
 * @throws RpcError `SERVICE_UNAVAILABLE` (draining) if the group is closing; the duplex is closed with 1001
 */
export function serveDuplex<R extends AnyRouter>(options: ServeDuplexOptions<R>): ServerConnection {
  const connection = new Connection(options)
  try {
    options.group?.add(connection)
  } catch (error) {
    options.duplex.close({ code: closeCodes.goingAway, message: 'the server is draining', reason: 'draining' })
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

class Connection implements ServerConnection, GroupMember, DuplexReceiver {
  readonly closed: Promise<CloseReason>
  readonly deadlines = new Deadlines()
  readonly #duplex: Duplex
  readonly #router: AnyRouter
  readonly #limits: ConnectionLimits
  readonly #answers: Answers
  readonly #handshake: ContextHandshake
  /** not yet answered, by id */
  readonly #calls = new Map<string | number, Call>()
  /** held back while the peer reads too slowly, or until there is a context */
  #waiting: { message: CallMessage; batchIndex: number }[] = []
  #ready = false
  /** there will be no context */
  #refused = false
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
    this.#answers = new Answers({ duplex, router, maxBufferedBytes: this.#limits.maxBufferedBytes, onError })
    this.closed = new Promise(resolve => {
      this.#resolveClosed = resolve
    })
    const { createContext, expectConnectionParams, handshakeTimeoutMs: timeoutMs } = options
    this.#handshake = new ContextHandshake(this, { createContext, expectConnectionParams, timeoutMs })
  }

  start(): void {
    this.#duplex.open(this)
    this.#handshake.start()
  }

  onMessage(message: Message): void {
    if (this.#handshake.expectsParams && typeof message === 'object') return this.#handshake.takeParams(message)
    if (message === 'PING') this.#answers.send('PONG')
    else if (message === 'PONG') return
    else if (Array.isArray(message)) {
      for (let index = 0; index < message.length; index++) this.#receive(message[index], index)
    } else this.#receive(message, 0)
  }

  onDrain(): void {
    for (const resume of this.#drainWaiters.splice(0)) resume()
    this.#startWaiting()
  }

  onClose(reason: CloseReason): void {
    this.#state = 'closed'
    this.deadlines.clear()
    this.#waiting = []
    const lost = new RpcError('CLIENT_CLOSED_REQUEST', `the connection closed: ${reason.message}`, {
      reason: 'connection_lost',
    })
    for (const call of [...this.#calls.values()]) this.#end(call, lost)
    this.#handshake.abort(lost)
    for (const resume of this.#drainWaiters.splice(0)) resume()
    this.#settleIdle()
    this.#resolveClosed(reason)
  }

  close(reason: CloseReason): void {
    this.#duplex.close(reason)
  }

  // ── what the handshake tells ──

  begin(context: unknown): void {
    this.#answers.context = context
    this.#ready = true
    this.#startWaiting()
  }

  refuse(thrown: unknown): void {
    this.#refused = true
    this.#waiting = []
    this.#answers.sendError(undefined, thrown)
    const error = RpcError.from(thrown)
    const reason = { code: refusalCodes[error.code] ?? closeCodes.internalError, message: error.message }
    this.#duplex.close(error.reason ? { ...reason, reason: error.reason } : reason)
  }

  // ── what the connection group asks ──

  drain(): void {
    if (this.#state !== 'open') return
    this.#state = 'draining'
    this.#duplex.send({ id: null, method: 'reconnect' })
    for (const { message } of this.#waiting.splice(0)) this.#refuseDraining(message)
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
    const error = new RpcError('SERVICE_UNAVAILABLE', 'the server shut down before the call ended', {
      reason: 'draining',
      mayHaveRun: true,
    })
    for (const call of [...this.#calls.values()]) {
      if (call.type !== 'subscription') this.#answerError(call, error)
      this.#end(call, error)
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

  #receive(raw: unknown, batchIndex: number): void {
    if (this.#state === 'closed' || this.#refused) return
    const message = parseClientMessage(raw)
    if (message instanceof InvalidMessage) return this.#receiveInvalid(message)
    if (message.method === 'subscription.stop') {
      const call = this.#calls.get(message.id)
      if (call) this.#cancel(call)
      else this.#cancelWaiting(message.id)
      return
    }
    if (this.#state === 'draining') return this.#refuseDraining(message)
    if (!this.#ready || this.#duplex.full || this.#waiting.length > 0) this.#hold(message, batchIndex)
    else this.#start(message, batchIndex)
  }

  #receiveInvalid({ id, problem }: InvalidMessage): void {
    const message = `not a valid request: ${problem}`
    if (id === null) this.#duplex.close({ code: closeCodes.protocolError, message })
    else this.#answers.sendInvalid(id, new RpcError('PARSE_ERROR', message))
  }

  #hold(message: CallMessage, batchIndex: number): void {
    const refused = this.#refusal(message)
    if (refused) this.#refuseCall(message, refused)
    else this.#waiting.push({ message, batchIndex })
  }

  #startWaiting(): void {
    while (this.#ready && this.#state === 'open' && !this.#duplex.full) {
      const next = this.#waiting.shift()
      if (!next) return
      this.#start(next.message, next.batchIndex)
    }
  }

  #refusal(message: CallMessage): RpcError | undefined {
    const { maxInFlight, maxSubscriptions } = this.#limits
    if (this.#calls.has(message.id)) {
      return new RpcError('CONFLICT', `a call with id ${message.id} is in flight`, { reason: 'duplicate_id' })
    }
    if (this.#running + this.#subscriptions + this.#waiting.length >= maxInFlight) {
      return new RpcError('TOO_MANY_REQUESTS', `${maxInFlight} calls are in flight, as many as maxInFlight allows`, {
        reason: 'too_many_calls',
      })
    }
    if (message.method === 'subscription' && this.#subscriptions >= maxSubscriptions) {
      return new RpcError(
        'TOO_MANY_REQUESTS',
        `${maxSubscriptions} subscriptions are open, as many as maxSubscriptions allows`,
        {
          reason: 'too_many_subscriptions',
        },
      )
    }
    return undefined
  }

  #start(message: CallMessage, batchIndex: number): void {
    const refused = this.#refusal(message)
    if (refused) return this.#refuseCall(message, refused)
    const call = new Call(message, batchIndex, this.#router, this)
    this.#calls.set(call.id, call)
    if (call.type === 'subscription') {
      this.#subscriptions++
      void pump(this, call, invoke(this.#router, this.#answers.context, call)).then(() => this.#release(call))
    } else {
      this.#running++
      void this.#run(call)
    }
    const { timeoutMs } = message.params
    if (timeoutMs !== undefined && timeoutMs <= times.maxCallTimeoutMs && !call.answered) call.setDeadline(timeoutMs)
  }

  async #run(call: Call): Promise<void> {
    try {
      const value = await invoke(this.#router, this.#answers.context, call)
      if (!call.answered) {
        if (isIterable(value)) {
          const message = `a ${call.type} cannot return an async iterable or observable on this link`
          throw new TRPCError({ code: 'UNSUPPORTED_MEDIA_TYPE', message })
        }
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
    const index = this.#waiting.findIndex(waiting => waiting.message.id === id)
    const [cancelled] = index < 0 ? [] : this.#waiting.splice(index, 1)
    if (!cancelled) return
    const { message } = cancelled
    if (message.method === 'subscription') return this.#answers.sendStopped(answeredBy(message))
    this.#refuseCall(message, new RpcError('CLIENT_CLOSED_REQUEST', 'the caller cancelled', { mayHaveRun: false }))
  }

  /** A call's deadline has passed. */
  expire(call: Call, timeoutMs: number): void {
    const error = new RpcError('TIMEOUT', `no answer within timeoutMs ${timeoutMs}`, { mayHaveRun: true })
    this.#answerError(call, error)
    call.abort(error)
  }

  /** Ends a call whose peer is not told any more. */
  #end(call: Call, reason: RpcError): void {
    this.#answered(call)
    call.abort(reason)
  }

  #answered(call: Call): void {
    call.answered = true
    call.clearDeadline()
    this.#calls.delete(call.id)
  }

  #release(call: Call): void {
    if (call.type === 'subscription') this.#subscriptions--
    else this.#running--
    if (this.#running === 0) this.#settleIdle()
    if (this.#running + this.#subscriptions === 0) for (const resolve of this.#releaseWaiters.splice(0)) resolve()
  }

  #settleIdle(): void {
    if (this.#running > 0 && this.#state !== 'closed') return
    for (const resolve of this.#idleWaiters.splice(0)) resolve()
  }

  #answerError(call: Call, thrown: unknown): void {
    if (call.answered) return
    this.#answered(call)
    this.#answers.sendError(call, thrown)
  }

  /** Answers a call that was not started. */
  #refuseCall(message: CallMessage, error: RpcError, refused?: 'draining'): void {
    this.#answers.sendError(answeredBy(message), error, refused)
  }

  #refuseDraining(message: CallMessage): void {
    const problem = 'the server is draining; call again on another connection'
    const error = new RpcError('SERVICE_UNAVAILABLE', problem, { reason: 'draining', mayHaveRun: false })
    this.#refuseCall(message, error, 'draining')
  }
}

function answeredBy({ id, jsonrpc, method, params }: CallMessage): Answered {
  return { id, jsonrpc, type: method, path: params.path }
}

function isAbort(thrown: unknown): boolean {
  if (!(thrown instanceof Error)) return false
  const cause = thrown.cause instanceof Error ? thrown.cause : thrown
  return cause.name === 'AbortError' || cause instanceof RpcError
}

function isIterable(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    (Symbol.asyncIterator in value || ('subscribe' in value && typeof value.subscribe === 'function'))
  )
}
