import { EventSplitter } from './event-splitter.js'
import { type SseEvent, SseReader } from './sse.js'

const colon = 58

/** A part of an event stream. The frames of a stream follow each other without a gap. */
export interface EventFrame {
  readonly bytes: Buffer
  /** undefined for a comment, a blank line, and an event without data or too large to be read */
  readonly event: SseEvent | undefined
}

/**
 * Cuts an event stream into events with their bytes, so that single events can be changed or left out. The cuts of the
 * chunks make no difference. A frame is an event with its blank line, or a comment between two events, which does not
 * wait for the next event.
 */
export class EventFrames {
  readonly #maxEventBytes: number
  readonly #splitter = new EventSplitter()
  readonly #reader: SseReader
  #event: SseEvent | undefined
  /**
   * - `between`: no event is open
   * - `open`: an event waits for its end
   * - `passing`: the open event has become too large to wait
   */
  #state: 'between' | 'open' | 'passing' = 'between'
  #held: Buffer[] = []
  #heldBytes = 0

  /** @param maxEventBytes a larger event passes in parts that are not read */
  constructor(maxEventBytes: number) {
    this.#maxEventBytes = maxEventBytes
    this.#reader = new SseReader(event => {
      this.#event = event
    }, maxEventBytes)
  }

  /** Takes a chunk of the stream and returns the frames that end in it. */
  push(chunk: Buffer): EventFrame[] {
    const frames: EventFrame[] = []
    let start = 0
    for (const piece of this.#splitter.split(chunk)) {
      const { type, beginsLine, end } = piece
      if (this.#state === 'between' && beginsLine && type !== 'blank' && chunk[piece.start] !== colon)
        this.#state = 'open'
      const isWhole = type === 'blank' || (this.#state === 'between' && type !== 'part')
      if (!isWhole) continue
      frames.push(this.#frame(chunk.subarray(start, end)))
      start = end
    }
    if (start < chunk.length) {
      this.#held.push(chunk.subarray(start))
      this.#heldBytes += chunk.length - start
      if (this.#heldBytes > this.#maxEventBytes) this.#state = 'passing'
      if (this.#state === 'passing') frames.push({ bytes: this.#take(), event: undefined })
    }
    return frames
  }

  /** Ends the stream. An event without its blank line counts too. */
  end(): EventFrame[] {
    if (this.#heldBytes === 0) return []
    const bytes = this.#take()
    this.#read(bytes)
    this.#reader.end()
    return [{ bytes, event: this.#event }]
  }

  #frame(rest: Buffer): EventFrame {
    this.#held.push(rest)
    const bytes = this.#take()
    const isRead = this.#state !== 'passing' && bytes.length <= this.#maxEventBytes
    if (isRead) this.#read(bytes)
    this.#state = 'between'
    return { bytes, event: isRead ? this.#event : undefined }
  }

  #read(bytes: Buffer): void {
    this.#event = undefined
    this.#reader.push(bytes)
  }

  #take(): Buffer {
    const [first, ...more] = this.#held
    this.#held = []
    this.#heldBytes = 0
    return first && more.length === 0 ? first : Buffer.concat(first ? [first, ...more] : [])
  }
}
