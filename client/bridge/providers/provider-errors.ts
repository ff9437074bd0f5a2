/**
 * Reads the errors of providers. Every API has a shape of its own, and the servers before and behind it have further
 * ones: nested, flat, a list, a text. One reader takes them all, for the words that a person looks for are in any of
 * them.
 */
import type { ErrorType } from '../../../shared/contract/recorder.js'
import { isPlainObject } from '../../../shared/values/text.js'
import { errorTypeOfStatus, type Failure } from './error-type.js'
import { parsed, textOf } from './reading.js'

/** Fields that hold an error inside another object. */
const innerFields = ['error', 'errors', 'detail', 'base_resp'] as const
/** Fields with the words of an error. */
const wordFields = ['message', 'msg', 'error_message', 'error_description', 'status_msg', 'title', 'reason'] as const
/** Fields with the name or the status of an error, the most exact first. */
const nameFields = ['code', 'type', 'status', 'status_code'] as const

/** deeper levels of an error are not read */
const maxDepth = 5

/** The failure of an error that says nothing of itself. */
export const unnamedError: Failure = {
  type: 'unknown',
  message: 'the provider reported an error without a message',
  isQuoted: true,
}

/** Returns the failure that a provider's error describes; undefined if the value holds no word of an error. */
export function errorIn(value: unknown): Failure | undefined {
  const { message, names } = describe(value, 0)
  const name = names.map(textOf).find(text => text !== undefined)
  const words = message ?? name
  if (words === undefined && !names.some(typeOfName)) return undefined
  return {
    type: names.map(typeOfName).find(type => type !== undefined) ?? 'unknown',
    message: words ?? unnamedError.message,
    isQuoted: true,
  }
}

/**
 * Returns the failure in an object that has nothing of a response: a flat error, or one under a name of the provider's
 * own. MiniMax sends its `base_resp` with every response; the status 0 there is success.
 */
export function errorInstead(json: Record<string, unknown>): Failure | undefined {
  const { base_resp: status, ...rest } = json
  const isFailed = isPlainObject(status) && status.status_code !== 0
  const type = textOf(json.type)
  // The type of an event that no reader knows is no error.
  if (type !== undefined && json.object !== 'error' && typeOfName(type) === undefined) return undefined
  const { message, names } = describe(isFailed ? json : rest, 0)
  return message === undefined && !names.some(typeOfName) ? undefined : errorIn(isFailed ? json : rest)
}

interface Description {
  message: string | undefined
  /** names and statuses, the innermost first */
  names: readonly unknown[]
}

const nothing: Description = { message: undefined, names: [] }

function describe(value: unknown, depth: number): Description {
  if (depth > maxDepth) return nothing
  if (typeof value === 'string') return describeText(value, depth)
  if (Array.isArray(value)) return describe(value[0], depth + 1)
  if (!isPlainObject(value)) return nothing
  const inner = innerFields.map(field => describe(own(value, field), depth + 1)).find(isSomething) ?? nothing
  const words = wordFields.map(field => own(value, field)).find(isText)
  const said = words === undefined ? nothing : describeText(words, depth)
  return {
    message: inner.message ?? said.message,
    names: [...inner.names, ...said.names, ...nameFields.map(field => own(value, field)).filter(isName)],
  }
}

/** A server between passes on the error of the one behind it as JSON text. */
function describeText(text: string, depth: number): Description {
  const inner = text.trimStart().startsWith('{') ? describe(parsed(text), depth + 1) : nothing
  return { message: inner.message ?? textOf(text), names: inner.names }
}

function isSomething({ message, names }: Description): boolean {
  return message !== undefined || names.length > 0
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

function isName(value: unknown): boolean {
  return typeof value === 'number' || (isText(value) && value !== 'error')
}

function own(value: Record<string, unknown>, field: string): unknown {
  return Object.hasOwn(value, field) ? value[field] : undefined
}

/** Returns the recorded type of a name or a status; undefined for an unknown one. */
function typeOfName(name: unknown): ErrorType | undefined {
  if (typeof name === 'number' || (typeof name === 'string' && /^\d{3}$/.test(name))) {
    const type = errorTypeOfStatus(Number(name))
    return type === 'unknown' ? undefined : type
  }
  if (typeof name !== 'string') return undefined
  // `BadRequestError`, `bad_request_error` and `BAD_REQUEST` are one name.
  const plain = name
    .toLowerCase()
    .replace(/[^a-z]/g, '')
    .replace(/(error|exception)$/, '')
  return Object.hasOwn(typesOfNames, plain) ? typesOfNames[plain] : undefined
}

/**
 * Name of an error, in letters of lower case and without "error" at its end → the recorded type. Sources: Anthropic and
 * OpenAI (their pages on errors), gRPC's status codes (Google), class names of Python servers (vLLM, LiteLLM).
 */
const typesOfNames: Readonly<Record<string, ErrorType>> = {
  invalidrequest: 'bad_request',
  invalidprompt: 'bad_request',
  invalidargument: 'bad_request',
  badrequest: 'bad_request',
  unprocessableentity: 'bad_request',
  failedprecondition: 'bad_request',
  notfound: 'bad_request',
  modelnotfound: 'bad_request',
  requesttoolarge: 'bad_request',
  contextlengthexceeded: 'bad_request',
  contextwindowexceeded: 'bad_request',
  authentication: 'unauthorized',
  unauthenticated: 'unauthorized',
  unauthorized: 'unauthorized',
  invalidapikey: 'unauthorized',
  permission: 'unauthorized',
  permissiondenied: 'unauthorized',
  forbidden: 'unauthorized',
  billing: 'billing',
  billinghardlimitreached: 'billing',
  insufficientbalance: 'billing',
  ratelimit: 'rate_limited',
  ratelimitexceeded: 'rate_limited',
  ratelimitreached: 'rate_limited',
  // OpenAI sends it with status 429, whose type every other response of 429 has.
  insufficientquota: 'rate_limited',
  resourceexhausted: 'rate_limited',
  toomanyrequests: 'rate_limited',
  requests: 'rate_limited',
  tokens: 'rate_limited',
  overloaded: 'overloaded',
  serverisoverloaded: 'overloaded',
  serviceunavailable: 'overloaded',
  unavailable: 'overloaded',
  slowdown: 'overloaded',
  engineoverloaded: 'overloaded',
  server: 'server_error',
  internalserver: 'server_error',
  internal: 'server_error',
  api: 'server_error',
  timeout: 'timeout',
  requesttimeout: 'timeout',
  gatewaytimeout: 'timeout',
  deadlineexceeded: 'timeout',
}
