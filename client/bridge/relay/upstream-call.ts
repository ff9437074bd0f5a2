/** One call to a provider. Received bytes are passed on at once and not kept. */
import type { Dispatcher } from 'undici'
import type { BridgeLimits } from '../../../shared/contract/limits.js'
import { type ResponseHead, responseHeaders } from '../wire/headers.js'
import { abortedBy, UpstreamError, type UpstreamFailure } from './upstream-error.js'

/** Takes a response. An error of the receiver ends the call. */
export interface ResponseReceiver {
  /** Takes the final status line and the headers, once; 1xx responses are dropped. */
  head(head: ResponseHead): void
  /**
   * Takes a part of the body: all that arrived in one turn of the event loop. While the promise is pending, the bridge
   * reads nothing from the provider.
   * @param isLast whether nothing follows; a body may also end behind a part that was not known to be the last
   */
  chunk(chunk: Buffer, isLast: boolean): Promise<void> | undefined
}

/** The time limits of a call, in milliseconds; 0 is none. */
export type UpstreamLimits = Pick<
  BridgeLimits,
  'upstreamConnectTimeoutMs' | 'upstreamHeadersTimeoutMs' | 'upstreamIdleTimeoutMs'
>

/**
 * One call:
 * ```
 * connecting ──written──▶ waiting ──status──▶ receiving ──end──▶ received ──all handed over──▶ settled
 *      └──────────── error, timeout, abort ───────┴──────────────────┴─────────────────────────▲
 * ```
 * The chunks of one turn of the event loop go to the receiver at the end of the turn, as one part: a packet may hold a
 * hundred chunks, and a part costs several times more than its bytes.
 */
export class UpstreamCall implements Dispatcher.DispatchHandler {
  readonly #receiver: ResponseReceiver
  readonly #limits: UpstreamLimits
  readonly #signal: AbortSignal
  readonly #lingerMs: () => number
  readonly #resolve: () => void
  readonly #reject: (error: UpstreamError) => void
  #state: 'connecting' | 'waiting' | 'receiving' | 'received' | 'settled' = 'connecting'
  #controller: Dispatcher.DispatchController | undefined
  #timer: NodeJS.Timeout | undefined
  /** set while the call goes on behind an abort */
  #lingering: NodeJS.Timeout | undefined
  /** received in this turn, or while the receiver held the response */
  #head: ResponseHead | undefined
  #chunks: Buffer[] = []
  #held: Promise<void> | undefined

  /** @param lingerMs returns how long the call goes on when the signal aborts */
  constructor(
    receiver: ResponseReceiver,
    limits: UpstreamLimits,
    signal: AbortSignal,
    lingerMs: () => number,
    resolve: () => void,
    reject: (error: UpstreamError) => void,
  ) {
    this.#receiver = receiver
    this.#limits = limits
    this.#signal = signal
    this.#lingerMs = lingerMs
    this.#resolve = resolve
    this.#reject = reject
    signal.addEventListener('abort', this.#onAbort, { once: true })
    this.#startTimer('connect_timeout', limits.upstreamConnectTimeoutMs)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#state === 'settled') return controller.abort(new Error('the call is over'))
    this.#state = 'waiting'
    this.#startTimer('headers_timeout', this.#limits.upstreamHeadersTimeoutMs)
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, _headers: unknown, statusText = ''): void {
    if (status < 200 || this.#state === 'settled') return
    this.#state = 'receiving'
    this.#startTimer('idle_timeout', this.#limits.upstreamIdleTimeoutMs)
    this.#head = { status, statusText, headers: responseHeaders(textHeaders(controller.rawHeaders)) }
    queueMicrotask(() => this.#handOver())
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#state === 'settled') return
    if (this.#chunks.push(chunk) === 1) queueMicrotask(() => this.#handOver())
  }

  onResponseEnd(): void {
    if (this.#state === 'settled') return
    this.#state = 'received'
    queueMicrotask(() => this.#handOver())
  }

  /** Gives the receiver all that has arrived, unless it holds the response, and settles the call at the end. */
  #handOver(): void {
    if (this.#held || this.#state === 'settled') return
    try {
      const head = this.#head
      this.#head = undefined
      if (head) this.#receiver.head(head)
      if (this.#chunks.length > 0) this.#handOverChunks()
    } catch (error) {
      this.#fail(new UpstreamError('aborted', 'the response could not be passed on', error))
    }
    if (this.#state === 'received' && !this.#held && this.#settle()) this.#resolve()
  }

  #handOverChunks(): void {
    const [only] = this.#chunks
    const chunk = only && this.#chunks.length === 1 ? only : Buffer.concat(this.#chunks)
    this.#chunks = []
    this.#timer?.refresh()
    const held = this.#receiver.chunk(chunk, this.#state === 'received')
    if (!held) return
    this.#controller?.pause()
    clearTimeout(this.#timer) // a slow client is no silence of the provider
    this.#held = held.then(
      () => {
        this.#held = undefined
        this.#handOver()
        if (this.#held || this.#state === 'settled') return
        this.#startTimer('idle_timeout', this.#limits.upstreamIdleTimeoutMs)
        this.#controller?.resume()
      },
      (error: unknown) => this.#fail(new UpstreamError('aborted', 'the response could not be passed on', error)),
    )
  }

  onResponseError(_controller: unknown, error: unknown): void {
    const failed = failures[this.#state]
    const failure = new UpstreamError(failed.failure, `${failed.message} (${codeOf(error)})`, withoutData(error))
    // The receiver takes all chunks before the failure first.
    this.#handOver()
    if (this.#held) void this.#held.then(() => this.#fail(failure))
    else this.#fail(failure)
  }

  readonly #onAbort = (): void => {
    const end = () => this.#fail(abortedBy(this.#signal))
    const lingerMs = this.#lingerMs()
    if (lingerMs > 0) this.#lingering = setTimeout(end, lingerMs)
    else end()
  }

  #startTimer(limit: keyof typeof timeouts, timeoutMs: number): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (timeoutMs === 0) return
    this.#timer = setTimeout(() => {
      const message = `${timeouts[limit]} within ${timeoutMs.toLocaleString('en')} ms`
      this.#fail(new UpstreamError(limit, message))
    }, timeoutMs)
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
    clearTimeout(this.#lingering)
    this.#signal.removeEventListener('abort', this.#onAbort)
    return true
  }
}

const diedInside = { failure: 'died', message: 'the provider closed the connection inside its response' } as const

/** State of a call → the meaning of an error of the connection. */
const failures = {
  connecting: { failure: 'unreachable', message: 'the provider could not be reached' },
  waiting: { failure: 'died', message: 'the provider closed the connection without a response' },
  receiving: diedInside,
  received: diedInside,
  settled: diedInside,
} as const

/** Failure of a time limit → what had to come within the limit. */
const timeouts = {
  connect_timeout: 'the provider did not accept the connection',
  headers_timeout: 'the provider did not begin to respond',
  idle_timeout: 'the provider was silent inside its response',
} as const satisfies Partial<Record<UpstreamFailure, string>>

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
