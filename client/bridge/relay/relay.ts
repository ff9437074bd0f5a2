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
   * @throws ExchangeAborted if they must not: the client's connection is cut off
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
  #observed = false

  constructor(response: ServerResponse, { observer, filter, added = [], clientTimeoutMs }: RelayOptions) {
    this.#response = response
    this.#observer = observer
    this.#filter = filter
    this.#added = added
    this.#clientTimeoutMs = clientTimeoutMs
  }

  head(head: ResponseHead): void {
    const response = this.#response
    this.#observer?.head(head)
    this.#bytesLeft = Number(findHeader(head.headers, 'content-length') ?? Number.NaN)
    // A response with a length is a stream only if the label says so.
    const mayBeStream = isEventStream(head.headers) || Number.isNaN(this.#bytesLeft)
    if (!mayBeStream || !isPlain(head.headers)) this.#filter = undefined
    // A filter may shorten the response, so the length is unknown before the end.
    const passed = this.#filter ? withoutHeaders(head.headers, ['content-length']) : head.headers
    const headers = [...passed, ...this.#added]
    response.sendDate = false
    try {
      response.writeHead(head.status, head.statusText, headers)
    } catch {
      // Node rejects some reason phrases that it reads; the status counts.
      response.writeHead(head.status, STATUS_CODES[head.status] ?? '', headers)
    }
    // The headers wait for a microtask, so that a chunk of the same packet is written together with them.
    queueMicrotask(() => response.flushHeaders())
  }

  chunk(chunk: Buffer): Promise<void> | undefined {
    const ended = this.#observer?.chunk(chunk) ?? false
    this.#bytesLeft -= chunk.length
    const passed = this.#filter?.push(chunk) ?? chunk
    if (!ended && this.#bytesLeft !== 0) return this.#write(passed)
    const observed = this.#observe()
    return observed ? this.#unlessClosed(observed).then(() => this.#write(passed)) : this.#write(passed)
  }

  /**
   * Ends the response after the last chunk. Resolves when the client's connection has taken all bytes or is closed; an
   * abort of the signal closes the connection.
   */
  async end(signal: AbortSignal): Promise<void> {
    const response = this.#response
    try {
      await abortable(this.#observe() ?? Promise.resolve(), signal)
    } catch (error) {
      if (!signal.aborted) throw error
      // The observer may take longer than the client, or the bridge, has.
      response.destroy()
    }
    if (response.destroyed) return
    const done = this.#taken('finish', 'close')
    response.end(this.#filter?.end())
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
    const response = this.#response
    if (chunk.length === 0 || response.destroyed || response.write(chunk)) return undefined
    return this.#taken('drain', 'close')
  }

  #taken(...events: string[]): Promise<void> {
    return untilTaken(this.#response, events, this.#clientTimeoutMs)
  }
}
