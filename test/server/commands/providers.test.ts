/** `aibridge providers` against a server that listens. */
import { afterEach, expect, test, vi } from 'vitest'
import { addProvidersCommands } from '../../../server/commands/providers.js'
import type { ProviderSummary } from '../../../shared/contract/admin.js'
import { oneStore } from '../services/running-server.js'
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

test('a new provider is enabled, of type anthropic, at its base URL', async () => {
  const { json } = await commandLine(store(), addProvidersCommands)
  expect(await json<ProviderSummary>('providers', 'add', 'new')).toMatchObject({
    type: 'anthropic',
    enabled: true,
    baseUrl: 'https://api.anthropic.com',
    keys: [],
  })
})
