import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { createProviderConfigurator } from '../../../../server/services/daemon/provider-configurator.js'
import { createSecretBox, providerKeyPlace } from '../../../../server/services/secrets.js'
import type { ProviderRow } from '../../../../server/store/store.js'
import { recordingLogger } from '../running-server.js'

const secrets = createSecretBox([randomBytes(32)])
const at = new Date('2026-05-01T12:00:00Z')
const secret = 'sk-ant-MARKED-SECRET'
const noWrites = () => Promise.reject(new Error('nothing is written'))

function row(name: string, change: Partial<ProviderRow> = {}): ProviderRow {
  const sealed = secrets.seal(secret, providerKeyPlace(name, 'k1'))
  return {
    name,
    type: 'anthropic',
    enabled: true,
    baseUrl: 'https://api.anthropic.com',
    settings: null,
    keys: [{ id: 'k1', sealed, hint: 'sk-a…CRET' }],
    createdAt: at,
    updatedAt: at,
    ...change,
  }
}

function configurator(rows: ProviderRow[], ownUrl: string | undefined = 'http://127.0.0.1:4100') {
  const logger = recordingLogger()
  const service = createProviderConfigurator({
    store: { listProviders: async () => rows, onChange: () => () => {}, audited: noWrites },
    secrets,
    logger,
    ownUrl: () => ownUrl,
  })
  return { getProviders: () => service.getProviders(), logger }
}

describe('getProviders', () => {
  test('getProviders opens the keys', async () => {
    const { getProviders, logger } = configurator([row('a', { settings: { region: 'x' } })])
    expect(await getProviders()).toEqual({
      providers: [
        {
          name: 'a',
          type: 'anthropic',
          enabled: true,
          baseUrl: 'https://api.anthropic.com',
          keys: [secret],
          keyIds: ['k1'],
          revision: at.toISOString(),
          settings: { region: 'x' },
        },
      ],
    })
    expect(logger.lines).toEqual([])
  })

  test('getProviders gives neither keys nor settings of a disabled provider', async () => {
    const { getProviders } = configurator([row('a', { enabled: false, settings: { region: 'x' } })])
    const { providers } = await getProviders()
    expect(providers).toEqual([
      {
        name: 'a',
        type: 'anthropic',
        enabled: false,
        baseUrl: 'https://api.anthropic.com',
        keys: [],
        revision: at.toISOString(),
      },
    ])
  })

  test('getProviders leaves out and logs a provider whose key cannot be opened, and gives the others', async () => {
    const sealedElsewhere = row('elsewhere').keys
    const { getProviders, logger } = configurator([
      row('a'),
      row('moved', { keys: sealedElsewhere }),
      row('rubbish', { keys: [{ id: 'k1', sealed: Buffer.from('rubbish'), hint: '…' }] }),
      row('z'),
    ])
    const { providers, unreadable } = await getProviders()
    expect(providers.map(({ name }) => name)).toEqual(['a', 'z'])
    expect(unreadable).toEqual(['moved', 'rubbish'])
    expect(logger.lines.map(({ level, fields }) => [level, Reflect.get(fields, 'provider')])).toEqual([
      ['error', 'moved'],
      ['error', 'rubbish'],
    ])
    expect(logger.text()).not.toContain('MARKED')
  })

  test('puts this server before a base URL that is a path, and leaves it out until the server listens', async () => {
    const rows = [row('demo', { baseUrl: '/demo', keys: [] })]
    expect((await configurator(rows).getProviders()).providers).toMatchObject([
      { baseUrl: 'http://127.0.0.1:4100/demo', keys: [] },
    ])
    const silent = createProviderConfigurator({
      store: { listProviders: async () => rows, onChange: () => () => {}, audited: noWrites },
      secrets,
      logger: recordingLogger(),
      ownUrl: () => undefined,
    })
    expect(await silent.getProviders()).toEqual({ providers: [] })
  })
})
