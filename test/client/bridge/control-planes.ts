/** The control planes of the bridge's tests, as a table. */
import { afterAll } from 'vitest'
import type { ControlPlane } from '../../../client/bridge/control-plane/control-plane.js'
import { type BridgeClient, createBridgeClient } from '../../../client/bridge-client.js'
import { type BridgeServer, createBridgeServer } from '../../../server/control-plane/server.js'
import type { Identity } from '../../../server/services/identity.js'
import { openTemporaryStore } from '../../fixtures/stores.js'
import { anthropicProvider, memoryLogger, openaiProvider } from './running-bridge.js'
import { scriptedControlPlane, testKey } from './scripted-control-plane.js'

/** The records of one interception, without ids and times; fields as in the contract. */
export interface Recorded {
  interception: object
  end: object
  prompts: object[]
  tokens: object[]
  tools: object[]
  thoughts: object[]
}

export interface RunningControlPlane {
  client: ControlPlane
  key: string
  /** Adds an MCP server whose tools are injected, and which takes any token or none. */
  injectFrom(id: string, url: string): Promise<void>
  /** Adds an MCP server, and links the key's user to it. */
  addMcpServer(server: { id: string; url: string; toolDenyRegex: string }, accessToken: string): Promise<void>
  /** Returns the key of another user; undefined if there is none. */
  otherKey(): Promise<string | undefined>
  /** Returns all records so far, oldest interception first. */
  recorded(): Promise<Recorded[]>
  close(): Promise<void>
}

export interface ControlPlaneRow {
  name: string
  /** Starts a control plane with the providers `anthropic` and `openai` at this URL. */
  start(providerUrl: string): Promise<RunningControlPlane>
}

const embedded: Identity = { role: 'daemon', name: 'test', delegate: true }

/**
 * Returns the rows, for a suite of the calling file. The file's real control plane, which its tests share, is closed
 * behind its last test: files of one thread share this module, and a server left behind would go on beside the tests of
 * another file.
 */
export function controlPlanes(): ControlPlaneRow[] {
  afterAll(closeControlPlanes)
  return rows
}

const rows: ControlPlaneRow[] = [
  {
    name: 'a scripted control plane',
    async start(providerUrl) {
      const plane = scriptedControlPlane([anthropicProvider(providerUrl), openaiProvider(providerUrl)])
      const of = (id: string) => (record: { interceptionId: string }) => record.interceptionId === id
      return {
        client: plane,
        key: testKey,
        async injectFrom(id, url) {
          plane.mcpTokens.set(id, { token: 'token-of-test' })
          plane.mcpServers.push({ id, url, toolAllowRegex: null, toolDenyRegex: null, inject: true })
        },
        async addMcpServer(server, token) {
          plane.mcpServers.push({ ...server, toolAllowRegex: null, inject: false, needsToken: true })
          plane.mcpTokens.set(server.id, { token })
        },
        otherKey: async () => undefined,
        recorded: async () =>
          plane.stored('interception').map(interception => ({
            interception,
            end: plane.stored('interceptionEnded').find(end => end.id === interception.id) ?? {},
            prompts: plane.stored('promptUsage').filter(of(interception.id)),
            tokens: plane.stored('tokenUsage').filter(of(interception.id)),
            tools: plane.stored('toolUsage').filter(of(interception.id)),
            thoughts: plane.stored('modelThought').filter(of(interception.id)),
          })),
        close: async () => {},
      }
    },
  },
  {
    name: 'the real control plane, in memory',
    start: providerUrl =>
      startReal(providerUrl, async ({ server }) =>
        createBridgeClient({ dial: () => server.connectInMemory({ identity: embedded }) }),
      ),
  },
  {
    name: 'the real control plane, over a WebSocket',
    start: providerUrl =>
      startReal(providerUrl, async ({ url }, admin) => {
        const { key } = await admin.daemonKeys.create.mutate({ delegate: true })
        return createBridgeClient({ url, key })
      }),
  },
]

async function startReal(
  providerUrl: string,
  connect: (started: Started, admin: BridgeClient['admin']) => Promise<BridgeClient>,
): Promise<RunningControlPlane> {
  running ??= startServer()
  const started = await running
  const { server } = started
  const { admin, close: closeAdmin } = createBridgeClient({
    dial: () => server.connectInMemory({ identity: { role: 'admin', name: 'test' } }),
  })
  const client = await connect(started, admin)
  for (const { name, type, baseUrl, keys, enabled } of [anthropicProvider(providerUrl), openaiProvider(providerUrl)]) {
    await admin.providers.upsert.mutate({ name, type, baseUrl, keys, enabled })
  }
  // One database serves all tests of a file; each test has a user of its own.
  const user = await admin.users.create.mutate({ username: `test-${++users}` })
  const { key } = await admin.apiKeys.create.mutate({ user: user.id })
  const servers: string[] = []
  return {
    client,
    key,
    async injectFrom(id, url) {
      await admin.mcpServers.upsert.mutate({ id, url, inject: true })
      servers.push(id)
    },
    async addMcpServer(server, accessToken) {
      await admin.mcpServers.upsert.mutate(server)
      await admin.externalAuthLinks.set.mutate({ user: user.id, serverId: server.id, accessToken })
    },
    async otherKey() {
      const other = await admin.users.create.mutate({ username: `test-${++users}` })
      const { key: otherKey } = await admin.apiKeys.create.mutate({ user: other.id })
      return otherKey
    },
    async recorded() {
      const { interceptions } = await admin.interceptions.list.query({ user: user.id })
      const details = interceptions.reverse().map(({ id }) => admin.interceptions.get.query({ id }))
      return (await Promise.all(details)).map(detail => ({
        interception: detail.interception,
        end: detail.interception,
        prompts: detail.promptUsages,
        tokens: detail.tokenUsages,
        tools: detail.toolUsages,
        thoughts: detail.modelThoughts,
      }))
    },
    async close() {
      // The server is shared with the tests that follow.
      for (const id of servers) await admin.mcpServers.remove.mutate({ id })
      await client.close()
      await closeAdmin()
    },
  }
}

let users = 0
interface Started {
  server: BridgeServer
  url: string
  close(): Promise<void>
}
let running: Promise<Started> | undefined

async function startServer(): Promise<Started> {
  const { logger } = memoryLogger()
  const store = await openTemporaryStore()
  const config = { adminToken: 'test', encryptionKeys: [new Uint8Array(32)] }
  const server = await createBridgeServer({ store, config, logger })
  const { url } = await server.listen({ host: '127.0.0.1', port: 0 })
  return {
    server,
    url,
    async close() {
      await server.close({ graceMs: 1_000 })
      await store.close()
    },
  }
}

async function closeControlPlanes(): Promise<void> {
  const started = running
  running = undefined
  await (await started)?.close()
}
