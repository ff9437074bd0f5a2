/** Calls to providers. */
import { Agent, type Dispatcher } from 'undici'
import { type ResponseReceiver, UpstreamCall, type UpstreamLimits } from './upstream-call.js'
import { abortedBy } from './upstream-error.js'

export interface UpstreamRequest {
  origin: string
  /** path and query as they are to stand on the request line */
  path: string
  method: string
  /** names and values alternate */
  headers: string[]
  body: Buffer
}

/** Connection pools, one per origin. Redirects are answers like any other. */
export class Upstream {
  readonly #agent: Agent
  readonly #limits: UpstreamLimits

  constructor(limits: UpstreamLimits) {
    this.#limits = limits
    // The timeouts are this file's: undici's have a resolution of half a second and do not know what a call waits for.
    const connect = { timeout: limits.upstreamConnectTimeoutMs + 1_000 }
    this.#agent = new Agent({ headersTimeout: 0, bodyTimeout: 0, connect })
  }

  /**
   * Resolves when the whole answer was received and taken.
   * @throws UpstreamError if the provider cannot be reached, dies, stalls longer than a limit, or `signal` aborts (its reason is the cause)
   */
  send(request: UpstreamRequest, receiver: ResponseReceiver, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(abortedBy(signal))
      const call = new UpstreamCall(receiver, this.#limits, signal, resolve, reject)
      const { origin, path, headers, body } = request
      const method = request.method as Dispatcher.HttpMethod // undici takes any token; its type lists the common ones
      try {
        this.#agent.dispatch({ origin, path, method, headers, body: body.length > 0 ? body : null }, call)
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
