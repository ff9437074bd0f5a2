import { type CloseReason, closeCodes, type Duplex, type DuplexReceiver, type Message, openedTwice } from '../duplex.js'
import { containerBytes } from '../json/heap-bytes.js'
import { copiedBytes, copiedContainers, copyJson } from '../json/json-copy.js'
import { connectionLimits, frameOverheadBytes } from '../limits.js'
import { turnBudget } from '../turn-budget.js'

/** Settings of {@link memoryDuplexPair}. */
export interface MemoryDuplexOptions {
  /** bytes of one message, estimated during the copy; default 4 MiB */
  maxMessageBytes?: number
  /** default 1 MiB */
  highWaterMarkBytes?: number
}

/**
 * Makes two ends in one process. A message arrives as a wire would have delivered it: a JSON-equivalent copy that
 * shares nothing with the sender. Delivery is in a microtask, until the time of this turn of the event loop is used up,
 * so that a busy pair cannot keep timers and sockets waiting.
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

class MemoryEnd implements Duplex {
  readonly #out: Pipe
  readonly #in: Pipe

  constructor(out: Pipe, into: Pipe) {
    this.#out = out
    this.#in = into
  }

  open(receiver: DuplexReceiver): void {
    if (!this.#in.connect(receiver)) return queueMicrotask(() => receiver.onClose(openedTwice))
    this.#out.sender = receiver
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

  get droppedMessages(): number {
    return this.#out.droppedMessages
  }

  pauseReading(): void {
    this.#in.isPaused = true
  }

  resumeReading(): void {
    this.#in.resume()
  }

  close(reason: CloseReason): void {
    this.#out.end(reason)
    this.#in.cut(reason)
  }

  terminate(reason: CloseReason): void {
    this.#out.cut(reason)
    this.#in.cut(reason)
  }
}

type PipeState =
  | { readonly name: 'flowing' | 'closed' }
  | { readonly name: 'ending' | 'cut'; readonly reason: CloseReason }

const flowing: PipeState = { name: 'flowing' }
const closed: PipeState = { name: 'closed' }

/** For microtasks: Node's `queueMicrotask` makes 420 bytes of garbage for each. */
const resolved = Promise.resolve()

interface Queued {
  readonly message: Message
  readonly bytes: number
  next: Queued | undefined
}

/** Returns the number of messages from this one on. */
function lengthOf(first: Queued | undefined): number {
  let length = 0
  for (let queued = first; queued; queued = queued.next) length++
  return length
}

function textMessage(text: 'PING' | 'PONG'): Queued {
  return { message: text, bytes: frameOverheadBytes + text.length, next: undefined }
}

function copiedMessage(message: object, maxMessageBytes: number): Queued {
  const copy = copyJson(message, maxMessageBytes)
  const bytes = frameOverheadBytes + copiedBytes + copiedContainers * containerBytes
  return { message: copy, bytes, next: undefined }
}

/**
 * One direction: a queue that is emptied into a receiver.
 *
 * ```
 * flowing ──end()──▶ ending ──the queue is delivered──▶ closed
 *    │                 └──cut()──▶ cut
 *    └──cut()──▶ cut ──the next delivery──▶ closed
 * ```
 * Ending delivers the queue before `onClose`; a cut drops the queue, also the rest of a delivery under way. The first
 * reason counts.
 */
class Pipe {
  /** the receiver of this direction's sender, for `onDrain` */
  sender: DuplexReceiver | undefined
  onFailure: ((reason: CloseReason) => void) | undefined
  bufferedBytes = 0
  full = false
  /** messages that were pushed and will not be delivered */
  droppedMessages = 0
  /** whether the receiver is busy; only a cut is delivered then */
  isPaused = false
  readonly #maxMessageBytes: number
  readonly #highWaterMarkBytes: number
  #state: PipeState = flowing
  #receiver: DuplexReceiver | undefined
  /** a linked list: most messages are alone, and a new array takes room for 17 */
  #first: Queued | undefined
  #last: Queued | undefined

