import { once } from 'node:events'
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest'
import { createMemoryOutbox } from '../../../../client/bridge/outbox/memory-outbox.js'
import type { Outbox } from '../../../../client/bridge/outbox/outbox.js'
import { createRecordSender } from '../../../../client/bridge/outbox/record-sender.js'
import { eventually } from '../../../fixtures/eventually.js'
import {
  createGate,
  type Gate,
  hangUp,
  json,
  type Responder,
  type StandInProvider,
  startProvider,
} from '../../../fixtures/provider.js'
import { anthropicProvider, begin, memoryLogger, type RunningBridge, send, startBridge } from '../running-bridge.js'
import { type ScriptedControlPlane, scriptedControlPlane, testKey } from '../scripted-control-plane.js'

let provider: StandInProvider
let plane: ScriptedControlPlane
let bridge: RunningBridge

beforeEach(async () => {
  provider = await startProvider()
  plane = scriptedControlPlane([anthropicProvider(provider.url)])
})
afterEach(() => provider.close())

/** Starts a bridge with an outbox that differs from one in memory. */
async function start(change: (outbox: Outbox) => Partial<Outbox>): Promise<void> {
  const outbox = createMemoryOutbox({ send: createRecordSender(plane), logger: memoryLogger().logger })
  const changed: Outbox = Object.setPrototypeOf(change(outbox), {
    admit: () => outbox.admit(),
    begin: outbox.begin.bind(outbox),
    note: () => {},
    forget: (id: string) => outbox.forget(id),
    put: outbox.put.bind(outbox),
    flush: () => outbox.flush(),
    close: outbox.close.bind(outbox),
    hasErased: () => false,
    erase: async () => new Map(),
    id: outbox.id,
    isDurable: false,
    isEmpty: true,
    size: 0,
    oldestMs: 0,
    deadLetters: 0,
  })
  bridge = await startBridge(plane, {}, testKey, { outbox: changed })
  onTestFinished(() => bridge.close())
}

test('an interception that the disk does not take gives 503 before the provider is called, and is ended', async () => {
  await start(() => ({ begin: () => Promise.reject(new Error('ENOSPC: no space left on device')) }))
  const response = await send(bridge)
  expect([response.status, response.headers['retry-after']]).toEqual([503, '1'])
  expect(JSON.parse(response.body.toString())).toMatchObject({
    error: { message: 'the outbox cannot be written, so the provider was not called; try again later' },
  })
  const [failed, rejected] = bridge.log
  expect([failed?.level, failed?.message]).toEqual(['error', 'an interception could not be recorded'])
  expect(rejected?.fields).toMatchObject({ cause: 'ENOSPC: no space left on device' })
  await eventually(() =>
    expect(plane.records.map(({ kind }) => kind)).toEqual(['interception', 'promptUsage', 'interceptionEnded']),
  )
  expect(provider.calls).toHaveLength(0)
})

/** Headers and two parts of a body. */
const bodies: [string, Record<string, string>, first: string, last: string][] = [
  ['a blocking response', { 'content-type': 'application/json', 'content-length': '14' }, '{"id":"m', 'sg_1"}'],
  [
    'a stream',
    { 'content-type': 'text/event-stream' },
    'data: {"type":"ping"}\n\n',
    'data: {"type":"message_stop"}\n\n',
  ],
]

/** Returns a response whose last part is sent when the client has the first. */
function inTwoParts([, headers, first, last]: (typeof bodies)[number]): { respond: Responder; arrived: Gate } {
  const arrived = createGate()
  return {
    arrived,
    async respond(response) {
      response.writeHead(200, headers).write(first)
      await arrived.opened
      response.end(last)
    },
  }
}

test.each(bodies)('%s whose records are not kept is cut off before its last bytes', async (...body) => {
  await start(() => ({ put: () => Promise.reject(new Error('the outbox is closed')) }))
  const { respond, arrived } = inTwoParts(body)
  provider.respondWith(respond)
  const response = await begin(bridge)
  const cut = once(response, 'error')
  response.once('data', () => arrived.open())
  await cut
  expect([response.statusCode, response.complete]).toEqual([200, false])
  expect(bridge.log.map(({ message }) => message)).toContain('records were lost: the outbox did not take them')
})

test('a response that arrived whole and whose records are not kept is a 503', async () => {
  await start(() => ({ put: () => Promise.reject(new Error('the outbox is closed')) }))
  provider.respondWith(json({ id: 'msg_1' }))
  const response = await send(bridge)
  expect([response.status, response.headers['retry-after'], JSON.parse(String(response.body))]).toMatchObject([
    503,
    '1',
    { error: { message: 'the records of the response could not be kept; try again later' } },
  ])
})

test.each(bodies)(
  '%s whose records wait for the disk holds neither a client that leaves nor the end of the bridge',
  async (...body) => {
    const [asked, never] = [createGate(), createGate()]
    let asks = 0
    await start(() => ({
      put() {
        if (++asks === 2) asked.open()
        return never.opened
      },
    }))
    const parts = [inTwoParts(body), inTwoParts(body)]
    provider.respondWith(...parts.map(({ respond }) => respond))
    const [leaving, staying] = [await begin(bridge), await begin(bridge)]
    leaving.on('error', () => {})
    const cut = once(staying, 'error')
    for (const response of [leaving, staying]) response.resume()
    for (const { arrived } of parts) arrived.open()
    await asked.opened
    leaving.destroy()
    await bridge.daemon.close({ graceMs: 0 })
    await cut
    expect(staying.complete).toBe(false)
  },
)

test('an error of the bridge waits until its record is kept, as a response does', async () => {
  const [asked, kept] = [createGate(), createGate()]
  await start(outbox => ({
    async put(records) {
      asked.open()
      await kept.opened
      await outbox.put(records)
    },
  }))
  provider.respondWith(hangUp)
  let isAnswered = false
  const response = send(bridge).then(answer => {
    isAnswered = true
    return answer
  })
  await asked.opened
  // Another request has ended meanwhile.
  provider.respondWith(json({ data: [] }))
  await send(bridge, { method: 'GET', path: '/bridge/anthropic/v1/models' })
  expect(isAnswered).toBe(false)
  kept.open()
  expect((await response).status).toBe(502)
  await eventually(() => expect(plane.stored('interceptionEnded')).toHaveLength(1))
})
