/** The settings of a server of agents, and the facts that its callbacks get. */
import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import type { AcpServerLimits, AcpServerTimes } from '../../shared/acp/limits.js'
import type { Duplex } from '../../shared/rpc/duplex.js'
import type { RpcError } from '../../shared/rpc/errors.js'
import type { Logger } from '../../shared/values/log.js'
import type { ConnectionGroup } from '../rpc/connection-group.js'

/** The identity of a client: everything else is the application's own. */
export interface AcpIdentity {
  /** Connections belong to the user that initialized them; limits count by user. */
  readonly userId: string
}

/** The credentials of a request, and the request. */
export interface AcpCredentials {
  /** its headers and address; of HTTP/2 too, whose requests have the same members in Node's compatibility API */
  request: IncomingMessage
  /** the header `Authorization` */
  authorization: string | undefined
  /** aborts when the decision is of no use any more */
  signal: AbortSignal
}

/** The way on which a connection's messages travel. */
export type AcpTransport = 'http' | 'websocket'

/** The facts of a connection when its agent is made. */
export interface AcpAgentInfo<I extends AcpIdentity> {
  identity: I
  connectionId: string
  transport: AcpTransport
  /** Aborts when the connection has ended. */
  signal: AbortSignal
}

/**
 * Why a connection has ended. The agent gives `unauthorized` by closing its duplex with `closeCodes.unauthorized`: its
 * user may not use it any more.
 */
export type AcpEndReason =
  | 'deleted'
  | 'closed'
  | 'agent_ended'
  | 'agent_failed'
  | 'unauthorized'
  | 'initialize_failed'
  | 'protocol_error'
  | 'abandoned'
  | 'slow_reader'
  | 'draining'

/** The end of a connection. */
export interface AcpEnd {
  readonly reason: AcpEndReason
  readonly message: string
}

/** Gets notes of a server's work, for metrics. The functions return at once; their errors are logged. */
export interface AcpObserver {
  connectionOpened?(transport: AcpTransport): void
  connectionEnded?(transport: AcpTransport, reason: AcpEndReason): void
  /** A request, an upgrade or a message was rejected. */
  rejected?(error: RpcError<string>): void
  /** A message went on, to the agent or to the client's streams. */
  messagePassed?(to: 'agent' | 'client'): void
  /** A response was dropped because no request with its id is open. */
  responseDropped?(from: 'agent' | 'client'): void
  /** The agent of a connection is held back: its client has too much output unread. */
  agentHeld?(): void
}

/** Settings of {@link serveAcp}. `I` is the identity that `authenticate` returns. */
export interface ServeAcpOptions<I extends AcpIdentity = AcpIdentity> {
  /** Belongs to the caller, who opens and closes the server. */
  server: Server
  /** exactly this path, without a query; default `/acp` */
  path?: string
  /**
   * Whether this takes the requests for the path from the server's listeners that exist now (the default), or leaves
   * all requests to the listeners, one of which hands those of the path to {@link AcpListener.handle}. Upgrades of the
   * path are taken either way.
   */
  requests?: 'take' | 'leave'
  /** Whether upgrades of other paths are rejected or left to other listeners, as for `serveWebSockets`. */
  otherUpgrades?: 'reject' | 'leave'
  /** Whether HTTP/2 without TLS is served on the same port. Default true. */
  http2?: boolean
  /** Called with a socket that turned out to speak HTTP/2: the HTTP/1.1 server has no further part in it. */
  onHttp2Socket?: (socket: Socket) => void
  /**
   * Returns the agent's end of a new connection: a duplex that carries JSON-RPC objects, one agent per connection. It
   * is closed with the connection. Nothing of a thrown error reaches the client.
   */
  agent: (info: AcpAgentInfo<I>) => Duplex | Promise<Duplex>
  /** Counts the connections, and ends each with the group's `close()`. */
  group: ConnectionGroup
  /**
   * Returns the identity of a client, for each request, or throws an RpcError, whose code and reason the client gets;
   * any other error becomes 500. Absent: every client is accepted, as one user.
   */
  authenticate?: (credentials: AcpCredentials) => I | Promise<I>
  /**
   * Called before an agent is made. Throws an RpcError to reject the connection, or returns a function that is called
   * when the connection has ended. For limits that several servers share.
   */
  admit?: (identity: I) => () => void
  /**
   * Whether a session belongs to a user, for a stream of a session that its connection has not seen: a client opens the
   * stream before it loads the session. Default: yes, because a stream carries the output of its own connection's
   * agent alone, and the agent decides about the load.
   */
  ownsSession?: (identity: I, sessionId: string) => boolean | Promise<boolean>
  /** Default: {@link acpServerLimits}. */
  limits?: Partial<AcpServerLimits>
  /** Default: {@link acpServerTimes}. */
  times?: Partial<AcpServerTimes>
  /** the origins of web pages that may connect, or a function that decides; default: none */
  allowedOrigins?: readonly string[] | ((origin: string, request: IncomingMessage) => boolean)
  /**
   * The name of this process among several behind one address, 1 to 64 letters, digits, `-` and `_`; default: random.
   * Connection ids begin with it, and so does the cookie `aibridge_replica`, by which a proxy finds the process.
   */
  replicaId?: string
  logger?: Logger
  observer?: AcpObserver
}

/** The options with all defaults filled in. */
export interface AcpSettings<I extends AcpIdentity> extends ServeAcpOptions<I> {
  path: string
  limits: AcpServerLimits
  times: AcpServerTimes
  replicaId: string
  logger: Logger
  observer: AcpObserver
}
