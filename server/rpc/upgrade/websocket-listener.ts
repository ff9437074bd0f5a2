/**
 * Lets WebSockets in: an upgrade is checked before it is granted, and what comes of it is a duplex like any other.
 */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, Server } from 'node:http'
import type { Server as TlsServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import { RpcError, transportError } from '../../../shared/rpc/errors.js'
import {
  type ConnectionLimits,
  connectionLimits,
  maxConnections,
  strangersShare,
  times,
} from '../../../shared/rpc/limits.js'
import type { ConnectionParams } from '../../../shared/rpc/messages.js'
import { timeoutOf } from '../../../shared/rpc/timeouts.js'
import type { Version } from '../../../shared/rpc/version.js'
import { webSocketDuplex } from '../../../shared/rpc/websocket-duplex.js'
import { type WebSocketTimes, webSocketSettings, webSocketTimes } from '../../../shared/rpc/websocket-settings.js'
import type { ErrorReport } from '../answers.js'
import { type CallEnd, serveDuplex } from '../connection.js'
import type { ConnectionGroup } from '../connection-group.js'
import type { ConnectionInfo, ContextRequirement } from '../context-handshake.js'
import { toTrpcError } from '../error-shape.js'
import type { AnyRouter, inferRouterContext } from '../trpc-internals.js'
import { UpgradeHandshake } from './upgrade-handshake.js'
import { checkVersion, refuseUpgrade } from './upgrade-refusal.js'
import { isWebSocket, serveWithoutUpgrade } from './without-upgrade.js'

/** What a client has shown of itself. */
export interface Credentials {
  /** the upgrade request; its headers and address */
  request: IncomingMessage
  /** the header `Authorization`, or the connection parameter of that name */
  authorization: string | undefined
  /** from the first frame, where the URL says `?connectionParams=1`; else null */
  connectionParams: ConnectionParams
  /** aborts when nobody waits for the answer any more */
  signal: AbortSignal
}

/**
 * An HTTP server, the router to serve on its WebSockets, and who may connect. Times are in milliseconds, sizes in
 * bytes.
 */
export interface ServeWebSocketsOptions<R extends AnyRouter, I = undefined> {
  /** Stays the caller's: listening and closing are not done here. */
  server: Server | TlsServer
  /** exactly this path, without a query */
  path: string
  /**
   * What becomes of other upgrades: a WebSocket for a path that nothing serves gets 404, and a request that asks for another protocol is
   * served without it; or both are left to other listeners of the server. Default: refuse.
   */
  otherUpgrades?: 'refuse' | 'leave'
  router: R
  /** Counts the connections; its `close()` is how they end. */
  group: ConnectionGroup
  /**
   * Says who a client is, or throws an RpcError: `UNAUTHORIZED` becomes 401 before the upgrade (4401 after it), `FORBIDDEN` 403 (4403),
   * `SERVICE_UNAVAILABLE` 503; whatever else becomes 500 and the client tries again. Left out: everybody is let in.
   */
  authenticate?: (credentials: Credentials) => I | Promise<I>
  /** Called once per connection, when it is authenticated. Required where the router's context has required members. */
  createContext?: (info: WebSocketInfo<I>) => inferRouterContext<R> | Promise<inferRouterContext<R>>
  limits?: Partial<ConnectionLimits>
  /**
   * connections of this listener that may be open or opening at once; default 10,000, above it 503. A tenth of them may wait for
   * `connectionParams` that say who the client is.
   */
  maxConnections?: number
  /** The server's version of what it serves; a client that names another in `?version=` is checked against it. Left out: nothing is checked. */
  version?: Version
  /** Web pages (their `Origin`) that may connect. Default: none. */
  allowedOrigins?: readonly string[]
  /** for the whole way to a connection that may be used; default 10 s */
  handshakeTimeoutMs?: number
  /** default 30 s */
  pingIntervalMs?: number
  /** default 10 s */
  pongTimeoutMs?: number
  onError?: (report: ErrorReport) => void
  /** Hears of each call when it is answered, or cannot be any more. Left out, no time is taken. */
  onCallEnd?: (end: CallEnd) => void
  /** Hears why a client was not let in, before or after the upgrade. */
  onRefused?: (error: RpcError<string>) => void
}

/** What is known of a connection when its context is made. */
export interface WebSocketInfo<I> extends ConnectionInfo {
  request: IncomingMessage
  /** what `authenticate` gave */
  identity: I
}

/** A path of a server on which WebSockets are let in. */
export interface WebSocketListener {
  /** connections that are open or being opened */
  readonly connections: number
  /**
   * Lets nobody in any more: the path is answered with 404, or left to others where they are left the other ones. What is open stays open; the
   * group ends that.
   */
  stop(): void
}

/**
 * Serves a router to every WebSocket that asks for `path` on `server`. Refusals are answered before the upgrade, with a status and JSON
 * `{message, reason}`. Several paths may be served on one server.
 * @throws RpcError `BAD_REQUEST` if the path is served already, or an option is no time (config_invalid)
 */
export function serveWebSockets<R extends AnyRouter, I = undefined>(
  options: ServeWebSocketsOptions<R, I> & ContextRequirement<R>,
): WebSocketListener {
  const paths = pathsOf(options.server)
  if (paths.has(options.path)) throw new RpcError('BAD_REQUEST', `${options.path} is served already`)
  const listener = new Listener(options)
  paths.set(options.path, listener)
  return listener
}

interface Upgrading {
  readonly leavesOthers: boolean
  upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void
}

interface Served {
  readonly paths: Map<string, Upgrading>
  onUpgrade(request: IncomingMessage, stream: Duplex, head: Buffer): void
}

const served = new WeakMap<Server | TlsServer, Served>()

/** What is served on a server, by path. The first time, its upgrades begin to be listened for. */
function pathsOf(server: Server | TlsServer): Map<string, Upgrading> {
  const known = served.get(server)
  if (known) return known.paths
  const paths = new Map<string, Upgrading>()
  const onUpgrade: Served['onUpgrade'] = (request, stream, head) => {
    const socket = stream as Socket // node:http and node:https hand over the sockets that they have accepted
    const listener = isWebSocket(request) ? paths.get(splitUrl(request).path) : undefined
    if (listener) return listener.upgrade(request, socket, head)
    for (const { leavesOthers } of paths.values()) if (leavesOthers) return
    if (!isWebSocket(request)) return serveWithoutUpgrade(server, request, socket, head)
    socket.on('error', () => {})
    const problem = 'no WebSocket is served under this path'
    refuseUpgrade(socket, transportError('not_found', problem))
  }
  served.set(server, { paths, onUpgrade })
  server.on('upgrade', onUpgrade)
  return paths
}

/** Upgrades that were left to others while a path was served are theirs alone when the last one is not. */
function stopServing(server: Server | TlsServer, path: string, listener: Upgrading): void {
  const known = served.get(server)
  if (known?.paths.get(path) !== listener) return
  known.paths.delete(path)
  if (known.paths.size > 0 || !listener.leavesOthers) return
  served.delete(server)
  server.off('upgrade', known.onUpgrade)
}

function splitUrl({ url = '/' }: IncomingMessage): { path: string; query: URLSearchParams } {
  const start = url.indexOf('?')
  return start < 0
    ? { path: url, query: new URLSearchParams() }
    : { path: url.slice(0, start), query: new URLSearchParams(url.slice(start)) }
}

class Listener<R extends AnyRouter, I> implements WebSocketListener, Upgrading {
  connections = 0
  readonly leavesOthers: boolean
  readonly #options: ServeWebSocketsOptions<R, I>
  readonly #limits: ConnectionLimits
  readonly #handshakeTimeoutMs: number
  readonly #times: WebSocketTimes
  readonly #server: WebSocketServer
  /** the sockets of clients that are to say after the upgrade who they are */
  readonly #strangers = new Set<Socket>()

  constructor(options: ServeWebSocketsOptions<R, I>) {
    this.#options = options
    this.leavesOthers = options.otherUpgrades === 'leave'
    this.#limits = { ...connectionLimits, ...options.limits }
    this.#handshakeTimeoutMs = timeoutOf('handshakeTimeoutMs', options.handshakeTimeoutMs ?? times.handshakeTimeoutMs)
    this.#times = webSocketTimes(options)
    this.#server = new WebSocketServer({ ...webSocketSettings(this.#limits), noServer: true, clientTracking: false })
    // What `ws` itself finds wrong with an upgrade.
    this.#server.on('wsClientError', (error, socket) => {
      refuseUpgrade(socket as Socket, new RpcError('BAD_REQUEST', error.message)) // the one that it was given
    })
  }

  stop(): void {
    stopServing(this.#options.server, this.#options.path, this)
  }

  upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const handshake = new UpgradeHandshake(socket, this.#handshakeTimeoutMs, this.#options.onRefused)
    const { query } = splitUrl(request)
    const isStranger = this.#asksLater(request, query)
    try {
      this.#options.group.add(handshake)
      this.#admit(request, isStranger)
    } catch (error) {
      return handshake.refuse(error)
    }
    this.connections++
    if (isStranger) this.#strangers.add(socket)
    socket.once('close', () => {
      this.connections--
      this.#strangers.delete(socket)
    })
    const { version } = this.#options
    const mismatch = version && checkVersion(query.get('version'), version)
    if (mismatch) handshake.refuse(mismatch.error, mismatch.details)
    else void this.#open({ request, query, socket, head, handshake })
  }

  /** Whether a client announced parameters and sent no header: it is asked when they come, after the upgrade. */
  #asksLater({ headers }: IncomingMessage, query: URLSearchParams): boolean {
    return (
      this.#options.authenticate !== undefined &&
      headers.authorization === undefined &&
      query.get('connectionParams') === '1'
    )
  }

  /** Refuses what can be refused without asking anybody. */
  #admit({ headers: { origin } }: IncomingMessage, isStranger: boolean): void {
    const limit = this.#options.maxConnections ?? maxConnections
    if (this.connections >= limit) {
      const problem = `${limit.toLocaleString('en')} connections are open, as many as maxConnections allows`
      throw transportError('too_many_connections', problem)
    }
    const strangers = this.#strangers.size
    if (isStranger && strangers >= Math.ceil(limit / strangersShare)) {
      const problem = `${strangers.toLocaleString('en')} connections wait for connectionParams, as many as may`
      throw transportError('too_many_connections', problem)
    }
    if (origin !== undefined && !this.#options.allowedOrigins?.includes(origin)) {
      throw transportError('origin_not_allowed', 'this web page may not connect')
    }
  }

  /** Never rejects. */
  async #open({ request, query, socket, head, handshake }: Upgrade): Promise<void> {
    const { authorization } = request.headers
    const expectConnectionParams = query.get('connectionParams') === '1'
    const { authenticate } = this.#options
    let authenticated: { identity: I } | undefined
    if (authenticate && !this.#asksLater(request, query)) {
      const credentials = { request, authorization, connectionParams: null, signal: handshake.signal }
      try {
        authenticated = { identity: await authenticate(credentials) }
      } catch (thrown) {
        const error = RpcError.from(thrown)
        return handshake.refuse(error, error === thrown ? undefined : { requestId: this.#report(thrown) })
      }
    }
    // Refused meanwhile: it took too long, the server drains, or the client has left.
    if (!handshake.pending) return
    this.#server.handleUpgrade(request, socket, head, webSocket => {
      const { router, group, onError, onCallEnd, onRefused, createContext } = this.#options
      const duplex = webSocketDuplex(webSocket, socket, {
        ...this.#limits,
        batch: query.get('batch') === '1',
        ...this.#times,
      })
      serveDuplex<AnyRouter>({
        duplex,
        router,
        group,
        limits: this.#limits,
        ...((authenticate || createContext) && {
          createContext: info => this.#createContext(request, socket, authenticated, info),
        }),
        expectConnectionParams,
        handshakeTimeoutMs: this.#handshakeTimeoutMs,
        ...(onError && { onError }),
        ...(onCallEnd && { onCallEnd }),
        ...(onRefused && { onRefused }),
      })
      handshake.become()
    })
  }

  async #createContext(
    request: IncomingMessage,
    socket: Socket,
    authenticated: { identity: I } | undefined,
    info: ConnectionInfo,
  ): Promise<unknown> {
    const { authenticate, createContext } = this.#options
    const { signal, connectionParams } = info
    const authorization = connectionParams?.authorization
    const identity = authenticated
      ? authenticated.identity
      : ((await authenticate?.({ request, authorization, connectionParams, signal })) as I) // I is undefined where nobody is asked
    this.#strangers.delete(socket)
    return createContext?.({ ...info, request, identity })
  }

  #report(thrown: unknown): string {
    const requestId = randomUUID()
    try {
      this.#options.onError?.({ error: toTrpcError(thrown), requestId, type: 'unknown', path: undefined })
    } catch {
      // An observer that throws must not change what the client gets, and there is nobody else to tell.
    }
    return requestId
  }
}

interface Upgrade {
  request: IncomingMessage
  query: URLSearchParams
  socket: Socket
  head: Buffer
  handshake: UpgradeHandshake
}
