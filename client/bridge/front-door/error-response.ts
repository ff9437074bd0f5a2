/** Error responses of the bridge itself, and the form of an error in the log and in the record. */
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { ErrorType } from '../../../shared/contract/recorder.js'
import type { ProviderRegistry } from '../control-plane/provider-registry.js'
import { rpcErrorCodes, rpcErrorText } from '../mcp/rpc-error.js'
import { errorBodyForPath } from '../providers/apis.js'
import type { Failure } from '../providers/error-type.js'
import { UpstreamError } from '../relay/upstream-error.js'
import { ExchangeAborted } from '../wire/exchange-aborted.js'
import { Rejection, type RejectionReason } from '../wire/rejection.js'
import { type Mount, parseMcpMount, parseMount } from './mount.js'

/**
 * Rejects a request in the error shape of the called provider.
 * @param added further headers; names and values alternate
 */
export function rejectExchange(
  providers: ProviderRegistry,
  request: IncomingMessage,
  response: ServerResponse,
  rejection: Rejection,
  added: readonly string[],
): void {
  const url = request.url ?? ''
  const body = parseMcpMount(url) === undefined ? errorBody(providers, parseMount(url)) : rpcErrorBody(rejection.reason)
  sendRejection(response, body, rejection, added)
}

/**
 * Sends an error response, or closes the connection if a response has begun.
 * @param added further headers; names and values alternate
 */
export function sendRejection(
  response: ServerResponse,
  errorBody: ErrorBody,
  rejection: Rejection,
  added: readonly string[] = [],
): void {
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  const { status, retryAfterSeconds: seconds, isFinal } = rejection
  const body = Buffer.from(errorBody(status, rejection.message))
  const headers = ['content-type', 'application/json', 'content-length', String(body.length), ...added]
  if (seconds !== undefined) headers.push('retry-after', String(seconds))
  if (isFinal) headers.push('x-should-retry', 'false')
  // RFC 9110, section 15.5.22: a 426 names the protocol that is served.
  if (status === 405) headers.push('allow', 'GET, POST, DELETE')
  if (status === 426) headers.push('upgrade', 'HTTP/1.1', 'connection', 'upgrade, close')
  if (response.hasHeader('connection') && status !== 426) headers.push('connection', 'close')
  response.removeHeader('connection')
  response.writeHead(status, STATUS_CODES[status] ?? '', headers)
  response.end(body)
}

type ErrorBody = (status: number, message: string) => string

/** Returns the function that makes error bodies in the shape of the called API. */
export function errorBody(providers: ProviderRegistry, { providerName, path }: Mount): ErrorBody {
  const api = providers.peek(providerName)?.api
  return api ? api.errorBody : (status, message) => errorBodyForPath(path, status, message)
}

/** Returns the function that makes the bodies of errors for MCP clients. */
export function rpcErrorBody(reason: RejectionReason): ErrorBody {
  const code = reason === 'body_not_json' ? rpcErrorCodes.parse : rpcErrorCodes.server
  return (_status, message) => rpcErrorText('null', { code, message, reason })
}

/** Returns the error response for any error of an exchange. */
export function rejectionOf(error: unknown): Rejection {
  if (error instanceof Rejection) return error
  // Of a relay that must not pass a response on.
  if (error instanceof UpstreamError && error.cause instanceof Rejection) return error.cause
  if (error instanceof ExchangeAborted) return new Rejection(503, 'shutting_down', error.message, { cause: error })
  if (!(error instanceof UpstreamError)) {
    const message = 'internal error of the bridge; its log has the cause'
    return new Rejection(500, 'internal_error', message, { cause: error })
  }
  if (error.failure === 'aborted') return new Rejection(503, 'shutting_down', error.message, { cause: error })
  return new Rejection(error.timedOut ? 504 : 502, 'provider_failed', error.message, { cause: error })
}

/** Returns the log fields of an error: only messages for errors of networks and clients, the stack for any other. */
export function describeError(error: unknown): object {
  const isExpected = error instanceof UpstreamError || error instanceof ExchangeAborted || error instanceof Rejection
  if (!isExpected) return { err: error }
  const { message, cause } = error
  return cause instanceof Error ? { reason: message, cause: cause.message } : { reason: message }
}

/** Returns the failure that is recorded for an error. */
export function failureOf(error: unknown): Failure {
  return { type: typeOf(error), message: error instanceof Error ? error.message : String(error) }
}

/** Reason of a rejection in place of a call → the recorded type. */
const errorTypes: Readonly<Partial<Record<RejectionReason, ErrorType>>> = {
  keys_limited: 'rate_limited',
  keys_rejected: 'unauthorized',
  breaker_open: 'overloaded',
  provider_busy: 'overloaded',
}

function typeOf(error: unknown): ErrorType {
  if (error instanceof Rejection) return errorTypes[error.reason] ?? 'unknown'
  if (error instanceof ExchangeAborted && error.by === 'client') return 'client_closed'
  if (!(error instanceof UpstreamError)) return 'unknown'
  if (error.timedOut) return 'timeout'
  if (error.failure === 'unreachable') return 'unreachable'
  return error.cause instanceof ExchangeAborted && error.cause.by === 'client' ? 'client_closed' : 'unknown'
}
