import { isDeepStrictEqual } from 'node:util'
import { initTRPC } from '@trpc/server'
import { SuperJSON } from 'superjson'
import { beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createDuplexClient } from '../../../client/rpc/client.js'
import { errorCodeOf, reasonOf } from '../../../shared/rpc/errors.js'
import { transformer } from '../../../shared/rpc/json/transformer.js'
import { leavesNothing } from '../../fixtures/leaves-nothing.js'
import { links } from '../../fixtures/links.js'
import { fc } from '../../fixtures/random.js'

class Point {
  readonly x: number
  constructor(x: number) {
    this.x = x
  }
  get double(): number {
    return this.x * 2
  }
}

const key = fc.oneof(
  fc.string(),
  fc.constantFrom('a.b', 'a\\.b', '', '0', 'toString', 'toJSON', 'json', 'meta', 'length', 'then'),
)
/** The two on which superjson throws when it serializes. */
const reservedKey = fc.constantFrom('__proto__', 'constructor')

const leaf = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.double(),
  fc.integer(),
  fc.boolean(),
  fc.bigInt(),
  fc.date({ noInvalidDate: false }),
  fc.constantFrom(null, undefined, -0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY),
  fc.constantFrom('PING', '\u2028', '\ud800', '\u0000', '__proto__'),
  fc.string().map(message => new Error(message)),
  fc.integer().map(x => new Point(x)),
  fc.constantFrom(() => 1, Symbol.iterator, /a.b/gi, new URL('http://a.example/b?c#d')),
)

function valueWith(keys: fc.Arbitrary<string>): fc.Arbitrary<unknown> {
  return fc.letrec(tie => ({
    any: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      leaf,
      tie('list'),
      tie('object'),
      tie('map'),
      tie('set'),
      tie('repeated'),
    ),
    list: fc.oneof(
      fc.array(tie('any'), { maxLength: 4 }),
      fc.sparseArray(tie('any'), { maxNumElements: 3, maxLength: 6 }),
    ),
    object: fc.array(fc.tuple(keys, tie('any')), { maxLength: 5 }).map(fromEntries),
    map: fc
      .array(fc.tuple(fc.oneof(fc.string(), fc.integer()), tie('any')), { maxLength: 3 })
      .map(list => new Map(list)),
    set: fc.array(tie('any'), { maxLength: 3 }).map(items => new Set(items)),
    repeated: tie('any').map(value => ({ first: value, again: [value, { deep: { value } }] })),
  })).any
}

/** Own properties, whatever their names. */
function fromEntries(entries: readonly (readonly [string, unknown])[]): object {
  const object = {}
  for (const [name, value] of entries) {
    Object.defineProperty(object, name, { value, enumerable: true, writable: true, configurable: true })
  }
  return object
}

const deep = fc.integer({ min: 1, max: 400 }).map(depth => {
  let value: unknown = 'end'
  for (let level = 0; level < depth; level++) value = level % 2 ? [value] : { value }
  return value
})

/** The outcome of a call: on the server, and at the client. */
type Outcome = { arrived: unknown; response: unknown } | { code: unknown; reason: unknown; message: string }

function connectAll(withTransformer: boolean) {
  const arrived: { value: unknown } = { value: undefined }
  const t = withTransformer ? initTRPC.create({ transformer }) : initTRPC.create()
  const router = t.router({
    echo: t.procedure.input(z.unknown()).mutation(({ input }) => {
      arrived.value = input
      return input
    }),
  })
  return links.map(({ name, link }) => {
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection, ...(withTransformer && { transformer }) } as never) // two routers that differ in their transformer
    const send = async (value: unknown): Promise<Outcome> => {
      arrived.value = undefined
      try {
        const response: unknown = await client.echo.mutate(value)
        return { arrived: arrived.value, response }
      } catch (error) {
        // Sizes are estimated in memory; any other rejection has the same words on both links.
        const message = error instanceof Error ? error.message : String(error)
        return { code: errorCodeOf(error), reason: reasonOf(error), message }
      }
    }
    return { name, send }
  })
}

const superjson = new SuperJSON()
const throughSuperjson = (value: unknown): unknown =>
  superjson.deserialize(JSON.parse(JSON.stringify(superjson.serialize(value))))
const throughJson = (value: unknown): unknown => {
  const text: string | undefined = JSON.stringify(value)
  return text === undefined ? undefined : JSON.parse(text)
}

function attempt(value: unknown, through: (value: unknown) => unknown): Outcome | 'rejected' {
  try {
    const arrived = through(value)
    return { arrived, response: through(arrived) }
  } catch {
    return 'rejected'
  }
}

