/** The call to the provider: what is received is passed on as it comes, nothing is kept. */
import { Agent, type Dispatcher } from 'undici'
import type { BridgeLimits } from '../../../shared/contract/limits.js'
import { type AnswerHead, responseHeaders } from '../wire/headers.js'

export interface UpstreamRequest {
  origin: string
  /** path and query as they are to stand on the request line */
  path: string
  method: string
  /** names and values alternate */
  headers: string[]
  body: Buffer
}

/** Takes an answer. What it throws or rejects with ends the call. */
export interface AnswerReceiver {
  /** Once, for the final status (1xx answers are dropped). */
  head(head: AnswerHead): void
  /** One piece of the body. While the promise is pending the provider is not read from. */
  chunk(chunk: Buffer): Promise<void> | undefined
}

type UpstreamFailure = 'unreachable' | 'died' | 'aborted' | 'connect_timeout' | 'headers_timeout' | 'idle_timeout'

/** Why a call to a provider did not end well. Its message names no address and may be shown to the client. */
export class UpstreamError extends Error {
  readonly failure: UpstreamFailure

  constructor(failure: UpstreamFailure, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.failure = failure
  }

  get timedOut(): boolean {
    return this.failure.endsWith('_timeout')
  }
}

type UpstreamLimits = Pick<
  BridgeLimits,
  'upstreamConnectTimeoutMs' | 'upstreamHeadersTimeoutMs' | 'upstreamIdleTimeoutMs'
>

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
  send(request: UpstreamRequest, receiver: AnswerReceiver, signal: AbortSignal): Promise<void> {
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

/**
 * One call:
 * ```
 * connecting ──written──▶ waiting ──status──▶ receiving ──end──▶ settled
 *      └──────────── error, timeout, abort ───────┴──────────────▲
 * ```
 */
class UpstreamCall implements Dispatcher.DispatchHandler {
  readonly #receiver: AnswerReceiver
  readonly #limits: UpstreamLimits
  readonly #signal: AbortSignal
  readonly #resolve: () => void
  readonly #reject: (error: UpstreamError) => void
  #state: 'connecting' | 'waiting' | 'receiving' | 'settled' = 'connecting'
  #controller: Dispatcher.DispatchController | undefined
  #timer: NodeJS.Timeout | undefined
  #held: Promise<void> | undefined

  constructor(
    receiver: AnswerReceiver,
    limits: UpstreamLimits,
    signal: AbortSignal,
    resolve: () => void,
    reject: (error: UpstreamError) => void,
  ) {
    this.#receiver = receiver
    this.#limits = limits
    this.#signal = signal
    this.#resolve = resolve
    this.#reject = reject
    signal.addEventListener('abort', this.#onAbort, { once: true })
    this.#startTimer('connect_timeout', limits.upstreamConnectTimeoutMs, 'the provider did not accept the connection')
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#state === 'settled') return controller.abort(new Error('the call is over'))
    this.#state = 'waiting'
    this.#startTimer('headers_timeout', this.#limits.upstreamHeadersTimeoutMs, 'the provider did not begin to answer')
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, _headers: unknown, statusText = ''): void {
    if (status < 200 || this.#state === 'settled') return
    this.#state = 'receiving'
    this.#startIdleTimer()
    this.#receiver.head({ status, statusText, headers: responseHeaders(textHeaders(controller.rawHeaders)) })
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#state === 'settled') return
    this.#timer?.refresh()
    const held = this.#receiver.chunk(chunk)
    if (!held) return
    controller.pause()
    clearTimeout(this.#timer)
    this.#held = held.then(
      () => {
        this.#held = undefined
        if (this.#state === 'settled') return
        this.#startIdleTimer()
        controller.resume()
      },
      (error: unknown) => this.#fail(new UpstreamError('aborted', 'the answer could not be taken', error)),
    )
  }

  onResponseEnd(): void {
    const held = this.#held ?? Promise.resolve()
    void held.then(() => {
      if (this.#settle()) this.#resolve()
    })
  }

  onResponseError(_controller: unknown, error: unknown): void {
    const failed = failures[this.#state === 'settled' ? 'receiving' : this.#state]
    const failure = new UpstreamError(failed.failure, `${failed.message} (${codeOf(error)})`, withoutData(error))
    // What came before the failure is taken first.
    if (this.#held) void this.#held.then(() => this.#fail(failure))
    else this.#fail(failure)
  }

  readonly #onAbort = (): void => this.#fail(abortedBy(this.#signal))

  #startIdleTimer(): void {
    this.#startTimer('idle_timeout', this.#limits.upstreamIdleTimeoutMs, 'the provider was silent inside its answer')
  }

  #startTimer(failure: UpstreamFailure, timeoutMs: number, what: string): void {
    clearTimeout(this.#timer)
    const message = `${what} within ${timeoutMs.toLocaleString('en')} ms`
    this.#timer = setTimeout(() => this.#fail(new UpstreamError(failure, message)), timeoutMs)
  }

  #fail(error: UpstreamError): void {
    if (!this.#settle()) return
    this.#reject(error)
    this.#controller?.abort(error)
  }

  /** Whether this call was the first. */
  #settle(): boolean {
    if (this.#state === 'settled') return false
    this.#state = 'settled'
    clearTimeout(this.#timer)
    this.#signal.removeEventListener('abort', this.#onAbort)
    return true
  }
}

/** What an error of the connection means, by state. */
const failures = {
  connecting: { failure: 'unreachable', message: 'the provider could not be reached' },
  waiting: { failure: 'died', message: 'the provider closed the connection without an answer' },
  receiving: { failure: 'died', message: 'the provider closed the connection inside its answer' },
} as const

function abortedBy(signal: AbortSignal): UpstreamError {
  const reason: unknown = signal.reason
  return new UpstreamError('aborted', reason instanceof Error ? reason.message : 'the request was aborted', reason)
}

/** undici gives raw headers as buffers; header bytes are latin1 (RFC 9110, section 5.5), which keeps any byte. */
function textHeaders(raw: Dispatcher.DispatchController['rawHeaders']): string[] {
  if (!Array.isArray(raw)) return []
  return raw.map(item => (typeof item === 'string' ? item : item.toString('latin1')))
}

/** An error of undici's parser holds the bytes that it did not understand; they are the client's, and must not reach a log. */
function withoutData(error: unknown): unknown {
  if (!(error instanceof Error) || !('data' in error)) return error
  return Object.assign(new Error(error.message), { name: error.name, code: Reflect.get(error, 'code') })
}

/** What names the error; some have no code. */
function codeOf(error: unknown): string {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
  if (typeof code === 'string') return code
  return error instanceof Error ? error.name : 'no code'
}
