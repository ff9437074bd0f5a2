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

  test.each([[{}], [[]], [null], [7], [''], [{ error: {} }], [{ error: null }], [{ type: 'error' }], [{ ok: true }]])(
    'is not in %j',
    value => expect(errorIn(value)).toBeUndefined(),
  )

  test('is read from any value without a fault, and its message is a text', () => {
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
