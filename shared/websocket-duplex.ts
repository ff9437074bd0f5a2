/**
 * A WebSocket as a duplex: JSON in text frames, beside them tRPC's bare `PING` and `PONG`. Both ends use it; how the WebSocket came about
 * is theirs.
 */
import type { Socket } from 'node:net'
import type { RawData, WebSocket } from 'ws'
import { type CloseReason, closeCodes, type Duplex, type DuplexReceiver, type Message } from './duplex.js'
import type { ErrorReason } from './errors.js'
import { Heartbeat } from './heartbeat.js'
import { copyJson, messageTooLarge, notEncodable } from './json-copy.js'
import { connectionLimits, times } from './limits.js'

export interface WebSocketDuplexOptions {
  /** bytes of one message, either direction */
  maxMessageBytes?: number
  highWaterMarkBytes?: number
  /** bytes of answers to pings that may wait for a peer which does not read */
  maxBufferedBytes?: number
  /** Messages of one turn go out as one frame, an array; only for a peer that takes it. Default false. */
  batch?: boolean
  /** silence after which a ping is sent */
  pingIntervalMs?: number
  /** silence after a ping that ends the connection */
  pongTimeoutMs?: number
  /** how long the peer may take to answer a close */
  closeTimeoutMs?: number
}

/** What both ends give to `ws`, so that the limits and the pongs are this file's. No compression: it costs 300 KiB a connection. */
export function webSocketSettings({ maxMessageBytes = connectionLimits.maxMessageBytes }: WebSocketDuplexOptions): {
  perMessageDeflate: false
  maxPayload: number
  autoPong: false
} {
  return { perMessageDeflate: false, maxPayload: maxMessageBytes, autoPong: false }
}

/**
 * Longest array frame, in UTF-16 code units: large enough that its header and system call are nothing, small enough that a peer
 * begins to work before all of a long queue has come.
 */
const maxBatchLength = 256 * 1024

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

class WebSocketDuplex implements Duplex {
  /** set when more than the high-water mark waits, until half of it or less does */
  full = false
  readonly #socket: WebSocket
  readonly #raw: Socket
  readonly #maxMessageBytes: number
  readonly #highWaterMarkBytes: number
  readonly #maxBufferedBytes: number
  readonly #maxBatchLength: number
  readonly #closeTimeoutMs: number
  readonly #heartbeat: Heartbeat
  #receiver: DuplexReceiver | undefined
  /** came before there was a receiver */
  #early: Message[] = []
  /** encoded in this turn; they go out in its microtask */
  #queue: string[] = []
  #queuedBytes = 0
  #scheduled = false
  /** why this side closes */
  #reason: CloseReason | undefined
  #error: Error | undefined
  #closeTimer: NodeJS.Timeout | undefined
  /** closed; the last word to the receiver */
  #ended: CloseReason | undefined

