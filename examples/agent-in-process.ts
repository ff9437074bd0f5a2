/**
 * A control plane and a workspace agent in one program, on a link in memory. Prints the output of a command.
 */
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectAgent, createBridgeClient, createProcessHost } from 'aibridge/client'
import { createBridgeServer, ensureSecrets, openStore, processRouter, serveDial } from 'aibridge/server'

const dataDir = await mkdtemp(join(tmpdir(), 'aibridge-example-'))
const config = await ensureSecrets({ dataDir })
const store = await openStore({ dataDir })
const server = await createBridgeServer({ store, config, connectAgent })
const identity = { role: 'admin', name: 'my-program' } as const
const operator = createBridgeClient({ dial: () => server.connectInMemory({ identity }) })
const { agents, users } = operator.admin
await users.create.mutate({ username: 'ada' })
await agents.create.mutate({ name: 'builder', user: 'ada' })

// #region agent
const host = createProcessHost({ dir: dataDir, buildVersion: '1.0' })
const { instanceId } = await host.info({})
const service = serveDial({
  dial: () => server.connectAgentInMemory({ agent: 'builder', instanceId }),
  router: processRouter(host),
})
// #endregion

const id = randomUUID()
await agents.start.mutate({ agent: 'builder', id, command: 'echo $((6 * 7))', background: false })
const { output, exitCode } = await agents.output.query({ agent: 'builder', id, waitMs: 10_000, instanceId })
console.log(`${output.trim()}, exit code ${exitCode}`)

await service.close()
await host.close()
await operator.close()
await server.close()
await store.close()
await rm(dataDir, { recursive: true })
