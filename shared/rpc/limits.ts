/**
 * Every size and time of the transport, with the unit and the source of the number. "contract" means: agreed between
 * client and server; a change is a change of the version that both check.
 */

import { longestTimeoutMs } from './timeouts.js'

const mib = 1024 * 1024

/** Limits of one connection. Each is the default of an option of the same name. */
export const connectionLimits = {
  /** bytes of one message, either direction; the largest record (two content fields of 1 MiB) fits (contract) */
  maxMessageBytes: 4 * mib,
  /** calls in flight on one connection; the client holds further ones back (contract) */
  maxInFlight: 1024,
  /** subscriptions open on one connection, part of `maxInFlight` (contract) */
  maxSubscriptions: 256,
  /** bytes waiting for a slow reader above which no subscription is pulled and no new call started */
  highWaterMarkBytes: 1 * mib,
  /**
   * bytes waiting for a slow reader above which the connection is closed with 4008, after `slowReaderMs`; also the
   * limit of calls that were received and not started
   */
  maxBufferedBytes: 16 * mib,
} as const

/**
 * Memory of a queued frame beside its bytes. Measured in heap and buffers with Node 20 and `ws` 8.23: 224 bytes for a
 * text of 4 bytes, 240 for longer texts, 164 for a pong.
 */
export const frameOverheadBytes = 256

/**
 * Frames, or messages in batches, of one WebSocket after which the other sockets get their turn: about 64 KiB of short
 * calls, 5 to 10 ms.
 */
export const framesPerTurn = 512

/**
 * Limits of items that arrived for one `for await` and that its reader has not taken. An event loop's turn may deliver
 * some thousand items to a reader who keeps up.
 */
export const readerLimits = {
  /** least cost of an item in memory: an object, its text and its place */
  itemBytes: 256,
  /** bytes above which a subscription whose events have ids is stopped until its reader has caught up */
  pauseBytes: 4 * mib,
  /** bytes above which any other subscription fails; the same as for a server's slow reader */
  failBytes: 16 * mib,
} as const

/** Above this multiple of `maxBufferedBytes` a slow reader is closed without a wait. */
export const maxBurstFactor = 8

/**
 * Messages of one batch; a larger batch closes the connection with 1002. A response to each message is still below
 * `maxBufferedBytes`.
 */
export const maxBatchMessages = 32_768

/**
 * Levels of objects and arrays in one message, the message itself included, on every link and in both directions. Each
 * recursion over a value of a peer gets this deep on Node's default stack of 984 KiB; parsers of other
 * languages stop near the same depth (Jackson at 1,000). Four MiB of `[` would be two million levels, which take 0.5 s
 * and 117 MiB to parse.
 */
export const maxDepth = 1024

/**
 * Objects and arrays in one message. Four MiB of `{},` would be 1.4 million, which take 160 ms and 89 MiB to parse; a
 * message of `maxMessageBytes` reaches the limit with less than 16 bytes for each.
 */
export const maxContainers = 262_144

/** Connections of one WebSocket listener at once, opening connections included (contract). */
export const maxConnections = 10_000

/**
 * The share of unauthenticated clients among these is one in so many: clients without a key must not take every place.
 */
export const unauthenticatedShare = 10

/** Bounds of the messages of peers whose identity is unknown; a peer above one is closed with 1008. */
export const unauthenticatedLimits = {
  /** the first frame, `connectionParams`: as much as all headers of a request, four times (contract) */
  firstFrameBytes: 64 * 1024,
  /**
   * memory of all frames of one peer, whether kept or not: stock clients send calls right behind the first frame
   * (contract)
   */
  peerBytes: 4 * mib,
  /** the part of these for `PING`, pings and pongs, at {@link frameOverheadBytes} each: 1,024 of them (contract) */
  pingBytes: 256 * 1024,
  /** memory of the frames of all unauthenticated peers of a connection group (contract) */
  totalBytes: 64 * mib,
  /** parts of one message; each costs 100 bytes of memory and may hold a single byte. Chrome sends 128 KiB in one */
  maxFragments: 256,
  /** bytes after the close, which were under way; then nothing more is read */
  lateBytes: 256 * 1024,
} as const

/** Limits of one connection, see {@link connectionLimits}. */
export type ConnectionLimits = { readonly [name in keyof typeof connectionLimits]: number }

/** Times of the transport in milliseconds. Most are the default of an option of the same name. */
export const times = {
  /** a call without a deadline of its own, the wait for a connection included (contract) */
  callTimeoutMs: 30_000,
  /** longest deadline a caller may ask for */
  maxCallTimeoutMs: longestTimeoutMs,
  /** how long `close()` lets calls in flight run (contract) */
  graceMs: 30_000,
  /** after the grace: how long an aborted procedure may take to return before `close()` stops waiting for it */
  abortGraceMs: 1_000,
  /**
   * from the upgrade request, or from the upgrade for credentials in the first frame, until the connection may be used
   * (contract)
   */
  handshakeTimeoutMs: 10_000,
  /** the client's side of the same: from the dial to the response to the upgrade */
  connectTimeoutMs: 10_000,
  /**
   * longest silence on a WebSocket until a ping is sent; below the 60 s after which common load balancers cut an idle
   * connection (contract)
   */
  pingIntervalMs: 30_000,
  /** silence after a ping that ends the connection (contract) */
  pongTimeoutMs: 10_000,
  /** silence after a close that ends the wait for the peer's Close; as after a ping */
  closeTimeoutMs: 10_000,
  /** longest time for a peer to take the messages before a close, while the peer takes them */
  closeLimitMs: 30_000,
  /** time for the clients of a draining server to dial elsewhere and close; calls under way are rejected (contract) */
  settleMs: 2_000,
  /**
   * from the end of a call until its procedure counts as hanging; as long as a call without a deadline of its own may
   * take
   */
  hangingMs: 30_000,
  /** longest time with more than maxBufferedBytes waiting: a burst of responses is not a slow reader */
  slowReaderMs: 2_000,
  /** pause that a draining or full server asks of a client before the next dial */
  retryAfterMs: 1_000,
  /**
   * bounds of the wait for the next dial, which is uniform between 0 and half of the time since the connection was lost
   * (contract). After an outage nearly all of 300 clients are back within half of its length, and a server is never
   * dialled by many of them at once (docs/figures.md)
   */
  reconnectMinMs: 1_000,
  reconnectMaxMs: 10_000,
  /** the clients of a draining server spread their dials over this time; well below `settleMs` (contract) */
  moveMs: 500,
  /** a connection that stayed up this long, or served a call, resets the backoff (contract) */
  reconnectResetMs: 10_000,
} as const
