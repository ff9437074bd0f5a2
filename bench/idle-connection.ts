/** Heap of one idle connection, both ends in this process. */
import { createTRPCClient, wsLink } from '@trpc/client'
import { createDuplexClient } from '../client/rpc/client.js'
import { type Connection, connect } from '../client/rpc/connection.js'
import { serveDuplex } from '../server/rpc/connection.js'
import { memoryDuplexPair } from '../shared/rpc/memory-duplex.js'
import { transformer } from '../shared/rpc/transformer.js'
import { record, router } from './the-call.js'
import { startOurs, startStock } from './websocket-ends.js'

const count = 500

/** Needs `node --expose-gc`. */
export async function benchIdleConnection(): Promise<void> {
  console.log('\nHeap of an idle connection, both ends, after one call')
  const ours = await startOurs(router)
  const stock = await startStock(router)
  const local = (): Connection => {
    const [serverEnd, clientEnd] = memoryDuplexPair()
    serveDuplex({ duplex: serverEnd, router })
    return connect({ dial: () => clientEnd })
  }
  await measure('createDuplexClient, in memory', () => {
    const client = createDuplexClient<typeof router>({ connection: local(), transformer })
    return { client, call: () => client.recorder.recordTokenUsage.mutate(record) }
  })
  await measure('createDuplexClient, over a WebSocket', () => {
    const client = createDuplexClient<typeof router>({ connection: ours.connect(), transformer })
    return { client, call: () => client.recorder.recordTokenUsage.mutate(record) }
  })
  await measure('tRPC wsLink + applyWSSHandler', () => {
    const client = createTRPCClient<typeof router>({ links: [wsLink({ client: stock.connect(), transformer })] })
    return { client, call: () => client.recorder.recordTokenUsage.mutate(record) }
  })
  await Promise.all([ours.close(), stock.close()])
}

async function measure(name: string, open: () => { client: unknown; call(): Promise<unknown> }): Promise<void> {
  const warm = Array.from({ length: 20 }, open)
  for (const { call } of warm) await call()
  const before = await heap()
  const held: unknown[] = []
  for (let index = 0; index < count; index++) {
    const { client, call } = open()
    await call()
    held.push(client)
  }
  const bytes = ((await heap()) - before) / held.length
  console.log(`${name.padEnd(44)}${(bytes / 1024).toFixed(1).padStart(10)} KiB`)
}

async function heap(): Promise<number> {
  if (!globalThis.gc) throw new Error('run with node --expose-gc')
  for (let turn = 0; turn < 5; turn++) {
    globalThis.gc()
    await new Promise(resolve => setImmediate(resolve))
  }
  return process.memoryUsage().heapUsed
}
