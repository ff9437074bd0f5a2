/** An answer that the bridge gives itself, in the error shape of the provider called. Its message is shown to the client. */
export class Refusal extends Error {
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
