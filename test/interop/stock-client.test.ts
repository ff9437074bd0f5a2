/**
 * tRPC's own client (11.25) with this project's server, feature by feature. Each test also runs against tRPC's own
 * server, so a test states a promise to such clients, and no accident of this server.
 */
import {
  createTRPCClient,
  loggerLink,
  retryLink,
  splitLink,
  TRPCClientError,
  type TRPCWebSocketClient,
  wsLink,
} from '@trpc/client'
import { type AnyTRPCRouter, initTRPC, TRPCError, tracked } from '@trpc/server'
import { SuperJSON } from 'superjson'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { leavesNothing } from '../fixtures/leaves-nothing.js'
import { gate } from '../fixtures/peer.js'
import { messagesOf, ours, servers, stockClient } from './ends.js'
import { type TestRouter, testRouter } from './test-router.js'

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

const connectTo = (client: TRPCWebSocketClient) =>
  createTRPCClient<TestRouter>({ links: [wsLink<TestRouter>({ client })] })
const failure = (promise: Promise<unknown>): Promise<TRPCClientError<AnyTRPCRouter>> =>
  promise.then(
    value => expect.fail(`resolved with ${String(value)}`),
    error => error,
  )

describe.each(servers)('a stock client and the server $name', ({ name, serve }) => {
  leavesNothing()

  it('calls queries and mutations, through middlewares, schemas and lazy routers', async () => {
    const { router } = testRouter()
    const { url } = await serve(router, { createContext: () => ({ user: 'ann' }) })
    const api = connectTo(stockClient({ url }).client)
    expect(await api.echo.query({ deep: [1, null, 'two'] })).toEqual({ deep: [1, null, 'two'] })
    expect(await api.echo.query(undefined)).toBeUndefined()
    expect(await api.add.mutate({ a: 20, b: 22 })).toBe(42)
    expect(await api.nothing.mutate()).toBeUndefined()
    expect(await api.outer.query({ n: 1 })).toBe('ann at query outer')
    expect(await api.later.hello.query()).toBe('hello')
  })

  it('a stock client sends the calls of one tick as one frame; each gets a response, and knows its place', async () => {
    const { router } = testRouter()
    const { url } = await serve(router)
    const { client, sent } = stockClient({ url })
    const api = connectTo(client)
    await api.me.query()
    const frames = sent.length
    const calls = [
      api.batchIndex.query(),
      api.add.mutate({ a: 1, b: 1 }),
      failure(api.fail.mutate()),
      api.batchIndex.query(),
    ]
    expect(await Promise.all(calls)).toMatchObject(['0', 2, { message: 'pay first' }, '3'])
    expect(sent.length - frames).toBe(1)
  })

  it('a stock client gets errors as the router’s formatter made them', async () => {
    const { router } = testRouter()
    const reports: (string | undefined)[] = []
    const { url } = await serve(router, {
      createContext: () => ({ user: 'ann' }),
      onError: ({ path }) => reports.push(path),
    })
    const api = connectTo(stockClient({ url }).client)
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
    expect((await failure(api.outer.query({ n: -1 }))).data).toMatchObject({ code: 'INTERNAL_SERVER_ERROR' })
    expect((await failure(Reflect.get(api, 'absent').query())).data).toMatchObject({ code: 'NOT_FOUND' })
    const asQuery: { query(input: object): Promise<unknown> } = Reflect.get(api, 'add') as never // it is a mutation
    expect((await failure(asQuery.query({ a: 1, b: 2 }))).data).toMatchObject({ code: 'NOT_FOUND' })
    expect(reports).toEqual(['fail', 'add', 'outer', 'absent', 'add'])
  })

  it('reads a subscription to its end: started, every event, stopped, complete', async () => {
    const { router } = testRouter()
    const { url } = await serve(router)
    const api = connectTo(stockClient({ url }).client)
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

  it('a stock client unsubscribes: it completes, and the source is cleaned up', async () => {
    const { router, cleaned } = testRouter()
    const { url } = await serve(router)
    const { client, sent } = stockClient({ url })
    const api = connectTo(client)
    const completed = gate()
    const subscription = api.endless.subscribe(undefined, {
      onData({ data }) {
        if (data === 3) subscription.unsubscribe()
      },
      onComplete: completed.open,
    })
    await Promise.all([completed.passed, cleaned])
    expect(messagesOf(sent).at(-1)).toMatchObject({ method: 'subscription.stop' })
  })

  it('a stock client aborts a subscription by its signal: it completes, and the source is cleaned up', async () => {
    const { router, cleaned } = testRouter()
    const { url } = await serve(router)
    const api = connectTo(stockClient({ url }).client)
    const controller = new AbortController()
    const completed = gate()
    api.endless.subscribe(undefined, {
      signal: controller.signal,
      onData: () => controller.abort(),
      onComplete: completed.open,
      onError: completed.fail,
    })
    await Promise.all([completed.passed, cleaned])
  })

  it('a stock client aborts a query by its signal, and the connection goes on', async () => {
    const { router, started, release } = testRouter()
    const { url } = await serve(router)
    const api = connectTo(stockClient({ url }).client)
    const controller = new AbortController()
    const aborted = failure(api.slow.mutate(undefined, { signal: controller.signal }))
    await started
    controller.abort()
    expect(await aborted).toMatchObject({ cause: { name: 'AbortError' } })
    release()
    expect(await api.me.query()).toBeNull()
  })

  it('reads observables: their end, their error and their teardown', async () => {
    const { router, cleaned } = testRouter()
    const { url } = await serve(router)
    const api = connectTo(stockClient({ url }).client)
    const read = (how: 'completes' | 'fails') =>
      new Promise<unknown>(resolve => {
        api.observed.subscribe(how, { onComplete: () => resolve('completed'), onError: resolve })
      })
    expect(await read('completes')).toBe('completed')
    expect(await read('fails')).toMatchObject({ message: 'no more', data: { code: 'NOT_FOUND' } })
    const waiting = api.observed.subscribe('waits', { onData: () => waiting.unsubscribe() })
    await cleaned
  })

  it('a stock client gets one error of a failed subscription, also of one that never began', async () => {
    const { router } = testRouter()
    const { url } = await serve(router)
    const { client, received } = stockClient({ url })
    const api = connectTo(client)
    const errorsOf = async (subscribe: (onError: (error: { data: unknown }) => void) => void): Promise<unknown[]> => {
      const errors: unknown[] = []
      await new Promise<void>(resolve => {
        subscribe(({ data }) => {
          errors.push(data)
          resolve()
        })
      })
      await api.me.query() // any further message of the subscription comes before this response
      return errors
    }
    const failing = await errorsOf(onError => api.fails.subscribe(undefined, { onError }))
    expect(failing).toMatchObject([{ code: 'CONFLICT' }])
    const unbegun = await errorsOf(onError => api.unbegun.subscribe(undefined, { onError }))
    expect(unbegun).toMatchObject([{ code: 'UNPROCESSABLE_CONTENT' }])
    expect(JSON.stringify(received)).not.toContain('INTERNAL_SERVER_ERROR')
  })

  it('a stock client resumes after its last event each time the socket is cut: no gap, no repeat', async () => {
    const { router, runs } = testRouter()
    const { url, cut, accepted } = await serve(router)
    const api = connectTo(stockClient({ url }).client)
    const noted: number[] = []
    await new Promise<void>((resolve, reject) => {
      api.count.subscribe(undefined, {
        onData({ data }) {
          noted.push(data)
          if (data === 20 || data === 60) cut()
        },
        onError: reject,
        onComplete: resolve,
      })
    })
    expect(noted).toEqual(Array.from({ length: 100 }, (_, index) => index + 1))
    expect(runs).toEqual([undefined, '20', '60'])
    expect(accepted()).toBe(3)
  })

  it('a stock client moves at a reconnect: a call in flight ends on the old socket, a subscription goes on, the old socket closes', async () => {
    const { router, started, release, runs } = testRouter()
    const [first, second] = [await serve(router), await serve(router)]
    let url = first.url
    const states: string[] = []
    const { client } = stockClient({ url: () => url })
    const api = connectTo(client)
    const noted: number[] = []
    const reached = { 20: gate(), moved: gate() }
    const subscription = api.endless.subscribe(undefined, {
      onData({ data }) {
        noted.push(data)
        if (data === 20) reached[20].open()
        if (runs.length === 2 && noted.length > 60) reached.moved.open()
      },
      onConnectionStateChange: ({ state }) => states.push(state),
    })
    const slow = api.slow.mutate()
    await Promise.all([started, reached[20].passed])
    url = second.url
    first.move()
    await reached.moved.passed
    expect(noted).toEqual(noted.map((_, index) => index + 1))
    expect(Number(runs[1])).toBeGreaterThanOrEqual(20)
    expect([first.connections(), second.connections()]).toEqual([1, 1])
    expect(await api.me.query()).toBeNull()
    release()
    expect(await slow).toBe('done')
    await expect.poll(first.connections).toBe(0)
    subscription.unsubscribe()
    // Subscribers cannot see the move.
    expect(states).toEqual(['connecting', 'pending'])
  })

  it('a stock client sends its connectionParams first, an object, a function of one, or null', async () => {
    const { router } = testRouter()
    const params: unknown[] = []
    const { url } = await serve(router, {
      createContext(connectionParams) {
        params.push(connectionParams && { ...connectionParams })
        return { user: connectionParams?.user ?? 'nobody' }
      },
    })
    const users = [
      stockClient({ url, connectionParams: { user: 'ann', lang: 'fr' } }),
      stockClient({ url, connectionParams: async () => ({ user: 'bob' }) }),
      stockClient({ url, connectionParams: () => null }),
      stockClient({ url }),
    ].map(({ client }) => connectTo(client).me.query())
    expect(await Promise.all(users)).toEqual(['ann', 'bob', 'nobody', 'nobody'])
    expect(params).toHaveLength(4)
    expect(params).toEqual(expect.arrayContaining([{ user: 'ann', lang: 'fr' }, { user: 'bob' }, null, null]))
  })

  it.each(['UNAUTHORIZED', 'FORBIDDEN', 'INTERNAL_SERVER_ERROR'] as const)(
    'backs off when it is rejected with %s, and gets in once it may',
    async code => {
      const { router } = testRouter()
      const admitted = gate()
      let asked = 0
      const { url } = await serve(router, {
        createContext: async () => {
          if (++asked <= 3) throw new TRPCError({ code, message: 'not you' })
          admitted.open()
          return { user: 'ann' }
        },
      })
      const attempts: number[] = []
      const codes: unknown[] = []
      const { client } = stockClient({
        url,
        connectionParams: { user: 'ann' },
        onClose: cause => codes.push(cause?.code),
        retryDelayMs(attempt) {
          attempts.push(attempt)
          return 1
        },
      })
      await admitted.passed
      expect(await connectTo(client).me.query()).toBe('ann')
      expect(attempts).toEqual([1, 2, 3])
      const expected = { UNAUTHORIZED: 4401, FORBIDDEN: 4403, INTERNAL_SERVER_ERROR: 1011 }[code]
      expect(codes).toEqual(Array(3).fill(name === ours.name ? expected : 1005))
    },
  )

  it('a stock client gets PONG for each PING, in a connection that goes on', async () => {
    const { router } = testRouter()
    const { url, accepted } = await serve(router)
    const { client, sent, received } = stockClient({
      url,
      connectionParams: { user: 'ann' },
      keepAlive: { enabled: true, intervalMs: 2, pongTimeoutMs: 2_000 },
    })
    const pongs = (): number => received.filter(frame => frame === 'PONG').length
    await expect.poll(pongs).toBeGreaterThan(5)
    expect(sent.filter(frame => frame === 'PING').length - pongs()).toBeLessThanOrEqual(1)
    expect(await connectTo(client).me.query()).toBeNull()
    expect(accepted()).toBe(1)
  })

  it('in lazy mode connects for the first call, closes when idle, and connects again', async () => {
    const { router } = testRouter()
    const { url, accepted, connections } = await serve(router)
    const noted: unknown[] = []
    const closed = [gate(), gate()]
    const { client } = stockClient({
      url,
      lazy: { enabled: true, closeMs: 5 },
      onOpen: () => noted.push('open'),
      onClose(cause) {
        noted.push(cause?.code)
        closed.find((_, index) => noted.length === 2 * index + 2)?.open()
      },
    })
    const states: string[] = []
    client.connectionState.subscribe({ next: ({ state }) => states.push(state) })
    const api = connectTo(client)
    await turn()
    expect(accepted()).toBe(0)
    for (const ended of closed) {
      expect(await api.me.query()).toBeNull()
      await ended.passed
    }
    await expect.poll(connections).toBe(0)
    expect(accepted()).toBe(2)
    expect(noted).toEqual(['open', 1005, 'open', 1005])
    expect(states).toEqual(['idle', 'connecting', 'pending', 'idle', 'connecting', 'pending', 'idle'])
  })

  it('a stock client reports the state of the connection: connecting, pending, and connecting with the error of a loss', async () => {
    const { router } = testRouter()
    const { url, cut } = await serve(router)
    const noted: string[] = []
    const again = gate()
    const { client } = stockClient({ url, onOpen: () => noted.push('open'), onClose: () => noted.push('close') })
    client.connectionState.subscribe({
      next({ state, error }) {
        noted.push(error ? `${state}: ${error.message}` : state)
        if (noted.length > 6) again.open()
      },
    })
    await connectTo(client).me.query()
    cut()
    await again.passed
    expect(noted).toEqual(['connecting', 'open', 'pending', 'close', 'connecting: WebSocket closed', 'open', 'pending'])
  })

  it('a stock client works behind loggerLink, splitLink and retryLink; a retried subscription goes on after its last event', async () => {
    const { router, runs } = testRouter()
    const { url } = await serve(router)
    const log: string[] = []
    const link = wsLink<TestRouter>({ client: stockClient({ url }).client })
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

  it.each([
    ['one transformer both ways', new SuperJSON()],
    ['one for inputs and another for outputs', { input: new SuperJSON(), output: reversed() }],
  ])('%s', async (_name, transformer) => {
    const plain = initTRPC.create({ transformer })
    const router = plain.router({
      echo: plain.procedure.input(z.unknown()).query(({ input }) => input),
      fail: plain.procedure.input(z.date()).query(() => {
        throw new TRPCError({ code: 'CONFLICT', message: 'taken' })
      }),
      events: plain.procedure.input(z.object({ from: z.date() })).subscription(async function* ({ input }) {
        yield tracked('a', input.from)
        yield input.from
      }),
    })
    const { url } = await serve(router)
    const api = createTRPCClient<typeof router>({
      links: [wsLink({ client: stockClient({ url }).client, transformer })],
    })
    const at = new Date(5)
    expect(await api.echo.query({ at, map: new Map([[1n, undefined]]) })).toEqual({
      at,
      map: new Map([[1n, undefined]]),
    })
    expect((await failure(api.fail.query(at))).data).toMatchObject({ code: 'CONFLICT' })
    const noted: unknown[] = []
    await new Promise<void>((resolve, reject) => {
      api.events.subscribe({ from: at }, { onData: event => noted.push(event), onError: reject, onComplete: resolve })
    })
    expect(noted).toEqual([{ id: 'a', data: at }, at])
  })

  it('a stock client goes on when it subscribes and unsubscribes a thousand times', async () => {
    const { router } = testRouter()
    const { url, accepted } = await serve(router)
    const api = connectTo(stockClient({ url }).client)
    for (let round = 0; round < 10; round++) {
      const subscriptions = Array.from({ length: 100 }, () => api.endless.subscribe(undefined, { onData() {} }))
      for (const subscription of subscriptions) subscription.unsubscribe()
      await api.me.query()
    }
    expect(accepted()).toBe(1)
  })
})

describe('a stock client while this server drains', () => {
  leavesNothing()

  it('a stock client gets SERVICE_UNAVAILABLE for a late call to a draining server; retryLink sends the call to the next one', async () => {
    const { router, started, release } = testRouter()
    const [first, second] = [await ours.serve(router), await ours.serve(router)]
    let url = first.url
    const { client } = stockClient({ url: () => url })
    const api = connectTo(client)
    const patient = createTRPCClient<TestRouter>({
      links: [
        retryLink({ retry: ({ error }) => error.data?.code === 'SERVICE_UNAVAILABLE', retryDelayMs: () => 1 }),
        wsLink({ client }),
      ],
    })
    const slow = api.slow.mutate()
    await started
    url = second.url
    first.move()
    const [late, retried] = await Promise.all([
      failure(api.add.mutate({ a: 1, b: 2 })),
      patient.add.mutate({ a: 1, b: 2 }),
    ])
    expect(late.data).toMatchObject({ code: 'SERVICE_UNAVAILABLE', reason: 'draining', mayHaveRun: false })
    expect(retried).toBe(3)
    release()
    expect(await slow).toBe('done')
    await expect.poll(first.connections).toBe(0)
  })
})

/** A second encoding, distinct from the first. */
function reversed() {
  const superjson = new SuperJSON()
  return {
    serialize: (value: unknown): unknown => [...JSON.stringify(superjson.serialize(value))].reverse().join(''),
    deserialize: (text: string): unknown => superjson.deserialize(JSON.parse([...text].reverse().join(''))),
  }
}
