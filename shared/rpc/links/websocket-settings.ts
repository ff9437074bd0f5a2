import { connectionLimits, times } from '../limits.js'
import { longestTimeoutMs, timeoutOf } from '../timeouts.js'

/** Settings of a WebSocket as a duplex. */
export interface WebSocketDuplexOptions {
  /** bytes of one message, either direction; default 4 MiB */
  maxMessageBytes?: number
  /** default 1 MiB */
  highWaterMarkBytes?: number
  /** memory of messages that arrive before the duplex is opened; above it closed with 1008; default 16 MiB */
  maxBufferedBytes?: number
  /** Whether messages of one turn go out as one frame, an array: only for a peer that takes arrays. Default false. */
  batch?: boolean
  /** silence after which a ping is sent; default 30 s */
  pingIntervalMs?: number
  /** silence after a ping that ends the connection; default 10 s */
  pongTimeoutMs?: number
  /** silence after a close that ends the wait for the peer's Close, and then for the end of the socket; default 10 s */
  closeTimeoutMs?: number
  /** how long a peer may need for the messages sent before a close, while it goes on taking them; default 30 s */
  closeLimitMs?: number
}

const timeNames = ['pingIntervalMs', 'pongTimeoutMs', 'closeTimeoutMs', 'closeLimitMs'] as const
/** The times of {@link WebSocketDuplexOptions}, in milliseconds. */
export type WebSocketTimes = Record<(typeof timeNames)[number], number>

/**
 * Returns the times of a duplex, checked and with defaults.
 * @throws RpcError as {@link timeoutOf}
 */
export function webSocketTimes(options: Partial<WebSocketTimes>): WebSocketTimes {
  const checked = timeNames.map(name => [name, timeoutOf(name, options[name] ?? times[name], 1)] as const)
  return Object.fromEntries(checked) as WebSocketTimes // one entry for each name
}

/**
 * Largest batch that is received, in bytes: 256 Ki code units, as builds up to contract 1.3 send, of one to three bytes
 * of UTF-8. A batch of this size is accepted whatever `maxMessageBytes` is, since that limit is about each message in
 * the batch, and a sender does not know the limit of its peer.
 */
const maxBatchBytes = 3 * (256 * 1024 + 2)

/**
 * Returns the settings that both ends give to `ws`, so that limits, pongs and the close are the duplex's own. No
 * compression: that costs 300 KiB a connection.
 */
export function webSocketSettings({ maxMessageBytes = connectionLimits.maxMessageBytes }: WebSocketDuplexOptions): {
  perMessageDeflate: false
  maxPayload: number
  autoPong: false
  closeTimeout: number
} {
  return {
    perMessageDeflate: false,
    maxPayload: Math.max(maxMessageBytes, maxBatchBytes),
    autoPong: false,
    closeTimeout: longestTimeoutMs,
  }
}
