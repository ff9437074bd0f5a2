import { type CloseReason, closeCodes, type Message } from '../duplex.js'
import { heapBytes } from '../json/heap-bytes.js'
import { connectionLimits, frameOverheadBytes } from '../limits.js'

/** Messages that arrived before there was a receiver, in bounded memory: the peer may be anyone. */
export class EarlyMessages {
  readonly #maxBytes: number
  #messages: [Message, number][] = []
  #bytes = 0

  /** @param maxBytes default: as for a slow reader */
  constructor(maxBytes: number = connectionLimits.maxBufferedBytes) {
    this.#maxBytes = maxBytes
  }

  /** Keeps a message. Returns the close reason of a peer that has sent too many; the messages are dropped then. */
  keep(message: Message, bytes: number): CloseReason | undefined {
    this.#bytes += frameOverheadBytes + heapBytes(message, this.#maxBytes)
    this.#messages.push([message, bytes])
    if (this.#bytes <= this.#maxBytes) return undefined
    this.#messages = []
    const limit = this.#maxBytes.toLocaleString('en')
    return { code: closeCodes.policyViolation, message: `messages of more than ${limit} bytes before any was read` }
  }

  /** Takes all messages out, with the bytes of each. */
  taken(): readonly [Message, number][] {
    const messages = this.#messages
    this.#messages = []
    return messages
  }
}
