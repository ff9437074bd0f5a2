/** Limits of time and memory: those of the server, and those of one provider. */
import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { BridgeLimits } from '../../../../shared/contract/limits.js'
import type { Provider } from '../../../../shared/contract/provider-configurator.js'
import type { JsonObject } from '../../../../shared/values/text.js'
import { eventually } from '../../../fixtures/eventually.js'
import {
  createGate,
  eventStream,
  json,
  type StandInProvider,
  stall,
  startProvider,
} from '../../../fixtures/provider.js'
import { apiRows } from '../apis.js'
import { anthropicProvider, begin, openaiProvider, type RunningBridge, send, startBridge } from '../running-bridge.js'
import { type ScriptedControlPlane, scriptedControlPlane, testKey } from '../scripted-control-plane.js'

let provider: StandInProvider
let plane: ScriptedControlPlane
let bridge: RunningBridge | undefined

beforeEach(async () => {
  provider = await startProvider()
})
afterEach(async () => {
  await bridge?.close()
  await provider.close()
})

async function start(limits: Partial<BridgeLimits>, settings?: JsonObject): Promise<RunningBridge> {
  const own: Partial<Provider> = settings ? { settings } : {}
  plane = scriptedControlPlane([anthropicProvider(provider.url, own), openaiProvider(provider.url, own)])
  bridge = await startBridge(plane, { outboxFlushMs: 50, ...limits })
  return bridge
}

const headers = { 'x-api-key': testKey }
const body = JSON.stringify({ model: 'm', messages: [], input: 'x' })
const event = 'event: ping\ndata: {"type":"ping"}\n\n'

