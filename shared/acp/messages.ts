/** The JSON-RPC 2.0 messages of the Agent Client Protocol, and their checks. */
import type { RpcError } from '../rpc/errors.js'
import { acpError, acpRpcCodeOf } from './errors.js'
import { maxIdLength } from './limits.js'
import { type AcpMethod, type AcpScope, agentMethods, cancelRequestMethod, clientMethods } from './methods.js'

/** The id of a request: a string of at most 256 characters or a safe integer. `1` and `"1"` differ. */
export type AcpId = number | string

/** A message that awaits a response with the same id. */
export interface AcpRequest {
  readonly jsonrpc: '2.0'
  readonly id: AcpId
  readonly method: string
  readonly params?: unknown
}

/** A message without a response. */
export interface AcpNotification {
  readonly jsonrpc: '2.0'
  readonly id?: undefined
  readonly method: string
  readonly params?: unknown
}

/** The `error` of a response. */
export interface AcpErrorObject {
  readonly code: number
  readonly message: string
  readonly data?: unknown
}

/** A response; its id is null only in an error about a message whose id could not be read. */
export interface AcpResponse {
  readonly jsonrpc: '2.0'
  readonly id: AcpId | null
  readonly method?: undefined
  readonly result?: unknown
  readonly error?: AcpErrorObject
}

/** Any message, of either side. */
export type AcpMessage = AcpRequest | AcpNotification | AcpResponse

/** Whether a message awaits a response. */
export function isRequest(message: AcpMessage): message is AcpRequest {
  return message.method !== undefined && message.id !== undefined
}

/** Whether a message is no response and awaits none. */
export function isNotification(message: AcpMessage): message is AcpNotification {
  return message.method !== undefined && message.id === undefined
}

/** Whether a message responds to a request of its receiver. */
export function isResponse(message: AcpMessage): message is AcpResponse {
  return message.method === undefined
}

/**
 * Returns the key of an id in tables of open requests, another one for `1` and `"1"`; undefined for a value that is no
 * id: null, a fraction, an integer that JSON does not keep exactly, an object, a longer string.
 */
export function idKey(id: unknown): string | undefined {
  if (typeof id === 'string') return id.length <= maxIdLength ? `s${id}` : undefined
  return Number.isSafeInteger(id) ? `n${id}` : undefined
}

/**
 * Checks a message of the far end. The object itself is returned, with fields that this version does not know.
 * @throws RpcError `BAD_REQUEST` (batch_unsupported, invalid_request)
 */
export function checkMessage(value: unknown): AcpMessage {
  if (Array.isArray(value)) throw acpError('batch_unsupported', 'a batch of messages: send one message at a time')
  const fault = faultOf(value)
  if (fault !== undefined) throw acpError('invalid_request', fault)
  return value as AcpMessage // checked by faultOf
}

/** Returns the fault of a value that is no message. */
function faultOf(value: unknown): string | undefined {
  if (!isObject(value)) return 'a message must be a JSON object'
  if (value.jsonrpc !== '2.0') return 'jsonrpc must be "2.0"'
  const { id, method } = value
  const isErrorWithoutId = id === null && method === undefined && value.error !== undefined
  if (id !== undefined && !isErrorWithoutId && idKey(id) === undefined) {
    return `id must be a string of at most ${maxIdLength} characters or a safe integer`
  }
  if (method === undefined) return responseFault(value)
  if (typeof method !== 'string' || method === '' || method.length > maxIdLength) {
    return `method must be a string of 1 to ${maxIdLength} characters`
  }
  if (value.result !== undefined || value.error !== undefined) return 'a message has a method or a result, not both'
  const { params } = value
  // Some serializers write null for absent params.
  if (params !== undefined && typeof params !== 'object') return 'params must be an object or an array'
  const sessionId = isObject(params) ? params.sessionId : undefined
  return typeof sessionId === 'string' && sessionId.length > maxIdLength
    ? `sessionId of ${sessionId.length.toLocaleString('en')} characters is longer than ${maxIdLength}`
    : undefined
}

function responseFault({ id, result, error }: Record<string, unknown>): string | undefined {
  if (id === undefined) return 'a message needs a method or an id'
  if ((result === undefined) === (error === undefined)) return 'a response has either a result or an error'
  if (error === undefined) return undefined
  const isError = isObject(error) && Number.isSafeInteger(error.code) && typeof error.message === 'string'
  return isError ? undefined : 'error must have an integer code and a message'
}

/** Returns the session that a request or notification names in its params. */
export function sessionIdOf({ params }: AcpRequest | AcpNotification): string | undefined {
  return isObject(params) && typeof params.sessionId === 'string' ? params.sessionId : undefined
}

/** Returns the session that the result of a response names, as that of `session/new` does. */
export function resultSessionIdOf({ result }: AcpResponse): string | undefined {
  return isObject(result) && typeof result.sessionId === 'string' ? result.sessionId : undefined
}

/** Returns the id of the request that a `$/cancel_request` names. */
export function cancelledIdOf({ params }: AcpRequest | AcpNotification): AcpId | undefined {
  const requestId = isObject(params) ? params.requestId : undefined
  return idKey(requestId) === undefined ? undefined : (requestId as AcpId) // checked by idKey
}

/**
 * Returns the scope of a request or notification: session if its params name a session or its method is listed so. A
 * `$/cancel_request` belongs to the connection, whatever its params are.
 */
export function scopeOf(message: AcpRequest | AcpNotification, sender: 'client' | 'agent'): AcpScope {
  const { method } = message
  if (method === cancelRequestMethod) return 'connection'
  if (sessionIdOf(message) !== undefined) return 'session'
  const methods: ReadonlyMap<string, AcpMethod> = sender === 'client' ? clientMethods : agentMethods
  return methods.get(method)?.scope ?? 'connection'
}

/** Makes the response that reports an error; the reason, and whether the request may have run, go into its data. */
export function errorResponse(id: AcpId | null, thrown: RpcError<string>): AcpResponse {
  const { message, reason, mayHaveRun } = thrown
  const data = { ...(reason !== undefined && { reason }), ...(mayHaveRun !== undefined && { mayHaveRun }) }
  const error = { code: acpRpcCodeOf(thrown), message, ...(Object.keys(data).length > 0 && { data }) }
  return { jsonrpc: '2.0', id, error }
}

/** Whether a value is a JSON object. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
