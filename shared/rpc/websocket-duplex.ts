/**
 * A WebSocket as a duplex: JSON in text frames, beside them tRPC's bare `PING` and `PONG`. Both ends use it; how the WebSocket came about
 * is theirs.
 */
import type { Socket } from 'node:net'
import type { RawData, WebSocket } from 'ws'
import { now } from './deadlines.js'
import { type CloseReason, closeCodes, type Duplex, type DuplexReceiver, type Message, openedTwice } from './duplex.js'
import type { TransportReason } from './errors.js'
import { Heartbeat } from './heartbeat.js'
import { copyJson, messageTooLarge, notEncodable } from './json-copy.js'
import { connectionLimits, times } from './limits.js'
import { longestTimeoutMs, timeoutOf } from './timeouts.js'

export interface WebSocketDuplexOptions {
  /** bytes of one message, either direction */
  maxMessageBytes?: number
  highWaterMarkBytes?: number
  /** Above these bytes that wait for the peer, its pings are not answered until it has read. */
  maxBufferedBytes?: number
  /** Messages of one turn go out as one frame, an array; only for a peer that takes it. Default false. */
  batch?: boolean
  /** silence after which a ping is sent */
  pingIntervalMs?: number
  /** silence after a ping that ends the connection */
  pongTimeoutMs?: number
  /** silence after a close that ends the wait for its answer, and then for the end of the socket */
  closeTimeoutMs?: number
  /** how long a peer may take for what was sent before a close, as long as it takes it */
  closeLimitMs?: number
}

/**
 * What both ends give to `ws`, so that the limits, the pongs and the end are this file's. No compression: it costs 300 KiB a connection.
 */
export function webSocketSettings({ maxMessageBytes = connectionLimits.maxMessageBytes }: WebSocketDuplexOptions): {
  perMessageDeflate: false
  maxPayload: number
  autoPong: false
  closeTimeout: number
} {
  return {
    perMessageDeflate: false,
    maxPayload: Math.max(maxMessageBytes, maxBatchBytes),
    autoPong: false,
    closeTimeout: longestTimeoutMs,
  }
}

const timeNames = ['pingIntervalMs', 'pongTimeoutMs', 'closeTimeoutMs', 'closeLimitMs'] as const
export type WebSocketTimes = Record<(typeof timeNames)[number], number>

/** The times of a duplex, checked. @throws RpcError as {@link timeoutOf} */
export function webSocketTimes(options: Partial<WebSocketTimes>): WebSocketTimes {
  const checked = timeNames.map(name => [name, timeoutOf(name, options[name] ?? times[name], 1)] as const)
  return Object.fromEntries(checked) as WebSocketTimes // one entry for each name
}

/**
 * Longest array frame, in UTF-16 code units: large enough that its header and system call are nothing, small enough that a peer
 * begins to work before all of a long queue has come.
 */
const maxBatchLength = 256 * 1024

/**
 * What a batch takes at most: a code unit is one to three bytes of UTF-8. It is taken whatever `maxMessageBytes` is, which is about each
 * message in it: a sender does not know its peer's.
 */
const maxBatchBytes = 3 * (maxBatchLength + 2)

/** Less than this is through in the time that a close has anyway, on every network that can be worked with. */
const unnoticedBytes = 64 * 1024

/** RFC 6455, section 5.5: a control frame holds 125 bytes, two of them the code. */
const maxCloseTextBytes = 123

/**
 * Takes an open WebSocket over.
 * @param socket made with {@link webSocketSettings}
 * @param raw the TCP or TLS socket below it
 */
export function webSocketDuplex(socket: WebSocket, raw: Socket, options: WebSocketDuplexOptions = {}): Duplex {
  return new WebSocketDuplex(socket, raw, options)
}

/**
 * ```
 * open ──close()──▶ closing ──the peer's Close, or its silence──▶ ended
 *   └──the peer's Close, what breaks the protocol, terminate(), a lost socket──▶ ended
 * ```
 * Ended is what the receiver hears. The socket may live a little longer: until the peer ends it too, or for `closeTimeoutMs`.
 */
