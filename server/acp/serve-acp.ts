/** Serves agents to clients of the Agent Client Protocol. Knows no agent. */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { acpServerLimits, acpServerTimes } from '../../shared/acp/limits.js'
import { transportError } from '../../shared/rpc/errors.js'
import { timeoutOf } from '../../shared/rpc/timeouts.js'
import { silentLogger } from '../../shared/values/log.js'
import { ConnectionGroup } from '../rpc/connection-group.js'
import { originForm } from '../rpc/upgrade/upgrade-paths.js'
import { Connections } from './connection/connections.js'
import { HttpDoor } from './http/http-door.js'
import { sendRejection } from './http/respond.js'
import { guardObserver } from './observer.js'
import type { AcpIdentity, AcpSettings, ServeAcpOptions } from './options.js'
import { FirstBytes } from './port/first-bytes.js'
import { Http2Sessions } from './port/http2-sessions.js'
import { WebSocketDoor } from './websocket/websocket-door.js'

/** A path of a server that serves agents. */
export interface AcpListener {
  /** connections that have not begun to end, WebSockets before their `initialize` included */
  readonly connections: number
  /** Serves one request of the path: for servers whose listeners get all requests, see `requests`. */
  handle(request: IncomingMessage, response: ServerResponse): void
  /** Serves no further client. Open connections stay open until the group closes them. */
  stop(): void
}

/**
 * Serves an agent to every client that connects on `path` of `server`, over streamable HTTP (HTTP/1.1, and HTTP/2
 * without TLS on the same port) and WebSocket. Each connection has an agent of its own, a duplex of JSON-RPC objects.
 * A rejection is a status and JSON `{message, reason}`.
 *
 * An agent is held back while its client leaves output unread: its end of the duplex is `full` then. No message is
 * dropped; a client that reads nothing for a minute loses the connection.
 * @throws RpcError `BAD_REQUEST` if the path is served already, or an option is not valid (config_invalid)
 */
export function serveAcp<I extends AcpIdentity = AcpIdentity>(options: ServeAcpOptions<I>): AcpListener {
  const settings = settingsOf(options)
  const { server, group, times } = settings
  const connections = new Connections(settings)
  const door = new HttpDoor(settings, connections)
  const handle = (request: IncomingMessage, response: ServerResponse): void => void door.handle(request, response)
  const webSockets = new WebSocketDoor(settings, connections)
  webSockets.start()
  const undo = [() => webSockets.stop()]
  if (settings.requests !== 'leave') undo.push(takeRequests(server, settings, handle))
  if (settings.http2 !== false) {
    const sessions = new Http2Sessions(handle)
    const accept = (socket: Socket): void => {
      settings.onHttp2Socket?.(socket)
      sessions.accept(socket)
    }
    const port = new FirstBytes(server, accept, times.firstByteMs)
    port.start()
    undo.push(() => port.stop())
    const onDrain = (graceMs: number): void => {
      port.dropSilent()
      sessions.close(graceMs)
    }
    undo.push(group.onDrain(onDrain))
  }
  return {
    get connections() {
      return connections.size
    },
    handle,
    stop() {
      for (const step of undo.splice(0)) step()
    },
  }
}

/** Puts a listener before those of the server. Returns a function that takes it away. */
function takeRequests<I extends AcpIdentity>(
  server: Server,
  settings: AcpSettings<I>,
  handle: (request: IncomingMessage, response: ServerResponse) => void,
): () => void {
  const others = server.listeners('request') as RequestListener[] // the listeners of this event
  const { logger, times, path } = settings
  const onRequest: RequestListener = (request, response) => {
    const [asked] = originForm(request.url).split('?', 1)
    if (asked === path) return handle(request, response)
    for (const listener of others) listener.call(server, request, response)
    if (others.length > 0) return
    const error = transportError('not_found', 'nothing is served under this path')
    sendRejection(response, error, { logger, retryAfterMs: times.retryAfterMs })
  }
  for (const listener of others) server.off('request', listener)
  server.on('request', onRequest)
  return () => {
    server.off('request', onRequest)
    for (const listener of others) server.on('request', listener)
  }
}

function settingsOf<I extends AcpIdentity>(options: ServeAcpOptions<I>): AcpSettings<I> {
  // Callers without types would learn of a missing group from the first client.
  if (!(options.group instanceof ConnectionGroup)) {
    throw transportError('config_invalid', 'group must be a ConnectionGroup')
  }
  const { path = '/acp', replicaId = randomUUID().slice(0, 8), logger = silentLogger } = options
  if (!/^\/[^?#]*$/.test(path)) throw transportError('config_invalid', `path ${JSON.stringify(path)} must begin with /`)
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(replicaId)) {
    throw transportError('config_invalid', 'replicaId must have 1 to 64 letters, digits, "-" and "_"')
  }
  const times = { ...acpServerTimes, ...options.times }
  for (const [name, ms] of Object.entries(times)) timeoutOf(name, ms, 1)
  const limits = { ...acpServerLimits, ...options.limits }
  for (const [name, limit] of Object.entries(limits)) {
    if (!(limit >= 1)) throw transportError('config_invalid', `${name} must be a number from 1 on, and is ${limit}`)
  }
  return { ...options, path, replicaId, logger, limits, times, observer: guardObserver(options.observer, logger) }
}