  constructor(maxMessageBytes: number, highWaterMarkBytes: number) {
    this.#maxMessageBytes = maxMessageBytes
    this.#highWaterMarkBytes = highWaterMarkBytes
  }

  /** Begins delivery. Returns whether `receiver` is the first one; a later one is ignored. */
  connect(receiver: DuplexReceiver): boolean {
    if (this.#receiver) return false
    this.#receiver = receiver
    if (this.#first || this.#state !== flowing) this.#schedule()
    return true
  }

  push(message: Message): void {
    if (this.#state !== flowing) {
      this.droppedMessages++
      return
    }
    const queued = typeof message === 'string' ? textMessage(message) : copiedMessage(message, this.#maxMessageBytes)
    this.bufferedBytes += queued.bytes
    if (this.bufferedBytes > this.#highWaterMarkBytes) this.full = true
    if (this.#last) this.#last.next = queued
    else {
      // A longer queue has its delivery scheduled already.
      this.#first = queued
      this.#schedule()
    }
    this.#last = queued
  }

  end(reason: CloseReason): void {
    if (this.#state !== flowing) return
    this.#state = { name: 'ending', reason }
    if (!this.#first) this.#schedule()
  }

  cut(reason: CloseReason): void {
    const state = this.#state
    if (state.name === 'cut' || state.name === 'closed') return
    this.#state = { name: 'cut', reason: state.name === 'ending' ? state.reason : reason }
    this.droppedMessages += lengthOf(this.#first)
    this.#first = this.#last = undefined
    this.bufferedBytes = 0
    this.#schedule()
  }

  resume(): void {
    this.isPaused = false
    if (this.#first || this.#state !== flowing) this.#schedule()
  }

  #schedule(): void {
    if (this.#receiver) void resolved.then(this.#deliver)
  }

  readonly #deliver = (): void => {
    if (turnBudget.deliver()) this.#deliverOn()
    else turnBudget.wait('delivery', this.#deliverOn)
  }

  readonly #deliverOn = (): void => {
    const receiver = this.#receiver
    if (!receiver || this.#state === closed) return
    if (this.isPaused && this.#state.name !== 'cut') return
    const first = this.#first
    const last = this.#last
    this.#first = this.#last = undefined
    let queued = first
    try {
      while (queued && this.#state.name !== 'cut') {
        if (this.isPaused) {
          this.#putBack(queued, last)
          break
        }
        if (queued !== first && !turnBudget.deliver()) {
          this.#putBack(queued, last)
          turnBudget.wait('delivery', this.#deliverOn)
          break
        }
        const { message, bytes }: Queued = queued
        queued = queued.next
        this.bufferedBytes -= bytes
        receiver.onMessage(message, bytes)
      }
      if (this.full && this.bufferedBytes <= this.#highWaterMarkBytes / 2) {
        this.full = false
        if (this.#state === flowing) this.sender?.onDrain()
      }
    } catch (error) {
      // Receivers catch their own errors; an error that gets here all the same must not end the process from within a
      // microtask.
      this.onFailure?.({ code: closeCodes.internalError, message: `the receiver failed: ${String(error)}` })
    }
    if (this.#state.name === 'cut') this.droppedMessages += lengthOf(queued)
    // Messages that were pushed meanwhile have their own delivery.
    if (!this.#first) this.#close(receiver)
  }

  /** Keeps the rest of a delivery, before messages that were pushed meanwhile. */
  #putBack(first: Queued, last: Queued | undefined): void {
    if (last) last.next = this.#first
    this.#first = first
    this.#last ??= last
  }

  #close(receiver: DuplexReceiver): void {
    const state = this.#state
    if (state.name !== 'ending' && state.name !== 'cut') return
    this.#state = closed
    try {
      receiver.onClose(state.reason)
    } catch {
      // This was the last call; nothing is left to end.
    }
  }
}
