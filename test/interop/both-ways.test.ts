/**
 * The whole of a stock peer's day in one test each: connect with parameters, call, fail, subscribe, move, be cut off,
 * resume, close.
 */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createTRPCClient, createWSClient, wsLink } from '@trpc/client'
import { initTRPC, TRPCError, tracked } from '@trpc/server'
import { applyWSSHandler } from '@trpc/server/adapters/ws'
import { observable } from '@trpc/server/observable'
import { SuperJSON } from 'superjson'
import { describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { z } from 'zod'
import { createDuplexClient } from '../../client/rpc/client.js'
import { connect } from '../../client/rpc/connection.js'
import { webSocketDial } from '../../client/rpc/websocket.js'
import { ConnectionGroup } from '../../server/rpc/connection-group.js'
import { serveWebSockets } from '../../server/rpc/upgrade/websocket-listener.js'
import { leavesNothing } from '../fixtures/leaves-nothing.js'
import { ownError } from '../fixtures/own-reasons.js'

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/** With a transformer, and the values that it carries; and without one. */
const withTransformer = makeRouter({ transformer: new SuperJSON() })
const rows = [
  {
    name: 'superjson',
    router: withTransformer,
    options: { transformer: new SuperJSON() },
    value: { at: new Date(5), map: new Map([['a', 1n]]), nothing: undefined },
  },
  {
    name: 'no transformer',
    router: makeRouter({}) as unknown as typeof withTransformer, // tests call both by one type
    options: {} as { transformer: SuperJSON },
    value: { list: [1, 'two', null], 'a.b': { deep: true } },
  },
]

function makeRouter(options: { transformer?: SuperJSON }) {
  const t = initTRPC.context<{ user?: string }>().create({
    ...(options as { transformer: SuperJSON }), // the type of a router says that it has one
    errorFormatter: ({ shape, input }) => ({ ...shape, data: { ...shape.data, custom: 'of the router', input } }),
  })
  return t.router({
    echo: t.procedure.input(z.unknown()).query(({ input }) => input),
    me: t.procedure.query(({ ctx }) => ctx.user ?? null),
    fail: t.procedure.input(z.unknown()).mutation(() => {
      throw new TRPCError({ code: 'PAYMENT_REQUIRED', message: 'pay first' })
    }),
    count: t.procedure
      .input(z.object({ lastEventId: z.string().optional() }).optional())
      .subscription(async function* ({ input, signal }) {
        for (let id = Number(input?.lastEventId ?? 0) + 1; id <= 300 && !signal?.aborted; id++) {
          yield tracked(String(id), id)
          await turn()
        }
      }),
    observed: t.procedure.subscription(() =>
      observable<number>(emit => {
        emit.next(1)
        emit.next(2)
        emit.complete()
      }),
    ),
    hang: t.procedure.subscription(async function* ({ signal }) {
      yield 'started'
      await new Promise(resolve => signal?.addEventListener('abort', resolve, { once: true }))
    }),
  })
}

const all = Array.from({ length: 300 }, (_, index) => index + 1)

async function listening(): Promise<{ server: Server; url: string }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/rpc` } // it listens on TCP
}

function serve(server: Server, router: typeof withTransformer): ConnectionGroup {
  const group = new ConnectionGroup()
  serveWebSockets({
    server,
    path: '/rpc',
    router,
    group,
    authenticate({ authorization }) {
      if (authorization === undefined) throw ownError('ticket_missing', 'who is it?')
      if (authorization === 'mallory') throw ownError('ticket_revoked', 'not you')
      return authorization
    },
    createContext: ({ identity }) => ({ user: identity }),
  })
  return group
}

describe.each(rows)('a stock peer, $name', ({ router, options, value }) => {
  leavesNothing()

  it('a stock client works with this server', async () => {
    const first = await listening()
    const second = await listening()
    const [firstGroup, secondGroup] = [serve(first.server, router), serve(second.server, router)]
    const sockets: { destroy(): void }[] = []
    second.server.on('connection', socket => sockets.push(socket))
    let { url } = first
    const client = createWSClient({
      url: () => url,
      WebSocket: WebSocket as never, // ws's class where the browser's is expected
      connectionParams: { authorization: 'bob' },
      keepAlive: { enabled: true, intervalMs: 25, pongTimeoutMs: 5_000 },
      retryDelayMs: () => 1,
    })
    const stock = createTRPCClient<typeof withTransformer>({ links: [wsLink({ client, ...options })] })
    expect(await stock.echo.query(value)).toEqual(value)
    expect(await Promise.all([stock.me.query(), stock.me.query()])).toEqual(['bob', 'bob'])
    await expect(stock.fail.mutate('an input')).rejects.toMatchObject({
      message: 'pay first',
      data: { code: 'PAYMENT_REQUIRED', custom: 'of the router', input: 'an input' },
    })

    const observed: number[] = []
    await new Promise<void>((resolve, reject) => {
      stock.observed.subscribe(undefined, {
        onData: item => observed.push(item),
        onError: reject,
        onComplete: resolve,
      })
    })
    expect(observed).toEqual([1, 2])
    await new Promise<void>(resolve => {
      const hanging = stock.hang.subscribe(undefined, { onData: () => hanging.unsubscribe(), onComplete: resolve })
    })

    const noted: number[] = []
    const closed: Promise<unknown>[] = []
    await new Promise<void>((resolve, reject) => {
      stock.count.subscribe(undefined, {
        onData({ data }) {
          noted.push(data)
          if (data === 100) {
            url = second.url
            closed.push(firstGroup.close({ graceMs: 5_000 }))
          }
          if (data === 200) for (const socket of sockets) socket.destroy()
        },
        onError: reject,
        onComplete: resolve,
      })
    })
    expect(noted).toEqual(all)
    expect(await stock.me.query()).toBe('bob')
    expect(await Promise.all(closed)).toEqual([{ drained: 0, aborted: 0 }])
    await client.close()
    await secondGroup.close()
    for (const { server } of [first, second]) server.close()
  })

  it('a stock server works with this client', async () => {
    const { server, url } = await listening()
    const wss = new WebSocketServer({ server })
    const handler = applyWSSHandler({
      wss,
      router,
      createContext: ({ info }) => ({ user: info.connectionParams?.user ?? 'nobody' }),
      keepAlive: { enabled: true, pingMs: 5, pongWaitMs: 5_000 },
    })
    const connection = connect({ dial: webSocketDial({ url, connectionParams: { user: 'eve' } }) })
    const client = createDuplexClient<typeof withTransformer>({ connection, ...options })
    expect(await client.echo.query(value)).toEqual(value)
    expect(await Promise.all([client.me.query(), client.me.query()])).toEqual(['eve', 'eve'])
    await expect(client.fail.mutate('an input')).rejects.toMatchObject({
      message: 'pay first',
      data: { code: 'PAYMENT_REQUIRED', custom: 'of the router', input: 'an input' },
    })
    const observed: number[] = []
    for await (const item of client.observed.subscribe()) observed.push(item)
    expect(observed).toEqual([1, 2])
    await new Promise<void>(resolve => {
      const hanging = client.hang.subscribe(undefined, { onData: () => hanging.unsubscribe(), onComplete: resolve })
    })

    const noted: number[] = []
    for await (const { data } of client.count.subscribe()) {
      noted.push(data)
      if (data === 100) handler.broadcastReconnectNotification()
      if (data === 200) for (const socket of wss.clients) socket.terminate()
    }
    expect(noted).toEqual(all)
    expect(await client.me.query()).toBe('eve')
    await connection.close()
    wss.close()
    server.close()
  })

  it('a rejected stock client gets the cause before the close, and backs off', async () => {
    const { server, url } = await listening()
    const group = serve(server, router)
    const attempts: number[] = []
    const closes: (number | undefined)[] = []
    const enough = new Promise<void>(resolve => {
      const client = createWSClient({
        url,
        WebSocket: WebSocket as never, // as above
        connectionParams: { authorization: 'mallory' },
        retryDelayMs(attempt) {
          attempts.push(attempt)
          return 1
        },
        onClose(cause) {
          closes.push(cause?.code)
          if (closes.length === 3) resolve(client.close())
        },
      })
    })
    await enough
    expect(closes).toEqual([4403, 4403, 4403])
    // Each attempt counts: without the error before the close, the client would begin at 0 again each time.
    expect(attempts.slice(0, 2)).toEqual([1, 2])
    await group.close()
    server.close()
  })

  it('a stock server that rejects this client is dialled again, and onError gets the error', async () => {
    const { server, url } = await listening()
    const wss = new WebSocketServer({ server })
    let asked = 0
    applyWSSHandler({
      wss,
      router,
      createContext: () => {
        if (++asked < 3) throw new TRPCError({ code: 'UNAUTHORIZED', message: 'not yet' })
        return { user: 'eve' }
      },
    })
    const errors: string[] = []
    const connection = connect({ dial: webSocketDial({ url }), onError: error => errors.push(error.message) })
    const client = createDuplexClient<typeof withTransformer>({ connection, ...options })
    expect(await client.me.query()).toBe('eve')
    expect(errors.filter(message => message === 'the server rejected the connection').length).toBe(2)
    await connection.close()
    wss.close()
    server.close()
  })
})
