import { acpError } from '../../../shared/acp/errors.js'
import { maxIdLength } from '../../../shared/acp/limits.js'
import { type AcpMessage, checkMessage } from '../../../shared/acp/messages.js'
import { SseReader } from '../../bridge/wire/sse.js'

/** Room for the names of the fields and the id of an event. */
const fieldBytes = 1_024

/**
 * Turns the chunks of one response into messages. An event that the response breaks off is none, and its id does not
 * count.
 */
export class EventReader {
  readonly #reader: SseReader
  readonly #onMessage: (message: AcpMessage, bytes: number) => void
  readonly #maxMessageBytes: number
  #lastEventId: string
  #before = ''

  /** @param lastEventId of the response before */
  constructor(onMessage: (message: AcpMessage, bytes: number) => void, maxMessageBytes: number, lastEventId: string) {
    this.#onMessage = onMessage
    this.#maxMessageBytes = maxMessageBytes
    this.#lastEventId = lastEventId
    this.#reader = new SseReader(({ data }) => this.#onData(data), maxMessageBytes + fieldBytes)
  }

  /** the id behind which the next response goes on; empty without an event that had one */
  get lastEventId(): string {
    const id = this.#reader.lastEventId
    if (id === this.#before) return this.#lastEventId
    this.#before = id
    // An id goes into a header.
    if (id.length <= maxIdLength && /^[\x21-\x7e]*$/.test(id)) this.#lastEventId = id
    return this.#lastEventId
  }

  /**
   * Takes the next chunk.
   * @throws RpcError invalid_event, message_too_large
   */
  push(chunk: Buffer): void {
    this.#reader.push(chunk)
    if (this.#reader.isTooLarge || this.#reader.oversized > 0) throw this.#tooLarge()
  }

  #onData(data: string): void {
    // The data of an oversized event is shortened.
    if (this.#reader.oversized > 0) throw this.#tooLarge()
    let value: unknown
    try {
      value = JSON.parse(data)
    } catch (cause) {
      // The parser's message repeats the text.
      throw acpError('invalid_event', `an event of ${data.length} characters is not JSON`, { cause })
    }
    let message: AcpMessage
    try {
      message = checkMessage(value)
    } catch (cause) {
      const problem = cause instanceof Error ? cause.message : String(cause)
      throw acpError('invalid_event', `an event is no JSON-RPC message: ${problem}`, { cause })
    }
    this.#onMessage(message, data.length)
  }

  #tooLarge(): Error {
    const limit = this.#maxMessageBytes.toLocaleString('en')
    return acpError('message_too_large', `an event is larger than maxMessageBytes ${limit}`)
  }
}
