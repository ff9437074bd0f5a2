/** A browser's WebSocket as a duplex: JSON in text frames, beside them tRPC's bare `PING` and `PONG`. */
import { backgroundTimer } from '../../../shared/rpc/background-timer.js'
import { now } from '../../../shared/rpc/deadlines.js'
import {
  type CloseReason,
  closeCodes,
  type Duplex,
  type DuplexReceiver,
  type Message,
} from '../../../shared/rpc/duplex.js'
import { Delivery } from '../../../shared/rpc/links/delivery.js'
import { remoteCloseReason } from '../../../shared/rpc/links/websocket-close.js'
import { type WebSocketDuplexOptions, webSocketTimes } from '../../../shared/rpc/links/websocket-settings.js'
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

/**
 * The states are those of a WebSocket in Node:
 * ```
 * open ──close()──▶ closing ──the peer's Close, or its silence──▶ ended
 *   └──the peer's Close, a broken protocol, terminate(), a lost socket──▶ ended
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
  /** messages that were given to `send` and never reached the browser */
  droppedMessages = 0
  #state: State = open
  readonly #delivery = new Delivery(this)
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

  get state(): State {
    return this.#state
  }

  open(receiver: DuplexReceiver): void {
    this.#delivery.open(receiver)
  }

  get full(): boolean {
    return this.#sender.full
  }

  get bufferedBytes(): number {
    return this.#state.name === 'ended' ? 0 : this.#sender.bufferedBytes
  }

  send(message: Message): void {
    if (this.#state === open) this.#sender.send(message)
    else this.droppedMessages++
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

  breakOff(reason: CloseReason): void {
    this.#end(reason)
  }

  #onMessage(data: unknown): void {
    // Messages that arrive after a close of this side are dropped: the peer has lost the right to send, or sends them
    // again elsewhere.
    if (this.#state !== open) return
    const frame = this.#reader.read(data)
    if ('code' in frame) {
      this.#sender.flush()
      return this.breakOff(frame)
    }
    const isOwnPong = this.#heartbeat.onMessage(frame.message === 'PONG')
    if (!isOwnPong) this.#delivery.deliver(frame.message, frame.bytes)
    this.#sender.checkDrain()
  }

  #onDrain(): void {
    if (this.#state === open) this.#delivery.drain()
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
    this.#delivery.end(this.#state.reason)
    this.droppedMessages += this.#sender.drop()
    this.#heartbeat.stop()
    clearTimeout(this.#closeTimer)
    this.#socket.onmessage = null
    this.#socket.onclose = null
    // Does nothing where the browser has closed the socket.
    if (!isClosing) closeBrowserSocket(this.#socket, reason)
    queueMicrotask(() => this.#delivery.reportEnd())
  }
}
