/** A browser's WebSocket as a duplex: JSON in text frames, beside them tRPC's bare `PING` and `PONG`. */
import { backgroundTimer } from '../../../shared/rpc/background-timer.js'
import { now } from '../../../shared/rpc/deadlines.js'
import {
  type CloseReason,
  closeCodes,
  type Duplex,
  type DuplexReceiver,
  type Message,
  openedTwice,
} from '../../../shared/rpc/duplex.js'
import { EarlyMessages } from '../../../shared/rpc/early-messages.js'
import { remoteCloseReason } from '../../../shared/rpc/websocket-close.js'
import { type WebSocketDuplexOptions, webSocketTimes } from '../../../shared/rpc/websocket-settings.js'
import { closeBrowserSocket } from './browser-close.js'
import { BrowserHeartbeat } from './browser-heartbeat.js'
import { BrowserSender } from './browser-sender.js'
import type { BrowserSocket } from './browser-socket.js'
import { FrameReader } from './frame-reader.js'

/** Settings of {@link browserDuplex}: those of a WebSocket that a page can keep. */
export type BrowserDuplexOptions = Omit<WebSocketDuplexOptions, 'batch' | 'maxBufferedBytes'>

/** Takes an open WebSocket over. The peer takes arrays: the URL says `batch=1`. */
export function browserDuplex(socket: BrowserSocket, options: BrowserDuplexOptions = {}): Duplex {
  return new BrowserDuplex(socket, options)
}

/** Fewer bytes than this pass within the time that a close has anyway, on every usable network. */
const unnoticedBytes = 64 * 1024

type State = { readonly name: 'open' } | { readonly name: 'closing' | 'ended'; readonly reason: CloseReason }

const open: State = { name: 'open' }

type Delivery =
  | { readonly name: 'unopened' | 'opening'; readonly early: EarlyMessages }
  | { readonly name: 'delivering'; readonly receiver: DuplexReceiver }
  | { readonly name: 'over' }

const over: Delivery = { name: 'over' }

/**
 * The states are those of a WebSocket in Node:
 * ```
 * open ──close()──▶ closing ──the peer's Close, or its silence──▶ ended
 *   └──the peer's Close, a broken protocol, terminate(), a lost socket──▶ ended
 *
 * unopened ──open()──▶ opening ──microtask──▶ delivering ──onClose, once the connection has ended──▶ over
 * ```
 * A page cannot cut a socket: after `terminate` the browser goes on to send its buffer and waits for the peer's Close,
 * out of sight of the owner.
 */
class BrowserDuplex implements Duplex {
  readonly #socket: BrowserSocket
  readonly #closeTimeoutMs: number
  readonly #closeLimitMs: number
  readonly #reader: FrameReader
  readonly #sender: BrowserSender
  readonly #heartbeat: BrowserHeartbeat
  #state: State = open
  #delivery: Delivery = { name: 'unopened', early: new EarlyMessages() }
  #closeTimer: NodeJS.Timeout | undefined

