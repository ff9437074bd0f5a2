/**
 * A WebSocket as a duplex: JSON in text frames, beside them tRPC's bare `PING` and `PONG`. Both ends use it; opening
 * the WebSocket is their own task.
 */
import type { Socket } from 'node:net'
import type { RawData } from 'ws'
import { now } from '../deadlines.js'
import { type CloseReason, closeCodes, type Duplex, type DuplexReceiver, type Message } from '../duplex.js'
import { jsonShape, shapeFault } from '../json/json-shape.js'
import { connectionLimits, framesPerTurn } from '../limits.js'
import { afterTurn } from '../turn.js'
import { Delivery } from './delivery.js'
import type { DuplexSocket, SocketOwner } from './duplex-socket.js'
import { Heartbeat, type HeartbeatOptions } from './heartbeat.js'
import { closeText, receivedTooLarge, remoteCloseReason, sendableCode, tooLargeText } from './websocket-close.js'
import { WebSocketSender } from './websocket-sender.js'
import { type WebSocketDuplexOptions, type WebSocketTimes, webSocketTimes } from './websocket-settings.js'

/**
 * Takes an open WebSocket over.
 * @param socket made with the settings of `webSocketSettings`
 * @param raw the TCP or TLS socket below it
 * @param times those of `options`, for a caller that has checked them once for many duplexes
 */
export function webSocketDuplex(
  socket: DuplexSocket,
  raw: Socket,
  options: WebSocketDuplexOptions = {},
  times: WebSocketTimes = webSocketTimes(options),
): Duplex {
  return new WebSocketDuplex(socket, raw, options, times)
}

/** Fewer bytes than this pass within the time that a close has anyway, on every usable network. */
const unnoticedBytes = 64 * 1024

type State = { readonly name: 'open' } | { readonly name: 'closing' | 'ended'; readonly reason: CloseReason }

const open: State = { name: 'open' }

/**
 * The connection:
 * ```
 * open ──close()──▶ closing ──the peer's Close, or its silence──▶ ended
 *   └──the peer's Close, a broken protocol, terminate(), a lost socket──▶ ended
 * ```
 * After `ended` the socket may live a little longer: until the peer ends it too, or for `closeTimeoutMs`.
 */
class WebSocketDuplex implements Duplex, SocketOwner, HeartbeatOptions {
  readonly #socket: DuplexSocket
  readonly #maxMessageBytes: number
  readonly #times: WebSocketTimes
  readonly #sender: WebSocketSender
  readonly #heartbeat: Heartbeat
  #state: State = open
  readonly #delivery: Delivery
  /** messages that were given to `send` and never reached `ws` */
  droppedMessages = 0
  /** whether the receiver is busy */
  isPaused = false
  /** frames received since the event loop was given a turn for the other sockets */
  #framesInTurn = 0
  /** number of pongs received */
  #pongs = 0
  #error: Error | undefined
  #closeTimer: NodeJS.Timeout | undefined
  #closeTurn: NodeJS.Immediate | undefined

  constructor(socket: DuplexSocket, raw: Socket, options: WebSocketDuplexOptions, times: WebSocketTimes) {
    this.#socket = socket
    this.#maxMessageBytes = options.maxMessageBytes ?? connectionLimits.maxMessageBytes
    this.#times = times
    this.#delivery = new Delivery(this, options.maxBufferedBytes)
    this.#sender = new WebSocketSender(socket, raw, options, this)
    this.#heartbeat = new Heartbeat(raw, this)
    socket.reportTo(this)
  }

  get intervalMs(): number {
    return this.#times.pingIntervalMs
  }

  get timeoutMs(): number {
    return this.#times.pongTimeoutMs
  }

  ping(data: string): void {
    this.#socket.ping(data)
  }

  pong(): void {
    this.#socket.pong()
  }

