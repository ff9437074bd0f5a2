import { expect, test } from 'vitest'
import { jsonBytesAtMost } from '../../../../server/services/daemon/json-bound.js'
import { fc } from '../../../fixtures/random.js'

test('the JSON text of a value is no longer than its bound', () => {
  const leaf = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.double(),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.date(),
  )
  const { value } = fc.letrec(tie => ({
    value: fc.oneof(
      { maxDepth: 4 },
      leaf,
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(fc.string({ unit: 'binary' }), tie('value'), { maxKeys: 4 }),
    ),
  }))
  fc.assert(
    fc.property(value, value => {
      expect(Buffer.byteLength(JSON.stringify(value))).toBeLessThanOrEqual(jsonBytesAtMost(value))
    }),
  )
})

test.each([
  ['a bigint', { a: 1n }],
  ['a map', { a: new Map() }],
  ['a URL', new URL('http://a')],
  ['a value with a text of its own', { toJSON: () => 'x'.repeat(99) }],
  ['deep lists', JSON.parse(`${'['.repeat(99)}${']'.repeat(99)}`)],
])('%s has no bound', (_, value) => {
  expect(jsonBytesAtMost([value])).toBe(Infinity)
})

test('a record of a few fields has a bound that is far from the limit of a batch', () => {
  expect(jsonBytesAtMost({ id: 'x'.repeat(36), inputTokens: 1, createdAt: new Date() })).toBeLessThan(600)
})
