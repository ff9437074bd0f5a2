/** The state of a client's connection: its requests, its sessions, and the messages of both sides. */
import { acpError } from '../../shared/acp/errors.js'
import {
  type AcpId,
  type AcpMessage,
  type AcpRequest,
  type AcpResponse,
  cancelledIdOf,
  checkMessage,
  errorResponse,
  isRequest,
  isResponse,
  resultSessionIdOf,
  scopeOf,
  sessionIdOf,
} from '../../shared/acp/messages.js'
import { cancelRequestMethod, initializeMethod, sessionEndMethods } from '../../shared/acp/methods.js'
import {
  type CloseReason,
  closeCodes,
  type Duplex,
  type DuplexReceiver,
  type Message,
} from '../../shared/rpc/duplex.js'
import { RpcError } from '../../shared/rpc/errors.js'
import { encodeMessage } from '../../shared/rpc/json/encode-message.js'
import { Delivery } from '../../shared/rpc/links/delivery.js'
import { EarlyMessages } from '../../shared/rpc/links/early-messages.js'
import { timeoutOf } from '../../shared/rpc/timeouts.js'
import { closeReasonOf } from './close-reason.js'
import { HttpTransport } from './http/http-transport.js'
import { OpenRequests } from './open-requests.js'
import type { AcpClientSettings } from './options.js'
import type { Transport, TransportOwner } from './transport.js'
import { WebSocketTransport } from './websocket/websocket-transport.js'

/** The client's end of a connection to an agent: a duplex of JSON-RPC objects. */
export interface AcpClient extends Duplex {
  /** The error that ended the connection; undefined while it is open, and after {@link AcpClient.close}. */
  readonly error: RpcError<string> | undefined
  /** Resolves when the connection has ended and its sockets, streams and timers are gone. Never rejects. */
  readonly closed: Promise<CloseReason>
  /**
   * Sends the messages under way and ends the connection at the server, within twice `closeTimeoutMs`. Resolves as
   * {@link AcpClient.closed}.
   */
  close(reason?: CloseReason): Promise<void>
}

type State =
  | { readonly name: 'idle' | 'open' }
  /** `queue` waits for the response to initialize, and `early` came before this was handed out */
  | { readonly name: 'connecting'; readonly queue: AcpMessage[]; readonly early: EarlyMessages }
  | { readonly name: 'closing' | 'closed'; readonly reason: CloseReason }

const idle: State = { name: 'idle' }
const open: State = { name: 'open' }
const closedByCaller: CloseReason = { code: closeCodes.normal, message: 'the client has closed' }

/**
 * ```
 * idle ──send(initialize)──▶ connecting ──its response──▶ open
 * idle, connecting, open ──close(), terminate(), a failure──▶ closing ──everything is gone──▶ closed
 * ```
 */
export class ClientConnection implements AcpClient, TransportOwner {
  readonly #settings: AcpClientSettings
  readonly #transport: Transport
  readonly #requests = new OpenRequests()
  readonly #delivery = new Delivery(this)
  #state: State = idle
  #noteClosed: (reason: CloseReason) => void = () => {}
  readonly closed = new Promise<CloseReason>(resolve => {
    this.#noteClosed = resolve
  })
  error: RpcError<string> | undefined
  droppedMessages = 0

  constructor(settings: AcpClientSettings) {
    this.#settings = settings
    const isWebSocket = settings.url.protocol.startsWith('ws')
    this.#transport = isWebSocket ? new WebSocketTransport(settings, this) : new HttpTransport(settings, this)
  }

  get state(): State {
    return this.#state
  }

  get bufferedBytes(): number {
    return this.#transport.bufferedBytes
  }

  get full(): boolean {
    return this.#transport.full
  }

  open(receiver: DuplexReceiver): void {
    this.#delivery.open(receiver)
  }

