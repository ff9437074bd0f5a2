import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { createBridgeClient } from '../../../client/bridge-client.js'
import { createServerMetrics } from '../../../server/metrics/prometheus.js'
import { http1, TestClient } from '../../fixtures/acp/http-client.js'
import { sample, samples } from '../../fixtures/samples.js'
import { admin, adminToken, daemon, oneStore, rejectionOf, startServer } from '../services/running-server.js'

const store = oneStore()
const host = '127.0.0.1'

/** A server that is counted, with a bridge whose metrics are one line. */
async function listening(bridgeMetrics: () => Promise<string> = async () => 'bridge_made_up 1\n') {
  const running = await startServer(store(), {}, { link: 'memory' }, createServerMetrics())
  const bridge = { handler: () => {}, ready: () => true, metrics: bridgeMetrics }
  const { url } = await running.server.listen({ host, port: 0, bridge })
  const scrape = async () => (await fetch(`${url}/metrics`)).text()
  return { ...running, url, scrape }
}

test('/metrics shows the server, the process and the bridge, each name once, without login', async () => {
  const { url } = await listening()
  const response = await fetch(`${url}/metrics`)
  expect([response.status, response.headers.get('content-type')]).toEqual([
    200,
    'text/plain; version=0.0.4; charset=utf-8',
  ])
  const text = await response.text()
  const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name)
  expect(names).toEqual(
    expect.arrayContaining([
      'rpc_connections_open',
      'rpc_calls_inflight',
      'rpc_call_seconds',
      'process_cpu_seconds_total',
    ]),
  )
  expect(new Set(names).size).toBe(names.length)
  expect(sample(text, 'bridge_made_up')).toBe(1)
  expect(text.endsWith('\n')).toBe(true)
})

test('a server that nobody counts has no /metrics', async () => {
  const { server } = await startServer(store())
  const { url } = await server.listen({ host, port: 0 })
  expect((await fetch(`${url}/metrics`)).status).toBe(404)
})

test('metrics that cannot be read are a 500 that tells nothing, and a line of the log', async () => {
  const { url, logger } = await listening(() => Promise.reject(new Error('MARKED')))
  const response = await fetch(`${url}/metrics`)
  expect([response.status, await response.text()]).toEqual([500, '{"message":"internal server error"}'])
  expect(logger.lines).toMatchObject([{ level: 'error', fields: { err: { message: 'MARKED' } } }])
})

test('calls of every link are counted by path, type and code', async () => {
  const { url, connect, scrape } = await listening()
  const remote = createBridgeClient({ url, key: adminToken })
  await remote.admin.users.list.query()
  await connect(admin).admin.users.list.query()
  await rejectionOf(remote.admin.users.delete.mutate({ user: 'nobody' }))
  const text = await scrape()
  const path = 'admin.users.list'
  expect(sample(text, 'rpc_call_seconds_count', { path, type: 'query', code: 'OK' })).toBe(2)
  expect(
    sample(text, 'rpc_call_seconds_count', { path: 'admin.users.delete', type: 'mutation', code: 'NOT_FOUND' }),
  ).toBe(1)
  expect(sample(text, 'rpc_connections_open')).toBe(2)
  expect(sample(text, 'rpc_calls_inflight')).toBe(0)
  await remote.close()
})

test('procedures that a peer makes up share one label', async () => {
  const { connect, scrape } = await listening()
  const { connection } = connect(daemon)
  for (const path of ['made.up', 'admin.users', 'constructor', '__proto__', 'x'.repeat(200)]) {
    await new Promise<void>(resolve => {
      connection.call({ type: 'query', path, input: undefined }, { onData: () => {}, onError: () => resolve() })
    })
  }
  const counted = samples(await scrape(), 'rpc_call_seconds_count')
  expect(counted).toEqual([{ labels: { path: 'unknown', type: 'query', code: 'NOT_FOUND' }, value: 5 }])
})

test('connections that are rejected are counted by reason, before and after the upgrade', async () => {
  const { url, scrape, server } = await listening()
  const rejected = async (query: string, headers: Record<string, string> = {}): Promise<void> => {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/rpc?${query}`, { headers })
    socket.on('error', () => {})
    socket.on('open', () =>
      socket.send(JSON.stringify({ method: 'connectionParams', data: { authorization: 'Bearer x' } })),
    )
    await new Promise(resolve => socket.once('close', resolve))
  }
  await rejected('version=1.0')
  await rejected('version=1.0', { authorization: 'Bearer MARKED' })
  await rejected('version=9.0', { authorization: `Bearer ${adminToken}` })
  await rejected('version=1.0', { origin: 'https://example.com' })
  await rejected('connectionParams=1')
  const text = await scrape()
  expect(
    Object.fromEntries(
      samples(text, 'rpc_connections_refused_total').map(({ labels, value }) => [labels.reason, value]),
    ),
  ).toEqual({
    key_missing: 1,
    key_invalid: 2,
    version_unsupported: 1,
    origin_not_allowed: 1,
  })
  expect(text).not.toContain('MARKED')
  await server.close()
})

test('connections of the Agent Client Protocol are counted, with their ends and their stray messages', async () => {
  const { url, connect, scrape } = await listening()
  const operator = connect(admin)
  await operator.admin.users.create.mutate({ username: 'ada' })
  const { key } = await operator.admin.apiKeys.create.mutate({ user: 'ada' })
  const client = await TestClient.open(http1(Number(new URL(url).port)), { authorization: `Bearer ${key}` })
  await client.post({ id: 'nobody asked', result: {} })
  const text = await scrape()
  expect([
    sample(text, 'acp_connections_open', { transport: 'http' }),
    sample(text, 'acp_connections_open', { transport: 'websocket' }),
    sample(text, 'acp_responses_dropped_total', { from: 'client' }),
    sample(text, 'acp_messages_total', { to: 'agent' }),
  ]).toEqual([1, 0, 1, 1])
  await client.delete()
  const after = await scrape()
  expect([
    sample(after, 'acp_connections_open', { transport: 'http' }),
    sample(after, 'acp_connections_ended_total', { transport: 'http', reason: 'deleted' }),
  ]).toEqual([0, 1])
})