  constructor(socket: BrowserSocket, options: BrowserDuplexOptions) {
    this.#socket = socket
    const { pingIntervalMs, pongTimeoutMs, closeTimeoutMs, closeLimitMs } = webSocketTimes(options)
    this.#closeTimeoutMs = closeTimeoutMs
    this.#closeLimitMs = closeLimitMs
    this.#reader = new FrameReader(options.maxMessageBytes)
    const sender = new BrowserSender(socket, options, () => this.#onDrain())
    this.#sender = sender
    this.#heartbeat = new BrowserHeartbeat({
      intervalMs: pingIntervalMs,
      timeoutMs: pongTimeoutMs,
      bytes: () => ({ sent: sender.sentBytes, waiting: sender.waitingBytes }),
      ping: () => this.send('PING'),
      onSilence: message => this.terminate({ code: closeCodes.abnormal, message }),
    })
    socket.onmessage = ({ data }) => this.#onMessage(data)
    socket.onclose = ({ code, reason }) => this.#onSocketClosed(code, reason)
    socket.onerror = null
  }

  open(receiver: DuplexReceiver): void {
    const delivery = this.#delivery
    if (delivery.name !== 'unopened') return queueMicrotask(() => receiver.onClose(openedTwice))
    const { early } = delivery
    this.#delivery = { name: 'opening', early }
    queueMicrotask(() => {
      this.#delivery = { name: 'delivering', receiver }
      const state = this.#state
      for (const [message, bytes] of early.taken()) {
        this.#deliver(message, bytes)
        // The receiver has closed: the rest is not delivered any more.
        if (this.#state !== state) break
      }
      this.#reportEnd()
    })
  }

  get full(): boolean {
    return this.#sender.full
  }

  get bufferedBytes(): number {
    return this.#state.name === 'ended' ? 0 : this.#sender.bufferedBytes
  }

  send(message: Message): void {
    if (this.#state === open) this.#sender.send(message)
  }

  close(reason: CloseReason, patienceMs = 0): void {
    if (this.#state !== open) return
    this.#state = { name: 'closing', reason }
    this.#sender.flush()
    const patientMs = this.#heartbeat.unconfirmedBytes > unnoticedBytes ? patienceMs : 0
    this.#heartbeat.stop()
    closeBrowserSocket(this.#socket, reason)
    this.#awaitClose(now() + patientMs, now() + Math.max(this.#closeLimitMs, patienceMs))
  }

  terminate(reason: CloseReason): void {
    if (this.#state.name !== 'ended') this.#end(reason)
  }

  #onMessage(data: unknown): void {
    // Messages that arrive after a close of this side are dropped: the peer has lost the right to send, or sends them
    // again elsewhere.
    if (this.#state !== open) return
    const frame = this.#reader.read(data)
    if ('code' in frame) {
      this.#sender.flush()
      return this.#end(frame)
    }
    const isOwnPong = this.#heartbeat.onMessage(frame.message === 'PONG')
    if (!isOwnPong) this.#deliver(frame.message, frame.bytes)
    this.#sender.checkDrain()
  }

  #deliver(message: Message, bytes: number): void {
    const delivery = this.#delivery
    if (delivery.name === 'delivering') this.#guard(() => delivery.receiver.onMessage(message, bytes))
    else if (delivery.name !== 'over') {
      const fault = delivery.early.keep(message, bytes)
      if (fault) this.#end(fault)
    }
  }

  #onDrain(): void {
    const delivery = this.#delivery
    if (this.#state === open && delivery.name === 'delivering') this.#guard(() => delivery.receiver.onDrain())
  }

  /** Receivers catch their own errors; an error that gets here all the same must not get lost in an event. */
  #guard(callback: () => void): void {
    try {
      callback()
    } catch (error) {
      this.terminate({ code: closeCodes.internalError, message: `the receiver failed: ${String(error)}` })
    }
  }

  #onSocketClosed(code: number, text: string): void {
    if (this.#state.name !== 'ended') this.#end(remoteCloseReason(code, text, undefined))
  }

  /** Gives up a peer that leaves the close without its own Close, unless it takes the messages sent before. */
  #awaitClose(patientUntil: number, giveUpAt: number): void {
    this.#heartbeat.hasTaken() // the start of the first span
    const check = (): void => {
      const time = now()
      if (time < patientUntil || (this.#heartbeat.hasTaken() && time < giveUpAt)) return wait()
      this.terminate({
        code: closeCodes.abnormal,
        message: `no response to the close within ${this.#closeTimeoutMs} ms`,
      })
    }
    const wait = (): void => {
      this.#closeTimer = backgroundTimer(check, this.#closeTimeoutMs)
    }
    wait()
  }

  /** @param reason counts unless this side closed before with its own */
  #end(reason: CloseReason): void {
    const isClosing = this.#state.name === 'closing'
    this.#state = { name: 'ended', reason: this.#state.name === 'closing' ? this.#state.reason : reason }
    this.#sender.clear()
    this.#heartbeat.stop()
    clearTimeout(this.#closeTimer)
    this.#socket.onmessage = null
    this.#socket.onclose = null
    // Does nothing where the browser has closed the socket.
    if (!isClosing) closeBrowserSocket(this.#socket, reason)
    queueMicrotask(() => this.#reportEnd())
  }

  #reportEnd(): void {
    const state = this.#state
    const delivery = this.#delivery
    if (state.name !== 'ended' || delivery.name !== 'delivering') return
    this.#delivery = over
    try {
      delivery.receiver.onClose(state.reason)
    } catch {
      // This was the last call; nothing is left to end.
    }
  }
}
