/**
 * Serves one tRPC router on one duplex, until the duplex closes. Knows neither the link below nor the procedures above.
 *
 * The connection:
 * ```
 * opening ──a context is ready──▶ open ──drain(), moveAway()──▶ draining ──▶ closed
 *    └──────────────────────────────┴──────────────────────────────▲
 * ```
 * Draining rejects new calls and lets calls in flight end. Closed begins with the close of this side: no response can
 * leave any more, so no call starts and running calls are aborted.
 */

import type { CallEnd } from '../../shared/rpc/call-end.js'
import { Deadlines, now } from '../../shared/rpc/deadlines.js'
import {
  type CloseReason,
  closeCodes,
  type Duplex,
  type DuplexReceiver,
  type Message,
} from '../../shared/rpc/duplex.js'
import { type ErrorCode, RpcError } from '../../shared/rpc/errors.js'
import { type ConnectionLimits, connectionLimits, maxBatchMessages, times } from '../../shared/rpc/limits.js'
import { type Backlog, receiveBatch } from '../../shared/rpc/links/backlog.js'
import { InvalidMessage, parseClientMessage } from '../../shared/rpc/messages.js'
import { timeoutOf } from '../../shared/rpc/timeouts.js'
import { ConnectionCalls } from './connection-calls.js'
import type { ConnectionGroup, GroupMember, MemberObserver } from './connection-group.js'
import { type ConnectionInfo, ContextHandshake, type ContextRequirement } from './context-handshake.js'
import { invalidRequest } from './rejections.js'
import { type ErrorReport, Responses } from './responses.js'
import { stragglersOf } from './stragglers.js'
import type { AnyRouter, inferRouterContext } from './trpc-internals.js'
import { UnauthenticatedPeer } from './unauthenticated-peer.js'

/** Settings of {@link serveDuplex}. */
export interface ServeDuplexOptions<R extends AnyRouter> {
  duplex: Duplex
  router: R
  /**
   * Makes the context, once per connection; calls wait for it. A rejection is sent as the connection's error and closes
   * the connection: with 4401 for `UNAUTHORIZED`, 4403 for `FORBIDDEN`, 1002 for `PARSE_ERROR`, else 1011. Required for
   * a router whose context has required members.
   */
  createContext?: (info: ConnectionInfo) => inferRouterContext<R> | Promise<inferRouterContext<R>>
  /** Whether the peer's first message is tRPC's `connectionParams`. Default false. */
  expectConnectionParams?: boolean
  /** how long the context may take before the connection is closed; default 10 s */
  handshakeTimeoutMs?: number
  /** Counts the connection and its calls, so that the group's `close()` waits for both. */
  group?: ConnectionGroup
  /** Default: {@link connectionLimits}. */
  limits?: Partial<ConnectionLimits>
  onError?: (report: ErrorReport) => void
  /** Called for each call when its response is sent, or can never be. Absent: no time is taken. */
  onCallEnd?: (end: CallEnd) => void
  /** Called with the error of a connection that got no context. */
  onRejected?: (error: RpcError<string>) => void
}

/** The server's end of one connection. */
export interface ServerConnection {
  /** Resolves, never rejects, when the connection has closed; every call's signal is aborted by then. */
  readonly closed: Promise<CloseReason>
  close(reason: CloseReason): void
}

/**
 * Serves a router on a duplex.
 * @throws RpcError `SERVICE_UNAVAILABLE` (draining) if the group is closing; the duplex is closed with 1001.
 *   `BAD_REQUEST` (config_invalid) for a `handshakeTimeoutMs` that is no time
 */
export function serveDuplex<R extends AnyRouter>(
  options: ServeDuplexOptions<R> & ContextRequirement<R>,
): ServerConnection {
  const peer = new UnauthenticatedPeer(options.group, options.expectConnectionParams)
  const connection = serveAs({ ...options, limits: { ...connectionLimits, ...options.limits } }, peer)
  void connection.closed.then(() => peer.release())
  return connection
}

/** A connection whose peer may be cut off. */
export interface AbandonableConnection extends ServerConnection {
  /** whether a call has arrived */
  readonly wasCalled: boolean
  /** Closes without a wait for the peer, which gets the reason if the peer still reads. */
  abandon(reason: CloseReason): void
}

/** Settings with all limits, one object for all connections of a listener. */
type ServeAsOptions = ServeDuplexOptions<AnyRouter> & {
  limits: ConnectionLimits
  /** Called each time when one of the ends asks the side that dialled for another connection. */
  onMove?: () => void
}

/**
 * Serves as {@link serveDuplex} does.
 * @param peer limits what the peer sends until there is a context, and is the caller's to release after a close;
 *   undefined for a peer whose identity is known already
 */
