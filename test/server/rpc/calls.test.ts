import { getEventListeners } from 'node:events'
import { createReadStream } from 'node:fs'
import { Readable } from 'node:stream'
import { createTRPCClient, loggerLink, TRPCClientError } from '@trpc/client'
import { initTRPC, TRPCError } from '@trpc/server'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { createDuplexClient } from '../../../client/rpc/client.js'
import { connect } from '../../../client/rpc/connection.js'
import { duplexLink } from '../../../client/rpc/link.js'
import type { ErrorReport } from '../../../server/rpc/responses.js'
import type { CallEnd } from '../../../shared/rpc/call-end.js'
import type { CloseReason } from '../../../shared/rpc/duplex.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { transformer } from '../../../shared/rpc/json/transformer.js'
import { times } from '../../../shared/rpc/limits.js'
import { leavesNothing } from '../../fixtures/leaves-nothing.js'
import { clientLinks, links } from '../../fixtures/links.js'
import { ownError } from '../../fixtures/own-reasons.js'
import { gate, peer } from '../../fixtures/peer.js'
import { quickTime } from '../../fixtures/quick-time.js'

const t = initTRPC.context<object>().create({ transformer })

/** A router whose procedures report to the test. */
function testRouter() {
  const started = gate<{ signal: AbortSignal | undefined }>()
  const release = gate()
  const aborted = gate<unknown>()
  const router = t.router({
    echo: t.procedure.input(z.unknown()).query(({ input }) => input),
    nested: t.router({
      add: t.procedure.input(z.object({ a: z.number(), b: z.number() })).mutation(({ input }) => input.a + input.b),
    }),
    nothing: t.procedure.query(() => undefined),
    conflict: t.procedure.mutation(() => {
      throw ownError('seat_taken', 'id 7 is in use')
    }),
    teapot: t.procedure.query(() => {
      throw new TRPCError({ code: 'PAYMENT_REQUIRED', message: 'pay first' })
    }),
    crash: t.procedure.query(() => {
      throw new Error('password is hunter2')
    }),
    unencodable: t.procedure.query(() => ({
      toString: () => '',
      get broken(): string {
        throw new Error('getter failed')
      },
    })),
    wait: t.procedure.mutation(async ({ signal }) => {
      signal?.addEventListener('abort', () => aborted.open(signal.reason))
      started.open({ signal })
      await release.passed
      return 'done'
    }),
    twice: t.procedure
      .input(z.object({ at: z.date() }))
      .input(z.object({ n: z.bigint() }))
      .query(({ input }) => input),
    stream: t.procedure.query(async function* () {
      yield 1
    }),
    size: t.procedure.input(z.string()).query(({ input }) => input.length),
    big: t.procedure.input(z.number()).query(({ input }) => 'x'.repeat(input)),
  })
  return { router, started: started.passed, release: release.open, aborted: aborted.passed }
}

function countingRouter() {
  let runs = 0
  return { router: t.router({ run: t.procedure.mutation(() => ++runs) }), runs: () => runs }
}

function fault(): never {
  throw new Error('password is hunter2')
}

/** Values that throw when they are read. */
const unreadable = [
  {
    name: 'an object with a getter that throws',
    make: () => ({
      get message() {
        return fault()
      },
    }),
  },
  {
    name: 'a proxy that throws',
    make: () => new Proxy({}, { get: fault, has: fault, getPrototypeOf: fault, ownKeys: fault }),
  },
  { name: 'a proxy of an error that throws', make: () => new Proxy(new Error('hunter2'), { get: fault }) },
  {
    name: 'a proxy of a typed error that throws',
    make: () => new Proxy(new RpcError('CONFLICT', 'hunter2'), { get: fault }),
  },
]

const failure = (promise: Promise<unknown>): Promise<TRPCClientError<never>> =>
  promise.then(
    value => expect.fail(`resolved with ${String(value)}`),
    error => error,
  )

