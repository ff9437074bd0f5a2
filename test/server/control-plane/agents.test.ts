/** Agents at a control plane: their door, their presence, and calls of operators to their processes. */
import { randomUUID } from 'node:crypto'
import { describe, expect, onTestFinished, test } from 'vitest'
import { connectAgent } from '../../../client/agent-connection.js'
import { agentDial } from '../../../client/agent-dial.js'
import { createBridgeClient, dialRemote } from '../../../client/bridge-client.js'
import { connect } from '../../../client/rpc/connection.js'
import { webSocketDial } from '../../../client/rpc/websocket.js'
import { AgentCalls } from '../../../server/control-plane/agent-calls.js'
import { AgentLinks } from '../../../server/control-plane/agent-links.js'
import { createBridgeServer } from '../../../server/control-plane/server.js'
import { processRouter } from '../../../server/routers/process.js'
import { serveDuplex } from '../../../server/rpc/connection.js'
import { ConnectionGroup } from '../../../server/rpc/connection-group.js'
import { serveDial } from '../../../server/rpc/serve-dial.js'
import type { ProcessHost } from '../../../shared/contract/agents.js'
import { finalCloseCodes } from '../../../shared/contract/close-codes.js'
import { DialError } from '../../../shared/rpc/dial-error.js'
import { memoryDuplexPair } from '../../../shared/rpc/links/memory-duplex.js'
import { admin, adminToken, deferred, oneStore, recordingLogger, rejectionOf } from '../services/running-server.js'

const store = oneStore()

/** A control plane that listens, and a client of its operators. */
async function openServer() {
  const logger = recordingLogger()
  const server = await createBridgeServer({
    store: store(),
    logger,
    connectAgent,
    config: { adminToken, encryptionKeys: [new Uint8Array(32).fill(7)], heartbeatMs: 1_000 },
  })
  const { url } = await server.listen({ host: '127.0.0.1', port: 0 })
  const client = createBridgeClient({ dial: () => server.connectInMemory({ identity: admin }) })
  onTestFinished(async () => {
    await client.close()
    await server.close({ graceMs: 0 })
  })
  return { server, url, agents: client.admin.agents, admin: client.admin, logger }
}

type Server = Awaited<ReturnType<typeof openServer>>

async function createAgent({ admin }: Server) {
  const username = `owner-${randomUUID().slice(0, 8)}`
  await admin.users.create.mutate({ username })
  const agent = await admin.agents.create.mutate({ name: `agent-${randomUUID().slice(0, 8)}`, user: username })
  return { ...agent, owner: username }
}

/** The processes of a scripted agent. */
function scriptedHost(instanceId: string, more: Partial<ProcessHost> = {}): ProcessHost {
  const unused = () => Promise.reject(new Error('not scripted'))
  return {
    info: async () => ({ instanceId, os: 'x', home: '/', dir: '/', startedAt: new Date(0), buildVersion: 'test' }),
    start: async ({ id }) => ({ id, attached: false }),
    output: unused,
    list: async () => ({ processes: [], total: 0 }),
    signal: async () => ({}),
    cancel: unused,
    ...more,
  }
}

/** An agent that serves a scripted host until the test ends. */
function serveAgent(url: string, key: string, more: Partial<ProcessHost> = {}, instance = randomUUID()) {
  const service = serveDial({
    dial: agentDial({ url, key, instance, buildVersion: '7.0' }),
    router: processRouter(scriptedHost(instance, more)),
    random: () => 0,
    finalCloseCodes,
  })
  onTestFinished(async () => void (await service.close({ graceMs: 0 })))
  return { service, instance }
}

/** Resolves when the server calls the agent. */
const reached = async ({ agents }: Server, agent: string) => void (await agents.processes.query({ agent }))

