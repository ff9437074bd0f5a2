import { errorReasonOf } from '../../../shared/contract/error-reasons.js'

/** An error response of the bridge itself, in the error shape of the called API. The message is shown to the client. */
export class Rejection extends Error {
  readonly status: number
  /** the header `Retry-After`, in seconds */
  readonly retryAfterSeconds: number | undefined

  constructor(status: number, message: string, options: { retryAfterSeconds?: number; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.status = status
    this.retryAfterSeconds = options.retryAfterSeconds
  }
}

/**
 * The `Retry-After` of errors that pass soon, in seconds: shorter than an SDK's own backoff, longer than a reconnect.
 */
export const retryAfterSeconds = 1

/**
 * Returns the rejection for a failed call to the control plane. It asks the client to retry, unless the connection is
 * closed for good.
 */
export function controlPlaneUnreachable(cause: unknown): Rejection {
  if (isClosedForGood(cause))
    return new Rejection(503, 'the control plane does not serve this bridge any more', { cause })
  return new Rejection(503, 'the control plane cannot be reached; try again later', { retryAfterSeconds, cause })
}

/** Returns whether the connection was closed by this side, or by a control plane that rejected this bridge. */
export function isClosedForGood(error: unknown): boolean {
  return errorReasonOf(error) === 'connection_closed'
}
