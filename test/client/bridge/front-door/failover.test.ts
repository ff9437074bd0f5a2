/** Several keys, fallback URLs, breakers and limits, over whole requests. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createBridgeMetrics } from '../../../../client/bridge/metrics/prometheus.js'
import type { Provider } from '../../../../shared/contract/provider-configurator.js'
import { credentialHint } from '../../../../shared/values/credential-hint.js'
import type { JsonObject } from '../../../../shared/values/text.js'
import { eventually } from '../../../fixtures/eventually.js'
import {
  createGate,
  eventStream,
  hangUp,
  json,
  type ProviderCall,
  type StandInProvider,
  stall,
  startProvider,
} from '../../../fixtures/provider.js'
import { apiRows } from '../apis.js'
import { anthropicProvider, begin, openaiProvider, type RunningBridge, send, startBridge } from '../running-bridge.js'
import { type ScriptedControlPlane, scriptedControlPlane, testKey, testOwner } from '../scripted-control-plane.js'

const first = 'sk-first-key-of-the-provider-aaaa'
const second = 'sk-second-key-of-the-provider-bbbb'
/** on the wire the preferred key is the last one */
const twoKeys: Partial<Provider> = { keys: [second, first], keyIds: ['id-2', 'id-1'], revision: 'r1' }
const ok = json({ ok: true })

let provider: StandInProvider
let plane: ScriptedControlPlane
let bridge: RunningBridge
let metrics: ReturnType<typeof createBridgeMetrics>

beforeEach(async () => {
  provider = await startProvider()
})
afterEach(async () => {
  vi.useRealTimers()
  await bridge.close()
  await provider.close()
})

async function start(own: Partial<Provider> = twoKeys, url = provider.url): Promise<void> {
  plane = scriptedControlPlane([anthropicProvider(url, own), openaiProvider(url, own)])
  metrics = createBridgeMetrics()
  bridge = await startBridge(plane, { outboxFlushMs: 50 }, testKey, { metrics })
  await eventually(() => expect(bridge.daemon.ready()).toBe(true))
}

/** Gives all providers another configuration, and waits until the bridge has it. */
async function change(own: Partial<Provider>): Promise<void> {
  plane.providers = plane.providers.map(provider => ({ ...provider, ...own }))
  const reads = () => plane.calls.filter(call => call === 'providerConfigurator.getProviders').length
  const before = reads()
  plane.signal()
  await eventually(() => expect(reads()).toBeGreaterThan(before))
}

function keyOf({ headers }: ProviderCall): string {
  return String(headers['x-api-key'] ?? headers.authorization?.replace('Bearer ', ''))
}

const keys = () => provider.calls.map(keyOf)

async function metric(name: string): Promise<string[]> {
  return (await metrics.text()).split('\n').filter(line => line.startsWith(name))
}

/** Returns a URL where nothing listens. */
async function deadUrl(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // listening on TCP
  await new Promise(resolve => server.close(resolve))
  return `http://127.0.0.1:${port}`
}

const bodyOf = (fields: JsonObject = {}) =>
  JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'hello' }], input: 'hello', ...fields })

/** One row for each type of provider. */
const rows = apiRows.filter(({ name }) => name !== 'OpenAI Responses')

