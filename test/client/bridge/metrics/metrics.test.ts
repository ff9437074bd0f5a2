import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { LabelValues } from '../../../../client/bridge/metrics/label-values.js'
import type { InterceptionEnd } from '../../../../client/bridge/metrics/metrics.js'
import { createBridgeMetrics } from '../../../../client/bridge/metrics/prometheus.js'
import { createMemoryOutbox } from '../../../../client/bridge/outbox/memory-outbox.js'
import { RpcError } from '../../../../shared/rpc/errors.js'
import { leavesNothing } from '../../../fixtures/leaves-nothing.js'
import { listening } from '../../../fixtures/listening.js'
import { createGate, eventStream, json, type StandInProvider, startProvider } from '../../../fixtures/provider.js'
import { sample, samples } from '../../../fixtures/samples.js'
import { anthropicProvider, memoryLogger, type RunningBridge, send, startBridge } from '../running-bridge.js'
import { type ScriptedControlPlane, scriptedControlPlane, testKey } from '../scripted-control-plane.js'

const responseBody = {
  id: 'msg_1',
  type: 'message',
  content: [{ type: 'tool_use', id: 'toolu_1', name: 'Read', input: {} }],
  usage: { input_tokens: 11, output_tokens: 7, cache_read_input_tokens: 3, cache_creation_input_tokens: 0 },
}

describe('a bridge', () => {
  leavesNothing()
  let provider: StandInProvider
  let plane: ScriptedControlPlane
  let bridge: RunningBridge
  let metrics: ReturnType<typeof createBridgeMetrics>

  beforeEach(async () => {
    provider = await startProvider()
    plane = scriptedControlPlane([anthropicProvider(provider.url)])
    metrics = createBridgeMetrics()
    bridge = await startBridge(plane, {}, testKey, { metrics })
  })
  afterEach(async () => {
    await bridge.close()
    await provider.close()
  })

  const ask = (model: string, headers = {}) =>
    send(bridge, {
      headers: { 'x-api-key': testKey, 'user-agent': 'claude-cli/1', ...headers },
      body: JSON.stringify({ model, messages: [{ role: 'user', content: 'hello' }] }),
    })

  test('requests, tokens and tools are counted by provider, model, status and client', async () => {
    provider.respondWith(
      json(responseBody),
      json(responseBody),
      json({ type: 'error', error: { type: 'x', message: 'y' } }, 429),
    )
    for (let request = 0; request < 3; request++) await ask('claude-test-1')
    const text = await metrics.text()
    const labels = { provider: 'anthropic', model: 'claude-test-1', client: 'Claude Code' }
    expect(sample(text, 'bridge_interceptions_total', { ...labels, status: 'completed' })).toBe(2)
    expect(sample(text, 'bridge_interceptions_total', { ...labels, status: 'rate_limited' })).toBe(1)
    expect(sample(text, 'bridge_interceptions_inflight')).toBe(0)
    expect(sample(text, 'bridge_interception_duration_seconds_count', { provider: 'anthropic' })).toBe(3)
    const { client: _, ...of } = labels
    expect(samples(text, 'bridge_tokens_total')).toEqual([
      { labels: { ...of, type: 'input' }, value: 22 },
      { labels: { ...of, type: 'output' }, value: 14 },
      { labels: { ...of, type: 'cache_read' }, value: 6 },
    ])
    expect(sample(text, 'bridge_tool_calls_total', { injected: 'false' })).toBe(2)
    expect(sample(text, 'bridge_tool_calls_total', { injected: 'true' })).toBe(0)
    expect(sample(text, 'bridge_upstream_first_byte_seconds_count', { provider: 'anthropic' })).toBe(3)
    expect(sample(text, 'bridge_overhead_seconds_count')).toBe(3)
  })

  test('a request is in flight until its end is recorded', async () => {
    const gate = createGate()
    provider.respondWith(eventStream('event: message_stop\ndata: {"type":"message_stop"}\n\n', { 0: gate }))
    const asked = ask('m')
    await provider.call(0)
    expect(sample(await metrics.text(), 'bridge_interceptions_inflight')).toBe(1)
    gate.open()
    await asked
    expect(sample(await metrics.text(), 'bridge_interceptions_inflight')).toBe(0)
  })

  test('a rejected request is not counted', async () => {
    plane.before = path => {
      if (path === 'recorder.recordInterception') throw new RpcError('FORBIDDEN', 'no')
    }
    expect((await ask('m')).status).toBe(503)
    expect((await send(bridge, { headers: {} })).status).toBe(401)
    const text = await metrics.text()
    expect(samples(text, 'bridge_interceptions_total')).toEqual([])
    expect(sample(text, 'bridge_interceptions_inflight')).toBe(0)
    expect(sample(text, 'bridge_overhead_seconds_count')).toBe(0)
  })

  test('the time of the client to send its body is no overhead', async () => {
    provider.respondWith(json(responseBody))
    const reading = createGate()
    const server = createServer((request, response) => {
      request.on('newListener', event => event === 'data' && reading.open())
      bridge.daemon.handler(request, response)
    })
    const port = await listening(server)
    const path = '/bridge/anthropic/v1/messages'
    const request = httpRequest({ host: '127.0.0.1', port, path, method: 'POST', headers: { 'x-api-key': testKey } })
    request.write('{"model":')
    await reading.opened
    const clock = performance.now.bind(performance)
    const later = vi.spyOn(performance, 'now').mockImplementation(() => clock() + 60_000)
    request.end('"m"}')
    const [response] = await once(request, 'response')
    await once(response.resume(), 'end')
    later.mockRestore()
    const text = await metrics.text()
    expect(sample(text, 'bridge_overhead_seconds_count')).toBe(1)
    expect(sample(text, 'bridge_overhead_seconds_sum')).toBeLessThan(30)
  })

  test('labels hold no user and no secret', async () => {
    provider.respondWith(json({ type: 'error', error: { message: testKey } }, 401))
    await ask('claude-test-1')
    const text = await metrics.text()
    for (const secret of [testKey, 's'.repeat(22), 'sk-ant-provider-key']) expect(text).not.toContain(secret)
    expect(text).not.toContain('username')
  })
})