describe('the door of agents', () => {
  test('a key of an agent opens /agent, and no other door', async () => {
    const server = await openServer()
    const { name, key, id, keyId, instance: none } = await createAgent(server)
    expect(none).toBeNull()
    const { instance } = serveAgent(server.url, key)
    await reached(server, name)
    const listed = (await server.agents.list.query()).find(agent => agent.id === id)
    expect(listed).toMatchObject({ keyId, instance, buildVersion: '7.0', isConnected: true })
    expect(JSON.stringify(listed)).not.toContain(key.split('-')[1])

    const asDaemon = connect({ dial: dialRemote({ url: server.url, key }) })
    expect(await asDaemon.closed).toMatchObject({ reason: 'key_invalid' })
    const daemon = createBridgeClient({
      dial: () => server.server.connectInMemory({ identity: { role: 'daemon', name: 'd', delegate: true } }),
    })
    onTestFinished(async () => void (await daemon.close()))
    const asUser = await rejectionOf(daemon.authorizer.isAuthorized.query({ key }))
    expect(asUser).toMatchObject({ code: 'UNAUTHORIZED', reason: 'unknown_key' })
  })

  test('keys of daemons and users, and the admin token, do not open /agent', async () => {
    const server = await openServer()
    const { owner } = await createAgent(server)
    const daemonKey = (await server.admin.daemonKeys.create.mutate({})).key
    const userKey = (await server.admin.apiKeys.create.mutate({ user: owner })).key
    for (const key of [daemonKey, userKey, adminToken, 'none']) {
      const { service } = serveAgent(server.url, key)
      expect(await service.closed, key.slice(0, 4)).toMatchObject({ reason: 'key_invalid' })
    }
  })

  test('a plain request of /agent gets 426, and a server without agents has no such door', async () => {
    const { url } = await openServer()
    expect((await fetch(`${url}/agent`)).status).toBe(426)
    const without = await createBridgeServer({
      store: store(),
      config: { adminToken, encryptionKeys: [new Uint8Array(32).fill(7)] },
    })
    onTestFinished(async () => void (await without.close({ graceMs: 0 })))
    const { url: other } = await without.listen({ host: '127.0.0.1', port: 0 })
    const dialled = webSocketDial({ url: `${other.replace('http', 'ws')}/agent` })({
      signal: AbortSignal.timeout(5000),
    })
    await expect(dialled).rejects.toBeInstanceOf(DialError)
  })

  test.each([
    ['revoked', (server: Server, { id }: { id: string }) => server.agents.revoke.mutate({ agent: id })],
    [
      'of a suspended owner',
      (server: Server, { owner }: { owner: string }) =>
        server.admin.users.setStatus.mutate({ user: owner, status: 'suspended' }),
    ],
  ])('a key that is %s closes its connection at every server, and opens no other', async (_why, end) => {
    const [one, two] = [await openServer(), await openServer()]
    const agent = await createAgent(one)
    const { service } = serveAgent(two.url, agent.key)
    await reached(two, agent.name)
    await end(one, agent)
    expect(await service.closed).toMatchObject({ reason: 'key_revoked' })
    expect(await serveAgent(two.url, agent.key).service.closed).toMatchObject({ reason: 'key_revoked' })
  })
})

describe('several processes with one key', () => {
  test.each([['the same server'], ['another server']])(
    'another process replaces the first once, at %s, and an audit entry says so',
    async where => {
      const server = await openServer()
      const second = where === 'the same server' ? server : await openServer()
      const { id, name, key } = await createAgent(server)
      const older = serveAgent(server.url, key)
      await reached(server, name)
      const newer = serveAgent(second.url, key)
      expect(await older.service.closed).toMatchObject({ reason: 'replaced' })
      await reached(second, name)
      expect(newer.service.state).toBe('open')
      const { entries } = await server.admin.audit.list.query({ limit: 50, action: 'agents.replaced' })
      expect(entries.filter(({ target }) => target === id)).toMatchObject([
        { actor: name, details: { instance: newer.instance, replaced: older.instance } },
      ])
    },
  )

  test('a process that connects anew replaces its older connection, and goes on with its calls', async () => {
    const server = await openServer()
    const { id, name, key } = await createAgent(server)
    const instance = randomUUID()
    const asked = deferred<void>()
    const hang = () => {
      asked.resolve()
      return new Promise<never>(() => {})
    }
    const first = serveAgent(server.url, key, { output: hang }, instance)
    await reached(server, name)
    const call = server.agents.output.query({ agent: name, id: 'p', waitMs: 60_000, instanceId: instance })
    await asked.promise
    const output = async () => ({ output: 'late', running: false, exitCode: 0, durationMs: 1 })
    const second = serveAgent(server.url, key, { output }, instance)
    expect(await call).toMatchObject({ output: 'late' })
    void first.service.close({ graceMs: 0 })
    expect(second.service.state).not.toBe('closed')
    const { entries } = await server.admin.audit.list.query({ limit: 50, action: 'agents.replaced' })
    expect(entries.filter(({ target }) => target === id)).toEqual([])
  })
})

