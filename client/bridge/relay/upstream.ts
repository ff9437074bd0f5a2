/**
 * Calls providers.
 *
 * All of undici takes 0.1 s of each start, and replaces the dispatcher of Node's own `fetch`, so the two parts are
 * imported by file.
 */
import type { Dispatcher } from 'undici'
import buildConnector from 'undici/lib/core/connect.js'
import Agent from 'undici/lib/dispatcher/agent.js'
import { dropInterimResponses } from './interim-responses.js'
import type { OutgoingBody } from './outgoing-body.js'
import { type ResponseReceiver, UpstreamCall, type UpstreamLimits } from './upstream-call.js'
import { abortedBy } from './upstream-error.js'

/** A request to a provider. */
export interface UpstreamRequest {
  /** scheme, host and port */
  origin: string
  /** path and query of the request line */
  path: string
  method: string
  /** names and values alternate */
  headers: string[]
  body: OutgoingBody
  /** the provider's own time limits, which win over those of the server */
  limits?: Partial<UpstreamLimits> | undefined
  /** returns how long the call goes on when its signal aborts, in milliseconds; default: it ends at once */
  lingerMs?: (() => number) | undefined
}

/** Keeps a pool of connections for each origin. Redirects are not followed: they pass like any other response. */
export class Upstream {
  readonly #agent: Agent
  readonly #limits: UpstreamLimits

  constructor(limits: UpstreamLimits) {
    const { upstreamConnectTimeoutMs, upstreamHeadersTimeoutMs, upstreamIdleTimeoutMs } = limits
    this.#limits = { upstreamConnectTimeoutMs, upstreamHeadersTimeoutMs, upstreamIdleTimeoutMs }
    // Calls have timeouts of their own: undici's have a resolution of half a second and ignore the state of a call.
    const connect = buildConnector({ timeout: upstreamConnectTimeoutMs + 1_000 })
    this.#agent = new Agent({
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: (options, callback) =>
        connect(options, (...result) => {
          const [, socket] = result
          if (socket) dropInterimResponses(socket)
          callback(...result)
        }),
    })
  }

  /**
   * Calls a provider. Resolves when the receiver has taken the whole response.
   * @throws UpstreamError if the provider cannot be reached, dies, stalls longer than a limit, or `signal` aborts (its
   *   reason is the cause)
   */
  send(request: UpstreamRequest, receiver: ResponseReceiver, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(abortedBy(signal))
      const limits = request.limits ? { ...this.#limits, ...request.limits } : this.#limits
      const call = new UpstreamCall(receiver, limits, signal, request.lingerMs ?? atOnce, resolve, reject)
      const { origin, path } = request
      const method = request.method as Dispatcher.HttpMethod // undici takes any token; its type lists the common ones
      try {
        this.#agent.dispatch({ origin, path, method, ...contentOf(request) }, call)
      } catch (error) {
        call.onResponseError(undefined, error)
      }
    })
  }

  /** Closes every connection; calls in flight fail. */
  close(): Promise<void> {
    return this.#agent.destroy()
  }
}

const atOnce = () => 0

/** Returns headers and body as undici takes them; the length of a stream is given by a header. */
function contentOf({ headers, body }: UpstreamRequest): Pick<Dispatcher.DispatchOptions, 'headers' | 'body'> {
  const { length, content } = body
  if (content === null || Buffer.isBuffer(content)) return { headers, body: content }
  return { headers: [...headers, 'content-length', String(length)], body: content }
}