describe.each(rows)('$name', ({ path, provider: name, upstreamPath }) => {
  const call = (fields?: JsonObject, headers: Record<string, string> = { 'x-api-key': testKey }) =>
    send(bridge, { path, headers, body: bodyOf(fields) })
  const fallback = (...urls: string[]): Partial<Provider> => ({
    settings: { fallbackUrls: urls.map(url => (name === 'openai' ? `${url}/v1` : url)) },
  })

  test.each([429, 401, 403])(
    'a request whose key gets %i goes on with the next key, as do later ones',
    async status => {
      await start()
      provider.respondWith(json({ error: 'no' }, status), ok, ok)
      const response = await call()
      expect([response.status, response.body.toString()]).toEqual([200, '{"ok":true}'])
      expect((await call()).status).toBe(200)
      expect(keys()).toEqual([first, second, second])
      expect(provider.calls[1]?.body).toEqual(provider.calls[0]?.body)
      await eventually(() => expect(plane.stored('interceptionEnded')).toHaveLength(2))
      const [begun] = plane.stored('interception')
      const [ended] = plane.stored('interceptionEnded')
      expect([begun?.credentialHint, ended?.credentialHint]).toEqual([credentialHint(first), credentialHint(second)])
      expect(plane.stored('interception')[1]?.credentialHint).toBe(credentialHint(second))
      expect(await metric('bridge_failovers_total{')).toEqual([
        `bridge_failovers_total{provider="${name}",cause="key"} 1`,
      ])
    },
  )

  test('all keys limited give 429 with the shortest wait, and the provider is left alone', async () => {
    await start()
    provider.respondWith(json({}, 429, { 'retry-after': '7' }), json({}, 429))
    const responses = [await call(), await call()]
    for (const { status, headers, body } of responses) {
      expect([status, headers['retry-after'], headers['x-should-retry']]).toEqual([429, '7', undefined])
      expect(JSON.parse(body.toString())).toMatchObject({ error: { message: expect.stringContaining('is limited') } })
    }
    expect(provider.calls).toHaveLength(2)
    await eventually(() => expect(plane.stored('interceptionEnded')).toHaveLength(2))
    expect(plane.stored('interceptionEnded')[1]).toMatchObject({ errorType: 'rate_limited' })
  })

  test('a wait above a minute is final for SDKs', async () => {
    await start()
    provider.respondWith(json({}, 429, { 'retry-after': '3600' }), json({}, 429, { 'retry-after': '7200' }))
    const { status, headers } = await call()
    expect([status, headers['retry-after'], headers['x-should-retry']]).toEqual([429, '3600', 'false'])
  })

  test('all keys rejected give 502 and one report for each, until the configuration changes', async () => {
    await start()
    provider.respondWith(json({}, 401), json({}, 403), ok)
    expect((await call()).status).toBe(502)
    expect((await call()).status).toBe(502)
    expect(keys()).toEqual([first, second])
    const report = { provider: name, revision: 'r1', model: 'm' }
    expect(plane.reportedKeys).toEqual([
      { ...report, keyId: 'id-1', status: 401 },
      { ...report, keyId: 'id-2', status: 403 },
    ])
    expect(await metric(`bridge_key_state{provider="${name}"`)).toEqual([
      `bridge_key_state{provider="${name}",key="id-1"} -1`,
      `bridge_key_state{provider="${name}",key="id-2"} -1`,
    ])
    await change({}) // the same configuration, read again
    expect((await call()).status).toBe(502)
    await change({ revision: 'r2' })
    expect((await call()).status).toBe(200)
    expect(keys()).toEqual([first, second, first])
  })

  test('limits and permissions are those of a model, a rejected key is out for all', async () => {
    await start()
    const other = { model: 'other' }
    provider.respondWith(json({}, 403), json({}, 429), ok, json({}, 401), ok)
    expect((await call()).status).toBe(429)
    expect((await call(other)).status).toBe(200)
    expect((await call({ model: 'third' })).status).toBe(200)
    expect(keys()).toEqual([first, second, first, first, second])
    provider.respondWith(ok)
    expect((await call(other, { 'x-api-key': testKey, 'x-session-id': 's' })).status).toBe(200)
    expect(keys().at(-1)).toBe(second)
    expect(plane.reportedKeys.map(({ status, model }) => [status, model])).toEqual([
      [403, 'm'],
      [401, 'third'],
    ])
  })

  test('a report that the control plane did not take is made again when the providers are read again', async () => {
    await start()
    plane.before = called => {
      if (called === 'providerConfigurator.reportKey') throw new Error('away')
    }
    provider.respondWith(json({}, 401), ok)
    expect((await call({ model: 'm'.repeat(1000) })).status).toBe(200)
    await eventually(() => expect(bridge.log.at(-1)).toMatchObject({ message: 'a rejected key could not be reported' }))
    plane.before = () => {}
    await change({})
    await eventually(() => expect(plane.reportedKeys).toMatchObject([{ keyId: 'id-1', model: 'm'.repeat(256) }]))
    await change({})
    expect(plane.reportedKeys).toHaveLength(1)
  })

  test('a fallback URL that leads back to the bridge is rejected like a base URL', async () => {
    await start({}, await deadUrl())
    const back = `${bridge.url}/bridge/${name}${name === 'openai' ? '/v1' : ''}`
    await change({ settings: { fallbackUrls: [back] } })
    expect((await call()).status).toBe(508)
  })

  test('a key that is rejected for several models is reported once', async () => {
    await start()
    provider.respondWith(json({}, 403), ok, json({}, 403), ok)
    expect([(await call()).status, (await call({ model: 'n', messages: [], input: '' })).status]).toEqual([200, 200])
    expect(plane.reportedKeys).toMatchObject([{ keyId: 'id-1', model: 'm' }])
  })

  test('a key that works again under the last attempt is left to the next request', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    await start()
    provider.respondWith(json({}, 429, { 'retry-after': '10' }), ok, async (response, received) => {
      vi.advanceTimersByTime(20_000)
      await json({}, 429)(response, received)
    })
    expect((await call()).status).toBe(200)
    const { status, headers } = await call()
    expect([status, headers['retry-after']]).toEqual([429, '1'])
    provider.respondWith(ok)
    expect((await call()).status).toBe(200)
    expect(keys()).toEqual([first, second, second, first])
  })

  test('a limited key stays limited when the configuration changes, but the one key that is left is used', async () => {
    await start()
    provider.respondWith(json({}, 429), ok, ok, ok)
    await call()
    await change({ revision: 'r2' })
    await call({ messages: [], input: '' }) // a conversation without a key
    await change({ keys: [first], keyIds: ['id-1'], revision: 'r3' })
    expect((await call()).status).toBe(200)
    expect(keys()).toEqual([first, second, second, first])
  })

  test('a failure of the provider changes no key, and its response passes', async () => {
    await start()
    provider.respondWith(json({ sick: true }, 500), json({ sick: true }, 529), ok)
    expect([(await call()).status, (await call()).body.toString()]).toEqual([500, '{"sick":true}'])
    await call()
    expect(keys()).toEqual([first, first, first])
  })

  test('the one key of a provider is used whatever the provider says, and its responses pass', async () => {
    await start({ keys: [first] })
    const statuses = [429, 429, 401, 401, 403]
    provider.respondWith(...statuses.map(status => json({ error: `no ${status}` }, status)))
    for (const status of statuses) {
      const response = await call()
      expect([response.status, response.body.toString()]).toEqual([status, `{"error":"no ${status}"}`])
    }
    expect(keys()).toEqual(statuses.map(() => first))
  })

  test('a client with its own key gets no key of the operator, and changes none', async () => {
    await start()
    provider.respondWith(json({}, 401), json({}, 429), ok)
    const own = {
      'x-bridge-token': testKey,
      ...(name === 'openai' ? { authorization: 'Bearer own' } : { 'x-api-key': 'own' }),
    }
    expect([(await call({}, own)).status, (await call({}, own)).status]).toEqual([401, 429])
    expect((await call()).status).toBe(200)
    expect(keys()).toEqual(['own', 'own', first])
  })

  test('a conversation stays with its key when the preferred key works again, and others do not', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    await start()
    provider.respondWith(json({}, 429, { 'retry-after': '1' }), ok, ok, ok, ok)
    const conversation = { messages: [{ role: 'user', content: [{ type: 'text', text: 'hi', cache_control: {} }] }] }
    const input = [{ role: 'user', content: [{ type: 'input_text', text: 'hi' }] }]
    await call({ ...conversation, input })
    vi.advanceTimersByTime(2_000)
    const later = {
      messages: [
        { role: 'user', content: 'hi' },
        { role: 'assistant', content: 'yes' },
      ],
      input: 'hi',
    }
    await call(later)
    await call()
    await call({}, { 'x-api-key': testKey, 'x-session-id': 'another' })
    expect(keys()).toEqual([first, second, second, first, first])
  })

  test('a stream that has begun is not sent a second time', async () => {
    await start()
    provider.respondWith(async (response, received) => {
      await eventStream('data: {"type":"error","error":{"type":"rate_limit_error"}}\n\n', {})(response, received)
    })
    await call()
    provider.respondWith(response => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: {}\n\n', () => response.destroy())
    })
    expect((await call()).whole).toBe(false)
    expect(provider.calls).toHaveLength(2)
  })

  test('a request goes to the next base URL if no connection to the one before is made', async () => {
    const dead = await deadUrl()
    await start(fallback(await deadUrl(), provider.url), dead)
    provider.respondWith(ok)
    expect((await call()).status).toBe(200)
    expect(provider.calls.map(({ url }) => url)).toEqual([upstreamPath])
    expect(await metric('bridge_failovers_total{')).toEqual([
      `bridge_failovers_total{provider="${name}",cause="unreachable"} 2`,
    ])
  })

  test('no base URL that can be reached gives 502, with each tried once', async () => {
    await start({ ...fallback(await deadUrl(), await deadUrl()) }, await deadUrl())
    expect((await call()).status).toBe(502)
    expect(bridge.log.filter(({ message }) => message.startsWith('a base URL cannot be reached'))).toHaveLength(2)
    await eventually(() => expect(plane.stored('interceptionEnded')[0]?.errorType).toBe('unreachable'))
  })

  test('a request that the provider may have begun to serve goes to no other base URL', async () => {
    const other = await startProvider()
    await start(fallback(other.url))
    provider.respondWith(hangUp, json({}, 503))
    expect([(await call()).status, (await call()).status]).toEqual([502, 503])
    expect(other.calls).toEqual([])
    await other.close()
  })

  test('five failures in a row open the breaker of a model for 30 s; then one request is let through', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    await start()
    provider.respondWith(...[500, 529, 502, 503, 504].map(status => json({}, status)))
    for (let time = 0; time < 5; time++) await call()
    const { status, headers } = await call()
    expect([status, headers['retry-after']]).toEqual([503, '30'])
    expect(provider.calls).toHaveLength(5)
    provider.respondWith(ok)
    expect((await call({ model: 'another' })).status).toBe(200)
    expect(await metric('bridge_breaker_state{')).toEqual([
      `bridge_breaker_state{provider="${name}",endpoint="1",model="m"} -1`,
    ])
    vi.advanceTimersByTime(30_000)
    const gate = createGate()
    provider.respondWith(async (response, received) => {
      await gate.opened
      await ok(response, received)
    })
    const trial = call()
    await provider.call(6)
    expect((await call()).status).toBe(503)
    gate.open()
    expect((await trial).status).toBe(200)
    provider.respondWith(ok)
    expect((await call()).status).toBe(200)
    expect(await metric('bridge_breaker_state{')).toEqual([])
  })

  test('neither 429 nor a client that leaves counts for the breaker', async () => {
    await start({ keys: [first] })
    for (let time = 0; time < 6; time++) {
      provider.respondWith(json({}, 429), (_, { closed }) => closed)
      expect((await call()).status).toBe(429)
      const leave = new AbortController()
      const left = fetch(bridge.url + path, {
        method: 'POST',
        headers: { 'x-api-key': testKey },
        body: bodyOf(),
        signal: leave.signal,
      })
      const received = await provider.call(2 * time + 1)
      leave.abort()
      await Promise.allSettled([left, received.closed])
    }
    provider.respondWith(ok)
    expect((await call()).status).toBe(200)
    expect(await metric('bridge_breaker_state{')).toEqual([])
  })

  test('five requests that take too long open the breaker', async () => {
    await start({ settings: { firstByteTimeoutMs: 10 } })
    provider.respondWith(...Array.from({ length: 5 }, () => stall))
    const statuses: number[] = []
    for (let time = 0; time < 6; time++) statuses.push((await call()).status)
    expect(statuses).toEqual([504, 504, 504, 504, 504, 503])
  })

  test('the trial of a breaker whose client leaves makes room for another', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    await start()
    provider.respondWith(...Array.from({ length: 5 }, () => json({}, 500)), stall, ok)
    for (let time = 0; time < 5; time++) await call()
    vi.advanceTimersByTime(30_000)
    const leave = new AbortController()
    const init = { method: 'POST', headers: { 'x-api-key': testKey }, body: bodyOf(), signal: leave.signal }
    const left = fetch(bridge.url + path, init)
    const trial = await provider.call(5)
    leave.abort()
    await Promise.allSettled([left, trial.closed])
    await eventually(async () => expect((await call()).status).toBe(200))
  })

  test('an open breaker sends requests to the next base URL', async () => {
    const other = await startProvider(ok)
    await start(fallback(other.url))
    provider.respondWith(...Array.from({ length: 5 }, () => json({}, 500)))
    for (let time = 0; time < 5; time++) await call()
    expect((await call()).status).toBe(200)
    expect([provider.calls.length, other.calls.length]).toEqual([5, 1])
    await other.close()
  })

  test('a stream holds its place until its end, and the next request waits for it', async () => {
    await start({ settings: { maxParallelRequests: 1 } })
    const gate = createGate()
    provider.respondWith(eventStream('data: 1\n\ndata: 2\n\n', { 1: gate }), ok)
    const stream = await begin(bridge, { path, headers: { 'x-api-key': testKey }, body: bodyOf() })
    const waiting = call()
    await eventually(() => expect(plane.stored('interception')).toHaveLength(2))
    expect(provider.calls).toHaveLength(1)
    gate.open()
    stream.resume()
    expect((await waiting).status).toBe(200)
  })

  test('a key that is removed under a request in flight ends nothing, and is not used again', async () => {
    await start()
    const gate = createGate()
    provider.respondWith(eventStream('data: 1\n\ndata: 2\n\n', { 1: gate }), ok)
    const stream = await begin(bridge, { path, headers: { 'x-api-key': testKey }, body: bodyOf() })
    await change({ keys: [second], keyIds: ['id-2'], revision: 'r2' })
    expect((await call()).status).toBe(200)
    gate.open()
    let text = ''
    for await (const chunk of stream) text += String(chunk)
    expect(text).toBe('data: 1\n\ndata: 2\n\n')
    expect(keys()).toEqual([first, second])
  })
})