  onSilence(message: string): void {
    this.terminate({ code: closeCodes.abnormal, message })
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

  pauseReading(): void {
    this.isPaused = true
    this.#socket.pause()
  }

  resumeReading(): void {
    this.isPaused = false
    this.#socket.resume()
  }

  close(reason: CloseReason, patienceMs = 0): void {
    if (this.#state !== open) return
    this.#state = { name: 'closing', reason }
    this.#sender.flush()
    this.#heartbeat.stop()
    this.#socket.sendClose(sendableCode(reason.code), closeText(reason.message))
    this.#awaitClose(patienceMs)
  }

  terminate(reason: CloseReason): void {
    if (this.#state.name === 'ended') return
    this.#end(reason)
    this.#socket.terminate()
    // Not at the `close` event of `ws`: a peer that has vanished is given up now.
    queueMicrotask(() => this.#delivery.reportEnd())
  }

  onMessage(data: RawData, isBinary: boolean): void {
    // Messages that arrive after a close of this side are dropped: the peer has lost the right to send, or sends them
    // again elsewhere.
    if (this.#state !== open) return
    if (++this.#framesInTurn >= framesPerTurn) this.#giveTurn()
    if (isBinary) return this.#reject('a binary frame; messages are JSON in text frames')
    const text = data.toString()
    if (text === 'PING' || text === 'PONG') return this.#delivery.deliver(text, text.length)
    const { length } = data as Buffer // `ws` gives text as one Buffer by default
    if (length > this.#maxMessageBytes && !isBatchOfSmaller(text, this.#maxMessageBytes)) {
      return this.breakOff(receivedTooLarge(this.#maxMessageBytes))
    }
    const fault = shapeFault(text)
    if (fault) return this.#reject(fault)
    let message: unknown
    try {
      message = JSON.parse(text)
    } catch {
      return this.#reject('it is not JSON')
    }
    if (typeof message !== 'object' || message === null) return this.#reject('it is neither an object nor an array')
    // Each message of a batch takes the time of a frame; the next frame waits for the turn.
    if (Array.isArray(message)) this.#framesInTurn += message.length
    this.#delivery.deliver(message, length)
  }

  onDrain(): void {
    if (this.#state === open) this.#delivery.drain()
  }

  #reject(problem: string): void {
    this.breakOff({ code: closeCodes.protocolError, message: `not a valid message: ${problem}` })
  }

  onPing(data: Buffer): void {
    if (++this.#framesInTurn >= framesPerTurn) this.#giveTurn()
    this.#sender.pong(data)
  }

  /**
   * Lets the other sockets have their turn: Node reads up to 2 MiB of one socket in a turn, and that many short frames
   * take half a second.
   */
  #giveTurn(): void {
    this.#framesInTurn = 0
    if (this.#socket.isPaused) return
    this.#socket.pause()
    afterTurn(() => {
      if (!this.isPaused) this.#socket.resume()
    })
  }

  onPong(data: Buffer): void {
    if (++this.#framesInTurn >= framesPerTurn) this.#giveTurn()
    this.#pongs++
    this.#heartbeat.onPong(data)
  }

  /** Ends the connection now, without a wait for the peer's end of the socket. */
  onPeerClose(code: number | undefined, text: string): void {
    this.#linger(remoteCloseReason(code ?? closeCodes.noStatus, text, undefined))
  }

  closeTextFor(code: number): string {
    return code === closeCodes.messageTooLarge ? tooLargeText(this.#maxMessageBytes) : ''
  }

  onError(error: Error): void {
    this.#error ??= error
    const code = String(Reflect.get(error, 'code'))
    if (!code.startsWith('WS_ERR_')) return
    const isTooLarge = code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'
    this.#linger(
      isTooLarge ? receivedTooLarge(this.#maxMessageBytes) : { code: closeCodes.protocolError, message: error.message },
    )
  }

  onSocketClosed(code: number, text: string): void {
    clearTimeout(this.#closeTimer)
    if (this.#state.name !== 'ended') this.#end(remoteCloseReason(code, text, this.#error))
    this.#delivery.reportEnd()
  }

  /**
   * Cuts off a peer that leaves the close without its own Close. A peer that takes messages sent before, or whose pongs
   * say so, may go on; a silent peer may be given time for bytes that the system has taken and the network has not
   * delivered yet.
   */
  #awaitClose(patienceMs: number): void {
    const closedAt = now()
    const patientUntil = closedAt + (this.#heartbeat.unconfirmedBytes > unnoticedBytes ? patienceMs : 0)
    const { closeTimeoutMs, closeLimitMs } = this.#times
    const giveUpAt = closedAt + Math.max(closeLimitMs, patienceMs)
    let pongs = this.#pongs
    this.#heartbeat.hasTaken() // the start of the first span
    const check = (): void => {
      const isTaking = this.#heartbeat.hasTaken() || this.#pongs > pongs
      pongs = this.#pongs
      const time = now()
      if (time < patientUntil || (isTaking && time < giveUpAt)) return wait()
      const message = `no response to the close within ${closeTimeoutMs} ms`
      this.terminate({ code: closeCodes.abnormal, message })
    }
    const wait = (): void => {
      // As in a heartbeat: a process that was busy first gets to its delayed reads and writes.
      this.#closeTimer = setTimeout(() => {
        this.#closeTurn = setImmediate(check)
      }, closeTimeoutMs).unref()
    }
    wait()
  }

  /** Closes without a wait for the peer, which has broken the protocol. */
  breakOff(reason: CloseReason): void {
    this.#sender.flush()
    this.#socket.sendClose(sendableCode(reason.code), closeText(reason.message))
    this.#linger(reason)
  }

  /** Ends the connection; the peer has some time to end the socket. */
  #linger(reason: CloseReason): void {
    if (this.#state.name === 'ended') return
    this.#end(reason)
    this.#closeTimer = setTimeout(() => this.#socket.terminate(), this.#times.closeTimeoutMs).unref()
    queueMicrotask(() => this.#delivery.reportEnd())
  }

  /** @param reason counts unless this side closed before with its own */
  #end(reason: CloseReason): void {
    this.#state = { name: 'ended', reason: this.#state.name === 'closing' ? this.#state.reason : reason }
    this.#delivery.end(this.#state.reason)
    this.droppedMessages += this.#sender.drop()
    this.#heartbeat.stop()
    clearTimeout(this.#closeTimer)
    clearImmediate(this.#closeTurn)
  }
}

/** Whether a text is an array, and each item has at most `maxBytes`. */
function isBatchOfSmaller(text: string, maxBytes: number): boolean {
  let isSmaller = /^\s*\[/.test(text)
  jsonShape(text, (start, end) => {
    if (isSmaller && Buffer.byteLength(text.slice(start, end)) > maxBytes) isSmaller = false
  })
  return isSmaller
}
