/** This project's clients with tRPC's own server (11.25), feature by feature. */
import { createTRPCClient, loggerLink, retryLink, splitLink, type TRPCClient, TRPCClientError } from '@trpc/client'
import { type AnyTRPCRouter, initTRPC, TRPCError, tracked } from '@trpc/server'
import { SuperJSON } from 'superjson'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createDuplexClient } from '../../client/rpc/client.js'
import { type Connection, type ConnectOptions, connect } from '../../client/rpc/connection.js'
import { duplexLink } from '../../client/rpc/link.js'
import type { DataTransformer } from '../../client/rpc/transformer.js'
import type { TransformerOptions } from '../../client/rpc/trpc-internals.js'
import { type WebSocketDialOptions, webSocketDial } from '../../client/rpc/websocket.js'
import { leavesNothing } from '../fixtures/leaves-nothing.js'
import { gate } from '../fixtures/peer.js'
import { closedAfterTest, messagesOf, stock } from './ends.js'
import { type TestRouter, testRouter } from './test-router.js'

/** A way to call over a connection. */
interface ClientKind {
  name: string
  create<R extends AnyTRPCRouter>(options: { connection: Connection } & TransformerOptions<R>): TRPCClient<R>
}

const clients: readonly ClientKind[] = [
  { name: 'createDuplexClient', create: createDuplexClient },
  {
    name: 'duplexLink',
    create: <R extends AnyTRPCRouter>(options: { connection: Connection } & TransformerOptions<R>) =>
      createTRPCClient<R>({ links: [duplexLink<R>(options)] }),
  },
]

function connectTo(options: WebSocketDialOptions, rest: Omit<ConnectOptions, 'dial'> = {}): Connection {
  return closedAfterTest(connect({ ...rest, dial: webSocketDial(options) }))
}

const failure = (promise: Promise<unknown>): Promise<TRPCClientError<AnyTRPCRouter>> =>
  promise.then(
    value => expect.fail(`resolved with ${String(value)}`),
    error => error,
  )

