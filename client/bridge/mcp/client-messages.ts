/**
 * Reads the JSON-RPC messages that a client posts (https://modelcontextprotocol.io/specification, "Transports" and
 * "Tools"), of every protocol version: one message or, in version 2025-03-26, several.
 */
import { isUtf8 } from 'node:buffer'
import { isPlainObject, type JsonObject } from '../../../shared/values/text.js'
import { JsonNode } from '../wire/json-node.js'
import { Rejection } from '../wire/rejection.js'

/** A call of a tool. */
export interface PostedCall {
  /** JSON text of the request's id; undefined for a notification, which gets no response */
  id: string | undefined
  /** bare name; undefined if the call has none */
  tool: string | undefined
  /** JSON text of the arguments; empty without any */
  input: string
  /** extensions of clients */
  meta: JsonObject
}

/** The messages of one POST. */
export interface Posted {
  isBatch: boolean
  /** JSON texts of the ids of all requests, in order */
  requestIds: string[]
  calls: PostedCall[]
  /** whether a list of tools is asked for */
  listsTools: boolean
  /** whether a session may begin */
  initializes: boolean
  /** the method of a single message; undefined for a response and for a batch */
  method: string | undefined
  /** the method, for metrics: one of a closed list */
  label: string
}

/** Messages of one batch: each call in it is recorded before the server gets any. */
const maxBatch = 100

/** Methods that have their own label in metrics. */
const knownMethods: ReadonlySet<string> = new Set([
  'initialize',
  'server/discover',
  'ping',
  'tools/list',
  'tools/call',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'resources/subscribe',
  'resources/unsubscribe',
  'prompts/list',
  'prompts/get',
  'completion/complete',
  'logging/setLevel',
  'subscriptions/listen',
])

/**
 * Returns the messages of a body.
 * @throws Rejection 400 if the body is no JSON, or if servers may read a message differently: see
 *   {@link rejectAmbiguity}
 */
export function readPosted(body: Buffer): Posted {
  const json = parse(body)
  const root = JsonNode.of(body)
  const isBatch = Array.isArray(json)
  const messages: unknown[] = isBatch ? json : [json]
  if (messages.length > maxBatch) throw notMessage(`more than ${maxBatch} messages at once`)
  const nodes = isBatch ? root.elements : [root]
  const posted: Posted = {
    isBatch,
    requestIds: [],
    calls: [],
    listsTools: false,
    initializes: false,
    method: undefined,
    label: isBatch ? 'batch' : 'response',
  }
  for (const [index, message] of messages.entries()) {
    const node = nodes[index]
    if (!isPlainObject(message) || !node) throw notMessage('a message is no JSON object')
    rejectAmbiguity(node)
    add(posted, message, node)
  }
  return posted
}

function add(posted: Posted, message: Record<string, unknown>, node: JsonNode): void {
  const { method } = message
  if (typeof method !== 'string') return
  const id = message.id === undefined ? undefined : JSON.stringify(message.id)
  if (!posted.isBatch) {
    posted.method = method
    posted.label = labelOf(method)
  }
  if (id !== undefined && posted.requestIds.includes(id)) throw notMessage('two requests have one id')
  if (id !== undefined) posted.requestIds.push(id)
  if (method === 'initialize') posted.initializes = true
  if (method === 'tools/list') posted.listsTools = true
  if (method !== 'tools/call') return
  const params = isPlainObject(message.params) ? message.params : {}
  posted.calls.push({
    id,
    tool: typeof params.name === 'string' ? params.name : undefined,
    input: node.at('params', 'arguments')?.bytes.toString() ?? '',
    meta: isPlainObject(params._meta) ? (params._meta as JsonObject) : {}, // came out of JSON.parse
  })
}

function labelOf(method: string): string {
  if (method.startsWith('notifications/')) return 'notification'
  return knownMethods.has(method) ? method : 'other'
}

function parse(body: Buffer): unknown {
  // Bytes that are no UTF-8 are read in several ways, and a name that one reading allows another may not.
  if (!isUtf8(body)) throw notMessage(`the request body of ${body.length.toLocaleString('en')} bytes is not UTF-8`)
  try {
    return JSON.parse(body.toString())
  } catch {
    throw notMessage(`the request body of ${body.length.toLocaleString('en')} bytes is not JSON`)
  }
}

function notMessage(cause: string): Rejection {
  return new Rejection(400, 'body_not_json', cause)
}

/** Members by which a message is judged. */
const judged: Readonly<Record<'message' | 'params', readonly string[]>> = {
  message: ['jsonrpc', 'id', 'method', 'params'],
  params: ['name'],
}

/**
 * Rejects a message that the server may read differently than the bridge, which would get a call past the filter of
 * tools. Of repeated members some parsers take the first and others the last, and Go's matches names in any case.
 */
function rejectAmbiguity(message: JsonNode): void {
  rejectDoubles(message, judged.message)
  const params = message.member('params')
  if (params) rejectDoubles(params, judged.params)
}

function rejectDoubles(object: JsonNode, names: readonly string[]): void {
  const seen = new Set<string>()
  for (const written of object.memberNames) {
    const name = folded(written)
    if (!names.includes(name)) continue
    if (written !== name || seen.has(name)) throw notMessage(`a message has the member ${JSON.stringify(name)} twice`)
    seen.add(name)
  }
}

/** Folds the case of a name as Go does, which knows two letters beside ASCII's: ſ and the sign of kelvin. */
function folded(name: string): string {
  return name
    .toLowerCase()
    .replace(/ſ/g, 's')
    .replace(/\u212a/g, 'k')
}
