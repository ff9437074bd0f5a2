/** JSON-RPC messages as lines of JSON, on the standard input and output of a process. */
import { isUtf8 } from 'node:buffer'
import type { Readable, Writable } from 'node:stream'
import { type CloseReason, closeCodes, type Duplex, type DuplexReceiver, type Message } from '../rpc/duplex.js'
import { encodeMessage } from '../rpc/json/encode-message.js'
import { frameOverheadBytes } from '../rpc/limits.js'
import { Delivery } from '../rpc/links/delivery.js'
import { acpError } from './errors.js'
import { acpClientLimits } from './limits.js'
import { type AcpMessage, checkMessage } from './messages.js'

/** Settings of {@link ndjsonDuplex}. */
export interface NdjsonOptions {
  /** bytes of one line, either direction; default 4 MiB */
  maxMessageBytes?: number
  /** default 1 MiB */
  highWaterMarkBytes?: number
  /** Gets the error of a line that is no message: parse_error, invalid_request, batch_unsupported. It is skipped. */
  onInvalidLine?: (error: Error) => void
  /** Ends the output when this end has closed; default: `output.end()`. */
  endOutput?: () => void
}

/**
 * Returns a duplex over the streams of a process. It closes when the input ends. A line above `maxMessageBytes` closes
 * it with 1009 and a message that names the limit: the rest of such a line cannot be told from the next message.
 */
export function ndjsonDuplex(input: Readable, output: Writable, options: NdjsonOptions = {}): Duplex {
  return new NdjsonDuplex(input, output, options)
}

type State = { readonly name: 'open' } | { readonly name: 'closed'; readonly reason: CloseReason }

const open: State = { name: 'open' }
const lineFeed = 10

class NdjsonDuplex implements Duplex {
  readonly #input: Readable
  readonly #output: Writable
  readonly #options: NdjsonOptions
  readonly #maxMessageBytes: number
  readonly #highWaterMarkBytes: number
  readonly #delivery = new Delivery(this)
  #state: State = open
  /** the parts of an open line */
  #parts: Buffer[] = []
  #bytes = 0
  bufferedBytes = 0
  full = false
  droppedMessages = 0

  constructor(input: Readable, output: Writable, options: NdjsonOptions) {
    this.#input = input
    this.#output = output
    this.#options = options
    this.#maxMessageBytes = options.maxMessageBytes ?? acpClientLimits.maxMessageBytes
    this.#highWaterMarkBytes = options.highWaterMarkBytes ?? acpClientLimits.highWaterMarkBytes
    input.on('data', this.#onData)
    input.once('end', () => this.#onInputEnd('the far end has ended its output'))
    input.once('close', () => this.#onInputEnd('the far end has closed its output'))
    input.on('error', error => this.#lose(error))
    output.on('error', error => this.#lose(error))
  }

  get state(): State {
    return this.#state
  }

  open(receiver: DuplexReceiver): void {
    this.#delivery.open(receiver)
  }

  send(message: Message): void {
    if (this.#state !== open) {
      this.droppedMessages++
      return
    }
    const text = typeof message === 'string' ? message : encodeMessage(message, this.#maxMessageBytes)
    const line = Buffer.from(`${text}\n`)
    const bytes = line.length + frameOverheadBytes
    this.bufferedBytes += bytes
    if (this.bufferedBytes > this.#highWaterMarkBytes) this.full = true
    this.#output.write(line, () => this.#noteWritten(bytes))
  }

  pauseReading(): void {
    this.#input.pause()
  }

  resumeReading(): void {
    if (this.#state === open) this.#input.resume()
  }

  close(reason: CloseReason): void {
    this.#end(reason)
  }

  terminate(reason: CloseReason): void {
    this.#end(reason)
  }

  breakOff(reason: CloseReason): void {
    this.#end(reason)
  }

  #noteWritten(bytes: number): void {
    this.bufferedBytes -= bytes
    if (!this.full || this.bufferedBytes > this.#highWaterMarkBytes / 2) return
    this.full = false
    if (this.#state === open) this.#delivery.drain()
  }

  readonly #onData = (chunk: Buffer): void => {
    let start = 0
    for (let end = chunk.indexOf(lineFeed); end >= 0; end = chunk.indexOf(lineFeed, start)) {
      this.#add(chunk.subarray(start, end))
      if (this.#state !== open) return
      this.#endLine()
      start = end + 1
    }
    this.#add(chunk.subarray(start))
  }

  #add(part: Buffer): void {
    if (part.length === 0) return
    this.#bytes += part.length
    if (this.#bytes > this.#maxMessageBytes) {
      const limit = this.#maxMessageBytes.toLocaleString('en')
      const message = `a line is longer than maxMessageBytes ${limit}`
      return this.#end({ code: closeCodes.messageTooLarge, message, reason: 'message_too_large', received: true })
    }
    this.#parts.push(part)
  }

  #endLine(): void {
    const line = this.#parts.length === 1 ? this.#parts[0] : Buffer.concat(this.#parts)
    const bytes = this.#bytes
    this.#parts = []
    this.#bytes = 0
    if (!line || isBlank(line)) return
    let message: AcpMessage
    try {
      message = parseLine(line)
    } catch (error) {
      this.#options.onInvalidLine?.(error instanceof Error ? error : new Error(String(error)))
      return
    }
    this.#delivery.deliver(message, bytes)
  }

  #onInputEnd(message: string): void {
    this.#end({ code: closeCodes.normal, message })
  }

  #lose(error: Error): void {
    this.#end({ code: closeCodes.abnormal, message: `the streams of the process have failed: ${error.message}` })
  }

  #end(reason: CloseReason): void {
    if (this.#state !== open) return
    this.#state = { name: 'closed', reason }
    this.#parts = []
    this.#input.off('data', this.#onData)
    // What still comes is dropped: without a reader, the far end would wait for one.
    this.#input.resume()
    this.#delivery.end(reason)
    queueMicrotask(() => this.#delivery.reportEnd())
    if (this.#options.endOutput) this.#options.endOutput()
    else this.#output.end()
  }
}

function isBlank(line: Buffer): boolean {
  return line.length === 0 || (line.length === 1 && line[0] === 13)
}

function parseLine(line: Buffer): AcpMessage {
  if (!isUtf8(line)) throw acpError('parse_error', `a line of ${line.length} bytes is not UTF-8`)
  let value: unknown
  try {
    value = JSON.parse(line.toString())
  } catch (cause) {
    // The parser's message repeats the text.
    throw acpError('parse_error', `a line of ${line.length} bytes is not JSON`, { cause })
  }
  return checkMessage(value)
}
