/** A `node:http` server whose shutdown waits for requests in flight, and for nothing else. */
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  ServerResponse,
  STATUS_CODES,
} from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Logger } from '../../shared/values/log.js'
import { splitUrl } from '../rpc/upgrade/upgrade-paths.js'
import { isWebSocket, serveWithoutUpgrade } from '../rpc/upgrade/without-upgrade.js'
import { type ListenAddress, listen } from './listen.js'

/** A listening HTTP server. */
export interface HttpFront {
  /** address from this machine, without a slash at the end: a wildcard address is given as the loopback address */
  readonly url: string
  /** receives upgrades; an upgraded socket no longer belongs to this front */
  readonly server: Server
  /**
   * Stops listening, closes idle connections at once and the others after their responses; cuts the rest after
   * `graceMs`. Resolves when no connection is left, upgraded connections included, which their owner ends. Returns the
   * numbers of requests that ended and that were cut.
   */
  close(graceMs: number): Promise<{ drained: number; aborted: number }>
}

/** Options of {@link openHttpFront}. */
export interface HttpFrontOptions extends ListenAddress {
  listener: RequestListener
  /**
   * the path on which another listener accepts WebSockets; the request listener responds to upgrades of other paths.
   * Without such a path, Node serves upgrade requests as any other
   */
  webSocketPath?: string
  logger: Logger
}

/** Longest time until the headers of a request are complete; Node's own default. */
const headersTimeoutMs = 60_000
/**
 * Longest time until the whole request is complete: 32 MiB (bridgeLimits.maxBodyBytes) at 150 kbit/s. The response,
 * which may stream for hours, has no such bound.
 */
const requestTimeoutMs = 30 * 60_000
/**
 * Longer than the 60 s after which common load balancers close an idle connection, so that this end never cuts off a
 * request.
 */
const keepAliveTimeoutMs = 65_000

/**
 * Listens for HTTP.
 * @throws as {@link listen}
 */
export async function openHttpFront({
  host,
  port,
  listener,
  webSocketPath,
  logger,
}: HttpFrontOptions): Promise<HttpFront> {
  /** requests in flight, by connection */
  const connections = new Map<Duplex, number>()
  let closing: Promise<{ drained: number; aborted: number }> | undefined

  const server = createServer({
    headersTimeout: headersTimeoutMs,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: keepAliveTimeoutMs,
  })
  server.on('connection', socket => {
    connections.set(socket, 0)
    socket.once('close', () => connections.delete(socket))
  })
  const serve: RequestListener = (request, response) => {
    const { socket } = request
    count(socket, 1)
    response.once('close', () => {
      count(socket, -1)
      if (closing && isIdle(socket)) socket.destroySoon()
    })
    listener(request, response)
  }
  server.on('request', serve)
  if (webSocketPath !== undefined) {
    server.on('upgrade', (request, stream, head) => {
      const socket = stream as Socket // node:http hands over the sockets that it has accepted
      if (!isWebSocket(request)) serveWithoutUpgrade(server, request, socket, head)
      else if (splitUrl(request).path === webSocketPath) connections.delete(socket)
      else rejectUpgrade(request, socket, serve)
    })
  }
  server.on('clientError', (error, socket) => {
    // The error itself stays out of the log: its rawPacket holds the request, credentials included.
    logger.debug({ code: Reflect.get(error, 'code') }, 'a connection sent no valid HTTP request')
    // A socket of this server; during a response, a second response would be read as a part of the first.
    if (isIdle(socket)) reject(socket, error)
    else socket.destroy()
  })

  await listen(server, { host, port })
  server.on('error', error => logger.error({ err: error }, 'the HTTP server failed'))
  const url = urlOf(server.address())

  function count(socket: Duplex, change: number): void {
    const requests = connections.get(socket)
    if (requests !== undefined) connections.set(socket, requests + change)
  }

  function isIdle(socket: Duplex): boolean {
    return (connections.get(socket) ?? 0) === 0
  }

  function inFlight(): number {
    let requests = 0
    for (const ofConnection of connections.values()) requests += ofConnection
    return requests
  }

  async function close(graceMs: number): Promise<{ drained: number; aborted: number }> {
    const requests = inFlight()
    let aborted = 0
    const closed = new Promise<void>(resolve => server.close(() => resolve()))
    // closeIdleConnections() would spare connections that have not sent anything yet.
    for (const [socket, count] of connections) if (count === 0) socket.destroy()
    const grace = setTimeout(() => {
      aborted = inFlight()
      for (const socket of connections.keys()) socket.destroy()
    }, graceMs)
    await closed
    clearTimeout(grace)
    return { drained: Math.max(0, requests - aborted), aborted }
  }

  return {
    url,
    server,
    close(graceMs) {
      closing ??= close(graceMs)
      return closing
    },
  }
}

/** Serves the request of a WebSocket that no listener accepts, as one that has no body and ends its connection. */
function rejectUpgrade(request: IncomingMessage, socket: Socket, serve: RequestListener): void {
  socket.on('error', () => {}) // the client may leave
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  response.once('finish', () => socket.destroySoon())
  socket.once('close', () => response.destroyed || response.destroy())
  serve(request, response)
}

function urlOf(address: string | AddressInfo | null): string {
  if (typeof address !== 'object' || address === null) throw new Error('the server listens on no port')
  const host = address.address === '0.0.0.0' ? '127.0.0.1' : address.address === '::' ? '::1' : address.address
  return `http://${host.includes(':') ? `[${host}]` : host}:${address.port}`
}

const rejections: Readonly<Record<string, number>> = { HPE_HEADER_OVERFLOW: 431, ERR_HTTP_REQUEST_TIMEOUT: 408 }

/** Writes the response by hand, because a failed request has no response object. */
function reject(socket: Duplex, error: Error): void {
  const code = String(Reflect.get(error, 'code'))
  if (!socket.writable || code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const status = rejections[code] ?? 400
  const body = JSON.stringify({ message: STATUS_CODES[status] })
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nconnection: close\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}
