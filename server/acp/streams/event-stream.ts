/**
 * The events of one stream: those that no reader has taken, and the newest of those that one has. A reader may leave
 * and another one go on where the first stopped.
 */
import { acpError } from '../../../shared/acp/errors.js'

/** The response of one GET. */
export interface StreamReader {
  /** Sends text; calls `onTaken` when the system has taken all of it, unless the client has left. */
  write(text: string, onTaken: () => void): void
  /** Ends the response behind everything that was written. */
  end(): void
  /** Cuts the response off. */
  destroy(): void
}

/** The owner of several streams, which bounds their sum. */
export interface StreamOwner {
  /** The number of unread bytes has changed. */
  onUnread(change: number): void
  /** A stream that was to end has ended: its reader has taken all events. */
  onFinished(stream: EventStream): void
}

/** Bounds of the sent events that a stream keeps. */
export interface ReplayLimits {
  readonly maxReplayBytes: number
  readonly maxReplayEvents: number
}

interface Event {
  readonly frame: string
  readonly bytes: number
}

/** Text of one write: large enough that its system call costs nothing, small enough for a slow reader to show. */
const writeLength = 64 * 1024

/**
 * Events have consecutive ids:
 * ```
 * dropped │ kept: sent, at most maxReplayBytes behind │ unread
 *         ▲ first                                      ▲ cursor            ▲ next
 * ```
 * `Last-Event-ID` moves the cursor back to any place among the kept events.
 */
export class EventStream {
  readonly #owner: StreamOwner
  readonly #limits: ReplayLimits
  /** from `#first` on */
  #events: Event[] = []
  #first: number
  #cursor: number
  #keptBytes = 0
  /** of the events from the cursor on */
  #waitingBytes = 0
  /** of the write under way */
  #writtenBytes = 0
  #reader: StreamReader | undefined
  #isScheduled = false
  #isFinishing = false

  /** @param first the id of the first event; greater than 1 for a stream that goes on where a dropped one stopped */
  constructor(owner: StreamOwner, limits: ReplayLimits, first = 1) {
    this.#owner = owner
    this.#limits = limits
    this.#first = this.#cursor = first
  }

  /** the id of the next event */
  get next(): number {
    return this.#first + this.#events.length
  }

  get hasReader(): boolean {
    return this.#reader !== undefined
  }

  /** Whether the stream ends as soon as a reader has taken all events. */
  get isFinishing(): boolean {
    return this.#isFinishing
  }

  /** Whether there is nothing to send, for the first time or again. */
  get isEmpty(): boolean {
    return this.#events.length === 0
  }

  /** bytes of events that the system has not taken */
  get unreadBytes(): number {
    return this.#waitingBytes + this.#writtenBytes
  }

  /** Adds an event. */
  push(json: string): void {
    const frame = `id: ${this.next}\ndata: ${json}\n\n`
    const bytes = Buffer.byteLength(frame)
    this.#events.push({ frame, bytes })
    this.#waitingBytes += bytes
    this.#owner.onUnread(bytes)
    if (this.#reader) this.#schedule()
  }

  /**
   * Begins to send to a reader: the unread events, or all events behind `lastEventId`. A reader with a `lastEventId`
   * replaces the reader before it, which may be half-open.
   * @throws RpcError `CONFLICT`: stream_taken without a `lastEventId` while there is a reader; stream_gap if events
   *   behind it are dropped, or if it was never sent
   */
  attach(reader: StreamReader, lastEventId?: string): void {
    if (lastEventId === undefined) {
      if (this.#reader) throw acpError('stream_taken', 'another GET reads this stream')
    } else this.#moveTo(lastEventId)
    const before = this.#reader
    if (before) this.detach(before)
    before?.destroy()
    this.#reader = reader
    this.#schedule()
  }

  /** Moves the cursor behind an event. */
  #moveTo(lastEventId: string): void {
    const last = /^\d{1,15}$/.test(lastEventId) ? Number(lastEventId) : -1
    if (last < this.#first - 1 || last >= this.#cursor) {
      const kept = `events ${this.#first} to ${this.#cursor - 1} are kept`
      throw acpError('stream_gap', `Last-Event-ID ${lastEventId.slice(0, 20)} cannot be continued: ${kept}`)
    }
    let again = 0
    for (let id = last + 1; id < this.#cursor; id++) again += this.#events[id - this.#first]?.bytes ?? 0
    this.#cursor = last + 1
    this.#keptBytes -= again
    this.#waitingBytes += again
    this.#owner.onUnread(again)
  }

  /** Notes that a reader has left. A reader that was replaced is ignored. */
  detach(reader: StreamReader): void {
    if (this.#reader !== reader) return
    this.#reader = undefined
    this.#noteTaken()
  }

  /** Ends the reader behind the unread events. Without a reader they wait for one, which is ended then. */
  finish(): void {
    this.#isFinishing = true
    if (this.unreadBytes === 0) this.#end()
  }

  #end(): void {
    const reader = this.#reader
    this.#reader = undefined
    reader?.end()
    this.#owner.onFinished(this)
  }

  /** Drops everything, and returns the reader, which has not ended. */
  clear(): StreamReader | undefined {
    const reader = this.#reader
    this.#reader = undefined
    this.#owner.onUnread(-this.unreadBytes)
    this.#waitingBytes = this.#writtenBytes = this.#keptBytes = 0
    this.#first = this.#cursor = this.next
    this.#events = []
    return reader
  }

  /** All events of one turn go out together. */
  #schedule(): void {
    if (this.#isScheduled || this.#writtenBytes > 0) return
    this.#isScheduled = true
    process.nextTick(send, this)
  }

  send(): void {
    this.#isScheduled = false
    const reader = this.#reader
    if (!reader || this.#writtenBytes > 0) return
    let text = ''
    let bytes = 0
    for (let index = this.#cursor - this.#first; index < this.#events.length && text.length < writeLength; index++) {
      const event = this.#events[index]
      text += event?.frame
      bytes += event?.bytes ?? 0
      this.#cursor++
    }
    if (bytes === 0) {
      if (this.#isFinishing) this.#end()
      return
    }
    this.#waitingBytes -= bytes
    this.#writtenBytes = bytes
    this.#keptBytes += bytes
    reader.write(text, () => {
      if (this.#reader !== reader) return
      this.#noteTaken()
      this.send()
    })
  }

  #noteTaken(): void {
    const bytes = this.#writtenBytes
    this.#writtenBytes = 0
    this.#owner.onUnread(-bytes)
    this.#trim()
  }

  /** Drops sent events that are too far behind the cursor. */
  #trim(): void {
    const { maxReplayBytes, maxReplayEvents } = this.#limits
    const sent = this.#cursor - this.#first
    let dropped = 0
    for (; dropped < sent; dropped++) {
      const bytes = this.#events[dropped]?.bytes ?? 0
      if (this.#keptBytes - bytes <= maxReplayBytes && sent - dropped <= maxReplayEvents) break
      this.#keptBytes -= bytes
    }
    if (dropped === 0) return
    this.#events.splice(0, dropped)
    this.#first += dropped
  }
}

// A function of the module: a closure for each turn would be garbage for each event.
function send(stream: EventStream): void {
  stream.send()
}
