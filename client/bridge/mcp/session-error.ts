import { abortable } from '../../../shared/values/abortable.js'
import { isPlainObject } from '../../../shared/values/text.js'
import { ResponseTooLarge, TokenMissing } from './session-fetch.js'

/** Why a request of a session failed. */
export type SessionFailure =
  /** the server has forgotten the session, and has not run the request */
  | 'session_lost'
  | 'timed_out'
  | 'cancelled'
  | 'no_token'
  | 'too_large'
  /** the server reports an error in place of a result */
  | 'rejected'
  /** no connection, an HTTP error, or bytes that are no MCP */
  | 'broken'

/** The error of a session. The message may hold text of the server, which is for records and logs only. */
export class SessionError extends Error {
  override readonly name = 'SessionError'
  readonly failure: SessionFailure

  constructor(failure: SessionFailure, message: string, cause?: unknown) {
    super(message, { cause })
    this.failure = failure
  }
}

/** A time limit and a caller's signal in one signal, with the reason as an error. */
export class Deadline {
  readonly #controller = new AbortController()
  readonly #timer: NodeJS.Timeout
  readonly #caller: AbortSignal | undefined
  readonly #onAbort = () => this.#controller.abort(new SessionError('cancelled', 'the caller has cancelled'))

  constructor(timeoutMs: number, caller?: AbortSignal | undefined) {
    this.#caller = caller
    this.#timer = setTimeout(
      () => {
        const limit = Math.ceil(timeoutMs).toLocaleString('en')
        this.#controller.abort(new SessionError('timed_out', `no response within ${limit} ms`))
      },
      Math.max(0, timeoutMs),
    )
    if (caller?.aborted) this.#onAbort()
    else caller?.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** aborts with a {@link SessionError} */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** @throws the reason as soon as the signal is aborted */
  race<T>(promise: Promise<T>): Promise<T> {
    return abortable(promise, this.#controller.signal)
  }

  /** Returns the error of this deadline if it has passed, else `thrown`. */
  errorFor(thrown: unknown): SessionError {
    const reason: unknown = this.signal.aborted ? this.signal.reason : thrown
    return reason instanceof SessionError ? reason : sessionErrorOf(reason, false)
  }

  /** Stops the clock, and listens to the caller no more. */
  clear(): void {
    clearTimeout(this.#timer)
    this.#caller?.removeEventListener('abort', this.#onAbort)
  }
}

/**
 * Returns any error as an error of a session.
 * @param hasSession whether the request named a session, which the server may have forgotten
 */
export function sessionErrorOf(thrown: unknown, hasSession: boolean): SessionError {
  if (thrown instanceof SessionError) return thrown
  for (let error = thrown; error instanceof Error; error = error.cause) {
    if (error instanceof ResponseTooLarge) return new SessionError('too_large', error.message, thrown)
    if (error instanceof TokenMissing) return new SessionError('no_token', error.message, thrown)
  }
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  const status = isPlainObject(thrown) || thrown instanceof Error ? Reflect.get(thrown, 'status') : undefined
  if (status === 401) return new SessionError('no_token', 'the server does not accept the token', thrown)
  // A session that is unknown is 404; servers after an example of the SDK's first generation say 400.
  const isLost = hasSession && (status === 404 || (status === 400 && /session/i.test(message)))
  return new SessionError(isLost ? 'session_lost' : 'broken', message, thrown)
}
