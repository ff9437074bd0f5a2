import { blanks, jsonStarts } from './first-byte.js'
import { type SseEvent, SseReader } from './sse.js'

const carriageReturn = 13
const lineFeed = 10
const colon = 58

/** An event of more bytes is never left out, so that no more than this waits for its end. */
const maxHiddenBytes = 64 * 1024

export interface EventFilterOptions {
  /** text that stands in every event that is left out */
  marker: string
  /** Whether to leave an event out. Never throws. */
  hides(event: SseEvent): boolean
}

/**
 * Leaves single events out of a stream. Every other byte comes out as it went in: an event as soon as its blank line is there, a comment as
 * soon as its line is, and all of a body that is no stream at once.
 */
export class EventFilter {
  readonly #options: EventFilterOptions
  #held: Buffer[] = []
  #heldBytes = 0
  /** the answer has begun as JSON does */
  #isBody: boolean | undefined
  /** the event has become too large to be left out */
  #passing = false
  #lineIsEmpty = true
  /** nothing but comments since the last event */
  #onlyComments = true
  #afterCarriageReturn = false
  /** the last event was left out, and only its blank line's line feed may still come */
  #hidden = false

  constructor(options: EventFilterOptions) {
    this.#options = options
  }

  /** Takes a piece of the stream, and answers what is to be passed on now. */
  push(chunk: Buffer): Buffer {
    this.#isBody ??= startsAsBody(chunk)
    if (this.#isBody) return this.#heldBytes > 0 ? Buffer.concat([...this.#release(), chunk]) : chunk
    const passed: Buffer[] = []
    let start = 0
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]
      const endsPair = this.#afterCarriageReturn && byte === lineFeed
      this.#afterCarriageReturn = byte === carriageReturn
      if (endsPair) {
        // The second half of a line end goes where the first went.
        if (this.#heldBytes > 0 || start < at || this.#passing) continue
        if (!this.#hidden) passed.push(chunk.subarray(at, at + 1))
        start = at + 1
      } else if (byte !== carriageReturn && byte !== lineFeed) {
        if (this.#lineIsEmpty && byte !== colon) this.#onlyComments = false
        this.#lineIsEmpty = false
      } else if (this.#lineIsEmpty) {
        passed.push(...this.#endEvent(chunk.subarray(start, at + 1)))
        start = at + 1
      } else {
        this.#lineIsEmpty = true
        if (!this.#onlyComments) continue
        passed.push(...this.#release(), chunk.subarray(start, at + 1))
        this.#hidden = false
        start = at + 1
      }
    }
    if (start < chunk.length) passed.push(...this.#hold(chunk.subarray(start)))
    const [only = chunk.subarray(0, 0)] = passed
    return passed.length > 1 ? Buffer.concat(passed) : only
  }

  /** The stream is over: answers what was held back. An event that lacks its blank line may be left out too. */
  end(): Buffer {
    return Buffer.concat(this.#endEvent(Buffer.alloc(0)))
  }

  #hold(rest: Buffer): Buffer[] {
    if (this.#passing) return [rest]
    this.#held.push(rest)
    this.#heldBytes += rest.length
    if (this.#heldBytes <= maxHiddenBytes) return []
    this.#passing = true
    return this.#release()
  }

  #release(): Buffer[] {
    const held = this.#held
    this.#held = []
    this.#heldBytes = 0
    return held
  }

  #endEvent(rest: Buffer): Buffer[] {
    const isSmall = !this.#passing && this.#heldBytes + rest.length <= maxHiddenBytes
    const event = [...this.#release(), rest]
    this.#hidden = isSmall && !this.#onlyComments && this.#isHidden(Buffer.concat(event))
    this.#passing = false
    this.#lineIsEmpty = true
    this.#onlyComments = true
    return this.#hidden ? [] : event
  }

  #isHidden(bytes: Buffer): boolean {
    if (!bytes.includes(this.#options.marker)) return false
    const events: SseEvent[] = []
    const reader = new SseReader(event => events.push(event), maxHiddenBytes)
    reader.push(bytes)
    reader.end()
    const [event] = events
    return event !== undefined && this.#options.hides(event)
  }
}

/** undefined: only blanks have come. */
function startsAsBody(chunk: Buffer): boolean | undefined {
  const first = chunk.find(byte => !blanks.has(byte))
  return first === undefined ? undefined : jsonStarts.has(first)
}
