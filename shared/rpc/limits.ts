/**
 * Every size and time of the transport, with its unit and where the number comes from.
 * "contract" means: agreed between client and server; a change of it is a change of the version that they check.
 */

import { longestTimeoutMs } from './timeouts.js'

const mib = 1024 * 1024

/** What one connection may ask of the other end. Each is the default of an option of the same name. */
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
   * bytes waiting for a slow reader above which the connection is closed with 4008, after `slowReaderMs`; also of calls that came and were
   * not started
   */
  maxBufferedBytes: 16 * mib,
} as const

/** Above `maxBufferedBytes` times this, nobody waits whether the reader catches up. */
export const maxBurstFactor = 8

/** Messages of one batch; above it the connection is closed with 1002. An answer to each is still below `maxBufferedBytes`. */
export const maxBatchMessages = 32_768

/** What one WebSocket listener accepts: connections open at once, those that are being opened included (contract). */
export const maxConnections = 10_000

/** Of these, one in so many may be of clients that have not shown yet who they are: with no key at all they must not take every place. */
export const unauthenticatedShare = 10

/** Limits of one connection, see {@link connectionLimits}. */
export type ConnectionLimits = { readonly [name in keyof typeof connectionLimits]: number }

/** Times of the transport in milliseconds. Most are the default of an option of the same name. */
export const times = {
  /** a call that names no deadline of its own, waiting for a connection included (contract) */
  callTimeoutMs: 30_000,
  /** longest deadline a caller may ask for */
  maxCallTimeoutMs: longestTimeoutMs,
  /** how long `close()` lets calls in flight run (contract) */
  graceMs: 30_000,
  /** after the grace: how long an aborted procedure may take to return before `close()` stops waiting for it */
  abortGraceMs: 1_000,
  /** from the upgrade request, or from the upgrade where credentials come in the first frame, until the connection may be used (contract) */
  handshakeTimeoutMs: 10_000,
  /** the client's side of the same: from dialling to the answer of the upgrade */
  connectTimeoutMs: 10_000,
  /** longest silence on a WebSocket until a ping is sent; below the 60 s after which common load balancers cut an idle connection (contract) */
  pingIntervalMs: 30_000,
  /** silence after a ping that ends the connection (contract) */
  pongTimeoutMs: 10_000,
  /** silence after a close that ends the wait for its answer; as after a ping */
  closeTimeoutMs: 10_000,
  /** how long a peer may take for what was sent before a close, as long as it takes it */
  closeLimitMs: 30_000,
  /** how long a draining server leaves it to its clients to close: they dial elsewhere first, and calls that are under way are refused */
  settleMs: 1_000,
  /** how long more than maxBufferedBytes may wait: a burst of answers is not a slow reader */
  slowReaderMs: 2_000,
  /** what a server that is draining or full asks a client to wait before it dials again */
  retryAfterMs: 1_000,
  /** reconnecting: full jitter between 0 and a bound that doubles from the first to the second (contract) */
  reconnectMinMs: 50,
  reconnectMaxMs: 10_000,
  /** a connection that stayed up this long, or served a call, resets the backoff (contract) */
  reconnectResetMs: 10_000,
} as const
