import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { rpcError } from '../../../../shared/contract/error-reasons.js'
import type { BridgeLimits } from '../../../../shared/contract/limits.js'
import { RpcError } from '../../../../shared/rpc/errors.js'
import { eventually } from '../../../fixtures/eventually.js'
import { json, type StandInProvider, startProvider } from '../../../fixtures/provider.js'
import {
  anthropicProvider,
  type ClientRequest,
  type ClientResponse,
  openaiProvider,
  type RunningBridge,
  send,
  startBridge,
} from '../running-bridge.js'
import { type ScriptedControlPlane, scriptedControlPlane, testKey } from '../scripted-control-plane.js'

let provider: StandInProvider
let plane: ScriptedControlPlane
let bridge: RunningBridge

async function start(limits: Partial<BridgeLimits> = {}): Promise<void> {
  bridge = await startBridge(plane, { outboxFlushMs: 50, ...limits })
}

beforeEach(async () => {
  provider = await startProvider()
  plane = scriptedControlPlane([anthropicProvider(provider.url), openaiProvider(provider.url)])
})
afterEach(async () => {
  await bridge.close()
  await provider.close()
  expect(provider.unexpected).toBe(0)
  expect(bridge.log.filter(line => line.message.includes('unexpected'))).toEqual([])
})

const errorOf = ({ body }: ClientResponse): unknown => JSON.parse(body.toString())
const anthropicError = (type: string, message: unknown) => ({ type: 'error', error: { type, message } })
const count = (path: string) => plane.calls.filter(call => call === path).length

