/** The errors of OpenAI's APIs (https://platform.openai.com/docs/guides/error-codes). */
import type { ErrorType } from '../../../shared/contract/recorder.js'
import { isPlainObject } from '../../../shared/values/text.js'
import { errorTypeOfStatus, type Failure } from './error-type.js'
import { textOf } from './reading.js'

/** Returns the JSON text of an error of the bridge itself. */
export function openaiErrorBody(status: number, message: string): string {
  const { type, code } = errorNames[status] ?? {
    type: status >= 500 ? 'server_error' : 'invalid_request_error',
    code: null,
  }
  return JSON.stringify({ error: { message, type, param: null, code } })
}

/** Status → the names of the error. */
const errorNames: Record<number, { type: string; code: string | null }> = {
  401: { type: 'invalid_request_error', code: 'invalid_api_key' },
  403: { type: 'invalid_request_error', code: 'invalid_api_key' },
  429: { type: 'requests', code: 'rate_limit_exceeded' },
  504: { type: 'server_error', code: 'timeout' },
}

/** Code or type of an error → the recorded type. A code is more exact than a type. */
const errorTypes: Record<string, ErrorType> = {
  invalid_request_error: 'bad_request',
  invalid_prompt: 'bad_request',
  context_length_exceeded: 'bad_request',
  model_not_found: 'bad_request',
  authentication_error: 'unauthorized',
  invalid_api_key: 'unauthorized',
  permission_error: 'unauthorized',
  rate_limit_exceeded: 'rate_limited',
  rate_limit_error: 'rate_limited',
  insufficient_quota: 'rate_limited',
  requests: 'rate_limited',
  tokens: 'rate_limited',
  overloaded: 'overloaded',
  overloaded_error: 'overloaded',
  server_is_overloaded: 'overloaded',
  slow_down: 'overloaded',
  server_error: 'server_error',
  api_error: 'server_error',
  timeout: 'timeout',
}

/**
 * Returns the failure of an error object in a response. Providers of these APIs put a name or a status into `code` and
 * `type`.
 */
export function openaiFailure(error: unknown): Failure {
  if (typeof error === 'string' && error !== '') return { type: 'unknown', message: error, isQuoted: true }
  const { code, type, message } = isPlainObject(error) ? error : {}
  const name = textOf(code) ?? textOf(type)
  return {
    type: typeOf(code) ?? typeOf(type) ?? 'unknown',
    message: textOf(message) ?? name ?? 'the provider reported an error without a message',
    isQuoted: true,
  }
}

/** Returns undefined for an unknown name. A number that is no status is the provider's own. */
function typeOf(name: unknown): ErrorType | undefined {
  if (typeof name === 'number' || (typeof name === 'string' && /^\d{3}$/.test(name))) {
    const type = errorTypeOfStatus(Number(name))
    return type === 'unknown' ? undefined : type
  }
  return typeof name === 'string' && Object.hasOwn(errorTypes, name) ? errorTypes[name] : undefined
}
