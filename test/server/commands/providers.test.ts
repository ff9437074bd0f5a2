/** `aibridge providers` against a server that listens. */
import { afterEach, expect, test, vi } from 'vitest'
import { addProvidersCommands, warningText } from '../../../server/commands/providers.js'
import type { ProviderSummary, ProviderTest } from '../../../shared/contract/admin/providers.js'
import { shortIdOf } from '../../../shared/values/short-id.js'
import { daemon, oneStore } from '../services/running-server.js'
import { ended, interception, secondsLater } from '../store/records/records.js'
import { commandLine } from './command-line.js'

const store = oneStore()

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

test('adding a provider that is there replaces its key, and leaves it disabled at its base URL', async () => {
  const { json, print } = await commandLine(store(), addProvidersCommands)
  vi.stubEnv('OLD_KEY', 'sk-old-key-of-the-vendor-0123456789')
  vi.stubEnv('NEW_KEY', 'sk-new-key-of-the-vendor-9876543210')
  const add = ['providers', 'add', 'work', '--key-env']
  const place = ['--type', 'openai', '--base-url', 'https://proxy.example/v1']
  expect(await json<ProviderSummary>(...add, 'OLD_KEY', ...place, '--disabled')).toMatchObject({ enabled: false })
  expect(await json<ProviderSummary>(...add, 'NEW_KEY')).toMatchObject({
    type: 'openai',
    enabled: false,
    baseUrl: 'https://proxy.example/v1',
    keys: ['sk-n…3210'],
  })
  expect(await print(...add, 'NEW_KEY')).toMatch(/^clients use +\/bridge\/work\/v1, /m)
  expect(await print('providers', 'enable', 'work')).toBe('enabled provider work\n')
  expect(await json<ProviderSummary>(...add, 'NEW_KEY')).toMatchObject({ enabled: true })
  expect(await json<ProviderSummary>(...add, 'NEW_KEY', '--disabled')).toMatchObject({ enabled: false })
})

test('keys are added, ordered and removed one by one, by their short ids', async () => {
  const { json, print, admin } = await commandLine(store(), addProvidersCommands)
  vi.stubEnv('ONE', 'sk-one-key-of-the-vendor-0123456789')
  vi.stubEnv('TWO', 'sk-two-key-of-the-vendor-0123456789')
  const hints = ['sk-o…6789', 'sk-t…6789', 'sk-r…6789', 'sk-p…6789']
  await json('providers', 'add', 'many', '--key-env', 'ONE', '--key-env', 'TWO')
  const keys = (...words: string[]) => json<ProviderSummary>('providers', 'keys', ...words)
  expect((await keys('add', 'many', '--key', 'sk-reserve-of-the-vendor-0123456789')).keys).toEqual(hints.slice(0, 3))
  const { keyDetails } = await keys('add', 'many', '--preferred', '--key', 'sk-preferred-of-the-vendor-0123456789')
  expect(keyDetails.map(({ hint }) => hint)).toEqual([hints[3], ...hints.slice(0, 3)])
  const idOf = (hint: string | undefined) => shortIdOf(keyDetails.find(key => key.hint === hint)?.id ?? '')
  expect((await keys('order', 'many', idOf(hints[1]), idOf(hints[0]))).keys).toEqual([
    hints[1],
    hints[0],
    hints[3],
    hints[2],
  ])
  expect((await keys('remove', 'many', idOf(hints[3]), idOf(hints[1]))).keys).toEqual([hints[0], hints[2]])
  await expect(keys('remove', 'many', idOf(hints[0]), idOf(hints[3]))).rejects.toThrow('no provider key has the id')
  await expect(keys('add', 'many')).rejects.toThrow('give --key or --key-env')
  await expect(keys('list', 'nobody')).rejects.toThrow('no provider has the name "nobody"')
  expect(await print('providers', 'keys', 'list', 'many')).toMatch(
    /^ID +KEY +REJECTED +REPORTED BY\n[0-9a-f]{12} +sk-o…6789.*\n[0-9a-f]{12} +sk-r…6789/,
  )
  const { entries } = await admin.audit.list.query({ target: 'many' })
  expect(entries.map(({ action, details }) => [action, details?.keys])).toEqual([
    ['providers.keys.remove', [hints[0], hints[2]]],
    ['providers.keys.order', [hints[1], hints[0], hints[3], hints[2]]],
    ['providers.keys.add', [hints[3], hints[0], hints[1], hints[2]]],
    ['providers.keys.add', hints.slice(0, 3)],
    ['providers.upsert', hints.slice(0, 2)],
  ])
})

test('a provider has a bounded number of keys', async () => {
  const { admin } = await commandLine(store(), addProvidersCommands)
  const keys = Array.from({ length: 32 }, (_, index) => `key-${index}`)
  await admin.providers.upsert.mutate({ name: 'full', keys })
  await expect(admin.providers.keys.add.mutate({ name: 'full', keys: ['one-more'] })).rejects.toThrow(
    'provider full would have 33 keys, and may have 32',
  )
})