describe('calls of operators', () => {
  test('a call waits for the agent, and has the id of the instance that ran it', async () => {
    const server = await openServer()
    const { name, key } = await createAgent(server)
    const call = server.agents.start.mutate({ agent: name, id: 'p', command: 'true', background: false })
    const { instance } = serveAgent(server.url, key)
    expect(await call).toEqual({ id: 'p', attached: false, instanceId: instance })
    const { entries } = await server.admin.audit.list.query({ limit: 1, action: 'agents.start' })
    expect(entries).toMatchObject([{ actor: 'admin', details: { process: 'p' } }])
  })

  test('a start that is sent again has one entry in the audit log, and a start at another instance has its own', async () => {
    const server = await openServer()
    const { id, name, key } = await createAgent(server)
    const input = { agent: name, id: 'p', command: 'true', background: false }
    const starts = async () => {
      const { entries } = await server.admin.audit.list.query({ limit: 10, action: 'agents.start', target: id })
      return entries.length
    }
    const older = serveAgent(server.url, key)
    await Promise.all([server.agents.start.mutate(input), server.agents.start.mutate(input)])
    await server.agents.start.mutate(input)
    expect(await starts()).toBe(1)
    await server.agents.start.mutate({ ...input, id: 'q' })
    expect(await starts()).toBe(2)
    const newer = serveAgent(server.url, key)
    await older.service.closed
    expect(await server.agents.start.mutate(input)).toMatchObject({ instanceId: newer.instance })
    expect(await starts()).toBe(3)
  })

  test('an agent that was started anew during a call has an unknown outcome, and nothing runs again', async () => {
    const server = await openServer()
    const { name, key } = await createAgent(server)
    const asked = deferred<void>()
    const runs: string[] = []
    const hanging = (id: string) => {
      runs.push(id)
      asked.resolve()
      return new Promise<never>(() => {})
    }
    const older = serveAgent(server.url, key, { start: ({ id }) => hanging(id), output: ({ id }) => hanging(id) })
    const input = { agent: name, id: 'p', command: 'true', background: false }
    const start = rejectionOf(server.agents.start.mutate(input))
    await asked.promise
    const newer = serveAgent(server.url, key, {
      start: async ({ id }) => {
        runs.push(`again ${id}`)
        return { id, attached: false }
      },
    })
    expect(await start).toMatchObject({ reason: 'agent_restarted' })
    expect(runs).toEqual(['p'])
    await reached(server, name)
    const later = { agent: name, id: 'p', waitMs: 0, instanceId: older.instance }
    expect(await rejectionOf(server.agents.output.query(later))).toMatchObject({ reason: 'agent_restarted' })
    expect(newer.service.state).toBe('open')
  })

  test('an error of the agent arrives with its reason', async () => {
    const server = await openServer()
    const { name, key } = await createAgent(server)
    const { rpcError } = await import('../../../shared/contract/error-reasons.js')
    serveAgent(server.url, key, { signal: () => Promise.reject(rpcError('not_running', 'it has ended')) })
    const call = server.agents.signal.mutate({ agent: name, id: 'p', signal: 'kill' })
    expect(await rejectionOf(call)).toMatchObject({ code: 'PRECONDITION_FAILED', reason: 'not_running' })
  })

  test('an agent that does not come before the deadline is unreachable, also one that was there', async () => {
    const group = new ConnectionGroup()
    const shared = { store: store(), replica: randomUUID(), group, logger: recordingLogger() }
    const links = new AgentLinks({ ...shared, connectAgent })
    const calls = new AgentCalls({ ...shared, links, peers: undefined })
    onTestFinished(async () => {
      calls.stop()
      await links.stop()
    })
    const { id, name } = await createAgent(await openServer())
    const list = () => calls.call(id, { timeoutMs: 20 }, (host, _instance, call) => host.list({}, call))
    expect(await rejectionOf(list())).toMatchObject({ reason: 'agent_unreachable' })
    const [far, near] = memoryDuplexPair()
    serveDuplex({ duplex: far, router: processRouter(scriptedHost(randomUUID())), createContext: () => ({}) })
    const left = new AbortController()
    const arrived = { agentId: id, name, instance: randomUUID(), buildVersion: null, signal: left.signal }
    await links.accept(near, arrived)
    expect(await list()).toEqual({ processes: [], total: 0 })
    far.terminate({ code: 1006, message: 'cut' })
    left.abort()
    expect(await rejectionOf(list())).toMatchObject({ code: 'SERVICE_UNAVAILABLE', reason: 'agent_unreachable' })
  })

  test('an unknown agent is not waited for', async () => {
    const { agents } = await openServer()
    expect(await rejectionOf(agents.processes.query({ agent: 'nobody' }))).toMatchObject({ reason: 'unknown_row' })
  })

  test('a server that stops lets the wait for an output end, and the agent dials again', async () => {
    const server = await openServer()
    const { name, key } = await createAgent(server)
    const asked = deferred<void>()
    const release = deferred<void>()
    const { service } = serveAgent(server.url, key, {
      output: async () => {
        asked.resolve()
        await release.promise
        return { output: 'done', running: false, exitCode: 0, durationMs: 1 }
      },
    })
    const call = server.agents.output.query({ agent: name, id: 'p', waitMs: 60_000 })
    await asked.promise
    const closed = server.server.close({ graceMs: 5_000 })
    release.resolve()
    expect(await call).toMatchObject({ output: 'done' })
    await closed
    expect(service.state).not.toBe('closed')
  })
})
