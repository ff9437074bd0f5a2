/** Splits the response of a round into whole events with their bytes; a response that is no stream stays whole. */
import { parsed } from '../providers/reading.js'
import { EventSplitter, type Piece } from '../wire/event-splitter.js'
import { blanks, jsonStarts } from '../wire/first-byte.js'

/** The largest event, and the largest body: as much as a request may have. */
const maxRoundBytes = 32 * 1024 * 1024

const blankLine = Buffer.from('\n\n')
const byteOrderMark = Buffer.from('\uFEFF')
const [colon = 0, space = 0] = Buffer.from(': ')

/** A part of a stream: an event with data, or bytes beside events. */
export type RoundPart = RoundEvent | BytesBetween

/** An event with data. */
export interface RoundEvent {
  /** all bytes of the event, its blank line included */
  bytes: Buffer
  /** the `event` field; empty without one */
  name: string
  data: string
  /** the parsed data; undefined if it is no JSON */
  json: unknown
  /** where the data stands in the bytes; undefined if it has several lines */
  range: { start: number; end: number } | undefined
  /** whether the stream ended inside of the event; its bytes have got a blank line here */
  isCut: boolean
}

/** A comment, a blank line, or an event without data. */
export interface BytesBetween {
  bytes: Buffer
  data?: undefined
}

/** Takes the decoded response of a round in chunks; the places of the cuts make no difference. */
export class RoundStream {
  readonly #splitter = new EventSplitter()
  readonly #maxBytes: number
  #kind: 'stream' | 'body' | undefined
  #isInEvent = false
  /** bytes of the open event, of the body, or blanks before both */
  #held: Buffer[] = []
  #heldBytes = 0

  constructor(maxBytes: number = maxRoundBytes) {
    this.#maxBytes = maxBytes
  }

  /** Undefined before the first byte that is not blank, which decides: no event begins as JSON does. */
  get kind(): 'stream' | 'body' | undefined {
    return this.#kind
  }

  /** whether an event, or the body, is larger than the limit: nothing more is read then */
  get isTooLarge(): boolean {
    return this.#heldBytes > this.#maxBytes
  }

  /** Takes the next chunk and returns the parts that end in it; none of a body. */
  push(chunk: Buffer): RoundPart[] {
    if (this.isTooLarge) return []
    if (this.#kind === undefined) {
      const first = chunk.find(byte => !blanks.has(byte))
      if (first !== undefined) {
        this.#kind = jsonStarts.has(first) ? 'body' : 'stream'
        return this.#take(this.#release(chunk))
      }
    }
    return this.#take(chunk)
  }

  /** Ends a stream and returns its last part, which may lack its blank line. */
  end(): RoundPart[] {
    if (this.#kind === 'body' || this.#heldBytes === 0 || this.isTooLarge) return []
    const bytes = this.#release(blankLine)
    return [this.#isInEvent ? readEvent(bytes, true) : { bytes }]
  }

  /** Returns the body, without a byte order mark; empty for a stream. */
  body(): Buffer {
    const body = this.#kind === 'body' && !this.isTooLarge ? Buffer.concat(this.#held) : Buffer.alloc(0)
    return body.subarray(0, 3).equals(byteOrderMark) ? body.subarray(3) : body
  }

  #take(chunk: Buffer): RoundPart[] {
    const parts: RoundPart[] = []
    let start = 0
    for (const piece of this.#kind === 'stream' ? this.#splitter.split(chunk) : []) {
      if (!this.#ends(piece, chunk[piece.start])) continue
      const bytes = this.#release(chunk.subarray(start, piece.end))
      parts.push(this.#isInEvent ? readEvent(bytes, false) : { bytes })
      this.#isInEvent = false
      start = piece.end
    }
    if (start < chunk.length) {
      this.#held.push(chunk.subarray(start))
      this.#heldBytes += chunk.length - start
      if (this.isTooLarge) this.#held = []
    }
    return parts
  }

  /** Returns whether a part ends with a piece: an event with its blank line, a comment with its line. */
  #ends({ type, beginsLine }: Piece, first: number | undefined): boolean {
    if (type === 'blank') return true
    if (this.#isInEvent) return false
    this.#isInEvent = beginsLine && type !== 'lineFeed' && first !== colon
    return !this.#isInEvent && type !== 'part'
  }

  /** Returns the held bytes and those behind them. */
  #release(behind: Buffer): Buffer {
    const held = this.#held
    this.#held = []
    this.#heldBytes = 0
    return held.length === 0 ? behind : Buffer.concat([...held, behind])
  }
}

/** Returns the bytes of an event with other data; everything else in it stays. */
export function withData({ bytes, name, range }: RoundEvent, data: readonly Buffer[]): Buffer {
  if (range) return Buffer.concat([bytes.subarray(0, range.start), ...data, bytes.subarray(range.end)])
  const head = name === '' ? 'data: ' : `event: ${name}\ndata: `
  return Buffer.concat([Buffer.from(head), ...data, blankLine])
}

/** @param isCut see {@link RoundEvent.isCut} */
function readEvent(bytes: Buffer, isCut: boolean): RoundPart {
  const lines: string[] = []
  let name = ''
  let range: RoundEvent['range']
  const begin = bytes.subarray(0, 3).equals(byteOrderMark) ? 3 : 0
  for (const piece of new EventSplitter().split(begin === 0 ? bytes : bytes.subarray(begin))) {
    const [start, end] = [begin + piece.start, begin + piece.contentEnd]
    const at = bytes.indexOf(colon, start)
    const nameEnd = at < 0 || at > end ? end : at
    const field = bytes.toString('latin1', start, nameEnd)
    if (field !== 'data' && field !== 'event' && field !== 'error') continue
    const valueStart = Math.min(end, nameEnd + (bytes[nameEnd + 1] === space ? 2 : 1))
    const value = bytes.toString('utf8', valueStart, end)
    if (field === 'event') name = value
    else {
      // Some servers send a line `error: …` in place of `data: …`.
      if (field === 'error') name = 'error'
      range = lines.length === 0 && nameEnd < end ? { start: valueStart, end } : undefined
      lines.push(value)
    }
  }
  if (lines.length === 0) return { bytes }
  const data = lines.join('\n')
  return { bytes, name, data, json: parsed(data), range, isCut }
}
