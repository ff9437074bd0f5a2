/** The HTTP requests of a session with an MCP server: the user's token, and bounds of each response. */
import { toolLimits } from '../../../shared/contract/limits.js'
import type { ServerToken } from './server-directory.js'

/** The function that the MCP client calls in place of `fetch`. */
export type SessionFetch = (url: string | URL, init?: RequestInit) => Promise<Response>

/** Options of {@link createSessionFetch}. */
export interface SessionFetchOptions {
  /** Returns the user's token; another one than `rejected` if that is given. */
  token: (rejected: string | undefined, signal: AbortSignal | undefined) => Promise<ServerToken>
  /** replaced by tests */
  fetch?: SessionFetch
  maxResponseBytes?: number
}

/** The user has no token that the server takes. */
export class TokenMissing extends Error {
  override readonly name = 'TokenMissing'
}

/** A response of the server is larger than its bound. */
export class ResponseTooLarge extends Error {
  override readonly name = 'ResponseTooLarge'
}

/**
 * Makes a `fetch` that sends the user's token. A response 401 has the token read again, once for each request. Streams
 * that serve no request are not opened: a session would hold a socket for notifications that nobody reads.
 */
export function createSessionFetch(options: SessionFetchOptions): SessionFetch {
  const { token, fetch: send = fetch, maxResponseBytes = toolLimits.maxResponseBytes } = options
  return async (url, init = {}) => {
    const headers = new Headers(init.headers)
    if (init.method === 'GET' && !headers.has('last-event-id')) return new Response(null, { status: 405 })
    const signal = init.signal ?? undefined
    const first = await tokenOf(undefined, signal)
    const response = await send(url, { ...init, headers: withToken(headers, first) })
    if (response.status !== 401 || first === undefined) return bounded(response, maxResponseBytes)
    await response.body?.cancel().catch(() => {}) // the connection is of no further use
    const second = await tokenOf(first, signal)
    return bounded(await send(url, { ...init, headers: withToken(headers, second) }), maxResponseBytes)
  }

  async function tokenOf(rejected: string | undefined, signal: AbortSignal | undefined): Promise<string | undefined> {
    const found = await token(rejected, signal)
    if ('error' in found) throw new TokenMissing(found.error)
    return found.token
  }
}

function withToken(headers: Headers, token: string | undefined): Headers {
  const all = new Headers(headers)
  if (token !== undefined) all.set('authorization', `Bearer ${token}`)
  return all
}

/** Copies a response, whose body fails above `maxBytes`. */
function bounded(response: Response, maxBytes: number): Response {
  if (!response.body) return response
  let bytes = 0
  const body = response.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        bytes += chunk.length
        if (bytes <= maxBytes) return controller.enqueue(chunk)
        const limit = maxBytes.toLocaleString('en')
        controller.error(new ResponseTooLarge(`a response of the server is larger than ${limit} bytes`))
      },
    }),
  )
  const { status, statusText, headers } = response
  return new Response(body, { status, statusText, headers })
}
