import * as http from 'node:http'
import type { Server as TlsServer } from 'node:https'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/**
 * Returns whether an upgrade is to a WebSocket: a GET (RFC 6455, section 4.1) whose list of protocols has `websocket`,
 * in any case and at any place. HTTP/1.0 has no upgrades (RFC 9110, section 7.8).
 */
export function isWebSocket({ method, httpVersion, headers }: http.IncomingMessage): boolean {
  return method === 'GET' && httpVersion !== '1.0' && tokensOf(headers.upgrade).includes('websocket')
}

const dropped = new Set(['upgrade', 'http2-settings'])

/**
 * Serves a request as if it had not asked for an upgrade (RFC 9110, section 7.8: a server may ignore that). Node 20
 * hands every request with an `Upgrade` header to the listeners for upgrades as soon as there is one, also requests of
 * clients that merely offer HTTP/2 (`h2c`: Java's HttpClient asks with each request). So the request is given to the
 * HTTP server a second time, without those headers, when the responses before it have ended.
 */
export function serveWithoutUpgrade(
  server: http.Server | TlsServer,
  request: http.IncomingMessage,
  socket: Socket,
  head: Buffer,
): void {
  afterResponses(socket, () => {
    // The last unshifted bytes are the first.
    if (head.length > 0) socket.unshift(head)
    // Node reads header fields as latin1.
    socket.unshift(Buffer.from(withoutUpgrade(request), 'latin1'))
    // The response before set the timeout of an idle connection, which the server's new parser does not know.
    socket.setTimeout(0)
    serveAgain(server, socket)
  })
}

/**
 * Calls `then` when a connection whose request Node has handed over has sent the responses to the requests before, as
 * HTTP/1.1 wants. Does nothing for a connection that ends with these responses. Node marks the response under way
 * only by the private property `_httpMessage`; a test finds a Node without it.
 */
export function afterResponses(socket: Socket, then: () => void): void {
  const response: unknown = Reflect.get(socket, '_httpMessage')
  if (!(response instanceof http.ServerResponse)) return then()
  // Node has taken its own listener away, and an error without a listener would end the process.
  socket.on('error', ignore)
  response.once('close', () => {
    if (!socket.writable) return
    socket.off('error', ignore)
    afterResponses(socket, then)
  })
}

function ignore(): void {}

/** Returns the head of the request without its upgrade; other options of `Connection` stay. */
function withoutUpgrade({ method, url, httpVersion, rawHeaders }: http.IncomingMessage): string {
  const lines = [`${method} ${url} HTTP/${httpVersion}`]
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    const value = rawHeaders[index + 1] ?? ''
    if (name.toLowerCase() === 'connection') {
      const kept = tokensOf(value).filter(token => !dropped.has(token))
      if (kept.length > 0) lines.push(`${name}: ${kept.join(', ')}`)
    } else if (!dropped.has(name.toLowerCase())) lines.push(`${name}: ${value}`)
  }
  return `${lines.join('\r\n')}\r\n\r\n`
}

/** Returns the members of a comma-separated list, in lower case. */
function tokensOf(list = ''): string[] {
  return list.split(',').map(token => token.trim().toLowerCase())
}

/**
 * Gives a connection to the HTTP server's own listener alone. Node documents the event, but the event would run the
 * listeners of others again too, who know the connection already and would add their listeners for each request.
 */
function serveAgain(server: http.Server | TlsServer, socket: Socket): void {
  const listener: unknown = Reflect.get(http, '_connectionListener')
  if (typeof listener === 'function') listener.call(server, socket)
  else server.emit(socket instanceof TLSSocket ? 'secureConnection' : 'connection', socket)
}
