import { TRPCError } from '@trpc/server'
import { getHTTPStatusCodeFromError } from '@trpc/server/http'
import { TRPC_ERROR_CODES_BY_KEY } from '@trpc/server/rpc'
import { describe, expect, it } from 'vitest'
import { errorCodeOf, errorCodes, errorReasonOf, isRetryable, RpcError } from '../../../shared/rpc/errors.js'

describe('the list of errors', () => {
  it.each(Object.entries(errorCodes))(
    '%s has the number and the status that tRPC gives it',
    (code, { number, status }) => {
      const key = code as keyof typeof errorCodes // Object.entries widens it
      expect(number).toBe(TRPC_ERROR_CODES_BY_KEY[key])
      expect(status).toBe(getHTTPStatusCodeFromError(new TRPCError({ code: key })))
    },
  )
})

describe('an RpcError made of what was thrown', () => {
  const own = new RpcError('CONFLICT', 'id 7 is in use', { reason: 'content_differs' })

  it('is the same error if it is one, or the one that tRPC wrapped', () => {
    expect(RpcError.from(own)).toBe(own)
    expect(RpcError.from(new TRPCError({ code: 'INTERNAL_SERVER_ERROR', cause: own }))).toBe(own)
  })

  it('keeps the code and message of a tRPC error', () => {
    expect(RpcError.from(new TRPCError({ code: 'NOT_FOUND', message: 'no such path' }))).toMatchObject({
      code: 'NOT_FOUND',
      message: 'no such path',
    })
  })

  it.each([
    [new Error('password is hunter2')],
    ['a text'],
    [null],
    [new TRPCError({ code: 'INTERNAL_SERVER_ERROR', cause: new Error('hunter2') })],
  ])('says nothing of anything else: %s', thrown => {
    const error = RpcError.from(thrown)
    expect(error).toMatchObject({ code: 'INTERNAL_SERVER_ERROR', message: 'internal server error', cause: thrown })
  })

  it.each([new Error('x'), own])('leaves out what throws when it is looked at: a proxy of %s', target => {
    const fault = (): never => {
      throw new Error('hunter2')
    }
    for (const thrown of [new Proxy(target, { get: fault }), new Proxy(target, { getPrototypeOf: fault })]) {
      for (const given of [thrown, Object.assign(new Error('x'), { cause: thrown })]) {
        const error = RpcError.from(given)
        expect([error.code, error.message]).toEqual(['INTERNAL_SERVER_ERROR', 'internal server error'])
      }
    }
  })

  it('code, reason and retry are read from errors of both sides', () => {
    expect([errorCodeOf(own), errorReasonOf(own), isRetryable(own)]).toEqual(['CONFLICT', 'content_differs', false])
    const remote = Object.assign(new Error('x'), { data: { code: 'TIMEOUT', reason: 'draining' } })
    expect([errorCodeOf(remote), errorReasonOf(remote), isRetryable(remote)]).toEqual(['TIMEOUT', 'draining', true])
    expect([errorCodeOf(new Error('x')), errorReasonOf('x'), isRetryable(new Error('x'))]).toEqual([
      undefined,
      undefined,
      true,
    ])
  })
})