test.each([
  ['the first key', 1],
  ['the second key', 2],
])('a large body is held and counted until a response with %s begins', async (_, attempts) => {
  await start()
  await bridge.close()
  bridge = await startBridge(plane, { maxTotalBodyBytes: 4_000_000 }, testKey)
  const content = 'x'.repeat(3_000_000)
  const request = { headers: { 'x-api-key': testKey }, body: JSON.stringify({ model: 'm', messages: [{ content }] }) }
  const [begins, ends] = [createGate(), createGate()]
  provider.respondWith(...(attempts === 2 ? [json({}, 429)] : []), async response => {
    await begins.opened
    response.writeHead(200).write('{')
    await ends.opened
    response.end('}')
  })
  const begun = begin(bridge, request)
  const call = await provider.call(attempts - 1)
  expect(call.body.toString()).toBe(request.body)
  // Another attempt may follow only if another key is left.
  provider.respondWith(ok, ok)
  expect((await send(bridge, request)).status).toBe(attempts === 1 ? 503 : 200)
  begins.open()
  const stream = await begun
  expect((await send(bridge, request)).status).toBe(200)
  ends.open()
  stream.resume()
  await once(stream, 'close')
})

test('a request for usage that is rejected is sent again without it, with a key that works', async () => {
  await start()
  provider.respondWith(json({}, 429), json({}, 400), ok)
  const body = bodyOf({ stream: true })
  const response = await send(bridge, {
    path: '/bridge/openai/v1/chat/completions',
    headers: { 'x-api-key': testKey },
    body,
  })
  expect(response.status).toBe(200)
  expect(keys()).toEqual([first, second, second])
  expect(provider.calls.map(call => call.body.includes('include_usage'))).toEqual([true, true, false])
  expect(provider.calls[2]?.body.toString()).toBe(body)
})

