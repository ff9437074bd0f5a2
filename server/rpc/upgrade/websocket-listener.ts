/** Accepts WebSockets: an upgrade is checked before it is granted, and becomes a duplex like any other. */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, Server } from 'node:http'
import type { Server as TlsServer } from 'node:https'
import type { Socket } from 'node:net'
import type { ServerOptions } from 'ws'
import type { CallEnd } from '../../../shared/rpc/call-end.js'
import { type DuplexServer, duplexServer } from '../../../shared/rpc/duplex-socket.js'
import { RpcError, transportError } from '../../../shared/rpc/errors.js'
import {
  type ConnectionLimits,
  connectionLimits,
  maxConnections,
  times,
  unauthenticatedLimits,
  unauthenticatedShare,
} from '../../../shared/rpc/limits.js'
import type { ConnectionParams } from '../../../shared/rpc/messages.js'
import { timeoutOf } from '../../../shared/rpc/timeouts.js'
import type { Version } from '../../../shared/rpc/version.js'
import { webSocketDuplex } from '../../../shared/rpc/websocket-duplex.js'
import { type WebSocketTimes, webSocketTimes } from '../../../shared/rpc/websocket-settings.js'
import { serveAs } from '../connection.js'
import { ConnectionGroup } from '../connection-group.js'
import type { ConnectionInfo, ContextRequirement } from '../context-handshake.js'
import { toTrpcError } from '../error-shape.js'
import type { ErrorReport } from '../responses.js'
import type { AnyRouter, inferRouterContext } from '../trpc-internals.js'
import { UnauthenticatedPeer } from '../unauthenticated-peer.js'
import { ReadingTurns } from './reading-turns.js'
import { UnauthenticatedSocket } from './unauthenticated-socket.js'
import { UpgradeHandshake } from './upgrade-handshake.js'
import { listenersOf, type PathListener, removeListener, splitUrl } from './upgrade-paths.js'
import { checkVersion, rejectUpgrade } from './upgrade-rejection.js'

/** The credentials of a client, and the request that carries the credentials. */
export interface Credentials {
  /** the upgrade request; its headers and address */
  request: IncomingMessage
  /** the header `Authorization`, or the connection parameter of that name */
  authorization: string | undefined
  /** the first frame's, if the URL says `?connectionParams=1`; else null */
  connectionParams: ConnectionParams
  /** aborts when the decision is of no use any more */
  signal: AbortSignal
}

/** Settings of {@link serveWebSockets}. `I` is the identity that `authenticate` returns. */
export interface ServeWebSocketsOptions<R extends AnyRouter, I = undefined> {
  /** Belongs to the caller, who opens and closes the server. */
  server: Server | TlsServer
  /** exactly this path, without a query */
  path: string
  /**
   * Whether upgrades of other paths are rejected (a WebSocket gets 404, a request for another protocol is served
   * without the upgrade) or left to other listeners of the server. Default: reject.
   */
  otherUpgrades?: 'reject' | 'leave'
  router: R
  /** Counts the connections, and ends each with the group's `close()`. */
  group: ConnectionGroup
  /**
   * Returns the identity of a client, or throws an RpcError: `UNAUTHORIZED` becomes 401 before the upgrade (4401 after
   * it), `FORBIDDEN` 403 (4403), `SERVICE_UNAVAILABLE` 503; any other error becomes 500, and the client dials again.
   * Absent: every client is accepted.
   */
  authenticate?: (credentials: Credentials) => I | Promise<I>
  /** Makes the context of one authenticated connection. Required for a router whose context has required members. */
  createContext?: (info: WebSocketInfo<I>) => inferRouterContext<R> | Promise<inferRouterContext<R>>
  /** Default: {@link connectionLimits}. */
  limits?: Partial<ConnectionLimits>
  /**
   * connections of this listener that may be open or opening at once; default 10,000, above it 503. A tenth of them may
   * be unauthenticated clients that announced `connectionParams`.
   */
  maxConnections?: number
  /** the version of the router; a client's `?version=` is checked against it. Absent: no check */
  version?: Version
  /** the origins of web pages that may connect, or a function that decides; default: none */
  allowedOrigins?: readonly string[] | ((origin: string, request: IncomingMessage) => boolean)
  /** from the upgrade request to a connection with a context; default 10 s */
  handshakeTimeoutMs?: number
  /** default 30 s */
  pingIntervalMs?: number
  /** default 10 s */
  pongTimeoutMs?: number
  onError?: (report: ErrorReport) => void
  /** Called for each call when its response is sent, or can never be. Absent: no time is taken. */
  onCallEnd?: (end: CallEnd) => void
  /** Called with the error of a client that was rejected, before or after the upgrade. */
  onRejected?: (error: RpcError<string>) => void
}

