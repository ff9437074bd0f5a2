/** The whole of a stock peer's day in one test each: connect with parameters, call, fail, subscribe, move, be cut off, resume, close. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createTRPCClient, createWSClient, wsLink } from '@trpc/client'
import { initTRPC, TRPCError, tracked } from '@trpc/server'
import { applyWSSHandler } from '@trpc/server/adapters/ws'
import { SuperJSON } from 'superjson'
import { describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { z } from 'zod'
import { createDuplexClient } from '../../client/rpc/client.js'
import { connect } from '../../client/rpc/connection.js'
import { webSocketDial } from '../../client/rpc/websocket.js'
import { ConnectionGroup } from '../../server/rpc/connection-group.js'
import { serveWebSockets } from '../../server/rpc/websocket-listener.js'
import { RpcError } from '../../shared/errors.js'
import { leavesNothing } from '../fixtures/leaves-nothing.js'

const transformer = new SuperJSON()
const t = initTRPC.context<{ user?: string }>().create({
  transformer,
  errorFormatter: ({ shape }) => ({ ...shape, data: { ...shape.data, custom: 'of the router' } }),
})
const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
const router = t.router({
  echo: t.procedure.input(z.unknown()).query(({ input }) => input),
  me: t.procedure.query(({ ctx }) => ctx.user ?? null),
  fail: t.procedure.mutation(() => {
    throw new TRPCError({ code: 'PAYMENT_REQUIRED', message: 'pay first' })
  }),
  count: t.procedure.input(z.object({ lastEventId: z.string().optional() }).optional()).subscription(async function* ({
    input,
    signal,
  }) {
    for (let id = Number(input?.lastEventId ?? 0) + 1; id <= 300 && !signal?.aborted; id++) {
      yield tracked(String(id), id)
      await turn()
    }
  }),
})
const all = Array.from({ length: 300 }, (_, index) => index + 1)
const value = { at: new Date(5), map: new Map([['a', 1n]]), nothing: undefined }

async function listening(): Promise<{ server: Server; url: string }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/rpc` } // it listens on TCP
}

function serve(server: Server): ConnectionGroup {
  const group = new ConnectionGroup()
  serveWebSockets({
    server,
    path: '/rpc',
    router,
    group,
    authenticate({ authorization }) {
      if (authorization === undefined) throw new RpcError('UNAUTHORIZED', 'who is it?', { reason: 'key_missing' })
      return authorization
    },
    createContext: ({ identity }) => ({ user: identity }),
  })
  return group
}

describe('a stock peer', () => {
  leavesNothing()

  it('as the client of this server', async () => {
    const first = await listening()
    const second = await listening()
    const [firstGroup, secondGroup] = [serve(first.server), serve(second.server)]
    const sockets: { destroy(): void }[] = []
    second.server.on('connection', socket => sockets.push(socket))
    let { url } = first
    const client = createWSClient({
      url: () => url,
      WebSocket: WebSocket as never, // ws's class where the browser's is expected
      connectionParams: { authorization: 'bob' },
      keepAlive: { enabled: true, intervalMs: 5, pongTimeoutMs: 5_000 },
      retryDelayMs: () => 1,
    })
    const stock = createTRPCClient<typeof router>({ links: [wsLink({ client, transformer })] })
    expect(await stock.echo.query(value)).toEqual(value)
    expect(await Promise.all([stock.me.query(), stock.me.query()])).toEqual(['bob', 'bob'])
    await expect(stock.fail.mutate()).rejects.toMatchObject({
      message: 'pay first',
      data: { code: 'PAYMENT_REQUIRED', custom: 'of the router' },
    })

    const heard: number[] = []
    const closed: Promise<unknown>[] = []
    await new Promise<void>((resolve, reject) => {
      stock.count.subscribe(undefined, {
        onData({ data }) {
          heard.push(data)
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
    expect(heard).toEqual(all)
    expect(await stock.me.query()).toBe('bob')
    expect(await Promise.all(closed)).toEqual([{ drained: 0, aborted: 0 }])
    await client.close()
    await secondGroup.close()
    for (const { server } of [first, second]) server.close()
  })

  it('as the server of this client', async () => {
    const { server, url } = await listening()
    const wss = new WebSocketServer({ server })
    const handler = applyWSSHandler({
      wss,
      router,
      createContext: ({ info }) => ({ user: info.connectionParams?.user ?? 'nobody' }),
      keepAlive: { enabled: true, pingMs: 5, pongWaitMs: 5_000 },
    })
    const connection = connect({ dial: webSocketDial({ url, connectionParams: { user: 'eve' } }) })
    const client = createDuplexClient<typeof router>({ connection, transformer })
    expect(await client.echo.query(value)).toEqual(value)
    expect(await Promise.all([client.me.query(), client.me.query()])).toEqual(['eve', 'eve'])
    await expect(client.fail.mutate()).rejects.toMatchObject({
      message: 'pay first',
      data: { code: 'PAYMENT_REQUIRED', custom: 'of the router' },
    })
    const heard: number[] = []
    for await (const { data } of client.count.subscribe()) {
      heard.push(data)
      if (data === 100) handler.broadcastReconnectNotification()
      if (data === 200) for (const socket of wss.clients) socket.terminate()
    }
    expect(heard).toEqual(all)
    expect(await client.me.query()).toBe('eve')
    await connection.close()
    wss.close()
    server.close()
  })
})
