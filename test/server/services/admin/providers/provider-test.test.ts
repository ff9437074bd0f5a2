import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { apiOf } from '../../../../../client/bridge/providers/apis.js'
import { sealProviderKey } from '../../../../../server/services/admin/providers/provider-keys.js'
import {
  createProviderTester,
  credentialHeaders,
} from '../../../../../server/services/admin/providers/provider-test.js'
import { baseUrlWarning, modelsUrlOf } from '../../../../../server/services/admin/providers/provider-urls.js'
import { createSecretBox } from '../../../../../server/services/secrets.js'
import type { AuditEntry, AuditedWrites, ProviderRow, Tables } from '../../../../../server/store/store.js'
import { type ProviderType, providerTypes } from '../../../../../shared/contract/provider-configurator.js'
import { createGate, hangUp, json, type Responder, raw, stall, startProvider } from '../../../../fixtures/provider.js'
import { startTlsProxy } from '../../../../fixtures/tls-proxy.js'
import { rejectionOf } from '../../running-server.js'

const secrets = createSecretBox([new Uint8Array(32).fill(7)])
const providerKey = 'sk-MARKED-SECRET-of-the-vendor-wxyz'
const hint = 'sk-M…wxyz'

/** A tester of one provider, with the entries that it adds to the audit log. */
function tester(row: Partial<ProviderRow>, options: { ownUrl?: string; providerTestTimeoutMs?: number } = {}) {
  const entries: AuditEntry[] = []
  const audited: AuditedWrites['audited'] = async (work, entryOf) => {
    const result = await work({} as Tables) // nothing is written but the entry
    const entry = entryOf(result)
    if (entry) entries.push(entry)
    return result
  }
  const provider: ProviderRow = {
    name: 'work',
    type: 'openai',
    enabled: true,
    baseUrl: 'http://127.0.0.1:1/v1',
    settings: null,
    keys: [sealProviderKey(secrets, providerKey, 'work'), sealProviderKey(secrets, 'sk-another-key', 'work')],
    createdAt: new Date(0),
    updatedAt: new Date(0),
    ...row,
  }
  const store = { listProviders: async () => [provider], audited }
  const { ownUrl, ...others } = options
  const { test: run } = createProviderTester({ store, secrets, ownUrl: () => ownUrl, ...others })
  return { entries, run: (signal?: AbortSignal) => run({ name: 'work' }, 'admin', signal) }
}

/** A provider that responds as given, closed after the test; returns its calls and its URL. */
async function responding(...responders: Responder[]) {
  const provider = await startProvider(...responders)
  onTestFinished(() => provider.close())
  return provider
}

const models = { data: [{ id: 'a' }, { id: 'b' }, { id: 'c' }] }

describe('a provider that lists its models passes', () => {
  test.each<[ProviderType, string, string, Record<string, string>]>([
    ['openai', '/v1', '/v1/models', { authorization: `Bearer ${providerKey}` }],
    ['anthropic', '', '/v1/models', { 'x-api-key': providerKey, 'anthropic-version': '2023-06-01' }],
  ])('%s, asked with the preferred key', async (type, path, asked, headers) => {
    const provider = await responding(json(models))
    const { run, entries } = tester({ type, baseUrl: provider.url + path })
    const url = provider.url + asked
    expect(await run()).toEqual({
      name: 'work',
      ok: true,
      url,
      key: hint,
      status: 200,
      models: 3,
      durationMs: expect.any(Number),
      failure: null,
      message: null,
    })
    expect(provider.calls.map(({ method, url }) => `${method} ${url}`)).toEqual([`GET ${asked}`])
    expect(provider.calls[0]?.headers).toMatchObject(headers)
    const details = { url, status: 200, models: 3, failure: null }
    expect(entries).toEqual([{ actor: 'admin', action: 'providers.test', target: 'work', details }])
  })

  test('also without a key, without models, and disabled', async () => {
    const provider = await responding(json({ data: [] }))
    const { run } = tester({ baseUrl: provider.url, keys: [], enabled: false })
    expect(await run()).toMatchObject({ ok: true, key: null, models: 0 })
    expect(provider.calls[0]?.headers.authorization).toBeUndefined()
  })

  test('at a path of the server itself', async () => {
    const provider = await responding(json(models))
    const { run } = tester({ type: 'anthropic', baseUrl: '/demo' }, { ownUrl: provider.url })
    expect(await run()).toMatchObject({ ok: true, url: `${provider.url}/demo/v1/models` })
  })
})

