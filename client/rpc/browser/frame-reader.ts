import { type CloseReason, closeCodes, type Message } from '../../../shared/rpc/duplex.js'
import { messageTooLarge } from '../../../shared/rpc/json/json-copy.js'
import { jsonShape, shapeFault } from '../../../shared/rpc/json/json-shape.js'
import { connectionLimits } from '../../../shared/rpc/limits.js'
import { webSocketSettings } from '../../../shared/rpc/links/websocket-settings.js'
import { utf8Bytes } from '../../../shared/values/text.js'

/** Reads received frames. A browser hands over whole frames of any size, so the limits are checked here. */
export class FrameReader {
  readonly #maxMessageBytes: number
  readonly #maxFrameBytes: number

  constructor(maxMessageBytes: number = connectionLimits.maxMessageBytes) {
    this.#maxMessageBytes = maxMessageBytes
    this.#maxFrameBytes = webSocketSettings({ maxMessageBytes }).maxPayload
  }

  /** Returns the message of a frame, or the reason to close. */
  read(data: unknown): { message: Message; bytes: number } | CloseReason {
    if (typeof data !== 'string') return invalid('a binary frame; messages are JSON in text frames')
    const bytes = utf8Bytes(data)
    if (data === 'PING' || data === 'PONG') return { message: data, bytes }
    if (bytes > this.#maxFrameBytes) return this.#tooLarge(bytes)
    const largest = bytes > this.#maxMessageBytes ? largestOf(data, bytes) : 0
    if (largest > this.#maxMessageBytes) return this.#tooLarge(largest)
    const fault = shapeFault(data)
    if (fault) return invalid(fault)
    let message: unknown
    try {
      message = JSON.parse(data)
    } catch {
      return invalid('it is not JSON')
    }
    if (typeof message !== 'object' || message === null) return invalid('it is neither an object nor an array')
    return { message, bytes }
  }

  #tooLarge(bytes: number): CloseReason {
    const { message } = messageTooLarge(bytes, this.#maxMessageBytes)
    return { code: closeCodes.messageTooLarge, message, received: true }
  }
}

/** Returns the bytes of the largest message of a frame: one message, or a batch. */
function largestOf(text: string, bytes: number): number {
  if (!/^\s*\[/.test(text)) return bytes
  let largest = 0
  jsonShape(text, (start, end) => {
    largest = Math.max(largest, utf8Bytes(text.slice(start, end)))
  })
  return largest
}

function invalid(problem: string): CloseReason {
  return { code: closeCodes.protocolError, message: `not a valid message: ${problem}` }
}
