/** Agents inside the server's process, over the in-memory link. */
import { randomUUID } from 'node:crypto'
import { expect, onTestFinished, test } from 'vitest'
import { createProcessHost } from '../../../client/agent/process-host.js'
import { connectAgent } from '../../../client/agent-connection.js'
import { createBridgeClient } from '../../../client/bridge-client.js'
import { createBridgeServer } from '../../../server/control-plane/server.js'
import { processRouter } from '../../../server/routers/process.js'
import { serveDial } from '../../../server/rpc/serve-dial.js'
import { finalCloseCodes } from '../../../shared/contract/close-codes.js'
import { temporaryFolder } from '../../fixtures/temporary-folder.js'
import { oneStore } from '../services/running-server.js'

const store = oneStore()

async function openServer() {
  const config = { adminToken: 'an admin token', encryptionKeys: [new Uint8Array(32).fill(7)] }
  const server = await createBridgeServer({ store: store(), config, connectAgent })
  const identity = { role: 'admin', name: 'test' } as const
  const client = createBridgeClient({ dial: () => server.connectInMemory({ identity }) })
  onTestFinished(async () => {
    await client.close()
    await server.close({ graceMs: 0 })
  })
  const { users, agents } = client.admin
  const name = `agent-${randomUUID().slice(0, 8)}`
  const { username } = await users.create.mutate({ username: `owner-${randomUUID().slice(0, 8)}` })
  const { id } = await agents.create.mutate({ name, user: username })
  return { server, agents, name, id }
}

/** An agent with real processes, which dials the server of its process. */
async function serveAgent({ server, name }: Awaited<ReturnType<typeof openServer>>) {
  const host = createProcessHost({ dir: await temporaryFolder(), buildVersion: 'test' })
  const { instanceId } = await host.info({})
  const service = serveDial({
    dial: () => server.connectAgentInMemory({ agent: name, instanceId }),
    router: processRouter(host),
    finalCloseCodes,
    random: () => 0,
  })
  onTestFinished(async () => {
    await service.close({ graceMs: 0 })
    await host.close()
  })
  return { service, instanceId }
}

test('an agent in the server’s process runs commands, and is listed as connected', async () => {
  const opened = await openServer()
  const { instanceId } = await serveAgent(opened)
  const { agents, name: agent, id: agentId } = opened
  const id = randomUUID()
  await agents.start.mutate({ agent, id, command: 'echo $((6 * 7))', background: false })
  const ended = await agents.output.query({ agent, id, waitMs: 20_000, instanceId })
  expect(ended).toMatchObject({ output: '42\n', exitCode: 0 })
  const listed = (await agents.list.query()).find(row => row.id === agentId)
  expect(listed).toMatchObject({ instance: instanceId, isConnected: true })
})

test('an agent in the server’s process ends when it is revoked, and when another process has its place', async () => {
  const opened = await openServer()
  const first = await serveAgent(opened)
  await opened.agents.processes.query({ agent: opened.name })
  const second = await serveAgent(opened)
  expect(await first.service.closed).toMatchObject({ reason: 'replaced' })
  await opened.agents.revoke.mutate({ agent: opened.id })
  expect(await second.service.closed).toMatchObject({ reason: 'key_revoked' })
  const { server, name } = opened
  const again = server.connectAgentInMemory({ agent: name, instanceId: randomUUID() })
  await expect(again).rejects.toMatchObject({ code: 'NOT_FOUND', reason: 'unknown_row' })
})

test('an unknown agent, a malformed process id, and a closing server are rejected', async () => {
  const { server, name } = await openServer()
  const connect = (agent: string, instanceId: string) => server.connectAgentInMemory({ agent, instanceId })
  await expect(connect('nobody', randomUUID())).rejects.toMatchObject({ code: 'NOT_FOUND', reason: 'unknown_row' })
  await expect(connect(name, 'no id')).rejects.toMatchObject({ code: 'BAD_REQUEST' })
  const closing = server.close({ graceMs: 0 })
  await expect(connect(name, randomUUID())).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' })
  await closing
})