describe('a rejected request', () => {
  const cases: [string, ClientRequest, number, object][] = [
    [
      'without a key',
      { headers: {} },
      401,
      anthropicError('authentication_error', expect.stringContaining('no key was given')),
    ],
    [
      'with an empty key',
      { headers: { 'x-api-key': '', authorization: 'Basic eA==' } },
      401,
      anthropicError('authentication_error', expect.anything()),
    ],
    [
      'with an unknown key',
      { headers: { 'x-api-key': 'nonsense' } },
      401,
      anthropicError('authentication_error', 'the key is not authorized'),
    ],
    [
      'to an unknown route',
      { path: '/bridge/anthropic/v1/complete?x=1' },
      404,
      anthropicError(
        'not_found_error',
        expect.stringMatching(
          /^route not supported: POST \/bridge\/anthropic\/v1\/complete; the base URL of the provider "anthropic", of type anthropic, is http:\/\/127\.0\.0\.1:\d+\/bridge\/anthropic$/,
        ),
      ),
    ],
    [
      'with the wrong method',
      { method: 'GET' },
      404,
      anthropicError(
        'not_found_error',
        expect.stringMatching(/^route not supported: GET \/bridge\/anthropic\/v1\/messages; /),
      ),
    ],
    [
      'that leaves the mount',
      { method: 'GET', path: '/bridge/anthropic/v1/models/../../admin' },
      404,
      anthropicError('not_found_error', expect.anything()),
    ],
    [
      'that leaves the mount in escapes',
      { method: 'GET', path: '/bridge/anthropic/v1/models/x%2f%2E%2e/y' },
      404,
      anthropicError('not_found_error', expect.anything()),
    ],
    [
      'to an unknown provider',
      { path: '/bridge/nobody/v1/messages' },
      404,
      anthropicError('not_found_error', 'no provider is named "nobody"'),
    ],
    [
      "to an unknown provider, at OpenAI's path",
      { path: '/bridge/nobody/v1/chat/completions' },
      404,
      { error: { message: 'no provider is named "nobody"', type: 'invalid_request_error', param: null, code: null } },
    ],
    [
      "to OpenAI's API without a key",
      { path: '/bridge/openai/v1/responses', headers: {} },
      401,
      { error: expect.objectContaining({ type: 'invalid_request_error', code: 'invalid_api_key' }) },
    ],
    [
      "to OpenAI's API with an unknown key",
      { path: '/bridge/openai/v1/models', method: 'GET', headers: { authorization: 'Bearer nonsense' } },
      401,
      {
        error: {
          message: 'the key is not authorized',
          type: 'invalid_request_error',
          param: null,
          code: 'invalid_api_key',
        },
      },
    ],
    [
      "to a route that OpenAI's API does not have",
      { path: '/bridge/openai/v1/chat' },
      404,
      {
        error: expect.objectContaining({
          message: expect.stringMatching(/; the base URL of the provider "openai", .*\/bridge\/openai\/v1$/),
        }),
      },
    ],
    [
      "to a path that only begins like OpenAI's mount",
      { path: '/bridge/openai/v10/responses' },
      404,
      { error: expect.objectContaining({ message: expect.stringContaining('POST /bridge/openai/v10/responses') }) },
    ],
    [
      "to another API's path",
      { path: '/bridge/anthropic/v1/chat/completions' },
      404,
      anthropicError('not_found_error', expect.anything()),
    ],
    [
      'to no provider at all',
      { path: '/bridge/' },
      404,
      { error: expect.objectContaining({ message: expect.stringContaining('the base URL of a provider is') }) },
    ],
    [
      'that is not JSON',
      { body: '{"model": ' },
      400,
      anthropicError('invalid_request_error', expect.stringContaining('is not JSON')),
    ],
    [
      'that is no object',
      { body: '[1]' },
      400,
      anthropicError('invalid_request_error', expect.stringContaining('not an object')),
    ],
    ['without a body', { body: '' }, 400, anthropicError('invalid_request_error', expect.stringContaining('0 bytes'))],
  ]
  test.each(cases)('a request %s never reaches the provider', async (_, request, status, error) => {
    await start()
    const headers = { 'x-api-key': testKey }
    const response = await send(bridge, { headers, ...request })
    expect([response.status, errorOf(response)]).toEqual([status, error])
    expect(response.headers['content-type']).toBe('application/json')
    expect(provider.calls).toHaveLength(0)
    expect(plane.records).toHaveLength(0)
  })

  test('the reason of a rejected key is logged and not sent; the key is neither logged nor sent', async () => {
    await start()
    const response = await send(bridge, { headers: { 'x-api-key': `abcdefghij-${'z'.repeat(22)}` } })
    expect(response.body.toString()).not.toContain('unknown')
    expect(bridge.log).toContainEqual({
      level: 'info',
      fields: { code: 'UNAUTHORIZED', reason: 'unknown_key', apiKeyId: 'abcdefghij', address: '127.0.0.1' },
      message: 'a key was not authorized',
    })
    expect(JSON.stringify(bridge.log)).not.toContain('zzz')
  })

  test.each(['adminMARKE-and-more', 'adminMARKE', `adminMARKE-${'z'.repeat(23)}`])(
    'no part of %s, which is not a key of ours, is logged',
    async token => {
      await start()
      await send(bridge, { headers: { 'x-api-key': token } })
      expect(bridge.log.map(({ message }) => message)).toContain('a key was not authorized')
      expect(JSON.stringify(bridge.log)).not.toContain('adminMARKE')
    },
  )

  test.each([
    ['announced', { 'content-length': '1001' }],
    ['not announced', { 'transfer-encoding': 'chunked' }],
  ])('a body above the limit (%s) gets 413 with both sizes', async (_, headers) => {
    await start({ maxBodyBytes: 1_000 })
    const body = JSON.stringify('x'.repeat(999))
    const response = await send(bridge, { headers: { 'x-api-key': testKey, ...headers }, body })
    expect([response.status, errorOf(response)]).toEqual([
      413,
      anthropicError('request_too_large', expect.stringMatching(/1,001 bytes is larger than maxBodyBytes 1,000/)),
    ])
    expect(provider.calls).toHaveLength(0)
  })

  test('a WebSocket gets 426 without a listener for upgrades too, as in a daemon of its own', async () => {
    await start()
    for (const headers of [{ 'x-api-key': testKey }, { 'x-api-key': 'wrong' }]) {
      const upgrade = { ...headers, connection: 'upgrade', upgrade: 'WebSocket' }
      const response = await send(bridge, {
        method: 'GET',
        path: '/bridge/openai/v1/responses',
        headers: upgrade,
        body: '',
      })
      expect([response.status, response.headers.upgrade, errorOf(response)]).toEqual([
        426,
        'HTTP/1.1',
        { error: expect.objectContaining({ message: expect.stringContaining('WebSockets are not supported') }) },
      ])
    }
  })

  test('a body of exactly the limit is served', async () => {
    await start({ maxBodyBytes: 1_000 })
    provider.respondWith(json({ id: 'msg_1' }))
    const shell = JSON.stringify({ model: 'm', pad: '' })
    const body = JSON.stringify({ model: 'm', pad: 'x'.repeat(1_000 - shell.length) })
    expect(body.length).toBe(1_000)
    expect((await send(bridge, { body })).status).toBe(200)
  })

  test('a disabled provider gets 403 with its name', async () => {
    plane.providers = [anthropicProvider(provider.url, { enabled: false, keys: [] })]
    await start()
    const response = await send(bridge)
    expect([response.status, errorOf(response), response.headers['x-should-retry']]).toEqual([
      403,
      anthropicError('permission_error', 'the provider "anthropic" is disabled'),
      'false',
    ])
  })

  test.each(['authorizer.isAuthorized', 'providerConfigurator.getProviders'])(
    'a control plane that does not respond to %s gives 503 and Retry-After',
    async failing => {
      plane.before = path => {
        if (path === failing) throw new RpcError('TIMEOUT', 'no connection')
      }
      await start()
      const response = await send(bridge)
      expect([response.status, errorOf(response), response.headers['retry-after']]).toEqual([
        503,
        anthropicError('api_error', 'the control plane cannot be reached; try again later'),
        '1',
      ])
    },
  )

  test.each(['authorizer.isAuthorized', 'providerConfigurator.getProviders', 'recorder.recordInterception'])(
    'a connection that is closed for good at %s gives 503 and the longest Retry-After',
    async failing => {
      plane.before = path => {
        if (path !== failing) return
        throw rpcError('connection_closed', 'the connection is closed')
      }
      await start()
      const response = await send(bridge)
      expect([response.status, errorOf(response), response.headers['retry-after']]).toEqual([
        503,
        anthropicError('api_error', 'the control plane does not serve this bridge any more'),
        '60',
      ])
      expect(provider.calls).toHaveLength(0)
    },
  )

  test.each([
    ['is away', new RpcError('SERVICE_UNAVAILABLE', 'draining', { mayHaveRun: false }), '1'],
    ['rolled back', new RpcError('INTERNAL_SERVER_ERROR', 'internal server error', { mayHaveRun: false }), '1'],
    ['rejects the record', new RpcError('BAD_REQUEST', 'model: is too long'), '60'],
    ['has another record of the id', rpcError('content_differs', 'recorded before'), '60'],
  ])('an interception gives 503 and leaves nothing where the control plane %s', async (_, error, retryAfter) => {
    plane.before = path => {
      if (path === 'recorder.recordInterception') throw error
    }
    await start()
    const response = await send(bridge)
    expect([response.status, response.headers['retry-after']]).toEqual([503, retryAfter])
    await bridge.close()
    expect(provider.calls).toHaveLength(0)
    expect(plane.records).toHaveLength(0)
  })

  test('an interception whose record failed for an unknown reason is ended, as it may be stored', async () => {
    plane.before = path => {
      if (path === 'recorder.recordInterception') throw new RpcError('INTERNAL_SERVER_ERROR', 'internal server error')
    }
    await start()
    const response = await send(bridge)
    expect([response.status, response.headers['retry-after']]).toEqual([503, '1'])
    await bridge.close()
    expect(provider.calls).toHaveLength(0)
    expect(plane.records.map(({ kind }) => kind)).toEqual(['interception', 'promptUsage', 'interceptionEnded'])
  })

  test('an interception whose record got no response is ended, as it may be stored', async () => {
    let lost = false
    plane.after = path => {
      if (path !== 'recorder.recordInterception' || lost) return
      lost = true
      throw new RpcError('TIMEOUT', 'no answer', { mayHaveRun: true })
    }
    await start()
    expect((await send(bridge)).status).toBe(503)
    await eventually(() => expect(plane.stored('interceptionEnded')).toHaveLength(1))
    expect(plane.stored('interception')).toHaveLength(1)
    expect(plane.stored('promptUsage')).toHaveLength(1)
    expect(plane.stored('interceptionEnded')[0]).toMatchObject({ errorType: 'unknown' })
    expect(provider.calls).toHaveLength(0)
  })

  test('a full outbox gives 503 before any record', async () => {
    await start({ outboxMaxRecords: 0 })
    const response = await send(bridge)
    expect([response.status, response.headers['retry-after']]).toEqual([503, '1'])
    expect(plane.calls).not.toContain('recorder.recordInterception')
  })
})

