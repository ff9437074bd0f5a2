import { describe, expect, it } from 'vitest'
import { jsonShape, shapeFault } from '../../../../shared/rpc/json/json-shape.js'
import { maxContainers, maxDepth } from '../../../../shared/rpc/limits.js'
import { memoryDuplexPair } from '../../../../shared/rpc/links/memory-duplex.js'
import { fc } from '../../../fixtures/random.js'

const text = fc.oneof(
  fc.string(),
  fc.string({ unit: fc.constantFrom('"', '\\', '[', '}', ',', ':', 'x'.repeat(31), '\u2028') }),
)
const value = fc.letrec(tie => ({
  any: fc.oneof(
    { maxDepth: 6 },
    text,
    fc.double(),
    fc.constantFrom(null, true),
    fc.array(tie('any')),
    fc.dictionary(text, tie('any')),
  ),
})).any

/** The same numbers, counted in the value. */
function count(item: unknown): { containers: number; separators: number } {
  if (typeof item !== 'object' || item === null) return { containers: 0, separators: 0 }
  const parts = Object.values(item).map(count)
  const colons = Array.isArray(item) ? 0 : parts.length
  const sum = (name: 'containers' | 'separators'): number => parts.reduce((total, part) => total + part[name], 0)
  return {
    containers: 1 + sum('containers'),
    separators: sum('separators') + colons + Math.max(0, parts.length - 1),
  }
}

describe('the shape of JSON text', () => {
  it('the parts of any text are counted as a parser counts the parts', () => {
    fc.assert(
      fc.property(value, fc.constantFrom(undefined, 1), (item, space) => {
        expect(jsonShape(JSON.stringify(item, null, space))).toEqual({ ...count(item), fault: undefined })
      }),
    )
  })

  it('the items of an array are found as a parser finds the items', () => {
    fc.assert(
      fc.property(fc.array(value, { minLength: 1 }), fc.constantFrom('', ' '), (items, space) => {
        const list = `${space}${JSON.stringify(items, null, space)}${space}`
        const found: unknown[] = []
        jsonShape(list, (start, end) => found.push(JSON.parse(list.slice(start, end))))
        expect(found).toEqual(JSON.parse(list))
      }),
    )
  })

  it('text that is no JSON ends too', () => {
    fc.assert(fc.property(text, fragment => jsonShape(fragment).separators >= 0))
  })

  const levels = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)
  const containers = (number: number): string => `[${'[],'.repeat(number - 2)}[]]`
  it.each([
    ['levels', levels, maxDepth, 'it is nested deeper than 1,024 levels'],
    ['objects and arrays', containers, maxContainers, 'it has more than 262,144 objects and arrays'],
  ])('the limit of %s is the same for text and for a copy in memory', (_, make, limit, fault) => {
    expect([shapeFault(make(limit)), jsonShape(make(limit)).fault]).toEqual([undefined, undefined])
    expect([shapeFault(make(limit + 1)), jsonShape(make(limit + 1)).fault]).toEqual([fault, fault])
    const [end] = memoryDuplexPair()
    end.send(JSON.parse(make(limit)))
    expect(() => end.send(JSON.parse(make(limit + 1)))).toThrow(`the value cannot be sent as JSON: ${fault}`)
  })
})
