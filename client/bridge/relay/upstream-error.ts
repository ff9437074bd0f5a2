/** What went wrong: before the answer, inside it, or a time limit that was reached. */
export type UpstreamFailure =
  | 'unreachable'
  | 'died'
  | 'aborted'
  | 'connect_timeout'
  | 'headers_timeout'
  | 'idle_timeout'

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

/** The error of a call that its caller's signal ended; the signal's reason is the cause. */
export function abortedBy(signal: AbortSignal): UpstreamError {
  const reason: unknown = signal.reason
  return new UpstreamError('aborted', reason instanceof Error ? reason.message : 'the request was aborted', reason)
}