describe.each(apiRows)('$name', ({ path }) => {
  test.each<[string, Partial<BridgeLimits>, JsonObject | undefined]>([
    ['of the server', { upstreamHeadersTimeoutMs: 40 }, undefined],
    ['of the provider', {}, { firstByteTimeoutMs: 40 }],
    ['of the provider, where the server has none', { upstreamHeadersTimeoutMs: 0 }, { firstByteTimeoutMs: 40 }],
  ])('a provider that does not begin to respond gives 504 after the limit %s', async (_, limits, settings) => {
    const bridge = await start(limits, settings)
    provider.respondWith(stall)
    const response = await send(bridge, { path, headers, body })
    expect([response.status, response.body.toString()]).toEqual([504, expect.stringContaining('within 40 ms')])
    await eventually(() => expect(plane.stored('interceptionEnded')[0]?.errorType).toBe('timeout'))
  })

  test.each<[string, Partial<BridgeLimits>, JsonObject | undefined]>([
    ['of the server', { upstreamIdleTimeoutMs: 40 }, undefined],
    ['of the provider', {}, { idleTimeoutMs: 40 }],
  ])('a provider that is silent inside its response is cut off after the limit %s', async (_, limits, settings) => {
    const bridge = await start(limits, settings)
    provider.respondWith(eventStream(event + event, { 1: createGate() }))
    const response = await send(bridge, { path, headers, body })
    expect([response.status, response.whole, response.body.toString()]).toEqual([200, false, event])
    await eventually(() => expect(plane.stored('interceptionEnded')[0]?.errorType).toBe('timeout'))
  })

  test('no limit holds where the provider has 0, though the server has one', async () => {
    const limits = { upstreamHeadersTimeoutMs: 40, upstreamIdleTimeoutMs: 40 }
    const bridge = await start(limits, { firstByteTimeoutMs: 0, idleTimeoutMs: 0 })
    const [begin, end] = [createGate(), createGate()]
    provider.respondWith(eventStream(event + event, { 0: begin, 1: end }))
    const response = send(bridge, { path, headers, body })
    await provider.call(0)
    for (const gate of [begin, end]) {
      await new Promise(resolve => setTimeout(resolve, 100))
      gate.open()
    }
    expect((await response).body.toString()).toBe(event + event)
  })

  test('the body limit of a provider takes the place of the limit of the server', async () => {
    const bridge = await start({ maxBodyBytes: 10 }, { maxBodyBytes: 1_000 })
    provider.respondWith(json({}))
    expect((await send(bridge, { path, headers, body })).status).toBe(200)
    const large = JSON.stringify({ model: 'm', pad: 'x'.repeat(1_000) })
    const response = await send(bridge, { path, headers, body: large })
    expect([response.status, response.body.toString()]).toEqual([413, expect.stringContaining('maxBodyBytes 1,000')])
  })

  test('a body above the bound of all requests gets 503 and Retry-After, until others have ended', async () => {
    const bridge = await start({ maxTotalBodyBytes: 1_500 })
    const gate = createGate()
    const large = JSON.stringify({ model: 'm', pad: 'x'.repeat(1_000) })
    provider.respondWith(eventStream(event, { 0: gate }), json({}))
    const first = send(bridge, { path, headers, body: large })
    await provider.call(0)
    const rejected = await send(bridge, { path, headers, body: large })
    expect([rejected.status, rejected.headers['retry-after']]).toEqual([503, '1'])
    expect(provider.calls).toHaveLength(1)
    gate.open()
    await first
    expect((await send(bridge, { path, headers, body: large })).status).toBe(200)
  })

  test('the decoded copy of a body counts while the body is read', async () => {
    const bridge = await start({ maxTotalBodyBytes: 30_000 })
    const gzipped = (size: number) => gzipSync(JSON.stringify({ model: 'm', pad: 'x'.repeat(size) }))
    const encoded = { ...headers, 'content-encoding': 'gzip' }
    const rejected = await send(bridge, { path, headers: encoded, body: gzipped(40_000) })
    expect([rejected.status, rejected.headers['retry-after']]).toEqual([503, '1'])
    expect(provider.calls).toHaveLength(0)
    const gate = createGate()
    provider.respondWith(eventStream(event, { 0: gate }), json({}))
    const first = send(bridge, { path, headers: encoded, body: gzipped(20_000) })
    await provider.call(0)
    expect((await send(bridge, { path, headers: encoded, body: gzipped(20_000) })).status).toBe(200)
    gate.open()
    await first
  })

  test('a client that leaves inside its body gives its memory back', async () => {
    const bridge = await start({ maxTotalBodyBytes: 1_500 })
    const large = JSON.stringify({ model: 'm', pad: 'x'.repeat(1_000) })
    const { hostname, port } = new URL(bridge.url)
    for (let client = 0; client < 3; client++) {
      const sent = httpRequest({
        hostname,
        port,
        path,
        method: 'POST',
        headers: { ...headers, 'content-length': 1_400 },
      })
      sent.on('error', () => {})
      sent.write(large)
      await once(sent, 'socket')
      await eventually(() => expect(sent.socket?.bytesWritten).toBeGreaterThan(1_000))
      sent.destroy()
    }
    provider.respondWith(json({}))
    await eventually(async () => expect((await send(bridge, { path, headers, body: large })).status).toBe(200))
  })

  test('half a body with a good key is rejected with 408, and its memory is given back', async () => {
    const bridge = await start({ bodyTimeoutMs: 30, maxTotalBodyBytes: 1_500 })
    const { hostname, port } = new URL(bridge.url)
    const sent = httpRequest({ hostname, port, path, method: 'POST', headers: { ...headers, 'content-length': 1_400 } })
    sent.on('error', () => {})
    sent.write('{"model":"m"')
    const [response] = (await once(sent, 'response')) as [IncomingMessage] // by the event's definition
    expect([response.statusCode, response.headers.connection]).toEqual([408, 'close'])
    const text = Buffer.concat(await response.toArray()).toString()
    expect(JSON.parse(text)).toMatchObject({ error: { message: expect.stringContaining('within bodyTimeoutMs 30') } })
    sent.destroy()
    provider.respondWith(json({}))
    const large = JSON.stringify({ model: 'm', pad: 'x'.repeat(1_000) })
    expect((await send(bridge, { path, headers, body: large })).status).toBe(200)
    expect(provider.calls).toHaveLength(1)
  })

  test('an announced body that finds no room gets 503 before it is sent', async () => {
    const bridge = await start({ maxTotalBodyBytes: 1_000 })
    const { hostname, port } = new URL(bridge.url)
    const sent = httpRequest({ hostname, port, path, method: 'POST', headers: { ...headers, 'content-length': 1_001 } })
    sent.on('error', () => {})
    sent.flushHeaders()
    const [response] = (await once(sent, 'response')) as [IncomingMessage] // by the event's definition
    expect([response.statusCode, response.headers['retry-after']]).toEqual([503, '1'])
    sent.destroy()
  })

  test('a large body is held until the provider has taken it, not until the response', async () => {
    const bridge = await start({ maxTotalBodyBytes: 300_000 })
    const gate = createGate()
    const large = JSON.stringify({ model: 'm', pad: 'x'.repeat(200_000) })
    provider.respondWith(eventStream(event, { 0: gate }), json({}))
    const first = send(bridge, { path, headers, body: large })
    expect((await provider.call(0)).body.toString()).toBe(large)
    await eventually(async () => expect((await send(bridge, { path, headers, body: large })).status).toBe(200))
    gate.open()
    await first
    expect(provider.calls[1]?.body.toString()).toBe(large)
  })

  test('a client that takes nothing of its response is cut off, and so is the call to the provider', async () => {
    const bridge = await start({ clientTimeoutMs: 100 })
    provider.respondWith(eventStream(event.repeat(500_000)))
    const response = await begin(bridge, { path, headers, body })
    response.pause()
    response.on('error', () => {})
    await (await provider.call(0)).closed
    await eventually(() =>
      expect(plane.stored('interceptionEnded')[0]).toMatchObject({
        errorType: 'client_closed',
        errorMessage: 'the client took nothing of the response within clientTimeoutMs 100',
      }),
    )
    response.destroy()
  })

  test.each(['authorizer.isAuthorized', 'providerConfigurator.getProviders', 'recorder.recordInterception'])(
    'a control plane that is silent at %s gives 503 and Retry-After at the deadline',
    async silent => {
      const bridge = await start({ controlPlaneDeadlineMs: 60 })
      plane.before = path => (path === silent ? new Promise(() => {}) : undefined)
      if (silent.endsWith('getProviders')) {
        plane.providers = []
        plane.signal()
      }
      const response = await send(bridge, { path, headers, body })
      expect([response.status, response.headers['retry-after']]).toEqual([503, '1'])
      expect(response.body.toString()).toContain('the control plane cannot be reached')
      expect(provider.calls).toHaveLength(0)
      plane.before = () => {}
    },
  )
})

