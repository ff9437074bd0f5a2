import { type ServerResponse, STATUS_CODES } from 'node:http'
import { abortable } from '../../../shared/values/abortable.js'
import type { EventFilter } from '../wire/event-filter.js'
import { findHeader, isEventStream, isPlain, type ResponseHead, withoutHeaders } from '../wire/headers.js'
import { untilTaken } from './client-stall.js'
import type { ResponseReceiver } from './upstream-call.js'

/** Observes the response that passes a relay. `head` and `chunk` never throw. */
export interface ResponseObserver {
  /** Takes status line and headers. */
  head(head: ResponseHead): void
  /** Takes a chunk. Returns whether the chunk holds the end of the response. */
  chunk(chunk: Buffer): boolean
  /**
   * Resolves when the last bytes of the response may pass.
   * @throws Rejection if they must not: the client gets it, or is cut off inside its response
   */
  beforeLastBytes(): Promise<void>
}

/** Options of {@link Relay}. */
export interface RelayOptions {
  observer?: ResponseObserver
  /** for a streamed response; any other response, or a compressed one, passes whole */
  filter?: EventFilter | undefined
  /** headers of the bridge behind those of the provider; names and values alternate */
  added?: readonly string[]
  /** a client that takes nothing of the response for this time is cut off */
  clientTimeoutMs: number
}

/**
 * Passes a response on to a client: status, headers and every chunk unchanged and at once, except that the last bytes
 * wait for the observer and a filter may leave out events. A slow client slows the provider down; one that stands still
 * is cut off.
 */
export class Relay implements ResponseReceiver {
  readonly #response: ServerResponse
  readonly #observer: ResponseObserver | undefined
  readonly #added: readonly string[]
  readonly #clientTimeoutMs: number
  #filter: EventFilter | undefined
  #bytesLeft = Number.NaN
  /** until the response has begun */
  #head: ResponseHead | undefined
  /** whether the headers wait to be written with the first bytes */
  #waitsWithBytes = false
  #observed = false

  constructor(response: ServerResponse, { observer, filter, added = [], clientTimeoutMs }: RelayOptions) {
    this.#response = response
    this.#observer = observer
    this.#filter = filter
    this.#added = added
    this.#clientTimeoutMs = clientTimeoutMs
  }

  head(head: ResponseHead): void {
    this.#observer?.head(head)
    this.#bytesLeft = Number(findHeader(head.headers, 'content-length') ?? Number.NaN)
    // A response with a length is a stream only if the label says so.
    const mayBeStream = isEventStream(head.headers) || Number.isNaN(this.#bytesLeft)
    if (!mayBeStream || !isPlain(head.headers)) this.#filter = undefined
    // A filter may shorten the response, so the length is unknown before the end.
    const passed = this.#filter ? withoutHeaders(head.headers, ['content-length']) : head.headers
    this.#head = { status: head.status, statusText: head.statusText, headers: [...passed, ...this.#added] }
    // The headers wait for a microtask, so that bytes of the same turn are written together with them: a write costs
    // as much as a tenth of the whole exchange.
    queueMicrotask(() => this.#waitsWithBytes || this.#begin()?.flushHeaders())
  }

  chunk(chunk: Buffer, isLast: boolean): Promise<void> | undefined {
    const ended = this.#observer?.chunk(chunk) ?? false
    this.#bytesLeft -= chunk.length
    const passed = this.#filter?.push(chunk) ?? chunk
    if (passed.length > 0 || isLast) this.#waitsWithBytes = true
    if (!ended && !isLast && this.#bytesLeft !== 0) return this.#write(passed)
    const observed = this.#observe()
    const pass = () => (isLast ? this.#writeLast(passed) : this.#write(passed))
    return observed ? this.#unlessClosed(observed).then(pass) : pass()
  }

  /**
   * Ends the response after the last chunk. Resolves when the client's connection has taken all bytes or is closed; an
   * abort of the signal closes the connection.
   */
  async end(signal: AbortSignal): Promise<void> {
    const response = this.#response
    try {
      const observed = this.#observe()
      if (observed) await abortable(observed, signal)
    } catch (error) {
      if (!signal.aborted) throw error
      // The observer may take longer than the client, or the bridge, has.
      response.destroy()
    }
    if (response.destroyed || response.writableFinished) return
    const done = this.#taken('finish', 'close')
    if (!response.writableEnded) this.#begin()?.end(this.#filter?.end())
    await this.#destroyOnAbort(done, signal)
  }

  /**
   * Closes the client's connection inside the response, behind the bytes that were received: the client must not take
   * the response for whole. Resolves like {@link end}.
   */
  async cutOff(signal: AbortSignal): Promise<void> {
    const response = this.#response
    const { req, socket } = response
    if (!socket || signal.aborted) {
      response.destroy()
      return
    }
    const closed = this.#taken('close')
    if (this.#filter) response.write(this.#filter.end())
    // In HTTP/1.0 only a reset shows that a response is cut short.
    if (req.httpVersionMajor === 1 && req.httpVersionMinor === 0) socket.resetAndDestroy()
    else socket.destroySoon()
    await this.#destroyOnAbort(closed, signal)
  }

  async #destroyOnAbort(done: Promise<void>, signal: AbortSignal): Promise<void> {
    await abortable(done, signal).catch(() => this.#response.destroy())
  }

  #observe(): Promise<void> | undefined {
    if (this.#observed) return undefined
    this.#observed = true
    return this.#observer?.beforeLastBytes()
  }

  /** Waits for the observer as long as the client is there: the provider is not held up for nobody. */
  #unlessClosed(observed: Promise<void>): Promise<void> {
    const response = this.#response
    return new Promise((resolve, reject) => {
      const done = () => resolve()
      if (response.destroyed) done()
      response.once('close', done)
      observed.then(done, reject).finally(() => response.off('close', done))
    })
  }

  #write(chunk: Buffer): Promise<void> | undefined {
    if (chunk.length === 0 || (this.#begin()?.write(chunk) ?? true)) return undefined
    return this.#taken('drain', 'close')
  }

  /** Writes the last bytes together with the end, and with the headers if they were not sent before. */
  #writeLast(chunk: Buffer): undefined {
    const rest = this.#filter?.end()
    this.#begin()?.end(rest?.length ? Buffer.concat([chunk, rest]) : chunk)
  }

  /** Returns the response with its headers; undefined if the client has left. */
  #begin(): ServerResponse | undefined {
    const response = this.#response
    if (response.destroyed) return undefined
    const head = this.#head
    this.#head = undefined
    if (head) writeHead(response, head)
    return response
  }

  #taken(...events: string[]): Promise<void> {
    return untilTaken(this.#response, events, this.#clientTimeoutMs)
  }
}

function writeHead(response: ServerResponse, { status, statusText, headers }: ResponseHead): void {
  response.sendDate = false
  try {
    response.writeHead(status, statusText, headers)
  } catch {
    // Node rejects some reason phrases that it reads; the status counts.
    response.writeHead(status, STATUS_CODES[status] ?? '', headers)
  }
}
