/** A WebSocket as the client's side of a connection: one message in each text frame. */
import type { Socket } from 'node:net'
import type { RawData } from 'ws'
import { acpError } from '../../../shared/acp/errors.js'
import {
  type AcpMessage,
  type AcpRequest,
  errorResponse,
  isRequest,
  isResponse,
  scopeOf,
  sessionIdOf,
} from '../../../shared/acp/messages.js'
import { initializeMethod } from '../../../shared/acp/methods.js'
import { type CloseReason, closeCodes } from '../../../shared/rpc/duplex.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { framesPerTurn, times as transportTimes } from '../../../shared/rpc/limits.js'
import type { DuplexSocket, SocketOwner } from '../../../shared/rpc/links/duplex-socket.js'
import { Heartbeat, type HeartbeatOptions } from '../../../shared/rpc/links/heartbeat.js'
import { closeText, sendableCode, tooLargeText } from '../../../shared/rpc/links/websocket-close.js'
import { WebSocketSender } from '../../../shared/rpc/links/websocket-sender.js'
import { afterTurn } from '../../../shared/rpc/turn.js'
import type { AcpConnection } from '../connection/acp-connection.js'
import { endCodes } from '../connection/end-codes.js'
import type { Outlet } from '../connection/outlet.js'
import { parseText } from '../http/body.js'
import type { AcpEnd, AcpIdentity, AcpSettings } from '../options.js'
import { SocketWatch } from './socket-watch.js'

/**
 * ```
 * waiting ──initialize──▶ opening ──its response──▶ open ──end()──▶ closing ──the socket has closed──▶ closed
 *    └──another message, handshakeTimeoutMs──▶ closing
 * ```
 */
export class AcpSocket<I extends AcpIdentity = AcpIdentity> implements SocketOwner, Outlet, HeartbeatOptions {
  readonly intervalMs = transportTimes.pingIntervalMs
  readonly timeoutMs = transportTimes.pongTimeoutMs
  isPaused = false
  readonly #socket: DuplexSocket
  readonly #connection: AcpConnection<I>
  readonly #settings: AcpSettings<I>
  readonly #sender: WebSocketSender
  readonly #watch: SocketWatch
  readonly #heartbeat: Heartbeat
  #state: 'waiting' | 'opening' | 'open' | 'closing' | 'closed' = 'waiting'
  /** messages that came before the response to `initialize`, and the length of their texts */
  #early: AcpMessage[] = []
  #earlyLength = 0
  /** of the handshake, then of the close */
  #timer: NodeJS.Timeout
  /** frames received since the event loop was given a turn for the other sockets */
  #framesInTurn = 0

