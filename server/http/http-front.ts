/** A `node:http` server whose shutdown waits for requests in flight, and for nothing else. */
import { createServer, type IncomingMessage, type RequestListener, type Server, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Logger } from '../../shared/values/log.js'
import { originForm, splitUrl } from '../rpc/upgrade/upgrade-paths.js'
import { afterResponses, isWebSocket, serveWithoutUpgrade } from '../rpc/upgrade/without-upgrade.js'
import { HttpConnections, type HttpConnectionTimes, rejectTransferCoding } from './http-connections.js'
import { type ListenAddress, listen } from './listen.js'

/** A listening HTTP server. */
export interface HttpFront {
  /** address from this machine, without a slash at the end: a wildcard address is given as the loopback address */
  readonly url: string
  /** receives upgrades; an upgraded socket no longer belongs to this front */
  readonly server: Server
  /** Gives a connection to another owner, who ends it: one that speaks another protocol than HTTP/1.1. */
  release(socket: Socket): void
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
   * the paths on which other listeners accept WebSockets; the request listener responds to upgrades of other paths.
   * Without such paths, Node serves upgrade requests as any other
   */
  webSocketPaths?: readonly string[]
  logger: Logger
  /** default: {@link httpConnectionTimes} */
  times?: HttpConnectionTimes
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
  webSocketPaths,
  logger,
  times,
}: HttpFrontOptions): Promise<HttpFront> {
  const connections = new HttpConnections(times)
  let closing: Promise<{ drained: number; aborted: number }> | undefined

  const server = createServer({
    headersTimeout: headersTimeoutMs,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: keepAliveTimeoutMs,
  })
  server.on('connection', socket => connections.add(socket))
  const serve: RequestListener = (request, response) => {
    request.url = originForm(request.url)
    connections.begin(request, response)
    if (!rejectTransferCoding(request, response)) listener(request, response)
  }
  server.on('request', serve)
  if (webSocketPaths !== undefined) {
    server.on('upgrade', (request, stream, head) => {
      const socket = stream as Socket // node:http hands over the sockets that it has accepted
      if (!isWebSocket(request)) serveWithoutUpgrade(server, request, socket, head)
      else if (webSocketPaths.includes(splitUrl(request).path)) connections.delete(socket)
      else afterResponses(socket, () => rejectUpgrade(request, socket, serve))
    })
  }
  server.on('clientError', (error, stream) => {
    // The error itself stays out of the log: its rawPacket holds the request, credentials included.
    logger.debug({ code: Reflect.get(error, 'code') }, 'a connection sent no valid HTTP request')
    connections.fail(stream as Socket, error) // a socket of this server
  })

  await listen(server, { host, port })
  server.on('error', error => logger.error({ err: error }, 'the HTTP server failed'))
  const url = urlOf(server.address())

  async function close(graceMs: number): Promise<{ drained: number; aborted: number }> {
    const requests = connections.inFlight
    let aborted = 0
    const closed = new Promise<void>(resolve => server.close(() => resolve()))
    connections.close()
    const grace = setTimeout(() => {
      aborted = connections.inFlight
      connections.destroy()
    }, graceMs)
    await closed
    clearTimeout(grace)
    return { drained: Math.max(0, requests - aborted), aborted }
  }

  return {
    url,
    server,
    release: socket => connections.delete(socket),
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