describe('label values from outside', () => {
  const end = (model: string, status: InterceptionEnd['status'] = 'completed'): InterceptionEnd => ({
    provider: 'p',
    model,
    client: undefined,
    status,
    seconds: 1,
    tokens: [],
    toolCalls: 0,
    injectedCalls: 0,
  })

  test('the version of the program is a label of a metric that is always 1', async () => {
    const text = await createBridgeMetrics({ version: '1.2.3' }).text()
    expect(sample(text, 'bridge_build_info', { version: '1.2.3' })).toBe(1)
    expect(sample(await createBridgeMetrics().text(), 'bridge_build_info', { version: 'unknown' })).toBe(1)
  })

  test('a label has a hundred values, further ones are other', async () => {
    const metrics = createBridgeMetrics()
    for (let number = 0; number < 500; number++) metrics.interceptionStarted()(end(`model-${number}`))
    const counted = samples(await metrics.text(), 'bridge_interceptions_total')
    expect(counted).toHaveLength(101)
    expect(counted.find(({ labels }) => labels.model === 'other')?.value).toBe(400)
  })

  test('a model that the provider rejects takes no label value', async () => {
    const metrics = createBridgeMetrics()
    for (let number = 0; number < 200; number++) metrics.interceptionStarted()(end(`typo-${number}`, 'bad_request'))
    metrics.interceptionStarted()(end('real'))
    metrics.interceptionStarted()(end('real', 'bad_request'))
    expect(
      samples(await metrics.text(), 'bridge_interceptions_total').map(({ labels, value }) => [labels, value]),
    ).toEqual([
      [expect.objectContaining({ model: 'other', status: 'bad_request', client: 'unknown' }), 200],
      [expect.objectContaining({ model: 'real', status: 'completed' }), 1],
      [expect.objectContaining({ model: 'real', status: 'bad_request' }), 1],
    ])
  })

  test('label values are cut, never inside a character, and cannot break the format', async () => {
    expect(new LabelValues({ maxLength: 3 }).of('ab😀')).toBe('ab')
    const metrics = createBridgeMetrics()
    metrics.interceptionStarted()(end('a"b\\c\nbridge_interceptions_inflight 7'))
    expect(sample(await metrics.text(), 'bridge_interceptions_inflight')).toBe(0)
  })
})

