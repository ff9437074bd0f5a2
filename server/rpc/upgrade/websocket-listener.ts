/** Accepts WebSockets: an upgrade is checked before it is granted, and becomes a duplex like any other. */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { ServerOptions } from 'ws'
import type { Duplex } from '../../../shared/rpc/duplex.js'
import { RpcError, transportError } from '../../../shared/rpc/errors.js'
import {
  type ConnectionLimits,
  connectionLimits,
  maxConnections,
  times,
  unauthenticatedLimits,
  unauthenticatedShare,
} from '../../../shared/rpc/limits.js'
import { type DuplexServer, type DuplexSocket, duplexServer } from '../../../shared/rpc/links/duplex-socket.js'
import { webSocketDuplex } from '../../../shared/rpc/links/websocket-duplex.js'
import { type WebSocketTimes, webSocketTimes } from '../../../shared/rpc/links/websocket-settings.js'
import { timeoutOf } from '../../../shared/rpc/timeouts.js'
import { serveAs } from '../connection.js'
import { ConnectionGroup } from '../connection-group.js'
import type { ConnectionInfo, ContextRequirement } from '../context-handshake.js'
import { toTrpcError } from '../error-shape.js'
import { groupedDuplex } from '../grouped-duplex.js'
import type { AnyRouter } from '../trpc-internals.js'
import { UnauthenticatedPeer } from '../unauthenticated-peer.js'
import { handOut } from './hand-out.js'
import { HeldSockets } from './held-sockets.js'
import type { ReversedWebSocketsOptions, ServeWebSocketsOptions, WebSocketListener } from './listener-options.js'
import { UnauthenticatedPlaces } from './unauthenticated-places.js'
import { UnauthenticatedSocket } from './unauthenticated-socket.js'
import { UnauthenticatedTurns } from './unauthenticated-turns.js'
import { UpgradeHandshake } from './upgrade-handshake.js'
import { listenersOf, type PathListener, removeListener, splitUrl } from './upgrade-paths.js'
import { checkVersion, rejectUpgrade } from './upgrade-rejection.js'

/**
 * Serves a router to every WebSocket that asks for `path` on `server`, or hands each out as a duplex over which this
 * side calls. Rejections precede the upgrade: a status and JSON `{message, reason}`. One server may serve several
 * paths.
 * @throws RpcError `BAD_REQUEST` if the path is served already, or there is no group or an option is no time
 *   (config_invalid)
 */
export function serveWebSockets<R extends AnyRouter, I = undefined>(
  options: ServeWebSocketsOptions<R, I> & ContextRequirement<R>,
): WebSocketListener
export function serveWebSockets<I = undefined>(options: ReversedWebSocketsOptions<I>): WebSocketListener
export function serveWebSockets(options: AnyOptions): WebSocketListener {
  const listener = new Listener(options)
  const listeners = listenersOf(options.server)
  if (listeners.has(options.path)) throw new RpcError('BAD_REQUEST', `${options.path} is served already`)
  listeners.set(options.path, listener)
  listener.start()
  return listener
}

type AnyOptions = ServeWebSocketsOptions<AnyRouter, unknown> | ReversedWebSocketsOptions<unknown>

class Listener implements WebSocketListener, PathListener {
  connections = 0
  readonly leavesOthers: boolean
  readonly #options: AnyOptions
  readonly #limits: ConnectionLimits
  readonly #handshakeTimeoutMs: number
  readonly #times: WebSocketTimes
  readonly #server: DuplexServer
  /** for clients that are authenticated after the upgrade */
  readonly #unauthenticatedServer: DuplexServer
  readonly #turns = new UnauthenticatedTurns()
  readonly #heldSockets: HeldSockets
  /** of clients that announced `connectionParams` and are not authenticated yet */
  readonly #unauthenticated: UnauthenticatedPlaces
  /** one for all sockets */
  readonly #onSocketClosed: (this: Socket) => void

  constructor(options: AnyOptions) {
    // Callers without types would learn of a missing group from the first client.
    if (!(options.group instanceof ConnectionGroup))
      throw transportError('config_invalid', 'group must be a ConnectionGroup')
    if ((options.router === undefined) === (options.onDuplex === undefined))
      throw transportError('config_invalid', 'a path has either a router or onDuplex')
    this.#options = options
    this.leavesOthers = options.otherUpgrades === 'leave'
    this.#limits = { ...connectionLimits, ...options.limits }
    this.#handshakeTimeoutMs = timeoutOf('handshakeTimeoutMs', options.handshakeTimeoutMs ?? times.handshakeTimeoutMs)
    this.#times = webSocketTimes(options)
    this.#heldSockets = new HeldSockets(options.group, this.#handshakeTimeoutMs)
    const { maxConnections: limit = maxConnections } = options
    this.#unauthenticated = new UnauthenticatedPlaces(Math.ceil(limit / unauthenticatedShare))
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

  start(): void {
    this.#options.server.on('connection', this.#turns.noteAccept)
  }

  stop(): void {
    this.#options.server.off('connection', this.#turns.noteAccept)
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
      this.#check(request, query)
      if (isUnauthenticated) this.#takePlace(request, socket)
    } catch (error) {
      return handshake.reject(error)
    }
    this.connections++
    handshake.onSocketClosed = this.#onSocketClosed
    const { version } = this.#options
    const mismatch = version && checkVersion(query.get('version'), version)
    if (mismatch) return handshake.reject(mismatch.error, mismatch.details)
    const open = (): void => void this.#open({ request, query, socket, head, handshake })
    if (isUnauthenticated) this.#turns.waitToWork(open)
    else open()
  }

