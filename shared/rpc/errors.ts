/**
 * The closed list of error codes, the transport's reasons, and the one error class that carries both.
 *
 * Codes are tRPC's own names, so that every tRPC client understands them. A reason distinguishes the causes of one
 * code: callers match on `code` and `reason`, never on a message.
 */

/** Code → meaning, JSON-RPC number and HTTP status (tRPC's), and whether a repeat of the same call may succeed. */
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

/** A code of {@link errorCodes}. */
export type ErrorCode = keyof typeof errorCodes

/** The row of a reason. */
export interface ReasonInfo {
  /**
   * The code of every error with this reason. Absent for a reason that occurs with several codes: such errors name
   * their code.
   */
  readonly code?: ErrorCode
  readonly meaning: string
}

/** Reason → code and meaning: the transport's own table, or the table of a user of the transport. */
export type ReasonTable<R extends string = string> = Readonly<Record<R, ReasonInfo>>

/** The transport's own reasons. Users of the transport name reasons in a separate table, see {@link errorFactory}. */
export const transportReasons = {
  draining: { code: 'SERVICE_UNAVAILABLE', meaning: 'the server shuts down; call again on another connection' },
  connection_lost: {
    meaning: 'the connection closed before the response arrived; see mayHaveRun',
  },
  connection_closed: {
    code: 'SERVICE_UNAVAILABLE',
    meaning: 'close() was called on this connection; it stays closed',
  },
  duplicate_id: { code: 'CONFLICT', meaning: 'a call with this id is in flight on this connection' },
  too_many_calls: { code: 'TOO_MANY_REQUESTS', meaning: 'maxInFlight calls are in flight on this connection' },
  too_many_subscriptions: {
    code: 'TOO_MANY_REQUESTS',
    meaning: 'maxSubscriptions subscriptions are open on this connection',
  },
  slow_reader: {
    code: 'CLIENT_CLOSED_REQUEST',
    meaning: 'the reader of a subscription without event ids was too far behind; the client ended the subscription',
  },
  message_too_large: { code: 'PAYLOAD_TOO_LARGE', meaning: 'the message is larger than maxMessageBytes' },
  not_encodable: { code: 'BAD_REQUEST', meaning: 'the value cannot be sent as JSON' },
  config_invalid: { code: 'BAD_REQUEST', meaning: 'the configuration breaks a rule' },
  // Opening a WebSocket.
  version_malformed: { code: 'BAD_REQUEST', meaning: 'version must be MAJOR.MINOR' },
  version_unsupported: { code: 'BAD_REQUEST', meaning: 'client and server have different major versions' },
  server_older: {
    code: 'CONFLICT',
    meaning: 'the server has a lower minor version than the client; an upgrade or rollback is under way',
  },
  origin_not_allowed: { code: 'FORBIDDEN', meaning: 'web pages may not call this server' },
  not_found: { code: 'NOT_FOUND', meaning: 'nothing is served under this path' },
  too_many_connections: { code: 'SERVICE_UNAVAILABLE', meaning: 'maxConnections connections are open' },
  handshake_timeout: { meaning: 'the connection was announced and not completed in time' },
} as const satisfies ReasonTable

/** A reason of {@link transportReasons}. */
export type TransportReason = keyof typeof transportReasons

/**
 * The error of the transport and its users: a code of {@link errorCodes}, perhaps a reason, and a message with the
 * values that led to the error. The message may be shown to the caller; the cause stays in the log of the side that
 * made the error.
 *
 * `R` names the reasons that the error may have: by default the transport's own. A user of the transport names others
 * as a type, so that a misspelt reason does not compile:
 * `new RpcError<'seat_taken'>('CONFLICT', 'seat 7 is taken', { reason: 'seat_taken' })`. Errors from elsewhere are
 * `RpcError<string>`.
 */
export class RpcError<R extends string = TransportReason> extends Error {
  override readonly name = 'RpcError'
  readonly code: ErrorCode
  readonly reason: R | undefined
  /**
   * Whether the procedure of a call may have run, or may have changed something: for a call without a response, and for
   * a procedure that failed halfway.
   */
  readonly mayHaveRun: boolean | undefined

