import { describe, expect, test } from 'vitest'
import { failureOf, failureText } from '../../../../server/commands/common/failure.js'
import { rpcError } from '../../../../shared/contract/error-reasons.js'

describe('failureOf', () => {
  test('an error of the contract keeps code, reason and message', () => {
    expect(failureOf(rpcError('unknown_row', 'no user x'))).toEqual({
      failure: { code: 'NOT_FOUND', reason: 'unknown_row', message: 'no user x', mayHaveRun: null },
      exitCode: 1,
    })
  })

  test('no server is 3', () => {
    expect(failureOf(rpcError('server_unreachable', 'x')).exitCode).toBe(3)
  })

  test('anything else is a fault of ours', () => {
    const message = 'TypeError: x is not a function'
    const failure = { code: 'INTERNAL_SERVER_ERROR', reason: null, message, mayHaveRun: null }
    expect(failureOf(new TypeError('x is not a function'))).toEqual({ failure, exitCode: 1 })
  })
})

test('a failure for people is the message and the reason, or the code without one; a usage error is the message', () => {
  const textOf = (code: string, reason: string | null, message: string, mayHaveRun: boolean | null = null) =>
    failureText({ code, reason, message, mayHaveRun })
  expect(textOf('NOT_FOUND', 'unknown_row', 'no user x')).toBe('error: no user x (unknown_row)')
  expect(textOf('FORBIDDEN', null, 'no\u001b')).toBe('error: no\\u001b (FORBIDDEN)')
  expect(textOf('BAD_REQUEST', null, 'too many arguments')).toBe('error: too many arguments')
  expect(textOf('TIMEOUT', null, 'late', false)).toBe('error: late (TIMEOUT)')
  const doubt = 'error: late; the change may have been made all the same (TIMEOUT)'
  expect(textOf('TIMEOUT', null, 'late', true)).toBe(doubt)
})