/** The facts of a connection when its context is made. */
export interface WebSocketInfo<I> extends ConnectionInfo {
  request: IncomingMessage
  /** the result of `authenticate` */
  identity: I
}

/** A path of a server that accepts WebSockets. */
export interface WebSocketListener {
  /** connections that are open or being opened */
  readonly connections: number
  /**
   * Rejects further clients: the path gets 404, or is left to other listeners together with the other paths. Open
   * connections stay open until the group closes them.
   */
  stop(): void
}

/**
 * Serves a router to every WebSocket that asks for `path` on `server`. Rejections precede the upgrade: a status and
 * JSON `{message, reason}`. One server may serve several paths.
 * @throws RpcError `BAD_REQUEST` if the path is served already, or there is no group or an option is no time
 *   (config_invalid)
 */
export function serveWebSockets<R extends AnyRouter, I = undefined>(
  options: ServeWebSocketsOptions<R, I> & ContextRequirement<R>,
): WebSocketListener {
  const listener = new Listener(options)
  const listeners = listenersOf(options.server)
  if (listeners.has(options.path)) throw new RpcError('BAD_REQUEST', `${options.path} is served already`)
  listeners.set(options.path, listener)
  return listener
}

class Listener<R extends AnyRouter, I> implements WebSocketListener, PathListener {
  connections = 0
  readonly leavesOthers: boolean
  readonly #options: ServeWebSocketsOptions<R, I>
  readonly #limits: ConnectionLimits
  readonly #handshakeTimeoutMs: number
  readonly #times: WebSocketTimes
  readonly #server: DuplexServer
  /** for clients that are authenticated after the upgrade */
  readonly #unauthenticatedServer: DuplexServer
  readonly #readingTurns = new ReadingTurns()
  /** sockets of clients that announced `connectionParams` and are not authenticated yet */
  readonly #unauthenticated = new Set<Socket>()
  /** one for all sockets */
  readonly #onSocketClosed: (this: Socket) => void