  constructor(
    code: ErrorCode,
    message: string,
    // NoInfer: a reason is checked against the named type, not taken as its definition.
    options: { reason?: NoInfer<R> | undefined; mayHaveRun?: boolean | undefined; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.reason = options.reason
    this.mayHaveRun = options.mayHaveRun
  }

  /**
   * Converts any thrown value to an RpcError. In this order: an RpcError is returned unchanged; an error that wraps an
   * RpcError (tRPC wraps errors of procedures) gives the wrapped error; a tRPC error with a code of the list keeps code
   * and message; anything else is an `INTERNAL_SERVER_ERROR` with a neutral message and the original as `cause`. Never
   * throws: a value whose properties throw is left out.
   */
  static from(thrown: unknown): RpcError<string> {
    try {
      return readError(thrown) ?? new RpcError('INTERNAL_SERVER_ERROR', 'internal server error', { cause: thrown })
    } catch {
      return new RpcError('INTERNAL_SERVER_ERROR', 'internal server error')
    }
  }
}

function readError(thrown: unknown): RpcError<string> | undefined {
  if (!(thrown instanceof Error)) return undefined
  const code = errorCodeOf(thrown)
  if (thrown instanceof RpcError) return thrown
  const { cause } = thrown
  if (cause instanceof RpcError) return errorCodeOf(cause) && cause
  const isOpaque = code === undefined || (code === 'INTERNAL_SERVER_ERROR' && cause instanceof Error)
  return isOpaque ? undefined : new RpcError(code, thrown.message, { cause: thrown })
}

/** The reasons of a table that have one code. */
export type CodedReason<T extends ReasonTable> = {
  [R in keyof T & string]: T[R] extends { readonly code: ErrorCode } ? R : never
}[keyof T & string]

/** Creates an error from a reason; the code comes from the reason's table. */
export type ErrorFactory<T extends ReasonTable> = <R extends CodedReason<T>>(
  reason: R,
  message: string,
  options?: { mayHaveRun?: boolean | undefined; cause?: unknown },
) => RpcError<R>

/**
 * Returns a function that creates errors with the reasons of a table, each with its code in the table. `new RpcError`
 * creates errors with the other reasons.
 *
 * ```ts
 * const reasons = {
 *   seat_taken: { code: 'CONFLICT', meaning: 'another guest has this seat' },
 * } as const satisfies ReasonTable
 * const bookingError = errorFactory(reasons)
 * throw bookingError('seat_taken', 'seat 7 is taken')
 * ```
 */
export function errorFactory<T extends ReasonTable>(reasons: T): ErrorFactory<T> {
  return (reason, message, options) => {
    const code = reasons[reason]?.code as ErrorCode // CodedReason leaves out reasons without a code
    return new RpcError(code, message, { ...options, reason })
  }
}

/**
 * Creates an error with a reason of the transport that has one code:
 * `transportError('draining', 'the server is closing')`.
 */
export const transportError = errorFactory(transportReasons)

/** The `data` of an error on the wire, beside tRPC's own `httpStatus` and `path`. */
export interface ErrorData {
  code: string
  reason?: string
  requestId?: string
  mayHaveRun?: boolean
}

/**
 * Returns the code of an RpcError, of tRPC's server error, or of the `data` of tRPC's client error; undefined for any
 * other value.
 */
export function errorCodeOf(thrown: unknown): ErrorCode | undefined {
  const code = errorField(thrown, 'code')
  return typeof code === 'string' && Object.hasOwn(errorCodes, code) ? (code as ErrorCode) : undefined // checked on this line
}

/**
 * Returns the reason of the same errors, if the table has the reason; by default the transport's table. An unlisted
 * reason is read as none: a newer peer may send reasons that this side does not know, and the code still says how to
 * proceed.
 */
export function reasonOf(thrown: unknown): TransportReason | undefined
export function reasonOf<R extends string>(thrown: unknown, reasons: ReasonTable<R>): R | undefined
export function reasonOf(thrown: unknown, reasons: ReasonTable = transportReasons): string | undefined {
  const reason = errorField(thrown, 'reason')
  return typeof reason === 'string' && Object.hasOwn(reasons, reason) ? reason : undefined
}

/**
 * Returns whether the procedure of a failed call may have run, of the same errors: true or false where no response of
 * the procedure arrived, or where the procedure itself does not know; undefined for a rejection by the procedure, and
 * for any other value.
 */
export function mayHaveRunOf(thrown: unknown): boolean | undefined {
  const mayHaveRun = errorField(thrown, 'mayHaveRun')
  return typeof mayHaveRun === 'boolean' ? mayHaveRun : undefined
}

/** Returns whether a repeat of the same call may succeed; true for an error from elsewhere, which does not say. */
export function isRetryable(thrown: unknown): boolean {
  const code = errorCodeOf(thrown)
  return code === undefined || errorCodes[code].retry
}

function errorField(thrown: unknown, field: 'code' | 'reason' | 'mayHaveRun'): unknown {
  if (!(thrown instanceof Error)) return undefined
  const own: unknown = Reflect.get(thrown, field)
  if (own !== undefined) return own
  const data: unknown = Reflect.get(thrown, 'data')
  return typeof data === 'object' && data !== null ? Reflect.get(data, field) : undefined
}
