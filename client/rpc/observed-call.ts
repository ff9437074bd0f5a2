import type { CallEnd } from '../../shared/rpc/call-end.js'
import { now } from '../../shared/rpc/deadlines.js'
import { errorCodeOf } from '../../shared/rpc/errors.js'
import type { CallFailure, CallObserver, CallOptions } from './call-observer.js'

/**
 * Stands before a call's own observer and reports the call's end to a second observer, once. Errors of the second
 * observer are ignored.
 */
export class ObservedCall implements CallObserver {
  readonly #options: CallOptions
  readonly #observer: CallObserver
  readonly #onCallEnd: (end: CallEnd) => void
  readonly #startedAt = now()
  #ended = false

  constructor(options: CallOptions, observer: CallObserver, onCallEnd: (end: CallEnd) => void) {
    this.#options = options
    this.#observer = observer
    this.#onCallEnd = onCallEnd
  }

  onStarted(): void {
    this.#observer.onStarted?.()
  }

  onData(data: unknown, eventId?: string, bytes?: number): void {
    if (this.#options.type !== 'subscription') this.#end(undefined)
    this.#observer.onData(data, eventId, bytes)
  }

  onError(failure: CallFailure): void {
    if (!this.#ended) this.#end(this.#codeOf(failure))
    this.#observer.onError(failure)
  }

  onStopped(): void {
    this.#end(undefined)
    this.#observer.onStopped?.()
  }

  /** Reports that the caller has dropped the call: the usual end of a subscription, an error for any other call. */
  cancelled(): void {
    this.#end(this.#options.type === 'subscription' ? undefined : 'CLIENT_CLOSED_REQUEST')
  }

  #codeOf(failure: CallFailure): string {
    if ('local' in failure) return failure.local.code
    try {
      // A copy: decoding takes the message over, and the observer decodes the message later.
      return errorCodeOf(this.#observer.decodeError?.(structuredClone(failure.remote))) ?? 'unknown'
    } catch {
      return 'unknown'
    }
  }

  #end(code: string | undefined): void {
    if (this.#ended) return
    this.#ended = true
    const { type, path } = this.#options
    try {
      this.#onCallEnd({ type, path, code, durationMs: now() - this.#startedAt })
    } catch {
      // The call goes on, and no other observer is left.
    }
  }
}