  constructor(options: ServeWebSocketsOptions<R, I>) {
    // Callers without types would learn of a missing group from the first client.
    if (!(options.group instanceof ConnectionGroup))
      throw transportError('config_invalid', 'group must be a ConnectionGroup')
    this.#options = options
    this.leavesOthers = options.otherUpgrades === 'leave'
    this.#limits = { ...connectionLimits, ...options.limits }
    this.#handshakeTimeoutMs = timeoutOf('handshakeTimeoutMs', options.handshakeTimeoutMs ?? times.handshakeTimeoutMs)
    this.#times = webSocketTimes(options)
    const listener = this
    this.#onSocketClosed = function (this: Socket) {
      listener.connections--
      listener.#unauthenticated.delete(this)
    }
    this.#server = this.#createServer({})
    this.#unauthenticatedServer = this.#createServer({ maxFragments: unauthenticatedLimits.maxFragments })
  }

  #createServer(options: ServerOptions): DuplexServer {
    const server = duplexServer(this.#limits, { ...options, noServer: true, clientTracking: false })
    // `ws` itself finds a fault in the upgrade.
    return server.on('wsClientError', (error, socket) => {
      rejectUpgrade(socket as Socket, new RpcError('BAD_REQUEST', error.message)) // the socket that `ws` was given
    })
  }

  stop(): void {
    removeListener(this.#options.server, this.#options.path, this)
  }

  upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    // `ws` takes no list of protocols.
    request.headers.upgrade = 'websocket'
    const handshake = new UpgradeHandshake(socket, this.#handshakeTimeoutMs, this.#options.onRejected)
    const { query } = splitUrl(request)
    const isUnauthenticated = this.#authenticatesLater(request, query)
    try {
      this.#options.group.add(handshake)
      this.#check(request, isUnauthenticated)
    } catch (error) {
      return handshake.reject(error)
    }
    this.connections++
    if (isUnauthenticated) this.#unauthenticated.add(socket)
    handshake.onSocketClosed = this.#onSocketClosed
    const { version } = this.#options
    const mismatch = version && checkVersion(query.get('version'), version)
    if (mismatch) handshake.reject(mismatch.error, mismatch.details)
    else void this.#open({ request, query, socket, head, handshake })
  }

  /**
   * Whether a client without a header announced parameters: such a client is authenticated after the upgrade, when the
   * parameters arrive.
   */
  #authenticatesLater({ headers }: IncomingMessage, query: URLSearchParams): boolean {
    return (
      this.#options.authenticate !== undefined &&
      headers.authorization === undefined &&
      query.get('connectionParams') === '1'
    )
  }

  /** Throws the rejections that need no identity. */
  #check(request: IncomingMessage, isUnauthenticated: boolean): void {
    const limit = this.#options.maxConnections ?? maxConnections
    if (this.connections >= limit) {
      const problem = `${limit.toLocaleString('en')} connections are open, as many as maxConnections allows`
      throw transportError('too_many_connections', problem)
    }
    const unauthenticated = this.#unauthenticated.size
    if (isUnauthenticated && unauthenticated >= Math.ceil(limit / unauthenticatedShare)) {
      const problem = `${unauthenticated.toLocaleString('en')} connections wait for connectionParams, as many as may`
      throw transportError('too_many_connections', problem)
    }
    const { origin } = request.headers
    const { allowedOrigins = [] } = this.#options
    const isAllowed =
      typeof allowedOrigins === 'function' ? allowedOrigins : (name: string) => allowedOrigins.includes(name)
    if (origin !== undefined && !isAllowed(origin, request)) {
      throw transportError('origin_not_allowed', 'this web page may not connect')
    }
  }

  /** Never rejects. */
  async #open({ request, query, socket, head, handshake }: Upgrade): Promise<void> {
    const { authorization } = request.headers
    const expectConnectionParams = query.get('connectionParams') === '1'
    const { authenticate } = this.#options
    let authenticated: { identity: I } | undefined
    if (authenticate && !this.#authenticatesLater(request, query)) {
      const credentials = { request, authorization, connectionParams: null, signal: handshake.signal }
      try {
        authenticated = { identity: await authenticate(credentials) }
      } catch (thrown) {
        const error = RpcError.from(thrown)
        return handshake.reject(error, error === thrown ? undefined : { requestId: this.#report(thrown) })
      }
    }
    // Rejected meanwhile: by the timeout or a drain, or the client has left.
    if (!handshake.pending) return
    const { router, group, onError, onCallEnd, onRejected, createContext } = this.#options
    const hasContext = authenticate !== undefined || createContext !== undefined
    const isKnown = authenticated !== undefined || !(hasContext || expectConnectionParams)
    const peer = isKnown ? undefined : new UnauthenticatedPeer(group, expectConnectionParams)
    const server = peer ? this.#unauthenticatedServer : this.#server
    server.handleUpgrade(request, socket, head, webSocket => {
      const limited = peer && new UnauthenticatedSocket(webSocket, socket, peer, this.#readingTurns)
      const duplexOptions = { ...this.#limits, batch: query.get('batch') === '1' }
      const duplex = webSocketDuplex(webSocket, socket, duplexOptions, this.#times)
      const options = {
        duplex,
        router,
        group,
        limits: this.#limits,
        ...(hasContext && {
          createContext: (info: ConnectionInfo) => this.#createContext(request, socket, authenticated, info),
        }),
        expectConnectionParams,
        handshakeTimeoutMs: this.#handshakeTimeoutMs,
        ...(onError && { onError }),
        ...(onCallEnd && { onCallEnd }),
        ...(onRejected && { onRejected }),
      }
      const connection = serveAs(options, peer)
      if (limited) limited.connection = connection
      handshake.become()
      // Not earlier: an array of listeners that once held three keeps room for twenty.
      socket.on('close', this.#onSocketClosed)
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
      : ((await authenticate?.({ request, authorization, connectionParams, signal })) as I) // I is undefined without authenticate
    this.#unauthenticated.delete(socket)
    return createContext?.({ ...info, request, identity })
  }

  #report(thrown: unknown): string {
    const requestId = randomUUID()
    try {
      this.#options.onError?.({ error: toTrpcError(thrown), requestId, type: 'unknown', path: undefined })
    } catch {
      // An observer that throws must not change the client's response, and no other observer is left.
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
