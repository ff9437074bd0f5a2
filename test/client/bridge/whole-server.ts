/** A control plane with a bridge, as `serve` joins them, and a stand-in for both providers. */

import { type BridgeDaemonOptions, createBridgeDaemon } from '../../../client/bridge/daemon.js'
import { createBridgeMetrics } from '../../../client/bridge/metrics/prometheus.js'
import { type BridgeClient, createBridgeClient } from '../../../client/bridge-client.js'
import { createBridgeServer } from '../../../server/control-plane/server.js'
import { createServerMetrics } from '../../../server/metrics/prometheus.js'
import type { Interception, TokenUsage } from '../../../shared/contract/admin/interceptions.js'
import type { ProviderSettings } from '../../../shared/contract/provider-settings.js'
import { eventually } from '../../fixtures/eventually.js'
import { type StandInProvider, startProvider } from '../../fixtures/provider.js'
import { openTemporaryStore } from '../../fixtures/stores.js'
import { anthropicProvider, type LogLine, memoryLogger, openaiProvider } from './running-bridge.js'

export interface WholeServer {
  /** without a slash at its end */
  url: string
  /** a user's key */
  key: string
  provider: StandInProvider
  admin: BridgeClient['admin']
  log: LogLine[]
  /** Resolves with the newest interception, when it has ended, and its records. */
  newest(): Promise<{ interception: Interception; prompts: string[]; tokens: TokenUsage[] }>
  close(): Promise<void>
}

/** Starts all of it on loopback. The providers are named `anthropic` and `openai`. */
export async function startWholeServer(
  options: Partial<BridgeDaemonOptions> = {},
  settings?: ProviderSettings,
): Promise<WholeServer> {
  const { logger, lines } = memoryLogger()
  const provider = await startProvider()
  const store = await openTemporaryStore()
  const config = { encryptionKeys: [new Uint8Array(32)] }
  const server = await createBridgeServer({ store, config, logger, metrics: createServerMetrics() })
  const { admin, ...adminClient } = createBridgeClient({
    dial: () => server.connectInMemory({ identity: { role: 'admin', name: 'test' } }),
  })
  for (const row of [anthropicProvider(provider.url), openaiProvider(provider.url)]) {
    const { name, type, baseUrl, keys } = row
    await admin.providers.upsert.mutate({ name, type, baseUrl, keys, ...(settings && { settings }) })
  }
  const user = await admin.users.create.mutate({ username: 'test' })
  const { key } = await admin.apiKeys.create.mutate({ user: user.id })
  const identity = { role: 'daemon', name: 'embedded', delegate: true } as const
  const client = createBridgeClient({ dial: () => server.connectInMemory({ identity }) })
  const metrics = createBridgeMetrics()
  const daemon = createBridgeDaemon({ client, logger, metrics, ...options })
  const bridge = { handler: daemon.handler, ready: daemon.ready, metrics: metrics.text }
  const { url } = await server.listen({ host: '127.0.0.1', port: 0, bridge })
  return {
    url,
    key,
    provider,
    admin,
    log: lines,
    newest: () =>
      eventually(async () => {
        const { interceptions } = await admin.interceptions.list.query({ limit: 1 })
        const [newest] = interceptions
        if (!newest?.endedAt) throw new Error('the newest interception has not ended')
        const record = await admin.interceptions.get.query({ id: newest.id })
        const prompts = record.promptUsages.map(({ prompt }) => prompt)
        return { interception: record.interception, prompts, tokens: record.tokenUsages }
      }),
    async close() {
      await daemon.close({ graceMs: 1_000 })
      await client.close()
      await adminClient.close()
      await server.close({ graceMs: 1_000 })
      await store.close()
      await provider.close()
    },
  }
}
