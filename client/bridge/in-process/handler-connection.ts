import type { ServerResponse } from 'node:http'
import { Duplex } from 'node:stream'
import type { RequestBytes } from './request-bytes.js'
import { ResponseBody } from './response-body.js'

/** One call of a fetch. */
export interface HandlerCall {
  request: Request
  bytes: RequestBytes
  /** the caller's signal */
  signal: AbortSignal | undefined
  /** Takes the outcome of the fetch; only the first counts. */
  resolve: (response: Response) => void
  reject: (reason: unknown) => void
}

/** Statuses of responses without a body, even if one was written (https://fetch.spec.whatwg.org/#null-body-status). */
const withoutBody = [101, 204, 205, 304]

/** Headers about the connection between two hosts, which a fetch without a socket does not have. */
const connectionHeaders = ['connection', 'keep-alive', 'transfer-encoding']

/** The part that the handler has written: no whole head of a response yet, or the head and a part of the body. */
type State =
  | { readonly name: 'waiting' }
  /**
   * `body` is undefined for a response without one; `bytesLeft` counts down from the `content-length`, NaN without one
   */
  | { readonly name: 'responding'; readonly body: ResponseBody | undefined; bytesLeft: number }

/**
 * Stands in for the socket of one request in a `node:http` server. The readable side is the request. The writable side
 * takes the unframed response and makes a `Response` of it.
 * ```
 * waiting ──head──▶ responding ──end of the response, all of it read──▶ destroyed
 *    └──── abort, cancel, destroy, failure of a stream ────┴────────────▲
 * ```
 * A destroyed connection leaves nothing: the listener on the signal is removed, the request's body is cancelled, the
 * fetch is settled.
 */
export class HandlerConnection extends Duplex {
  /** set by the server's listener; undefined while the request is read, and if the server itself rejects it */
  response: ServerResponse | undefined
  readonly #call: HandlerCall
  #state: State = { name: 'waiting' }
  #failure: { reason: unknown } | undefined

  constructor(call: HandlerCall) {
    // Nothing is read or written ahead. The writable mark is 1, as a server takes 0 for a connection that is always
    // full.
    super({ readableHighWaterMark: 0, writableHighWaterMark: 1 })
    this.#call = call
    call.signal?.addEventListener('abort', this.#onAbort, { once: true })
    this.push(call.bytes.head)
  }

  /**
   * Ends the connection behind the written bytes; the response is whole only if the handler ended it. `node:http`
   * expects this method of a `net.Socket`.
   */
  destroySoon(): void {
    if (this.writable) this.end()
    if (this.writableFinished) this.destroy()
    else this.once('finish', () => this.destroy())
  }

  /** Sets the cause of a failing response. Only the first call counts. */
  failWith(reason: unknown): void {
    this.#failure ??= { reason }
  }

  /** Responds for a handler that failed before its response: with a 500 whose body fails. */
  respondWithFailure(cause: unknown): void {
    const error = new Error('handler failed', { cause })
    const body = new ReadableStream({ start: controller => controller.error(error) })
    const { request, resolve } = this.#call
    const init = { status: 500, statusText: 'Internal Server Error' }
    resolve(responseTo(request, request.method === 'HEAD' ? null : body, init))
    this.destroy()
  }

  override _read(): void {
    this.#call.bytes.next().then(
      pieces => {
        // The connection stays open after the last piece: an end would mean that the client has disconnected.
        for (const piece of pieces ?? []) this.push(piece)
      },
      (error: unknown) => {
        this.failWith(error)
        this.destroy()
      },
    )
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, taken: (error?: Error) => void): void {
    const rest = this.#state.name === 'waiting' ? this.#readHead(bytes) : bytes
    const state: State = this.#state // `#readHead` may have changed it
    if (state.name === 'waiting' || !state.body || rest.length === 0) return taken()
    state.bytesLeft -= rest.length
    state.body.write(rest, taken)
  }

  override _final(done: () => void): void {
    if (this.#body && this.#isWhole) return this.#body.end(done)
    this.#body?.fail(this.#failed('terminated'))
    done()
  }

  override _destroy(error: Error | null, destroyed: () => void): void {
    const { signal, bytes, reject } = this.#call
    signal?.removeEventListener('abort', this.#onAbort)
    if (error) this.failWith(error)
    reject(this.#failed('fetch failed'))
    this.#body?.fail(this.#failed('terminated'))
    bytes.cancel(this.#failure?.reason)
    destroyed()
  }

  readonly #onAbort = (): void => {
    const reason: unknown = this.#call.signal?.reason
    this.#call.reject(reason)
    this.#body?.fail(reason)
    this.failWith(reason)
    this.destroy()
  }

  get #body(): ResponseBody | undefined {
    return this.#state.name === 'responding' ? this.#state.body : undefined
  }

  /** Whether the handler has ended the response and has written as much as the head announced. */
  get #isWhole(): boolean {
    const isShort = this.#state.name === 'responding' && this.#state.bytesLeft > 0
    return (this.response?.writableEnded ?? true) && !isShort
  }

  #failed(message: string): TypeError {
    return new TypeError(message, { cause: this.#failure?.reason ?? new Error('the handler closed the connection') })
  }

  /**
   * Reads the head of the response, which a server writes in one piece, and returns the bytes behind it. Informational
   * responses are dropped.
   */
  #readHead(bytes: Buffer): Buffer {
    const end = bytes.indexOf('\r\n\r\n')
    if (end < 0) return bytes.subarray(bytes.length)
    const [statusLine = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n')
    const rest = bytes.subarray(end + 4)
    const status = Number(statusLine.slice(9, 12))
    if (status < 200 && status !== 101) return this.#readHead(rest)
    const headers = new Headers()
    for (const line of lines) {
      const colon = line.indexOf(':')
      const name = line.slice(0, colon)
      if (!connectionHeaders.includes(name.toLowerCase())) headers.append(name, line.slice(colon + 1))
    }
    this.#respond(status, statusLine.slice(13), headers)
    return rest
  }

  #respond(status: number, statusText: string, headers: Headers): void {
    const { request, resolve } = this.#call
    const isForbidden = request.redirect === 'error' && redirects.includes(status) && headers.has('location')
    const hasBody = !isForbidden && request.method !== 'HEAD' && !withoutBody.includes(status)
    this.#state = {
      name: 'responding',
      body: hasBody ? new ResponseBody(headers.get('content-encoding') ?? '', () => this.destroy()) : undefined,
      bytesLeft: hasBody ? Number(headers.get('content-length') ?? Number.NaN) : Number.NaN,
    }
    if (isForbidden) {
      this.failWith(new Error('unexpected redirect'))
      this.destroy()
      return
    }
    try {
      resolve(responseTo(request, this.#body?.stream ?? null, { status, statusText, headers }))
    } catch (error) {
      this.failWith(error)
      this.destroy()
    }
  }
}

const redirects = [301, 302, 303, 307, 308]

/** Makes a response with the URL of its request, which only fetch itself can set otherwise. */
function responseTo(request: Request, body: ReadableStream | null, init: ResponseInit): Response {
  const url = new URL(request.url)
  url.hash = ''
  return Object.defineProperty(new Response(body, init), 'url', { value: url.href })
}
