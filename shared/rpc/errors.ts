/**
 * The closed list of what can go wrong on the RPC, and the one error class that carries it.
 *
 * Codes are tRPC's own names, so that every tRPC client understands them. A reason says which of several causes of one code it was:
 * callers match on `code` and `reason`, never on a message.
 */

/** Code → what it means, its JSON-RPC number and HTTP status (tRPC's), and whether the same call may succeed when it is repeated. */
export const errorCodes = {
  PARSE_ERROR: { number: -32700, status: 400, retry: false, meaning: 'the message is no valid request' },
  BAD_REQUEST: { number: -32600, status: 400, retry: false, meaning: 'the input breaks a rule of the contract' },
  UNAUTHORIZED: { number: -32001, status: 401, retry: false, meaning: 'no identity, or not a valid one' },
  FORBIDDEN: { number: -32003, status: 403, retry: false, meaning: 'a valid identity that may not do this' },
  NOT_FOUND: { number: -32004, status: 404, retry: false, meaning: 'no such procedure or row' },
  METHOD_NOT_SUPPORTED: { number: -32005, status: 405, retry: false, meaning: 'the procedure is of another type' },
  TIMEOUT: { number: -32008, status: 408, retry: true, meaning: 'the deadline of the call passed' },
  CONFLICT: { number: -32009, status: 409, retry: false, meaning: 'the id is in use for other content' },
  PRECONDITION_FAILED: { number: -32012, status: 412, retry: false, meaning: 'the state it needs is not there' },
  PAYLOAD_TOO_LARGE: { number: -32013, status: 413, retry: false, meaning: 'a message above maxMessageBytes' },
  UNSUPPORTED_MEDIA_TYPE: {
    number: -32015,
    status: 415,
    retry: false,
    meaning: 'a value that this link does not carry',
  },
  TOO_MANY_REQUESTS: { number: -32029, status: 429, retry: true, meaning: 'too many calls in flight' },
  CLIENT_CLOSED_REQUEST: { number: -32099, status: 499, retry: false, meaning: 'the caller cancelled' },
  INTERNAL_SERVER_ERROR: {
    number: -32603,
    status: 500,
    retry: true,
    meaning: 'a fault of the server; its log has the cause',
  },
  SERVICE_UNAVAILABLE: { number: -32603, status: 503, retry: true, meaning: 'draining, or the connection is lost' },
} as const satisfies Record<string, { number: number; status: number; retry: boolean; meaning: string }>

export type ErrorCode = keyof typeof errorCodes

/** Reason → its meaning. Each belongs to one procedure or to the transport. */
export const errorReasons = {
  // transport
  draining: 'the server shuts down; call again on another connection',
  connection_lost: 'the connection closed before the answer came; see mayHaveRun',
  connection_closed: 'close() was called on this connection; it stays closed',
  duplicate_id: 'a call with this id is in flight on this connection',
  too_many_calls: 'maxInFlight calls are in flight on this connection',
  too_many_subscriptions: 'maxSubscriptions subscriptions are open on this connection',
  message_too_large: 'the message is larger than maxMessageBytes',
  not_encodable: 'the value cannot be sent as JSON',
  // opening a WebSocket
  version_malformed: 'version must be MAJOR.MINOR',
  version_unsupported: 'client and server have different major versions',
  server_older: 'the server has a lower minor version than the client; an upgrade or rollback is under way',
  origin_not_allowed: 'web pages may not call this server',
  not_found: 'nothing is served under this path',
  too_many_connections: 'maxConnections connections are open',
  handshake_timeout: 'the connection was announced and not completed in time',
  // authorizer
  ambiguous_auth: 'give either key or keyId',
  invalid_key: 'malformed, or the secret differs',
  unknown_key: 'no such key',
  expired: 'the key has expired or was revoked',
  unknown_user: 'the owner of the key does not exist',
  deleted_user: 'the owner of the key was deleted',
  inactive_user: 'the owner of the key is suspended',
  system_user: 'system users do not use keys',
  delegation_not_allowed: 'the connection has no delegate capability',
  // identity of an admin or daemon
  key_missing: 'no credentials were given',
  key_invalid: 'the credentials are not valid',
  key_expired: 'the credentials are no longer valid',
  key_revoked: 'the credentials were taken back',
  // recorder
  unknown_interception: 'no interception has this id',
  content_differs: 'the id was used for other content',
  // admin
  unknown_row: 'no row has this id or name',
  event_expired: 'what came after this event is not kept any more',
  name_taken: 'another row has this name',
  // stores and processes
  data_in_use: 'another process uses the data directory',
  database_corrupt: 'the database cannot be opened',
  database_newer: 'the database was migrated by a newer version',
  database_unreachable: 'the database server cannot be reached, or refuses the login',
  import_refused: 'there is nothing to import, or the target is not empty',
  port_in_use: 'another process listens on the port',
  config_invalid: 'the configuration breaks a rule',
  server_unreachable: 'no server answers at the address',
} as const satisfies Record<string, string>

