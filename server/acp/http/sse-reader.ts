import type { ServerResponse } from 'node:http'
import type { StreamReader } from '../streams/event-stream.js'
import { cutResponse } from './respond.js'

/** Longest write: a slow reader of one large event shows that it reads. */
const sliceBytes = 64 * 1024

/** The callbacks of a reader's owner. */
interface ReaderOwner {
  /** The client has read a part of a write. */
  onRead(): void
  /** The response has ended, by either side. */
  onReaderClosed(reader: SseReader): void
}

/** One GET: server-sent events, and a comment after a silence. */
export class SseReader implements StreamReader {
  readonly #response: ServerResponse
  readonly #owner: ReaderOwner
  readonly #keepAlive: NodeJS.Timeout

  constructor(response: ServerResponse, owner: ReaderOwner, keepAliveMs: number) {
    this.#response = response
    this.#owner = owner
    this.#keepAlive = setTimeout(() => {
      response.write(': \n\n')
      this.#keepAlive.refresh()
    }, keepAliveMs).unref()
  }

  /** Sends the head of the response at once: the client goes on when it has arrived. */
  begin(): void {
    const response = this.#response
    response.once('close', () => {
      clearTimeout(this.#keepAlive)
      this.#owner.onReaderClosed(this)
    })
    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      // nginx would hold events back.
      'x-accel-buffering': 'no',
    })
    response.flushHeaders()
  }

  write(text: string, onTaken: () => void): void {
    this.#keepAlive.refresh()
    if (text.length < sliceBytes * 2) this.#response.write(text, error => error || onTaken())
    else this.#writeSlices(Buffer.from(text), onTaken)
  }

  #writeSlices(rest: Buffer, onTaken: () => void): void {
    this.#response.write(rest.subarray(0, sliceBytes), error => {
      if (error) return
      if (rest.length <= sliceBytes) return onTaken()
      this.#owner.onRead()
      this.#writeSlices(rest.subarray(sliceBytes), onTaken)
    })
  }

  /** Leaves a response that did not begin to others. */
  discard(): void {
    clearTimeout(this.#keepAlive)
  }

  end(): void {
    clearTimeout(this.#keepAlive)
    this.#response.end()
  }

  destroy(): void {
    clearTimeout(this.#keepAlive)
    cutResponse(this.#response)
  }
}