class WebSocketDuplex implements Duplex {
  /** set when more than the high-water mark waits, until half of it or less does */
  full = false
  readonly #socket: WebSocket
  readonly #raw: Socket
  readonly #maxMessageBytes: number
  readonly #highWaterMarkBytes: number
  readonly #maxBufferedBytes: number
  readonly #batches: boolean
  readonly #closeTimeoutMs: number
  readonly #closeLimitMs: number
  readonly #heartbeat: Heartbeat
  /** sends a Close frame */
  readonly #close: (code: number, text: Buffer | string) => void
  #opened = false
  #receiver: DuplexReceiver | undefined
  /** came before there was a receiver, with their bytes */
  #early: [Message, number][] = []
  /** encoded in this turn; they go out in its microtask */
  #queue: string[] = []
  #queuedBytes = 0
  #scheduled = false
  /** of the newest ping, while more waits than a pong may be added to */
  #unanswered: Buffer | undefined
  /** a pong has come since it was looked for */
  #heardPong = false
  /** why this side closes */
  #reason: CloseReason | undefined
  #error: Error | undefined
  #closeTimer: NodeJS.Timeout | undefined
  #closeTurn: NodeJS.Immediate | undefined
  /** the last word to the receiver */
  #ended: CloseReason | undefined
  #told = false

