/** Connections over real sockets that a network resets at any moment. `npm run soak -- sockets` cuts 2,000. */
import { createServer } from 'node:http'
import { initTRPC, tracked } from '@trpc/server'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { createDuplexClient } from '../../../client/rpc/client.js'
import { connect } from '../../../client/rpc/connection.js'
import { webSocketDial } from '../../../client/rpc/websocket.js'
import { ConnectionGroup } from '../../../server/rpc/connection-group.js'
import { serveWebSockets } from '../../../server/rpc/upgrade/websocket-listener.js'
import { leavesNothing, opened } from '../../fixtures/leaves-nothing.js'
import { listening } from '../../fixtures/listening.js'
import { randomFrom } from '../../fixtures/random.js'
import { tcpProxy } from '../../interop/tcp-proxy.js'

const drops = process.env.SOAK === undefined ? 30 : 2_000
const clients = 8

const t = initTRPC.context<object>().create()
const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

leavesNothing()

it('every call of a dropped connection ends, and no subscription has a gap or a repeat', async () => {
  const random = randomFrom()
  const running = new Map<number, number>()
  const router = t.router({
    echo: t.procedure.input(z.string()).query(async ({ input }) => {
      await turn()
      return input
    }),
    write: t.procedure.input(z.number()).mutation(({ input }) => {
      running.set(input, (running.get(input) ?? 0) + 1)
      return input
    }),
    count: t.procedure.input(z.object({ lastEventId: z.string().optional() })).subscription(async function* ({
      input,
      signal,
    }) {
      for (let id = Number(input.lastEventId ?? 0) + 1; !signal?.aborted; id++) {
        yield tracked(String(id), 'x'.repeat((id * 997) % 3_000))
        await turn()
      }
    }),
  })
  const server = createServer()
  const group = new ConnectionGroup()
  serveWebSockets({ server, path: '/rpc', router, group })
  const port = await listening(server, { groups: [group], cut: true })
  const proxy = await tcpProxy(port)
  let isOver = false
  let calls = 0
  let lost = 0
  let events = 0
  const work = Array.from({ length: clients }, async (_, index) => {
    const dial = webSocketDial({ url: `ws://127.0.0.1:${proxy.port}/rpc` })
    const connection = connect({ dial, random: () => random() / 100 })
    opened.add({ groups: [], close: () => connection.close() })
    const client = createDuplexClient<typeof router>({ connection })
    let last = 0
    const subscription = client.count.subscribe(
      {},
      {
        onData({ id }) {
          if (Number(id) !== last + 1) subscriptionFault ??= `event ${id} after ${last}`
          last = Number(id)
          events++
        },
        onError(error) {
          subscriptionFault ??= error.message
        },
      },
    )
    for (let n = 0; !isOver; n++) {
      const key = index * 1_000_000 + n
      const call =
        random() < 0.5
          ? client.echo.query('y'.repeat(Math.floor(random() * 20_000)))
          : client.write.mutate(key).then(result => expect(result).toBe(key))
      calls++
      await call.catch(({ data }) => {
        lost++
        expect(data).toMatchObject({ code: 'SERVICE_UNAVAILABLE', reason: 'connection_lost', mayHaveRun: true })
      })
    }
    subscription.unsubscribe()
    await connection.close()
  })
  let subscriptionFault: string | undefined
  for (let dropped = 0; dropped < drops; ) {
    for (let turns = Math.floor(random() * 20); turns >= 0; turns--) await turn()
    if (proxy.cut(random())) dropped++
  }
  const before = calls
  await expect.poll(() => calls).toBeGreaterThan(before + clients)
  isOver = true
  await Promise.all(work)
  expect(subscriptionFault).toBeUndefined()
  // A mutation is not sent again, since it may have run.
  expect(Math.max(...running.values())).toBe(1)
  await expect.poll(() => [group.connections, group.calls]).toEqual([0, 0])
  if (process.env.SOAK !== undefined) console.log('drops', JSON.stringify({ drops, calls, lost, events }))
}, 600_000)
