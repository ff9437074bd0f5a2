/**
 * The clients, in a process of their own. Each has one connection, on which requests follow one another. They write and
 * read HTTP by hand, because they share the machine with the measured process.
 *
 * Gets a {@link Load} from the parent, and sends a {@link LoadResult}.
 */
import { connect, type Socket } from 'node:net'
import { median } from '../median.js'
import { type Counts, count, noCounts, tokensIn } from './conversation.js'

/** An order of the parent. */
export interface Load {
  url: string
  headers: Readonly<Record<string, string>>
  body: string
  clients: number
  forMs: number
}

/** The figures of the clients. */
export interface LoadResult {
  counts: Counts
  seconds: number
  /** from the request to the first byte of the response's body */
  firstByteP50Ms: number
  /** from the request to the last byte */
  lastByteP50Ms: number
}

process.on('message', async (load: Load) => process.send?.(await run(load)))
process.on('disconnect', () => process.exit())
process.send?.('ready')

async function run({ url, headers, body, clients, forMs }: Load): Promise<LoadResult> {
  const { hostname, port, pathname } = new URL(url)
  const lines = { host: `${hostname}:${port}`, 'content-length': String(body.length), ...headers }
  const head = Object.entries(lines).map(([name, value]) => `${name}: ${value}\r\n`)
  const request = Buffer.from(`POST ${pathname} HTTP/1.1\r\n${head.join('')}\r\n${body}`)
  const counts = noCounts()
  const firstBytes: number[] = []
  const lastBytes: number[] = []
  const start = performance.now()
  const client = async (): Promise<void> => {
    const connection = new ClientConnection(connect({ host: hostname, port: Number(port), noDelay: true }))
    while (performance.now() - start < forMs) {
      const { text, firstByteMs, lastByteMs } = await connection.ask(request)
      const tokens = text.startsWith('HTTP/1.1 200 ') ? tokensIn(text) : undefined
      if (!tokens) throw new Error(`a response is not whole: ${text.slice(0, 1_000)}`)
      count(counts, tokens)
      firstBytes.push(firstByteMs)
      lastBytes.push(lastByteMs)
    }
    connection.close()
  }
  await Promise.all(Array.from({ length: clients }, client))
  const seconds = (performance.now() - start) / 1_000
  return { counts, seconds, firstByteP50Ms: median(firstBytes), lastByteP50Ms: median(lastBytes) }
}

interface Response {
  /** head and body, chunked as it came */
  text: string
  firstByteMs: number
  lastByteMs: number
}

/** One connection, with one request at a time. */
class ClientConnection {
  readonly #socket: Socket
  #askedAt = 0
  #response: ResponseInParts | undefined
  #settle: ((response: Response | Error) => void) | undefined

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', data => this.#take(data.toString('latin1')))
    socket.on('error', error => this.#settle?.(error))
    socket.on('close', () => this.#settle?.(new Error('a connection was closed inside a response')))
  }

  ask(request: Buffer): Promise<Response> {
    this.#response = new ResponseInParts()
    return new Promise((resolve, reject) => {
      this.#settle = outcome => (outcome instanceof Error ? reject(outcome) : resolve(outcome))
      this.#askedAt = performance.now()
      this.#socket.write(request)
    })
  }

  close(): void {
    this.#settle = undefined
    this.#socket.destroy()
  }

  #take(part: string): void {
    const response = this.#response
    if (!response) return
    response.add(part)
    const sinceAskedMs = performance.now() - this.#askedAt
    if (response.hasBody) response.firstByteMs ??= sinceAskedMs
    if (!response.isWhole) return
    this.#settle?.({
      text: response.text,
      firstByteMs: response.firstByteMs ?? Number.NaN,
      lastByteMs: sinceAskedMs,
    })
  }
}

/** A response as it arrives. The text is put together once: a stream has a hundred parts. */
class ResponseInParts {
  firstByteMs: number | undefined
  #parts: string[] = []
  #length = 0
  /** where the body begins and ends; a chunked one ends with its last chunk */
  #body: { start: number; end: number | undefined } | undefined

  add(part: string): void {
    this.#parts.push(part)
    this.#length += part.length
    if (this.#body) return
    const headEnd = this.text.indexOf('\r\n\r\n')
    if (headEnd < 0) return
    const start = headEnd + 4
    const length = /^content-length: *(\d+)/im.exec(this.text.slice(0, start))?.[1]
    this.#body = { start, end: length === undefined ? undefined : start + Number(length) }
  }

  get hasBody(): boolean {
    return this.#body !== undefined && this.#length > this.#body.start
  }

  get isWhole(): boolean {
    if (!this.hasBody) return false
    // No event of the provider ends so.
    return this.#body?.end === undefined ? this.#tail.endsWith('\r\n0\r\n\r\n') : this.#length >= this.#body.end
  }

  get text(): string {
    return this.#parts.join('')
  }

  get #tail(): string {
    return this.#parts.slice(-2).join('')
  }
}
