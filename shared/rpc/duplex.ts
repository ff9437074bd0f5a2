/**
 * A duplex carries ordered messages both ways between two ends and closes once, with a reason. It is all that a link has to provide: the
 * connection code above it is the same for every link.
 */

/** A message: a JSON object or an array of them (tRPC's messages, a batch), or one of tRPC's bare text frames. */
export type Message = object | 'PING' | 'PONG'

/**
 * Why a duplex closed: a WebSocket close code (RFC 6455, section 7.4; 4000 to 4999 are private: 4008, 4401 and 4403 are the transport's, others
 * its users') and a message for people.
 */
export interface CloseReason {
  code: number
  message: string
  /** why the far end may not come back, where it said so: a reason of the transport or of its user */
  reason?: string
  /** For `messageTooLarge`: it came to this end. Left out, this end had sent it. */
  received?: true
}

/** The transport's close codes, on every link. */
export const closeCodes = {
  normal: 1000,
  goingAway: 1001,
  protocolError: 1002,
  noStatus: 1005,
  abnormal: 1006,
  messageTooLarge: 1009,
  internalError: 1011,
  slowReader: 4008,
  unauthorized: 4401,
  forbidden: 4403,
} as const

/** What a second receiver hears: who dials must make a fresh duplex each time. */
export const openedTwice: CloseReason = { code: closeCodes.abnormal, message: 'this duplex was opened before' }

/** What the owner of an end hears. All three are called asynchronously, never from within `send` or `close`. */
export interface DuplexReceiver {
  /** One message, in the order in which they were sent. Its value belongs to the receiver. `bytes` is what it took on the way. */
  onMessage(message: Message, bytes: number): void
  /** `bufferedBytes` fell to half of the high-water mark or below, after it had been above. */
  onDrain(): void
  /** Once, as the last call. */
  onClose(reason: CloseReason): void
}

/** One end. */
export interface Duplex {
  /** Begins delivery; until then what arrives is kept. Only the first receiver hears anything: another is told at once that this end is closed. */
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
  /**
   * Closes both ends. What this end has sent before is delivered first; what has come for it and was not delivered is not delivered any
   * more. Later calls do nothing.
   * @param patienceMs how long a far end of which nothing is heard may need for what was sent; by default it is cut off before
   */
  close(reason: CloseReason, patienceMs?: number): void
  /** Closes both ends at once; what was not yet delivered is lost. */
  terminate(reason: CloseReason): void
}
