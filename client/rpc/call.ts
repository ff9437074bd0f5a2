import type { Deadline } from '../../shared/rpc/deadlines.js'
import type { Duplex } from '../../shared/rpc/duplex.js'
import { RpcError } from '../../shared/rpc/errors.js'
import type { CallType, WireError } from '../../shared/rpc/messages.js'

/** What a call's owner hears: any number of `onData` for a subscription, one for another call, and then one of the other two, once. */
export interface CallObserver {
  onStarted?(): void
  /** `data` is still encoded by the server's transformer; `eventId` is that of a tracked event. */
  onData(data: unknown, eventId?: string): void
  /** A server's error shape, still encoded, or an error of this side. */
  onError(error: { remote: WireError } | { local: RpcError<string> }): void
  /** A subscription has ended. */
  onStopped?(): void
}

/** One call, as {@link Connection.request} takes it. */
export interface CallOptions {
  type: CallType
  path: string
  /** encoded by the router's transformer */
  input: unknown
  /** a subscription goes on after this event */
  lastEventId?: string | undefined
  /**
   * Deadline of this call, 2^31 - 1 at most; 0 and less have passed, `Infinity` is none. For a subscription there is none unless it is given.
   */
  timeoutMs?: number | undefined
  signal?: AbortSignal | undefined
}

/** What a call needs of its connection. */
interface Owner {
  cancel(call: PendingCall): void
  forget(call: PendingCall): void
  mayHaveRun(call: PendingCall): boolean
  /** why there is no connection */
  readonly lastFailure: string | undefined
}

/** A duplex and the calls that went out on it. */
export interface Line {
  readonly duplex: Duplex
  /** on the clock of `now()` */
  readonly openedAt: number
  /** sent and not answered, by id */
  readonly calls: Map<number, PendingCall>
  /** it has answered a call */
  answered: boolean
}

/** One call until it is settled: its place in the connection, its deadline and its caller's signal. */
export class PendingCall implements Deadline {
  readonly id: number
  readonly options: CallOptions
  readonly observer: CallObserver
  readonly #owner: Owner
  deadlineAt = Infinity
  lastEventId: string | undefined
  /** where it was sent last; undefined while it waits */
  line: Line | undefined
  /** how often it went out */
  sends = 0
  settled = false
  #onAbort: (() => void) | undefined

  constructor(id: number, options: CallOptions, observer: CallObserver, owner: Owner) {
    this.id = id
    this.options = options
    this.observer = observer
    this.lastEventId = options.lastEventId
    this.#owner = owner
  }

  /** Never throws: an observer that does is its owner's fault, and there may be other calls to fail after this one. */
  fail(error: RpcError<string>): void {
    if (this.settled) return
    this.#owner.forget(this)
    try {
      this.observer.onError({ local: error })
    } catch {
      // The error that it was to hear is lost with it.
    }
  }

  onDeadline(): void {
    if (this.settled) return
    const mayHaveRun = this.#owner.mayHaveRun(this)
    const { lastFailure } = this.#owner
    const waited = mayHaveRun ? 'no answer' : 'no connection'
    const why = this.line || lastFailure === undefined ? '' : ` (${lastFailure})`
    const message = `${this.options.path}: ${waited} before the deadline${why}`
    this.#endBy(new RpcError('TIMEOUT', message, { mayHaveRun }))
  }

  listen(signal: AbortSignal): void {
    this.#onAbort = () => this.#endBy(cancelledError(signal, this.#owner.mayHaveRun(this)))
    signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  unlisten(): void {
    if (this.#onAbort) this.options.signal?.removeEventListener('abort', this.#onAbort)
    this.#onAbort = undefined
  }

  #endBy(error: RpcError): void {
    if (this.settled) return
    this.#owner.cancel(this)
    try {
      this.observer.onError({ local: error })
    } catch {
      // As in fail().
    }
  }
}

/** The error of a call whose caller cancelled it. */
export function cancelledError(signal: AbortSignal | undefined, mayHaveRun: boolean): RpcError {
  return new RpcError('CLIENT_CLOSED_REQUEST', 'the caller cancelled', { mayHaveRun, cause: signal?.reason })
}

/** The call whose message is the largest, if there is one. */
export function largestOf(calls: readonly PendingCall[]): PendingCall[] {
  let largest: PendingCall | undefined
  let largestLength = -1
  for (const call of calls) {
    const length = lengthOf(call.options)
    if (length <= largestLength) continue
    largest = call
    largestLength = length
  }
  return largest ? [largest] : []
}

function lengthOf({ path, input }: CallOptions): number {
  try {
    return JSON.stringify([path, input]).length
  } catch {
    return 0 // it was sent once, so it is an input that has changed since
  }
}
