/** The control planes that the bridge is tested with, as a table. */
import type { ControlPlane } from '../../client/bridge/control-plane.js'
import { createBridgeClient } from '../../client/bridge-client.js'
import { type BridgeServer, createBridgeServer } from '../../server/server.js'
import { openTemporaryStore } from '../fixtures/stores.js'
import { anthropicProvider, memoryLogger } from './running-bridge.js'
import { scriptedControlPlane, testKey } from './scripted-control-plane.js'

/** What is recorded of one interception, without ids and times; fields as in the records. */
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
  /** Everything recorded so far, oldest interception first. */
  recorded(): Promise<Recorded[]>
  close(): Promise<void>
}

export interface ControlPlaneRow {
  name: string
  /** Starts one that has a provider `anthropic` at this URL. */
  start(providerUrl: string): Promise<RunningControlPlane>
}

export const controlPlanes: ControlPlaneRow[] = [
  {
    name: 'a scripted control plane',
    async start(providerUrl) {
      const plane = scriptedControlPlane([anthropicProvider(providerUrl)])
      const of = (id: string) => (record: { interceptionId: string }) => record.interceptionId === id
      return {
        client: plane,
        key: testKey,
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
    async start(providerUrl) {
      running ??= startServer()
      const { server } = await running
      const { admin, close: closeAdmin } = createBridgeClient({
        dial: () => server.connectInMemory({ identity: { role: 'admin', name: 'test' } }),
      })
      const client = createBridgeClient({
        dial: () => server.connectInMemory({ identity: { role: 'daemon', name: 'test', delegate: true } }),
      })
      const { name, type, baseUrl, keys, enabled } = anthropicProvider(providerUrl)
      await admin.providers.upsert.mutate({ name, type, baseUrl, keys, enabled })
      // One database serves all tests of a file, each as a user of its own.
      const user = await admin.users.create.mutate({ username: `test-${++users}` })
      const { key } = await admin.apiKeys.create.mutate({ user: user.id })
      return {
        client,
        key,
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
          await client.close()
          await closeAdmin()
        },
      }
    },
  },
]

let users = 0
let running: Promise<{ server: BridgeServer; close(): Promise<void> }> | undefined

async function startServer(): Promise<{ server: BridgeServer; close(): Promise<void> }> {
  const { logger } = memoryLogger()
  const store = await openTemporaryStore()
  const config = { adminToken: 'test', encryptionKeys: [new Uint8Array(32)] }
  const server = await createBridgeServer({ store, config, logger })
  return {
    server,
    async close() {
      await server.close({ graceMs: 1_000 })
      await store.close()
    },
  }
}

/** Ends what the rows have started for all tests of a file. */
export async function closeControlPlanes(): Promise<void> {
  const started = running
  running = undefined
  await (await started)?.close()
}
