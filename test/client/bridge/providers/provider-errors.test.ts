import { describe, expect, test } from 'vitest'
import { errorTypeOfStatus } from '../../../../client/bridge/providers/error-type.js'
import { errorIn } from '../../../../client/bridge/providers/provider-errors.js'
import { fc } from '../../../fixtures/random.js'

describe('the error of a provider', () => {
  test.each<[source: string, value: unknown, type: string, message: string]>([
    [
      'Anthropic',
      { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } },
      'overloaded',
      'Overloaded',
    ],
    ['Anthropic', { type: 'error', error: { type: 'billing_error', message: 'no credit' } }, 'billing', 'no credit'],
    [
      'OpenAI',
      { error: { message: 'slow', type: 'tokens', code: 'rate_limit_exceeded', param: null } },
      'rate_limited',
      'slow',
    ],
    ['Google', { error: { code: 429, message: 'quota', status: 'RESOURCE_EXHAUSTED' } }, 'rate_limited', 'quota'],
    ['Google, in a list', [{ error: { code: 400, message: 'bad', status: 'INVALID_ARGUMENT' } }], 'bad_request', 'bad'],
    [
      'vLLM, flat',
      { object: 'error', message: 'm', type: 'BadRequestError', param: null, code: 400 },
      'bad_request',
      'm',
    ],
    ['vLLM, flat, by name', { object: 'error', message: 'm', type: 'InternalServerError' }, 'server_error', 'm'],
    ['FastAPI', { detail: 'Model not found' }, 'unknown', 'Model not found'],
    [
      'FastAPI, of a field',
      { detail: [{ loc: ['body', 'n'], msg: 'field required', type: 'missing' }] },
      'unknown',
      'field required',
    ],
    ['Ollama', { error: 'model "x" not found' }, 'unknown', 'model "x" not found'],
    ['Cohere', { message: 'invalid api token' }, 'unknown', 'invalid api token'],
    [
      'a list of errors',
      { errors: [{ message: 'first', code: 'timeout' }, { message: 'second' }] },
      'timeout',
      'first',
    ],
    ['nested twice', { error: { error: { message: 'deep', type: 'permission_error' } } }, 'unauthorized', 'deep'],
    [
      'JSON in a text',
      { error: { message: '{"error":{"message":"inner","code":503}}', code: 502 } },
      'overloaded',
      'inner',
    ],
    ['OAuth', { error: 'invalid_token', error_description: 'expired' }, 'unknown', 'invalid_token'],
    ['a flag', { error: true, message: 'no', status: 402 }, 'billing', 'no'],
    ['a name only', { error: { type: 'rate_limit_error' } }, 'rate_limited', 'rate_limit_error'],
    ['a status only', { error: { code: 503 } }, 'overloaded', 'the provider reported an error without a message'],
    ['plain words', 'upstream connect error', 'unknown', 'upstream connect error'],
  ])('%s: %j', (_, value, type, message) => {
    expect(errorIn(value)).toEqual({ type, message, isQuoted: true })
  })

  const names = {
    bad_request:
      'invalid_request_error invalid_prompt INVALID_ARGUMENT BadRequestError UnprocessableEntityError FAILED_PRECONDITION not_found_error model_not_found request_too_large context_length_exceeded ContextWindowExceededError',
    unauthorized:
      'authentication_error UNAUTHENTICATED Unauthorized invalid_api_key permission_error PERMISSION_DENIED forbidden',
    billing: 'billing_error billing_hard_limit_reached insufficient_balance',
    rate_limited:
      'RateLimitError rate_limit_exceeded rate_limit_reached_error insufficient_quota RESOURCE_EXHAUSTED too_many_requests requests tokens',
    overloaded:
      'overloaded_error server_is_overloaded ServiceUnavailableError UNAVAILABLE slow_down engine_overloaded_error',
    server_error: 'server_error InternalServerError INTERNAL api_error',
    timeout: 'timeout_error RequestTimeoutException gateway_timeout DEADLINE_EXCEEDED',
  }
  const named = Object.entries(names).flatMap(([type, list]) => list.split(' ').map(name => [name, type]))

  test.each(named)('named %s is recorded as %s, as a code and as a type', (name, type) => {
    for (const field of ['code', 'type']) expect(errorIn({ error: { message: 'm', [field]: name } })?.type).toBe(type)
  })

  test.each([[{}], [[]], [null], [7], [''], [{ error: {} }], [{ error: null }], [{ type: 'error' }], [{ ok: true }]])(
    'the error of a provider is not in %j',
    value => expect(errorIn(value)).toBeUndefined(),
  )

  test('the error of a provider is read from any value without a fault, and its message is a text', () => {
    const keys = fc.constantFrom('error', 'errors', 'detail', 'message', 'code', 'type', 'status', 'msg', '__proto__')
    const { value } = fc.letrec(tie => ({
      value: fc.oneof(
        { depthSize: 'small' },
        fc.jsonValue(),
        fc.dictionary(keys, tie('value')),
        fc.array(tie('value')),
      ),
    }))
    fc.assert(
      fc.property(value, anything => {
        const failure = errorIn(anything)
        if (failure) expect(failure.message.length).toBeGreaterThan(0)
      }),
    )
  })
})

test.each([
  [200, undefined],
  [299, undefined],
  [302, 'unknown'],
  [400, 'bad_request'],
  [401, 'unauthorized'],
  [402, 'billing'],
  [403, 'unauthorized'],
  [404, 'bad_request'],
  [408, 'timeout'],
  [409, 'bad_request'],
  [418, 'bad_request'],
  [429, 'rate_limited'],
  [500, 'server_error'],
  [502, 'server_error'],
  [503, 'overloaded'],
  [504, 'timeout'],
  [529, 'overloaded'],
  [600, 'unknown'],
])('the status %i is recorded as %s', (status, type) => {
  expect(errorTypeOfStatus(status)).toBe(type)
})