test('a request that is passed through goes on with the next key, and changes no key', async () => {
  await start()
  provider.respondWith(json({}, 401), ok, json({}, 429), json({ last: true }, 401), ok)
  const models = () =>
    send(bridge, { method: 'GET', path: '/bridge/anthropic/v1/models', headers: { 'x-api-key': testKey } })
  expect((await models()).status).toBe(200)
  const second = await models()
  expect([second.status, second.body.toString()]).toEqual([401, '{"last":true}'])
  expect((await send(bridge)).status).toBe(200)
  expect(keys().at(-1)).toBe(first)
  expect(plane.reportedKeys).toEqual([])
})

test('a request that continues a response stays with the key of that response', async () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  await start()
  const path = '/bridge/openai/v1/responses'
  const ask = (fields: JsonObject) =>
    send(bridge, { path, headers: { 'x-api-key': testKey }, body: JSON.stringify({ model: 'm', ...fields }) })
  const response = (id: string) => json({ id, object: 'response', status: 'completed', output: [] })
  provider.respondWith(json({}, 429, { 'retry-after': '1' }), response('r1'), response('r2'), response('r3'), ok)
  await ask({ input: 'one' })
  vi.advanceTimersByTime(2_000)
  await ask({ input: 'two', previous_response_id: 'r1' })
  await ask({ input: 'three', previous_response_id: 'r2' })
  await ask({ input: 'four', previous_response_id: 'unknown' })
  expect(keys()).toEqual([first, second, second, second, first])
})

