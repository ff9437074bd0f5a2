/**
 * A bridge between an AI client and a provider, on the embedded store, all in one process: the time that the bridge
 * adds before the call to the provider, and to a stream.
 */
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { Agent, type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createBridgeDaemon } from '../client/bridge/daemon.js'
import { noMetrics } from '../client/bridge/metrics/metrics.js'
import { createMemoryOutbox } from '../client/bridge/outbox/memory-outbox.js'
import { createRecordSender } from '../client/bridge/outbox/record-sender.js'
import { createBridgeClient } from '../client/bridge-client.js'
import { createBridgeServer } from '../server/control-plane/server.js'
import { openEmbeddedStore } from '../server/store/pglite/embedded.js'
import { type Api, apis } from './bridge-apis.js'
import { listen } from './http.js'
import { median } from './median.js'

const quiet = { debug() {}, info() {}, warn: console.warn, error: console.error }
const requests = 300
const longStream = 100_000
const agent = new Agent({ keepAlive: true, maxSockets: 1 })

/** Each API through the bridge, and its provider alone. */
export async function benchBridge(): Promise<void> {
  console.log(`\nA bridge between a client and a provider, on the embedded store (Node ${process.versions.node})`)
  const headings = [
    'before the call, ms',
    'of that the record, ms',
    'events/s alone',
    'through',
    'heap after 10 ×, KiB',
  ]
  console.log(' '.repeat(26) + headings.map(heading => heading.padStart(24)).join(''))
  const provider = await listen((incoming, outgoing) => {
    incoming.resume().once('end', async () => {
      const api = apis.find(({ path }) => incoming.url?.startsWith(path.replace(/^\/\w+/, '')))
      const events = Number(incoming.headers['x-events'])
      outgoing.writeHead(200, { 'content-type': 'text/event-stream' }).write(api?.first)
      for (let sent = 0; sent < events; sent++) if (!outgoing.write(api?.event)) await once(outgoing, 'drain')
      outgoing.end(api?.last)
    })
  })
  const dataDir = await mkdtemp(join(tmpdir(), 'aibridge-bench-'))
  const store = await openEmbeddedStore({ dataDir })
  const config = { adminToken: 'x'.repeat(16), encryptionKeys: [new Uint8Array(32)] }
  const server = await createBridgeServer({ store, config, logger: quiet })
  const connectAs = (identity: Parameters<typeof server.connectInMemory>[0]['identity']) =>
    createBridgeClient({
      dial: () => server.connectInMemory({ identity }),
      onCallEnd: ({ path, durationMs }) => path === 'recorder.recordInterception' && recorded.push(durationMs),
    })
  const recorded: number[] = []
  const before: number[] = []
  const client = connectAs({ role: 'daemon', name: 'bench', delegate: true })
  const operator = connectAs({ role: 'admin', name: 'bench' })
  const { admin } = operator
  for (const [type, suffix] of [
    ['anthropic', ''],
    ['openai', '/v1'],
  ] as const) {
    await admin.providers.upsert.mutate({
      name: type,
      type,
      baseUrl: provider.url + suffix,
      keys: ['sk-bench-0123456789'],
    })
  }
  await admin.users.create.mutate({ username: 'ada' })
  const { key } = await admin.apiKeys.create.mutate({ user: 'ada' })
  const outbox = createMemoryOutbox({ send: createRecordSender(client), logger: quiet })
  const metrics = { ...noMetrics, overhead: (seconds: number) => void before.push(seconds * 1000) }
  const daemon = createBridgeDaemon({ client, outbox, logger: quiet, metrics })
  const bridge = await listen(daemon.handler)

  for (const api of apis) {
    const direct = `${provider.url}${api.path.replace(/^\/\w+/, '')}`
    const through = `${bridge.url}/bridge${api.path}`
    for (let index = 0; index < requests; index++) {
      await ask(through, api, key, 0)
      // Records of this request must not take time of the next one.
      await outbox.flush()
    }
    const figures = [
      median(before.splice(0)).toFixed(2),
      median(recorded.splice(0)).toFixed(2),
      await eventsPerSecond(direct, api, key),
      await eventsPerSecond(through, api, key),
      await heapGrowth(through, api, key),
    ]
    console.log(api.name.padEnd(26) + figures.map(figure => figure.padStart(24)).join(''))
  }
  agent.destroy()
  await Promise.all([bridge.close(), provider.close()])
  await daemon.close({ graceMs: 0 })
  await Promise.all([client.close(), operator.close()])
  await server.close({ graceMs: 0 })
  await store.close()
  await rm(dataDir, { recursive: true })
}

/** Resolves at the end of the response. */
async function ask(url: string, { body }: Api, key: string, events: number, onData = () => {}): Promise<void> {
  const headers = { 'content-type': 'application/json', 'x-api-key': key, 'x-events': events }
  const sent = request(url, { method: 'POST', agent, headers })
  sent.end(JSON.stringify({ model: 'm', stream: true, ...body }))
  const [response] = (await once(sent, 'response')) as [IncomingMessage] // by the event's definition
  response.on('data', onData)
  await once(response, 'end')
}

async function eventsPerSecond(url: string, api: Api, key: string): Promise<string> {
  await ask(url, api, key, longStream / 10)
  const begun = performance.now()
  await ask(url, api, key, longStream)
  return Math.round((longStream / (performance.now() - begun)) * 1000).toLocaleString('en')
}

/** Heap in use near the end of a stream less that near the end of one of a tenth of its length. */
async function heapGrowth(url: string, api: Api, key: string): Promise<string> {
  const atEnd = async (events: number) => {
    let heap = 0
    let chunks = 0
    await ask(url, api, key, events, () => {
      if (++chunks % 50 !== 0) return
      globalThis.gc?.()
      heap = process.memoryUsage().heapUsed
    })
    return heap
  }
  await atEnd(longStream / 10)
  const short = await atEnd(longStream / 10)
  return Math.round(((await atEnd(longStream)) - short) / 1024).toLocaleString('en')
}
