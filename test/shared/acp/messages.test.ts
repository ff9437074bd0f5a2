import { describe, expect, test } from 'vitest'
import { acpError } from '../../../shared/acp/errors.js'
import {
  cancelledIdOf,
  checkMessage,
  errorResponse,
  idKey,
  isNotification,
  isRequest,
  isResponse,
  resultSessionIdOf,
  scopeOf,
  sessionIdOf,
} from '../../../shared/acp/messages.js'
import { fc } from '../../fixtures/random.js'

const version = { jsonrpc: '2.0' } as const
const validId = fc.oneof(fc.maxSafeInteger(), fc.string({ maxLength: 256 }))

describe('keys of ids', () => {
  test('two ids have one key if and only if they are the same JSON value', () => {
    fc.assert(
      fc.property(validId, validId, (a, b) => {
        expect(idKey(a) === idKey(b)).toBe(JSON.stringify(a) === JSON.stringify(b))
      }),
    )
  })

  test('a number and its text have different keys', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), id => {
        expect(idKey(id)).not.toBe(idKey(String(id)))
      }),
    )
  })

  test('values that are no id have no key', () => {
    const fraction = fc.double({ noInteger: true })
    const unsafe = fc.constantFrom(2 ** 53, -(2 ** 53), 1e300, Number.NaN, Infinity)
    const other = fc.oneof(fc.constant(null), fc.boolean(), fc.object(), fc.array(fc.integer()))
    const long = fc.string({ minLength: 257, maxLength: 300 })
    fc.assert(
      fc.property(fc.oneof(fraction, unsafe, other, long), id => {
        expect(idKey(id)).toBeUndefined()
      }),
    )
  })
})

describe('checked messages', () => {
  test('any id is kept as it was, and makes a message a request', () => {
    fc.assert(
      fc.property(validId, id => {
        const message = checkMessage(JSON.parse(JSON.stringify({ ...version, id, method: 'x' })))
        expect(isRequest(message) && message.id).toBe(Object.is(id, -0) ? 0 : id)
      }),
    )
  })

  test.each([
    ['a request', { ...version, id: 0, method: 'session/new', params: {} }, isRequest],
    ['a request with null params', { ...version, id: '', method: 'session/new', params: null }, isRequest],
    ['a notification', { ...version, method: '_vendor/x', params: [1] }, isNotification],
    ['a result of null', { ...version, id: 'a', result: null }, isResponse],
    ['an error', { ...version, id: 1, error: { code: -1, message: 'm', data: 7 } }, isResponse],
    ['an error without an id', { ...version, id: null, error: { code: -32_700, message: 'm' } }, isResponse],
  ])('%s is taken', (_, value, kind) => {
    expect(kind(checkMessage(value))).toBe(true)
  })

  test.each([
    ['a text', 'hello', 'must be a JSON object'],
    ['null', null, 'must be a JSON object'],
    ['another version', { jsonrpc: '1.0', method: 'x' }, 'jsonrpc must be "2.0"'],
    ['a message of nothing', { ...version }, 'needs a method or an id'],
    ['an id of null', { ...version, id: null, method: 'x' }, 'id must be'],
    ['a result for the id null', { ...version, id: null, result: 1 }, 'id must be'],
    ['a fraction', { ...version, id: 1.5, method: 'x' }, 'id must be'],
    ['an object as an id', { ...version, id: {}, method: 'x' }, 'id must be'],
    ['a long id', { ...version, id: 'x'.repeat(257), method: 'x' }, 'id must be'],
    ['a method that is no text', { ...version, method: 7 }, 'method must be'],
    ['a long method', { ...version, method: 'x'.repeat(257) }, 'method must be'],
    ['params that are a text', { ...version, method: 'x', params: 'p' }, 'params must be'],
    ['a long session id', { ...version, method: 'x', params: { sessionId: 'x'.repeat(257) } }, '257 characters'],
    ['a method with a result', { ...version, id: 1, method: 'x', result: 1 }, 'not both'],
    ['a result with an error', { ...version, id: 1, result: 1, error: { code: 1, message: '' } }, 'either'],
    ['an id alone', { ...version, id: 1 }, 'either'],
    ['an error without a code', { ...version, id: 1, error: { message: 'm' } }, 'integer code'],
  ])('%s is rejected', (_, value, text) => {
    expect(() => checkMessage(value)).toThrow(
      expect.objectContaining({ reason: 'invalid_request', message: expect.stringContaining(text) }),
    )
  })

  test('a batch has a reason of its own', () => {
    expect(() => checkMessage([])).toThrow(expect.objectContaining({ reason: 'batch_unsupported' }))
  })
})

describe('scopes', () => {
  const session = { sessionId: 's' }
  test.each([
    ['client', 'session/prompt', session, 'session'],
    ['client', 'session/prompt', {}, 'session'],
    ['client', 'session/new', { cwd: '/' }, 'connection'],
    ['client', '_vendor/x', session, 'session'],
    ['client', '_vendor/x', { sessionId: 7 }, 'connection'],
    ['client', '$/cancel_request', { ...session, requestId: 1 }, 'connection'],
    ['agent', 'session/update', session, 'session'],
    ['agent', '_auth/status_update', { ok: true }, 'connection'],
    ['agent', 'qwen/notify/session/mode-update', session, 'session'],
    ['agent', 'elicitation/create', session, 'session'],
    ['agent', 'elicitation/create', {}, 'connection'],
  ] as const)('a message of the %s, %s with %j, is of the %s', (sender, method, params, scope) => {
    expect(scopeOf({ ...version, method, params }, sender)).toBe(scope)
  })
})

test('the session and the request that a message names are read, and values of other types are not', () => {
  const named = (params: unknown) => ({ ...version, method: 'x', params })
  expect(sessionIdOf(named({ sessionId: 's' }))).toBe('s')
  expect(sessionIdOf(named({ sessionId: 7 }))).toBeUndefined()
  expect(sessionIdOf(named(['s']))).toBeUndefined()
  expect(cancelledIdOf(named({ requestId: 7 }))).toBe(7)
  expect(cancelledIdOf(named({ requestId: null }))).toBeUndefined()
  expect(resultSessionIdOf({ ...version, id: 1, result: { sessionId: 's' } })).toBe('s')
  expect(resultSessionIdOf({ ...version, id: 1, result: null })).toBeUndefined()
})

test('an error response carries the code and the reason of the rejection', () => {
  expect(errorResponse(7, acpError('duplicate_id', 'id 7 is open'))).toEqual({
    ...version,
    id: 7,
    error: { code: -32_600, message: 'id 7 is open', data: { reason: 'duplicate_id' } },
  })
})