export function serveAs(options: ServeAsOptions, peer: UnauthenticatedPeer | undefined): AbandonableConnection {
  const connection = new Connection(options, peer)
  try {
    options.group?.add(connection)
  } catch (error) {
    connection.abandon({ code: closeCodes.goingAway, message: 'the server is draining', reason: 'draining' })
    throw error
  }
  try {
    connection.start()
  } catch (error) {
    connection.onClose({ code: closeCodes.abnormal, message: 'the duplex cannot be opened' })
    throw error
  }
  return connection
}

/** Returns the close reason of a peer that is rejected with an error after its link was made. */
export function closeOfRejection({ code, message, reason }: RpcError<string>): CloseReason {
  return {
    code: rejectionCodes[code] ?? closeCodes.internalError,
    message,
    ...(reason !== undefined && { reason }),
  }
}

/** Close codes of a connection that gets no context; 1011 for any other error. */
const rejectionCodes: { readonly [code in ErrorCode]?: number } = {
  UNAUTHORIZED: closeCodes.unauthorized,
  FORBIDDEN: closeCodes.forbidden,
  PARSE_ERROR: closeCodes.protocolError,
}

class Connection implements AbandonableConnection, GroupMember, DuplexReceiver {
  readonly deadlines = new Deadlines()
  state: 'opening' | 'open' | 'draining' | 'closed' = 'opening'
  readonly #duplex: Duplex
  readonly #responses: Responses
  /** until there is a context; while the context's factory has a signal, until the end */
  #handshake: ContextHandshake | undefined
  readonly #calls: ConnectionCalls
  readonly #onRejected: ((error: RpcError<string>) => void) | undefined
  readonly #onMove: (() => void) | undefined
  readonly #maxBufferedBytes: number
  /** until there is a context */
  #unauthenticated: UnauthenticatedPeer | undefined
  /** while a batch takes longer than a turn */
  #backlog: Backlog | undefined
  wasCalled = false
  #closeReason: CloseReason | undefined
  /** made when it is asked for */
  #closed: Promise<CloseReason> | undefined
  #resolveClosed: ((reason: CloseReason) => void) | undefined
  #observer: MemberObserver | undefined

  constructor(options: ServeAsOptions, peer: UnauthenticatedPeer | undefined) {
    const { duplex, router, limits, onError, onCallEnd } = options
    const { maxBufferedBytes } = limits
    const stragglers = stragglersOf(options.group)
    const responses = new Responses({ duplex, router, maxBufferedBytes, onError, owner: this })
    this.#duplex = duplex
    this.#responses = responses
    this.#calls = new ConnectionCalls(this, { duplex, router, responses, limits, stragglers, onCallEnd })
    this.#onRejected = options.onRejected
    this.#onMove = options.onMove
    this.#maxBufferedBytes = maxBufferedBytes
    this.#unauthenticated = peer
    const { createContext, expectConnectionParams, handshakeTimeoutMs = times.handshakeTimeoutMs } = options
    const timeoutMs = timeoutOf('handshakeTimeoutMs', handshakeTimeoutMs)
    this.#handshake = new ContextHandshake(this, { createContext, expectConnectionParams, timeoutMs })
  }

  start(): void {
    this.#duplex.open(this)
    this.#handshake?.start()
  }

