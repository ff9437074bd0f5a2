/** The failure of a model's call, which the models of a daemon throw and the runner of chats reads. */

/** Labels of failures; all but `unavailable` are reasons of a chat's error. */
export type ModelErrorReason =
  | 'rate_limited'
  | 'billing'
  | 'rejected'
  | 'context_too_long'
  | 'not_allowed'
  | 'unknown_provider'
  | 'unavailable'

/** The facts of a {@link ModelError}. */
export interface ModelErrorOptions {
  kind: 'retryable' | 'final' | 'aborted'
  reason: ModelErrorReason
  status?: number | undefined
  retryAfterMs?: number | undefined
  cause?: unknown
}

/**
 * A failed call of the model, by status and cause.
 * - `kind` `retryable`: no connection, 408, 425, 429, 5xx, 529, a stall, a broken stream; `final`: all else;
 *   `aborted`: the caller's signal
 * - `retryAfterMs` as the provider names it
 * - `reason` a label for the chat's error: see `chatErrorReasons`
 */
export class ModelError extends Error {
  readonly kind: ModelErrorOptions['kind']
  readonly reason: ModelErrorReason
  readonly status: number | undefined
  readonly retryAfterMs: number | undefined

  constructor(message: string, options: ModelErrorOptions) {
    super(message, { cause: options.cause })
    this.kind = options.kind
    this.reason = options.reason
    this.status = options.status
    this.retryAfterMs = options.retryAfterMs
  }
}
