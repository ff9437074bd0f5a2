import { initTRPC, tracked } from '@trpc/server'
import { observable } from '@trpc/server/observable'
import { describe, expect, it } from 'vitest'
import type { DataTransformer } from '../../../client/rpc/transformer.js'
import type { ErrorReport } from '../../../server/rpc/responses.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { transformer } from '../../../shared/rpc/json/transformer.js'
import { leavesNothing } from '../../fixtures/leaves-nothing.js'
import { links } from '../../fixtures/links.js'
import { gate, peer } from '../../fixtures/peer.js'

const secret = 'password is hunter2'

function fault(): never {
  throw new Error(secret)
}

class Account {
  readonly name = 'Ada'
}

function cycle(): object {
  const value: { self?: object; note: string } = { note: secret }
  value.self = value
  return value
}

function nested(depth: number): unknown {
  let value: unknown = secret
  for (let level = 0; level < depth; level++) value = [value]
  return value
}

/** Rejects instances of a class, as a transformer of an application may. */
const strict = {
  serialize(value: unknown): unknown {
    if (value instanceof Account || (Array.isArray(value) && value.some(item => item instanceof Account))) fault()
    return value
  },
  deserialize: (value: unknown): unknown => value,
}

const create = (used: DataTransformer) => initTRPC.create({ transformer: used })
type Builder = ReturnType<typeof create>

const plain = create({ serialize: value => value, deserialize: value => value })
const withSuperjson = create(transformer)
const withStrict = create(strict)

/** Values without an encoding: which routers reject them, and how. */
const unencodable: { name: string; routers: Builder[]; make: () => unknown }[] = [
  { name: 'a cycle', routers: [plain], make: cycle },
  { name: 'a bigint', routers: [plain], make: () => ({ [secret]: 1n }) },
  { name: 'a toJSON that throws', routers: [plain], make: () => ({ toJSON: fault }) },
  { name: 'a toJSON that returns a bigint', routers: [plain], make: () => ({ toJSON: () => 1n }) },
  {
    name: 'a toJSON that throws a typed error',
    routers: [plain],
    make: () => ({
      toJSON() {
        throw new RpcError('FORBIDDEN', secret, { reason: 'not_encodable' })
      },
    }),
  },
  {
    name: 'a getter that throws',
    routers: [plain, withSuperjson],
    make: () => ({
      get name() {
        return fault()
      },
    }),
  },
  {
    name: 'a proxy that throws',
    routers: [plain, withSuperjson],
    make: () => ({ inner: new Proxy({}, { get: fault, has: fault, getPrototypeOf: fault, ownKeys: fault }) }),
  },
  { name: 'a value nested too deeply', routers: [plain], make: () => nested(50_000) },
  { name: 'a value that the transformer rejects', routers: [withStrict], make: () => new Account() },
]

/** Values that JSON leaves out. */
const leftOut = [
  { name: 'a function', make: () => fault },
  { name: 'a symbol', make: () => Symbol(secret) },
  { name: 'undefined', make: () => undefined },
]

const outputs = ['query', 'mutation', 'subscription', 'observable'] as const

function routerOf({ router, procedure }: Builder, make: () => unknown) {
  return router({
    query: procedure.query(make as () => string),
    mutation: procedure.mutation(make as () => string),
    subscription: procedure.subscription(async function* () {
      yield make()
    }),
    observable: procedure.subscription(() =>
      observable<unknown>(emit => {
        emit.next(make())
        emit.complete()
      }),
    ),
    badId: procedure.subscription(async function* () {
      yield tracked(5 as unknown as string, 'an id is text')
    }),
    fine: procedure.query(() => 'fine'),
  })
}

const methodOf = (output: (typeof outputs)[number]) => (output === 'observable' ? 'subscription' : output)

describe.each(links)('outputs, $name', ({ dialRaw }) => {
  leavesNothing()

  for (const { name, routers, make } of unencodable) {
    it(`${name} is a fault of the server, whose cause only the log has`, async () => {
      for (const builder of routers) {
        for (const output of outputs) {
          const reports: ErrorReport[] = []
          const { duplex } = await dialRaw(routerOf(builder, make), { onError: report => reports.push(report) })
          const { send, until } = peer(duplex)
          const method = methodOf(output)
          send({ id: 1, method, params: { path: output } })
          const count = method === 'subscription' ? 2 : 1
          const received = await until(count)
          const shape = shapeOf(received.at(-1))
          expect(shape).toMatchObject({
            code: -32603,
            message: 'the output cannot be encoded',
            data: { code: 'INTERNAL_SERVER_ERROR', httpStatus: 500, requestId: expect.any(String) },
          })
          expect(Object.keys(shape?.data ?? {}).toSorted()).toEqual(['code', 'httpStatus', 'path', 'requestId'])
          expect(JSON.stringify(received)).not.toContain('hunter2')
          expect(reports).toMatchObject([
            { path: output, requestId: shape?.data.requestId, error: { code: 'INTERNAL_SERVER_ERROR' } },
          ])
          // The log's cause is the error of the encoder, with its stack.
          expect(reports[0]?.error.cause?.cause).toMatchObject({ stack: expect.any(String) })
          // The connection goes on.
          send({ id: 2, method: 'query', params: { path: 'fine' } })
          expect((await until(count + 1)).at(-1)).toMatchObject({ id: 2, result: { type: 'data' } })
          duplex.close({ code: 1000, message: 'done' })
        }
      }
    })
  }

  it.each(leftOut)('$name arrives as undefined', async ({ make }) => {
    const { duplex } = await dialRaw(routerOf(plain, make))
    const { send, until } = peer(duplex)
    for (const output of outputs) send({ id: output, method: methodOf(output), params: { path: output } })
    const received = await until(8)
    for (const output of outputs) expect(received).toContainEqual({ id: output, result: { type: 'data' } })
  })

  it('an output above maxMessageBytes is rejected with both numbers, after it has run', async () => {
    const { duplex } = await dialRaw(routerOf(plain, () => 'x'.repeat(5_000_000)))
    const { send, until, received } = peer(duplex)
    for (const output of outputs) {
      send({ id: output, method: methodOf(output), params: { path: output } })
      const count = received.length + (methodOf(output) === 'subscription' ? 2 : 1)
      expect((await until(count)).at(-1)).toMatchObject({
        id: output,
        error: {
          message: expect.stringMatching(/^message of 5,000,\d{3} bytes is larger than maxMessageBytes 4,194,304$/),
          data: { code: 'PAYLOAD_TOO_LARGE', reason: 'message_too_large', mayHaveRun: true },
        },
      })
    }
  })

  it('a tracked event whose id is no text is a fault of the server', async () => {
    const reported = gate<ErrorReport>()
    const { duplex } = await dialRaw(routerOf(plain, fault), { onError: reported.open })
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'subscription', params: { path: 'badId' } })
    expect((await until(2)).at(-1)).toMatchObject({
      error: { message: 'internal server error', data: { code: 'INTERNAL_SERVER_ERROR' } },
    })
    expect((await reported.passed).error.cause).toMatchObject({ message: 'the id of a tracked event must be a string' })
  })
})

interface Shape {
  code: number
  message: string
  data: { [field: string]: unknown }
}

/** Returns the error of a response, as the router without a transformer or the one with superjson sends it. */
function shapeOf(message: unknown): Shape | undefined {
  const error: unknown = Reflect.get(Object(message), 'error')
  if (error === undefined) return undefined
  return (Reflect.get(Object(error), 'json') ?? error) as Shape // the default formatter's
}
