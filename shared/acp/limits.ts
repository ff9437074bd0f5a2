/**
 * Every size and time of the Agent Client Protocol over HTTP and WebSocket, with the unit and the source of the number.
 * Each is the default of an option of the same name.
 */

const kib = 1024
const mib = 1024 * kib

/** Limits of one server; all of its connections and streams together. */
export const acpServerLimits = {
  /** connections at once; each has an agent of its own, which may take some time to end after its connection */
  maxConnections: 1_000,
  /** connections of one identity at once: half of the 64 that a user may hold on a server altogether */
  maxConnectionsPerUser: 32,
  /** open GET streams of one connection; an editor opens one for each session that a person has open */
  maxStreams: 64,
  /** sessions of one connection with output that no stream has taken yet */
  maxUnreadSessions: 64,
  /** requests of one connection without a response, in each direction; as for RPC connections */
  maxPendingRequests: 1_024,
  /** sessions that one connection remembers as its own; the oldest is forgotten first, and its GET is asked again */
  maxKnownSessions: 10_000,
  /** bytes of one message, either direction; a prompt with an image fits. As for RPC connections */
  maxMessageBytes: 4 * mib,
  /** bytes of unread output of one connection above which its agent is not pulled; as for RPC connections */
  highWaterMarkBytes: 1 * mib,
  /** bytes of unread output of one connection above which it ends at once: its agent goes on although it is held */
  maxBufferedBytes: 8 * mib,
  /** bytes of sent events that one stream keeps for `Last-Event-ID` */
  maxReplayBytes: 1 * mib,
  /** sent events that one stream keeps for `Last-Event-ID` */
  maxReplayEvents: 1_000,
} as const

/** Limits of one server, see {@link acpServerLimits}. */
export type AcpServerLimits = { readonly [name in keyof typeof acpServerLimits]: number }

/** Times of one server in milliseconds. */
export const acpServerTimes = {
  /** from an `initialize` to the response of the agent; an agent that starts a process needs some seconds */
  initializeTimeoutMs: 30_000,
  /** from the upgrade of a WebSocket to its `initialize`; as for the handshake of RPC connections */
  handshakeTimeoutMs: 10_000,
  /** from the first byte of a POST to its last; 4 MiB at 1.2 Mbit/s */
  bodyTimeoutMs: 30_000,
  /** silence on a GET after which a comment is sent; below the 30 s after which proxies cut silent responses */
  keepAliveMs: 15_000,
  /** with more than `highWaterMarkBytes` unread: the silence of the reader that ends the connection */
  slowReaderMs: 60_000,
  /** from the last stream and the last POST to the end of a connection: its client has left without DELETE */
  abandonedMs: 60_000,
  /** pause that a full or draining server asks of a client before the next `initialize` */
  retryAfterMs: 1_000,
  /** from the accept of a socket to its first byte, where HTTP/1.1 and HTTP/2 share a port */
  firstByteMs: 10_000,
} as const

/** Times of one server, see {@link acpServerTimes}. */
export type AcpServerTimes = { readonly [name in keyof typeof acpServerTimes]: number }

/** Limits of one client. */
export const acpClientLimits = {
  /** bytes of one message, either direction; as at the server */
  maxMessageBytes: 4 * mib,
  /** bytes of messages that the server has not taken above which the client is full; as at the server */
  highWaterMarkBytes: 1 * mib,
  /** requests without a response, in each direction; as at the server */
  maxPendingRequests: 1_024,
} as const

/** Limits of one client, see {@link acpClientLimits}. */
export type AcpClientLimits = { readonly [name in keyof typeof acpClientLimits]: number }

/** Times of one client in milliseconds. */
export const acpClientTimes = {
  /** from `initialize` to its response, with the waits that a full server asks for; an agent's start takes seconds */
  initializeTimeoutMs: 60_000,
  /** from any other HTTP request to the end of its response, or to a stream's head; servers take a message at once */
  responseTimeoutMs: 30_000,
  /** greatest wait before the first attempt to open a stream again; it doubles with each further one */
  reconnectMinMs: 250,
  /** greatest wait before any attempt */
  reconnectMaxMs: 5_000,
  /** life of a stream after which its loss is a first one again */
  steadyMs: 10_000,
  /**
   * without a stream, or of repeats of a message: after that the client gives up. Servers keep a connection so long.
   * Without a byte on a stream, which is four comments of a server: after that it is opened again
   */
  lostAfterMs: 60_000,
  /** at `close()`: for messages under way, and again for the DELETE */
  closeTimeoutMs: 5_000,
} as const

/** Times of one client, see {@link acpClientTimes}. */
export type AcpClientTimes = { readonly [name in keyof typeof acpClientTimes]: number }

/**
 * Longest id of a message, a session or a connection, and longest method, in UTF-16 code units: ids are kept for every
 * open request and session, and travel in headers. UUIDs have 36.
 */
export const maxIdLength = 256
