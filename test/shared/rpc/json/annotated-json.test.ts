import { SuperJSON } from 'superjson'
import { describe, expect, it } from 'vitest'
import { transformer } from '../../../../shared/rpc/json/transformer.js'
import { fc } from '../../../fixtures/random.js'

const superjson = new SuperJSON()

/** Decodes as a receiver does. */
function decode(json: unknown, meta: object): unknown {
  return transformer.deserialize(JSON.parse(JSON.stringify({ json, meta: { v: 1, ...meta } })))
}

const asSent = (value: unknown) => JSON.parse(JSON.stringify(superjson.serialize(value)))

/** Lists of `levels` levels, each with two references to the list below. */
function bomb(levels: number): [object, object] {
  const lists = Object.fromEntries(Array.from({ length: levels }, (_, level) => [`l${level}`, [0, 0]]))
  const equalities = Array.from({ length: levels - 1 }, (_, level) => {
    const [above, below] = [levels - 2 - level, levels - 1 - level]
    return [`l${below}`, [`l${above}.0`, `l${above}.1`]]
  })
  return [lists, { referentialEqualities: Object.fromEntries(equalities) }]
}

describe('annotations', () => {
  const at = new Date(5)
  const shared = { at, list: [1n] }
  class Point {
    x = 1
  }
  it.each([
    ['a typed array', new Float64Array([1.5, Number.NaN])],
    ['bytes', { bytes: new Uint8Array([1, 255]) }],
    ['a regular expression', /a.\/b/gi],
    ['a URL', { url: new URL('https://example.com/a?b=c') }],
    ['an error', Object.assign(new TypeError('made up', { cause: { at } }), { stack: undefined })],
    ['a map of maps', new Map([[at, new Map([['a.b', new Set([at, 1n])]])]])],
    [
      'shared objects in lists, maps and sets',
      { a: shared, b: [shared], c: new Map([['d', shared]]), e: new Set([shared]) },
    ],
    ['a shared key', { key: shared, map: new Map([[shared, shared]]) }],
    [
      'a shared cause',
      { cause: shared, error: Object.assign(new Error('made up', { cause: shared }), { stack: undefined }) },
    ],
    ['a repeated function', [Object, Object]],
    ['a repeated class instance', { a: new Point(), b: [Point.prototype, Point.prototype] }],
  ])('%s is decoded as superjson decodes it', (_name, value) => {
    expect(transformer.deserialize(asSent(value))).toStrictEqual(superjson.deserialize(asSent(value)))
  })

  it('messages of superjson 1 keep their backslashes', () => {
    const encoded = {
      json: { 'a\\b': null, 'c.d': null },
      meta: { values: { 'a\\b': ['undefined'], 'c\\.d': ['undefined'] } },
    }
    const decoded = transformer.deserialize(structuredClone(encoded))
    expect(decoded).toStrictEqual(superjson.deserialize(encoded as never))
    expect(decoded).toStrictEqual({ 'a\\b': undefined, 'c.d': undefined })
  })

  it('several shared items of one set stay in their places', () => {
    const [first, second] = [{ n: 1 }, { n: 2 }]
    const decoded = transformer.deserialize(asSent({ first, second, set: new Set([first, second]) }))
    const { first: one, second: two, set } = decoded as { first: object; second: object; set: Set<object> } // as sent
    expect([...set]).toStrictEqual([{ n: 1 }, { n: 2 }])
    expect([set.has(one), set.has(two)]).toEqual([true, true])
  })

  it('a cycle is decoded', () => {
    const cycle: { self?: unknown; list: unknown[] } = { list: [] }
    cycle.self = cycle
    cycle.list.push(cycle.list)
    expect(transformer.deserialize(asSent(cycle))).toStrictEqual(cycle)
  })
})

