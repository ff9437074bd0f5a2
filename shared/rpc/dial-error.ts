/** The error of a `dial`, which says whether another dial makes sense. */
export class DialError extends Error {
  override readonly name = 'DialError'
  /** true: the connection stops with this error; false: the connection dials again after a pause */
  readonly fatal: boolean
  /** a reason of the transport or of the transport's user */
  readonly reason: string | undefined
  /** HTTP status of the response; absent without a response */
  readonly status: number | undefined
  /** the pause that the server asks for before the next dial, in milliseconds */
  readonly retryAfterMs: number | undefined

  constructor(
    message: string,
    options: { fatal: boolean; reason?: string; status?: number; retryAfterMs?: number; cause?: unknown },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.fatal = options.fatal
    this.reason = options.reason
    this.status = options.status
    this.retryAfterMs = options.retryAfterMs
  }
}

/** Returns the message of a thrown value, which may be anything. */
export function textOf(thrown: unknown): string {
  try {
    return thrown instanceof Error ? String(thrown.message) : String(thrown)
  } catch {
    return 'a value that cannot be read'
  }
}
