import type { IncomingMessage, Server } from 'node:http'
import type { Server as TlsServer } from 'node:https'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/** Whether an upgrade is to a WebSocket. */
export function isWebSocket({ headers }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase() === 'websocket'
}

const dropped = new Set(['connection', 'upgrade', 'http2-settings'])

/**
 * Serves a request as if it had not asked for an upgrade (RFC 9110, section 7.8: a server may ignore that). Node 20
 * hands every request with an `Upgrade` header to the listeners for upgrades as soon as there is one, also requests of
 * clients that merely offer HTTP/2 (`h2c`: Java's HttpClient asks with each request). So the request is given to the
 * HTTP server a second time, without those headers.
 */
export function serveWithoutUpgrade(
  server: Server | TlsServer,
  request: IncomingMessage,
  socket: Socket,
  head: Buffer,
): void {
  const { method, url, httpVersion, rawHeaders } = request
  const lines = [`${method} ${url} HTTP/${httpVersion}`]
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    if (!dropped.has(name.toLowerCase())) lines.push(`${name}: ${rawHeaders[index + 1]}`)
  }
  // Node reads header fields as latin1.
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]))
  server.emit(socket instanceof TLSSocket ? 'secureConnection' : 'connection', socket)
}