describe.each(clientLinks)('calls, $name', ({ link, dialRaw }) => {
  leavesNothing()

  it('the response of a query or mutation is the value that the procedure returns', async () => {
    const { router } = testRouter()
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    const when = new Date()
    expect(await client.echo.query({ when, map: new Map([['a', 1n]]) })).toEqual({ when, map: new Map([['a', 1n]]) })
    expect(await client.nested.add.mutate({ a: 1, b: 2 })).toBe(3)
    expect(await client.nothing.query()).toBeUndefined()
    expect(await client.twice.query({ at: when, n: 5n })).toEqual({ at: when, n: 5n })
  })

  it('a link behind other links returns the same values as the client without links', async () => {
    const { router } = testRouter()
    const { connection } = link(router)
    const seen: string[] = []
    const log = loggerLink<typeof router>({ logger: ({ direction, path }) => seen.push(`${direction} ${path}`) })
    const client = createTRPCClient<typeof router>({ links: [log, duplexLink({ connection, transformer })] })
    expect(await client.nested.add.mutate({ a: 20, b: 22 })).toBe(42)
    const error = await failure(client.conflict.mutate())
    expect(error).toBeInstanceOf(TRPCClientError)
    expect(error.data).toMatchObject({ code: 'CONFLICT', reason: 'seat_taken' })
    expect(seen).toEqual(['up nested.add', 'down nested.add', 'up conflict', 'down conflict'])
  })

  it('a router or procedure may be named like a call', async () => {
    const own = t.router({
      newsletter: t.router({
        subscribe: t.procedure.input(z.string()).mutation(({ input }) => `${input} is in`),
        query: t.router({ mutate: t.procedure.query(() => 'deep'), name: t.procedure.query(() => 'named') }),
        mutate: t.procedure.subscription(async function* () {
          yield 'event'
        }),
      }),
      query: t.procedure.query(() => 'top'),
    })
    const { connection } = link(own)
    const client = createDuplexClient<typeof own>({ connection, transformer })
    expect(await client.newsletter.subscribe.mutate('ann')).toBe('ann is in')
    expect(await client.newsletter.query.mutate.query()).toBe('deep')
    expect(await client.newsletter.query.name.query()).toBe('named')
    const observed: string[] = []
    for await (const event of client.newsletter.mutate.subscribe()) observed.push(event)
    expect(observed).toEqual(['event'])
    expect(await client.query.query()).toBe('top')
    const { mutate } = client.newsletter.subscribe
    expect(mutate).toBe(client.newsletter.subscribe.mutate)
    expect(await mutate.call(undefined, 'bob')).toBe('bob is in')
    expect(await mutate.apply(undefined, ['cid'])).toBe('cid is in')
    expect(await mutate.bind(undefined, 'dan')()).toBe('dan is in')
  })

  it('a router without a transformer is served as JSON', async () => {
    const plain = initTRPC.create()
    const router = plain.router({ echo: plain.procedure.input(z.unknown()).query(({ input }) => input) })
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection })
    const sent = { when: new Date(0), nothing: undefined, list: [undefined, Number.NaN], run: () => {} }
    expect(await client.echo.query(sent)).toEqual(JSON.parse(JSON.stringify(sent)))
  })

  it('received values share no reference with sent values', async () => {
    const held: { value?: unknown } = {}
    const plain = initTRPC.create()
    const router = plain.router({
      hold: plain.procedure.input(z.unknown()).mutation(({ input }) => {
        held.value = input
        return input
      }),
    })
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection })
    const sent = { inner: { list: [1, 2] } }
    const response = client.hold.mutate(sent)
    sent.inner.list.push(3)
    const received = (await response) as typeof sent // the echo of the sent value
    expect(received).toEqual({ inner: { list: [1, 2] } })
    received.inner.list.push(4)
    expect(held.value).toEqual({ inner: { list: [1, 2] } })
  })

  it('an error has its code, reason, message and request id, and no stack', async () => {
    const { router } = testRouter()
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    const error = await failure(client.conflict.mutate())
    expect(error.message).toBe('id 7 is in use')
    expect(error.data).toEqual({
      code: 'CONFLICT',
      httpStatus: 409,
      path: 'conflict',
      reason: 'seat_taken',
      requestId: expect.any(String),
    })
    const other = await failure(client.teapot.query())
    expect(other.data).toMatchObject({ code: 'PAYMENT_REQUIRED', httpStatus: 402 })
  })

  it('a procedure that throws is INTERNAL_SERVER_ERROR without its message; the server reports the cause under the same request id', async () => {
    const { router } = testRouter()
    const reports: ErrorReport[] = []
    const { connection } = link(router, { onError: report => reports.push(report) })
    const client = createDuplexClient<typeof router>({ connection, transformer })
    const error = await failure(client.crash.query())
    expect(error.data).toMatchObject({ code: 'INTERNAL_SERVER_ERROR' })
    expect(JSON.stringify([error.message, error.shape])).not.toContain('hunter2')
    expect(reports).toHaveLength(1)
    expect(reports[0]?.error.cause?.message).toBe('password is hunter2')
    expect(reports[0]?.requestId).toBe((error.data as { requestId?: string } | null)?.requestId) // the router's error type
  })

  it.each(unreadable)(
    '$name that is thrown is INTERNAL_SERVER_ERROR, and the server reports that it was thrown',
    async ({ make }) => {
      const reports: ErrorReport[] = []
      const ends: unknown[] = []
      const router = t.router({
        throws: t.procedure.query(() => {
          throw make()
        }),
        subscribed: t.procedure.subscription((() => ({
          [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(make()) }),
        })) as never), // a thrown value has no type
      })
      const { duplex } = await dialRaw(router, {
        onError: report => reports.push(report),
        onCallEnd: ({ code }) => ends.push(code),
        limits: { maxInFlight: 1 },
      })
      const { send, until } = peer(duplex)
      const failed = { message: 'internal server error', data: { code: 'INTERNAL_SERVER_ERROR' } }
      send({ id: 1, method: 'query', params: { path: 'throws' } })
      expect(await until(1)).toMatchObject([{ id: 1, error: { json: failed } }])
      send({ id: 2, method: 'subscription', params: { path: 'subscribed' } })
      expect((await until(3)).slice(1)).toMatchObject([
        { result: { type: 'started' } },
        { id: 2, error: { json: failed } },
      ])
      // One place is there: each procedure has released it.
      send({ id: 3, method: 'query', params: { path: 'throws' } })
      const received = await until(4)
      expect(received[3]).toMatchObject({ id: 3, error: { json: failed } })
      expect(JSON.stringify(received)).not.toContain('hunter2')
      expect(ends).toEqual(['INTERNAL_SERVER_ERROR', 'INTERNAL_SERVER_ERROR', 'INTERNAL_SERVER_ERROR'])
      expect(reports).toHaveLength(3)
    },
  )

  it.each(unreadable)('$name that a cancelled procedure throws releases its place', async ({ make }) => {
    const [started, release] = [gate(), gate()]
    const router = t.router({
      throws: t.procedure.query(async () => {
        started.open()
        await release.passed
        throw make()
      }),
      next: t.procedure.query(() => 'next'),
    })
    const { duplex } = await dialRaw(router, { limits: { maxInFlight: 1 } })
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'query', params: { path: 'throws' } })
    await started.passed
    send({ id: 1, method: 'subscription.stop' })
    await until(1)
    release.open()
    send({ id: 2, method: 'query', params: { path: 'next' } })
    expect((await until(2))[1]).toMatchObject({ id: 2, result: { data: { json: 'next' } } })
  })

  it.each(unreadable)('$name that making the context throws closes with 1011', async ({ make }) => {
    for (const createContext of [
      () => {
        throw make()
      },
      () => Promise.reject(make()),
    ]) {
      const { duplex } = await dialRaw(testRouter().router, { createContext })
      const { closed, received } = peer(duplex)
      expect(await closed).toMatchObject({ code: 1011, message: 'internal server error' })
      expect(received).toMatchObject([{ id: null, error: { json: { message: 'internal server error' } } }])
    }
  })

  it('the peer does not get the message of a thrown value, also if the message is no text', async () => {
    const router = t.router({
      throws: t.procedure.query(() => {
        throw { message: ['password is hunter2'] }
      }),
    })
    const client = createDuplexClient<typeof router>({ connection: link(router).connection, transformer })
    expect((await failure(client.throws.query())).message).toBe('internal server error')
  })

  it.each([
    ['nothing', () => undefined],
    ['a function', () => fault],
    [
      'an error',
      () => {
        throw new Error('formatting failed')
      },
    ],
  ])('an error formatter that makes %s leads to INTERNAL_SERVER_ERROR, and the connection goes on', async (_, make) => {
    const plain = initTRPC.create({ errorFormatter: make as never }) // one that breaks its type
    const router = plain.router({ crash: plain.procedure.query(fault), fine: plain.procedure.query(() => 'fine') })
    const reports: ErrorReport[] = []
    const { duplex } = await dialRaw(router, { onError: report => reports.push(report) })
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'query', params: { path: 'crash' } })
    send({ id: 2, method: 'nonsense' })
    send({ id: 3, method: 'query', params: { path: 'fine' } })
    const error = { code: -32603, message: 'internal server error', data: { code: 'INTERNAL_SERVER_ERROR' } }
    const responses = await until(3)
    expect(responses).toHaveLength(3)
    expect(responses).toContainEqual({ id: 3, result: { type: 'data', data: 'fine' } })
    for (const id of [1, 2])
      expect(responses.find(response => Reflect.get(Object(response), 'id') === id)).toMatchObject({ error })
    expect(reports.map(({ error: { cause } }) => cause?.message)).toContain('password is hunter2')
  })

  it('an input that breaks the schema is BAD_REQUEST, an unknown procedure NOT_FOUND', async () => {
    const { router } = testRouter()
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    expect((await failure(client.nested.add.mutate({ a: 1 } as never))).data).toMatchObject({ code: 'BAD_REQUEST' })
    const absent = createDuplexClient<never>({ connection, transformer }) as unknown as {
      absent: { query(): Promise<unknown> }
    } // not in the type
    expect((await failure(absent.absent.query())).data).toMatchObject({ code: 'NOT_FOUND' })
  })

  it('a response that cannot be encoded fails its own call only', async () => {
    const { router } = testRouter()
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    const [bad, good] = await Promise.allSettled([client.unencodable.query(), client.echo.query(1)])
    expect(bad.status).toBe('rejected')
    expect(good).toEqual({ status: 'fulfilled', value: 1 })
  })

  it('an async iterable from a query is rejected', async () => {
    const { router } = testRouter()
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    expect((await failure(client.stream.query())).data).toMatchObject({ code: 'UNSUPPORTED_MEDIA_TYPE' })
  })

  it('a stream or generator that a query returns is ended, also after a cancel by the caller', async () => {
    const [started, release] = [gate(), gate()]
    const ended: string[] = []
    const reports: string[] = []
    const end = (name: string) => () => void ended.push(name)
    const readable = () => new Readable({ read() {} }).once('close', end('readable'))
    const kinds = {
      readable,
      web: () => new ReadableStream({ cancel: end('web') }),
      generator: () => Object.assign((async function* () {})(), { return: end('generator') }),
      observable: () => ({ subscribe: end('observable') }),
      failing: () => ({ ...readable(), [Symbol.asyncIterator]: () => {}, destroy: fault }),
    }
    const router = t.router({
      stream: t.procedure.input(z.string()).query(({ input }) => kinds[input as keyof typeof kinds]()), // one of them
      late: t.procedure.query(async () => {
        started.open()
        await release.passed
        return readable()
      }),
      file: t.procedure.query(() => createReadStream('no-such-file')),
    })
    const { connection } = link(router, { onError: ({ error }) => reports.push(error.message) })
    const client = createDuplexClient<typeof router>({ connection, transformer })
    for (const kind of Object.keys(kinds)) {
      expect((await failure(client.stream.query(kind))).data).toMatchObject({ code: 'UNSUPPORTED_MEDIA_TYPE' })
    }
    await expect.poll(() => ended).toEqual(expect.arrayContaining(['readable', 'web', 'generator']))
    expect(ended).toHaveLength(3)
    expect(reports).toContain('password is hunter2')
    const cancel = new AbortController()
    const cancelled = failure(client.late.query(undefined, { signal: cancel.signal }))
    await started.passed
    cancel.abort()
    await cancelled
    release.open()
    await expect.poll(() => ended).toHaveLength(4)
    // The stream reports the missing file after its end.
    expect((await failure(client.file.query())).data).toMatchObject({ code: 'UNSUPPORTED_MEDIA_TYPE' })
    await expect.poll(() => reports).toContainEqual(expect.stringContaining('no such file'))
  })

  it('a message above maxMessageBytes is rejected before it is sent, with both numbers', async () => {
    const { router } = testRouter()
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    const error = await failure(client.size.query('x'.repeat(5_000_000)))
    expect(error.data).toMatchObject({ code: 'PAYLOAD_TOO_LARGE', reason: 'message_too_large' })
    expect(error.message).toMatch(/^message of 5,0\d\d,\d{3} bytes is larger than maxMessageBytes 4,194,304$/)
    expect(await client.size.query('x')).toBe(1)
  })

  it('many small calls of one turn get through to a server with a small maxMessageBytes', async () => {
    const sizes = t.router({ size: t.procedure.input(z.string()).mutation(({ input }) => input.length) })
    const { connection } = link(sizes, { limits: { maxMessageBytes: 10_000 } })
    const client = createDuplexClient<typeof sizes>({ connection, transformer })
    const calls = Array.from({ length: 100 }, () => client.size.mutate('x'.repeat(1_000)))
    expect(await Promise.all(calls)).toEqual(calls.map(() => 1_000))
  })

  it('a response above maxMessageBytes fails its call with both numbers', async () => {
    const { router } = testRouter()
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    expect((await failure(client.big.query(5_000_000))).data).toMatchObject({
      code: 'PAYLOAD_TOO_LARGE',
      reason: 'message_too_large',
    })
    expect(await client.big.query(1)).toBe('x')
  })

  it('cancelling rejects at once, aborts the procedure, and leaves no listener on the signal', async () => {
    const { router, started, aborted, release } = testRouter()
    const { connection, group } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    const controller = new AbortController()
    const call = failure(client.wait.mutate(undefined, { signal: controller.signal }))
    await started
    controller.abort(new Error('enough'))
    const error = await call
    expect(error.data).toMatchObject({ code: 'CLIENT_CLOSED_REQUEST', mayHaveRun: true })
    expect(await aborted).toMatchObject({ code: 'CLIENT_CLOSED_REQUEST' })
    expect(group.calls).toBe(1)
    expect(getEventListeners(controller.signal, 'abort')).toEqual([])
    release()
  })

  it('a call with a response leaves no listener on its signal', async () => {
    const { router } = testRouter()
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    const { signal } = new AbortController()
    const call = client.echo.query(1, { signal })
    expect(getEventListeners(signal, 'abort')).toHaveLength(1)
    await call
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  it('a signal that is already aborted sends nothing', async () => {
    const { router, started } = testRouter()
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    const error = await failure(client.wait.mutate(undefined, { signal: AbortSignal.abort() }))
    expect(error.data).toMatchObject({ code: 'CLIENT_CLOSED_REQUEST', mayHaveRun: false })
    const ran = await Promise.race([started.then(() => true), client.echo.query(false)])
    expect(ran).toBe(false)
  })

  it('a deadline rejects with TIMEOUT and aborts the procedure', async () => {
    const { router, aborted, release } = testRouter()
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    await client.nothing.query() // connecting is no part of the time
    const error = await failure(client.wait.mutate(undefined, { context: { timeoutMs: 100 } }))
    expect(error.data).toMatchObject({ code: 'TIMEOUT', mayHaveRun: true })
    expect(await aborted).toBeInstanceOf(RpcError)
    release()
  })

  it.each([0, -5, Number.NEGATIVE_INFINITY])('a timeoutMs of %s has passed: nothing is sent', async timeoutMs => {
    const { router, runs } = countingRouter()
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    await client.run.mutate()
    const error = await failure(client.run.mutate(undefined, { context: { timeoutMs } }))
    expect(error.data).toMatchObject({ code: 'TIMEOUT', mayHaveRun: false })
    await client.run.mutate() // which would have come after it
    expect(runs()).toBe(2)
  })

  it('a timeoutMs that is no number of milliseconds is BAD_REQUEST, also by default', async () => {
    const { router, runs } = countingRouter()
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    const linked = createTRPCClient<typeof router>({ links: [duplexLink({ connection, transformer })] })
    const byDefault = link(router, { client: { callTimeoutMs: Number.NaN } })
    const context = { timeoutMs: Number.NaN }
    for (const call of [
      client.run.mutate(undefined, { context }),
      linked.run.mutate(undefined, { context }),
      createDuplexClient<typeof router>({ connection: byDefault.connection, transformer }).run.mutate(),
    ]) {
      expect((await failure(call)).data).toMatchObject({ code: 'BAD_REQUEST', mayHaveRun: false })
    }
    expect(runs()).toBe(0)
  })

  it('the longest deadline is 2^31 - 1 ms; Infinity is none', async () => {
    const { duplex } = await dialRaw(testRouter().router)
    const sent: unknown[] = []
    const send = duplex.send.bind(duplex)
    duplex.send = message => {
      sent.push(Reflect.get(Object(Reflect.get(message as object, 'params')), 'timeoutMs'))
      send(message)
    }
    const connection = connect({ dial: () => duplex })
    const client = createDuplexClient<ReturnType<typeof testRouter>['router']>({ connection, transformer })
    for (const timeoutMs of [2 ** 40, Number.POSITIVE_INFINITY]) {
      await client.nothing.query(undefined, { context: { timeoutMs } })
    }
    await connection.close()
    expect(sent).toEqual([expect.any(Number), undefined])
    const [longest] = sent
    expect(longest).toBeLessThanOrEqual(2 ** 31 - 1)
    expect(longest).toBeGreaterThan(2 ** 31 - 10_000) // of which some may have passed
  })

  it('a call that arrives with no time left is not run', async () => {
    const { router, runs } = countingRouter()
    const { duplex } = await dialRaw(router)
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'mutation', params: { path: 'run', timeoutMs: 0 } })
    expect(await until(1)).toMatchObject([{ id: 1, error: { json: { data: { code: 'TIMEOUT', mayHaveRun: false } } } }])
    expect(runs()).toBe(0)
  })

  it('a deadline that the caller sends ends the call on the server too', async () => {
    const { router, aborted, release } = testRouter()
    const { duplex } = await dialRaw(router)
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'mutation', params: { path: 'wait', timeoutMs: 20 } })
    expect(await until(1)).toMatchObject([{ id: 1, error: { json: { data: { code: 'TIMEOUT' } } } }])
    expect(await aborted).toMatchObject({ code: 'TIMEOUT' })
    release()
  })

  it('a lost connection aborts the procedure and fails a mutation with mayHaveRun', async () => {
    const { router, started, aborted, release } = testRouter()
    const { connection, sever } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    const call = failure(client.wait.mutate())
    await started
    sever()
    expect((await call).data).toMatchObject({
      code: 'SERVICE_UNAVAILABLE',
      reason: 'connection_lost',
      mayHaveRun: true,
    })
    expect(await aborted).toMatchObject({ reason: 'connection_lost' })
    release()
  })

  it('a mutation that its server holds when it drains runs on the next one, once', async () => {
    let runs = 0
    const [started, release, held] = [gate(), gate(), gate()]
    const router = t.router({
      deaf: t.procedure.mutation(async () => {
        started.open()
        await release.passed
      }),
      run: t.procedure.mutation(() => ++runs),
    })
    const { connection, group, replace } = link(router, {
      limits: { maxInFlight: 1 },
      onCallEnd: ({ code }) => code === 'TOO_MANY_REQUESTS' && held.open(),
    })
    const client = createDuplexClient<typeof router>({ connection, transformer })
    const cancel = new AbortController()
    const cancelled = failure(client.deaf.mutate(undefined, { signal: cancel.signal }))
    await started.passed
    cancel.abort()
    await cancelled
    const response = client.run.mutate()
    // One more than may wait: the earlier calls wait.
    const rejected = failure(client.run.mutate())
    await held.passed
    expect((await rejected).data).toMatchObject({ reason: 'too_many_calls' })
    replace()
    const closing = group.close()
    expect(await response).toBe(1)
    release.open()
    await closing
    expect(runs).toBe(1)
  })

  it('a query in flight on a lost connection is sent again on the next one', async () => {
    let runs = 0
    const first = gate()
    const router = t.router({
      once: t.procedure.query(async ({ signal }) => {
        runs++
        if (runs > 1) return runs
        first.open()
        return new Promise<number>((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
      }),
    })
    const { connection, sever, served } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    const response = client.once.query()
    await first.passed
    sever()
    expect(await response).toBe(2)
    expect(served).toHaveLength(2)
  })

  it('close() fails calls in flight, is final, and rejects later calls', async () => {
    const { router, started, aborted, release } = testRouter()
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    const call = failure(client.wait.mutate())
    await started
    await connection.close()
    expect((await call).data).toMatchObject({ reason: 'connection_closed', mayHaveRun: true })
    await aborted
    release()
    expect((await failure(client.echo.query(1))).data).toMatchObject({ reason: 'connection_closed', mayHaveRun: false })
    expect(connection.state).toBe('closed')
    expect(await connection.closed).toMatchObject({ code: 1000 })
  })

  it('the client holds back calls beyond maxInFlight and sends them in order', async () => {
    const order: number[] = []
    const release = gate()
    const router = t.router({
      step: t.procedure.input(z.number()).mutation(async ({ input }) => {
        order.push(input)
        await release.passed
      }),
    })
    const { connection, group } = link(router, { client: { maxInFlight: 2 } })
    const client = createDuplexClient<typeof router>({ connection, transformer })
    const calls = [1, 2, 3, 4].map(step => client.step.mutate(step))
    await expect.poll(() => group.calls).toBe(2)
    expect(order).toEqual([1, 2])
    release.open()
    await Promise.all(calls)
    expect(order).toEqual([1, 2, 3, 4])
  })

  it('an input is decoded once, however many parsers its procedure has', async () => {
    let decoded = 0
    const once = initTRPC.create({
      transformer: {
        input: {
          serialize: value => value,
          deserialize(value) {
            decoded++
            return value
          },
        },
        output: { serialize: value => value, deserialize: value => value },
      },
    })
    const router = once.router({
      sum: once.procedure
        .input(z.object({ a: z.number() }))
        .input(z.object({ b: z.number() }))
        .input(z.object({ c: z.number() }))
        .query(({ input }) => input.a + input.b + input.c),
    })
    const { duplex } = await dialRaw(router)
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'query', params: { path: 'sum', input: { a: 1, b: 2, c: 3 } } })
    expect(await until(1)).toEqual([{ id: 1, result: { type: 'data', data: 6 } }])
    expect(decoded).toBe(1)
  })

  it('a signal is made only for a procedure that reads it', async () => {
    const { router } = testRouter()
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    await client.echo.query('warm')
    const original = globalThis.AbortController
    let made = 0
    globalThis.AbortController = class extends original {
      constructor() {
        super()
        made++
      }
    }
    try {
      await client.echo.query(1)
    } finally {
      globalThis.AbortController = original
    }
    expect(made).toBe(0)
  })
})

