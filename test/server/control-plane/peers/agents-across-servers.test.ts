/** Agents that are connected to another server than their caller. */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { connectPeer } from '../../../../client/peer-connection.js'
import { AgentCalls } from '../../../../server/control-plane/agent-calls.js'
import { PeerLinks } from '../../../../server/control-plane/peers/peer-links.js'
import { createPeerToken } from '../../../../server/control-plane/peers/peer-token.js'
import { ConnectionGroup } from '../../../../server/rpc/connection-group.js'
import { createSecretBox } from '../../../../server/services/secrets.js'
import type { Store } from '../../../../server/store/store.js'
import type { ProcessHost } from '../../../../shared/contract/agents.js'
import { rpcError } from '../../../../shared/contract/error-reasons.js'
import { processLimits } from '../../../../shared/contract/limits.js'
import { mayHaveRunOf, RpcError } from '../../../../shared/rpc/errors.js'
import { stores } from '../../../fixtures/stores.js'
import { deferred, recordingLogger, rejectionOf } from '../../services/running-server.js'
import { connectedTo, createAgent, hang, key, openReplica, type Replica, serveAgent } from './replicas.js'

const ended = (output: string) => ({ output, running: false, exitCode: 0, durationMs: 1 })

describe.each(stores)('two servers: $name', ({ openTwo }) => {
  let both: [Store, Store]
  beforeAll(async () => {
    both = await openTwo()
  })
  afterAll(async () => {
    for (const store of new Set(both)) await store.close()
  })

  /** The server that has the agent's connection, and the caller's. */
  const openBoth = async (): Promise<[Replica, Replica]> => [await openReplica(both[0]), await openReplica(both[1])]

  test('every procedure reaches an agent at the other server, with its errors', async () => {
    const [far, near] = await openBoth()
    const { name, key } = await createAgent(near)
    const { instance, close } = serveAgent(far.url, key, {
      output: async ({ id }) => ended(`output of ${id}`),
      signal: async ({ id }) => {
        if (id === 'gone') throw rpcError('not_running', 'it has ended')
        throw new RpcError<string>('INTERNAL_SERVER_ERROR', 'half way', { mayHaveRun: true })
      },
    })
    const input = { agent: name, id: 'p', command: 'true', background: false }
    expect(await near.agents.start.mutate(input)).toEqual({ id: 'p', attached: false, instanceId: instance })
    expect(await near.agents.output.query({ agent: name, id: 'p', waitMs: 0 })).toEqual(ended('output of p'))
    expect(await near.agents.processes.query({ agent: name })).toEqual({ processes: [], total: 0 })
    const signal = (id: string) => near.agents.signal.mutate({ agent: name, id, signal: 'kill' })
    expect(await rejectionOf(signal('gone'))).toMatchObject({ code: 'PRECONDITION_FAILED', reason: 'not_running' })
    const half = await signal('half').catch((error: unknown) => error)
    expect(half).toMatchObject({ message: 'half way' })
    expect(mayHaveRunOf(half)).toBe(true)

    const text = await near.metrics.text()
    expect(text).toContain('peer_connections_open 1')
    expect(text).toMatch(/peer_call_seconds_count\{path="agents.signal",code="PRECONDITION_FAILED"\} 1/)
    expect(await far.metrics.text()).toMatch(
      /rpc_call_seconds_count\{path="peer.agents.start",type="mutation",code="OK"\} 1/,
    )
    await close()
  })

  test('a wait follows its agent to the caller’s server, and away from it', async () => {
    const [far, near] = await openBoth()
    const { name, key } = await createAgent(near)
    const asked: number[] = []
    const waits = [deferred<void>(), deferred<void>(), deferred<void>()]
    const agent = serveAgent(far.url, key, {
      output: ({ waitMs }, call) => {
        waits[asked.push(waitMs) - 1]?.resolve()
        return asked.length < 3 ? hang(call) : Promise.resolve(ended('at last'))
      },
    })
    const { instance: instanceId } = agent
    // Less than a slice of a wait.
    const waitMs = 14_000
    const output = near.agents.output.query({ agent: name, id: 'p', waitMs, instanceId })
    await waits[0]?.promise
    agent.moveTo(near.url)
    await waits[1]?.promise
    agent.moveTo(far.url)
    expect(await output).toEqual(ended('at last'))
    expect(asked[0]).toBe(waitMs)
    // What was waited is not waited again.
    expect(asked[1]).toBeLessThan(waitMs)
    expect(asked[2]).toBeLessThan(asked[1] ?? 0)
  })

  test('a connection that its agent has lost unnoticed ends when the agent is at another server', async () => {
    const [far, near] = await openBoth()
    const { name, key } = await createAgent(near)
    const asked = deferred<void>()
    const output: ProcessHost['output'] = (_input, call) => {
      asked.resolve()
      return hang(call)
    }
    const silent = serveAgent(far.url, key, { output })
    const call = far.agents.output.query({ agent: name, id: 'p', waitMs: 60_000 })
    await asked.promise
    silent.staysAway()
    serveAgent(near.url, key, { output: async () => ended('elsewhere') }, silent.instance)
    expect(await call).toEqual(ended('elsewhere'))
    await silent.isLost
  })

  test('a command whose agent is started anew at the other server has an unknown outcome, and runs once', async () => {
    const [far, near] = await openBoth()
    const { name, key } = await createAgent(near)
    const asked = deferred<void>()
    const runs: string[] = []
    const older = serveAgent(far.url, key, {
      start: ({ id }, call) => {
        runs.push(id)
        asked.resolve()
        return hang(call)
      },
    })
    const start = rejectionOf(near.agents.start.mutate({ agent: name, id: 'p', command: 'true', background: false }))
    await asked.promise
    const newer = serveAgent(far.url, key, {
      start: async ({ id }) => {
        runs.push(`again ${id}`)
        return { id, attached: false }
      },
    })
    expect(await start).toMatchObject({ code: 'PRECONDITION_FAILED', reason: 'agent_restarted' })
    await connectedTo(near, name, newer.instance)
    const look = near.agents.output.query({ agent: name, id: 'p', waitMs: 0, instanceId: older.instance })
    expect(await rejectionOf(look)).toMatchObject({ reason: 'agent_restarted' })
    expect(runs).toEqual(['p'])
  })

  test('a cancelled call is cancelled at the agent, through the other server', async () => {
    const [far, near] = await openBoth()
    const { name, key } = await createAgent(near)
    const asked = deferred<AbortSignal | undefined>()
    serveAgent(far.url, key, {
      output: (_input, call) => {
        asked.resolve(call.signal)
        return hang(call)
      },
    })
    const caller = new AbortController()
    const options = { signal: caller.signal }
    const output = near.agents.output.query({ agent: name, id: 'p', waitMs: 60_000 }, options).catch(() => 'cancelled')
    const signal = await asked.promise
    const aborted = new Promise(resolve => signal?.addEventListener('abort', resolve))
    caller.abort()
    expect(await output).toBe('cancelled')
    await aborted
  })

  test('a call to an agent that may not connect any more fails at once, at each server', async () => {
    const [far, near] = await openBoth()
    const { name, key, id } = await createAgent(near)
    const asked = deferred<void>()
    const { service } = serveAgent(far.url, key, {
      output: (_input, call) => {
        asked.resolve()
        return hang(call)
      },
    })
    const output = rejectionOf(near.agents.output.query({ agent: name, id: 'p', waitMs: 60_000 }))
    await asked.promise
    await near.agents.revoke.mutate({ agent: id })
    expect(await output).toMatchObject({ reason: 'agent_unreachable', message: expect.stringMatching(/revoked/) })
    expect(await service.closed).toMatchObject({ reason: 'key_revoked' })
    expect(await rejectionOf(far.agents.processes.query({ agent: id }))).toMatchObject({ reason: 'agent_unreachable' })
  })
})