test('lists show the last rejection of a key, until the provider is changed', async () => {
  const { admin, print, connect } = await commandLine(store(), addProvidersCommands)
  const keys = ['sk-one-key-of-the-vendor-0123456789', 'sk-two-key-of-the-vendor-0123456789']
  const { keyDetails, updatedAt } = await admin.providers.upsert.mutate({ name: 'sick', keys })
  const report = (index: number, status: 401 | 403, model?: string) =>
    connect(daemon).providerConfigurator.reportKey.mutate({
      provider: 'sick',
      keyId: keyDetails[index]?.id ?? '',
      revision: updatedAt.toISOString(),
      status,
      ...(model && { model }),
    })
  await report(0, 401, 'm')
  await report(0, 401, 'm')
  await report(1, 403, 'opus')
  expect(await print('providers', 'keys', 'list', 'sick')).toMatch(
    /sk-o…6789 +401, 0 min ago +embedded\n.* sk-t…6789 +403 for opus, 0 min ago +embedded\n/,
  )
  expect(await print('providers', 'list')).toContain(
    'sk-o…6789 (rejected: 401, 0 min ago), sk-t…6789 (rejected: 403 for opus, 0 min ago)',
  )
  const { entries } = await admin.audit.list.query({ action: 'providers.keyRejected' })
  expect(entries.map(({ actor, target, details }) => [actor, target, details])).toEqual([
    ['embedded', 'sick', { keyId: keyDetails[1]?.id, status: 403, model: 'opus' }],
    ['embedded', 'sick', { keyId: keyDetails[0]?.id, status: 401, model: null }],
  ])
  const changed = await admin.providers.setEnabled.mutate({ name: 'sick', enabled: true })
  expect(changed.keyDetails.map(({ rejection }) => rejection)).toEqual([null, null])
  await report(0, 401) // of the configuration before
  expect((await admin.audit.list.query({ action: 'providers.keyRejected' })).entries).toHaveLength(2)
})

test('fallback URLs and the limit of parallel requests are set and set back, and do not move to another type', async () => {
  const { both, json, print } = await commandLine(store(), addProvidersCommands)
  const add = (...words: string[]) => json<ProviderSummary>('providers', 'add', 'spare', ...words)
  const [one, two] = ['https://one.example', 'https://two.example']
  expect((await add('--fallback-url', one, '--fallback-url', two)).settings.fallbackUrls).toEqual([one, two])
  expect(await print('providers', 'add', 'spare', '--max-parallel-requests', '8')).toMatch(
    /^fallback URLs +https:\/\/one.example, https:\/\/two.example\n[\s\S]*^limits +parallel requests of at most 8 in a daemon$/m,
  )
  await expect(add('--type', 'openai')).rejects.toThrow('fallback URLs')
  await expect(add('--fallback-url', 'https://user:secret@one.example')).rejects.toThrow('credentials')
  const { stderr } = await both('providers', 'add', 'spare', '--fallback-url', `${one}/v1`)
  expect(stderr).toContain('a fallback URL has another path than base URLs of type anthropic have')
  expect((await add('--fallback-url', 'none', '--max-parallel-requests', 'default')).settings).toMatchObject({
    fallbackUrls: null,
    maxParallelRequests: null,
    modelsWithoutTools: null,
  })
})

test('models without tools are set, set to none and set back to the default', async () => {
  const { json } = await commandLine(store(), addProvidersCommands)
  const add = async (...words: string[]) => {
    const { settings } = await json<ProviderSummary>('providers', 'add', 'plain', ...words)
    return settings.modelsWithoutTools
  }
  expect(await add('--no-tools-for', 'tiny-*', '--no-tools-for', 'other')).toEqual(['tiny-*', 'other'])
  expect(await add('--base-url', 'https://one.example')).toEqual(['tiny-*', 'other'])
  expect(await add('--no-tools-for', 'none')).toEqual([])
  expect(await add('--no-tools-for', 'default')).toBeNull()
})

test('limits of a provider take the place of the limits of the server, one by one, until they are set back', async () => {
  const { json, print } = await commandLine(store(), addProvidersCommands)
  const add = (...words: string[]) => json<ProviderSummary>('providers', 'add', 'slow', ...words)
  const unset = {
    firstByteTimeoutMs: null,
    idleTimeoutMs: null,
    maxBodyBytes: null,
    includeUsage: null,
    fallbackUrls: null,
    maxParallelRequests: null,
    modelsWithoutTools: null,
    priceList: null,
  }
  expect((await add()).settings).toEqual(unset)
  expect((await add('--first-byte-timeout-ms', '0', '--max-body-bytes', '50000000')).settings).toEqual({
    ...unset,
    firstByteTimeoutMs: 0,
    maxBodyBytes: 50_000_000,
  })
  expect(await print('providers', 'add', 'slow', '--idle-timeout-ms', '900000')).toMatch(
    /^limits +first byte within any time, silence of at most 900,000 ms, bodies of at most 50,000,000 bytes$/m,
  )
  const back = ['--first-byte-timeout-ms', 'default', '--idle-timeout-ms', 'default', '--max-body-bytes', 'default']
  expect((await add(...back)).settings).toEqual(unset)
  await expect(add('--max-body-bytes', '0')).rejects.toThrow()
})