describe('a provider fails the test', () => {
  const large = `{"data":["${'x'.repeat(9 * 1024 * 1024)}"]}`
  const rows: [what: string, responder: Responder, expected: object][] = [
    [
      'that rejects the key',
      json({}, 401),
      { status: 401, failure: 'unauthorized', message: /rejects the key sk-M…wxyz/ },
    ],
    ['that forbids', json({}, 403), { status: 403, failure: 'unauthorized', message: /rejects the key/ }],
    ['that fails', json({}, 500), { status: 500, failure: 'status', message: /status 500/ }],
    ['that sends a page', json('<html>'), { status: 200, failure: 'not_json', message: /not JSON/ }],
    ['that sends no list', json({ models: [] }), { status: 200, failure: 'no_models', message: /without a list/ }],
    ['that sends null', json('null'), { status: 200, failure: 'no_models', message: /without a list/ }],
    ['that sends too much', json(large), { status: 200, failure: 'too_large', message: /larger than 8,388,608 bytes/ }],
    ['that hangs up', hangUp, { status: null, failure: 'broken', message: /ECONNRESET/ }],
    [
      'that stops half-way',
      raw('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{'),
      { failure: 'broken', message: /ECONNRESET/ },
    ],
    ['that speaks no HTTP', raw(`220 ${providerKey}\r\n`), { failure: 'broken', message: /HPE_/ }],
  ]
  test.each(rows)('%s', async (_what, responder, { message, ...expected }: { message?: RegExp }) => {
    const provider = await responding(responder)
    const { run, entries } = tester({ baseUrl: `${provider.url}/v1` })
    const result = await run()
    expect(result).toMatchObject({
      ok: false,
      models: null,
      message: expect.stringMatching(message ?? /./),
      ...expected,
    })
    expect(entries).toMatchObject([{ details: { failure: result.failure } }])
    expect(JSON.stringify([result, entries])).not.toContain('MARKED')
  })

  test('a provider fails the test that wants a key, where none is configured', async () => {
    const provider = await responding(json({}, 401))
    const { run } = tester({ baseUrl: `${provider.url}/v1`, keys: [] })
    expect(await run()).toMatchObject({
      failure: 'unauthorized',
      message: 'the provider wants a key, and none is configured',
    })
  })

  test.each<[ProviderType, string, string]>([
    ['openai', '', 'nothing is found there: the base URL lacks /v1'],
    ['openai', '/v1/v1', 'nothing is found there: the base URL doubles /v1'],
    ['openai', '/api/v1', 'nothing is found there: the base URL is wrong, or the provider does not list its models'],
    ['anthropic', '/v1', 'nothing is found there: the base URL doubles /v1'],
    ['openai', '/v1/responses', 'nothing is found there: the base URL ends with the path of one endpoint'],
    ['anthropic', '', 'nothing is found there: the base URL is wrong, or the provider does not list its models'],
  ])('a provider fails the test of type %s with the path %j and 404', async (type, path, message) => {
    const provider = await responding(json({}, 404))
    const { run } = tester({ type, baseUrl: provider.url + path })
    expect(await run()).toMatchObject({ status: 404, failure: 'not_found', message })
  })

  test('a provider fails the test that redirects, and the target sees no request', async () => {
    const target = await responding()
    const provider = await responding(json({}, 307, { location: `${target.url}/v1/models` }))
    const { run } = tester({ baseUrl: `${provider.url}/v1` })
    expect(await run()).toMatchObject({ status: 307, failure: 'redirect' })
    expect(target.calls).toEqual([])
  })

  test('a provider fails the test that is silent for too long, before the response or inside it', async () => {
    const provider = await responding(stall, raw('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{', 'stall'))
    const { run } = tester({ baseUrl: `${provider.url}/v1` }, { providerTestTimeoutMs: 50 })
    const late = { status: null, failure: 'timeout', message: 'no whole response within 50 ms' }
    expect([await run(), await run()]).toMatchObject([late, late])
  })

  test('where nothing listens', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo // it listens on TCP
    server.close()
    await once(server, 'close')
    const { run } = tester({ baseUrl: `http://127.0.0.1:${port}/v1` })
    const message = `nothing accepts connections at 127.0.0.1:${port} (ECONNREFUSED)`
    expect(await run()).toMatchObject({ status: null, failure: 'refused', message })
  })

  test('a provider fails the test whose name has no address', async () => {
    const { run } = tester({ baseUrl: 'http://no-such-host.invalid/v1' })
    const message = expect.stringMatching(/^the name no-such-host\.invalid has no address \((ENOTFOUND|EAI_AGAIN)\)$/)
    expect(await run()).toMatchObject({ failure: 'dns', message })
  })

  test('a provider fails the test whose certificate is signed by an unknown authority', async () => {
    const url = await startTlsProxy({ port: 1 })
    const { run } = tester({ baseUrl: `${url}/v1` })
    expect(await run()).toMatchObject({
      failure: 'tls',
      message: expect.stringMatching(/authority.*NODE_EXTRA_CA_CERTS/),
    })
  })

  test('a provider fails the test that speaks plain HTTP where TLS is expected', async () => {
    const provider = await responding()
    const { run } = tester({ baseUrl: `${provider.url.replace('http:', 'https:')}/v1` })
    expect(await run()).toMatchObject({ failure: 'tls', message: expect.stringMatching(/^no TLS connection to /) })
  })

  test('a provider fails the test whose key the server cannot open, and no request is sent', async () => {
    const provider = await responding()
    const other = createSecretBox([new Uint8Array(32).fill(8)])
    const { run } = tester({ baseUrl: provider.url, keys: [sealProviderKey(other, providerKey, 'work')] })
    expect(await run()).toMatchObject({ failure: 'key_unreadable', key: hint, status: null })
    expect(provider.calls).toEqual([])
  })
})

