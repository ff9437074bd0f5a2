/** The kind of a failed call: an error before or inside the response, an abort, or a time limit. */
export type UpstreamFailure =
  | 'unreachable'
  | 'died'
  | 'aborted'
  | 'connect_timeout'
  | 'headers_timeout'
  | 'idle_timeout'

/** The error of a call to a provider. Its message names no address and may be shown to the client. */
export class UpstreamError extends Error {
  readonly failure: UpstreamFailure

  constructor(failure: UpstreamFailure, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.failure = failure
  }

  /** whether a time limit ended the call */
  get timedOut(): boolean {
    return this.failure.endsWith('_timeout')
  }
}

/** Returns the error of a call that the caller's signal ended; the reason of the signal is the cause. */
export function abortedBy(signal: AbortSignal): UpstreamError {
  const reason: unknown = signal.reason
  return new UpstreamError('aborted', reason instanceof Error ? reason.message : 'the request was aborted', reason)
}
