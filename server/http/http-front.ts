/** A `node:http` server with a shutdown that waits for requests in flight, and for nothing else. */
import { createServer, type RequestListener, type Server, STATUS_CODES } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Logger } from '../../shared/values/log.js'
import { isWebSocket } from '../rpc/upgrade/without-upgrade.js'
import { type ListenAddress, listen } from './listen.js'

/** A listening HTTP server. */
export interface HttpFront {
  /** where this machine reaches it, without a slash at its end: a wildcard address is given as the loopback one */
  readonly url: string
  /** for upgrades; a socket that is upgraded is not this front's any more */
  readonly server: Server
  /**
   * Stops listening, closes connections that wait for a request at once, the others when they are answered; cuts what is left after
   * `graceMs`. Resolves when no connection is left, upgraded ones included, which their owner ends; with the number of requests that ended
   * and that were cut.
   */
  close(graceMs: number): Promise<{ drained: number; aborted: number }>
}

export interface HttpFrontOptions extends ListenAddress {
  listener: RequestListener
  /** Whether somebody else answers upgrades to WebSockets. With no listener for them, Node serves such requests as any other. */
  webSockets?: boolean
  logger: Logger
}

/** Until the headers of a request are there; Node's own default. */
const headersTimeoutMs = 60_000
/** Until the whole request is there: 32 MiB (bridgeLimits.maxBodyBytes) at 150 kbit/s. It does not bound the answer, which may stream for hours. */
const requestTimeoutMs = 30 * 60_000
/** Longer than the 60 s after which common load balancers close an idle connection, so that it is never this end that cuts off a request. */
const keepAliveTimeoutMs = 65_000

/**
 * Listens for HTTP.
 * @throws as {@link listen}
 */
export async function openHttpFront({
  host,
  port,
  listener,
  webSockets,
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
  server.on('request', (request, response) => {
    const { socket } = request
    count(socket, 1)
    response.once('close', () => {
      count(socket, -1)
      if (closing && isIdle(socket)) socket.destroySoon()
    })
    listener(request, response)
  })
  if (webSockets) server.on('upgrade', (request, socket) => isWebSocket(request) && connections.delete(socket))
  server.on('clientError', (error, socket) => {
    // Not the error itself: its rawPacket holds what was sent, credentials included.
    logger.debug({ code: Reflect.get(error, 'code') }, 'a connection sent no valid HTTP request')
    // A socket of this server; with an answer under way, a second one would be read as a part of it.
    if (isIdle(socket)) refuse(socket, error)
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
    // Not closeIdleConnections: it spares connections that have not sent anything yet.
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

function urlOf(address: string | AddressInfo | null): string {
  if (typeof address !== 'object' || address === null) throw new Error('the server listens on no port')
  const host = address.address === '0.0.0.0' ? '127.0.0.1' : address.address === '::' ? '::1' : address.address
  return `http://${host.includes(':') ? `[${host}]` : host}:${address.port}`
}

const refusals: Readonly<Record<string, number>> = { HPE_HEADER_OVERFLOW: 431, ERR_HTTP_REQUEST_TIMEOUT: 408 }

/** Answers by hand: there is no request, so there is no response either. */
function refuse(socket: Duplex, error: Error): void {
  const code = String(Reflect.get(error, 'code'))
  if (!socket.writable || code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const status = refusals[code] ?? 400
  const body = JSON.stringify({ message: STATUS_CODES[status] })
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nconnection: close\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}
