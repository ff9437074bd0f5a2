/** The settings of a server of WebSockets, and the facts that its callbacks get. */
import type { IncomingMessage, Server } from 'node:http'
import type { Server as TlsServer } from 'node:https'
import type { CallEnd } from '../../../shared/rpc/call-end.js'
import type { Duplex } from '../../../shared/rpc/duplex.js'
import type { RpcError } from '../../../shared/rpc/errors.js'
import type { ConnectionLimits } from '../../../shared/rpc/limits.js'
import type { ConnectionParams } from '../../../shared/rpc/messages.js'
import type { Version } from '../../../shared/rpc/version.js'
import type { ConnectionGroup } from '../connection-group.js'
import type { ConnectionInfo } from '../context-handshake.js'
import type { ErrorReport } from '../responses.js'
import type { AnyRouter, inferRouterContext } from '../trpc-internals.js'

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

/** Who may connect under a path, and in which bounds. `I` is the identity that `authenticate` returns. */
export interface WebSocketListenerOptions<I = undefined> {
  /** Belongs to the caller, who opens and closes the server. */
  server: Server | TlsServer
  /** exactly this path, without a query */
  path: string
  /**
   * Whether upgrades of other paths are rejected (a WebSocket gets 404, a request for another protocol is served
   * without the upgrade) or left to other listeners of the server. Default: reject.
   */
  otherUpgrades?: 'reject' | 'leave'
  /** Counts the connections, and ends each with the group's `close()`. */
  group: ConnectionGroup
  /**
   * Returns the identity of a client, or throws an RpcError: `UNAUTHORIZED` becomes 401 before the upgrade (4401 after
   * it), `FORBIDDEN` 403 (4403), `SERVICE_UNAVAILABLE` 503; any other error becomes 500, and the client dials again.
   * Absent: every client is accepted.
   */
  authenticate?: (credentials: Credentials) => I | Promise<I>
  /**
   * Whether clients may announce `connectionParams`, by which they are authenticated after the upgrade; `rejected`:
   * such a client gets 400. Default: accepted, if this side serves a router.
   */
  connectionParams?: 'accepted' | 'rejected'
  /** Default: {@link connectionLimits}. */
  limits?: Partial<ConnectionLimits>
  /**
   * connections of this listener that may be open or opening at once; default 10,000, above it 503. A tenth of them may
   * be unauthenticated clients that announced `connectionParams`; of these places, one address holds at most as many as
   * are free.
   */
  maxConnections?: number
  /** Returns the address of a client. Default: that of the socket, which behind a proxy is the proxy's. */
  addressOf?: (request: IncomingMessage) => string | undefined
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
  /** Called with the error of a client that was rejected, before or after the upgrade. */
  onRejected?: (error: RpcError<string>) => void
}

/** Settings of {@link serveWebSockets} for a router that this side serves. */
export interface ServeWebSocketsOptions<R extends AnyRouter, I = undefined> extends WebSocketListenerOptions<I> {
  router: R
  /** Makes the context of one authenticated connection. Required for a router whose context has required members. */
  createContext?: (info: WebSocketInfo<I>) => inferRouterContext<R> | Promise<inferRouterContext<R>>
  /** Called for each call when its response is sent, or can never be. Absent: no time is taken. */
  onCallEnd?: (end: CallEnd) => void
  onDuplex?: never
}

/** Settings of {@link serveWebSockets} for routers that the dialling sides serve. */
export interface ReversedWebSocketsOptions<I = undefined> extends WebSocketListenerOptions<I> {
  /**
   * Takes the duplex of a client that was accepted, over which this side calls. The group counts the duplex until it
   * closes, and the calls that `connect` makes on it, see {@link groupDuplex}. A thrown error closes the duplex as the
   * error of a context does, see {@link ServeDuplexOptions.createContext}. Credentials must be in the upgrade: a client
   * that announces `connectionParams` is rejected.
   */
  onDuplex: (duplex: Duplex, info: DuplexInfo<I>) => void | Promise<void>
  router?: never
  createContext?: never
  onCallEnd?: never
}

/** The facts of a duplex that is handed out. */
export interface DuplexInfo<I> {
  request: IncomingMessage
  /** the result of `authenticate` */
  identity: I
  /** aborts when the duplex has closed */
  signal: AbortSignal
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
