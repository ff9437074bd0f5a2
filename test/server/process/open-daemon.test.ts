import { randomUUID } from 'node:crypto'
import { expect, onTestFinished, test } from 'vitest'
import { createBridgeMetrics } from '../../../client/bridge/metrics/prometheus.js'
import { createBridgeClient } from '../../../client/bridge-client.js'
import { daemonConfig } from '../../../server/config/config.js'
import { openDaemon } from '../../../server/process/open-daemon.js'
import { silentLogger } from '../../fixtures/stores.js'
import { temporaryFolder } from '../../fixtures/temporary-folder.js'

test('an outbox whose bridge cannot start is free for the next attempt', async () => {
  const folder = await temporaryFolder()
  const client = createBridgeClient({ dial: () => new Promise(() => {}) })
  onTestFinished(async () => void (await client.close()))
  const config = daemonConfig(
    { url: 'http://localhost', key: `${'k'.repeat(10)}-${'s'.repeat(22)}`, outbox: folder },
    {},
  )
  const parts = {
    client,
    daemonInstance: randomUUID(),
    logger: silentLogger,
    metrics: createBridgeMetrics({ version: '1' }),
  }
  const open = (trustedProxies: readonly string[]) => openDaemon({ ...config, trustedProxies }, parts)
  await expect(open(['nowhere'])).rejects.toThrow('Invalid socket address')
  const daemon = await open([])
  await daemon.close({ graceMs: 0 })
})
