import { TRPCError } from '@trpc/server'
import { getHTTPStatusCodeFromError } from '@trpc/server/http'
import { TRPC_ERROR_CODES_BY_KEY } from '@trpc/server/rpc'
import { describe, expect, it } from 'vitest'
import { errorCodeOf, errorCodes, isRetryable, RpcError, reasonOf, transportError } from '../../../shared/rpc/errors.js'
import { ownError, ownReasons } from '../../fixtures/own-reasons.js'

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

describe('an RpcError made of a thrown value', () => {
  const own = new RpcError('CONFLICT', 'id 7 is in use', { reason: 'duplicate_id' })

  it('an RpcError stays the same error, also inside an error of tRPC', () => {
    expect(RpcError.from(own)).toBe(own)
    expect(RpcError.from(new TRPCError({ code: 'INTERNAL_SERVER_ERROR', cause: own }))).toBe(own)
  })

  it('a tRPC error keeps its code and message', () => {
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
  ])('any other thrown value shows nothing of itself: %s', thrown => {
    const error = RpcError.from(thrown)
    expect(error).toMatchObject({ code: 'INTERNAL_SERVER_ERROR', message: 'internal server error', cause: thrown })
  })

  it.each([new Error('x'), own])('a value that throws when it is read is left out: a proxy of %s', target => {
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
    expect([errorCodeOf(own), reasonOf(own), isRetryable(own)]).toEqual(['CONFLICT', 'duplicate_id', false])
    const remote = Object.assign(new Error('x'), { data: { code: 'TIMEOUT', reason: 'draining' } })
    expect([errorCodeOf(remote), reasonOf(remote), isRetryable(remote)]).toEqual(['TIMEOUT', 'draining', true])
    expect([errorCodeOf(new Error('x')), reasonOf('x'), isRetryable(new Error('x'))]).toEqual([
      undefined,
      undefined,
      true,
    ])
  })
})

describe('reasons of the transport and of its user', () => {
  it('an error made of a reason has the code of the table', () => {
    expect(transportError('draining', 'later', { mayHaveRun: false })).toMatchObject({
      code: 'SERVICE_UNAVAILABLE',
      reason: 'draining',
      message: 'later',
      mayHaveRun: false,
    })
    const cause = new Error('x')
    expect(ownError('seat_taken', 'seat 7', { cause })).toMatchObject({ code: 'CONFLICT', reason: 'seat_taken', cause })
  })

  it('a misspelt reason, one of another table, and one that needs a code do not compile', () => {
    // @ts-expect-error misspelt
    new RpcError('CONFLICT', 'seat 7', { reason: 'duplicated_id' })
    // @ts-expect-error not one of the transport
    new RpcError('CONFLICT', 'seat 7', { reason: 'seat_taken' })
    // @ts-expect-error misspelt
    new RpcError<keyof typeof ownReasons>('CONFLICT', 'seat 7', { reason: 'seat_took' })
    // @ts-expect-error misspelt
    ownError('seat_took', 'seat 7')
    // @ts-expect-error occurs with several codes
    ownError('sold_out', 'no seat')
    expect(new RpcError<keyof typeof ownReasons>('NOT_FOUND', 'no seat', { reason: 'sold_out' }).reason).toBe(
      'sold_out',
    )
  })

  it('a reason outside the table is read as no reason, and the code stays', () => {
    const newer = Object.assign(new Error('x'), { data: { code: 'CONFLICT', reason: 'seat_haunted' } })
    expect([errorCodeOf(newer), reasonOf(newer), reasonOf(newer, ownReasons)]).toEqual([
      'CONFLICT',
      undefined,
      undefined,
    ])
    const inherited = Object.assign(new Error('x'), { data: { code: 'CONFLICT', reason: 'constructor' } })
    expect(reasonOf(inherited, ownReasons)).toBeUndefined()
    const taken = ownError('seat_taken', 'seat 7')
    expect([reasonOf(taken, ownReasons), reasonOf(taken)]).toEqual(['seat_taken', undefined])
  })
})