test('adding a provider warns on stderr of a missing key and of a base URL that lacks or doubles /v1', async () => {
  const { both, json } = await commandLine(store(), addProvidersCommands)
  vi.stubEnv('KEY', 'sk-key-of-the-vendor-0123456789')
  const add = (name: string, ...words: string[]) => both('providers', 'add', name, ...words)
  const whole = await add('whole', '--type', 'openai', '--key-env', 'KEY')
  expect(whole).toEqual({ stdout: expect.stringMatching(/^provider +whole\n/), stderr: '' })
  const lacking = await add('lacking', '--type', 'openai', '--base-url', 'https://api.openai.com')
  expect(lacking.stderr).toMatch(
    /^warning: provider lacking has no key, .* providers add lacking --key-env VARIABLE\nwarning: the base URL https:\/\/api\.openai\.com lacks \/v1, .* would reach https:\/\/api\.openai\.com\/models\n$/,
  )
  const doubling = await add('doubling', '--base-url', 'https://api.anthropic.com/v1', '--key-env', 'KEY')
  expect(doubling.stderr).toMatch(
    /^warning: .* doubles \/v1, .* would reach https:\/\/api\.anthropic\.com\/v1\/v1\/models\n$/,
  )
  const list = await json<ProviderSummary[]>('providers', 'list')
  expect(list.map(({ name, warnings }) => [name, ...warnings])).toEqual(
    expect.arrayContaining([
      ['demo'],
      ['doubling', 'base_url_doubles_v1'],
      ['lacking', 'no_key', 'base_url_lacks_v1'],
      ['whole'],
    ]),
  )
})

test('a warning that only a newer server knows is shown as it is', () => {
  const provider = { name: 'new', type: 'openai', baseUrl: 'https://x.example/v1' } as ProviderSummary // the fields in use
  expect(warningText('base_url_is_a_poem', provider, '/v1')).toBe('base_url_is_a_poem')
  expect(warningText('no_key', provider, '/v1')).toMatch(/^provider new has no key/)
})

test('testing a provider says what the server saw, and fails with the cause', async () => {
  const { both, json, print } = await commandLine(store(), addProvidersCommands)
  expect(await print('providers', 'test', 'demo')).toMatch(
    /^provider +demo\nasked +http:\/\/127\.0\.0\.1:\d+\/demo\/v1\/models\nkey +none\nstatus +200\nmodels +1\ntook +\d+ ms\n$/,
  )
  expect(await json<ProviderTest>('providers', 'test', 'demo')).toMatchObject({ ok: true, models: 1, failure: null })
  await both('providers', 'add', 'away', '--base-url', 'http://127.0.0.1:1')
  await expect(print('providers', 'test', 'away')).rejects.toMatchObject({
    code: 'PRECONDITION_FAILED',
    reason: 'provider_failed',
    message: 'provider away: nothing accepts connections at 127.0.0.1:1 (ECONNREFUSED)',
  })
  await expect(print('providers', 'test', 'none')).rejects.toMatchObject({ reason: 'unknown_row' })
})

test('the list shows when and how the last request to a provider failed', async () => {
  const { json, print } = await commandLine(store(), addProvidersCommands)
  const request = (providerName: string, startedAt: Date) => interception({ providerName, startedAt })
  const [older, newer] = [request('demo', secondsLater(0)), request('demo', secondsLater(5))]
  const end = (id: string, endedAt: Date, errorType?: 'timeout' | 'rate_limited') =>
    ended(id, { endedAt, ...(errorType && { errorType }) })
  await store().record([older, end(older.record.id, secondsLater(9), 'timeout')])
  await store().record([newer, end(newer.record.id, secondsLater(7), 'rate_limited')])
  const good = request('demo', secondsLater(8))
  await store().record([good, end(good.record.id, secondsLater(9))])
  expect(await print('providers', 'list')).toMatch(/^demo .* +2026-03-04T05:06:14\.089Z rate_limited$/m)
  const list = await json<ProviderSummary[]>('providers', 'list')
  expect(list.find(({ name }) => name === 'demo')?.lastFailure).toEqual({
    interceptionId: newer.record.id,
    at: secondsLater(7).toJSON(),
    errorType: 'rate_limited',
  })
})

test('a new provider is enabled, of type anthropic, at its base URL', async () => {
  const { json } = await commandLine(store(), addProvidersCommands)
  expect(await json<ProviderSummary>('providers', 'add', 'new')).toMatchObject({
    type: 'anthropic',
    enabled: true,
    baseUrl: 'https://api.anthropic.com',
    keys: [],
  })
})
