import { setFlagsFromString } from 'node:v8'
import { initTRPC } from '@trpc/server'
import { SuperJSON } from 'superjson'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { invoke, invokeByTrpc } from '../../../server/rpc/invoke.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { copyJson } from '../../../shared/rpc/json/json-copy.js'
import { transformer } from '../../../shared/rpc/json/transformer.js'
import { fc } from '../../fixtures/random.js'

const leaf = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary' }),
  fc.integer(),
  fc.double(),
  fc.boolean(),
  fc.constant(null),
  fc.constant(undefined),
  fc.bigInt(),
  fc.date(),
  fc.constantFrom(-0, Number.NaN, Number.POSITIVE_INFINITY),
)
const key = fc.oneof(fc.string(), fc.constantFrom('a.b', 'a\\.b', '', '0', 'toString', 'json', 'meta'))
const value = fc.letrec(tie => ({
  any: fc.oneof({ depthSize: 'small' }, leaf, tie('list'), tie('object'), tie('map'), tie('set')),
  list: fc.array(tie('any'), { maxLength: 4 }),
  object: fc.dictionary(key, tie('any'), { maxKeys: 5 }),
  map: fc.array(fc.tuple(fc.string(), tie('any')), { maxLength: 3 }).map(entries => new Map(entries)),
  set: fc.array(tie('any'), { maxLength: 3 }).map(items => new Set(items)),
})).any

describe('the transformer', () => {
  it('the transformer writes the JSON that superjson writes', () => {
    const superjson = new SuperJSON()
    fc.assert(
      fc.property(value, input => {
        fc.pre(!usesReservedKey(input))
        expect(asJson(transformer.serialize(input))).toEqual(asJson(superjson.serialize(input)))
      }),
      { numRuns: 2_000 },
    )
  })

  it('the transformer reads the JSON of superjson with the same values', () => {
    const superjson = new SuperJSON()
    fc.assert(
      fc.property(value, input => {
        fc.pre(!usesReservedKey(input))
        const text = JSON.stringify(superjson.serialize(input))
        expect(transformer.deserialize(JSON.parse(text))).toEqual(superjson.deserialize(JSON.parse(text)))
      }),
      { numRuns: 2_000 },
    )
  })

  it('repeated objects and cycles are encoded by superjson', () => {
    const shared = { at: new Date(0) }
    const cycle: { self?: unknown } = {}
    cycle.self = cycle
    for (const input of [{ a: shared, b: shared }, cycle, [1n, 1n], [Number.NaN, Number.NaN]]) {
      const decoded = transformer.deserialize(transformer.serialize(input))
      expect(decoded).toEqual(input)
    }
    const twice = transformer.deserialize(transformer.serialize({ a: shared, b: shared })) as { a: object; b: object } // as sent
    expect(twice.a).toBe(twice.b)
  })

  it('keys that superjson rejects survive as own properties', () => {
    const input: unknown = JSON.parse('{"__proto__":{"a":1},"constructor":{"prototype":[true]},"a.b":"c"}')
    const output = transformer.deserialize(
      JSON.parse(JSON.stringify(transformer.serialize({ input, at: new Date(5) }))),
    )
    expect(JSON.stringify(output)).toBe(
      '{"input":{"__proto__":{"a":1},"constructor":{"prototype":[true]},"a.b":"c"},"at":"1970-01-01T00:00:00.005Z"}',
    )
    expect(Reflect.get({}, 'a')).toBeUndefined()
  })

  it.each([1, 'text', false, null])('annotations below %j, which a toJSON has put there, are left out', json => {
    const message = () => ({ json: { a: json }, meta: { values: { 'a.b': ['map'], 'a.b.c': ['Date'] }, v: 1 } })
    expect(transformer.deserialize(message())).toEqual({ a: json })
    expect(transformer.deserialize(message())).toEqual(new SuperJSON().deserialize(message() as never)) // not its own type
  })

  it.each([
    [{ json: 1, meta: { values: ['nonsense'], v: 1 } }],
    [{ json: {}, meta: { values: { 'a.b': ['Date'] }, v: 1 } }],
    ['text'],
    [7],
  ])('the transformer rejects JSON that no serializer makes: %j', encoded => {
    expect(() => transformer.deserialize(encoded)).toThrow()
  })
})

describe('the copy on the in-memory link', () => {
  const anything = fc.anything({
    withDate: true,
    withMap: true,
    withSet: true,
    withSparseArray: true,
    withNullPrototype: true,
    withBoxedValues: true,
  })

  it('a copy equals the value that JSON text would have delivered', () => {
    fc.assert(
      fc.property(anything, input => {
        expect(copyJson({ input }, 1e9)).toStrictEqual(JSON.parse(JSON.stringify({ input })))
      }),
      { numRuns: 3_000 },
    )
  })

  it.each([
    ['toJSON that gives an object with its own toJSON', { toJSON: () => ({ toJSON: () => 'not asked', a: 1 }) }],
    [
      'a class instance',
      new (class Point {
        x = 1
      })(),
    ],
    ['functions and symbols', { f() {}, s: Symbol('x'), list: [() => 1, Symbol('y'), undefined] }],
    ['a typed array', { bytes: new Uint8Array([1, 2]) }],
    ['an error', { error: new Error('x') }],
    ['own __proto__', JSON.parse('{"__proto__":{"x":1}}')],
  ])('%s is as in JSON', (_name, input) => {
    expect(copyJson({ input }, 1e9)).toStrictEqual(JSON.parse(JSON.stringify({ input })))
  })

  it.each([
    [
      'a cycle',
      () => {
        const a: { a?: unknown } = {}
        a.a = a
        return a
      },
    ],
    ['a bigint', () => ({ n: 1n })],
    [
      'a getter that throws',
      () => ({
        get x(): number {
          throw new Error('no')
        },
      }),
    ],
  ])('%s is rejected as not_encodable', (_name, make) => {
    expect(() => copyJson(make(), 1e9)).toThrow(
      expect.objectContaining({ code: 'BAD_REQUEST', reason: 'not_encodable' }),
    )
  })

  it('the estimated size of ASCII is exact within a tenth', () => {
    const message = {
      id: 1,
      method: 'mutation',
      params: { path: 'a.b', input: { json: { text: 'x'.repeat(10_000), list: ['abc', 'def'] } } },
    }
    const text = JSON.stringify(message).length
    expect(() => copyJson(message, text * 0.9)).toThrow(RpcError)
    expect(() => copyJson(message, text * 1.1)).not.toThrow()
  })
})