  constructor(socket: WebSocket, raw: Socket, options: WebSocketDuplexOptions) {
    this.#socket = socket
    this.#raw = raw
    this.#maxMessageBytes = options.maxMessageBytes ?? connectionLimits.maxMessageBytes
    this.#highWaterMarkBytes = options.highWaterMarkBytes ?? connectionLimits.highWaterMarkBytes
    this.#maxBufferedBytes = options.maxBufferedBytes ?? connectionLimits.maxBufferedBytes
    // A code unit is at most three bytes of UTF-8.
    this.#maxBatchLength = options.batch ? Math.min(maxBatchLength, this.#maxMessageBytes / 4) : 0
    this.#closeTimeoutMs = options.closeTimeoutMs ?? times.closeTimeoutMs
    this.#heartbeat = new Heartbeat(raw, {
      intervalMs: options.pingIntervalMs ?? times.pingIntervalMs,
      timeoutMs: options.pongTimeoutMs ?? times.pongTimeoutMs,
      ping: () => socket.ping(),
      pong: () => socket.pong(),
      onSilence: message => this.terminate({ code: closeCodes.abnormal, message }),
    })
    socket.on('message', (data, isBinary) => this.#onMessage(data, isBinary))
    socket.on('ping', data => this.#onPing(data))
    socket.on('error', error => this.#onError(error))
    socket.on('close', (code, text) => this.#end(this.#reason ?? remoteReason(code, text.toString(), this.#error)))
    sayWhyTooLarge(socket, this.#maxMessageBytes)
  }

  open(receiver: DuplexReceiver): void {
    queueMicrotask(() => {
      this.#receiver = receiver
      for (const message of this.#early.splice(0)) this.#deliver(message)
      if (this.#ended) receiver.onClose(this.#ended)
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

  close(reason: CloseReason): void {
    if (this.#reason || this.#ended) return
    this.#reason = reason
    this.#flush()
    this.#heartbeat.stop()
    this.#socket.close(sendable(reason.code), cut(reason.message))
    this.#awaitClose()
  }

  terminate(reason: CloseReason): void {
    if (this.#ended) return
    this.#reason ??= reason
    this.#queue = []
    this.#queuedBytes = 0
    const ended = this.#reason
    this.#ended = ended
    this.#stop()
    this.#socket.terminate()
    // Not when `ws` says so: a peer that has vanished is given up now.
    queueMicrotask(() => this.#receiver?.onClose(ended))
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
    if (this.#maxBatchLength > 0) this.#writeBatches(queue)
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
      if (length + text.length > this.#maxBatchLength || text[0] !== '{') writeBatch()
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
    if (!this.#reason && !this.#ended) this.#receiver?.onDrain()
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    // What comes after this side has closed is not for anybody: its sender has no right to be heard, or will send it elsewhere.
    if (this.#ended || this.#reason) return
    if (isBinary) return this.#refuse('a binary frame; messages are JSON in text frames')
    const text = data.toString()
    if (text === 'PING' || text === 'PONG') return this.#deliver(text)
    let message: unknown
    try {
      message = JSON.parse(text)
    } catch {
      return this.#refuse('it is not JSON')
    }
    if (typeof message !== 'object' || message === null) return this.#refuse('it is neither an object nor an array')
    this.#deliver(message)
  }

  #deliver(message: Message): void {
    if (!this.#receiver) {
      this.#early.push(message)
      return
    }
    try {
      this.#receiver.onMessage(message)
    } catch (error) {
      // A receiver answers for its own errors; one that throws after all must not end the process from within an event.
      this.terminate({ code: closeCodes.internalError, message: `the receiver failed: ${String(error)}` })
    }
  }

  #refuse(problem: string): void {
    this.close({ code: closeCodes.protocolError, message: `not a valid message: ${problem}` })
  }

  /** `ws` would answer each ping whether or not the peer reads, and so let a flood of them fill the memory. */
  #onPing(data: Buffer): void {
    const waiting = this.#socket.bufferedAmount
    if (waiting <= this.#maxBufferedBytes) {
      return this.#socket.pong(data, undefined, this.full ? this.#onWritten : undefined)
    }
    this.terminate({
      code: closeCodes.slowReader,
      message: `${waiting} bytes wait for a peer that pings and does not read`,
    })
  }

  /** `ws` closes by itself after it; here is only why. */
  #onError(error: Error): void {
    this.#error ??= error
    const code = String(Reflect.get(error, 'code'))
    if (!code.startsWith('WS_ERR_')) return
    this.#reason ??=
      code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'
        ? { code: closeCodes.messageTooLarge, message: tooLargeText(this.#maxMessageBytes) }
        : { code: closeCodes.protocolError, message: error.message }
    this.#awaitClose()
  }

  /** A peer that does not answer the close is cut off; one that still takes what was sent before may go on. */
  #awaitClose(): void {
    this.#heartbeat.hasMoved() // since when it is looked for
    this.#closeTimer ??= setTimeout(() => {
      this.#closeTimer = undefined
      if (this.#ended) return
      if (this.#heartbeat.hasMoved()) return this.#awaitClose()
      const message = `the close was not answered within ${this.#closeTimeoutMs} ms`
      this.terminate({ code: closeCodes.abnormal, message })
    }, this.#closeTimeoutMs).unref()
  }

  #end(reason: CloseReason): void {
    if (this.#ended) return
    this.#ended = reason
    this.#stop()
    this.#receiver?.onClose(reason)
  }

  #stop(): void {
    this.#heartbeat.stop()
    clearTimeout(this.#closeTimer)
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

/** `ws` closes with 1009 and no text before anybody hears of it; the peer is to read the limit. */
function sayWhyTooLarge(socket: WebSocket, maxBytes: number): void {
  const close = socket.close.bind(socket)
  socket.close = (code, text) => {
    close(code, text ?? (code === closeCodes.messageTooLarge ? tooLargeText(maxBytes) : text))
  }
}

const remoteReasons: Readonly<Record<number, { message: string; reason?: ErrorReason }>> = {
  [closeCodes.goingAway]: { message: 'the peer goes away', reason: 'draining' },
  [closeCodes.noStatus]: { message: 'the peer closed' },
  [closeCodes.abnormal]: { message: 'the connection was lost' },
  [closeCodes.keyRevoked]: { message: 'the key was revoked', reason: 'key_revoked' },
}

function remoteReason(code: number, text: string, error: Error | undefined): CloseReason {
  const known = remoteReasons[code]
  const message = text || `${known?.message ?? 'the peer closed'}${error ? `: ${error.message}` : ''}`
  return known?.reason ? { code, message, reason: known.reason } : { code, message }
}

/** RFC 6455, section 7.4.1: 1005 and 1006 say what happened and are never sent. */
function sendable(code: number): number {
  return code === closeCodes.noStatus || code === closeCodes.abnormal ? closeCodes.internalError : code
}

function cut(text: string): Buffer {
  const bytes = Buffer.from(text)
  if (bytes.length <= maxCloseTextBytes) return bytes
  let end = maxCloseTextBytes
  // not in the middle of a character: the peer would refuse the frame
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--
  return bytes.subarray(0, end)
}
