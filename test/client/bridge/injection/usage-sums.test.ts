import { expect, test } from 'vitest'
import { newestUsage, sumOfUsage } from '../../../../client/bridge/injection/usage-sums.js'

test('numbers add up in groups too, other values and fields of one side stay', () => {
  const sum = sumOfUsage(
    { a: 1, group: { b: 2, c: 3 }, tier: 'x', only: 1 },
    { a: 10, group: { b: 20 }, tier: 'y', more: null },
  )
  expect(sum).toEqual({ a: 11, group: { b: 22, c: 3 }, tier: 'y', only: 1, more: null })
  expect(sumOfUsage(undefined, { a: 1 })).toEqual({ a: 1 })
})

test('a newer count replaces an older one, and null replaces nothing', () => {
  expect(newestUsage({ a: 1, group: { b: 2 } }, { a: 3, group: { b: null, c: 4 } })).toEqual({
    a: 3,
    group: { b: 2, c: 4 },
  })
})

test('a field with the name __proto__ is a field', () => {
  const usage = JSON.parse('{"__proto__":{"a":1}}')
  expect(JSON.stringify(sumOfUsage(usage, usage))).toBe('{"__proto__":{"a":2}}')
})
