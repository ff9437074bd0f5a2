/**
 * Reads server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream)
 * incrementally.
 */
import { EventSplitter } from './event-splitter.js'

/** One event of a stream, without its id and retry time, which no reader here uses. */
export interface SseEvent {
  /** the `event` field; empty without one */
  event: string
  /** the `data` lines, joined by newlines */
  data: string
}

/**
 * Turns chunks of bytes into events; the places of the cuts make no difference. An event of more than `maxEventBytes`,
 * line ends not counted, is left out and counted in {@link oversized}; later events are read.
 */
export class SseReader {
  /** events that were larger than `maxEventBytes` */
  oversized = 0
  readonly #onEvent: (event: SseEvent) => void
  readonly #maxEventBytes: number
  readonly #splitter = new EventSplitter()
  #isFirstLine = true
  /** the parts of an open line */
  #line: Buffer[] = []
  #data: string[] = []
  #event = ''
  #bytes = 0

  constructor(onEvent: (event: SseEvent) => void, maxEventBytes: number) {
    this.#onEvent = onEvent
    this.#maxEventBytes = maxEventBytes
  }

  /** Takes the next chunk; the callback gets each event that ends in it. */
  push(chunk: Buffer): void {
    for (const { type, start, contentEnd } of this.#splitter.split(chunk)) {
      if (type === 'lineFeed') continue
      if (type === 'blank') {
        this.#endEvent()
        continue
      }
      this.#bytes += contentEnd - start
      if (this.#isOversized) {
        this.#line = []
        this.#data = []
      } else this.#line.push(chunk.subarray(start, contentEnd))
      if (type === 'line') this.#endLine()
    }
  }

  /** Ends the stream. An event without its blank line counts too: some providers leave out the last one. */
  end(): void {
    this.#endLine()
    this.#endEvent()
  }

  get #isOversized(): boolean {
    return this.#bytes > this.#maxEventBytes
  }

  #endLine(): void {
    const [first, ...rest] = this.#line
    this.#line = []
    if (!first) return
    const line = (rest.length === 0 ? first : Buffer.concat([first, ...rest])).toString()
    this.#field(this.#isFirstLine ? line.replace(/^\uFEFF/, '') : line)
    this.#isFirstLine = false
  }

  #field(line: string): void {
    const colon = line.indexOf(':')
    if (colon === 0) return
    const name = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(line.charCodeAt(colon + 1) === 32 ? colon + 2 : colon + 1)
    if (name === 'data') this.#data.push(value)
    else if (name === 'event') this.#event = value
  }

  #endEvent(): void {
    const event = this.#event
    const data = this.#data
    const isOversized = this.#isOversized
    this.#isFirstLine = false
    this.#event = ''
    this.#data = []
    this.#bytes = 0
    if (isOversized) this.oversized++
    else if (data.length > 0) this.#onEvent({ event, data: data.join('\n') })
  }
}
