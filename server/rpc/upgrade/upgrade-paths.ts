import type { IncomingMessage, Server } from 'node:http'
import type { Server as TlsServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { transportError } from '../../../shared/rpc/errors.js'
import { rejectUpgrade } from './upgrade-rejection.js'
import { afterResponses, isWebSocket, serveWithoutUpgrade } from './without-upgrade.js'

/** Takes the upgrades of one path. */
export interface PathListener {
  /** Whether upgrades of unserved paths are left to other listeners of the server. */
  readonly leavesOthers: boolean
  upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void
}

interface ServedPaths {
  readonly listeners: Map<string, PathListener>
  onUpgrade(request: IncomingMessage, stream: Duplex, head: Buffer): void
}

const servedPaths = new WeakMap<Server | TlsServer, ServedPaths>()

/** Returns the listeners of a server by path. The first call for a server begins to listen for upgrades. */
export function listenersOf(server: Server | TlsServer): Map<string, PathListener> {
  const known = servedPaths.get(server)
  if (known) return known.listeners
  const listeners = new Map<string, PathListener>()
  const onUpgrade: ServedPaths['onUpgrade'] = (request, stream, head) => {
    const socket = stream as Socket // node:http and node:https hand over accepted sockets
    const listener = isWebSocket(request) ? listeners.get(splitUrl(request).path) : undefined
    if (listener) return afterResponses(socket, () => listener.upgrade(request, socket, head))
    for (const { leavesOthers } of listeners.values()) if (leavesOthers) return
    if (!isWebSocket(request)) return serveWithoutUpgrade(server, request, socket, head)
    socket.on('error', () => {})
    afterResponses(socket, () => {
      rejectUpgrade(socket, transportError('not_found', 'no WebSocket is served under this path'))
    })
  }
  servedPaths.set(server, { listeners, onUpgrade })
  server.on('upgrade', onUpgrade)
  return listeners
}

/**
 * Ends the service of a path. Other listeners get all upgrades after the last path, if such listeners got the upgrades
 * of unserved paths.
 */
export function removeListener(server: Server | TlsServer, path: string, listener: PathListener): void {
  const known = servedPaths.get(server)
  if (known?.listeners.get(path) !== listener) return
  known.listeners.delete(path)
  if (known.listeners.size > 0 || !listener.leavesOthers) return
  servedPaths.delete(server)
  server.off('upgrade', known.onUpgrade)
}

/** Returns path and query of a request. */
export function splitUrl(request: IncomingMessage): { path: string; query: URLSearchParams } {
  const url = originForm(request.url)
  const start = url.indexOf('?')
  return start < 0
    ? { path: url, query: new URLSearchParams() }
    : { path: url.slice(0, start), query: new URLSearchParams(url.slice(start)) }
}

/**
 * Returns a request's target without scheme and host: `/path?query` for `GET http://host/path?query`, which every
 * server must accept (RFC 9112, section 3.2.2).
 */
export function originForm(url = '/'): string {
  const [absolute] = /^[a-z][a-z0-9+.-]*:\/\/[^/?]*/i.exec(url) ?? []
  if (absolute === undefined) return url
  const rest = url.slice(absolute.length)
  return rest.startsWith('/') ? rest : `/${rest}`
}