  constructor(socket: DuplexSocket, raw: Socket, connection: AcpConnection<I>, settings: AcpSettings<I>) {
    this.#socket = socket
    this.#connection = connection
    this.#settings = settings
    const { maxMessageBytes, highWaterMarkBytes } = settings.limits
    this.#sender = new WebSocketSender(socket, raw, { maxMessageBytes, highWaterMarkBytes, unmasked: true }, this)
    const { slowReaderMs, handshakeTimeoutMs } = settings.times
    this.#watch = new SocketWatch(connection, this.#sender, raw, { ...settings.limits, slowReaderMs })
    this.#heartbeat = new Heartbeat(raw, this)
    this.#timer = setTimeout(() => {
      const message = `no initialize within ${handshakeTimeoutMs.toLocaleString('en')} ms`
      connection.end({ reason: 'abandoned', message }, 'flush')
    }, handshakeTimeoutMs).unref()
    connection.outlet = this
    socket.reportTo(this)
  }

  onMessage(data: RawData, isBinary: boolean): void {
    if (++this.#framesInTurn >= framesPerTurn) this.#giveTurn()
    if (isBinary || this.#state === 'closing' || this.#state === 'closed') return
    let message: AcpMessage | undefined
    try {
      const text = data.toString()
      message = parseText(text)
      if (this.#state === 'waiting') this.#initialize(message)
      else if (this.#state === 'opening') this.#keepEarly(message, text.length)
      else this.#take(message)
    } catch (error) {
      this.#reject(error, message)
    }
    if (this.#connection.isAgentFull) this.#pause()
  }

  /** A client that does not wait for the response to `initialize` is served behind it, within bounds. */
  #keepEarly(message: AcpMessage, length: number): void {
    this.#early.push(message)
    this.#earlyLength += length
    if (this.#earlyLength > this.#settings.limits.maxMessageBytes) this.#pause()
  }

  #takeEarly(): void {
    const early = this.#early
    this.#early = []
    for (const message of early) {
      try {
        this.#take(message)
      } catch (error) {
        this.#reject(error, message)
      }
    }
    this.onAgentDrain()
  }

  #take(message: AcpMessage): void {
    const isOfSession = !isResponse(message) && scopeOf(message, 'client') === 'session'
    this.#connection.receive(message, isOfSession ? sessionIdOf(message) : undefined)
  }

  #initialize(message: AcpMessage): void {
    if (!isRequest(message) || message.method !== initializeMethod) {
      throw acpError('not_initialized', 'the first message must be initialize')
    }
    this.#state = 'opening'
    clearTimeout(this.#timer)
    void this.#openAgent(message)
  }

  #openAgent(message: AcpRequest): Promise<void> {
    return this.#connection.initialize(message, {
      onResponse: response => {
        this.deliver(response)
        if (response.error !== undefined || this.#state !== 'opening') return
        this.#state = 'open'
        this.#takeEarly()
      },
      onFailure: error => {
        this.#settings.observer.rejected?.(error)
        const { id: connectionId } = this.#connection
        const { reason, cause = error } = error
        this.#settings.logger.error({ connectionId, reason, err: cause }, 'an agent could not be initialized')
        this.deliver(errorResponse(message.id, error))
      },
    })
  }

  /** Reports a rejection to the client: of a request with its id, of another message with the id null. */
  #reject(thrown: unknown, message: AcpMessage | undefined): void {
    const error = RpcError.from(thrown)
    this.#settings.observer.rejected?.(error)
    if (error.reason === 'not_initialized') {
      return this.#connection.end({ reason: 'protocol_error', message: error.message }, 'flush')
    }
    // A notification and a response have no response, and a client may respond to none of its own.
    if (message !== undefined && !isRequest(message)) return
    this.deliver(errorResponse(message?.id ?? null, error))
  }

  deliver(message: AcpMessage): void {
    if (this.#state === 'closing' || this.#state === 'closed') return
    try {
      this.#sender.send(message)
    } catch (error) {
      return this.#connection.fail(`the agent sent a message that cannot be sent: ${RpcError.from(error).message}`)
    }
    this.#watch.onSent()
  }

  /** The sessions of a WebSocket share it. */
  endSession(): void {}

  onDrain(): void {
    this.#watch.onDrain()
  }

  onAgentDrain(): void {
    if (!this.isPaused || this.#connection.isAgentFull) return
    this.isPaused = false
    this.#socket.resume()
  }

  #pause(): void {
    if (this.isPaused) return
    this.isPaused = true
    this.#socket.pause()
  }

  /** Lets the other sockets have their turn, as every WebSocket of the transport does. */
  #giveTurn(): void {
    this.#framesInTurn = 0
    if (this.#socket.isPaused) return
    this.#socket.pause()
    afterTurn(() => {
      if (!this.isPaused) this.#socket.resume()
    })
  }

  onPing(data: Buffer): void {
    this.#sender.pong(data)
  }

  onPong(data: Buffer): void {
    this.#heartbeat.onPong(data)
  }

  ping(data: string): void {
    this.#socket.ping(data)
  }

  pong(): void {
    this.#socket.pong()
  }

  onSilence(message: string): void {
    this.#connection.end({ reason: 'closed', message }, 'cut')
  }

  onPeerClose(_: number | undefined, text: string): void {
    this.#connection.end({ reason: 'closed', message: text || 'the client closed the WebSocket' }, 'flush')
  }

  closeTextFor(code: number): string {
    return code === closeCodes.messageTooLarge ? tooLargeText(this.#settings.limits.maxMessageBytes) : ''
  }

  onError(error: Error): void {
    this.#connection.end({ reason: 'closed', message: error.message }, 'flush')
  }

  onSocketClosed(): void {
    this.#state = 'closed'
    clearTimeout(this.#timer)
    this.#heartbeat.stop()
    this.#watch.stop()
    this.#connection.end({ reason: 'closed', message: 'the WebSocket was lost' }, 'cut')
    this.#connection.onGone()
  }

  end({ reason, message }: AcpEnd, how: 'flush' | 'cut'): void {
    if (this.#state === 'closed') return
    const close: CloseReason = { code: endCodes[reason], message }
    this.#watch.stop()
    if (this.#state !== 'closing') {
      this.#state = 'closing'
      this.#heartbeat.stop()
      clearTimeout(this.#timer)
      this.#timer = setTimeout(() => this.#socket.terminate(), transportTimes.closeTimeoutMs).unref()
      this.#sender.flush()
      this.#socket.resume()
      this.#socket.sendClose(sendableCode(close.code), closeText(close.message))
    }
    // The Close frame of a client that reads nothing would wait behind all else.
    if (how === 'cut') this.#socket.terminate()
  }
}
