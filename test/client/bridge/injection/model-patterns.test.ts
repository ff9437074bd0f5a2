import fc from 'fast-check'
import { expect, test } from 'vitest'
import { matchesModel } from '../../../../client/bridge/injection/model-patterns.js'

test.each([
  ['*haiku*', 'claude-3-5-haiku-latest', true],
  ['*haiku*', 'Claude-HAIKU', true],
  ['*haiku*', 'claude-sonnet-5', false],
  ['gpt-*-nano', 'gpt-5-nano', true],
  ['gpt-*-nano', 'gpt-5-nano-2026', false],
  ['gpt-*-nano', 'gpt-nano', false],
  ['gpt-5', 'gpt-5.1', false],
  ['gpt-5', 'gpt-5', true],
  ['*', '', true],
  ['a*a', 'a', false],
  ['a*b*b', 'ab', false],
])('%s and %s: %j', (pattern, model, expected) => {
  expect(matchesModel([pattern], model)).toBe(expected)
})

test('a pattern means what a regular expression of the same parts does', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '*', '.'), maxLength: 8 })
  fc.assert(
    fc.property(text, text, (pattern, model) => {
      const regex = new RegExp(`^${pattern.replaceAll('.', '[.]').replaceAll('*', '.*')}$`, 's')
      expect(matchesModel([pattern], model)).toBe(regex.test(model))
    }),
  )
})
