import type { Socket } from 'node:net'
import { now } from './deadlines.js'

export interface HeartbeatOptions {
  /** longest silence until the peer is asked for a sign of life */
  intervalMs: number
  /** silence after that which ends the connection */
  timeoutMs: number
  ping(data: string): void
  /** a sign of life of this side, which nobody asked for */
  pong(): void
  onSilence(message: string): void
}

/** Above what pongs bring in between two looks, so that two ends do not answer each other's for ever; far below the slowest upload. */
const minReceivedBytes = 1024

/**
 * Finds a peer that has vanished. Any byte from it is a sign of life, and so is any byte that it takes while others wait for it. One ping is
 * outstanding at most, and nothing happens on a call's way.
 *
 * A ping cannot be answered before all that was sent ahead of it is through, and what the system has buffered hides from view that it
 * still moves. So the receiving end of a long message says now and then that it lives (RFC 6455, section 5.5.3).
 */
export class Heartbeat {
  readonly #socket: Socket
  readonly #options: HeartbeatOptions
  /** between two looks: two in every span that matters */
  readonly #lookMs: number
  #timer: NodeJS.Timeout
  #turn: NodeJS.Immediate | undefined
  #movedAt = now()
  #read = 0
  #written = 0
  #taken = 0
  #waiting = false
  #pings = 0
  /** bytes that were written when the newest ping was, and when the newest was that has been answered */
  #pinged = 0
  #confirmed = 0

  constructor(socket: Socket, options: HeartbeatOptions) {
    this.#socket = socket
    this.#options = options
    this.#lookMs = Math.min(options.intervalMs, options.timeoutMs) / 2
    this.hasMoved()
    this.#timer = this.#schedule(this.#lookMs, this.#look)
  }

  stop(): void {
    clearTimeout(this.#timer)
    clearImmediate(this.#turn)
  }

  /** What the peer has not confirmed: it may be under way, in what systems and proxies have buffered. */
  get unconfirmedBytes(): number {
    return this.#socket.bytesWritten - this.#confirmed
  }

  onPong(data: Buffer): void {
    if (this.#pings > 0 && data.toString() === String(this.#pings)) this.#confirmed = this.#pinged
  }

  /** Whether the peer has taken bytes that waited for it since the last look. */
  hasTaken(): boolean {
    return this.#sample().taken
  }

  /** Whether the peer has given a sign of life since the last look. */
  hasMoved(): boolean {
    const { taken, read } = this.#sample()
    if (taken || read) this.#movedAt = now()
    return taken || read
  }

  #sample(): { read: boolean; taken: boolean } {
    const socket = this.#socket
    const { bytesRead, bytesWritten, writableLength } = socket
    // What the peer has taken counts only while there was something left for it to take: below that, the system takes it, not the peer.
    const taken = bytesWritten - writableLength - systemQueue(socket)
    const moved = { read: bytesRead !== this.#read, taken: this.#waiting && taken > this.#taken }
    this.#read = bytesRead
    this.#written = bytesWritten
    this.#taken = taken
    this.#waiting = writableLength > 0
    return moved
  }

  #schedule(delayMs: number, then: () => void): NodeJS.Timeout {
    // The socket keeps the process alive, not the watch over it.
    return setTimeout(then, delayMs).unref()
  }

  readonly #look = (): void => {
    const { intervalMs, timeoutMs, ping, pong } = this.#options
    const { bytesRead, bytesWritten } = this.#socket
    const isReceiving = bytesRead - this.#read >= minReceivedBytes && bytesWritten === this.#written
    const isSilent = !this.hasMoved() && now() - this.#movedAt > intervalMs - 1.5 * this.#lookMs
    if (isReceiving) pong()
    if (isSilent) {
      this.#pinged = this.#socket.bytesWritten
      ping(String(++this.#pings))
    }
    this.#timer = isSilent ? this.#schedule(timeoutMs, this.#judge) : this.#schedule(this.#lookMs, this.#look)
  }

  readonly #judge = (): void => {
    // A process that was busy for longer than the timeout has not read yet what came meanwhile: that happens before the next turn.
    this.#turn = setImmediate(() => {
      const { timeoutMs, onSilence } = this.#options
      if (this.hasMoved()) this.#timer = this.#schedule(this.#lookMs, this.#look)
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
