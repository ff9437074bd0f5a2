/** The reasons of errors of the Agent Client Protocol's transport, at both ends. */
import { errorCodes, errorFactory, type ReasonInfo, RpcError } from '../rpc/errors.js'

/** The row of a reason. */
export interface AcpReasonInfo extends ReasonInfo {
  /** the HTTP status of a response with this reason; absent: that of the code */
  readonly status?: number
  /** the code of a JSON-RPC error with this reason; absent: that of an internal error */
  readonly rpcCode?: number
}

/** The numbers of JSON-RPC errors that the transport itself sends. */
export const rpcErrorCodes = {
  parseError: -32_700,
  invalidRequest: -32_600,
  internalError: -32_603,
} as const

const { parseError, invalidRequest } = rpcErrorCodes

/** Reason → code of the error, HTTP status, code of the JSON-RPC error, and meaning. */
export const acpReasons = {
  // the message
  parse_error: { code: 'PARSE_ERROR', rpcCode: parseError, meaning: 'the body is not JSON in UTF-8' },
  invalid_request: { code: 'BAD_REQUEST', rpcCode: invalidRequest, meaning: 'the body is no JSON-RPC 2.0 message' },
  batch_unsupported: {
    code: 'BAD_REQUEST',
    status: 501,
    rpcCode: invalidRequest,
    meaning: 'the protocol has no batches',
  },
  duplicate_id: { code: 'CONFLICT', status: 400, rpcCode: invalidRequest, meaning: 'a request with this id is open' },
  message_too_large: { code: 'PAYLOAD_TOO_LARGE', meaning: 'the message is larger than maxMessageBytes' },
  body_timeout: { code: 'TIMEOUT', meaning: 'the body did not arrive within bodyTimeoutMs' },
  // the request that carries it
  not_found: { code: 'NOT_FOUND', meaning: 'nothing is served under this path' },
  method_not_allowed: { code: 'METHOD_NOT_SUPPORTED', meaning: 'the path takes POST, GET and DELETE only' },
  content_type_unsupported: { code: 'UNSUPPORTED_MEDIA_TYPE', meaning: 'the body is not application/json' },
  not_acceptable: { code: 'BAD_REQUEST', status: 406, meaning: 'the client does not accept text/event-stream' },
  origin_not_allowed: { code: 'FORBIDDEN', meaning: 'web pages of this origin may not call the agent' },
  misdirected: { code: 'NOT_FOUND', status: 421, meaning: 'HTTP/2 without TLS serves the path of the agent only' },
  // connections and sessions
  connection_id_missing: { code: 'BAD_REQUEST', meaning: 'the header Acp-Connection-Id is missing' },
  unknown_connection: { code: 'NOT_FOUND', meaning: 'no connection of this user has this id, or it has ended' },
  wrong_replica: { code: 'NOT_FOUND', meaning: 'the connection is served by another replica' },
  session_id_missing: { code: 'BAD_REQUEST', meaning: 'the header Acp-Session-Id is missing' },
  session_id_differs: { code: 'BAD_REQUEST', meaning: 'Acp-Session-Id differs from the session of the message' },
  unknown_session: { code: 'NOT_FOUND', meaning: 'no session of this user has this id' },
  already_initialized: {
    code: 'BAD_REQUEST',
    rpcCode: invalidRequest,
    meaning: 'initialize begins a connection, and was sent on one',
  },
  not_initialized: { code: 'BAD_REQUEST', rpcCode: invalidRequest, meaning: 'the first message must be initialize' },
  // streams
  stream_taken: { code: 'CONFLICT', meaning: 'another GET reads this stream; one with Last-Event-ID replaces it' },
  stream_gap: { code: 'CONFLICT', meaning: 'events behind Last-Event-ID are not kept any more, or were never sent' },
  // limits
  too_many_connections: { code: 'SERVICE_UNAVAILABLE', meaning: 'as many connections are open as may be' },
  too_many_streams: { code: 'TOO_MANY_REQUESTS', meaning: 'maxStreams streams of this connection are open' },
  too_many_requests: { code: 'TOO_MANY_REQUESTS', meaning: 'maxPendingRequests requests of this connection are open' },
  slow_reader: { code: 'CLIENT_CLOSED_REQUEST', meaning: 'the client left too much output unread for too long' },
  // the server and its agent
  initialize_timeout: {
    code: 'TIMEOUT',
    status: 504,
    meaning: 'the agent did not respond to initialize within initializeTimeoutMs',
  },
  agent_failed: {
    code: 'INTERNAL_SERVER_ERROR',
    meaning: 'the agent did not start, ended, or broke the protocol; the log has the cause',
  },
  unauthorized: { code: 'UNAUTHORIZED', meaning: 'the key of the connection may not be used any more' },
  draining: { code: 'SERVICE_UNAVAILABLE', meaning: 'the server shuts down; connect again' },
  // the client: its server cannot be reached, or does not respond
  unreachable: { code: 'SERVICE_UNAVAILABLE', meaning: 'no connection to the server was made, so nothing was sent' },
  response_timeout: { code: 'TIMEOUT', meaning: 'the server did not respond in time; see mayHaveRun' },
  response_lost: {
    code: 'SERVICE_UNAVAILABLE',
    meaning: 'the connection broke before the response arrived; see mayHaveRun',
  },
  http_rejected: { meaning: 'the server responded with a status that no reason of this table explains' },
  // the client: its server breaks the protocol
  response_not_json: { code: 'PARSE_ERROR', meaning: 'the response to initialize is not JSON' },
  response_invalid: { code: 'PARSE_ERROR', meaning: 'the response to initialize is no JSON-RPC response' },
  response_id_differs: { code: 'CONFLICT', meaning: 'the response to initialize has the id of another request' },
  response_without_connection: { code: 'PARSE_ERROR', meaning: 'the response to initialize names no connection' },
  protocol_version: { code: 'PRECONDITION_FAILED', meaning: 'the agent speaks no protocol version of this client' },
  invalid_event: { code: 'PARSE_ERROR', meaning: 'the server sent an event that is no JSON-RPC message' },
  // the client: its connection has ended
  initialize_rejected: { code: 'PRECONDITION_FAILED', meaning: 'the agent rejected initialize' },
  stream_lost: { code: 'SERVICE_UNAVAILABLE', meaning: 'a stream could not be opened again within lostAfterMs' },
  connection_lost: { code: 'SERVICE_UNAVAILABLE', meaning: 'the WebSocket has closed; see mayHaveRun' },
  connection_closed: { code: 'SERVICE_UNAVAILABLE', meaning: 'close() was called on this connection' },
  deadline_passed: { code: 'TIMEOUT', meaning: 'the deadline of the request passed before its response' },
} as const satisfies Readonly<Record<string, AcpReasonInfo>>

/** A reason of {@link acpReasons}. */
export type AcpReason = keyof typeof acpReasons

/** Creates an error with a reason: `acpError('stream_taken', 'another GET reads this stream')`. */
export const acpError = errorFactory(acpReasons)

/** Returns the row of an error's reason; undefined for an error without a reason of {@link acpReasons}. */
function rowOf({ reason }: RpcError<string>): AcpReasonInfo | undefined {
  return reason !== undefined && Object.hasOwn(acpReasons, reason) ? acpReasons[reason as AcpReason] : undefined // checked on this line
}

/** Returns the HTTP status of a rejection, 500 for an error from elsewhere. */
export function acpStatusOf(thrown: unknown): number {
  const error = RpcError.from(thrown)
  return rowOf(error)?.status ?? errorCodes[error.code].status
}

/** Returns the JSON-RPC code of a rejection, that of an internal error for an error from elsewhere. */
export function acpRpcCodeOf(thrown: unknown): number {
  return rowOf(RpcError.from(thrown))?.rpcCode ?? rpcErrorCodes.internalError
}
