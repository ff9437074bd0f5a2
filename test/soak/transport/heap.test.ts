/**
 * The heap of both ends under a steady load: calls, subscriptions, resets, rejections and junk, on connections that
 * stay and on connections that come and go. `npm run soak -- heap` takes SOAK_MINUTES, by default 10.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect as dialTcp } from 'node:net'
import { initTRPC, tracked } from '@trpc/server'
import { afterEach, expect, it } from 'vitest'
import { z } from 'zod'
import { createDuplexClient } from '../../../client/rpc/client.js'
import { type Connection, connect } from '../../../client/rpc/connection.js'
import { webSocketDial } from '../../../client/rpc/websocket.js'
import { serveDuplex } from '../../../server/rpc/connection.js'
import { ConnectionGroup } from '../../../server/rpc/connection-group.js'
import { serveWebSockets } from '../../../server/rpc/upgrade/websocket-listener.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { transformer } from '../../../shared/rpc/json/transformer.js'
import { memoryDuplexPair } from '../../../shared/rpc/links/memory-duplex.js'
import { closeOpened, opened } from '../../fixtures/leaves-nothing.js'
import { listening } from '../../fixtures/listening.js'
import { runSeed } from '../../fixtures/random.js'
import { tcpProxy } from '../../interop/tcp-proxy.js'
import { Choice } from './choice.js'
import { framesOf, textFrame } from './frames.js'
import { heapUsed } from './heap.js'
import { clientText } from './messages.js'

const isSoak = process.env.SOAK !== undefined
const durationMs = isSoak ? Number(process.env.SOAK_MINUTES ?? 10) * 60_000 : 600
const samples = isSoak ? 20 : 8

const t = initTRPC.context<object>().create({ transformer, isDev: false })
const router = t.router({
  echo: t.procedure.input(z.unknown()).query(({ input }) => input),
  fail: t.procedure.mutation(() => {
    throw new RpcError('CONFLICT', 'made up')
  }),
  hang: t.procedure.query(
    ({ signal }) => new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason))),
  ),
  count: t.procedure.input(z.object({ lastEventId: z.string().optional() })).subscription(async function* ({
    input,
    signal,
  }) {
    for (let id = Number(input.lastEventId ?? 0) + 1; !signal?.aborted; id++) {
      yield tracked(String(id), { at: new Date(id), text: 'x'.repeat(id % 500) })
      await new Promise(resolve => setImmediate(resolve))
    }
  }),
})

const upgrade = (query: string): string =>
  `GET /rpc${query} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'

/** Calls of all kinds on one connection. */
async function work(connection: Connection, choice: Choice): Promise<void> {
  const client = createDuplexClient<typeof router>({ connection, transformer })
  const unsubscribe = [
    client.count.subscribe({}, { onData() {}, onError() {} }),
    client.count.subscribe({}, { onData() {}, onError() {} }),
  ]
  const input = { text: 'y'.repeat(choice.below(2_000)), set: new Set([1n]), at: new Date(0) }
  await Promise.allSettled([
    client.echo.query(input),
    client.echo.query([input, input]),
    client.fail.mutate(),
    client.hang.query(undefined, { context: { timeoutMs: 1 + choice.below(5) } }),
    client.hang.query(undefined, { signal: AbortSignal.timeout(1 + choice.below(5)) }),
  ])
  for (const one of unsubscribe) one.unsubscribe()
  let items = 0
  for await (const _item of client.count.subscribe({}) as unknown as AsyncIterable<unknown>) if (++items > 3) break // without callbacks
}

// Watching for leftovers would itself fill the heap.
afterEach(closeOpened)

it(
  'the heap of both ends stays flat',
  async () => {
    const choice = new Choice(runSeed)
    const server = createServer()
    const group = new ConnectionGroup()
    serveWebSockets({
      server,
      path: '/rpc',
      router,
      group,
      createContext: () => ({}),
      authenticate({ authorization }) {
        if (authorization !== 'Bearer good') throw new RpcError('UNAUTHORIZED', 'no')
      },
    })
    const port = await listening(server, { groups: [group], cut: true })
    const proxy = await tcpProxy(port)
    const dial = (to: number) =>
      webSocketDial({ url: `ws://127.0.0.1:${to}/rpc`, headers: { authorization: 'Bearer good' } })
    const random = () => choice.next() / 100
    const connectInMemory = () =>
      connect({
        dial() {
          const [serverEnd, clientEnd] = memoryDuplexPair()
          serveDuplex({ duplex: serverEnd, router, group, createContext: () => ({}) })
          return clientEnd
        },
      })
    const lasting = [
      connect({ dial: dial(port), random }),
      connect({ dial: dial(proxy.port), random }),
      connectInMemory(),
    ]
    for (const connection of lasting) opened.add({ groups: [], close: () => connection.close() })

    const junk = async (): Promise<void> => {
      const socket = dialTcp(port, '127.0.0.1')
        .on('error', () => {})
        .resume()
      const closed = once(socket, 'close').catch(() => {})
      socket.write(upgrade(choice.chance(0.5) ? '' : '?connectionParams=1'))
      socket.write(textFrame('{"method":"connectionParams","data":{"authorization":"Bearer bad"}}', true))
      for (let frames = 0; frames < 5; frames++)
        socket.write(Buffer.from(framesOf(choice, clientText(choice), true).hex, 'hex'))
      setTimeout(() => socket.destroy(), 5)
      await closed
    }
    const shortLived = async (): Promise<void> => {
      const connection = choice.chance(0.5) ? connect({ dial: dial(port), random }) : connectInMemory()
      await work(connection, choice)
      await connection.close()
    }

    let rounds = 0
    const round = async (): Promise<void> => {
      const all = [...lasting.map(connection => work(connection, choice)), junk(), junk(), shortLived()]
      if (choice.chance(0.3)) proxy.cut(0)
      await Promise.all(all)
      rounds++
    }
    const heaps: number[] = []
    for (let sample = 0; sample < samples; sample++) {
      const until = performance.now() + durationMs / samples
      do await round()
      while (performance.now() < until)
      heaps.push(heapUsed())
    }
    const kib = heaps.map(bytes => Math.round(bytes / 1024))
    if (isSoak) console.log('heap', JSON.stringify({ minutes: durationMs / 60_000, rounds, kib }))
    for (const connection of lasting) await connection.close()
    await group.close({ graceMs: 100 })
    // Code that is compiled late, and caches, belong to the first half.
    const median = (list: number[]): number => list.sort((a, b) => a - b)[list.length >> 1] ?? 0
    expect(median(kib.slice(-samples / 4)) - median(kib.slice(samples / 4, samples / 2))).toBeLessThan(
      isSoak ? 1_024 : 4_096,
    )
  },
  durationMs + 120_000,
)
