import type { Socket } from 'node:net'
import { now } from './deadlines.js'
import { times } from './limits.js'

export interface HeartbeatOptions {
  /** longest silence until the peer is asked for a sign of life */
  intervalMs: number
  /** silence after that which ends the connection */
  timeoutMs: number
  ping(): void
  onSilence(message: string): void
}

/**
 * Finds a peer that has vanished. Any byte from it is a sign of life, and so is any byte that it takes while others wait for it. A ping cannot
 * be answered before all that was sent ahead of it is through, which the system's buffers hide from view: a slow network is given the time
 * for it. One ping is outstanding at most, and nothing happens on a call's way.
 */
export class Heartbeat {
  readonly #socket: Socket
  readonly #options: HeartbeatOptions
  #timer: NodeJS.Timeout
  #turn: NodeJS.Immediate | undefined
  #read = 0
  /** `bytesWritten` when the last byte was read */
  #writtenAtRead = 0
  #pingedAt = 0
  #taken = 0
  #waiting = false

  constructor(socket: Socket, options: HeartbeatOptions) {
    this.#socket = socket
    this.#options = options
    this.hasMoved()
    this.#timer = this.#look()
  }

  stop(): void {
    clearTimeout(this.#timer)
    clearImmediate(this.#turn)
  }

  /** Whether the peer has given a sign of life since the last look. */
  hasMoved(): boolean {
    const socket = this.#socket
    const { bytesRead, bytesWritten, writableLength } = socket
    // What the peer has taken counts only while there was something left for it to take: below that, the system takes it, not the peer.
    const taken = bytesWritten - writableLength - systemQueue(socket)
    const moved = bytesRead !== this.#read || (this.#waiting && taken > this.#taken)
    if (bytesRead !== this.#read) this.#writtenAtRead = bytesWritten
    this.#read = bytesRead
    this.#taken = taken
    this.#waiting = writableLength > 0
    return moved
  }

  #schedule(delayMs: number, then: () => void): NodeJS.Timeout {
    // The socket keeps the process alive, not the watch over it.
    return setTimeout(then, delayMs).unref()
  }

  /** Twice in an interval: silence that begins just after a look is found at the next but one. */
  #look(): NodeJS.Timeout {
    return this.#schedule(this.#options.intervalMs / 2, this.#ask)
  }

  readonly #ask = (): void => {
    if (this.hasMoved()) {
      this.#timer = this.#look()
      return
    }
    this.#options.ping()
    this.#pingedAt = now()
    this.#timer = this.#schedule(this.#options.timeoutMs, this.#judge)
  }

  readonly #judge = (): void => {
    // A process that was busy for longer than the timeout has not read yet what came meanwhile: that happens before the next turn.
    this.#turn = setImmediate(() => {
      const { timeoutMs, onSilence } = this.#options
      if (this.hasMoved()) {
        this.#timer = this.#look()
        return
      }
      const unanswered = this.#socket.bytesWritten - this.#writtenAtRead
      const patienceMs = timeoutMs + (unanswered / times.slowestBytesPerSecond) * 1000 - (now() - this.#pingedAt)
      if (patienceMs > 1) this.#timer = this.#schedule(patienceMs, this.#judge)
      else onSilence(`no answer to a ping within ${timeoutMs} ms`)
    })
  }
}

/**
 * Bytes of the write under way that the system has not taken yet. Node has no public name for it and uses it for the same purpose, in the
 * idle timeout of its own sockets (lib/net.js, `_onTimeout`); where it is missing, a large write counts when it is through.
 */
function systemQueue(socket: Socket): number {
  const handle: unknown = Reflect.get(socket, '_handle')
  const size: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'writeQueueSize') : 0
  return typeof size === 'number' ? size : 0
}