describe.each(links)('hostile peers, $name', ({ dialRaw }) => {
  leavesNothing()
  afterEach(() => void vi.useRealTimers())
  const passQuickly = quickTime()

  it('a message that is no valid request gets an error under its id, and the connection goes on', async () => {
    const { duplex } = await dialRaw(testRouter().router)
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'destroy' })
    send({ id: 2, method: 'query' })
    send({ id: 3, method: 'query', params: { path: 7 } })
    send({ id: 4, method: 'query', params: { path: 'echo', timeoutMs: 'soon' } })
    send({ id: 5, method: 'query', params: { path: 'echo', input: { json: 'alive' } } })
    const responses = await until(5)
    for (const id of [1, 2, 3, 4]) {
      expect(responses).toContainEqual({
        id,
        error: { json: expect.objectContaining({ data: expect.objectContaining({ code: 'PARSE_ERROR' }) }) },
      })
    }
    expect(responses).toContainEqual({ id: 5, result: { type: 'data', data: { json: 'alive' } } })
  })

  it.each([
    [{ method: 'query' }],
    [{ id: null, method: 'query' }],
    [[[]]],
    [{ id: {}, method: 'query' }],
    [{ id: 'x'.repeat(2000), method: 'query' }],
    [{ method: 'reconnect' }],
  ])('an invalid message without an id closes the connection with 1002: %j', async message => {
    const { duplex } = await dialRaw(testRouter().router)
    const { send, closed } = peer(duplex)
    send(message)
    expect(await closed).toMatchObject({ code: 1002, message: expect.stringContaining('not a valid request') })
  })

  it('a request for another connection is ignored by a side that does not dial', async () => {
    const { duplex } = await dialRaw(testRouter().router)
    const { send, until } = peer(duplex)
    send({ id: null, method: 'reconnect' })
    send({ id: 1, method: 'query', params: { path: 'echo', input: { json: 'alive' } } })
    expect(await until(1)).toEqual([{ id: 1, result: { type: 'data', data: { json: 'alive' } } }])
  })

  it('each item of a batch gets a response under its own id', async () => {
    const { duplex } = await dialRaw(testRouter().router)
    const { send, until } = peer(duplex)
    send([
      { id: 1, method: 'query', params: { path: 'echo', input: { json: 'a' } } },
      { id: 2, method: 'nonsense' },
      { id: 3, method: 'query', params: { path: 'echo', input: 'not superjson' } },
      { id: 4, method: 'query', params: { path: 'echo', input: { json: 'd' } } },
    ])
    const responses = await until(4)
    expect(responses).toContainEqual({ id: 1, result: { type: 'data', data: { json: 'a' } } })
    expect(responses).toContainEqual({ id: 4, result: { type: 'data', data: { json: 'd' } } })
    expect(responses).toContainEqual({
      id: 2,
      error: { json: expect.objectContaining({ data: expect.objectContaining({ code: 'PARSE_ERROR' }) }) },
    })
    expect(responses).toContainEqual({
      id: 3,
      error: { json: expect.objectContaining({ data: expect.objectContaining({ code: 'BAD_REQUEST' }) }) },
    })
  })

  it('a duplicate id is rejected and the live call goes on', async () => {
    const { router, started, release } = testRouter()
    const { duplex } = await dialRaw(router)
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'mutation', params: { path: 'wait' } })
    await started
    send({ id: 1, method: 'query', params: { path: 'echo' } })
    expect(await until(1)).toMatchObject([
      { id: 1, error: { json: { data: { code: 'CONFLICT', reason: 'duplicate_id' } } } },
    ])
    release()
    expect((await until(2))[1]).toEqual({ id: 1, result: { type: 'data', data: { json: 'done' } } })
  })

  it('calls beyond maxInFlight are rejected with the number', async () => {
    const { router, started, release } = testRouter()
    const { duplex } = await dialRaw(router, { limits: { maxInFlight: 1 } })
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'mutation', params: { path: 'wait' } })
    await started
    send({ id: 2, method: 'query', params: { path: 'echo' } })
    expect(await until(1)).toMatchObject([
      {
        id: 2,
        error: {
          json: {
            message: '1 calls are in flight, as many as maxInFlight allows',
            data: { code: 'TOO_MANY_REQUESTS', reason: 'too_many_calls' },
          },
        },
      },
    ])
    release()
    await until(2)
  })

  it('a call in the place of a cancelled one waits until that procedure has returned, and is not rejected', async () => {
    const { router, started, release } = testRouter()
    const { duplex } = await dialRaw(router, { limits: { maxInFlight: 1 } })
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'mutation', params: { path: 'wait' } })
    await started
    send({ id: 1, method: 'subscription.stop' })
    send({ id: 2, method: 'query', params: { path: 'echo', input: { json: 'next' } } })
    send('PING')
    expect(await until(2)).toMatchObject([{ id: 1, error: {} }, 'PONG'])
    release()
    expect((await until(3))[2]).toEqual({ id: 2, result: { type: 'data', data: { json: 'next' } } })
  })

  it('calls that wait for procedures to return are held up to maxBufferedBytes', async () => {
    const release = gate()
    let started = 0
    const router = t.router({
      deaf: t.procedure.mutation(() => {
        started++
        return release.passed
      }),
      size: t.procedure.input(z.string()).query(({ input }) => input.length),
    })
    const limits = { maxInFlight: 4, maxMessageBytes: 500_000, maxBufferedBytes: 1_000_000 }
    const { duplex } = await dialRaw(router, { limits })
    const { send, until } = peer(duplex)
    for (const id of [1, 2, 3, 4]) send({ id, method: 'mutation', params: { path: 'deaf' } })
    await expect.poll(() => started).toBe(4)
    for (const id of [1, 2, 3, 4]) send({ id, method: 'subscription.stop' })
    const input = { json: 'x'.repeat(400_000) }
    const call = (id: number) => send({ id, method: 'query', params: { path: 'size', input } })
    call(5)
    call(6)
    send({ id: 5, method: 'subscription.stop' })
    call(7) // in the place of the cancelled one
    call(8)
    const problem = 'calls that wait to be started would take more than 1,000,000 bytes'
    expect((await until(6)).slice(4)).toMatchObject([
      { id: 5, error: { json: { data: { code: 'CLIENT_CLOSED_REQUEST', mayHaveRun: false } } } },
      { id: 8, error: { json: { message: problem } } },
    ])
    release.open()
    expect((await until(8)).slice(6)).toMatchObject([6, 7].map(id => ({ id, result: { data: { json: 400_000 } } })))
  })

  it('subscription.stop for a mutation cancels it, with one terminal message', async () => {
    const { router, started, aborted, release } = testRouter()
    const { duplex } = await dialRaw(router)
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'mutation', params: { path: 'wait' } })
    await started
    send({ id: 1, method: 'subscription.stop' })
    await aborted
    release()
    send({ id: 2, method: 'query', params: { path: 'echo', input: { json: 2 } } })
    expect(await until(2)).toMatchObject([
      { id: 1, error: { json: { data: { code: 'CLIENT_CLOSED_REQUEST' } } } },
      { id: 2, result: { type: 'data', data: { json: 2 } } },
    ])
  })

  it('a peer that calls and does not read is cut off with 4008 and both numbers', async () => {
    passQuickly()
    const burst = gate()
    let started = 0
    const router = t.router({
      big: t.procedure.query(async () => {
        started++
        await burst.passed
        return 'x'.repeat(1_000_000)
      }),
    })
    const { duplex, served } = await dialRaw(router)
    for (let id = 1; id <= 20; id++) duplex.send({ id, method: 'query', params: { path: 'big' } })
    await expect.poll(() => started).toBe(20)
    burst.open()
    expect(await served.closed).toMatchObject({
      code: 4008,
      message: expect.stringMatching(
        /^(1[6-9]|20),\d{3},\d{3} bytes wait for a slow reader, more than maxBufferedBytes 16,777,216$/,
      ),
    })
    // A peer that reads after all gets the sent responses, and then the cause of the close.
    expect(await peer(duplex).closed).toMatchObject({ code: 4008 })
  })

  it('a peer that pings and does not read is cut off too', async () => {
    const { duplex, served } = await dialRaw(testRouter().router, { limits: { maxBufferedBytes: 100 } })
    // The network takes some of it; far more than the limit is left.
    const flood = setInterval(() => {
      for (let count = 0; count < 10_000; count++) duplex.send('PING')
    })
    expect(await served.closed).toMatchObject({ code: 4008 })
    clearInterval(flood)
  })

  it('a burst of responses above maxBufferedBytes is no slow reader: a peer that reads gets all of them', async () => {
    // A busy machine may need longer than a slow reader may: time passes below.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    const burst = gate()
    const router = t.router({
      large: t.procedure.query(async () => {
        await burst.passed
        return 'x'.repeat(3_900_000)
      }),
      next: t.procedure.query(() => 'still here'),
    })
    const { duplex, served } = await dialRaw(router)
    const { send, until } = peer(duplex)
    let closed = false
    void served.closed.then(() => {
      closed = true
    })
    for (let id = 1; id <= 5; id++) send({ id, method: 'query', params: { path: 'large' } })
    send({ id: 6, method: 'query', params: { path: 'next' } })
    await until(1)
    burst.open()
    const responses = await until(6)
    expect(responses.slice(1)).toMatchObject([1, 2, 3, 4, 5].map(id => ({ id, result: { type: 'data' } })))
    vi.advanceTimersByTime(times.slowReaderMs)
    send('PING')
    expect((await until(7)).at(-1)).toBe('PONG')
    expect(closed).toBe(false)
  })

  it('a close for a far too slow reader ends the frame under way: later calls of the frame do not run', async () => {
    let runs = 0
    const router = t.router({ big: t.procedure.query(() => ++runs) })
    const { duplex, served } = await dialRaw(router, { limits: { maxBufferedBytes: 1_000 } })
    const invalid = { id: 0, method: 'nonsense' }
    const call = { id: 1, method: 'query', params: { path: 'big' } }
    duplex.send([...Array.from({ length: 30_000 }, () => invalid), call])
    expect(await served.closed).toMatchObject({ code: 4008 })
    expect(runs).toBe(0)
  })

  it('a batch of more messages than any client sends closes with 1002', async () => {
    const { duplex } = await dialRaw(testRouter().router)
    const { send, closed, received } = peer(duplex)
    send(Array.from({ length: 32_769 }, () => ({ id: 1 })))
    expect(await closed).toMatchObject({
      code: 1002,
      message: 'not a valid request: a batch of 32,769, more than 32,768 messages',
    })
    expect(received).toEqual([])
  })

  it('a message that is no request gets no response before there is a context', async () => {
    const { duplex } = await dialRaw(testRouter().router, { createContext: () => new Promise(() => {}) })
    const { send, closed, received } = peer(duplex)
    send({ id: 1, method: 'nonsense' })
    expect(await closed).toMatchObject({ code: 1002 })
    expect(received).toEqual([])
  })

  it('before there is a context as many calls are rejected as may wait; one more closes with 1002', async () => {
    const { duplex } = await dialRaw(testRouter().router, {
      limits: { maxInFlight: 3 },
      createContext: () => new Promise(() => {}),
    })
    const { send, closed, received } = peer(duplex)
    send(Array.from({ length: 1_000 }, (_, id) => ({ id, method: 'query', params: { path: 'nothing' } })))
    expect(await closed).toMatchObject({
      code: 1002,
      message: 'not a valid request: more than 3 calls were rejected or stopped before there was a context',
    })
    expect(received).toMatchObject(
      [3, 4, 5].map(id => ({ id, error: { json: { data: { reason: 'too_many_calls' } } } })),
    )
  })

  it.each(['query', 'subscription'])(
    'before there is a context as many calls may be stopped as may wait; one more closes with 1002: %s',
    async method => {
      const { duplex } = await dialRaw(testRouter().router, {
        limits: { maxInFlight: 3 },
        createContext: () => new Promise(() => {}),
      })
      const { send, closed, received } = peer(duplex)
      const pair = (id: number) => [
        { id, method, params: { path: 'nothing' } },
        { id, method: 'subscription.stop' },
      ]
      send(Array.from({ length: 1_000 }, (_, id) => pair(id)).flat())
      expect(await closed).toMatchObject({
        code: 1002,
        message: 'not a valid request: more than 3 calls were rejected or stopped before there was a context',
      })
      expect(received).toMatchObject([0, 1, 2].map(id => ({ id })))
    },
  )

  it('calls that wait for the context of a draining server are each sent elsewhere, whatever was stopped before', async () => {
    const { duplex, group } = await dialRaw(testRouter().router, {
      limits: { maxInFlight: 2 },
      createContext: () => new Promise(() => {}),
    })
    const { send, until, closed } = peer(duplex)
    const call = (id: number) => send({ id, method: 'query', params: { path: 'nothing' } })
    call(1)
    send({ id: 1, method: 'subscription.stop' })
    call(2)
    call(3)
    send('PING')
    await until(2)
    await group.close()
    expect(await closed).toMatchObject({ code: 1001 })
    expect((await until(5)).slice(2)).toMatchObject([
      { method: 'reconnect' },
      { id: 2, refused: 'draining' },
      { id: 3, refused: 'draining' },
    ])
  })

  it('an error that a frame provokes many times is made once', async () => {
    const errors: unknown[] = []
    const [started, release] = [gate(), gate()]
    const { router: _router, procedure } = initTRPC.create({
      errorFormatter({ shape, error }) {
        errors.push(error)
        return shape
      },
    })
    const router = _router({
      deaf: procedure.mutation(async () => {
        started.open()
        await release.passed
      }),
      nothing: procedure.query(() => undefined),
    })
    const { duplex } = await dialRaw(router, { limits: { maxInFlight: 1 } })
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'mutation', params: { path: 'deaf' } })
    await started.passed
    // Cancelled, it runs on, so that the next call waits.
    send({ id: 1, method: 'subscription.stop' })
    const call = { id: 2, method: 'query', params: { path: 'nothing' } }
    const each = [call, { ...call, id: 3 }, { id: 2, method: 'nonsense' }, { id: 2, method: 'subscription.stop' }, call]
    send([call, ...Array.from({ length: 200 }, () => each).flat()])
    await until(1 + 200 * 4)
    expect(errors.length).toBe(1 + 200 * 4)
    expect(new Set(errors).size).toBe(1 + 4)
    release.open()
    await until(1 + 200 * 4 + 1)
  })

  it('calls that wait for the context are held up to maxMessageBytes, whatever their number', async () => {
    const context = gate<object>()
    const limits = { maxMessageBytes: 1_000_000 }
    const { duplex } = await dialRaw(testRouter().router, { limits, createContext: () => context.passed })
    const { send, until } = peer(duplex)
    const call = (id: number) => ({
      id,
      method: 'query',
      params: { path: 'size', input: { json: 'x'.repeat(400_000) } },
    })
    for (const id of [1, 2, 3]) send(call(id))
    expect(await until(1)).toMatchObject([
      {
        id: 3,
        error: {
          json: {
            message: 'calls that wait to be started would take more than 1,000,000 bytes',
            data: { code: 'TOO_MANY_REQUESTS', reason: 'too_many_calls', mayHaveRun: false },
          },
        },
      },
    ])
    context.open({})
    await until(3)
    // Started calls do not count any more.
    for (const id of [4, 5, 6]) send(call(id))
    expect((await until(6)).slice(1)).toMatchObject(
      [1, 2, 4, 5, 6].map(id => ({ id, result: { data: { json: 400_000 } } })),
    )
  })

  it('a call that waits for the context waits within its own time, and does not run after it', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    const context = gate<object>()
    const { router } = testRouter()
    const { duplex } = await dialRaw(router, { createContext: () => context.passed })
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'query', params: { path: 'nothing', timeoutMs: 5 } })
    send({ id: 2, method: 'query', params: { path: 'nothing', timeoutMs: 60_000 } })
    send('PING')
    await until(1) // both have come
    vi.advanceTimersByTime(6)
    context.open({})
    expect((await until(3)).slice(1)).toMatchObject([
      { id: 1, error: { json: { data: { code: 'TIMEOUT', mayHaveRun: false } } } },
      { id: 2, result: { type: 'data' } },
    ])
  })

  it('the wait for the context is part of the time of a call', async () => {
    const context = gate<object>()
    const { router, aborted, release } = testRouter()
    const { duplex } = await dialRaw(router, { createContext: () => context.passed, handshakeTimeoutMs: 600_000 })
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'mutation', params: { path: 'wait', timeoutMs: 300_000 } })
    send('PING')
    await until(1) // it has come
    const time = performance.now.bind(performance)
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => time() + 299_900)
    try {
      context.open({})
      expect((await until(2))[1]).toMatchObject({ id: 1, error: { json: { data: { code: 'TIMEOUT' } } } })
    } finally {
      clock.mockRestore()
    }
    expect(await aborted).toMatchObject({ message: 'no response within timeoutMs 300000' })
    release()
  })

  it('no call starts while its reader is slow; held calls start once the reader has caught up', async () => {
    const ran: number[] = []
    const ends: CallEnd[] = []
    const together = gate()
    let started = 0
    const router = t.router({
      large: t.procedure.query(async () => {
        started++
        await together.passed
        return 'x'.repeat(3_900_000)
      }),
      run: t.procedure.input(z.number()).mutation(({ input }) => ran.push(input)),
    })
    const { duplex } = await dialRaw(router, { onCallEnd: end => ends.push(end) })
    // All respond together; the buffers of a socket hold less.
    duplex.send([1, 2, 3].map(id => ({ id, method: 'query', params: { path: 'large' } })))
    await expect.poll(() => started).toBe(3)
    together.open()
    await expect.poll(() => ends.length).toBe(3)
    for (const id of [4, 5]) duplex.send({ id, method: 'mutation', params: { path: 'run', input: { json: id } } })
    duplex.send({ id: 5, method: 'subscription.stop' })
    await expect.poll(() => ends.length).toBe(4)
    expect(ends[3]).toEqual({ type: 'mutation', path: 'run', code: 'CLIENT_CLOSED_REQUEST', durationMs: 0 })
    expect(ran).toEqual([])
    expect((await peer(duplex).until(5)).slice(3)).toMatchObject([{ id: 5 }, { id: 4, result: { type: 'data' } }])
    expect(ran).toEqual([4])
  })

  it('a draining server rejects a call that waits for a running procedure', async () => {
    const { router, started, release } = testRouter()
    const { duplex, group } = await dialRaw(router, { limits: { maxInFlight: 1 } })
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'mutation', params: { path: 'wait' } })
    await started
    send({ id: 1, method: 'subscription.stop' })
    send({ id: 2, method: 'query', params: { path: 'nothing' } })
    send('PING')
    await until(2)
    const closing = group.close()
    const rejection = { data: { code: 'SERVICE_UNAVAILABLE', reason: 'draining', mayHaveRun: false } }
    expect((await until(4)).slice(2)).toMatchObject([
      { id: null, method: 'reconnect' },
      { id: 2, refused: 'draining', error: { json: rejection } },
    ])
    release()
    duplex.close({ code: 1000, message: 'moved' })
    await closing
  })

  it('subscriptions that are stopped while they wait for the context make room for others', async () => {
    const context = gate<object>()
    const limits = { maxSubscriptions: 2 }
    const { duplex } = await dialRaw(testRouter().router, { limits, createContext: () => context.passed })
    const { send, until } = peer(duplex)
    for (const id of [1, 2, 3]) {
      send({ id, method: 'subscription', params: { path: 'absent' } })
      send({ id, method: 'subscription.stop' })
    }
    expect(await until(3)).toEqual([1, 2, 3].map(id => ({ id, result: { type: 'stopped' } })))
    context.open({})
  })

  it('calls start in the order of their arrival, also behind calls that wait for a turn', async () => {
    const started: number[] = []
    const release = gate()
    const router = t.router({
      note: t.procedure.input(z.number()).query(({ input }) => {
        started.push(input)
        return release.passed
      }),
    })
    const { duplex } = await dialRaw(router)
    const { send, until } = peer(duplex)
    const numbers = Array.from({ length: 200 }, (_, index) => index)
    const frame = numbers
      .slice(0, -1)
      .map(number => ({ id: number, method: 'query', params: { path: 'note', input: { json: number } } }))
    send(frame)
    // A later frame comes before the turn: in memory in the next run of the same turn.
    await new Promise(resolve => process.nextTick(resolve))
    await new Promise(resolve => process.nextTick(resolve))
    send({ id: 199, method: 'query', params: { path: 'note', input: { json: 199 } } })
    await expect.poll(() => started.length).toBe(200)
    expect(started).toEqual(numbers)
    release.open()
    await until(200)
  })

  it('PONGs that wait for a slow reader close the connection at the limit, without the time of a burst', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    const { duplex, served } = await dialRaw(testRouter().router, { limits: { maxBufferedBytes: 26_000 } })
    for (let ping = 0; ping < 150; ping++) duplex.send('PING')
    expect(await served.closed).toMatchObject({
      code: 4008,
      message: expect.stringContaining('maxBufferedBytes 26,000'),
    })
  })

  it.each([
    ['a duplicate id', { id: 1, method: 'query', params: { path: 'first' } }],
    ['no time left', { id: 5, method: 'query', params: { path: 'first', timeoutMs: 0 } }],
  ])('calls that are rejected for %s leave the turn to other calls of their frame', async (_, rejected) => {
    let isTurnOver = false
    const release = gate()
    const router = t.router({
      first: t.procedure.query(() => {
        setImmediate(() => {
          isTurnOver = true
        })
        return release.passed
      }),
      last: t.procedure.query(() => isTurnOver),
    })
    const { duplex } = await dialRaw(router)
    const { send, until } = peer(duplex)
    const time = performance.now()
    const clock = vi.spyOn(performance, 'now').mockReturnValue(time)
    const call = (id: number, path: string) => ({ id, method: 'query', params: { path } })
    send([call(1, 'first'), ...new Array<object>(70).fill(rejected), call(2, 'last')])
    try {
      expect((await until(71)).at(-1)).toEqual({ id: 2, result: { type: 'data', data: { json: false } } })
    } finally {
      clock.mockRestore()
    }
    release.open()
    await until(72)
  })

  it('a duplicate id among held calls is rejected', async () => {
    const context = gate<object>()
    const { duplex } = await dialRaw(testRouter().router, { createContext: () => context.passed })
    const { send, until } = peer(duplex)
    for (const input of ['first', 'second'])
      send({ id: 1, method: 'query', params: { path: 'echo', input: { json: input } } })
    expect(await until(1)).toMatchObject([{ id: 1, error: { json: { data: { reason: 'duplicate_id' } } } }])
    context.open({})
    expect((await until(2))[1]).toEqual({ id: 1, result: { type: 'data', data: { json: 'first' } } })
  })

  it('a close aborts running calls at once, however long the peer takes to close', async () => {
    const { router, started, aborted, release } = testRouter()
    const close = gate<(reason: CloseReason) => void>()
    const { duplex, served } = await dialRaw(router, {
      createContext(info) {
        close.open(info.close)
        return {}
      },
    })
    // The peer reads nothing until the end of the test, so no response to the close comes.
    duplex.send({ id: 1, method: 'mutation', params: { path: 'wait' } })
    await started
    ;(await close.passed)({ code: 4001, message: 'the key was revoked' })
    duplex.send({ id: 2, method: 'query', params: { path: 'nothing' } })
    expect(await aborted).toMatchObject({ message: 'the connection closed: the key was revoked' })
    duplex.open({ onMessage() {}, onDrain() {}, onClose() {} })
    await served.closed
    release()
  })

  it.each(['resolves', 'rejects'])(
    'a factory that closes the connection at once leaves nothing when its promise %s',
    async outcome => {
      const [late, settled] = [gate<object>(), gate()]
      const reports: ErrorReport[] = []
      const { duplex } = await dialRaw(testRouter().router, {
        createContext({ close }) {
          close({ code: 4403, message: 'not you' })
          void late.passed.finally(settled.open).catch(() => {})
          return late.passed
        },
        onError: report => reports.push(report),
      })
      expect(await peer(duplex).closed).toMatchObject({ code: 4403 })
      if (outcome === 'resolves') late.open({})
      else late.fail(new Error('too late'))
      await settled.passed
      expect(reports).toEqual([])
    },
  )

  it('a call that is under way when its connection is closed does not run', async () => {
    let runs = 0
    const close = gate<(reason: CloseReason) => void>()
    const router = t.router({ run: t.procedure.mutation(() => ++runs) })
    const { duplex, served } = await dialRaw(router, {
      createContext(info) {
        close.open(info.close)
        return {}
      },
    })
    const { send, until, closed } = peer(duplex)
    const end = await close.passed
    send({ id: 1, method: 'mutation', params: { path: 'run' } })
    await until(1)
    send({ id: 2, method: 'mutation', params: { path: 'run' } })
    end({ code: 4001, message: 'the key was revoked' })
    send({ id: 3, method: 'mutation', params: { path: 'run' } })
    expect(await closed).toMatchObject({ code: 4001 })
    await served.closed
    expect(runs).toBe(1)
  })

  it('PONG comes after every response that was sent before PING', async () => {
    const { duplex } = await dialRaw(testRouter().router)
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'nonsense' })
    send('PING')
    expect(await until(2)).toMatchObject([{ id: 1 }, 'PONG'])
  })

  it('jsonrpc is echoed if the call has it', async () => {
    const { duplex } = await dialRaw(testRouter().router)
    const { send, until } = peer(duplex)
    send({ id: 1, jsonrpc: '2.0', method: 'query', params: { path: 'nothing' } })
    expect(await until(1)).toMatchObject([{ id: 1, jsonrpc: '2.0' }])
  })

  it('keys that name a prototype arrive as own properties and change nothing', async () => {
    const { duplex } = await dialRaw(testRouter().router)
    const { send, until } = peer(duplex)
    const hostile: unknown = JSON.parse(
      '{"json":{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}}',
    )
    send({ id: 1, method: 'query', params: { path: 'echo', input: hostile } })
    send({
      id: 2,
      method: 'query',
      params: {
        path: 'echo',
        input: {
          json: { a: 1 },
          meta: { values: { '__proto__.polluted': ['number'], 'constructor.prototype.polluted': ['Date'] }, v: 1 },
        },
      },
    })
    const responses = await until(2)
    expect(JSON.stringify(responses.find(response => (response as { id: number }).id === 1))).toContain(
      '"__proto__":{"polluted":1}',
    )
    expect(responses).toContainEqual(expect.objectContaining({ id: 2, error: expect.anything() }))
    expect(Reflect.get({}, 'polluted')).toBeUndefined()
  })
})
