/** Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream), read incrementally. */

export interface SseEvent {
  /** the `event` field; empty if there was none */
  event: string
  /** the `data` lines, joined by newlines */
  data: string
}

const carriageReturn = 13
const lineFeed = 10

/**
 * Turns chunks of bytes into events. Where the chunks are cut makes no difference. An event larger than `maxEventLength` (UTF-16 code
 * units) is left out and counted in {@link oversized}; what follows it is read.
 */
export class SseReader {
  oversized = 0
  readonly #onEvent: (event: SseEvent) => void
  readonly #maxEventLength: number
  readonly #decoder = new TextDecoder()
  #line = ''
  #data: string[] = []
  #event = ''
  #length = 0
  #skipping = false
  #afterCarriageReturn = false

  constructor(onEvent: (event: SseEvent) => void, maxEventLength: number) {
    this.#onEvent = onEvent
    this.#maxEventLength = maxEventLength
  }

  push(chunk: Uint8Array): void {
    this.#read(this.#decoder.decode(chunk, { stream: true }))
  }

  /** The stream is over. An event that lacks its blank line counts too: some providers leave the last one out. */
  end(): void {
    this.#read(this.#decoder.decode())
    if (this.#line !== '') this.#endLine()
    this.#endEvent()
  }

  #read(text: string): void {
    if (text === '') return
    let start = 0
    if (this.#afterCarriageReturn && text.charCodeAt(0) === lineFeed) start = 1
    this.#afterCarriageReturn = false
    const lineEnd = /[\r\n]/g
    for (;;) {
      lineEnd.lastIndex = start
      const match = lineEnd.exec(text)
      if (!match) break
      this.#append(text.slice(start, match.index))
      this.#endLine()
      start = match.index + 1
      if (text.charCodeAt(match.index) !== carriageReturn) continue
      if (start === text.length) this.#afterCarriageReturn = true
      else if (text.charCodeAt(start) === lineFeed) start++
    }
    this.#append(text.slice(start))
  }

  #append(text: string): void {
    if (text === '') return
    this.#length += text.length
    if (this.#length > this.#maxEventLength) {
      this.#skipping = true
      this.#data = []
      // The line's content no longer matters, only that it is not blank.
      this.#line = ':'
    } else this.#line += text
  }

  #endLine(): void {
    const line = this.#line
    this.#line = ''
    if (line === '') this.#endEvent()
    else if (!this.#skipping) this.#field(line)
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
    if (this.#skipping) this.oversized++
    this.#event = ''
    this.#data = []
    this.#length = 0
    this.#skipping = false
    if (data.length > 0) this.#onEvent({ event, data: data.join('\n') })
  }
}