/**
 * Whether superjson is a model for a value. Its annotations of functions, and of an object whose own toJSON replaces
 * the object, have no place in the JSON, and its decoder looks for their places on prototypes.
 */
function isModelled(value: unknown, expected: Outcome | 'rejected'): boolean {
  return !holdsFunction(value) && !holdsFunction(expected)
}

function holdsFunction(value: unknown): boolean {
  return [value, ...objectsIn(value)].some(object => {
    if (typeof object !== 'object' || object === null) return typeof object === 'function'
    const parts =
      object instanceof Map ? [...object].flat() : object instanceof Set ? [...object] : Object.values(object)
    return parts.some(part => typeof part === 'function')
  })
}

/** All objects in a value. */
function objectsIn(value: unknown, found = new Set<object>()): Set<object> {
  if (typeof value !== 'object' || value === null || found.has(value)) return found
  found.add(value)
  if (value instanceof Map) for (const [name, item] of value) objectsIn(item, objectsIn(name, found))
  else if (value instanceof Set) for (const item of value) objectsIn(item, found)
  else for (const name of Object.keys(value)) objectsIn(Reflect.get(value, name), found)
  return found
}

/** Vitest's own comparison is misled by a property called `constructor`; it is asked for the difference only. */
function expectSame(actual: unknown, expected: unknown): void {
  if (isDeepStrictEqual(actual, expected)) return
  expect(actual).toStrictEqual(expected)
  expect.fail('the values differ')
}

const prototypes = [Object.prototype, Array.prototype, Map.prototype, Set.prototype, Date.prototype, Error.prototype]
const shapeOf = (): string => JSON.stringify(prototypes.map(prototype => Object.getOwnPropertyNames(prototype)))

describe.each([
  { kind: 'with a transformer', withTransformer: true, through: throughSuperjson },
  { kind: 'without one', withTransformer: false, through: throughJson },
])('both links deliver the same, $kind', ({ withTransformer, through }) => {
  let ends: ReturnType<typeof connectAll> = []
  const before = shapeOf()

  leavesNothing()
  beforeEach(() => {
    ends = connectAll(withTransformer)
  })

  async function check(value: unknown, expected: Outcome | 'rejected' | 'unknown'): Promise<void> {
    const outcomes: Outcome[] = []
    for (const { send } of ends) outcomes.push(await send(value))
    const [first, ...others] = outcomes
    for (const other of others) expectSame(other, first)
    for (const outcome of outcomes) {
      if (expected === 'rejected') expect(outcome).toMatchObject({ code: 'BAD_REQUEST' })
      else if (expected !== 'unknown') expectSame(outcome, expected)
    }
    for (const outcome of outcomes) {
      if (!('arrived' in outcome)) continue
      const sent = objectsIn(value)
      const arrived = objectsIn(outcome.arrived)
      for (const object of arrived) expect(sent.has(object)).toBe(false)
      for (const object of objectsIn(outcome.response)) expect(arrived.has(object)).toBe(false)
    }
    expect(shapeOf()).toBe(before)
  }

  it('any value arrives as superjson and JSON deliver it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof({ weight: 9, arbitrary: valueWith(key) }, deep), async value => {
        const expected = attempt(value, through)
        await check(value, !withTransformer || isModelled(value, expected) ? expected : 'unknown')
      }),
      { numRuns: 600 },
    )
  })

  it('keys on which superjson throws arrive as own properties', async () => {
    await fc.assert(
      fc.asyncProperty(valueWith(fc.oneof(key, reservedKey)), async value => {
        await check(value, 'unknown')
      }),
      { numRuns: 300 },
    )
    const plain: unknown = JSON.parse('{"__proto__":{"polluted":1},"constructor":{"prototype":[1]},"a.b":null}')
    await check(plain, { arrived: plain, response: plain })
    expect(Reflect.get({}, 'polluted')).toBeUndefined()
  })

  it('cycles and values that throw when they are read are rejected', async () => {
    const cycle: { self?: unknown } = {}
    cycle.self = cycle
    const thrower = {
      get field(): never {
        throw new Error('no')
      },
    }
    const odd = {
      toJSON() {
        throw new Error('no JSON')
      },
    }
    for (const value of [cycle, thrower, odd]) await check(value, 'unknown')
  })

  it('values with more levels or parts than a message may have are rejected', async () => {
    const deepArray: unknown = JSON.parse('['.repeat(1_100) + ']'.repeat(1_100))
    const wide = Array.from({ length: 270_000 }, () => [])
    for (const value of [deepArray, wide]) await check(value, 'rejected')
  })
})