describe('a large request that is sent with a further field', () => {
  const path = '/bridge/openai/v1/chat/completions'
  const large = JSON.stringify({ model: 'm', stream: true, pad: 'x'.repeat(200_000) })

  test('a large request that is sent with a further field is sent once more as received, if the provider rejects it', async () => {
    const bridge = await start({ maxTotalBodyBytes: 300_000 })
    provider.respondWith(json({}, 400), json({}))
    expect((await send(bridge, { path, headers, body: large })).status).toBe(200)
    const [first, second] = provider.calls.map(call => call.body.toString())
    expect(first).toContain('include_usage')
    expect(second).toBe(large)
  })

  test('a large request that is sent with a further field is held until the provider begins a response that does not reject it', async () => {
    const bridge = await start({ maxTotalBodyBytes: 300_000 })
    const [begin, end] = [createGate(), createGate()]
    provider.respondWith(eventStream(event + event, { 0: begin, 1: end }), json({}))
    const first = send(bridge, { path, headers, body: large })
    await provider.call(0)
    expect((await send(bridge, { path, headers, body: large })).status).toBe(503)
    begin.open()
    await eventually(async () => expect((await send(bridge, { path, headers, body: large })).status).toBe(200))
    end.open()
    await first
  })
})

test('a setting of a provider that breaks its rule is left out and logged', async () => {
  const bridge = await start({}, { idleTimeoutMs: 'soon', maxBodyBytes: -1, ofANewerVersion: true })
  provider.respondWith(json({}))
  expect((await send(bridge, { headers, body })).status).toBe(200)
  const logged = bridge.log.filter(({ message }) => message === 'a setting of a provider is not usable')
  expect(logged.map(({ fields }) => Reflect.get(fields, 'field'))).toEqual(
    expect.arrayContaining(['idleTimeoutMs', 'maxBodyBytes']),
  )
})
