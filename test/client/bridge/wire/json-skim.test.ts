import { expect, test } from 'vitest'
import { JsonSkim } from '../../../../client/bridge/wire/json-skim.js'
import { fc } from '../../../fixtures/random.js'

/** Feeds text in pieces of the given sizes, in turn. */
function skim(text: string, sizes: readonly number[]): string | undefined {
  const reader = new JsonSkim()
  const bytes = Buffer.from(text)
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const size = sizes[turn % sizes.length] ?? bytes.length
    reader.push(bytes.subarray(at, at + size))
    at += size
  }
  return reader.end()
}

test('JSON without long parts stays as it is, wherever it is cut', () => {
  fc.assert(
    fc.property(
      fc.jsonValue(),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
      fc.boolean(),
      (value, sizes, isIndented) => {
        const text = JSON.stringify(value, null, isIndented ? 2 : 0)
        expect(skim(text, sizes)).toBe(text)
      },
    ),
  )
})

test('a long string becomes empty, with any characters inside and wherever it is cut', () => {
  const inside = fc.string({ unit: fc.constantFrom('"', '\\', 'x', '🎉', '{', ']', '\n') })
  fc.assert(
    fc.property(inside, fc.integer({ min: 1, max: 9_000 }), (text, size) => {
      const long = text + 'y'.repeat(70_000) + text
      const json = JSON.stringify({ before: 1, long, list: [long, { after: text }], usage: { n: 7 } })
      expect(JSON.parse(skim(json, [size]) ?? '')).toEqual({
        before: 1,
        long: '',
        list: ['', { after: text }],
        usage: { n: 7 },
      })
    }),
    { numRuns: 20 },
  )
})

test('the rest of a list that is too long is dropped, and what stands behind it is kept', () => {
  const list = Array.from({ length: 100_000 }, (_, index) => ({ token: `t${index}`, top: [[index], []] }))
  const shortened = JSON.parse(
    skim(JSON.stringify({ choices: [{ logprobs: { content: list } }], usage: { n: 7 } }), [65_536]) ?? '',
  )
  expect(shortened.usage).toEqual({ n: 7 })
  expect(shortened.choices[0].logprobs.content.length).toBeLessThan(list.length)
})

test('JSON of which more would have to be kept, or that is nested too deeply, is given up', () => {
  const wide = Object.fromEntries(Array.from({ length: 500_000 }, (_, index) => [`name ${index}`, index]))
  expect(skim(JSON.stringify(wide), [65_536])).toBeUndefined()
  expect(skim('['.repeat(5_000), [100])).toBeUndefined()
})
