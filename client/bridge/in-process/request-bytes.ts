/** Writes the request of a fetch as the bytes that an HTTP/1.1 client would send. */

/** Headers that Node's own fetch adds to the caller's (`httpNetworkOrCacheFetch` in undici). */
const defaultHeaders: readonly (readonly [name: string, value: string])[] = [
  ['accept', '*/*'],
  ['accept-language', '*'],
  ['sec-fetch-mode', 'cors'],
  ['user-agent', 'node'],
  ['accept-encoding', 'gzip, deflate'],
]

/** Headers about the connection, which Node's own fetch rejects too. */
const rejectedHeaders = ['transfer-encoding', 'keep-alive', 'upgrade', 'expect']

/** Headers with values of their own here; the caller's values are dropped. */
const ownHeaders = ['host', 'connection', 'content-length']

/** The bytes of one request: the head at once, the body as it is asked for. */
export class RequestBytes {
  /** request line and headers, with the blank line */
  readonly head: Buffer
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  readonly #length: number | undefined
  #sent = 0

  /**
   * @param request the request; its body is locked from now on
   * @param bodyLength length of the body in bytes; undefined for a stream of unknown length
   * @throws TypeError for headers about the connection
   */
  constructor(request: Request, bodyLength: number | undefined) {
    const { method, headers, body } = request
    const { host, pathname, search } = new URL(request.url)
    for (const name of rejectedHeaders) {
      if (headers.has(name)) throw new TypeError('fetch failed', { cause: new Error(`invalid ${name} header`) })
    }
    const lines = [`${method} ${pathname}${search} HTTP/1.1`, `host: ${host}`, 'connection: close']
    for (const [name, value] of headers) if (!ownHeaders.includes(name)) lines.push(`${name}: ${value}`)
    for (const [name, value] of defaultHeaders) if (!headers.has(name)) lines.push(`${name}: ${value}`)
    if (body) lines.push(bodyLength === undefined ? 'transfer-encoding: chunked' : `content-length: ${bodyLength}`)
    else if (method === 'POST' || method === 'PUT') lines.push('content-length: 0')
    this.head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
    this.#length = bodyLength
    this.#reader = body?.getReader()
  }

  /**
   * Returns the next piece of the body with its framing; undefined after the last one.
   * @throws the error of the body's stream
   */
  async next(): Promise<Uint8Array[] | undefined> {
    const chunk = await this.#read()
    if (!chunk) return this.#end()
    const first = this.#sent === 0
    this.#sent += chunk.length
    if (this.#length === undefined) {
      return [Buffer.from(`${first ? '' : '\r\n'}${chunk.length.toString(16)}\r\n`), chunk]
    }
    // A server would read more bytes than announced as another request.
    if (this.#sent > this.#length) throw this.#wrongLength()
    return [chunk]
  }

  /** Cancels the body. Harmless after its end. */
  cancel(reason: unknown): void {
    this.#reader?.cancel(reason).catch(() => {}) // an error of the stream that no caller waits for
  }

  /** Returns the next chunk that is not empty. */
  async #read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const result = await this.#reader?.read()
      if (!result || result.done) return undefined
      const chunk: unknown = result.value
      if (!(chunk instanceof Uint8Array)) throw new TypeError('a chunk of the request body is no Uint8Array')
      if (chunk.length > 0) return chunk
    }
  }

  #end(): Uint8Array[] | undefined {
    if (!this.#reader) return undefined
    this.#reader = undefined
    if (this.#length === undefined) return [Buffer.from(`${this.#sent === 0 ? '' : '\r\n'}0\r\n\r\n`)]
    if (this.#sent < this.#length) throw this.#wrongLength()
    return undefined
  }

  #wrongLength(): TypeError {
    return new TypeError(`the request body has ${this.#sent} bytes or more, of ${this.#length} announced`)
  }
}

/** Returns the length of a body in bytes; undefined if it is unknown before reading. */
export function bodyLengthOf(body: unknown): number | undefined {
  if (typeof body === 'string') return Buffer.byteLength(body)
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return body.byteLength
  if (body instanceof Blob) return body.size
  if (body instanceof URLSearchParams) return Buffer.byteLength(body.toString())
  return undefined
}
