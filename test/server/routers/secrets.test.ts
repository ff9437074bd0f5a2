import { describe, expect, test } from 'vitest'
import { admin, daemon, deployments, oneStore, rejectionOf, startServer } from '../services/running-server.js'

describe.each(deployments)('$name', deployment => {
  const store = oneStore(deployment)
  const [oldKey, newKey] = [7, 8].map(value => new Uint8Array(32).fill(value)) as [Uint8Array, Uint8Array]

  test('secrets.rotate leaves what opens with the new key alone, and says so in the audit log', async () => {
    const before = await startServer(store(), { encryptionKeys: [oldKey] }, deployment)
    const secret = 'sk-ant-MARKED-SECRET'
    const provider = { name: 'one', type: 'anthropic' as const, keys: [secret] }
    await before.connect(admin).admin.providers.upsert.mutate(provider)

    const both = await startServer(store(), { encryptionKeys: [newKey, oldKey] }, deployment)
    const operator = both.connect(admin).admin
    expect(await operator.secrets.rotate.mutate()).toEqual({
      rotated: 1,
      kept: 0,
      unreadable: 0,
      oldKey: 'configured',
    })
    expect(await operator.secrets.rotate.mutate()).toMatchObject({ rotated: 0, kept: 1 })
    const { entries } = await operator.audit.list.query({ action: 'secrets.rotate' })
    expect(entries).toMatchObject([{ actor: 'admin', target: 'providerKey', details: { rotated: 1 } }])

    const after = await startServer(store(), { encryptionKeys: [newKey] }, deployment)
    const { providers } = await after.connect(daemon).providerConfigurator.getProviders.query()
    expect(providers).toContainEqual(expect.objectContaining({ name: 'one', keys: [secret] }))
    for (const { logger } of [before, both, after]) expect(logger.text()).not.toContain('MARKED')
  })

  test('secrets.rotate makes a new key where the keys are of the server itself, and the server goes on with it', async () => {
    const made: string[] = []
    const rotateKeys = async () => ({
      keys: [newKey, oldKey],
      finish: async () => {
        made.push('finished')
      },
    })
    const { connect } = await startServer(store(), { encryptionKeys: [newKey, oldKey], rotateKeys }, deployment)
    const operator = connect(admin).admin
    await operator.providers.upsert.mutate({ name: 'two', type: 'anthropic', keys: ['sk-two'] })
    expect(await operator.secrets.rotate.mutate()).toMatchObject({ unreadable: 0, oldKey: 'removed' })
    expect(made).toEqual(['finished'])
    const { providers } = await connect(daemon).providerConfigurator.getProviders.query()
    expect(providers).toContainEqual(expect.objectContaining({ name: 'two', keys: ['sk-two'] }))
  })

  test('secrets.rotate seals the tokens of MCP servers anew too', async () => {
    const before = await startServer(store(), { encryptionKeys: [oldKey, newKey] }, deployment)
    const { mcpServers, externalAuthLinks, users } = before.connect(admin).admin
    await mcpServers.upsert.mutate({ id: 'wiki', url: 'https://wiki.example.com', clientSecret: 'client-secret' })
    const { id: userId } = await users.create.mutate({ username: 'linus' })
    const tokens = { accessToken: 'access-token', refreshToken: 'refresh-token' }
    await externalAuthLinks.set.mutate({ user: userId, serverId: 'wiki', ...tokens })
    const both = await startServer(store(), { encryptionKeys: [newKey, oldKey] }, deployment)
    expect(await both.connect(admin).admin.secrets.rotate.mutate()).toMatchObject({ rotated: 3, unreadable: 0 })
    const after = await startServer(store(), { encryptionKeys: [newKey] }, deployment)
    const batch = { userId, serverIds: ['wiki'] }
    expect(await after.connect(daemon).mcpConfigurator.getServerAccessTokensBatch.query(batch)).toEqual({
      accessTokens: { wiki: 'access-token' },
      errors: {},
    })
    expect(await after.connect(admin).admin.secrets.rotate.mutate()).toMatchObject({ rotated: 0, unreadable: 0 })
  })

  test('a daemon may not', async () => {
    const { connect } = await startServer(store(), { encryptionKeys: [newKey] }, deployment)
    expect(await rejectionOf(connect(daemon).admin.secrets.rotate.mutate())).toMatchObject({ code: 'FORBIDDEN' })
  })
})
