/** Providers whose base URL leads back to a bridge, also through proxies that pass only the headers they know. */
import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import type { Provider } from '../../../../shared/contract/provider-configurator.js'
import { json, startProvider } from '../../../fixtures/provider.js'
import { anthropicProvider, openaiProvider, type RunningBridge, send, startBridge } from '../running-bridge.js'
import { type ScriptedControlPlane, scriptedControlPlane, testKey, testOwner } from '../scripted-control-plane.js'

const stop: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of stop.splice(0).reverse()) await close()
})

const known = ['content-type', 'content-length', 'authorization', 'x-api-key', 'anthropic-version', 'accept']

/** A proxy that passes only the headers it knows. */
async function startProxy(): Promise<{ url: string; target: string; requests: number; passes: Set<string> }> {
  const proxy = { url: '', target: '', requests: 0, passes: new Set(known) }
  const server = createServer((request, response) => {
    proxy.requests++
    const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => proxy.passes.has(name)))
    const options = { method: request.method ?? 'GET', headers, agent: false }
    const sent = httpRequest(proxy.target + request.url, options, received => {
      response.writeHead(received.statusCode ?? 502, received.headers)
      received.pipe(response)
    })
    sent.on('error', () => response.destroy())
    request.pipe(sent)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  stop.push(async () => {
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
  })
  proxy.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}` // listening on TCP
  return proxy
}

async function start(plane: ScriptedControlPlane): Promise<RunningBridge> {
  const bridge = await startBridge(plane)
  stop.push(bridge.close)
  return bridge
}

/** A client's key, and that of the providers in a loop. */
const loopKey = `${'l'.repeat(10)}-${'p'.repeat(22)}`
/** A control plane to which every key is good. */
function planeOf(providers: Provider[] = []): ScriptedControlPlane {
  return { ...scriptedControlPlane(providers), authorizer: { isAuthorized: { query: async () => testOwner } } }
}

const headers = { 'x-api-key': testKey }
const body = JSON.stringify({ model: 'm', messages: [], input: 'x' })

const inLoop = (base: string): Provider[] => [
  anthropicProvider(`${base}/bridge/anthropic`, { keys: [loopKey] }),
  openaiProvider(`${base}/bridge/openai`, { keys: [loopKey] }),
]

test.each(['/bridge/anthropic/v1/messages', '/bridge/openai/v1/chat/completions', '/bridge/openai/v1/responses'])(
  'a loop of one bridge behind a proxy that drops its header ends at the second request: %s',
  async path => {
    const proxy = await startProxy()
    const plane = planeOf(inLoop(proxy.url))
    const bridge = await start(plane)
    proxy.target = bridge.url
    const response = await send(bridge, { path, headers, body })
    expect([response.status, response.headers['x-should-retry'], proxy.requests]).toEqual([508, 'false', 1])
    expect(JSON.parse(response.body.toString())).toMatchObject({
      error: { message: expect.stringContaining('leads back to a bridge') },
    })
    expect(plane.stored('interception')).toHaveLength(1)
    expect(plane.stored('interceptionEnded')).toHaveLength(1)
  },
)

test('two bridges of one control plane that lead to each other end at the second request', async () => {
  const [there, back] = [await startProxy(), await startProxy()]
  const plane = planeOf([
    anthropicProvider(`${there.url}/bridge/second`, { name: 'first', keys: [loopKey] }),
    anthropicProvider(`${back.url}/bridge/first`, { name: 'second', keys: [loopKey] }),
  ])
  const bridges = [await start(plane), await start(plane)] as const
  there.target = bridges[1].url
  back.target = bridges[0].url
  const response = await send(bridges[0], { path: '/bridge/first/v1/messages', headers, body })
  expect([response.status, there.requests, back.requests]).toEqual([508, 1, 0])
  expect(plane.stored('interception')).toHaveLength(1)
})

test('bridges of two control planes that lead to each other end at the second request, by the header', async () => {
  const [there, back] = [await startProxy(), await startProxy()]
  for (const proxy of [there, back]) proxy.passes.add('x-bridge-loop')
  const ours = planeOf([anthropicProvider(`${there.url}/bridge/anthropic`, { keys: [loopKey] })])
  const theirs = planeOf([anthropicProvider(`${back.url}/bridge/anthropic`, { keys: [loopKey.toUpperCase()] })])
  const bridges = [await start(ours), await start(theirs)] as const
  there.target = bridges[1].url
  back.target = bridges[0].url
  const response = await send(bridges[0], { headers, body })
  expect(response.status).toBe(508)
  expect([ours, theirs].map(plane => plane.stored('interception').length)).toEqual([1, 0])
})

test('a client whose key a provider has too may use providers that lead elsewhere', async () => {
  const provider = await startProvider(json({}))
  stop.push(provider.close)
  const [loop] = inLoop('http://127.0.0.1:9')
  const plane = planeOf([
    { ...anthropicProvider(provider.url), name: 'vendor' },
    ...(loop ? [{ ...loop, keys: [testKey] }] : []),
  ])
  const bridge = await start(plane)
  expect((await send(bridge, { path: '/bridge/vendor/v1/messages', headers, body })).status).toBe(200)
  expect((await send(bridge, { headers, body })).status).toBe(508)
})