export type ErrorReason = keyof typeof errorReasons

/**
 * The error of this project: a code of {@link errorCodes}, perhaps a reason, and a message with the values that led to it.
 * Its message may be shown to the caller; its cause stays in the log of the side that made it.
 */
export class RpcError extends Error {
  override readonly name = 'RpcError'
  readonly code: ErrorCode
  readonly reason: ErrorReason | undefined
  /** For a call that got no answer: whether the procedure may have run. */
  readonly mayHaveRun: boolean | undefined

  constructor(
    code: ErrorCode,
    message: string,
    options: { reason?: ErrorReason; mayHaveRun?: boolean; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.reason = options.reason
    this.mayHaveRun = options.mayHaveRun
  }

  /**
   * Makes an RpcError of whatever was thrown. In this order: an RpcError is itself; an error that wraps one (tRPC wraps what a procedure
   * throws) is the wrapped one; a tRPC error with a code of the list keeps code and message; anything else is an `INTERNAL_SERVER_ERROR`
   * whose message says nothing of it, with the original as `cause`. Never throws: what throws when it is looked at is left out.
   */
  static from(thrown: unknown): RpcError {
    try {
      return readError(thrown) ?? new RpcError('INTERNAL_SERVER_ERROR', 'internal server error', { cause: thrown })
    } catch {
      return new RpcError('INTERNAL_SERVER_ERROR', 'internal server error')
    }
  }
}

function readError(thrown: unknown): RpcError | undefined {
  if (!(thrown instanceof Error)) return undefined
  const code = errorCodeOf(thrown)
  if (thrown instanceof RpcError) return thrown
  const { cause } = thrown
  if (cause instanceof RpcError) return errorCodeOf(cause) && cause
  const isOpaque = code === undefined || (code === 'INTERNAL_SERVER_ERROR' && cause instanceof Error)
  return isOpaque ? undefined : new RpcError(code, thrown.message, { cause: thrown })
}

/** What `data` of an error holds on the wire, beside tRPC's own `httpStatus` and `path`. */
export interface ErrorData {
  code: string
  reason?: string
  requestId?: string
  mayHaveRun?: boolean
}

/** The code of an RpcError, of tRPC's server error, or of the `data` of tRPC's client error; undefined if it is none of these. */
export function errorCodeOf(thrown: unknown): ErrorCode | undefined {
  const code = errorField(thrown, 'code')
  return typeof code === 'string' && Object.hasOwn(errorCodes, code) ? (code as ErrorCode) : undefined // checked on this line
}

/** The reason of the same errors; undefined if there is none. */
export function errorReasonOf(thrown: unknown): ErrorReason | undefined {
  const reason = errorField(thrown, 'reason')
  return typeof reason === 'string' && Object.hasOwn(errorReasons, reason) ? (reason as ErrorReason) : undefined // checked on this line
}

/** Whether the same call may succeed when it is repeated; an error that is none of ours says nothing, so it may. */
export function isRetryable(thrown: unknown): boolean {
  const code = errorCodeOf(thrown)
  return code === undefined || errorCodes[code].retry
}

function errorField(thrown: unknown, field: 'code' | 'reason'): unknown {
  if (!(thrown instanceof Error)) return undefined
  const own: unknown = Reflect.get(thrown, field)
  if (own !== undefined) return own
  const data: unknown = Reflect.get(thrown, 'data')
  return typeof data === 'object' && data !== null ? Reflect.get(data, field) : undefined
}