describe.each(clients)('$name and a stock server', ({ create }) => {
  leavesNothing()

  it('calls queries and mutations, through middlewares, schemas and lazy routers', async () => {
    const { router } = testRouter()
    const { url } = await stock.serve(router, { createContext: () => ({ user: 'ann' }) })
    const api = create<TestRouter>({ connection: connectTo({ url }) })
    expect(await api.echo.query({ deep: [1, null, 'two'] })).toEqual({ deep: [1, null, 'two'] })
    expect(await api.echo.query(undefined)).toBeUndefined()
    expect(await api.add.mutate({ a: 20, b: 22 })).toBe(42)
    expect(await api.nothing.mutate()).toBeUndefined()
    expect(await api.outer.query({ n: 1 })).toBe('ann at query outer')
    expect(await api.later.hello.query()).toBe('hello')
  })

  it('a client sends the calls of one tick as one frame, and each gets a response', async () => {
    const { router } = testRouter()
    const { url, frames } = await stock.serve(router)
    const api = create<TestRouter>({ connection: connectTo({ url }) })
    await api.me.query()
    const before = frames.length
    const calls = [
      api.batchIndex.query(),
      api.add.mutate({ a: 1, b: 1 }),
      failure(api.fail.mutate()),
      api.batchIndex.query(),
    ]
    expect(await Promise.all(calls)).toMatchObject(['0', 2, { message: 'pay first' }, '3'])
    expect(frames.length - before).toBe(1)
  })

  it('a client gets errors as the router’s formatter made them', async () => {
    const { router } = testRouter()
    const { url } = await stock.serve(router, { createContext: () => ({ user: 'ann' }) })
    const api = create<TestRouter>({ connection: connectTo({ url }) })
    const error = await failure(api.fail.mutate())
    expect(error).toBeInstanceOf(TRPCClientError)
    expect(error).toMatchObject({
      message: 'pay first',
      shape: { code: -32002 },
      data: { code: 'PAYMENT_REQUIRED', httpStatus: 402, path: 'fail', seen: ['mutation', 'fail', 'ann'] },
    })
    expect((await failure(api.add.mutate({ a: 1 } as never))).data).toMatchObject({
      code: 'BAD_REQUEST',
      fields: ['b'],
    })
  })

  it('reads a subscription to its end: started, every event, stopped, complete', async () => {
    const { router } = testRouter()
    const { url } = await stock.serve(router)
    const api = create<TestRouter>({ connection: connectTo({ url }) })
    const noted: unknown[] = []
    await new Promise<void>((resolve, reject) => {
      api.count.subscribe(
        { lastEventId: '98' },
        {
          onStarted: () => noted.push('started'),
          onData: event => noted.push(event),
          onStopped: () => noted.push('stopped'),
          onError: reject,
          onComplete: resolve,
        },
      )
    })
    expect(noted).toEqual(['started', { id: '99', data: 99 }, { id: '100', data: 100 }, 'stopped'])
  })

  it('a client unsubscribes, breaks out of a loop, or aborts by a signal: it completes, and the source is cleaned up', async () => {
    for (const how of ['unsubscribe', 'break', 'abort'] as const) {
      const { router, cleaned } = testRouter()
      const { url, frames } = await stock.serve(router)
      const api = create<TestRouter>({ connection: connectTo({ url }) })
      if (how === 'break') for await (const { data } of api.endless.subscribe()) if (data === 3) break
      if (how !== 'break') {
        const controller = new AbortController()
        await new Promise<void>((resolve, reject) => {
          const subscription = api.endless.subscribe(undefined, {
            signal: controller.signal,
            onData({ data }) {
              if (data === 3) how === 'abort' ? controller.abort() : subscription.unsubscribe()
            },
            onError: reject,
            onComplete: resolve,
          })
        })
      }
      await cleaned
      expect(messagesOf(frames).at(-1)).toMatchObject({ method: 'subscription.stop' })
    }
  })

  it('reads observables: their end, their error and their teardown', async () => {
    const { router, cleaned } = testRouter()
    const { url } = await stock.serve(router)
    const api = create<TestRouter>({ connection: connectTo({ url }) })
    const read = (how: 'completes' | 'fails') =>
      new Promise<unknown>(resolve => {
        api.observed.subscribe(how, { onComplete: () => resolve('completed'), onError: resolve })
      })
    expect(await read('completes')).toBe('completed')
    expect(await read('fails')).toMatchObject({ message: 'no more', data: { code: 'NOT_FOUND' } })
    const waiting = api.observed.subscribe('waits', { onData: () => waiting.unsubscribe() })
    await cleaned
  })

  it('a client gets one error of a failed subscription, also of one that never began; a later stopped is ignored', async () => {
    const { router } = testRouter()
    const { url } = await stock.serve(router)
    const reported: unknown[] = []
    const api = create<TestRouter>({ connection: connectTo({ url }, { onError: error => reported.push(error) }) })
    const noted: unknown[] = []
    for (const path of ['fails', 'unbegun'] as const) {
      await new Promise<void>(resolve => {
        const callbacks = {
          onStopped: () => noted.push('stopped'),
          onComplete: () => noted.push('complete'),
          onError(error: { message: string }) {
            noted.push(error.message)
            resolve()
          },
        }
        if (path === 'fails') api.fails.subscribe(undefined, callbacks)
        else api.unbegun.subscribe(undefined, callbacks)
      })
      await api.me.query() // any further message of the subscription comes before this response
    }
    expect(noted).toEqual(['once more', 'not even begun'])
    expect(reported).toEqual([])
  })

  it('a client resumes after its last event each time the socket is cut: no gap, no repeat', async () => {
    const { router, runs } = testRouter()
    const { url, cut, accepted } = await stock.serve(router)
    const api = create<TestRouter>({ connection: connectTo({ url }) })
    const noted: number[] = []
    for await (const { data } of api.count.subscribe()) {
      noted.push(data)
      if (data === 20 || data === 60) cut()
    }
    expect(noted).toEqual(Array.from({ length: 100 }, (_, index) => index + 1))
    expect(runs).toEqual([undefined, expect.any(String), expect.any(String)])
    expect(accepted()).toBe(3)
  })

  it('a client moves at broadcastReconnectNotification: a call in flight ends on the old socket, a subscription goes on, the old socket closes', async () => {
    const { router, started, release, runs } = testRouter()
    const [first, second] = [await stock.serve(router), await stock.serve(router)]
    let { url } = first
    const reported: string[] = []
    const connection = closedAfterTest(
      connect({ dial: info => webSocketDial({ url })(info), onError: error => reported.push(error.message) }),
    )
    const api = create<TestRouter>({ connection })
    const noted: number[] = []
    const [at20, moved] = [gate(), gate()]
    const subscription = api.endless.subscribe(undefined, {
      onData({ data }) {
        noted.push(data)
        if (data === 20) at20.open()
        if (runs.length === 2 && noted.length > 60) moved.open()
      },
    })
    const slow = api.slow.mutate()
    await Promise.all([started, at20.passed])
    url = second.url
    first.move()
    await moved.passed
    expect(noted).toEqual(noted.map((_, index) => index + 1))
    expect([first.connections(), second.connections()]).toEqual([1, 1])
    expect(await api.me.query()).toBeNull()
    release()
    expect(await slow).toBe('done')
    await expect.poll(first.connections).toBe(0)
    subscription.unsubscribe()
    expect(reported).toEqual([])
  })

  it('a client sends the connectionParams of its dial on every connection, null too', async () => {
    const { router } = testRouter()
    const params: unknown[] = []
    const { url, cut } = await stock.serve(router, {
      createContext(connectionParams) {
        params.push(connectionParams && { ...connectionParams })
        return { user: connectionParams?.user ?? 'nobody' }
      },
    })
    const api = create<TestRouter>({ connection: connectTo({ url, connectionParams: { user: 'ann', lang: 'fr' } }) })
    expect(await api.me.query()).toBe('ann')
    cut()
    expect(await api.me.query()).toBe('ann')
    expect(await create<TestRouter>({ connection: connectTo({ url, connectionParams: null }) }).me.query()).toBe(
      'nobody',
    )
    expect(params).toEqual([{ user: 'ann', lang: 'fr' }, { user: 'ann', lang: 'fr' }, null])
  })

  it('a client is rejected by a failing context, reports to onError, and connects once the context succeeds', async () => {
    const { router } = testRouter()
    const admitted = gate()
    let asked = 0
    const { url } = await stock.serve(router, {
      createContext: async () => {
        if (++asked <= 2) throw new TRPCError({ code: 'UNAUTHORIZED', message: 'not you' })
        admitted.open()
        return { user: 'ann' }
      },
    })
    const reported: string[] = []
    const connection = connectTo({ url }, { onError: error => reported.push(error.message) })
    await admitted.passed
    expect(await create<TestRouter>({ connection }).me.query()).toBe('ann')
    expect(reported).toEqual([
      'the server rejected the connection',
      'the connection was lost: the peer closed (1005)',
      'the server rejected the connection',
      'the connection was lost: the peer closed (1005)',
    ])
  })

  it('a client sends PONG for each PING of the server’s keepAlive, in a connection that goes on', async () => {
    const { router } = testRouter()
    const { url, frames, accepted } = await stock.serve(router, { pingMs: 2 })
    const api = create<TestRouter>({ connection: connectTo({ url }) })
    await expect.poll(() => frames.filter(frame => frame === 'PONG').length).toBeGreaterThan(5)
    expect(await api.me.query()).toBeNull()
    expect(accepted()).toBe(1)
  })

  it('pings the WebSocket by itself, and `ws` of the server sends pongs', async () => {
    const { router } = testRouter()
    const { url, pings, accepted } = await stock.serve(router)
    const api = create<TestRouter>({ connection: connectTo({ url, pingIntervalMs: 2, pongTimeoutMs: 50 }) })
    await expect.poll(pings).toBeGreaterThan(3)
    expect(await api.me.query()).toBeNull()
    expect(accepted()).toBe(1)
  })

  it.each<[string, SuperJSON | { input: SuperJSON; output: DataTransformer }]>([
    ['one transformer both ways', new SuperJSON()],
    ['one for inputs and another for outputs', { input: new SuperJSON(), output: reversed() }],
  ])('%s', async (_name, transformer) => {
    const t = initTRPC.create({ transformer })
    const router = t.router({
      echo: t.procedure.input(z.unknown()).query(({ input }) => input),
      fail: t.procedure.input(z.date()).query(() => {
        throw new TRPCError({ code: 'CONFLICT', message: 'taken' })
      }),
      events: t.procedure.input(z.object({ from: z.date() })).subscription(async function* ({ input }) {
        yield tracked('a', input.from)
        yield input.from
      }),
    })
    const { url } = await stock.serve(router)
    const api = create<typeof router>({ connection: connectTo({ url }), transformer })
    const at = new Date(5)
    expect(await api.echo.query({ at, map: new Map([[1n, undefined]]) })).toEqual({
      at,
      map: new Map([[1n, undefined]]),
    })
    expect((await failure(api.fail.query(at))).data).toMatchObject({ code: 'CONFLICT' })
    const noted: unknown[] = []
    for await (const event of api.events.subscribe({ from: at })) noted.push(event)
    expect(noted).toEqual([{ id: 'a', data: at }, at])
  })

  it('a client cancels a call although a stock server does not: the late response is ignored', async () => {
    const { router, started, release } = testRouter()
    const { url } = await stock.serve(router)
    const reported: unknown[] = []
    const api = create<TestRouter>({ connection: connectTo({ url }, { onError: error => reported.push(error) }) })
    const controller = new AbortController()
    const cancelled = failure(api.slow.mutate(undefined, { signal: controller.signal }))
    await started
    controller.abort()
    await cancelled
    const late = await failure(api.slow.mutate(undefined, { context: { timeoutMs: 5 } }))
    expect(late.data).toMatchObject({ code: 'TIMEOUT', mayHaveRun: true })
    release()
    expect(await api.me.query()).toBeNull()
    expect(reported).toEqual([])
  })

  it('a client fails a mutation whose socket is cut with the close code and mayHaveRun', async () => {
    const { router, started, release } = testRouter()
    const { url, cut } = await stock.serve(router)
    const api = create<TestRouter>({ connection: connectTo({ url }) })
    const lost = failure(api.slow.mutate())
    await started
    cut()
    expect(await lost).toMatchObject({
      message: 'the connection was lost before the response to slow: the connection was lost (1006)',
      data: { code: 'SERVICE_UNAVAILABLE', reason: 'connection_lost', mayHaveRun: true },
    })
    release()
  })

  it('a client goes on when it subscribes and unsubscribes a thousand times', async () => {
    const { router } = testRouter()
    const { url, accepted } = await stock.serve(router)
    const api = create<TestRouter>({ connection: connectTo({ url }) })
    for (let round = 0; round < 10; round++) {
      const subscriptions = Array.from({ length: 100 }, () => api.endless.subscribe(undefined, { onData() {} }))
      for (const subscription of subscriptions) subscription.unsubscribe()
      await api.me.query()
    }
    expect(accepted()).toBe(1)
  })
})

