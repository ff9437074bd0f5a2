/** The requests of streamable HTTP: POST, GET and DELETE on one path. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { acpError } from '../../../shared/acp/errors.js'
import { type AcpMessage, type AcpRequest, isRequest, isResponse } from '../../../shared/acp/messages.js'
import { initializeMethod } from '../../../shared/acp/methods.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { originForm, splitUrl } from '../../rpc/upgrade/upgrade-paths.js'
import type { AcpConnection } from '../connection/acp-connection.js'
import type { Connections } from '../connection/connections.js'
import { identify } from '../connection/identify.js'
import type { AcpIdentity, AcpSettings } from '../options.js'
import { checkContentType, readMessage } from './body.js'
import {
  connectionHeader,
  connectionIdOf,
  lastEventIdOf,
  replicaCookie,
  sessionHeaderOf,
  sessionOfMessage,
} from './headers.js'
import { HttpStreams } from './http-streams.js'
import { allowOrigin, checkOrigin, sendPreflight } from './origins.js'
import { hasLeft, sendJson, sendRejection } from './respond.js'

interface Visit<I extends AcpIdentity> {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly identity: I
}

export class HttpDoor<I extends AcpIdentity> {
  readonly #settings: AcpSettings<I>
  readonly #connections: Connections<I>
  readonly #streams = new WeakMap<AcpConnection<I>, HttpStreams<I>>()

  constructor(settings: AcpSettings<I>, connections: Connections<I>) {
    this.#settings = settings
    this.#connections = connections
  }

  /** Serves one request. Never rejects. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // A client may leave at any moment; a later write then finds the stream destroyed.
    response.on('error', () => {})
    try {
      await this.#serve(request, response)
    } catch (error) {
      this.#reject(response, error)
    }
  }

  #reject(response: ServerResponse, error: unknown): void {
    this.#settings.observer.rejected?.(RpcError.from(error))
    sendRejection(response, error, { logger: this.#settings.logger, retryAfterMs: this.#settings.times.retryAfterMs })
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.url = originForm(request.url)
    if (splitUrl(request).path !== this.#settings.path) {
      const isHttp2 = request.httpVersionMajor > 1
      throw acpError(isHttp2 ? 'misdirected' : 'not_found', 'nothing is served under this path')
    }
    const origin = checkOrigin(request, this.#settings.allowedOrigins)
    if (origin !== undefined) allowOrigin(response, origin)
    const { method } = request
    if (method === 'OPTIONS' && origin !== undefined) return sendPreflight(response)
    if (method !== 'POST' && method !== 'GET' && method !== 'DELETE') {
      throw acpError('method_not_allowed', `${method} is not served: POST, GET and DELETE are`)
    }
    const visit = { request, response, identity: await identify(request, response, this.#settings) }
    if (method === 'POST') await this.#post(visit)
    else if (method === 'GET') await this.#get(visit)
    else this.#delete(visit)
  }

  async #post(visit: Visit<I>): Promise<void> {
    const { request, response, identity } = visit
    checkContentType(request)
    const connectionId = connectionIdOf(request)
    if (connectionId === undefined) return this.#initialize(visit, await this.#read(request))
    const connection = this.#connections.find(connectionId, identity)
    const streams = this.#streamsOf(connection)
    streams.visit()
    await this.#whenWritable(connection, response)
    streams.enter()
    try {
      const message = await this.#read(request)
      if (message.method === initializeMethod) {
        throw acpError('already_initialized', 'initialize was sent on this connection before')
      }
      const awaited = isResponse(message) ? connection.sessionAwaiting(message) : undefined
      connection.receive(message, sessionOfMessage(message, sessionHeaderOf(request), awaited))
    } finally {
      streams.leave()
    }
    response.writeHead(202, { 'content-length': 0 })
    response.end()
  }

  /**
   * An agent that takes nothing more holds its clients back, and no body waits in memory. The wait does not show that
   * the client is still there: a socket whose body is not read says nothing of its end.
   */
  async #whenWritable(connection: AcpConnection<I>, response: ServerResponse): Promise<void> {
    while (connection.isAgentFull && !connection.isOver && !hasLeft(response)) await connection.nextDrain(response)
    if (hasLeft(response)) throw new RpcError('CLIENT_CLOSED_REQUEST', 'the client left before its message was read')
  }

  #read(request: IncomingMessage): Promise<AcpMessage> {
    const { limits, times } = this.#settings
    return readMessage(request, { ...limits, ...times })
  }

  #initialize({ response, identity }: Visit<I>, message: AcpMessage): Promise<void> | void {
    if (!isRequest(message) || message.method !== initializeMethod) {
      throw acpError('connection_id_missing', 'the header Acp-Connection-Id is missing')
    }
    if (hasLeft(response)) return
    const connection = this.#connections.open(identity, 'http')
    const streams = new HttpStreams(connection, this.#settings)
    connection.outlet = streams
    this.#streams.set(connection, streams)
    return this.#openAgent(connection, streams, response, message)
  }

  async #openAgent(
    connection: AcpConnection<I>,
    streams: HttpStreams<I>,
    response: ServerResponse,
    message: AcpRequest,
  ): Promise<void> {
    const onClose = (): void => {
      connection.end({ reason: 'closed', message: 'the client left before the response to initialize' }, 'cut')
    }
    response.once('close', onClose)
    streams.enter()
    const { replicaId, path } = this.#settings
    await connection.initialize(message, {
      onResponse: result => {
        response.off('close', onClose)
        const headers =
          result.error === undefined
            ? { [connectionHeader]: connection.id, 'set-cookie': replicaCookie(replicaId, path) }
            : {}
        sendJson(response, 200, result, headers)
        streams.leave()
      },
      onFailure: error => {
        response.off('close', onClose)
        this.#reject(response, error)
      },
    })
  }

  async #get({ request, response, identity }: Visit<I>): Promise<void> {
    if (!(request.headers.accept ?? '').toLowerCase().includes('text/event-stream')) {
      throw acpError('not_acceptable', 'the header Accept must name text/event-stream')
    }
    const connection = this.#connections.find(connectionIdOf(request), identity)
    const sessionId = sessionHeaderOf(request)
    if (sessionId !== undefined && !connection.sessions.has(sessionId)) await this.#checkOwner(identity, sessionId)
    if (connection.isOver) throw acpError('unknown_connection', 'the connection has ended')
    if (hasLeft(response)) return
    this.#streamsOf(connection).open(response, sessionId, lastEventIdOf(request))
  }

  async #checkOwner(identity: I, sessionId: string): Promise<void> {
    const { ownsSession } = this.#settings
    if (ownsSession && !(await ownsSession(identity, sessionId))) {
      throw acpError('unknown_session', 'no session of this user has this id')
    }
  }

  #delete({ request, response, identity }: Visit<I>): void {
    const connection = this.#connections.find(connectionIdOf(request), identity)
    response.writeHead(202, { 'content-length': 0 })
    response.end()
    connection.end({ reason: 'deleted', message: 'the client ended the connection' }, 'flush')
  }

  #streamsOf(connection: AcpConnection<I>): HttpStreams<I> {
    const streams = this.#streams.get(connection)
    if (!streams) throw acpError('unknown_connection', 'the messages of this connection travel on its WebSocket')
    return streams
  }
}
