/** Recording, from a daemon's call to the commit, on each store. */
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BridgeClient, createBridgeClient } from '../client/bridge-client.js'
import { createBridgeServer } from '../server/control-plane/server.js'
import { openEmbeddedStore } from '../server/store/pglite/embedded.js'
import { openPostgresStore } from '../server/store/postgres/postgres.js'
import type { Store } from '../server/store/store.js'
import type { RecordInput } from '../shared/contract/recorder.js'
import { PostgresServer } from '../test/fixtures/postgres-server.js'
import { median } from './median.js'

const quiet = { debug() {}, info() {}, warn: console.warn, error: console.error }
const singleCalls = 1_000
const batches = 60
const batchLength = 100

/** Both stores behind the in-memory link; PostgreSQL writes to the disk (`fsync`) as in production. */
export async function benchStore(): Promise<void> {
  console.log(`\nRecording, from the call to the commit (Node ${process.versions.node})`)
  const headings = [
    'authorize, ms',
    'one record, ms',
    '64 in flight/s',
    'recordBatch, records/s',
    '8 writers, records/s',
  ]
  console.log(' '.repeat(24) + headings.map(heading => heading.padStart(24)).join(''))

  const dataDir = await mkdtemp(join(tmpdir(), 'aibridge-bench-'))
  await row('embedded (PGlite)', await openEmbeddedStore({ dataDir }))
  await rm(dataDir, { recursive: true })

  const server = await PostgresServer.create({ fsync: 'on' })
  await row('PostgreSQL', await openPostgresStore({ url: server.url(), logger: quiet }))
  await server.remove()
}

async function row(name: string, store: Store): Promise<void> {
  const config = { adminToken: 'x'.repeat(16), encryptionKeys: [new Uint8Array(32)] }
  const server = await createBridgeServer({ store, config, logger: quiet })
  const connectAs = (identity: Parameters<typeof server.connectInMemory>[0]['identity']) =>
    createBridgeClient({ dial: () => server.connectInMemory({ identity }) })
  const [daemon, admin] = [
    connectAs({ role: 'daemon', name: 'bench', delegate: true }),
    connectAs({ role: 'admin', name: 'bench' }),
  ]
  await admin.admin.users.create.mutate({ username: 'ada' })
  const { key } = await admin.admin.apiKeys.create.mutate({ user: 'ada' })
  const figures = [
    (await medianMs(() => daemon.authorizer.isAuthorized.query({ key }))).toFixed(2),
    await oneRecord(daemon),
    await inFlight(daemon),
    await batched(daemon, 1),
    await batched(daemon, 8),
  ]
  console.log(name.padEnd(24) + figures.map(figure => figure.padStart(24)).join(''))
  await daemon.close()
  await admin.close()
  await server.close()
  await store.close()
}

async function oneRecord({ recorder }: BridgeClient): Promise<string> {
  const id = await interception(recorder)
  return (await medianMs(() => recorder.recordTokenUsage.mutate(tokens(id)))).toFixed(2)
}

async function inFlight({ recorder }: BridgeClient): Promise<string> {
  const id = await interception(recorder)
  let left = 5_000
  const start = performance.now()
  const worker = async () => {
    while (left-- > 0) await recorder.recordTokenUsage.mutate(tokens(id))
  }
  await Promise.all(Array.from({ length: 64 }, worker))
  return perSecond(5_000, start)
}

async function batched({ recorder }: BridgeClient, writers: number): Promise<string> {
  const id = await interception(recorder)
  let left = batches
  const start = performance.now()
  const writer = async () => {
    while (left-- > 0) {
      const records = Array.from({ length: batchLength }, () => ({ kind: 'tokenUsage' as const, ...tokens(id) }))
      const { results } = await recorder.recordBatch.mutate({ records })
      if (!results.every(({ ok }) => ok)) throw new Error('a record was rejected')
    }
  }
  await Promise.all(Array.from({ length: writers }, writer))
  return perSecond(batches * batchLength, start)
}

async function interception(recorder: BridgeClient['recorder']): Promise<string> {
  const id = randomUUID()
  await recorder.recordInterception.mutate({
    id,
    initiatorId: randomUUID(),
    apiKeyId: 'abcdefghij',
    provider: 'anthropic',
    model: 'm',
    startedAt: new Date(),
  })
  return id
}

function tokens(interceptionId: string): RecordInput<'tokenUsage'> {
  return {
    id: randomUUID(),
    interceptionId,
    msgId: 'msg_01ABCDEF',
    inputTokens: 1_200,
    outputTokens: 340,
    cacheReadInputTokens: 0,
    cacheWriteInputTokens: 0,
    metadata: { service_tier: 'standard', nested: { list: [1, 2, 3], text: 'text' } },
    createdAt: new Date(),
  }
}

async function medianMs(call: () => Promise<unknown>): Promise<number> {
  const times: number[] = []
  for (let index = -100; index < singleCalls; index++) {
    const start = performance.now()
    await call()
    if (index >= 0) times.push(performance.now() - start)
  }
  return median(times)
}

function perSecond(count: number, start: number): string {
  return Math.round(count / ((performance.now() - start) / 1000)).toLocaleString('en')
}
