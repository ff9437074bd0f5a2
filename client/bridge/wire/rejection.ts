import { errorReasonOf } from '../../../shared/contract/error-reasons.js'
import { errorCodeOf, mayHaveRunOf } from '../../../shared/rpc/errors.js'

/** The reasons of rejections, as metrics and the log name them; those of keys are the reasons of the authorizer. */
export const rejectionReasons = [
  'no_key',
  'invalid_key',
  'unknown_key',
  'expired',
  'revoked',
  'unknown_user',
  'ambiguous_auth',
  'too_many_guesses',
  'deleted_user',
  'inactive_user',
  'system_user',
  'delegation_not_allowed',
  /** the control plane gave no reason that this version knows */
  'not_authorized',
  'unknown_provider',
  'provider_disabled',
  'unknown_route',
  'websocket',
  'loop',
  'body_too_large',
  'body_incomplete',
  'body_too_slow',
  'body_not_json',
  'memory_full',
  'outbox_full',
  'outbox_unwritable',
  'not_recorded',
  'control_plane_unreachable',
  'shutting_down',
  'internal_error',
  /** every key of the provider is limited */
  'keys_limited',
  /** the provider rejects every key */
  'keys_rejected',
  /** the provider failed several times in a row */
  'breaker_open',
  /** no place among the parallel requests of the provider */
  'provider_busy',
  /** the provider sent no response; the interception has the failure */
  'provider_failed',
  /** the calls of tools in one request took too many rounds, or too long */
  'tools_unfinished',
  /** the results of tools could not be stored for the next request of the conversation */
  'tools_unkept',
  'unknown_mcp_server',
  /** the path of an MCP server has no such method */
  'method_not_allowed',
  /** an MCP session of another user or server, or no session of this service */
  'unknown_session',
  'too_many_sessions',
  'too_many_requests',
  /** a tool that the server's patterns leave out */
  'tool_not_offered',
  /** the user was never linked to the MCP server */
  'mcp_no_link',
  'mcp_token_rejected',
  'mcp_token_unchecked',
  /** the MCP server sent no response that can be passed on */
  'mcp_server_failed',
] as const

/** One of {@link rejectionReasons}. */
export type RejectionReason = (typeof rejectionReasons)[number]

/** Options of a {@link Rejection}. */
export interface RejectionOptions {
  /** whole seconds; a 503 has {@link retryAfterSeconds} by default. Above {@link maxRetryAfterSeconds} it is final */
  retryAfterSeconds?: number
  cause?: unknown
}

/** An error response of the bridge itself, in the error shape of the called API. The message is shown to the client. */
export class Rejection extends Error {
  readonly status: number
  readonly reason: RejectionReason
  /** the header `Retry-After`; every 503 has one, without which Codex sends up to 30 requests */
  readonly retryAfterSeconds: number | undefined

  constructor(status: number, reason: RejectionReason, message: string, options: RejectionOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.status = status
    this.reason = reason
    this.retryAfterSeconds = options.retryAfterSeconds ?? (status === 503 ? retryAfterSeconds : undefined)
  }

  /**
   * whether a repeated request gets the same response, or has to wait for longer than SDKs can; they obey
   * `x-should-retry: false`
   */
  get isFinal(): boolean {
    return finalStatuses.has(this.status) || (this.retryAfterSeconds ?? 0) > maxRetryAfterSeconds
  }
}

const finalStatuses = new Set([401, 403, 508])

/**
 * The `Retry-After` of errors that pass soon, in seconds: shorter than an SDK's own backoff, longer than a reconnect.
 */
export const retryAfterSeconds = 1

/** The longest `Retry-After`: SDKs sleep through longer ones, or ignore them. */
export const maxRetryAfterSeconds = 60

/** Returns the rejection of a request that a bridge has sent. */
export function loopRejection(sign: string): Rejection {
  return new Rejection(508, 'loop', `${sign}: the base URL of a provider leads back to a bridge`)
}

/**
 * Returns the rejection for a failed call to the control plane. After a connection that is closed for good the client
 * waits for as long as possible: another process has to take over.
 */
export function controlPlaneUnreachable(cause: unknown): Rejection {
  const closed = isClosedForGood(cause)
  const message = closed
    ? 'the control plane does not serve this bridge any more'
    : 'the control plane cannot be reached; try again later'
  const wait = closed ? maxRetryAfterSeconds : retryAfterSeconds
  return new Rejection(503, 'control_plane_unreachable', message, { retryAfterSeconds: wait, cause })
}

/** Returns whether the connection was closed by this side, or by a control plane that rejected this bridge. */
export function isClosedForGood(error: unknown): boolean {
  if (errorReasonOf(error) === 'connection_closed') return true
  // The server's rejection of the whole connection, which no procedure has sent.
  const code = errorCodeOf(error)
  return mayHaveRunOf(error) !== undefined && (code === 'UNAUTHORIZED' || code === 'FORBIDDEN')
}
