/**
 * A duplex carries ordered messages both ways between two ends and closes once, with a reason. It is all that a link has to provide: the
 * connection code above it is the same for every link.
 */
import { copyMessage } from './json-copy.js'
import type { ErrorReason } from './errors.js'

/** A message: a JSON object or an array of them (tRPC's messages, a batch), or one of tRPC's bare text frames. */
export type Message = object | 'PING' | 'PONG'

/** Why a duplex closed: a WebSocket close code (RFC 6455, section 7.4; 4000 and up are this project's) and a message for people. */
export interface CloseReason {
  code: number
  message: string
  /** why the far end may not come back, where it said so */
  reason?: ErrorReason
}

/** Close codes in use, on every link. */
export const closeCodes = {
  normal: 1000,
  goingAway: 1001,
  protocolError: 1002,
  noStatus: 1005,
  abnormal: 1006,
  messageTooLarge: 1009,
  keyRevoked: 4001,
  slowReader: 4008,
  unauthorized: 4401,
  forbidden: 4403,
} as const

/** What the owner of an end hears. All three are called asynchronously, never from within `send` or `close`. */
export interface DuplexReceiver {
  /** One message, in the order in which they were sent. Its value belongs to the receiver. */
  onMessage(message: Message): void
  /** `bufferedBytes` fell to half of the high-water mark or below, after it had been above. */
  onDrain(): void
  /** Once, as the last call. */
  onClose(reason: CloseReason): void
}

/** One end. */
export interface Duplex {
  /** Begins delivery; until then what arrives is kept. Called once. */
  open(receiver: DuplexReceiver): void
  /**
   * Sends one message. The value is copied or encoded before this returns; the caller may change it afterwards. After the end has
   * closed it does nothing.
   * @throws RpcError `PAYLOAD_TOO_LARGE` (message_too_large) or `BAD_REQUEST` (not_encodable); the message is not sent, the duplex lives
   */
  send(message: Message): void
  /** Bytes sent and not yet taken by the transport below or the far end. */
  readonly bufferedBytes: number
  /** Whether `bufferedBytes` is above the high-water mark. */
  readonly full: boolean
  /** Closes both ends. What was sent before is delivered first. Later calls do nothing. */
  close(reason: CloseReason): void
  /** Closes both ends at once; what was not yet delivered is lost. */
  terminate(reason: CloseReason): void
}

export interface MemoryDuplexOptions {
  /** bytes of one message, estimated while it is copied */
  maxMessageBytes?: number
  highWaterMarkBytes?: number
}
