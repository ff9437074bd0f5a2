import { backgroundTimer } from '../../../shared/rpc/background-timer.js'
import type { Message } from '../../../shared/rpc/duplex.js'
import { encodeMessage } from '../../../shared/rpc/json/encode-message.js'
import { connectionLimits } from '../../../shared/rpc/limits.js'
import { batchFrames } from '../../../shared/rpc/links/batch-frames.js'
import type { WebSocketDuplexOptions } from '../../../shared/rpc/links/websocket-settings.js'
import type { BrowserSocket } from './browser-socket.js'

/**
 * Time between two looks at the buffer while it is full. A browser has no event for that. Half of the high-water mark
 * in this time is more than 20 MiB/s.
 */
const drainPollMs = 20

/**
 * The sending half of a browser's WebSocket: encodes messages and queues the texts of one turn, which go out in its
 * microtask, several messages as one frame with an array.
 */
export class BrowserSender {
  /** Set when more bytes than the high-water mark are buffered, until half of the mark or less are. */
  full = false
  /** bytes given to the browser */
  sentBytes = 0
  readonly #socket: BrowserSocket
  readonly #onDrain: () => void
  readonly #maxMessageBytes: number
  readonly #highWaterMarkBytes: number
  /** encoded in this turn */
  #queue: string[] = []
  #queuedLength = 0
  #drainTimer: NodeJS.Timeout | undefined

  /** @param onDrain called when `full` is over */
  constructor(
    socket: BrowserSocket,
    options: Pick<WebSocketDuplexOptions, 'maxMessageBytes' | 'highWaterMarkBytes'>,
    onDrain: () => void,
  ) {
    this.#socket = socket
    this.#onDrain = onDrain
    this.#maxMessageBytes = options.maxMessageBytes ?? connectionLimits.maxMessageBytes
    this.#highWaterMarkBytes = options.highWaterMarkBytes ?? connectionLimits.highWaterMarkBytes
  }

  get bufferedBytes(): number {
    return this.#queuedLength + this.#socket.bufferedAmount
  }

  /** bytes that the browser has not handed to the system */
  get waitingBytes(): number {
    return this.#socket.bufferedAmount
  }

  /**
   * Queues one message.
   * @throws RpcError as {@link Duplex.send}; nothing is queued
   */
  send(message: Message): void {
    const text = typeof message === 'string' ? message : encodeMessage(message, this.#maxMessageBytes)
    this.#queuedLength += text.length
    if (!this.full && this.bufferedBytes > this.#highWaterMarkBytes) {
      this.full = true
      this.#drainTimer = backgroundTimer(this.#pollDrain, drainPollMs)
    }
    // A longer queue has its microtask already.
    if (this.#queue.push(text) === 1) queueMicrotask(() => this.flush())
  }

  /** Gives the queue to the browser now. */
  flush(): void {
    const queue = this.#queue
    if (queue.length === 0) return
    this.#queue = []
    this.#queuedLength = 0
    for (const text of batchFrames(queue)) this.#write(text)
  }

  /** Notes whether the buffer has room again. A hidden page's timers are late, so each message is an occasion too. */
  checkDrain(): void {
    if (!this.full || this.bufferedBytes > this.#highWaterMarkBytes / 2) return
    this.full = false
    clearTimeout(this.#drainTimer)
    this.#onDrain()
  }

  /** Drops the queue and ends the looks at the buffer. Returns the number of messages in the queue. */
  drop(): number {
    const dropped = this.#queue.length
    this.#queue = []
    this.#queuedLength = 0
    clearTimeout(this.#drainTimer)
    return dropped
  }

  #write(text: string): void {
    const before = this.#socket.bufferedAmount
    this.#socket.send(text)
    this.sentBytes += this.#socket.bufferedAmount - before
  }

  readonly #pollDrain = (): void => {
    this.checkDrain()
    if (this.full) this.#drainTimer = backgroundTimer(this.#pollDrain, drainPollMs)
  }
}
