import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { Message } from '../duplex.js'
import { encodeMessage } from '../json/encode-message.js'
import { connectionLimits, frameOverheadBytes } from '../limits.js'
import { batchFrames, sentBatchLength } from './batch-frames.js'
import { PongSender } from './pong-sender.js'
import { unmaskedFrames } from './unmasked-frames.js'
import type { WebSocketDuplexOptions } from './websocket-settings.js'

/** Settings of a {@link WebSocketSender}. */
export interface SenderOptions extends WebSocketDuplexOptions {
  /** Whether this end is a server, whose frames have no mask (RFC 6455, section 5.1); default false */
  unmasked?: boolean
}

/**
 * The sending half of a WebSocket: encodes messages and queues the texts of one turn. They go out together once all
 * microtasks have run, or as soon as they fill a frame: the responses to a batch, and the items of a source that is
 * always ready, are a few large writes. Each queued frame counts with its memory, which is a hundred times the bytes of
 * a short one.
 */
export class WebSocketSender {
  /** Set when more bytes than the high-water mark are buffered, until half of the mark or less are. */
  full = false
  readonly #socket: WebSocket
  readonly #raw: Socket
  readonly #owner: { onDrain(): void }
  readonly #maxMessageBytes: number
  readonly #highWaterMarkBytes: number
  readonly #batches: boolean
  readonly #isUnmasked: boolean
  /** encoded in this turn; an idle connection has no list */
  #queue: string[] | undefined
  /** in UTF-16 code units */
  #queuedLength = 0
  /** memory of that queue */
  #queuedBytes = 0
  /** frames that the socket keeps, because the system does not take them */
  #waitingFrames = 0
  /** made for the first frame that waits */
  #onWritten: (() => void) | undefined
  /** made for the first ping */
  #pongs: PongSender | undefined

  /** @param owner is called when `full` is over */
  constructor(socket: WebSocket, raw: Socket, options: SenderOptions, owner: { onDrain(): void }) {
    this.#socket = socket
    this.#raw = raw
    this.#owner = owner
    this.#maxMessageBytes = options.maxMessageBytes ?? connectionLimits.maxMessageBytes
    this.#highWaterMarkBytes = options.highWaterMarkBytes ?? connectionLimits.highWaterMarkBytes
    this.#batches = options.batch ?? false
    this.#isUnmasked = options.unmasked ?? false
  }

  get bufferedBytes(): number {
    return this.#queuedBytes + this.#socket.bufferedAmount + this.#waitingFrames * frameOverheadBytes
  }

  /**
   * Queues one message.
   * @throws RpcError as {@link Duplex.send}; nothing is queued
   */
  send(message: Message): void {
    const text = typeof message === 'string' ? message : encodeMessage(message, this.#maxMessageBytes)
    if (this.#queuedLength + text.length > sentBatchLength) this.flush()
    this.#queuedLength += text.length
    this.#queuedBytes += text.length + frameOverheadBytes
    if (!this.full && this.bufferedBytes > this.#highWaterMarkBytes) this.full = true
    if (this.#queue) this.#queue.push(text)
    else {
      this.#queue = [text]
      process.nextTick(flush, this)
    }
  }

  /** Drops the queue. Returns the number of its messages. */
  drop(): number {
    const dropped = this.#queue?.length ?? 0
    this.#clear()
    return dropped
  }

  #clear(): void {
    this.#queue = undefined
    this.#queuedLength = 0
    this.#queuedBytes = 0
  }

  /** Sends the pong for a ping, as {@link PongSender} does. */
  pong(data: Buffer): void {
    this.#pongs ??= new PongSender(this.#socket)
    this.#pongs.owe(data)
  }

  /** Writes the queue to the socket now. */
  flush(): void {
    const queue = this.#queue
    const first = queue?.[0]
    if (!queue || first === undefined) return
    this.#clear()
    // A single frame into an empty socket is counted by its bytes alone: most go that way, and a callback has a price.
    if (queue.length === 1 && !this.full && this.#raw.writableLength === 0) return this.#socket.send(first)
    const texts = this.#batches ? batchFrames(queue) : queue
    // Behind a Close frame there may be no other one; `ws` drops these.
    if (this.#isUnmasked && this.#socket.readyState === this.#socket.OPEN) return this.#writeFrames(texts)
    // One system call for all texts, also if they are several frames.
    this.#raw.cork()
    for (const text of texts) this.#write(text)
    this.#raw.uncork()
  }

  /** `ws` writes each frame in two parts, which take longer than the frame itself. */
  #writeFrames(texts: readonly string[]): void {
    const frames = texts.length
    this.#waitingFrames += frames
    this.#raw.write(unmaskedFrames(texts), () => this.#noteWritten(frames))
  }

  #write(text: string): void {
    this.#waitingFrames++
    this.#onWritten ??= () => this.#noteWritten(1)
    this.#socket.send(text, this.#onWritten)
  }

  #noteWritten(frames: number): void {
    this.#waitingFrames -= frames
    if (!this.full || this.bufferedBytes > this.#highWaterMarkBytes / 2) return
    this.full = false
    this.#owner.onDrain()
  }
}

// A function of the module: a closure for each connection would take 100 bytes of an idle one.
function flush(sender: WebSocketSender): void {
  sender.flush()
}
