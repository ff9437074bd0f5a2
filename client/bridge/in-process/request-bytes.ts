/** A fetch's request as the bytes that an HTTP/1.1 client would send. */

/** What Node's own fetch sends beside the caller's headers (`httpNetworkOrCacheFetch` in undici). */
const defaultHeaders: readonly (readonly [name: string, value: string])[] = [
  ['accept', '*/*'],
  ['accept-language', '*'],
  ['sec-fetch-mode', 'cors'],
  ['user-agent', 'node'],
  ['accept-encoding', 'gzip, deflate'],
]

/** Headers of the connection, which Node's own fetch refuses too. */
const rejectedHeaders = ['transfer-encoding', 'keep-alive', 'upgrade', 'expect']

/** Those that are written here, whatever the caller says. */
const ownHeaders = ['host', 'connection', 'content-length']

export class RequestBytes {
  /** request line and headers, with the blank line */
  readonly head: Buffer
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  readonly #length: number | undefined
  #sent = 0

  /**
   * @param request its body is read from now on
   * @param bodyLength in bytes; undefined if only the stream knows
   * @throws TypeError for headers that speak of the connection
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
   * The next piece of the body, in its framing; undefined after the last one.
   * @throws whatever the body's stream fails with
   */
  async next(): Promise<Uint8Array[] | undefined> {
    const chunk = await this.#read()
    if (!chunk) return this.#end()
    const first = this.#sent === 0
    this.#sent += chunk.length
    if (this.#length === undefined) {
      return [Buffer.from(`${first ? '' : '\r\n'}${chunk.length.toString(16)}\r\n`), chunk]
    }
    // More bytes than announced would be read as another request.
    if (this.#sent > this.#length) throw this.#wrongLength()
    return [chunk]
  }

  /** Nothing more is wanted: cancels the body. Harmless when it is over. */
  cancel(reason: unknown): void {
    this.#reader?.cancel(reason).catch(() => {}) // the stream's own trouble; nobody waits for it any more
  }

  /** The next chunk that is not empty. */
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

/** How many bytes a body will have, where that is known without reading it. */
export function bodyLengthOf(body: unknown): number | undefined {
  if (typeof body === 'string') return Buffer.byteLength(body)
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return body.byteLength
  if (body instanceof Blob) return body.size
  if (body instanceof URLSearchParams) return Buffer.byteLength(body.toString())
  return undefined
}