  send(given: Message): void {
    const state = this.#state
    if (state.name === 'closing' || state.name === 'closed') {
      this.droppedMessages++
      return
    }
    const message = checkMessage(given)
    const isInitialize = isRequest(message) && message.method === initializeMethod
    if (state === idle && !isInitialize) throw acpError('not_initialized', 'the first message must be initialize')
    if (state !== idle && isInitialize) throw acpError('already_initialized', 'initialize begins a connection')
    // The value stays the caller's.
    const owned =
      state === open
        ? message
        : (JSON.parse(encodeMessage(message, this.#settings.limits.maxMessageBytes)) as AcpMessage) // checked above
    if (isRequest(message)) this.#addRequest(message)
    if (isInitialize)
      this.#initialize(owned as AcpRequest) // checked above
    else if (state.name === 'connecting') state.queue.push(owned)
    else this.#pass(owned)
  }

  #addRequest(request: AcpRequest): void {
    const { maxPendingRequests } = this.#settings.limits
    const { id } = request
    if (this.#requests.find(id)) throw acpError('duplicate_id', `a request with the id ${JSON.stringify(id)} is open`)
    if (this.#requests.sent >= maxPendingRequests) {
      throw acpError('too_many_requests', `${maxPendingRequests.toLocaleString('en')} requests are open`)
    }
    const deadlineMs = this.#settings.deadlineMs(request)
    const ms = deadlineMs === undefined ? undefined : timeoutOf('deadlineMs', deadlineMs, 1)
    this.#requests.add(request, sessionOf(request), ms, () => this.#onDeadline(id, ms ?? 0))
  }

  #onDeadline(id: AcpId, deadlineMs: number): void {
    const limit = deadlineMs.toLocaleString('en')
    this.#settleWith(id, acpError('deadline_passed', `no response within ${limit} ms`, { mayHaveRun: true }))
  }

  /** Passes a message to the transport, which is open. */
  #pass(message: AcpMessage): void {
    try {
      if (isResponse(message)) return this.#respond(message)
      const isCancel = message.method === cancelRequestMethod
      const cancelled = isCancel ? this.#requests.find(cancelledIdOf(message))?.sessionId : undefined
      this.#transport.send(message, sessionOf(message), cancelled)
    } catch (error) {
      // The caller gets the error; the request is none.
      if (isRequest(message)) this.#requests.settle(message.id)
      throw error
    }
  }

  /** Passes a response, unless the agent awaits none: its session has ended, or it has got one. */
  #respond(response: AcpResponse): void {
    const request = this.#requests.respond(response.id)
    if (request || response.id === null) this.#transport.send(response, request?.sessionId)
  }

