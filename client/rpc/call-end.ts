import { now } from '../../shared/rpc/deadlines.js'
import { RpcError } from '../../shared/rpc/errors.js'
import type { CallObserver, CallOptions } from './call.js'

/** A call that has ended, for statistics. */
export interface CallEnd extends Pick<CallOptions, 'type' | 'path'> {
  /** from the call to its end, waiting for a connection included */
  durationMs: number
  /** undefined: it was answered, or its subscription came to its end. What is remote is still encoded, and not the observer's to change. */
  error: Parameters<CallObserver['onError']>[0] | undefined
}

/** Stands before a call's own observer and tells another of its end, once. What that one throws is left aside. */
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

  onData(data: unknown, eventId?: string): void {
    if (this.#options.type !== 'subscription') this.#end(undefined)
    this.#observer.onData(data, eventId)
  }

  onError(error: Parameters<CallObserver['onError']>[0]): void {
    this.#end(error)
    this.#observer.onError(error)
  }

  onStopped(): void {
    this.#end(undefined)
    this.#observer.onStopped?.()
  }

  /** Its owner has dropped it: the way in which a subscription is ended, and an error for any other call. */
  cancelled(): void {
    const { type } = this.#options
    this.#end(
      type === 'subscription' ? undefined : { local: new RpcError('CLIENT_CLOSED_REQUEST', 'the caller cancelled') },
    )
  }

  #end(error: CallEnd['error']): void {
    if (this.#ended) return
    this.#ended = true
    const { type, path } = this.#options
    try {
      this.#onCallEnd({ type, path, durationMs: now() - this.#startedAt, error })
    } catch {
      // The call goes its way, and there is nobody else to tell.
    }
  }
}
