import { type SseEvent, SseReader } from './sse.js'

const carriageReturn = 13
const lineFeed = 10

/** An event that is larger is never left out, so that no more than this waits for its end. */
const maxHiddenBytes = 64 * 1024

/**
 * Leaves single events out of a stream. Every other byte comes out as it went in: an event as soon as its blank line is there.
 */
export class EventFilter {
  readonly #hides: (event: SseEvent) => boolean
  #held: Buffer[] = []
  #heldBytes = 0
  /** the event has become too large to be left out */
  #passing = false
  #lineIsEmpty = true
  #afterCarriageReturn = false
  /** the last event was left out, and only its blank line's line feed may still come */
  #hidden = false

  /** @param hides whether to leave an event out; never throws */
  constructor(hides: (event: SseEvent) => boolean) {
    this.#hides = hides
  }

  /** Takes a piece of the stream, and answers what is to be passed on now. */
  push(chunk: Buffer): Buffer {
    const passed: Buffer[] = []
    let start = 0
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]
      const endsPair = this.#afterCarriageReturn && byte === lineFeed
      this.#afterCarriageReturn = byte === carriageReturn
      if (endsPair) {
        // The second half of a line end; of a blank line it goes where the event went.
        if (this.#heldBytes > 0 || start < at || this.#passing) continue
        if (!this.#hidden) passed.push(chunk.subarray(at, at + 1))
        start = at + 1
      } else if (byte !== carriageReturn && byte !== lineFeed) this.#lineIsEmpty = false
      else if (this.#lineIsEmpty) {
        passed.push(...this.#endEvent(chunk.subarray(start, at + 1)))
        start = at + 1
      } else this.#lineIsEmpty = true
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
    const event = [...this.#release(), rest]
    this.#hidden = !this.#passing && this.#isHidden(event)
    this.#passing = false
    this.#lineIsEmpty = true
    return this.#hidden ? [] : event
  }

  #isHidden(bytes: readonly Buffer[]): boolean {
    const events: SseEvent[] = []
    const reader = new SseReader(event => events.push(event), maxHiddenBytes)
    for (const piece of bytes) reader.push(piece)
    reader.end()
    const [event] = events
    return event !== undefined && this.#hides(event)
  }
}