describe('servers that are not reached', () => {
  let store: Store
  const [{ open } = { open: () => Promise.reject(new Error('there are two stores')) }] = stores
  beforeAll(async () => {
    store = await open()
  })
  afterAll(() => store.close())

  test('a server that accepts and never responds delays no call to another, and is left when the agent comes', async () => {
    const [far, near] = [await openReplica(store), await openReplica(store)]
    const [stuck, other] = [await createAgent(near), await createAgent(near)]
    const sockets = new Set<Socket>()
    const dialled = deferred<void>()
    const hanging = createServer(socket => {
      sockets.add(socket)
      dialled.resolve()
    })
    hanging.listen(0, '127.0.0.1')
    await once(hanging, 'listening')
    const { port } = hanging.address() as AddressInfo // it listens on TCP
    onTestFinished(() => {
      hanging.close()
      for (const socket of sockets) socket.destroy()
    })
    const replica = randomUUID()
    const instance = randomUUID()
    await store.recordReplicaSeen({ id: replica, advertiseUrl: `http://127.0.0.1:${port}` })
    const now = new Date()
    await store.recordAgentConnected(stuck.id, { replica, instance, buildVersion: null, at: now, livesSince: now })
    const start = near.agents.start.mutate({ agent: stuck.name, id: 'p', command: 'true', background: false })
    await dialled.promise

    serveAgent(far.url, other.key)
    expect(await near.agents.processes.query({ agent: other.name })).toEqual({ processes: [], total: 0 })
    serveAgent(near.url, stuck.key, {}, instance)
    expect(await start).toEqual({ id: 'p', attached: false, instanceId: instance })
  })

  test('a caller whose agent is at a server without a URL is told what to set', async () => {
    const far = await openReplica(store, { advertise: false })
    const { id, name, key: agentKey } = await createAgent(far)
    const { instance } = serveAgent(far.url, agentKey)
    await connectedTo(far, name, instance)
    expect((await fetch(`${far.url}/peer`)).status).toBe(426)
    const { calls } = looseCalls(store)
    const call = calls.call(id, { timeoutMs: 50 }, (host, _instance, attempt) => host.list({}, attempt))
    expect(await rejectionOf(call)).toMatchObject({
      code: 'SERVICE_UNAVAILABLE',
      reason: 'agent_unreachable',
      message: expect.stringMatching(/BRIDGE_ADVERTISE_URL/),
    })
  })

  test('a server asks only the agents that it holds, however its peer asks', async () => {
    const [one, two] = [await openReplica(store), await openReplica(store)]
    const { id, name, key: agentKey } = await createAgent(one)
    const asked: string[] = []
    const { instance } = serveAgent(two.url, agentKey, {
      list: async () => {
        asked.push('list')
        return { processes: [], total: 0 }
      },
    })
    await connectedTo(one, name, instance)
    const { peers, replicaOf } = looseCalls(store)
    const wrong = new AbortController()
    const call = peers.agentHost(await replicaOf(one), id, instance).list({}, { signal: wrong.signal })
    await callsInFlight(one, 1)
    expect(asked).toEqual([])
    wrong.abort()
    await expect(call).rejects.toBeDefined()
    const mistaken = peers.agentHost(await replicaOf(two), id, randomUUID()).list({}, {})
    expect(await rejectionOf(mistaken)).toMatchObject({ reason: 'agent_restarted' })
    expect(asked).toEqual([])
  })

  test('more calls than other clients may have wait at one peer, and end when the agent comes', async () => {
    const far = await openReplica(store)
    const { id, name, key: agentKey } = await createAgent(far)
    const instance = randomUUID()
    const { peers, replicaOf } = looseCalls(store)
    const replica = await replicaOf(far)
    const calls = Array.from({ length: 1_100 }, () => peers.agentHost(replica, id, instance).list({}, {}))
    await callsInFlight(far, 1_100)
    serveAgent(far.url, agentKey, {}, instance)
    await connectedTo(far, name, instance)
    expect(new Set((await Promise.all(calls)).map(({ total }) => total))).toEqual(new Set([0]))
  })
})