  #initialize(request: AcpRequest): void {
    this.#state = { name: 'connecting', queue: [], early: new EarlyMessages() }
    this.#transport.initialize(request).then(
      response => this.#onInitialized(response),
      (thrown: unknown) => this.onFailure(RpcError.from(thrown)),
    )
  }

  #onInitialized(response: AcpResponse): void {
    const state = this.#state
    if (state.name !== 'connecting') return
    if (response.error === undefined) this.#state = open
    const passed = this.#requests.settle(response.id)
    if (passed || response.id === null) this.#delivery.deliver(response, 0)
    if (response.error !== undefined) {
      const { code, message } = response.error
      return this.onFailure(
        acpError('initialize_rejected', `the agent rejected initialize with ${code}: ${message}`, {
          cause: response.error,
        }),
      )
    }
    for (const [early, bytes] of state.early.taken()) this.onMessage(early as AcpMessage, bytes) // kept by onMessage
    for (const queued of state.queue) {
      if (this.#state !== open) return
      try {
        this.#pass(queued)
      } catch (thrown) {
        this.onUndelivered(queued, RpcError.from(thrown))
      }
    }
  }

  onMessage(message: AcpMessage, bytes: number, streamSessionId?: string): void {
    if (this.#state.name === 'connecting') return this.#keep(this.#state.early, message, bytes)
    if (this.#state !== open) return
    if (isResponse(message)) {
      const request = this.#requests.settle(message.id)
      // The request has failed before, or was never sent; an error without an id belongs to no request.
      if (!request) return
      this.#noteSession(request.method, request.sessionId, message)
    } else if (isRequest(message)) {
      if (this.#requests.received >= this.#settings.limits.maxPendingRequests) {
        const error = acpError('too_many_requests', 'too many requests of the agent are open')
        return this.#transport.send(errorResponse(message.id, error), sessionIdOf(message) ?? streamSessionId)
      }
      const isOfSession = scopeOf(message, 'agent') === 'session'
      this.#requests.receive(message.id, isOfSession ? (sessionIdOf(message) ?? streamSessionId) : streamSessionId)
    }
    this.#delivery.deliver(message, bytes)
  }

  /** Keeps a message that came before the response to initialize was handed out. */
  #keep(early: EarlyMessages, message: AcpMessage, bytes: number): void {
    const fault = early.keep(message, bytes)
    if (fault) this.onFailure(acpError('invalid_event', fault.message))
  }

  /** Follows the beginnings and ends of sessions. */
  #noteSession(method: string, sessionId: string | undefined, response: AcpResponse): void {
    if (response.error !== undefined) return
    const made = resultSessionIdOf(response)
    if (made !== undefined && made !== sessionId) this.#transport.openSession(made)
    if (sessionId === undefined || !sessionEndMethods.has(method)) return
    this.#requests.forgetSession(sessionId)
    // The stream brings the responses that are still open; the server ends it.
    if (this.#requests.ofSession(sessionId).length === 0) this.#transport.closeSession(sessionId)
  }

  onSessionFailed(sessionId: string, error: RpcError<string>): void {
    this.#requests.forgetSession(sessionId)
    const { code, message, reason } = error
    const lost = new RpcError<string>(code, message, { reason, mayHaveRun: true, cause: error })
    for (const { id } of this.#requests.ofSession(sessionId)) this.#settleWith(id, lost)
  }

  onUndelivered(message: AcpMessage, error: RpcError<string>): void {
    if (isRequest(message)) this.#settleWith(message.id, error)
    else this.#settings.onError(error)
  }

  /** Responds to a request in the agent's place. */
  #settleWith(id: AcpId, error: RpcError<string>): void {
    if (!this.#requests.settle(id)) return
    this.#settings.onError(error)
    this.#delivery.deliver(errorResponse(id, error), 0)
  }

  onDrain(): void {
    this.#delivery.drain()
  }

  onFailure(error: RpcError<string>): void {
    if (this.#state.name === 'closing' || this.#state.name === 'closed') return
    this.error = error
    const { code, message, reason } = closeReasonOf(error)
    // What has been sent may have run, also if this error is about a request that was not.
    const isInitializing = this.#state.name !== 'open'
    const lost = new RpcError<string>(error.code, error.message, {
      reason: error.reason,
      mayHaveRun: isInitializing ? error.mayHaveRun : true,
      cause: error,
    })
    for (const { id } of this.#requests.settleAll()) this.#delivery.deliver(errorResponse(id, lost), 0)
    this.#settings.onError(error)
    void this.#end({ code, message, ...(reason !== undefined && { reason }) }, false)
  }

  pauseReading(): void {
    this.#transport.pauseReading()
  }

  resumeReading(): void {
    this.#transport.resumeReading()
  }

  async close(reason: CloseReason = closedByCaller): Promise<void> {
    void this.#end(reason, true)
    await this.closed
  }

  terminate(reason: CloseReason): void {
    void this.#end(reason, false)
  }

  breakOff(reason: CloseReason): void {
    void this.#end(reason, false)
  }

  async #end(reason: CloseReason, flushes: boolean): Promise<void> {
    const { name } = this.#state
    if (name === 'closing' || name === 'closed') return
    this.#state = { name: 'closing', reason }
    this.#requests.settleAll()
    this.#delivery.end(reason)
    if (!flushes) queueMicrotask(() => this.#delivery.reportEnd())
    if (name !== 'idle')
      await this.#transport.close({ flushes: flushes && name === 'open', code: reason.code, message: reason.message })
    this.#state = { name: 'closed', reason }
    this.#delivery.reportEnd()
    this.#noteClosed(reason)
  }
}

function sessionOf(message: AcpMessage): string | undefined {
  if (isResponse(message) || scopeOf(message, 'client') === 'connection') return undefined
  return sessionIdOf(message)
}
