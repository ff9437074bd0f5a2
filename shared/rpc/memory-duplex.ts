import { type CloseReason, closeCodes, type Duplex, type DuplexReceiver, type Message, openedTwice } from './duplex.js'
import { copiedBytes, copyJson } from './json-copy.js'
import { connectionLimits } from './limits.js'

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