  constructor(socket: WebSocket, raw: Socket, options: WebSocketDuplexOptions) {
    this.#socket = socket
    this.#raw = raw
    this.#maxMessageBytes = options.maxMessageBytes ?? connectionLimits.maxMessageBytes
    this.#highWaterMarkBytes = options.highWaterMarkBytes ?? connectionLimits.highWaterMarkBytes
    this.#maxBufferedBytes = options.maxBufferedBytes ?? connectionLimits.maxBufferedBytes
    this.#batches = options.batch ?? false
    const { pingIntervalMs, pongTimeoutMs, closeTimeoutMs, closeLimitMs } = webSocketTimes(options)
    this.#closeTimeoutMs = closeTimeoutMs
    this.#closeLimitMs = closeLimitMs
    this.#heartbeat = new Heartbeat(raw, {
      intervalMs: pingIntervalMs,
      timeoutMs: pongTimeoutMs,
      ping: data => socket.ping(data),
      pong: () => socket.pong(),
      onSilence: message => this.terminate({ code: closeCodes.abnormal, message }),
    })
    socket.on('message', (data, isBinary) => this.#onMessage(data, isBinary))
    socket.on('ping', data => this.#onPing(data))
    socket.on('pong', data => this.#onPong(data))
    socket.on('error', error => this.#onError(error))
    socket.on('close', (code, text) => this.#onSocketClosed(code, text.toString()))
    this.#close = this.#takeOverClose(socket)
  }

  open(receiver: DuplexReceiver): void {
    if (this.#opened) return queueMicrotask(() => receiver.onClose(openedTwice))
    this.#opened = true
    queueMicrotask(() => {
      this.#receiver = receiver
      for (const [message, bytes] of this.#early.splice(0)) this.#deliver(message, bytes)
      if (this.#ended) this.#tellClosed()
    })
  }

  get bufferedBytes(): number {
    return this.#ended ? 0 : this.#queuedBytes + this.#socket.bufferedAmount
  }

  send(message: Message): void {
    if (this.#reason || this.#ended) return
    const text = typeof message === 'string' ? message : encode(message, this.#maxMessageBytes)
    this.#queue.push(text)
    this.#queuedBytes += text.length
    if (!this.full && this.bufferedBytes > this.#highWaterMarkBytes) this.full = true
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(this.#flush)
  }

  close(reason: CloseReason, patienceMs = 0): void {
    if (this.#reason || this.#ended) return
    this.#reason = reason
    this.#flush()
    this.#heartbeat.stop()
    this.#close(sendable(reason.code), cut(reason.message))
    this.#awaitClose(patienceMs)
  }

  terminate(reason: CloseReason): void {
    if (this.#ended) return
    this.#end(this.#reason ?? reason)
    this.#socket.terminate()
    // Not when `ws` says so: a peer that has vanished is given up now.
    queueMicrotask(() => this.#tellClosed())
  }

  readonly #flush = (): void => {
    this.#scheduled = false
    const queue = this.#queue
    const [first] = queue
    if (first === undefined) return
    this.#queue = []
    this.#queuedBytes = 0
    if (queue.length === 1) return this.#write(first)
    // One system call for all of them, if they are several frames.
    this.#raw.cork()
    if (this.#batches) this.#writeBatches(queue)
    else for (const text of queue) this.#write(text)
    this.#raw.uncork()
  }

  #writeBatches(queue: readonly string[]): void {
    let batch: string[] = []
    let length = 0
    const writeBatch = (): void => {
      if (batch.length === 0) return
      this.#write(batch.length === 1 ? (batch[0] ?? '') : `[${batch.join(',')}]`)
      batch = []
      length = 0
    }
    for (const text of queue) {
      if (length + text.length > maxBatchLength || text[0] !== '{') writeBatch()
      // PING, PONG and what is an array already
      if (text[0] !== '{') {
        this.#write(text)
        continue
      }
      batch.push(text)
      length += text.length + 1
    }
    writeBatch()
  }

  #write(text: string): void {
    this.#socket.send(text, this.full ? this.#onWritten : undefined)
  }

  readonly #onWritten = (): void => {
    if (!this.full || this.bufferedBytes > this.#highWaterMarkBytes / 2) return
    this.full = false
    const ping = this.#unanswered
    this.#unanswered = undefined
    if (ping) this.#socket.pong(ping)
    if (!this.#reason && !this.#ended) this.#guard(() => this.#receiver?.onDrain())
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    // What comes after this side has closed is not for anybody: its sender has no right to be heard, or will send it elsewhere.
    if (this.#ended || this.#reason) return
    if (isBinary) return this.#refuse('a binary frame; messages are JSON in text frames')
    const text = data.toString()
    if (text === 'PING' || text === 'PONG') return this.#deliver(text, text.length)
    let message: unknown
    try {
      message = JSON.parse(text)
    } catch {
      return this.#refuse('it is not JSON')
    }
    if (typeof message !== 'object' || message === null) return this.#refuse('it is neither an object nor an array')
    const { length } = data as Buffer // `ws` gives text as one Buffer, unless it is told otherwise
    if (length > this.#maxMessageBytes && !this.#isBatchOfSmaller(message)) {
      return this.#breakOff(receivedTooLarge(this.#maxMessageBytes))
    }
    this.#deliver(message, length)
  }

  #isBatchOfSmaller(message: object): boolean {
    return (
      Array.isArray(message) && message.every(item => Buffer.byteLength(JSON.stringify(item)) <= this.#maxMessageBytes)
    )
  }

  #deliver(message: Message, bytes: number): void {
    if (this.#receiver) this.#guard(() => this.#receiver?.onMessage(message, bytes))
    else this.#early.push([message, bytes])
  }

  /** A receiver answers for its own errors; one that throws after all must not end the process from within an event. */
  #guard(callback: () => void): void {
    try {
      callback()
    } catch (error) {
      this.terminate({ code: closeCodes.internalError, message: `the receiver failed: ${String(error)}` })
    }
  }

  #refuse(problem: string): void {
    this.#breakOff({ code: closeCodes.protocolError, message: `not a valid message: ${problem}` })
  }

  /** The newest is answered when there is room: a peer that reads nothing cannot fill the memory with pongs (RFC 6455, section 5.5.3). */
  #onPing(data: Buffer): void {
    if (this.#socket.bufferedAmount > this.#maxBufferedBytes) this.#unanswered = data
    else this.#socket.pong(data, undefined, this.full ? this.#onWritten : undefined)
  }

  #onPong(data: Buffer): void {
    this.#heardPong = true
    this.#heartbeat.onPong(data)
  }

  /**
   * `ws` calls its own `close` when the peer's Close frame has come, with what it holds, and when a frame breaks the protocol, with a code
   * only. Both end the connection now: neither the peer's end of the socket nor anything that it still sends is waited for.
   */
  #takeOverClose(socket: WebSocket): (code: number, text: Buffer | string) => void {
    const close = socket.close.bind(socket)
    socket.close = (code, text) => {
      if (code !== undefined && text === undefined) {
        // Answered with the code; its error follows and ends the duplex.
        return close(code, code === closeCodes.messageTooLarge ? tooLargeText(this.#maxMessageBytes) : '')
      }
      close(code, text)
      this.#linger(this.#reason ?? remoteReason(code ?? closeCodes.noStatus, String(text ?? ''), undefined))
    }
    return close
  }

  #onError(error: Error): void {
    this.#error ??= error
    const code = String(Reflect.get(error, 'code'))
    if (!code.startsWith('WS_ERR_')) return
    this.#linger(
      this.#reason ??
        (code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'
          ? receivedTooLarge(this.#maxMessageBytes)
          : { code: closeCodes.protocolError, message: error.message }),
    )
  }

  #onSocketClosed(code: number, text: string): void {
    clearTimeout(this.#closeTimer)
    if (!this.#ended) this.#end(this.#reason ?? remoteReason(code, text, this.#error))
    this.#tellClosed()
  }

  /**
   * A peer that does not answer the close is cut off. One that still takes what was sent before, or says that it does, may go on; one that
   * shows nothing may be given time for what the system has taken and the network has not delivered yet.
   */
  #awaitClose(patienceMs: number): void {
    const closedAt = now()
    const patientUntil = closedAt + (this.#heartbeat.unconfirmedBytes > unnoticedBytes ? patienceMs : 0)
    const giveUpAt = closedAt + Math.max(this.#closeLimitMs, patienceMs)
    this.#heartbeat.hasTaken() // since when it is looked for
    const look = (): void => {
      const takes = this.#heartbeat.hasTaken() || this.#heardPong
      this.#heardPong = false
      const time = now()
      if (time < patientUntil || (takes && time < giveUpAt)) return wait()
      const message = `the close was not answered within ${this.#closeTimeoutMs} ms`
      this.terminate({ code: closeCodes.abnormal, message })
    }
    const wait = (): void => {
      // As in a heartbeat: a process that was busy first reads and writes what it could not.
      this.#closeTimer = setTimeout(() => {
        this.#closeTurn = setImmediate(look)
      }, this.#closeTimeoutMs).unref()
    }
    wait()
  }

  /** Closes without waiting for the peer: it has broken the protocol. */
  #breakOff(reason: CloseReason): void {
    this.#reason ??= reason
    this.#flush()
    this.#close(sendable(reason.code), cut(reason.message))
    this.#linger(this.#reason)
  }

  /** Ended; the socket is the peer's to end, for a time. */
  #linger(reason: CloseReason): void {
    if (this.#ended) return
    this.#end(reason)
    this.#closeTimer = setTimeout(() => this.#socket.terminate(), this.#closeTimeoutMs).unref()
    queueMicrotask(() => this.#tellClosed())
  }

  #end(reason: CloseReason): void {
    this.#ended = reason
    this.#queue = []
    this.#queuedBytes = 0
    this.#heartbeat.stop()
    clearTimeout(this.#closeTimer)
    clearImmediate(this.#closeTurn)
  }

  #tellClosed(): void {
    const receiver = this.#receiver
    if (!receiver || !this.#ended || this.#told) return
    this.#told = true
    try {
      receiver.onClose(this.#ended)
    } catch {
      // It was the last call; there is nothing left to end.
    }
  }
}

/** The text of a message, or the same error that the in-memory link gives for it. */
function encode(message: object, maxBytes: number): string {
  let text: string
  try {
    text = JSON.stringify(message)
  } catch (error) {
    copyJson(message, Number.POSITIVE_INFINITY)
    throw notEncodable(error instanceof Error ? error.message : String(error), error)
  }
  // A code unit is one to three bytes of UTF-8, so the bytes need to be counted only in between.
  if (text.length * 3 > maxBytes) {
    const bytes = Buffer.byteLength(text)
    if (bytes > maxBytes) throw messageTooLarge(bytes, maxBytes)
  }
  return text
}

function tooLargeText(maxBytes: number): string {
  return `message is larger than maxMessageBytes ${maxBytes.toLocaleString('en')}`
}

function receivedTooLarge(maxBytes: number): CloseReason {
  return { code: closeCodes.messageTooLarge, message: tooLargeText(maxBytes), received: true }
}

const remoteReasons: Readonly<Record<number, { message: string; reason?: TransportReason }>> = {
  [closeCodes.goingAway]: { message: 'the peer goes away', reason: 'draining' },
  [closeCodes.noStatus]: { message: 'the peer closed' },
  [closeCodes.abnormal]: { message: 'the connection was lost' },
}

function remoteReason(code: number, text: string, error: Error | undefined): CloseReason {
  const known = remoteReasons[code]
  const message = text || `${known?.message ?? 'the peer closed'}${error ? `: ${error.message}` : ''}`
  return known?.reason ? { code, message, reason: known.reason } : { code, message }
}

/** RFC 6455, section 7.4: other codes say what happened, are not given to anybody, or are none, and are never sent. */
function sendable(code: number): number {
  const isAssigned = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014)
  const isOwn = code >= 3000 && code <= 4999
  return Number.isInteger(code) && (isAssigned || isOwn) ? code : closeCodes.internalError
}

function cut(text: string): Buffer {
  const bytes = Buffer.from(text)
  if (bytes.length <= maxCloseTextBytes) return bytes
  let end = maxCloseTextBytes
  // not in the middle of a character: the peer would refuse the frame
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--
  return bytes.subarray(0, end)
}