describe('hostile annotations', () => {
  it.each([
    ['a typed array of a number of bytes', { a: 4_294_967_296 }, { values: { a: [['typed-array', 'Uint8Array']] } }],
    ['a typed array of lists', { a: [[1]] }, { values: { a: [['typed-array', 'Uint8Array']] } }],
    ['a typed array of an unknown name', { a: [] }, { values: { a: [['typed-array', 'constructor']] } }],
    ['a class', { a: {} }, { values: { a: [['class', 'Object']] } }],
    ['a bigint of a million digits', { a: '9'.repeat(1e6) }, { values: { a: ['bigint'] } }],
    ['a number that is a list', { a: [[['1']]] }, { values: { a: ['number'] } }],
    ['a date that is an object', { a: { valueOf: 1 } }, { values: { a: ['Date'] } }],
    ['a pattern of Unicode properties', { a: `/${'\\p{L}'.repeat(10)}/u` }, { values: { a: ['regexp'] } }],
    ['a pattern of Unicode sets', { a: '/[a--b]/iv' }, { values: { a: ['regexp'] } }],
    ['a set that is text', { a: 'abc' }, { values: { a: ['set'] } }],
    ['a map without entries', { a: ['abc'] }, { values: { a: ['map'] } }],
    ['an error whose message is a list', { a: { message: [] } }, { values: { a: ['Error'] } }],
    ['a type of the prototype', { a: 1 }, { values: { a: ['constructor'] } }],
    ['a path to a prototype', { a: {} }, { values: { 'a.__proto__.b': ['undefined'] } }],
    ['a path to the length of a list', { a: [1] }, { values: { 'a.length': ['number'] } }],
    ['a path to no value', { a: {} }, { values: { 'a.b': ['undefined'] } }],
    ['annotations that are text', { a: {} }, { values: 'a' }],
    ['references that are text', { a: {} }, { referentialEqualities: 'a' }],
    ['a reference to a prototype', { a: {}, b: {} }, { referentialEqualities: { a: ['b.__proto__.c'] } }],
    ['a reference behind the end of a list', { a: {}, b: [] }, { referentialEqualities: { a: ['b.4294967290'] } }],
    ['a reference to the length of a list', { a: {}, b: [1] }, { referentialEqualities: { a: ['b.length'] } }],
    ['a reference into a date', { a: {}, b: '' }, { values: { b: ['Date'] }, referentialEqualities: { a: ['b.x'] } }],
    ['a reference into no row', { a: {}, b: [1] }, { values: { b: ['set'] }, referentialEqualities: { a: ['b.1'] } }],
    ['references that stand for a gigabyte', ...bomb(30)],
    ['a text of 1 MiB at three places', ...textAtMany(2)],
    ['shared objects that are nested too deeply', ...chain(3)],
  ])('%s is rejected', (_name, json, meta) => {
    expect(() => decode(json, meta)).toThrow(/superjson|BigInt/)
    expect(Reflect.ownKeys(Object.prototype)).toHaveLength(12)
  })

  it('references that stand for twice the message are decoded', () => {
    expect(JSON.stringify(decode(...bomb(10)))).toContain('[[[[[[0,0],[0,0]]')
    expect(() => decode(...textAtMany(1))).not.toThrow()
    expect(() => decode(...chain(2))).not.toThrow()
  })

  it('references to the rows of a set take time in proportion to their number', () => {
    const timeOf = (size: number): number => {
      const set = Array.from({ length: size }, (_, index) => index)
      const referentialEqualities = { a: set.map(row => `set.${row}`) }
      const text = JSON.stringify({
        json: { set, a: {} },
        meta: { values: { set: ['set'] }, referentialEqualities, v: 1 },
      })
      const times = Array.from({ length: 3 }, () => {
        const encoded: unknown = JSON.parse(text)
        const start = performance.now()
        transformer.deserialize(encoded)
        return performance.now() - start
      })
      return Math.min(...times)
    }
    timeOf(1_000)
    // 16 times the size is 256 times the time of superjson's decoder.
    expect(timeOf(32_000) / timeOf(2_000)).toBeLessThan(100)
  })

  const path = fc
    .array(fc.constantFrom('a', 'b', 'c', '0', '1', '2', '__proto__', 'constructor', 'length', '', '\\'), {
      maxLength: 4,
    })
    .map(keys => keys.join('.'))
  const type = fc.oneof(
    fc.constantFrom('Date', 'undefined', 'number', 'bigint', 'set', 'map', 'URL', 'Error', 'regexp', 'no'),
    fc.tuple(fc.constantFrom('typed-array', 'class', 'custom', 'symbol'), fc.constantFrom('Int8Array', 'x')),
  )
  const tree = fc.letrec<{ tree: unknown; below: unknown }>(tie => ({
    tree: fc.oneof(
      { depthSize: 'small' },
      fc.tuple(type),
      fc.tuple(type, tie('below')),
      tie('below'),
      fc.jsonValue({ maxDepth: 1 }),
    ),
    below: fc.dictionary(path, tie('tree'), { maxKeys: 3 }),
  })).tree
  const json = fc.constantFrom<unknown>(
    { a: 1, b: [1, ['x', {}], null], c: { a: '2020', b: [[1, 2]] } },
    [[[1, 2], 'a'], { a: {} }],
    null,
  )
  const references = fc.oneof(
    fc.dictionary(path, fc.array(path, { maxLength: 3 }), { maxKeys: 3 }),
    fc.tuple(fc.array(path, { maxLength: 2 })),
    fc.jsonValue({ maxDepth: 2 }),
  )

  it('annotations of any kind give a value or an error, and change no prototype', () => {
    const prototypes = [
      Object.prototype,
      Array.prototype,
      Set.prototype,
      Map.prototype,
      Date.prototype,
      Error.prototype,
    ]
    const names = () => prototypes.map(prototype => Reflect.ownKeys(prototype).length)
    const before = names()
    fc.assert(
      fc.property(json, tree, references, fc.constantFrom(0, 1, 'x', null), (value, values, equalities, v) => {
        try {
          decode(value, { values, referentialEqualities: equalities, v })
        } catch (error) {
          expect(error).toBeInstanceOf(Error)
        }
      }),
      { numRuns: process.env.SOAK === undefined ? 2_000 : 300_000 },
    )
    expect(names()).toEqual(before)
  })
})

/** A long text in an object, and `places` references to the object. */
function textAtMany(places: number): [object, object] {
  const list = Array.from({ length: places }, () => 0)
  const paths = list.map((_, index) => `list.${index}`)
  return [{ a: { text: 'x'.repeat(1024 * 1024) }, list }, { referentialEqualities: { a: paths } }]
}

/** Towers of 450 levels, each with a reference to the next at its top. */
function chain(towers: number): [object, object] {
  const levels = 450
  const tower = (): object => {
    let json: object = { a: {} }
    for (let level = 1; level < levels; level++) json = { a: json }
    return json
  }
  const top = Array(levels).fill('a').join('.')
  const names = Array.from({ length: towers }, (_, index) => `t${index}`)
  const equalities = names.slice(1).map((name, index) => [name, [`t${index}.${top}`]])
  return [
    Object.fromEntries(names.map(name => [name, tower()])),
    { referentialEqualities: Object.fromEntries(equalities) },
  ]
}
