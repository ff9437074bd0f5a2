/** The call inside one process. */
import { createTRPCClient, unstable_localLink } from '@trpc/client'
import { createDuplexClient } from '../client/rpc/client.js'
import { connect } from '../client/rpc/connection.js'
import { duplexLink } from '../client/rpc/link.js'
import { serveDuplex } from '../server/rpc/connection.js'
import { recordSchemas } from '../shared/contract/recorder.js'
import { memoryDuplexPair } from '../shared/rpc/memory-duplex.js'
import { transformer } from '../shared/rpc/transformer.js'
import { measure, print } from './harness.js'
import { record, router } from './the-call.js'

/** The in-memory link beside tRPC's own in-process calls. */
export async function benchMemoryCall(): Promise<void> {
  const [serverEnd, clientEnd] = memoryDuplexPair()
  serveDuplex({ duplex: serverEnd, router })
  const connection = connect({ dial: () => clientEnd })
  const duplexClient = createDuplexClient<typeof router>({ connection, transformer })
  const linkClient = createTRPCClient<typeof router>({ links: [duplexLink({ connection, transformer })] })
  const localClient = createTRPCClient<typeof router>({
    links: [unstable_localLink({ router, createContext: async () => ({}), transformer })],
  })
  const caller = router.createCaller({})
  const schema = recordSchemas.tokenUsage

  const figures = await measure([
    { name: 'bare function + zod', call: async () => schema.parseAsync(record) },
    { name: 'tRPC createCaller (no link)', call: () => caller.recorder.recordTokenUsage(record) },
    { name: 'tRPC unstable_localLink', call: () => localClient.recorder.recordTokenUsage.mutate(record) },
    { name: 'createDuplexClient, in memory', call: () => duplexClient.recorder.recordTokenUsage.mutate(record) },
    {
      name: 'createTRPCClient + duplexLink, in memory',
      call: () => linkClient.recorder.recordTokenUsage.mutate(record),
    },
  ])
  print('In-memory call', figures, 'tRPC createCaller (no link)')
  await connection.close()
}
