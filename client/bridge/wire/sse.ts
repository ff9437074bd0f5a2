/**
 * Reads server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream)
 * incrementally.
 */
import { carriageReturn, EventSplitter } from './event-splitter.js'
import { JsonSkim } from './json-skim.js'

/** One event of a stream, without its id, which is {@link SseReader.lastEventId}, and its retry time. */
export interface SseEvent {
  /** the `event` field; empty without one */
  event: string
  /** the `data` lines, joined by newlines */
  data: string
}

/**
 * Turns chunks of bytes into events; the places of the cuts make no difference. Of an event of more than
 * `maxEventBytes`, line ends not counted, the data is shortened (see {@link JsonSkim}), or empty if it is no JSON; the
 * event is counted in {@link oversized}.
 *
 * A line `error: …`, which some servers send in place of `data: …`, is an event `error`.
 */
export class SseReader {
  /** events that were larger than `maxEventBytes` */
  oversized = 0
  /** the id of the last event that has ended, or of an earlier one if that has none; empty before */
  lastEventId = ''
  readonly #onEvent: (event: SseEvent) => void
  readonly #maxEventBytes: number
  readonly #splitter = new EventSplitter()
  #isFirstLine = true
  /** the parts of an open line */
  #line: Buffer[] = []
  #data: string[] = []
  #event = ''
  #id = ''
  #bytes = 0
  #large: LargeData | undefined

  constructor(onEvent: (event: SseEvent) => void, maxEventBytes: number) {
    this.#onEvent = onEvent
    this.#maxEventBytes = maxEventBytes
  }

  /** Whether more than `maxEventBytes` of an event have arrived, and not its end. */
  get isTooLarge(): boolean {
    return this.#large !== undefined
  }

  /** Takes the next chunk; the callback gets each event that ends in it. */
  push(chunk: Buffer): void {
    const isBetweenEvents = this.#bytes === 0
    const read = isBetweenEvents ? this.#readWholeEvents(chunk) : 0
    if (read < chunk.length) this.#readPieces(chunk.subarray(read))
  }

  /**
   * Reads the events that end in a chunk, if none of them can be too large, and returns where they end. Their text is
   * decoded at once: a line by itself costs several times as much (100 events of Anthropic's: 57 µs in place of 102,
   * parsing included).
   */
  #readWholeEvents(chunk: Buffer): number {
    if (chunk.length > this.#maxEventBytes || chunk.includes(carriageReturn)) return 0
    const end = chunk.lastIndexOf('\n\n') + 2
    if (end < 2) return 0
    const text = chunk.toString('utf8', 0, end)
    for (let start = 0; start < text.length; ) {
      const lineEnd = text.indexOf('\n', start)
      if (lineEnd > start) this.#firstOrNextLine(text.slice(start, lineEnd))
      else this.#endEvent()
      start = lineEnd + 1
    }
    return end
  }

  #readPieces(chunk: Buffer): void {
    for (const { type, beginsLine, start, contentEnd } of this.#splitter.split(chunk)) {
      if (type === 'lineFeed') continue
      if (type === 'blank') {
        this.#endEvent()
        continue
      }
      this.#bytes += contentEnd - start
      const content = chunk.subarray(start, contentEnd)
      if (!this.#large && this.#bytes > this.#maxEventBytes) this.#shorten()
      if (this.#large) this.#large.push(content, beginsLine)
      else this.#line.push(content)
      if (type === 'line') this.#endLine()
    }
  }

  /** Ends the stream. An event without its blank line counts too: some providers leave out the last one. */
  end(): void {
    this.#endLine()
    this.#endEvent()
  }

  /** Shortens the event: the part that was received, and all that follows. */
  #shorten(): void {
    const large = new LargeData()
    for (const line of this.#data) large.push(Buffer.from(`data:${line}`), true)
    for (const [index, part] of this.#line.entries()) large.push(part, index === 0)
    this.#large = large
    this.#data = []
    this.#line = []
  }

  #endLine(): void {
    const [first, ...rest] = this.#line
    this.#line = []
    if (!first) return
    this.#firstOrNextLine((rest.length === 0 ? first : Buffer.concat([first, ...rest])).toString())
  }

  #firstOrNextLine(line: string): void {
    this.#field(this.#isFirstLine ? line.replace(/^\uFEFF/, '') : line)
    this.#isFirstLine = false
  }

  #field(line: string): void {
    const colon = line.indexOf(':')
    if (colon === 0) return
    const name = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(line.charCodeAt(colon + 1) === 32 ? colon + 2 : colon + 1)
    if (name === 'data') this.#data.push(value)
    else if (name === 'error') {
      this.#data.push(value)
      this.#event = 'error'
    } else if (name === 'event') this.#event = value
    else if (name === 'id' && !value.includes('\0')) this.#id = value
  }

  #endEvent(): void {
    const event = this.#event
    const data = this.#data
    const large = this.#large
    this.#large = undefined
    this.#isFirstLine = false
    this.#event = ''
    this.#data = []
    this.#bytes = 0
    this.lastEventId = this.#id
    if (large) {
      this.oversized++
      this.#onEvent({ event, data: large.end() })
    } else if (data.length > 0) this.#onEvent({ event, data: data.length === 1 ? (data[0] ?? '') : data.join('\n') })
  }
}

const dataField = Buffer.from('data:')

/** The data of an event that is too large to keep. */
class LargeData {
  readonly #skim = new JsonSkim()
  /** the beginning of an open line, until it shows whether the line is data */
  #start: Buffer | undefined
  #isData = false

  /** Takes a part of a line. */
  push(content: Buffer, beginsLine: boolean): void {
    if (beginsLine) {
      this.#start = Buffer.alloc(0)
      this.#isData = false
    }
    if (this.#start === undefined) {
      if (this.#isData) this.#skim.push(content)
      return
    }
    const start = Buffer.concat([this.#start, content])
    this.#start = start
    if (start.length < dataField.length) return
    this.#start = undefined
    this.#isData = start.subarray(0, dataField.length).equals(dataField)
    if (this.#isData) this.#skim.push(start.subarray(dataField.length))
  }

  /** Returns the shortened data. */
  end(): string {
    return this.#skim.end() ?? '{}'
  }
}