describe('invoking a procedure', () => {
  const t = initTRPC.context<{ user?: string }>().meta<{ name: string }>().create()
  const logged = t.middleware(async ({ next, path, meta }) => {
    const result = await next({ ctx: { user: 'ada' } })
    return result.ok ? result : { ...result, seen: [path, meta] }
  })
  const router = t.router({
    plain: t.procedure.query(() => 1),
    input: t.procedure.input(z.object({ a: z.number() })).query(({ input }) => input.a),
    two: t.procedure
      .input(z.object({ a: z.number() }))
      .input(z.object({ b: z.string() }))
      .mutation(({ input }) => input),
    output: t.procedure.output(z.string()).query((() => 7) as never), // breaks its own type
    context: t.procedure
      .use(logged)
      .meta({ name: 'm' })
      .query(({ ctx }) => ctx.user),
    replaced: t.procedure.use(({ next }) => next({ ctx: { user: 'eve' } })).query(({ ctx }) => ctx),
    lazySpread: t.procedure.query(options => {
      const copy = { ...options, router: undefined, next: undefined, getRawInput: undefined }
      // Without the symbols, of which JSON and tRPC know nothing.
      return Object.fromEntries(Object.entries({ ...copy, signal: options.signal instanceof AbortSignal }))
    }),
    spread: t.procedure.query(options => {
      const copy = { ...options, router: undefined } // tRPC's own call adds the router
      return { fields: Object.keys(copy).sort(), signal: copy.signal instanceof AbortSignal }
    }),
    wrapped: t.procedure
      .use(options => Object.create(options).next())
      .use(options => new Proxy(options, {}).next({ ctx: { user: 'eve' } }))
      .query(options => {
        const views = [new Proxy(options, {}), Object.create(options)]
        return views.map(({ ctx, path, signal }) => [ctx, path, signal instanceof AbortSignal])
      }),
    throws: t.procedure.query(() => {
      throw new RpcError('CONFLICT', 'taken')
    }),
    throwsText: t.procedure.query(() => {
      throw 'text'
    }),
    noNext: t.procedure.use((() => Promise.resolve(undefined)) as never).query(() => 1), // a middleware that breaks its type
    nested: t.router({ deep: t.procedure.query(({ path }) => path) }),
  })

  const settle = async (promise: Promise<unknown>): Promise<unknown> => {
    try {
      return { value: await promise }
    } catch (error) {
      const { code, message, cause } = error as { code: string; message: string; cause?: Error } // a TRPCError
      return { code, message, cause: cause?.name }
    }
  }

  it.each([
    ['plain', 'query', undefined],
    ['plain', 'mutation', undefined],
    ['absent', 'query', undefined],
    ['__proto__', 'query', undefined],
    ['input', 'query', { a: 1 }],
    ['input', 'query', { a: 'x' }],
    ['two', 'mutation', { a: 1, b: 'x', c: 2 }],
    ['output', 'query', undefined],
    ['context', 'query', undefined],
    ['replaced', 'query', undefined],
    ['lazySpread', 'query', undefined],
    ['spread', 'query', undefined],
    ['wrapped', 'query', undefined],
    ['throws', 'query', undefined],
    ['throwsText', 'query', undefined],
    ['noNext', 'query', undefined],
    ['nested.deep', 'query', undefined],
  ] as const)('%s as %s gives what tRPC’s own call gives', async (path, type, input) => {
    const call = { path, type, batchIndex: 0, signal: new AbortController().signal, getRawInput: async () => input }
    const ours = await settle(invoke(router, { user: undefined }, call))
    expect(ours).toEqual(await settle(invokeByTrpc(router, { user: undefined }, call)))
  })

  // One class for each call would cost 1 µs, and be garbage of the old generation.
  it('the options of all calls have one hidden class', async () => {
    const seen: object[] = []
    const watched = t.router({ see: t.procedure.query(options => seen.push(options)) })
    for (let index = 0; index < 2; index++) {
      const signal = new AbortController().signal
      await invoke(watched, {}, { path: 'see', type: 'query', batchIndex: 0, signal, getRawInput: async () => index })
    }
    setFlagsFromString('--allow-natives-syntax')
    const haveOneClass = new Function('a', 'b', 'return %HaveSameMap(a, b)')
    setFlagsFromString('--no-allow-natives-syntax')
    expect(haveOneClass(...seen)).toBe(true)
  })
})

const asJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

function usesReservedKey(input: unknown): boolean {
  if (input instanceof Map || input instanceof Set) return [...input].some(usesReservedKey)
  if (Array.isArray(input)) return input.some(usesReservedKey)
  if (typeof input !== 'object' || input === null) return false
  return Object.entries(input).some(
    ([name, field]) => ['__proto__', 'constructor', 'prototype'].includes(name) || usesReservedKey(field),
  )
}