test('two users with one session id do not share a key', async () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  await start()
  const headers = { 'x-api-key': testKey, 'x-session-id': 'one' }
  provider.respondWith(json({}, 429, { 'retry-after': '1' }), ok, ok, ok)
  await send(bridge, { headers })
  vi.advanceTimersByTime(10_000)
  const owner = testOwner.ownerId
  testOwner.ownerId = '0198c5d4-0000-7000-8000-000000000002'
  try {
    await send(bridge, { headers })
  } finally {
    testOwner.ownerId = owner
  }
  vi.advanceTimersByTime(10_000)
  await send(bridge, { headers })
  expect(keys()).toEqual([first, second, first, second])
})

describe('a configuration that is not usable keeps the last good one and is logged once', () => {
  test.each<[string, (plane: ScriptedControlPlane) => void]>([
    ['an unknown type', plane => Object.assign(plane.providers[0] ?? {}, { type: 'abacus' })],
    ['a base URL that is none', plane => Object.assign(plane.providers[0] ?? {}, { baseUrl: 'there' })],
    [
      'keys that cannot be opened',
      plane => {
        plane.providers.shift()
        plane.unreadable.push('anthropic')
      },
    ],
  ])('%s', async (_, spoil) => {
    await start()
    spoil(plane)
    await change({})
    await change({})
    provider.respondWith(ok)
    expect((await send(bridge)).status).toBe(200)
    const lines = bridge.log.filter(({ message }) => message.startsWith('a provider is not usable'))
    expect(lines).toMatchObject([{ level: 'warn', fields: { name: 'anthropic' } }])
    expect(await metric('bridge_providers_outdated')).toEqual(['bridge_providers_outdated 1'])
    plane.unreadable.length = 0
    plane.providers = []
    await change({})
    expect((await send(bridge)).status).toBe(404)
    expect(await metric('bridge_providers_outdated')).toEqual(['bridge_providers_outdated 0'])
  })
})