  /**
   * Whether a client without a header announced parameters: such a client is authenticated after the upgrade, when the
   * parameters arrive.
   */
  #authenticatesLater({ headers }: IncomingMessage, query: URLSearchParams): boolean {
    return this.#options.authenticate !== undefined && headers.authorization === undefined && announcesParams(query)
  }

  /** Throws the rejections that need no identity. */
  #check(request: IncomingMessage, query: URLSearchParams): void {
    const limit = this.#options.maxConnections ?? maxConnections
    if (this.connections >= limit) {
      const problem = `${limit.toLocaleString('en')} connections are open, as many as maxConnections allows`
      throw transportError('too_many_connections', problem)
    }
    const { origin } = request.headers
    const { allowedOrigins = [] } = this.#options
    const isAllowed =
      typeof allowedOrigins === 'function' ? allowedOrigins : (name: string) => allowedOrigins.includes(name)
    if (origin !== undefined && !isAllowed(origin, request)) {
      throw transportError('origin_not_allowed', 'this web page may not connect')
    }
    // A far side that serves would send them where this side's connection expects responses.
    const { onDuplex, connectionParams = onDuplex ? 'rejected' : 'accepted' } = this.#options
    if (connectionParams === 'rejected' && announcesParams(query)) {
      throw transportError('config_invalid', 'this path takes credentials in a header, and no connectionParams')
    }
  }

  #takePlace(request: IncomingMessage, socket: Socket): void {
    const { addressOf } = this.#options
    const address = (addressOf ? addressOf(request) : socket.remoteAddress) ?? ''
    this.#unauthenticated.check(address)
    this.#unauthenticated.add(socket, address)
  }

  /** Never rejects. */
  async #open(upgrade: Upgrade): Promise<void> {
    const { request, query, handshake } = upgrade
    const { authorization } = request.headers
    const { authenticate } = this.#options
    let authenticated: { identity: unknown } | undefined
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
    const options = this.#options
    if (options.onDuplex) this.#handOut(upgrade, options, authenticated?.identity)
    else this.#serve(upgrade, options, authenticated)
  }

  #serve(
    { request, query, socket, head, handshake }: Upgrade,
    {
      authenticate,
      router,
      group,
      onError,
      onCallEnd,
      onRejected,
      createContext,
    }: ServeWebSocketsOptions<AnyRouter, unknown>,
    authenticated: { identity: unknown } | undefined,
  ): void {
    const expectConnectionParams = announcesParams(query)
    const hasContext = authenticate !== undefined || createContext !== undefined
    const isKnown = authenticated !== undefined || !(hasContext || expectConnectionParams)
    const peer = isKnown ? undefined : new UnauthenticatedPeer(group, expectConnectionParams)
    const server = peer ? this.#unauthenticatedServer : this.#server
    const shared = { turns: this.#turns, heldSockets: this.#heldSockets }
    server.handleUpgrade(request, socket, head, webSocket => {
      const limited = peer && new UnauthenticatedSocket(webSocket, socket, peer, shared)
      const duplex = this.#duplexOf(webSocket, socket, query)
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
      this.#become(handshake, socket)
    })
  }

  #handOut(
    { request, query, socket, head, handshake }: Upgrade,
    options: ReversedWebSocketsOptions<unknown>,
    identity: unknown,
  ): void {
    this.#server.handleUpgrade(request, socket, head, webSocket => {
      const duplex = groupedDuplex(this.#duplexOf(webSocket, socket, query), options.group)
      this.#become(handshake, socket)
      void handOut(duplex, { request, identity }, options, thrown => this.#report(thrown))
    })
  }

  #duplexOf(webSocket: DuplexSocket, socket: Socket, query: URLSearchParams): Duplex {
    const options = { ...this.#limits, batch: query.get('batch') === '1' }
    return webSocketDuplex(webSocket, socket, options, this.#times)
  }

  #become(handshake: UpgradeHandshake, socket: Socket): void {
    handshake.become()
    // Not earlier: an array of listeners that once held three keeps room for twenty.
    socket.on('close', this.#onSocketClosed)
  }

  async #createContext(
    request: IncomingMessage,
    socket: Socket,
    authenticated: { identity: unknown } | undefined,
    info: ConnectionInfo,
  ): Promise<unknown> {
    const { authenticate, createContext } = this.#options
    const { signal, connectionParams } = info
    const authorization = connectionParams?.authorization
    const identity = authenticated
      ? authenticated.identity
      : await authenticate?.({ request, authorization, connectionParams, signal })
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

function announcesParams(query: URLSearchParams): boolean {
  return query.get('connectionParams') === '1'
}
