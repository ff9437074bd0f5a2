import { backgroundTimer } from '../../../shared/rpc/background-timer.js'
import { now } from '../../../shared/rpc/deadlines.js'
import { afterTurn } from '../../../shared/rpc/turn.js'

export interface BrowserHeartbeatOptions {
  /** longest silence until a `PING` is sent */
  intervalMs: number
  /** silence after the `PING` that ends the connection */
  timeoutMs: number
  /** bytes given to the browser, and those of them that the browser has not handed to the system */
  bytes(): { sent: number; waiting: number }
  ping(): void
  onSilence(message: string): void
}

/** The slowest upload that is not taken for silence: a `PONG` comes behind all bytes sent before its `PING`. */
const slowestBytesPerMs = 32

/** Fewer bytes than this pass within the timeout on every usable network. */
const unnoticedBytes = 64 * 1024

/**
 * Finds a vanished peer. A page sees neither the bytes of its socket nor the pings of WebSocket, so the peer's messages
 * are the signs of life, and bytes that leave the browser's buffer while others wait there. After a silence, tRPC's
 * text `PING` asks the peer for its `PONG`. At most one `PING` is outstanding.
 *
 * The buffers of the system and the network hide whether an upload still moves. A `PING` behind each large upload shows
 * how much of it has arrived, and a peer with more bytes before it has more time for its `PONG`.
 */
export class BrowserHeartbeat {
  readonly #options: BrowserHeartbeatOptions
  /** time between two looks: two looks in every span that matters */
  readonly #lookMs: number
  readonly #unlisten: () => void
  #timer: NodeJS.Timeout
  #phase: 'watching' | 'judging' | 'stopped' = 'watching'
  #movedAt = now()
  #hasReceived = false
  #taken = 0
  #waiting = 0
  /** bytes sent before the outstanding `PING` */
  #pinged: number | undefined
  /** bytes sent before the newest `PING` that has its `PONG` */
  #confirmed = 0

  constructor(options: BrowserHeartbeatOptions) {
    this.#options = options
    this.#lookMs = Math.min(options.intervalMs, options.timeoutMs) / 2
    this.#timer = backgroundTimer(this.#look, this.#lookMs)
    this.#unlisten = onOffline(this.#onOffline)
  }

  stop(): void {
    this.#phase = 'stopped'
    clearTimeout(this.#timer)
    this.#unlisten()
  }

  /** Returns the bytes that the peer has not confirmed. */
  get unconfirmedBytes(): number {
    return this.#options.bytes().sent - this.#confirmed
  }

  /** Notes a message. Returns whether it is the `PONG` for a `PING` of this heartbeat. */
  onMessage(isPong: boolean): boolean {
    this.#hasReceived = true
    if (this.#phase === 'judging') {
      clearTimeout(this.#timer)
      this.#watch()
    }
    if (!isPong || this.#pinged === undefined) return false
    this.#confirmed = this.#pinged
    this.#pinged = undefined
    return true
  }

  /** Returns whether bytes have left the browser's buffer since the last look, while others waited. */
  hasTaken(): boolean {
    const { sent, waiting } = this.#options.bytes()
    const taken = sent - waiting
    // Without bytes that wait, the system takes the bytes, not the peer.
    const hasTaken = this.#waiting > 0 && taken > this.#taken
    this.#taken = taken
    this.#waiting = waiting
    return hasTaken
  }

  #hasMoved(): boolean {
    const hasTaken = this.hasTaken()
    const hasMoved = hasTaken || this.#hasReceived
    this.#hasReceived = false
    if (hasMoved) this.#movedAt = now()
    return hasMoved
  }

  readonly #look = (): void => {
    const isSilent = !this.#hasMoved() && now() - this.#movedAt > this.#options.intervalMs - 1.5 * this.#lookMs
    if (isSilent) return this.#challenge()
    if (this.unconfirmedBytes > unnoticedBytes) this.#ping()
    this.#watch()
  }

  /** Asks for a sign of life, and ends the connection if none comes. */
  #challenge(): void {
    this.#ping()
    this.#phase = 'judging'
    const delayMs = this.#options.timeoutMs + this.unconfirmedBytes / slowestBytesPerMs
    this.#timer = backgroundTimer(() => {
      // A page that was busy or asleep first gets its messages.
      afterTurn(this.#judge)
    }, delayMs)
  }

  #ping(): void {
    if (this.#pinged !== undefined) return
    this.#pinged = this.#options.bytes().sent
    this.#options.ping()
  }

  readonly #judge = (): void => {
    if (this.#phase !== 'judging') return
    if (!this.#hasMoved()) return this.#options.onSilence(`no response to a PING within ${this.#options.timeoutMs} ms`)
    this.#watch()
  }

  #watch(): void {
    this.#phase = 'watching'
    this.#timer = backgroundTimer(this.#look, this.#lookMs)
  }

  /** Looks at once: a server on this machine may be reachable all the same. */
  readonly #onOffline = (): void => {
    if (this.#phase !== 'watching') return
    clearTimeout(this.#timer)
    this.#hasMoved()
    this.#challenge()
  }
}

/** Calls a function when the browser loses its network, where the global object has events. */
function onOffline(listener: () => void): () => void {
  const add: unknown = Reflect.get(globalThis, 'addEventListener')
  const remove: unknown = Reflect.get(globalThis, 'removeEventListener')
  if (typeof add !== 'function' || typeof remove !== 'function') return () => {}
  add.call(globalThis, 'offline', listener)
  return () => remove.call(globalThis, 'offline', listener)
}
