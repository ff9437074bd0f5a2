/**
 * The call of memory-call.ts over a WebSocket on loopback, both ends in this process, beside tRPC's own link and a bare
 * echo.
 */
import { createTRPCClient, wsLink } from '@trpc/client'
import { SuperJSON } from 'superjson'
import { createDuplexClient } from '../client/rpc/client.js'
import { duplexLink } from '../client/rpc/link.js'
import { transformer } from '../shared/rpc/transformer.js'
import { measure, print } from './harness.js'
import { record, router } from './the-call.js'
import { startEcho, startOurs, startStock } from './websocket-ends.js'

/** Our WebSocket link beside `wsLink`, and below both the transport that they use. */
export async function benchWebSocketCall(): Promise<void> {
  const ours = await startOurs(router)
  const stock = await startStock(router)
  const echo = await startEcho()
  const connection = ours.connect()
  const duplexClient = createDuplexClient<typeof router>({ connection, transformer })
  const linkClient = createTRPCClient<typeof router>({
    links: [duplexLink({ connection, transformer })],
  })
  const stockClient = createTRPCClient<typeof router>({ links: [wsLink({ client: stock.connect(), transformer })] })
  const text = JSON.stringify({
    id: 1,
    method: 'mutation',
    params: { path: 'recorder.recordTokenUsage', input: new SuperJSON().serialize(record) },
  })

  const base = 'bare ws echo of the same text'
  const rows = [
    { name: base, call: () => echo.call(text) },
    { name: 'createDuplexClient', call: () => duplexClient.recorder.recordTokenUsage.mutate(record) },
    { name: 'createTRPCClient + duplexLink', call: () => linkClient.recorder.recordTokenUsage.mutate(record) },
    {
      name: 'tRPC wsLink + applyWSSHandler',
      call: () => stockClient.recorder.recordTokenUsage.mutate(record),
      sequentialCalls: 200,
    },
  ]
  for (const inFlight of [64, 1024]) print('WebSocket call', await measure(rows, { inFlight }), base)
  await Promise.all([ours.close(), stock.close(), echo.close()])
}
