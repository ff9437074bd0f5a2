/** Failures of model calls, by status and cause. No rule reads the words of a message. */
import { ModelError, type ModelErrorOptions } from '../../shared/contract/model-error.js'
import type { ErrorType } from '../../shared/contract/recorder.js'
import { cleanText, cutToLength, isPlainObject } from '../../shared/values/text.js'
import { errorIn } from '../bridge/providers/provider-errors.js'
import type { RejectionReason } from '../bridge/wire/rejection.js'

type Kind = Pick<ModelErrorOptions, 'kind' | 'reason'>

const unavailable: Kind = { kind: 'retryable', reason: 'unavailable' }
const rejected: Kind = { kind: 'final', reason: 'rejected' }
const notAllowed: Kind = { kind: 'final', reason: 'not_allowed' }
const unknownProvider: Kind = { kind: 'final', reason: 'unknown_provider' }
const billing: Kind = { kind: 'final', reason: 'billing' }
const contextTooLong: Kind = { kind: 'final', reason: 'context_too_long' }

/** Rejections of the bridge itself that their status does not explain. All others count by their status. */
const rejections: Readonly<Partial<Record<RejectionReason, Kind>>> = {
  no_key: notAllowed,
  invalid_key: notAllowed,
  unknown_key: notAllowed,
  expired: notAllowed,
  revoked: notAllowed,
  unknown_user: notAllowed,
  ambiguous_auth: notAllowed,
  deleted_user: notAllowed,
  inactive_user: notAllowed,
  system_user: notAllowed,
  delegation_not_allowed: notAllowed,
  not_authorized: notAllowed,
  unknown_provider: unknownProvider,
  provider_disabled: unknownProvider,
  unknown_route: unknownProvider,
  body_too_large: contextTooLong,
  keys_rejected: rejected,
  loop: rejected,
}

/**
 * Names in the fields `code` and `type` of errors whose status does not tell them from others: 429 of OpenAI
 * (`insufficient_quota`) and 400 of OpenAI and of servers with its API. Anthropic has 402 and 413, and no name for a
 * prompt that is too long: that is `rejected`, with Anthropic's message.
 */
const names: Readonly<Record<string, Kind>> = {
  insufficient_quota: billing,
  billing_hard_limit_reached: billing,
  billing_not_active: billing,
  billing_error: billing,
  insufficient_balance: billing,
  context_length_exceeded: contextTooLong,
  context_window_exceeded: contextTooLong,
  request_too_large: contextTooLong,
}

/** The same for errors without a status, inside a stream, by the type that the bridge records. */
const types: Readonly<Partial<Record<ErrorType, Kind>>> = {
  bad_request: rejected,
  unauthorized: rejected,
  billing,
  rate_limited: { kind: 'retryable', reason: 'rate_limited' },
}

/** Returns the failure of a stream that ended too early, stalled, or made no sense. */
export function brokenStream(message: string, cause?: unknown): ModelError {
  return new ModelError(message, { ...unavailable, cause })
}

/** Returns the failure that a provider describes inside a stream. */
export function streamError(error: unknown): ModelError {
  return new ModelError(messageOf(error) ?? 'the provider reported an error', { ...kindWithoutStatus(error) })
}

/**
 * Returns the failure of a call.
 * @param error any error of the SDKs or of reading the response
 * @param rejection the reason of the bridge, if the bridge itself rejected the request
 */
export function modelErrorOf(error: unknown, signal: AbortSignal, rejection: RejectionReason | undefined): ModelError {
  if (signal.aborted) return new ModelError('the call was aborted', { kind: 'aborted', reason: 'unavailable' })
  if (error instanceof ModelError) return error
  const { status, headers, body, message } = factsOf(error)
  const kind = (rejection && rejections[rejection]) ?? kindOf(status, headers, body)
  const retryAfterMs = headers && retryAfterOf(headers)
  return new ModelError(message, { ...kind, status, retryAfterMs, cause: error })
}

interface Facts {
  status: number | undefined
  headers: Headers | undefined
  body: unknown
  message: string
}

/** Reads the errors of both SDKs, which have the same fields. */
function factsOf(error: unknown): Facts {
  const own = error instanceof Error ? error : new Error(String(error))
  const [status, headers, body]: unknown[] = ['status', 'headers', 'error'].map(name => Reflect.get(own, name))
  // The SDKs hide the failure of a connection behind a text of their own.
  const cause = own.cause instanceof Error ? `: ${own.cause.message}` : ''
  return {
    status: typeof status === 'number' ? status : undefined,
    headers: headers instanceof Headers ? headers : undefined,
    body,
    message: shown(messageOf(body) ?? `${own.message}${cause}`),
  }
}

function kindOf(status: number | undefined, headers: Headers | undefined, body: unknown): Kind {
  if (status === undefined) return kindWithoutStatus(body)
  const named = namedKind(body)
  if (named) return named
  if (status === 402) return billing
  if (status === 413) return contextTooLong
  if (status === 429) {
    // The SDKs' own rule: the provider says that a repeat gets the same response.
    const isFinal = headers?.get('x-should-retry') === 'false'
    return { kind: isFinal ? 'final' : 'retryable', reason: 'rate_limited' }
  }
  return status === 408 || status === 425 || status >= 500 ? unavailable : rejected
}

function kindWithoutStatus(body: unknown): Kind {
  const type = errorIn(body)?.type
  return namedKind(body) ?? (type && types[type]) ?? unavailable
}

function namedKind(body: unknown, depth = 0): Kind | undefined {
  if (!isPlainObject(body) || depth > 3) return undefined
  for (const field of ['code', 'type']) {
    const name = body[field]
    if (typeof name === 'string' && Object.hasOwn(names, name)) return names[name]
  }
  return namedKind(body.error, depth + 1)
}

function messageOf(body: unknown): string | undefined {
  const message = errorIn(body)?.message
  return message === undefined ? undefined : shown(message)
}

/** longest message of a provider that a chat keeps */
const maxMessageLength = 2_000

function shown(message: string): string {
  return cutToLength(cleanText(message), maxMessageLength)
}

/** Returns the wait that a response asks for: `retry-after-ms`, or `Retry-After` as seconds or a date. */
function retryAfterOf(headers: Headers): number | undefined {
  const ms = countOf(headers.get('retry-after-ms'))
  if (ms !== undefined) return ms
  const text = headers.get('retry-after')
  const seconds = countOf(text)
  if (seconds !== undefined) return seconds * 1_000
  const at = text === null ? Number.NaN : Date.parse(text)
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now())
}

function countOf(text: string | null): number | undefined {
  const count = text === null || text.trim() === '' ? Number.NaN : Number(text)
  return Number.isFinite(count) && count >= 0 ? count : undefined
}