test('a test whose caller leaves ends, closes its connection and adds no entry', async () => {
  const gate = createGate()
  const provider = await responding(gate.open)
  const { run, entries } = tester({ baseUrl: `${provider.url}/v1` })
  const caller = new AbortController()
  const result = run(caller.signal)
  await gate.opened
  caller.abort(new Error('the caller left'))
  await expect(result).rejects.toThrow('the caller left')
  await (await provider.call(0)).closed
  expect(entries).toEqual([])
})

test('a provider of the server itself cannot be tested before the server listens', async () => {
  expect(await rejectionOf(tester({ baseUrl: '/demo' }).run())).toMatchObject({ code: 'PRECONDITION_FAILED' })
})

test.each(providerTypes)('the test of type %s authenticates and asks as the bridge does', type => {
  const api = apiOf(type)
  if (!api) throw new Error('the bridge speaks every type')
  for (const key of ['sk-key', 'sk-ant-oat01-key']) {
    const headers = api.credentialHeaders(key, [])
    const pairs = headers.flatMap((name, index) => (index % 2 === 0 ? [[name, headers[index + 1]]] : []))
    expect(credentialHeaders[type](key)).toEqual(Object.fromEntries(pairs))
  }
  const path = '/v1/models'.slice(api.mountPath.length)
  expect(modelsUrlOf(type, 'https://host/x')).toBe(`https://host/x${path}`)
  expect(api.route('GET', path)).toBe('passthrough')
})

test.each<[ProviderType, string, ReturnType<typeof baseUrlWarning>]>([
  ['anthropic', 'https://api.anthropic.com', undefined],
  ['anthropic', 'https://gateway.example/v1/account/anthropic', undefined],
  ['anthropic', 'https://api.anthropic.com/v1', 'base_url_doubles_v1'],
  ['anthropic', 'https://proxy.example/x/v1', 'base_url_doubles_v1'],
  ['anthropic', '/demo', undefined],
  ['openai', 'https://api.openai.com/v1', undefined],
  ['openai', 'https://api.openai.com', 'base_url_lacks_v1'],
  ['openai', 'https://v1.example/x', 'base_url_lacks_v1'],
  ['openai', 'https://vendor.example/v1beta/openai', undefined],
  ['openai', 'https://vendor.example/api/paas/v4', undefined],
  ['openai', 'https://api.openai.com/v1/v1', 'base_url_doubles_v1'],
  ['anthropic', 'https://api.anthropic.com/v1/messages/', 'base_url_names_endpoint'],
  ['openai', 'https://api.openai.com/v1/chat/completions', 'base_url_names_endpoint'],
  ['openai', 'https://api.openai.com/v1/responses', 'base_url_names_endpoint'],
  ['openai', 'https://proxy.example/models/v1', undefined],
])('the base URL of type %s %s: %s', (type, baseUrl, warning) => {
  expect(baseUrlWarning(type, baseUrl)).toBe(warning)
})