const callsInFlight = ({ metrics }: Replica, count: number) =>
  expect.poll(async () => /rpc_calls_inflight (\d+)/.exec(await metrics.text())?.[1]).toBe(String(count))

/** Calls of a server without clients of its own. */
function looseCalls(store: Store) {
  const logger = recordingLogger()
  const secrets = createSecretBox([key(7)])
  const peers = new PeerLinks({ connectPeer, createToken: target => createPeerToken(secrets, target), logger })
  const links = { connected: () => undefined, onArrival: () => () => {} }
  const replica = randomUUID()
  const calls = new AgentCalls({ store, links, peers, replica, group: new ConnectionGroup(), logger })
  onTestFinished(async () => {
    calls.stop()
    await peers.close()
  })
  return {
    calls,
    peers,
    logger,
    /** The row of a server, by an agent that comes to it. */
    async replicaOf(server: Replica) {
      const { id, key: agentKey } = await createAgent(server)
      const agent = serveAgent(server.url, agentKey)
      await expect.poll(async () => (await store.findAgent(id))?.replica ?? null).not.toBeNull()
      const row = await store.findAgent(id)
      const found = await store.findReplica(row?.replica ?? '', processLimits.patienceMs)
      if (!found) throw new Error('the server has a row')
      await agent.close()
      return found
    },
  }
}
