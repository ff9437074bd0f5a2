/**
 * A duplex carries ordered messages both ways between two ends and closes once, with a reason. It is all that a link has to provide: the
 * connection code above it is the same for every link.
 */
import type { ErrorReason } from './errors.js'
import { copiedBytes, copyJson } from './json-copy.js'
import { connectionLimits } from './limits.js'

/** A message: a JSON object or an array of them (tRPC's messages, a batch), or one of tRPC's bare text frames. */
export type Message = object | 'PING' | 'PONG'

/** Why a duplex closed: a WebSocket close code (RFC 6455, section 7.4; 4000 and up are this project's) and a message for people. */
export interface CloseReason {
  code: number
  message: string
  /** why the far end may not come back, where it said so */
  reason?: ErrorReason
  /** For `messageTooLarge`: it came to this end. Left out, this end had sent it. */
  received?: true
}

/** Close codes in use, on every link. */
export const closeCodes = {
  normal: 1000,
  goingAway: 1001,
  protocolError: 1002,
  noStatus: 1005,
  abnormal: 1006,
  messageTooLarge: 1009,
  internalError: 1011,
  keyRevoked: 4001,
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

export interface MemoryDuplexOptions {
  /** bytes of one message, estimated while it is copied */
  maxMessageBytes?: number
  highWaterMarkBytes?: number
}

/**
 * Two ends in one process. What arrives is what a wire would have delivered: a JSON-equivalent copy with nothing shared.
 * Delivery is in a microtask; after {@link deliveriesPerTurn} messages the event loop gets a turn, so that a busy pair cannot keep timers
 * and sockets waiting.
 */
export function memoryDuplexPair(options: MemoryDuplexOptions = {}): [Duplex, Duplex] {
  const maxMessageBytes = options.maxMessageBytes ?? connectionLimits.maxMessageBytes
  const highWaterMarkBytes = options.highWaterMarkBytes ?? connectionLimits.highWaterMarkBytes
  const there = new Pipe(maxMessageBytes, highWaterMarkBytes)
  const back = new Pipe(maxMessageBytes, highWaterMarkBytes)
  const end = new MemoryEnd(there, back)
  there.onFailure = back.onFailure = reason => end.terminate(reason)
  return [end, new MemoryEnd(back, there)]
}

const deliveriesPerTurn = 1024

class MemoryEnd implements Duplex {
  #opened = false
  readonly #out: Pipe
  readonly #in: Pipe

  constructor(out: Pipe, into: Pipe) {
    this.#out = out
    this.#in = into
  }

  open(receiver: DuplexReceiver): void {
    if (this.#opened) return queueMicrotask(() => receiver.onClose(openedTwice))
    this.#opened = true
    this.#out.sender = receiver
    this.#in.connect(receiver)
  }

  send(message: Message): void {
    this.#out.push(message)
  }

  get bufferedBytes(): number {
    return this.#out.bufferedBytes
  }

  get full(): boolean {
    return this.#out.full
  }

  close(reason: CloseReason): void {
    this.#in.discard()
    this.#out.end(reason)
    this.#in.end(reason)
  }

  terminate(reason: CloseReason): void {
    this.#out.discard()
    this.close(reason)
  }
}

/** One direction: a queue that is emptied into a receiver. */
class Pipe {
  /** Hears that the pipe has room again. */
  sender: DuplexReceiver | undefined
  onFailure: ((reason: CloseReason) => void) | undefined
  bufferedBytes = 0
  full = false
  readonly #maxMessageBytes: number
  readonly #highWaterMarkBytes: number
  #receiver: DuplexReceiver | undefined
  #messages: Message[] = []
  #bytes: number[] = []
  #scheduled = false
  #deliveries = 0
  #reason: CloseReason | undefined
  #closed = false
  #discarded = false

  constructor(maxMessageBytes: number, highWaterMarkBytes: number) {
    this.#maxMessageBytes = maxMessageBytes
    this.#highWaterMarkBytes = highWaterMarkBytes
  }

  connect(receiver: DuplexReceiver): void {
    this.#receiver = receiver
    this.#schedule()
  }

  push(message: Message): void {
    if (this.#reason) return
    if (typeof message === 'string') {
      this.#messages.push(message)
      this.#bytes.push(message.length)
      this.bufferedBytes += message.length
    } else {
      this.#messages.push(copyJson(message, this.#maxMessageBytes))
      this.#bytes.push(copiedBytes)
      this.bufferedBytes += copiedBytes
    }
    if (this.bufferedBytes > this.#highWaterMarkBytes) this.full = true
    this.#schedule()
  }

  end(reason: CloseReason): void {
    if (this.#reason) return
    this.#reason = reason
    this.#schedule()
  }

  /** Drops what is queued, also what a delivery under way still holds. */
  discard(): void {
    this.#messages = []
    this.#bytes = []
    this.bufferedBytes = 0
    this.#discarded = true
  }

  #schedule(): void {
    if (this.#scheduled || !this.#receiver) return
    this.#scheduled = true
    if (this.#deliveries < deliveriesPerTurn) queueMicrotask(this.#deliver)
    else {
      this.#deliveries = 0
      setImmediate(this.#deliver)
    }
  }

  readonly #deliver = (): void => {
    this.#scheduled = false
    const receiver = this.#receiver
    if (!receiver || this.#closed) return
    const messages = this.#messages
    const bytes = this.#bytes
    this.#messages = []
    this.#bytes = []
    try {
      for (let index = 0; index < messages.length && !this.#discarded; index++) {
        const message = messages[index]
        if (message === undefined) continue
        const size = bytes[index] ?? 0
        this.bufferedBytes -= size
        this.#deliveries++
        receiver.onMessage(message, size)
      }
      if (this.full && this.bufferedBytes <= this.#highWaterMarkBytes / 2) {
        this.full = false
        if (!this.#reason) this.sender?.onDrain()
      }
    } catch (error) {
      // A receiver answers for its own errors; one that throws after all must not end the process from within a microtask.
      this.onFailure?.({ code: closeCodes.internalError, message: `the receiver failed: ${String(error)}` })
    }
    if (this.#messages.length > 0) this.#schedule()
    else if (this.#reason) {
      this.#closed = true
      try {
        receiver.onClose(this.#reason)
      } catch {
        // It was the last call; there is nothing left to end.
      }
    }
  }
}
