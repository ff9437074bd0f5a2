import type { Socket } from 'node:net'
import { takenBytes } from '../../../shared/values/taken-bytes.js'
import type { WatchedOutput, WatchLimits } from '../streams/output-watch.js'

/** The queue of a socket. */
interface SocketQueue {
  readonly full: boolean
  readonly bufferedBytes: number
}

/**
 * Holds an agent back while its WebSocket is full, and finds a client that reads nothing.
 * ```
 * flowing ──full──▶ held ──drained──▶ flowing
 *                    └──no byte taken for slowReaderMs──▶ over
 * ```
 */
export class SocketWatch {
  readonly #output: WatchedOutput
  readonly #queue: SocketQueue
  readonly #socket: Socket
  readonly #limits: WatchLimits
  #state: 'flowing' | 'held' | 'over' = 'flowing'
  #taken = 0
  #timer: NodeJS.Timeout | undefined

  constructor(output: WatchedOutput, queue: SocketQueue, socket: Socket, limits: WatchLimits) {
    this.#output = output
    this.#queue = queue
    this.#socket = socket
    this.#limits = limits
  }

  /** Called behind each message. */
  onSent(): void {
    if (this.#state === 'flowing' && this.#queue.full) {
      this.#state = 'held'
      this.#look()
      this.#output.hold()
    }
    const { maxBufferedBytes } = this.#limits
    const { bufferedBytes } = this.#queue
    if (this.#state !== 'held' || bufferedBytes <= maxBufferedBytes) return
    const unread = `${bufferedBytes.toLocaleString('en')} bytes are unread`
    this.#end(`${unread}, more than maxBufferedBytes ${maxBufferedBytes.toLocaleString('en')}`)
  }

  onDrain(): void {
    if (this.#state !== 'held') return
    this.#state = 'flowing'
    clearTimeout(this.#timer)
    this.#output.release()
  }

  stop(): void {
    this.#state = 'over'
    clearTimeout(this.#timer)
  }

  /** Begins a span in which the client must read something. */
  #look(): void {
    const { slowReaderMs } = this.#limits
    this.#taken = takenBytes(this.#socket)
    this.#timer = setTimeout(() => {
      if (takenBytes(this.#socket) > this.#taken) return this.#look()
      const unread = this.#queue.bufferedBytes.toLocaleString('en')
      this.#end(`${unread} bytes are unread, and the client has read none for ${slowReaderMs.toLocaleString('en')} ms`)
    }, slowReaderMs).unref()
  }

  #end(message: string): void {
    this.stop()
    this.#output.onSlowReader(message)
  }
}