describe('authorization', () => {
  test('a rejection of the daemon’s own connection rejects no user’s key', async () => {
    plane.before = path => {
      if (path !== 'authorizer.isAuthorized') return
      throw new RpcError<string>('UNAUTHORIZED', 'no such key', { reason: 'key_invalid', mayHaveRun: false })
    }
    await start()
    const response = await send(bridge)
    expect([response.status, response.headers['retry-after']]).toEqual([503, '60'])
  })

  test('a key is looked up once in the cache time, also by concurrent requests', async () => {
    await start()
    provider.respondWith(...Array.from({ length: 12 }, () => json({ id: 'msg_1' })))
    await Promise.all(Array.from({ length: 10 }, () => send(bridge)))
    await send(bridge)
    expect(count('authorizer.isAuthorized')).toBe(1)
    const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 5_000)
    await send(bridge)
    clock.mockRestore()
    expect(count('authorizer.isAuthorized')).toBe(2)
  })

  test('a rejection of a key is not cached', async () => {
    await start()
    for (let times = 0; times < 2; times++) await send(bridge, { headers: { 'x-api-key': 'nonsense' } })
    expect(count('authorizer.isAuthorized')).toBe(2)
  })

  test.each<[string, Record<string, string>, 'byok' | 'centralized', Record<string, string | undefined>]>([
    [
      'X-Api-Key',
      { 'x-api-key': testKey },
      'centralized',
      { 'x-api-key': 'sk-ant-provider-key-0123456789', authorization: undefined },
    ],
    [
      'Authorization',
      { authorization: `Bearer ${testKey}`, 'x-api-key': 'theirs' },
      'centralized',
      { 'x-api-key': 'sk-ant-provider-key-0123456789', authorization: undefined },
    ],
    [
      'X-Bridge-Token',
      { 'x-bridge-token': testKey, authorization: 'Bearer theirs', 'x-api-key': 'theirs' },
      'byok',
      { 'x-api-key': 'theirs', authorization: 'Bearer theirs' },
    ],
  ])('%s is the key, and decides which credentials the provider gets', async (_, headers, kind, expected) => {
    await start()
    provider.respondWith(json({ id: 'msg_1' }))
    expect((await send(bridge, { headers })).status).toBe(200)
    const got = (await provider.call(0)).headers
    for (const [name, value] of Object.entries(expected)) expect(got[name], name).toBe(value)
    expect(got['x-bridge-token']).toBeUndefined()
    expect(JSON.stringify(provider.calls[0]?.rawHeaders)).not.toContain(testKey)
    expect(plane.stored('interception')[0]).toMatchObject({
      credentialKind: kind,
      credentialHint: kind === 'byok' ? 't…s' : 'sk-a…6789',
    })
  })

  test('a provider without a key is called without one', async () => {
    plane.providers = [anthropicProvider(provider.url, { keys: [] })]
    await start()
    provider.respondWith(json({ id: 'msg_1' }))
    await send(bridge)
    expect(provider.calls[0]?.headers['x-api-key']).toBeUndefined()
    expect(plane.stored('interception')[0]).not.toHaveProperty('credentialHint')
  })

  test('the newest of several keys is used', async () => {
    plane.providers = [anthropicProvider(provider.url, { keys: ['old', 'new'] })]
    await start()
    provider.respondWith(json({ id: 'msg_1' }))
    await send(bridge)
    expect(provider.calls[0]?.headers['x-api-key']).toBe('new')
  })
})

