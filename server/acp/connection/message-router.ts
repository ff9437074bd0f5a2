/** Decides where each message of a connection goes: open requests of both sides, and the streams of their messages. */
import { acpError } from '../../../shared/acp/errors.js'
import {
  type AcpMessage,
  type AcpNotification,
  type AcpRequest,
  type AcpResponse,
  cancelledIdOf,
  errorResponse,
  isRequest,
  isResponse,
  resultSessionIdOf,
  scopeOf,
  sessionIdOf,
} from '../../../shared/acp/messages.js'
import {
  cancelRequestMethod,
  initializeMethod,
  loadSessionMethod,
  sessionEndMethods,
} from '../../../shared/acp/methods.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import type { AcpIdentity, AcpSettings } from '../options.js'
import { KnownSessions } from './known-sessions.js'
import { PendingRequests, type Route } from './pending-requests.js'

/** The connection of a router. */
interface RouterOwner {
  /** Sends a message to the client, on the stream of a session or of the connection. */
  deliver(message: AcpMessage, route: Route): void
  /** Sends a message of the server's own to the agent. */
  respond(message: AcpResponse): void
  onInitialized(response: AcpResponse): void
  /** A session was closed: its stream ends behind its messages. */
  onSessionEnded(sessionId: string): void
  /** A request of the client has its response. */
  onResponded(): void
}

export class MessageRouter<I extends AcpIdentity> {
  /** those that the agent has named, or whose messages it has sent */
  readonly sessions: KnownSessions
  readonly #owner: RouterOwner
  readonly #observer: AcpSettings<I>['observer']
  readonly #fromClient: PendingRequests
  readonly #fromAgent: PendingRequests

  constructor(owner: RouterOwner, { limits, observer }: AcpSettings<I>) {
    const { maxPendingRequests, maxKnownSessions } = limits
    this.#owner = owner
    this.#observer = observer
    this.sessions = new KnownSessions(maxKnownSessions)
    this.#fromClient = new PendingRequests(maxPendingRequests)
    this.#fromAgent = new PendingRequests(maxPendingRequests)
  }

  /** requests of the client without a response */
  get openRequests(): number {
    return this.#fromClient.size
  }

  /**
   * Notes a message of the client. Returns whether it goes on to the agent.
   * @throws RpcError `CONFLICT` (duplicate_id), `TOO_MANY_REQUESTS` (too_many_requests)
   */
  fromClient(message: AcpMessage, sessionId: string | undefined): boolean {
    if (isResponse(message)) {
      if (message.id !== null && this.#fromAgent.take(message.id)) return true
      this.#observer.responseDropped?.('client')
      return false
    }
    if (isRequest(message)) {
      const route = message.method === loadSessionMethod ? undefined : sessionId
      this.#fromClient.add(message, sessionId, route)
    }
    return true
  }

  /** Forgets a message that could not be sent to the agent. */
  takeBack(message: AcpMessage): void {
    if (isRequest(message)) this.#fromClient.take(message.id)
  }

  /** Returns the session in which the agent awaits a response: null if it awaits none with this id. */
  sessionAwaiting({ id }: AcpResponse): string | undefined | null {
    const request = this.#fromAgent.get(id)
    return request ? request.route : null
  }

  /** Takes a message of the agent. */
  fromAgent(message: AcpMessage): void {
    if (isResponse(message)) this.#onResponse(message)
    else if (isRequest(message)) this.#onRequest(message)
    else this.#deliver(message, this.#routeOf(message))
  }

  /** Returns the stream of a notification: a cancellation travels behind the request that it names. */
  #routeOf(message: AcpNotification): Route {
    const isCancel = message.method === cancelRequestMethod
    return isCancel ? this.#fromAgent.get(cancelledIdOf(message))?.route : sessionOf(message)
  }

  #onRequest(message: AcpRequest): void {
    const sessionId = sessionOf(message)
    try {
      this.#fromAgent.add(message, sessionId, sessionId)
    } catch (error) {
      const rejection = RpcError.from(error)
      this.#observer.rejected?.(rejection)
      return this.#owner.respond(errorResponse(message.id, rejection))
    }
    this.#deliver(message, sessionId)
  }

  #onResponse(message: AcpResponse): void {
    const request = this.#fromClient.take(message.id)
    if (!request) return this.#observer.responseDropped?.('agent')
    if (request.method === initializeMethod) return this.#owner.onInitialized(message)
    const { method, sessionId, route } = request
    const isResult = message.error === undefined
    const newSession = resultSessionIdOf(message)
    if (newSession !== undefined) this.sessions.add(newSession)
    if (sessionId !== undefined && isResult) this.sessions.add(sessionId)
    this.#deliver(message, route)
    if (sessionId !== undefined && isResult && sessionEndMethods.has(method)) this.#endSession(sessionId)
    this.#owner.onResponded()
  }

  #endSession(sessionId: string): void {
    this.#fromAgent.deleteOf(sessionId)
    this.#fromClient.rerouteOf(sessionId)
    this.#owner.onSessionEnded(sessionId)
  }

  #deliver(message: AcpMessage, route: Route): void {
    if (route !== undefined && !this.sessions.has(route)) this.sessions.add(route)
    this.#owner.deliver(message, route)
  }

  /** Responds to all open requests of the client with an error. */
  rejectOpen(reason: 'agent_failed' | 'unauthorized' | 'draining', message: string): void {
    const error = acpError(reason, message)
    for (const { id, route } of this.#fromClient.clear()) this.#deliver(errorResponse(id, error), route)
  }

  /** Forgets all open requests. */
  clear(): void {
    this.#fromClient.clear()
    this.#fromAgent.clear()
  }
}

/** Returns the session whose stream carries a message of the agent. */
function sessionOf(message: AcpRequest | AcpNotification): string | undefined {
  return scopeOf(message, 'agent') === 'session' ? sessionIdOf(message) : undefined
}