describe('values that are read at a scrape', () => {
  test('the numbers of an outbox are read at a scrape', async () => {
    const metrics = createBridgeMetrics()
    const gate = createGate()
    const { logger } = memoryLogger()
    const outbox = createMemoryOutbox({
      logger,
      send: async records => {
        await gate.opened
        return records.map(() => ({ ok: false, code: 'NOT_FOUND', message: 'no such interception' }))
      },
    })
    metrics.watchOutbox(outbox)
    expect(sample(await metrics.text(), 'bridge_outbox_oldest_seconds')).toBe(0)
    const id = '0198c5d4-0000-7000-8000-000000000001'
    await outbox.put([{ kind: 'interceptionEnded', id, endedAt: new Date() }])
    const waiting = await metrics.text()
    expect(sample(waiting, 'bridge_outbox_records')).toBe(1)
    expect(sample(waiting, 'bridge_outbox_oldest_seconds')).toBeGreaterThan(0)
    gate.open()
    await outbox.close({ timeoutMs: 5_000 })
    for (const text of [await metrics.text(), await metrics.text()]) {
      expect(sample(text, 'bridge_outbox_records')).toBe(0)
      expect(sample(text, 'bridge_outbox_oldest_seconds')).toBe(0)
      expect(sample(text, 'bridge_outbox_dead_letters_total')).toBe(1)
    }
  })

  test.each([
    ['open', 1],
    ['connecting', 0],
    ['waiting', 0],
    ['closed', -1],
  ] as const)('a link that is %s is %d', async (state, value) => {
    const metrics = createBridgeMetrics()
    metrics.watchConnection({ state })
    expect(sample(await metrics.text(), 'bridge_rpc_connection_state')).toBe(value)
  })

  test('calls to the control plane are counted by path and code; codes of no table share a label', async () => {
    const metrics = createBridgeMetrics()
    const call = { type: 'query', path: 'a.b', durationMs: 3 } as const
    for (const code of [undefined, 'CONFLICT', 'MADE_UP', 'unknown', 'TIMEOUT']) metrics.callEnded({ ...call, code })
    metrics.callEnded({ ...call, type: 'subscription', code: undefined })
    const counted = samples(await metrics.text(), 'bridge_rpc_call_seconds_count')
    expect(counted.map(({ labels, value }) => [labels.path, labels.code, value])).toEqual([
      ['a.b', 'OK', 1],
      ['a.b', 'CONFLICT', 1],
      ['a.b', 'other', 2],
      ['a.b', 'TIMEOUT', 1],
    ])
  })

  test('two bridges in one process have separate counts', async () => {
    const [one, two] = [createBridgeMetrics(), createBridgeMetrics()]
    one.interceptionStarted()
    expect(sample(await one.text(), 'bridge_interceptions_inflight')).toBe(1)
    expect(sample(await two.text(), 'bridge_interceptions_inflight')).toBe(0)
  })
})

describe('requests without an interception', () => {
  test('pass-through is counted by provider, route without ids, and status; rejections by reason', async () => {
    const provider = await startProvider(json({}), json({}, 404), json({}), ({ socket }) => void socket?.destroy())
    const metrics = createBridgeMetrics()
    const plane = scriptedControlPlane([anthropicProvider(provider.url)])
    const bridge = await startBridge(plane, {}, testKey, { metrics })
    const get = (path: string) => send(bridge, { method: 'GET', path: `/bridge/anthropic${path}` })
    await get('/v1/models?limit=1')
    await get('/v1/models/claude-x')
    await get('/models/claude-y')
    await get('/v1/models')
    await get('/v1/other')
    await send(bridge, { headers: {} })
    const text = await metrics.text()
    const of = { provider: 'anthropic' }
    expect(samples(text, 'bridge_passthrough_total').map(({ labels, value }) => ({ ...labels, value }))).toEqual([
      { ...of, route: '/v1/models', status: '200', value: 1 },
      { ...of, route: '/v1/models/…', status: '404', value: 1 },
      { ...of, route: '/v1/models/…', status: '200', value: 1 },
      { ...of, route: '/v1/models', status: 'none', value: 1 },
    ])
    expect(samples(text, 'bridge_rejections_total').map(({ labels, value }) => [labels.reason, value])).toEqual([
      ['unknown_route', 1],
      ['no_key', 1],
    ])
    await bridge.close()
    await provider.close()
  })

  test('unknown items and mismatches of usage are counted by API', async () => {
    const metrics = createBridgeMetrics()
    metrics.unknownItems('openai/responses', 3)
    metrics.usageMismatch('openai/chat')
    const text = await metrics.text()
    expect(sample(text, 'bridge_unknown_items_total', { api: 'openai/responses' })).toBe(3)
    expect(sample(text, 'bridge_usage_mismatch_total', { api: 'openai/chat' })).toBe(1)
  })
})
