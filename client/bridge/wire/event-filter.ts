import { EventSplitter, type Piece } from './event-splitter.js'
import { blanks, jsonStarts } from './first-byte.js'
import { type SseEvent, SseReader } from './sse.js'

const colon = 58

/**
 * The largest event that can be left out. Larger ones pass, so that never more than this waits for the end of an event.
 */
const maxHiddenBytes = 64 * 1024

/** Says which events of a stream are left out. */
export interface EventFilterOptions {
  /** text that every such event holds, so that others need not be read */
  marker: string
  /** Returns whether to leave an event out. Never throws. */
  hides(event: SseEvent): boolean
}

/**
 * Leaves single events out of a stream. Every other byte passes unchanged: an event as soon as its blank line is
 * received, a comment as soon as its line is, and the bytes of a body that is no stream at once.
 */
export class EventFilter {
  readonly #options: EventFilterOptions
  readonly #splitter = new EventSplitter()
  /** whether the response begins as JSON does; undefined while only blanks were received */
  #isBody: boolean | undefined
  /**
   * - `between`: no event is open; comments may have come since the last one
   * - `hidden`: the same, behind an event that was left out; the line feed of its blank line may still follow
   * - `holding`: an event is open and waits for its end
   * - `passing`: the open event, or a comment, has become too large to wait
   */
  #state: 'between' | 'hidden' | 'holding' | 'passing' = 'between'
  #held: Buffer[] = []
  #heldBytes = 0

  constructor(options: EventFilterOptions) {
    this.#options = options
  }

  /** Takes a chunk of the stream and returns the bytes to pass on now. */
  push(chunk: Buffer): Buffer {
    this.#isBody ??= startsAsBody(chunk)
    if (this.#isBody) return this.#heldBytes > 0 ? Buffer.concat([...this.#release(), chunk]) : chunk
    const passed: Buffer[] = []
    let start = 0
    for (const piece of this.#splitter.split(chunk)) {
      const now = this.#take(piece, chunk.subarray(start, piece.end))
      if (!now) continue
      passed.push(...now)
      start = piece.end
    }
    if (start < chunk.length) passed.push(...this.#hold(chunk.subarray(start)))
    const [only = chunk.subarray(0, 0)] = passed
    return passed.length > 1 ? Buffer.concat(passed) : only
  }

  /** Ends the stream and returns the bytes that were held. An event without its blank line may be left out too. */
  end(): Buffer {
    return Buffer.concat(this.#endEvent(Buffer.alloc(0)))
  }

  /**
   * Returns the bytes that pass when a piece ends; undefined if all bytes since the last pass wait.
   * @param bytes of the chunk, from the last pass to the end of the piece
   */
  #take({ type, beginsLine }: Piece, bytes: Buffer): Buffer[] | undefined {
    if (type === 'blank') return this.#endEvent(bytes)
    if (this.#state === 'holding' || this.#state === 'passing') return undefined
    // The second half of a CRLF goes where the first half went.
    if (type === 'lineFeed') return this.#state === 'hidden' ? [] : [bytes]
    if (beginsLine && bytes[0] !== colon) this.#state = 'holding'
    else if (type === 'line') {
      this.#state = 'between'
      return [...this.#release(), bytes]
    }
    return undefined
  }

  #hold(rest: Buffer): Buffer[] {
    if (this.#state === 'passing') return [rest]
    this.#held.push(rest)
    this.#heldBytes += rest.length
    if (this.#heldBytes <= maxHiddenBytes) return []
    this.#state = 'passing'
    return this.#release()
  }

  #release(): Buffer[] {
    const held = this.#held
    this.#held = []
    this.#heldBytes = 0
    return held
  }

  #endEvent(rest: Buffer): Buffer[] {
    const mayHide = this.#state === 'holding' && this.#heldBytes + rest.length <= maxHiddenBytes
    const event = [...this.#release(), rest]
    this.#state = mayHide && this.#isHidden(Buffer.concat(event)) ? 'hidden' : 'between'
    return this.#state === 'hidden' ? [] : event
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

/** Returns undefined if the chunk holds only blanks. */
function startsAsBody(chunk: Buffer): boolean | undefined {
  const first = chunk.find(byte => !blanks.has(byte))
  return first === undefined ? undefined : jsonStarts.has(first)
}
