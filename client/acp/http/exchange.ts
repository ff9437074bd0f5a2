/** HTTP requests to one URL: connections, cookies, time limits, and errors that say whether anything was sent. */
import type { IncomingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import { Agent, buildConnector } from 'undici'
import { acpError } from '../../../shared/acp/errors.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { CookieJar } from '../cookie-jar.js'
import type { AcpClientSettings } from '../options.js'
import type { RejectedResponse } from '../rejection.js'

/** A request, without the headers that all requests have. */
export interface HttpRequest {
  readonly method: 'POST' | 'GET' | 'DELETE'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** until the end of the response, of a stream until its head */
  readonly timeoutMs: number
}

/** A response whose body was read. */
export interface HttpResponse extends RejectedResponse {}

/** The response to a GET. The caller reads the body and destroys the stream. */
export interface HttpStream {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Readable
}

/** bytes of the body of a rejection that are read */
const maxRejectionBytes = 16 * 1024

/** Sends requests. Redirects are not followed, because headers hold credentials. */
export class Exchange {
  readonly #settings: AcpClientSettings
  readonly #agent: Agent
  readonly #cookies = new CookieJar()
  readonly #live = new Set<AbortController>()
  /** errors of connections that were not made */
  readonly #unconnected = new WeakSet<object>()

  constructor(settings: AcpClientSettings) {
    this.#settings = settings
    // Requests have time limits of their own; streams have none.
    const connect = buildConnector({ ...settings.tls, timeout: settings.times.responseTimeoutMs + 1_000 })
    this.#agent = new Agent({
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: (options, callback) =>
        connect(options, (...result) => {
          if (result[0]) this.#unconnected.add(result[0])
          callback(...result)
        }),
    })
  }

  /**
   * Sends a request and reads the response.
   * @param maxBytes of the body of a success
   * @throws RpcError unreachable, response_lost, response_timeout, message_too_large
   */
  async send(request: HttpRequest, maxBytes = maxRejectionBytes): Promise<HttpResponse> {
    return this.#exchange(request, async ({ status, headers, body }) => {
      const isSuccess = status >= 200 && status < 300
      const { text, isWhole } = await readText(body, isSuccess ? maxBytes : maxRejectionBytes)
      if (isSuccess && !isWhole) {
        const limit = maxBytes.toLocaleString('en')
        throw acpError('message_too_large', `the response is larger than maxMessageBytes ${limit}`, {
          mayHaveRun: true,
        })
      }
      return { status, headers, text }
    })
  }

  /**
   * Sends a GET and returns its head; the body of another status than 200 is read.
   * @throws RpcError unreachable, response_lost, response_timeout
   */
  open(request: HttpRequest): Promise<HttpStream | HttpResponse> {
    return this.#exchange(request, async stream => {
      // A stream that is destroyed before it has a reader would end the process.
      stream.body.on('error', () => {})
      if (stream.status === 200) return stream
      const { text } = await readText(stream.body, maxRejectionBytes)
      return { status: stream.status, headers: stream.headers, text }
    })
  }

  /** Cuts all requests and connections off. */
  async destroy(): Promise<void> {
    for (const abort of this.#live) abort.abort()
    await this.#agent.destroy()
  }

  async #exchange<T>(request: HttpRequest, read: (stream: HttpStream) => Promise<T>): Promise<T> {
    const { url, headers } = this.#settings
    const { method, timeoutMs } = request
    const cookie = this.#cookies.headerFor(url)
    const abort = new AbortController()
    this.#live.add(abort)
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      abort.abort()
    }, timeoutMs)
    try {
      const response = await this.#agent.request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method,
        headers: { ...headers, ...request.headers, ...(cookie !== undefined && { cookie }) },
        body: request.body ?? null,
        signal: abort.signal,
      })
      this.#cookies.store(response.headers['set-cookie'], url)
      return await read({ status: response.statusCode, headers: response.headers, body: response.body })
    } catch (cause) {
      if (cause instanceof RpcError) throw cause
      throw this.#errorOf(method, cause, isLate ? timeoutMs : undefined)
    } finally {
      clearTimeout(timer)
      this.#live.delete(abort)
    }
  }

  #errorOf(method: string, cause: unknown, lateAfterMs: number | undefined): RpcError<string> {
    if (lateAfterMs !== undefined) {
      const limit = Math.round(lateAfterMs).toLocaleString('en')
      return acpError('response_timeout', `the ${method} has no response within ${limit} ms`, {
        mayHaveRun: true,
        cause,
      })
    }
    const problem = problemOf(cause)
    if (typeof cause === 'object' && cause !== null && this.#unconnected.has(cause)) {
      return acpError('unreachable', `the server cannot be reached: ${problem}`, { mayHaveRun: false, cause })
    }
    return acpError('response_lost', `the ${method} broke off: ${problem}`, { mayHaveRun: true, cause })
  }
}

function problemOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause)
  // The attempts of a name with several addresses have a message each, and none together.
  return cause.message || String(Reflect.get(cause, 'code') ?? cause.name)
}

/** Reads a body, at most `maxBytes` of it. */
async function readText(body: Readable, maxBytes: number): Promise<{ text: string; isWhole: boolean }> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body) {
    const part = chunk as Buffer // a body without an encoding has no other chunks
    bytes += part.length
    if (bytes > maxBytes) {
      chunks.push(part.subarray(0, part.length - (bytes - maxBytes)))
      // Leaving the loop destroys the body.
      return { text: Buffer.concat(chunks).toString(), isWhole: false }
    }
    chunks.push(part)
  }
  return { text: Buffer.concat(chunks).toString(), isWhole: true }
}
