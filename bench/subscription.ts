/** How fast small items of one subscription come over a WebSocket, backpressure on. */
import { createTRPCClient, wsLink } from '@trpc/client'
import { initTRPC } from '@trpc/server'
import { z } from 'zod'
import { createDuplexClient } from '../client/rpc/client.js'
import { transformer } from '../shared/rpc/transformer.js'
import { median } from './harness.js'
import { startOurs, startStock } from './websocket-ends.js'

const t = initTRPC.create({ transformer })
const items = 50_000
const rounds = 7
const router = t.router({
  count: t.procedure.input(z.number()).subscription(async function* ({ input }) {
    for (let id = 0; id < input; id++) yield { id, name: 'an item' }
  }),
})

interface Subscribable {
  count: {
    subscribe(input: number, callbacks: { onData(): void; onComplete(): void; onError(e: unknown): void }): unknown
  }
}

/** Items a second, ours beside `wsLink`. */
export async function benchSubscription(): Promise<void> {
  const ours = await startOurs(router)
  const stock = await startStock(router)
  const rows: { name: string; client: Subscribable; perSecond: number[] }[] = [
    {
      name: 'createDuplexClient',
      client: createDuplexClient<typeof router>({ connection: ours.connect(), transformer }),
      perSecond: [],
    },
    {
      name: 'tRPC wsLink + applyWSSHandler',
      client: createTRPCClient<typeof router>({ links: [wsLink({ client: stock.connect(), transformer })] }),
      perSecond: [],
    },
  ]
  for (let round = -1; round < rounds; round++) {
    for (const { client, perSecond } of rows) {
      const start = performance.now()
      let observed = 0
      await new Promise<void>((resolve, reject) => {
        client.count.subscribe(items, { onData: () => observed++, onComplete: resolve, onError: reject })
      })
      if (observed !== items) throw new Error(`${observed} of ${items} items came`)
      if (round >= 0) perSecond.push((items / (performance.now() - start)) * 1000)
    }
  }
  console.log('\nSubscription over a WebSocket, small items')
  for (const { name, perSecond } of rows) {
    console.log(`${name.padEnd(44)}${Math.round(median(perSecond)).toLocaleString('en').padStart(10)} items/s`)
  }
  await Promise.all([ours.close(), stock.close()])
}