describe('providers', () => {
  test('a provider that was just added serves the next request', async () => {
    plane.providers = []
    await start()
    expect((await send(bridge)).status).toBe(404)
    plane.providers = [anthropicProvider(provider.url)]
    provider.respondWith(json({ id: 'msg_1' }))
    expect((await send(bridge)).status).toBe(200)
  })

  test('a provider that was just enabled serves the next request', async () => {
    plane.providers = [anthropicProvider(provider.url, { enabled: false })]
    await start()
    expect((await send(bridge)).status).toBe(403)
    plane.providers = [anthropicProvider(provider.url)]
    provider.respondWith(json({ id: 'msg_1' }))
    expect((await send(bridge)).status).toBe(200)
  })

  test('a provider that was disabled or removed stops as soon as the change is signalled', async () => {
    await start()
    provider.respondWith(json({ id: 'msg_1' }))
    expect((await send(bridge)).status).toBe(200)
    plane.providers = [anthropicProvider(provider.url, { enabled: false })]
    plane.signal()
    expect((await send(bridge)).status).toBe(403)
    plane.providers = []
    plane.signal()
    expect((await send(bridge)).status).toBe(404)
  })

  test('a change of providers is found although the first read after its signal fails', async () => {
    await start()
    provider.respondWith(json({ id: 'msg_1' }), json({ id: 'msg_1' }))
    expect((await send(bridge)).status).toBe(200)
    let failures = 1
    plane.before = path => {
      if (path.endsWith('getProviders') && failures-- > 0) throw new RpcError('SERVICE_UNAVAILABLE', 'away')
    }
    plane.providers = []
    plane.signal()
    await eventually(() => expect(failures).toBe(0))
    expect((await send(bridge)).status).toBe(404)
  })

  test('a subscription that the control plane ends is opened again', async () => {
    let failures = 1
    plane.before = path => {
      if (path.endsWith('watchProviders') && failures-- > 0) throw new RpcError('INTERNAL_SERVER_ERROR', 'away')
    }
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    await start()
    const asked = () => plane.calls.filter(path => path.endsWith('watchProviders')).length
    await vi.advanceTimersByTimeAsync(999)
    expect(asked()).toBe(1)
    await vi.advanceTimersByTimeAsync(1)
    expect(asked()).toBe(2)
  })

  test('a provider that was disabled or removed stops when the snapshot is too old', async () => {
    await start({ providerTtlMs: 0 })
    provider.respondWith(json({ id: 'msg_1' }))
    expect((await send(bridge)).status).toBe(200)
    plane.providers = [anthropicProvider(provider.url, { enabled: false })]
    expect((await send(bridge)).status).toBe(403)
    plane.providers = []
    expect((await send(bridge)).status).toBe(404)
  })

  test('the last good snapshot of providers is kept when a read fails', async () => {
    await start({ providerTtlMs: 0 })
    provider.respondWith(json({ id: 'msg_1' }), json({ id: 'msg_1' }))
    expect((await send(bridge)).status).toBe(200)
    plane.before = path => {
      if (path === 'providerConfigurator.getProviders') throw new RpcError('SERVICE_UNAVAILABLE', 'draining')
    }
    expect((await send(bridge)).status).toBe(200)
    expect(bridge.log).toContainEqual(
      expect.objectContaining({ level: 'warn', message: 'providers could not be read' }),
    )
  })

  test('a provider with an unusable base URL is left out', async () => {
    plane.providers = [anthropicProvider('/relative'), anthropicProvider(provider.url, { name: 'good' })]
    await start()
    provider.respondWith(json({ id: 'msg_1' }))
    expect((await send(bridge)).status).toBe(404)
    expect((await send(bridge, { path: '/bridge/good/v1/messages' })).status).toBe(200)
  })

  test('the bridge is ready once its providers are loaded', async () => {
    plane.before = path => {
      if (path === 'providerConfigurator.getProviders') throw new RpcError('TIMEOUT', 'no connection')
    }
    await start()
    expect(bridge.daemon.ready()).toBe(false)
    plane.before = () => {}
    await eventually(() => expect(bridge.daemon.ready()).toBe(true))
    await bridge.daemon.close({ graceMs: 0 })
    expect(bridge.daemon.ready()).toBe(false)
  })
})
