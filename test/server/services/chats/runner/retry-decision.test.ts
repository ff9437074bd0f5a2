import { describe, expect, test } from 'vitest'
import { decideRetry } from '../../../../../server/services/chats/runner/retry-decision.js'
import { chatLimits } from '../../../../../shared/contract/limits.js'
import { ModelError, type ModelErrorOptions } from '../../../../../shared/contract/model-error.js'

const now = new Date('2026-01-01T00:00:00Z')
const at = (ms: number) => new Date(now.getTime() + ms)
const error = (options: Partial<ModelErrorOptions> = {}) =>
  new ModelError('no', { kind: 'retryable', reason: 'unavailable', status: 529, ...options })

describe('the decision behind a failed call of the model', () => {
  test('waits double from 1 s to 60 s, and up to a half is left to chance', () => {
    const waits = (random: number) =>
      [1, 2, 3, 4, 5, 6, 7].map(attempt => Reflect.get(decideRetry(error(), attempt, now, random), 'waitMs'))
    expect(waits(1)).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000])
    expect(waits(0)).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000])
  })

  test('the eighth failed attempt fails the turn', () => {
    expect(decideRetry(error(), chatLimits.maxAttempts, now, 0)).toEqual({
      kind: 'fail',
      error: { reason: 'too_many_attempts', message: 'no', status: 529 },
    })
  })

  test.each([
    [7_000, { kind: 'retry', waitMs: 7_000 }],
    [0, { kind: 'retry', waitMs: 1_000 }],
    [60_000, { kind: 'retry', waitMs: 60_000 }],
    [60_001, { kind: 'fail', error: { reason: 'rate_limited', message: 'no', status: 529, retryAt: at(60_001) } }],
  ])('a Retry-After of %i ms is obeyed up to 60 s', (retryAfterMs, expected) => {
    expect(decideRetry(error({ retryAfterMs }), 1, now, 0)).toEqual(expected)
  })

  test.each(['billing', 'rejected', 'context_too_long', 'not_allowed', 'unknown_provider'] as const)(
    'a final failure (%s) fails the turn at once',
    reason => {
      expect(decideRetry(error({ kind: 'final', reason }), 1, now, 0)).toMatchObject({
        kind: 'fail',
        error: { reason },
      })
    },
  )

  test('429 that is final fails the turn, with the time if there is one', () => {
    const final = error({ kind: 'final', reason: 'rate_limited', status: 429, retryAfterMs: 5_000 })
    expect(decideRetry(final, 1, now, 0)).toEqual({
      kind: 'fail',
      error: { reason: 'rate_limited', message: 'no', status: 429, retryAt: at(5_000) },
    })
  })
})