  get closed(): Promise<CloseReason> {
    this.#closed ??= new Promise(resolve => {
      if (this.#closeReason) resolve(this.#closeReason)
      else this.#resolveClosed = resolve
    })
    return this.#closed
  }

  observeClose(observer: MemberObserver): void {
    this.#observer = observer
  }

  #reportClosed(reason: CloseReason): void {
    if (this.#closeReason) return
    this.#closeReason = reason
    this.#observer?.onMemberClosed(this)
    this.#resolveClosed?.(reason)
  }

  onMessage(message: Message, bytes: number): void {
    if (this.state === 'closed') return
    const fault = this.#unauthenticated?.take(message, bytes)
    if (fault !== undefined) return this.abandon({ code: closeCodes.policyViolation, message: fault })
    if (Array.isArray(message) && message.length > maxBatchMessages) {
      const limit = maxBatchMessages.toLocaleString('en')
      return this.closeInvalid(`a batch of ${message.length.toLocaleString('en')}, more than ${limit} messages`)
    }
    if (this.#backlog) this.#backlog.add(message, bytes)
    else if (Array.isArray(message) && !this.#handshake?.expectsParams)
      this.#backlog = receiveBatch(message, bytes, this, this.#duplex)
    else this.take(message, bytes, undefined)
  }

  /** Takes one message of a frame, or a frame that is no batch. */
  take(message: unknown, _bytes: number, batchIndex: number | undefined): void {
    if (this.state === 'closed') return
    const handshake = this.#handshake
    if (handshake?.expectsParams && typeof message === 'object' && message) return handshake.takeParams(message)
    if (batchIndex !== undefined) this.#receive(message, batchIndex)
    else if (message === 'PING') this.#pong()
    else if (message !== 'PONG') this.#receive(message, 0)
  }

  /** Called by the backlog of this connection. */
  endBacklog(closed: CloseReason | undefined): void {
    this.#backlog = undefined
    if (closed) this.onClose(closed)
  }

  /** No burst of work explains pongs that wait: other than for responses, the limit is exact. */
  #pong(): void {
    this.#responses.send('PONG')
    if (this.#duplex.bufferedBytes > this.#maxBufferedBytes) this.#responses.closeIfSlow()
  }

  onDrain(): void {
    this.#calls.resume()
  }

  onClose(reason: CloseReason): void {
    if (this.#backlog) return this.#backlog.close(reason)
    this.#end(reason)
    this.#reportClosed(reason)
  }

  close(reason: CloseReason, patienceMs?: number): void {
    this.#end(reason)
    this.#duplex.close(reason, patienceMs)
  }

  abandon(reason: CloseReason): void {
    this.close(reason)
    this.#reportClosed(reason)
  }

  /** Closes for a peer that breaks the protocol. */
  closeInvalid(problem: string): void {
    this.close({ code: closeCodes.protocolError, message: `not a valid request: ${problem}` })
  }

  terminate(reason: CloseReason): void {
    this.#backlog?.clear()
    this.#duplex.terminate(reason)
  }

  #end({ message }: CloseReason): void {
    if (this.state === 'closed') return
    this.state = 'closed'
    const reason = 'connection_lost'
    const lost = new RpcError('CLIENT_CLOSED_REQUEST', `the connection closed: ${message}`, { reason })
    this.#unauthenticated?.close()
    this.#backlog?.clear()
    this.#calls.end(lost)
    this.#handshake?.abort(lost)
    this.deadlines.clear()
  }

  /** Called by the handshake with the connection's context. */
  begin(context: unknown): void {
    if (!this.#handshake?.hasSignal) this.#handshake = undefined
    this.#unauthenticated?.release()
    this.#unauthenticated = undefined
    this.#responses.context = context
    this.state = 'open'
    this.#calls.resume()
  }

  /** Called by the handshake for a connection that gets no context. */
  reject(thrown: unknown): void {
    this.#responses.sendError(undefined, thrown)
    const error = RpcError.from(thrown)
    try {
      this.#onRejected?.(error)
    } catch {
      // An observer that throws must not change the peer's close, and no other observer is left.
    }
    this.close(closeOfRejection(error))
  }

  drain(): void {
    const before = this.state
    if (before === 'draining' || before === 'closed') return
    this.state = 'draining'
    this.#duplex.send({ id: null, method: 'reconnect' })
    this.#onMove?.()
    this.#calls.drain()
    // A client without a context has nothing here that would have to move.
    if (before === 'opening')
      this.close({ code: closeCodes.goingAway, message: 'the server shuts down', reason: 'draining' })
  }

  /** Called by the calls when procedures that hang take half of the places; a client that stays is closed with 1001. */
  moveAway(error: RpcError): void {
    if (this.state !== 'open') return
    this.#responses.report(undefined, error)
    this.drain()
    this.#closeOnceMoved()
  }

  #closeOnceMoved(): void {
    const onDeadline = (): void => {
      if (this.#calls.isAwaited) this.#closeOnceMoved()
      else this.close({ code: closeCodes.goingAway, message: 'procedures of this connection do not return' })
    }
    this.deadlines.add({ deadlineAt: now() + times.settleMs, onDeadline })
  }

  get activeCalls(): number {
    return this.#calls.running.calls
  }

  async whenIdle(): Promise<void> {
    if (this.state !== 'closed') await this.#calls.running.whenIdle()
  }

  whenReleased(): Promise<void> {
    return this.#calls.running.whenReleased()
  }

  abortCalls(): void {
    this.#calls.abort()
  }

  #receive(raw: unknown, batchIndex: number): void {
    const message = parseClientMessage(raw)
    if (message instanceof InvalidMessage) this.#receiveInvalid(message)
    else if (message.method === 'subscription.stop') this.#calls.cancel(message.id)
    else if (message.method === 'reconnect') this.#onMove?.()
    else {
      this.wasCalled = true
      this.#calls.receive(message, batchIndex)
    }
  }

  #receiveInvalid({ id, problem }: InvalidMessage): void {
    // Unauthenticated peers get a close and no error message.
    if (id === null || this.state === 'opening') this.closeInvalid(problem)
    else this.#responses.sendInvalid(id, invalidRequest(problem))
  }
}
