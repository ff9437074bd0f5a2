/**
 * tRPC's WebSocket messages (trpc.io, "WebSockets", and its envelopes.ts) as types, with the two fields that this
 * project adds to `params`. A message from outside becomes one of these types here and nowhere else.
 */

/** The id that a client gives to a call; unique among the calls of a connection. */
export type CallId = number | string

/** The kinds of tRPC's procedures. */
export type CallType = 'query' | 'mutation' | 'subscription'

/** A call. `input` went through the input transformer. */
export interface CallMessage {
  id: CallId
  jsonrpc?: '2.0'
  method: CallType
  params: {
    path: string
    input?: unknown
    /** id of the event to resume behind */
    lastEventId?: string
    /** the caller's remaining time; ours only */
    timeoutMs?: number
    /** W3C trace context; ours only */
    traceparent?: string
  }
}

/** Ends a subscription; cancels a query or mutation (this project's servers only). */
export interface StopMessage {
  id: CallId
  jsonrpc?: '2.0'
  method: 'subscription.stop'
}

/** A message of a client: a call, the end of a call, or the request that a side which dials and serves dials anew. */
export type ClientMessage = CallMessage | StopMessage | ReconnectMessage

/** An error as the router's formatter shaped it, after the output transformer. */
export type WireError = unknown

/**
 * A result of a call: data, or the start or the end of a subscription. `id` within `result` is the event id of a
 * tracked item.
 */
export interface ResultMessage {
  id: CallId
  jsonrpc?: '2.0'
  result: { type: 'started' } | { type: 'stopped' } | { type: 'data'; data?: unknown; id?: string }
}

/** The error that ends a call; without an id, the error of the whole connection. */
export interface ErrorMessage {
  /** null: the connection as a whole */
  id: CallId | null
  jsonrpc?: '2.0'
  error: WireError
  /**
   * the call was not started, because the server moves clients elsewhere: the client may send the call again on another
   * connection; this project only
   */
  refused?: 'draining'
}

/**
 * Asks the far end for another connection: the client moves there. The calling side of a reversed link sends it to the
 * side that dials (this project only).
 */
export interface ReconnectMessage {
  id: null
  method: 'reconnect'
}

/** A message of a server: a result, an error, or the request to connect again. */
export type ServerMessage = ResultMessage | ErrorMessage | ReconnectMessage

/** The first frame for a URL with `?connectionParams=1`: the values that other clients send as headers. */
export interface ConnectionParamsMessage {
  method: 'connectionParams'
  data: ConnectionParams
}

/** Names to values in a client's first message; null if the client sends none. */
export type ConnectionParams = Readonly<Record<string, string>> | null

/** The fault of a rejected message, with the id for the response, or null. */
export class InvalidMessage {
  readonly id: CallId | null
  readonly problem: string

  constructor(id: CallId | null, problem: string) {
    this.id = id
    this.problem = problem
  }
}

/** Longest path of a procedure and longest call or event id, in UTF-16 code units. */
const maxIdLength = 1024

/** Checks one message of a client; a batch is checked item by item. */
export function parseClientMessage(raw: unknown): ClientMessage | InvalidMessage {
  if (!isRecord(raw)) return new InvalidMessage(null, 'a message must be an object')
  const id = raw.id
  if (!isCallId(id)) {
    if (id === null && raw.method === 'reconnect') return { id, method: raw.method }
    return new InvalidMessage(null, 'id must be a number or a string of at most 1,024 characters')
  }
  if (raw.jsonrpc !== undefined && raw.jsonrpc !== '2.0') return new InvalidMessage(id, 'jsonrpc must be "2.0"')
  const method = raw.method
  if (method === 'subscription.stop') return raw as unknown as StopMessage // checked above
  if (method !== 'query' && method !== 'mutation' && method !== 'subscription') {
    return new InvalidMessage(id, 'method must be query, mutation, subscription or subscription.stop')
  }
  const params = raw.params
  if (!isRecord(params)) return new InvalidMessage(id, 'params must be an object')
  const { path, lastEventId, timeoutMs, traceparent } = params
  if (typeof path !== 'string' || path.length > maxIdLength) {
    return new InvalidMessage(id, 'params.path must be a string of at most 1,024 characters')
  }
  // An event id may be as long as its server made it: the limit of a message is its limit.
  if (lastEventId !== undefined && typeof lastEventId !== 'string') {
    return new InvalidMessage(id, 'params.lastEventId must be a string')
  }
  if (timeoutMs !== undefined && !(typeof timeoutMs === 'number' && timeoutMs >= 0)) {
    return new InvalidMessage(id, 'params.timeoutMs must be a number of milliseconds, not below 0')
  }
  if (traceparent !== undefined && typeof traceparent !== 'string')
    return new InvalidMessage(id, 'params.traceparent must be a string')
  return raw as unknown as CallMessage // checked above, field by field
}

/** Checks the first frame of a connection that was announced with `?connectionParams=1`. */
export function parseConnectionParams(raw: unknown): ConnectionParamsMessage | InvalidMessage {
  if (!isRecord(raw) || raw.method !== 'connectionParams') {
    return new InvalidMessage(null, 'the first message must be connectionParams')
  }
  const data = raw.data ?? null
  if (data === null) return { method: 'connectionParams', data }
  if (!isRecord(data)) return new InvalidMessage(null, 'connectionParams.data must be an object or null')
  const params: Record<string, string> = Object.create(null)
  for (const [name, value] of Object.entries(data)) {
    if (typeof value !== 'string') return new InvalidMessage(null, `connectionParams.data.${name} must be a string`)
    params[name] = value
  }
  return { method: 'connectionParams', data: params }
}

/** Checks one message of a server. */
export function parseServerMessage(raw: unknown): ServerMessage | InvalidMessage {
  if (!isRecord(raw)) return new InvalidMessage(null, 'a message must be an object')
  const id = raw.id
  if (id === null || id === undefined) {
    if (raw.method === 'reconnect') return { id: null, method: 'reconnect' }
    if (raw.error !== undefined) return { id: null, error: raw.error }
    return new InvalidMessage(null, 'a message without id must be an error or reconnect')
  }
  if (!isCallId(id)) return new InvalidMessage(null, 'id must be a number or a string')
  if (raw.error !== undefined) return raw as unknown as ErrorMessage // id checked, error is unknown
  const result = raw.result
  if (!isRecord(result)) return new InvalidMessage(id, 'result must be an object')
  const type = result.type ?? 'data'
  if (type !== 'data' && type !== 'started' && type !== 'stopped')
    return new InvalidMessage(id, 'result.type must be data, started or stopped')
  if (result.id !== undefined && typeof result.id !== 'string')
    return new InvalidMessage(id, 'result.id must be a string')
  if (result.type === undefined) result.type = 'data'
  return raw as unknown as ResultMessage // checked above, field by field
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isCallId(value: unknown): value is CallId {
  return (
    (typeof value === 'number' && Number.isFinite(value)) || (typeof value === 'string' && value.length <= maxIdLength)
  )
}