describe('duplexLink behind the links of tRPC', () => {
  leavesNothing()

  it('duplexLink behind the links of tRPC works behind loggerLink, splitLink and retryLink; a retried subscription goes on after its last event', async () => {
    const { router, runs } = testRouter()
    const { url } = await stock.serve(router)
    const log: string[] = []
    const link = duplexLink<TestRouter>({ connection: connectTo({ url }) })
    const api = createTRPCClient<TestRouter>({
      links: [
        loggerLink({ logger: ({ direction, path, type }) => log.push(`${direction} ${type} ${path}`) }),
        retryLink({ retry: ({ attempts, error }) => attempts < 5 && error.data?.code !== 'PAYMENT_REQUIRED' }),
        splitLink({ condition: ({ type }) => type === 'subscription', true: link, false: link }),
      ],
    })
    expect(await api.flaky.query()).toBe(3)
    expect((await failure(api.fail.mutate())).message).toBe('pay first')
    const noted: number[] = []
    await new Promise<void>((resolve, reject) => {
      api.fails.subscribe(undefined, {
        onData: ({ data }) => noted.push(data),
        onError: reject,
        onComplete: resolve,
      })
    })
    expect(noted).toEqual([1, 2, 3, 4, 5])
    expect(runs).toEqual([undefined, '3'])
    expect(log).toContain('up query flaky')
    expect(log).toContain('down subscription fails')
  })
})

/** A second encoding, distinct from the first. */
function reversed(): DataTransformer {
  const superjson = new SuperJSON()
  return {
    serialize: value => [...JSON.stringify(superjson.serialize(value))].reverse().join(''),
    deserialize: text => superjson.deserialize(JSON.parse([...String(text)].reverse().join(''))),
  }
}
