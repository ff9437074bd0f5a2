import { errorReasonOf } from '../../../shared/contract/error-reasons.js'

/** An answer that the bridge gives itself, in the error shape of the provider called. Its message is shown to the client. */
export class Rejection extends Error {
  readonly status: number
  /** sent as `Retry-After` */
  readonly retryAfterSeconds: number | undefined

  constructor(status: number, message: string, options: { retryAfterSeconds?: number; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.status = status
    this.retryAfterSeconds = options.retryAfterSeconds
  }
}

/** What a client is told where waiting a little helps: shorter than an SDK's own backoff, longer than a reconnect. */
export const retryAfterSeconds = 1

/** What a client is told when the control plane could not be asked: to come again, unless that is of no use. */
export function notAsked(cause: unknown): Rejection {
  if (isClosedForGood(cause))
    return new Rejection(503, 'the control plane does not serve this bridge any more', { cause })
  return new Rejection(503, 'the control plane cannot be reached; try again later', { retryAfterSeconds, cause })
}

/** The connection was closed by this side, or by a control plane that refused this bridge. */
export function isClosedForGood(error: unknown): boolean {
  return errorReasonOf(error) === 'connection_closed'
}
