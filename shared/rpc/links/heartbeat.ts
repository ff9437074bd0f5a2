import type { Socket } from 'node:net'
import { takenBytes } from '../../values/taken-bytes.js'
import { type Alarms, cancelAlarm, type Sleeper, setAlarm } from '../alarms.js'
import { now } from '../deadlines.js'

export interface HeartbeatOptions {
  /** longest silence until a ping is sent */
  intervalMs: number
  /** silence after the ping that ends the connection */
  timeoutMs: number
  /** whether this end reads nothing now: the socket says nothing about the peer then */
  readonly isPaused: boolean
  ping(data: string): void
  /** sends an unasked sign of life */
  pong(): void
  onSilence(message: string): void
}

/**
 * More bytes than pongs bring between two looks, so that two ends do not respond to each other's pongs for ever; far
 * below the slowest upload.
 */
const minReceivedBytes = 1024

/**
 * Finds a vanished peer. Any received byte is a sign of life, and so is any byte that the peer takes while other bytes
 * wait. At most one ping is outstanding, and calls cost nothing. A socket that this end does not read shows no end of
 * the peer, but its writes fail then: a ping goes out after each `intervalMs` of such a pause, and its pong is not
 * awaited.
 *
 * A ping's pong comes after all bytes that were sent earlier, and the system's buffers hide whether those bytes still
 * move. The receiving end of a long message therefore sends unasked pongs now and then (RFC 6455, section 5.5.3).
 */
export class Heartbeat implements Sleeper {
  readonly #socket: Socket
  readonly #options: HeartbeatOptions
  /** time between two looks: two looks in every span that matters */
  readonly #lookMs: number
  /** what the next alarm is for */
  #next: 'look' | 'judgement' = 'look'
  alarms: Alarms | undefined
  alarmAt = 0
  alarmOrder = 0
  alarmIndex = 0
  #turn: NodeJS.Immediate | undefined
  /** whole milliseconds, which take no memory of their own */
  #movedAt = Math.round(now())
  #read = 0
  #written = 0
  #taken = 0
  #waiting = false
  /** looks in succession at which this end read nothing of its own wish */
  #pausedLooks = 0
  #pings = 0
  /** bytes written at the newest ping, and at the newest ping with a pong */
  #pinged = 0
  #confirmed = 0

  constructor(socket: Socket, options: HeartbeatOptions) {
    this.#socket = socket
    this.#options = options
    this.#lookMs = Math.min(options.intervalMs, options.timeoutMs) / 2
    this.hasMoved()
    this.#schedule('look')
  }

  stop(): void {
    cancelAlarm(this)
    clearImmediate(this.#turn)
  }

  /**
   * Returns the bytes that the peer has not confirmed, which may be under way in the buffers of systems and proxies.
   */
  get unconfirmedBytes(): number {
    return this.#socket.bytesWritten - this.#confirmed
  }

  onPong(data: Buffer): void {
    if (this.#pings > 0 && data.toString() === String(this.#pings)) this.#confirmed = this.#pinged
  }

  /** Returns whether the peer has taken waiting bytes since the last look. */
  hasTaken(): boolean {
    return this.#sample().taken
  }

  /** Returns whether the peer has given a sign of life since the last look. */
  hasMoved(): boolean {
    const { taken, read } = this.#sample()
    if (taken || read) this.#movedAt = Math.round(now())
    return taken || read
  }

  #sample(): { read: boolean; taken: boolean } {
    const socket = this.#socket
    const { bytesRead, bytesWritten, writableLength } = socket
    // Taken bytes count only while more bytes wait: below that, the system takes the bytes, not the peer.
    const taken = takenBytes(socket)
    const moved = {
      read: bytesRead !== this.#read || this.#options.isPaused,
      taken: this.#waiting && taken > this.#taken,
    }
    this.#read = bytesRead
    this.#written = bytesWritten
    this.#taken = taken
    this.#waiting = writableLength > 0
    return moved
  }

  #schedule(next: 'look' | 'judgement'): void {
    this.#next = next
    const delayMs = next === 'look' ? this.#lookMs : this.#options.timeoutMs
    setAlarm(this, Math.ceil(now() + delayMs))
  }

  onAlarm(): void {
    if (this.#next === 'look') this.#look()
    else this.#judge()
  }

  #look(): void {
    const options = this.#options
    const { intervalMs } = options
    const { bytesRead, bytesWritten } = this.#socket
    const isReceiving = bytesRead - this.#read >= minReceivedBytes && bytesWritten === this.#written
    const isSilent = !this.hasMoved() && now() - this.#movedAt > intervalMs - 1.5 * this.#lookMs
    if (isReceiving) options.pong()
    if (isSilent || this.#isPauseLong()) {
      this.#pinged = this.#socket.bytesWritten
      options.ping(String(++this.#pings))
    }
    this.#schedule(isSilent ? 'judgement' : 'look')
  }

  /** Returns true once in each `intervalMs` of a pause. */
  #isPauseLong(): boolean {
    const { isPaused, intervalMs } = this.#options
    this.#pausedLooks = isPaused ? this.#pausedLooks + 1 : 0
    if (this.#pausedLooks * this.#lookMs < intervalMs) return false
    this.#pausedLooks = 0
    return true
  }

  #judge(): void {
    // A process that was busy for longer than the timeout has not read the latest bytes yet; the read happens before
    // the next turn.
    this.#turn = setImmediate(() => {
      const options = this.#options
      if (this.hasMoved()) this.#schedule('look')
      else options.onSilence(`no response to a ping within ${options.timeoutMs} ms`)
    })
  }
}
