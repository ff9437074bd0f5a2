/**
 * A duplex carries ordered messages both ways between two ends and closes once, with a reason. A link has to provide
 * nothing else: the connection code above the duplex is the same for every link.
 */

/** A message: a JSON object or an array of them (tRPC's messages, a batch), or one of tRPC's bare text frames. */
export type Message = object | 'PING' | 'PONG'

/**
 * Why a duplex closed: a WebSocket close code and a message for people. Codes from 4000 to 4999 are private (RFC 6455,
 * section 7.4): the transport uses 4008, 4401 and 4403 and leaves the others to its users.
 */
export interface CloseReason {
  code: number
  message: string
  /** why the far end may not come back, if the closing end said so: a reason of the transport or of its user */
  reason?: string
  /** For `messageTooLarge`: this end received the message. Absent: this end sent the message. */
  received?: true
}

/** The transport's close codes, on every link. */
export const closeCodes = {
  normal: 1000,
  goingAway: 1001,
  protocolError: 1002,
  noStatus: 1005,
  abnormal: 1006,
  policyViolation: 1008,
  messageTooLarge: 1009,
  internalError: 1011,
  slowReader: 4008,
  unauthorized: 4401,
  forbidden: 4403,
} as const

/** The close reason for the second receiver of one duplex: a dial must make a fresh duplex each time. */
export const openedTwice: CloseReason = { code: closeCodes.abnormal, message: 'this duplex was opened before' }

/** The close reason of a process that calls over this duplex and drains: the far side dials another one. */
export const callerDrains: CloseReason = {
  code: closeCodes.goingAway,
  message: 'the calling process shuts down',
  reason: 'draining',
}

/** The callbacks of an end's owner. All three are called asynchronously, never from within `send` or `close`. */
export interface DuplexReceiver {
  /**
   * Takes one message, in the order of sending. The value belongs to the receiver. `bytes` is its size on the link; in
   * memory, the estimated memory of the value.
   */
  onMessage(message: Message, bytes: number): void
  /** Called when `bufferedBytes` fell to half of the high-water mark or below, after a time above the mark. */
  onDrain(): void
  /** Called once, after all other calls. */
  onClose(reason: CloseReason): void
  /** queries and mutations that the receiver has sent here and whose responses it awaits; absent: none */
  readonly activeCalls?: number
  /** whether the receiver sends no further call here, because one of the ends asked for a move; absent: false */
  readonly hasLeft?: boolean
}

/** One end of a duplex. */
export interface Duplex {
  /**
   * Begins delivery; messages that arrive earlier are kept until then. Only the first receiver gets messages: a second
   * receiver gets {@link openedTwice} at once.
   */
  open(receiver: DuplexReceiver): void
  /**
   * Sends one message. The value is copied or encoded before this returns, so the caller may change the value
   * afterwards. Does nothing after the end has closed.
   * @throws RpcError `PAYLOAD_TOO_LARGE` (message_too_large) or `BAD_REQUEST` (not_encodable); the message is not sent,
   *   the duplex goes on
   */
  send(message: Message): void
  /**
   * Memory of what is sent and not yet taken by the transport below or the far end: the bytes, and
   * {@link frameOverheadBytes} for each frame.
   */
  readonly bufferedBytes: number
  /**
   * How many of the newest messages that were given to `send` this end has dropped: the far end gets none of them.
   * Absent: not known.
   */
  readonly droppedMessages?: number
  /** Whether `bufferedBytes` is above the high-water mark. */
  readonly full: boolean
  /**
   * Asks for a pause of the messages, until {@link resumeReading}, because the receiver is busy with earlier ones.
   * Messages that have arrived may still be delivered, and so may the close. Absent: there is no pause.
   */
  pauseReading?(): void
  resumeReading?(): void
  /**
   * Closes both ends. Messages sent by this end before the close are delivered first; messages for this end that were
   * not delivered yet are dropped. Later calls do nothing.
   * @param patienceMs how long a silent far end may need for the messages under way; by default it is cut off earlier
   */
  close(reason: CloseReason, patienceMs?: number): void
  /** Closes both ends at once; undelivered messages are lost. */
  terminate(reason: CloseReason): void
}
