/** One call to a provider. Received bytes are passed on at once and not kept. */
import type { Dispatcher } from 'undici'
import type { BridgeLimits } from '../../../shared/contract/limits.js'
import { type ResponseHead, responseHeaders } from '../wire/headers.js'
import { abortedBy, UpstreamError, type UpstreamFailure } from './upstream-error.js'

/** Takes a response. An error of the receiver ends the call. */
export interface ResponseReceiver {
  /** Takes the final status line and the headers, once; 1xx responses are dropped. */
  head(head: ResponseHead): void
  /** Takes one chunk of the body. While the promise is pending, the bridge reads nothing from the provider. */
  chunk(chunk: Buffer): Promise<void> | undefined
}

/** The time limits of a call, in milliseconds; 0 is none. */
export type UpstreamLimits = Pick<
  BridgeLimits,
  'upstreamConnectTimeoutMs' | 'upstreamHeadersTimeoutMs' | 'upstreamIdleTimeoutMs'
>

/**
 * One call:
 * ```
 * connecting ──written──▶ waiting ──status──▶ receiving ──end──▶ settled
 *      └──────────── error, timeout, abort ───────┴──────────────▲
 * ```
 */
export class UpstreamCall implements Dispatcher.DispatchHandler {
  readonly #receiver: ResponseReceiver
  readonly #limits: UpstreamLimits
  readonly #signal: AbortSignal
  readonly #resolve: () => void
  readonly #reject: (error: UpstreamError) => void
  #state: 'connecting' | 'waiting' | 'receiving' | 'settled' = 'connecting'
  #controller: Dispatcher.DispatchController | undefined
  #timer: NodeJS.Timeout | undefined
  #held: Promise<void> | undefined

  constructor(
    receiver: ResponseReceiver,
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
    this.#startTimer('headers_timeout', this.#limits.upstreamHeadersTimeoutMs, 'the provider did not begin to respond')
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
    clearTimeout(this.#timer) // a slow client is no silence of the provider
    this.#held = held.then(
      () => {
        this.#held = undefined
        if (this.#state === 'settled') return
        this.#startIdleTimer()
        controller.resume()
      },
      (error: unknown) => this.#fail(new UpstreamError('aborted', 'the response could not be passed on', error)),
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
    // The receiver takes all chunks before the failure first.
    if (this.#held) void this.#held.then(() => this.#fail(failure))
    else this.#fail(failure)
  }

  readonly #onAbort = (): void => this.#fail(abortedBy(this.#signal))

  #startIdleTimer(): void {
    this.#startTimer('idle_timeout', this.#limits.upstreamIdleTimeoutMs, 'the provider was silent inside its response')
  }

  #startTimer(failure: UpstreamFailure, timeoutMs: number, what: string): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (timeoutMs === 0) return
    const message = `${what} within ${timeoutMs.toLocaleString('en')} ms`
    this.#timer = setTimeout(() => this.#fail(new UpstreamError(failure, message)), timeoutMs)
  }

  #fail(error: UpstreamError): void {
    if (!this.#settle()) return
    this.#reject(error)
    this.#controller?.abort(error)
  }

  /** Returns whether the call was not settled before. */
  #settle(): boolean {
    if (this.#state === 'settled') return false
    this.#state = 'settled'
    clearTimeout(this.#timer)
    this.#signal.removeEventListener('abort', this.#onAbort)
    return true
  }
}

/** State of a call → the meaning of an error of the connection. */
const failures = {
  connecting: { failure: 'unreachable', message: 'the provider could not be reached' },
  waiting: { failure: 'died', message: 'the provider closed the connection without a response' },
  receiving: { failure: 'died', message: 'the provider closed the connection inside its response' },
} as const

/**
 * Returns the raw headers of undici, which are buffers, as text. Header bytes are latin1 (RFC 9110, section 5.5), which
 * keeps any byte.
 */
function textHeaders(raw: Dispatcher.DispatchController['rawHeaders']): string[] {
  if (!Array.isArray(raw)) return []
  return raw.map(item => (typeof item === 'string' ? item : item.toString('latin1')))
}

/**
 * Copies an error of undici's parser without the bytes that could not be parsed, which are the client's and must not
 * reach a log.
 */
function withoutData(error: unknown): unknown {
  if (!(error instanceof Error) || !('data' in error)) return error
  return Object.assign(new Error(error.message), { name: error.name, code: Reflect.get(error, 'code') })
}

/** Returns the code of an error, else the name. */
function codeOf(error: unknown): string {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
  if (typeof code === 'string') return code
  return error instanceof Error ? error.name : 'no code'
}
