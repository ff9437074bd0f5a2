/**
 * Three control planes in this process on one PostgreSQL. A kill cuts a server from the database and closes its
 * connections; a freeze lets the database's responses wait. So a round takes seconds, where processes need as many for
 * each start. The servers share the bridge, whose records would die with a process, and relay no parts of responses.
 */
import { createBridgeDaemon } from '../../../client/bridge/daemon.js'
import { type BridgeClient, createBridgeClient } from '../../../client/bridge-client.js'
import { createChatModels } from '../../../client/chats/chat-models.js'
import { type BridgeServer, createBridgeServer } from '../../../server/control-plane/server.js'
import { createChatKeys } from '../../../server/services/chats/chat-keys.js'
import { Episodes } from '../../../server/services/chats/episodes.js'
import type { ChatModels } from '../../../server/services/chats/model.js'
import { createRunChanges } from '../../../server/services/chats/run-changes.js'
import { ChatRunner } from '../../../server/services/chats/runner/chat-runner.js'
import { createAuthorizer } from '../../../server/services/daemon/authorizer.js'
import type { Identity } from '../../../server/services/identity.js'
import type { Store } from '../../../server/store/store.js'
import { silentLogger } from '../../../shared/values/log.js'
import { type Agent, openAgent } from '../../client/agent/agent.js'
import { stores } from '../../fixtures/stores.js'
import { hostsOf } from '../../server/services/chats/runner/running-chats.js'
import type { RunningProcess } from './accounts.js'
import { pause } from './calls.js'
import { Gate } from './gate.js'
import type { Place, Replica } from './place.js'

/** A lease in this process. */
export const localLeaseMs = 600

const limits = {
  leaseMs: localLeaseMs,
  renewMs: 200,
  pollMs: 100,
  retryMinMs: 20,
  interruptTakeoverMs: 300,
  keyCheckMs: 500,
}
const config = { encryptionKeys: [new Uint8Array(32).fill(7)] }
const operator: Identity = { role: 'admin', name: 'test' }
const instanceId = '019a0000-0000-7000-8000-000000000009'

/** Opens the servers and an agent. The agent is closed by `closeOpened`. */
export async function openInProcess(): Promise<Place> {
  const postgres = stores.find(({ name }) => name === 'PostgreSQL')
  if (!postgres) throw new Error('the tests have no PostgreSQL')
  const [near, far] = await postgres.openTwo()
  const agent = await openAgent()
  // Bridge and operator are not struck.
  const steady = await createBridgeServer({ store: near, config })
  const clients: BridgeClient[] = []
  const connect = (dial: Parameters<typeof createBridgeClient>[0] & object) => {
    const client = createBridgeClient(dial)
    clients.push(client)
    return client
  }
  const admin = connect({ dial: () => steady.connectInMemory({ identity: operator }) })
  const embedded = { role: 'daemon', name: 'embedded', delegate: true } as const
  const daemonClient = createBridgeClient({ dial: () => steady.connectInMemory({ identity: embedded }) })
  const daemon = createBridgeDaemon({
    client: daemonClient,
    logger: silentLogger,
    limits: { authCacheTtlMs: 100, outboxFlushMs: 100 },
  })
  const models = createChatModels({ daemon })
  const replicas = [near, far, near].map(
    (store, index) => new LocalReplica('abc'[index] ?? '', { store, models, agent }),
  )
  let user: Identity | undefined

  return {
    replicas,
    offences: [],
    runsFile: `${agent.folder}/runs`,
    runs: async () => agent.lines('runs'),

    async running(timeoutMs) {
      const giveUpAt = performance.now() + timeoutMs
      for (;;) {
        const { processes } = await agent.table.list({})
        const running = processes.flatMap(({ id, scope = '', running }): RunningProcess[] =>
          running ? [{ id, scope }] : [],
        )
        if (running.length === 0 || performance.now() > giveUpAt) return running
        await pause(50)
      }
    },

    client(name, key) {
      const replica = replicas.find(each => each.name === name)
      if (key === undefined) return admin
      return connect({ dial: () => replica?.connect(user ?? operator) ?? Promise.reject(new Error('no such server')) })
    },

    async start(baseUrl) {
      const { id: userId, username } = await admin.admin.users.create.mutate({ username: 'ada' })
      const keys = ['sk-stand-in']
      await admin.admin.providers.upsert.mutate({ name: 'stand-in', type: 'anthropic', baseUrl, keys })
      await admin.admin.agents.create.mutate({ name: 'builder', user: 'ada' })
      const { key } = await admin.admin.apiKeys.create.mutate({ user: 'ada' })
      user = { role: 'user', name: username, userId, apiKeyId: key.slice(0, 10) }
      await Promise.all(replicas.map(replica => replica.start()))
      return { key }
    },

    up: async replica => replicas.find(each => each === replica)?.start(),

    async close() {
      await Promise.all(replicas.map(replica => replica.close()))
      await Promise.all(clients.map(client => client.close()))
      await daemon.close({ graceMs: 1_000 })
      await daemonClient.close()
      await steady.close({ graceMs: 0 })
      await near.close()
      await far.close()
    },
  }
}

/** One life of a server. */
interface Life {
  gate: Gate
  server: BridgeServer
  runner: ChatRunner
  episodes: Episodes
}

/** A server that is cut off and started again. */
class LocalReplica implements Replica {
  readonly name: string
  readonly #parts: { store: Store; models: ChatModels; agent: Agent }
  readonly #ends: Promise<unknown>[] = []
  #life: Life | undefined

  constructor(name: string, parts: { store: Store; models: ChatModels; agent: Agent }) {
    this.name = name
    this.#parts = parts
  }

  async start(): Promise<void> {
    const { store: own, models, agent } = this.#parts
    const gate = new Gate()
    const store = gate.guard(own)
    const server = await createBridgeServer({ store, config })
    const episodes = new Episodes()
    const runner = new ChatRunner({
      store,
      changes: createRunChanges(store),
      models,
      keys: createChatKeys({ store, authorizer: createAuthorizer({ store }) }),
      hosts: hostsOf({ host: agent.table, instanceId }),
      episodes,
      logger: silentLogger,
      limits,
    })
    runner.start()
    this.#life = { gate, server, runner, episodes }
  }

  async connect(identity: Identity) {
    if (!this.#life) throw new Error(`${this.name} does not run`)
    return this.#life.server.connectInMemory({ identity })
  }

  async kill(): Promise<void> {
    this.#life?.gate.cut()
    this.#end()
  }

  freeze(): void {
    this.#life?.gate.freeze()
  }

  thaw(): void {
    this.#life?.gate.thaw()
  }

  async close(): Promise<void> {
    this.#end()
    await Promise.all(this.#ends)
  }

  #end(): void {
    const life = this.#life
    if (!life) return
    this.#life = undefined
    const { runner, server, episodes } = life
    const end = async () => {
      await Promise.all([runner.close({ graceMs: 0 }), server.close({ graceMs: 0 })])
      episodes.close()
    }
    this.#ends.push(end())
  }
}
