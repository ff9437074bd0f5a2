import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { Message } from './duplex.js'
import { encodeMessage } from './encode-message.js'
import { connectionLimits } from './limits.js'
import { maxBatchLength, type WebSocketDuplexOptions } from './websocket-settings.js'

/**
 * The sending half of a WebSocket: encodes messages and queues the texts of one turn, which go out together in its
 * microtask. Pongs for a peer that does not read are held back.
 */
export class WebSocketSender {
  /** Set when more bytes than the high-water mark are buffered, until half of the mark or less are. */
  full = false
  readonly #socket: WebSocket
  readonly #raw: Socket
  readonly #onDrain: () => void
  readonly #maxMessageBytes: number
  readonly #highWaterMarkBytes: number
  readonly #maxBufferedBytes: number
  readonly #batches: boolean
  /** encoded in this turn */
  #queue: string[] = []
  #queuedLength = 0
  /** data of the newest ping, while too many bytes are buffered for a pong */
  #pingWithoutPong: Buffer | undefined

  /** @param onDrain called when `full` is over */
  constructor(socket: WebSocket, raw: Socket, options: WebSocketDuplexOptions, onDrain: () => void) {
    this.#socket = socket
    this.#raw = raw
    this.#onDrain = onDrain
    this.#maxMessageBytes = options.maxMessageBytes ?? connectionLimits.maxMessageBytes
    this.#highWaterMarkBytes = options.highWaterMarkBytes ?? connectionLimits.highWaterMarkBytes
    this.#maxBufferedBytes = options.maxBufferedBytes ?? connectionLimits.maxBufferedBytes
    this.#batches = options.batch ?? false
  }

  get bufferedBytes(): number {
    return this.#queuedLength + this.#socket.bufferedAmount
  }

  /**
   * Queues one message.
   * @throws RpcError as {@link Duplex.send}; nothing is queued
   */
  send(message: Message): void {
    const text = typeof message === 'string' ? message : encodeMessage(message, this.#maxMessageBytes)
    this.#queuedLength += text.length
    if (!this.full && this.bufferedBytes > this.#highWaterMarkBytes) this.full = true
    // A longer queue has its microtask already.
    if (this.#queue.push(text) === 1) queueMicrotask(this.#flush)
  }

  /** Writes the queue to the socket now. */
  flush(): void {
    this.#flush()
  }

  /** Drops the queue. */
  clear(): void {
    this.#queue = []
    this.#queuedLength = 0
  }

  /**
   * Sends the pong for a ping. Above `maxBufferedBytes` only the newest ping is kept and gets its pong when there is
   * room: a peer that reads nothing cannot fill the memory with pongs (RFC 6455, section 5.5.3).
   */
  pong(data: Buffer): void {
    if (this.#socket.bufferedAmount > this.#maxBufferedBytes) this.#pingWithoutPong = data
    else this.#socket.pong(data, undefined, this.full ? this.#onWritten : undefined)
  }

  readonly #flush = (): void => {
    const queue = this.#queue
    const [first] = queue
    if (first === undefined) return
    this.#queue = []
    this.#queuedLength = 0
    if (queue.length === 1) return this.#write(first)
    // One system call for all texts, also if they are several frames.
    this.#raw.cork()
    if (this.#batches) this.#writeBatches(queue)
    else for (const text of queue) this.#write(text)
    this.#raw.uncork()
  }

  #writeBatches(queue: readonly string[]): void {
    let batch: string[] = []
    let length = 0
    const writeBatch = (): void => {
      if (batch.length === 0) return
      this.#write(batch.length === 1 ? (batch[0] ?? '') : `[${batch.join(',')}]`)
      batch = []
      length = 0
    }
    for (const text of queue) {
      if (length + text.length > maxBatchLength || text[0] !== '{') writeBatch()
      // PING, PONG, and messages that are arrays themselves.
      if (text[0] !== '{') {
        this.#write(text)
        continue
      }
      batch.push(text)
      length += text.length + 1
    }
    writeBatch()
  }

  #write(text: string): void {
    this.#socket.send(text, this.full ? this.#onWritten : undefined)
  }

  readonly #onWritten = (): void => {
    if (!this.full || this.bufferedBytes > this.#highWaterMarkBytes / 2) return
    this.full = false
    const ping = this.#pingWithoutPong
    this.#pingWithoutPong = undefined
    if (ping) this.#socket.pong(ping)
    this.#onDrain()
  }
}
