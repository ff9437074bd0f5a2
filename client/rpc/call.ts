import type { Deadline } from '../../shared/rpc/deadlines.js'
import { RpcError } from '../../shared/rpc/errors.js'
import type { CallMessage } from '../../shared/rpc/messages.js'
import type { CallFailure, CallObserver, CallOptions } from './call-observer.js'
import type { LiveDuplex } from './live-duplex.js'

/** The connection's functions that a call needs. */
interface Owner {
  cancel(call: PendingCall): void
  forget(call: PendingCall): void
  /** why no connection is open */
  readonly lastFailure: string | undefined
}

/**
 * One call until its end: its place in the connection, its deadline and its caller's signal.
 *
 * ```
 * queued ──a free duplex──▶ (a live duplex) ──response, error, cancel, deadline──▶ settled
 *    ▲────the duplex closes or moves─────┘
 * ```
 */
export class PendingCall implements Deadline {
  readonly id: number
  readonly options: CallOptions
  readonly observer: CallObserver
  readonly #owner: Owner
  deadlineAt = Infinity
  previousDeadline: Deadline | undefined
  nextDeadline: Deadline | undefined
  lastEventId: string | undefined
  /** A live duplex is the one that the call was sent on. */
  place: 'queued' | LiveDuplex<PendingCall> | 'settled' = 'queued'
  /** how often the call was sent */
  sends = 0
  sentAs = 0
  #onAbort: (() => void) | undefined

  constructor(id: number, options: CallOptions, observer: CallObserver, owner: Owner) {
    this.id = id
    this.options = options
    this.observer = observer
    this.lastEventId = options.lastEventId
    this.#owner = owner
  }

  /** Whether the server may have begun to run the procedure. */
  get mayHaveRun(): boolean {
    const { place } = this
    const isExcluded = typeof place === 'object' && place.excludesStart(this)
    return this.sends > (isExcluded ? 1 : 0)
  }

  /**
   * Returns the call's message, with the rest of the call's time.
   * @param time on the clock of `now()`
   */
  message(time: number): CallMessage {
    const { type, path, input } = this.options
    const params: CallMessage['params'] = { path, input }
    if (this.lastEventId !== undefined) params.lastEventId = this.lastEventId
    if (this.deadlineAt !== Infinity) params.timeoutMs = Math.max(0, Math.round(this.deadlineAt - time))
    return { id: this.id, method: type, params }
  }

  /** Settles the call with an error. Never throws: other calls may have to fail after this one. */
  fail(error: RpcError<string>): void {
    this.failWith({ local: error })
  }

  /** Settles the call with a failure, as {@link fail}. */
  failWith(failure: CallFailure): void {
    if (this.place === 'settled') return
    this.#owner.forget(this)
    this.#report(failure)
  }

  onDeadline(): void {
    if (this.place === 'settled') return
    const { mayHaveRun } = this
    const { lastFailure } = this.#owner
    const missing = mayHaveRun ? 'no response' : 'no connection'
    const why = this.place !== 'queued' || lastFailure === undefined ? '' : ` (${lastFailure})`
    this.#end(new RpcError('TIMEOUT', `${this.options.path}: ${missing} before the deadline${why}`, { mayHaveRun }))
  }

  /** Ends the call when the signal aborts. */
  listen(signal: AbortSignal): void {
    this.#onAbort = () => this.#end(cancelledError(signal, this.mayHaveRun))
    signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  unlisten(): void {
    if (this.#onAbort) this.options.signal?.removeEventListener('abort', this.#onAbort)
    this.#onAbort = undefined
  }

  /** Settles the call with an error and asks the server to end the call too. */
  #end(error: RpcError): void {
    if (this.place === 'settled') return
    this.#owner.cancel(this)
    this.#report({ local: error })
  }

  #report(failure: CallFailure): void {
    try {
      this.observer.onError(failure)
    } catch {
      // The observer's fault, which is lost: no other observer is left.
    }
  }
}

/** Returns the error of a call whose caller cancelled it. */
export function cancelledError(signal: AbortSignal | undefined, mayHaveRun: boolean): RpcError {
  return new RpcError('CLIENT_CLOSED_REQUEST', 'the caller cancelled', { mayHaveRun, cause: signal?.reason })
}
