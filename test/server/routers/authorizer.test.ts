import { v7 as uuidv7 } from 'uuid'
import { describe, expect, test } from 'vitest'
import { hashSecret } from '../../../server/services/api-key.js'
import type { Identity } from '../../../server/services/identity.js'
import { admin, daemon, deployments, oneStore, rejectionOf, startServer } from '../services/running-server.js'

describe.each(deployments)('$name', deployment => {
  const store = oneStore(deployment)
  const remote: Identity = { role: 'daemon', name: 'remote', delegate: false }

  async function withKey() {
    const running = await startServer(store(), {}, deployment)
    const operator = running.connect(admin).admin
    const user = await operator.users.create.mutate({ username: `u-${uuidv7().slice(-12)}` })
    const created = await operator.apiKeys.create.mutate({ user: user.username })
    return { ...running, operator, user, created, authorizer: running.connect(daemon).authorizer }
  }

  test('a key that was just made is authorized, by itself and delegated', async () => {
    const { authorizer, user, created } = await withKey()
    const answer = { ownerId: user.id, apiKeyId: created.id, username: user.username }
    expect(await authorizer.isAuthorized.query({ key: created.key })).toEqual(answer)
    expect(await authorizer.isAuthorized.query({ keyId: created.id })).toEqual(answer)
  })

  test('the first check that fails decides, from the last to the first', async () => {
    const { authorizer, operator, user, created } = await withKey()
    const wrong = `${created.id}-${'x'.repeat(22)}`
    const reason = async (key: string) => (await rejectionOf(authorizer.isAuthorized.query({ key }))).reason
    await operator.users.setStatus.mutate({ user: user.id, status: 'suspended' })
    expect(await reason(created.key)).toBe('inactive_user')
    await operator.users.delete.mutate({ user: user.id })
    expect(await reason(created.key)).toBe('deleted_user')
    expect(await reason(wrong)).toBe('invalid_key')
    await operator.apiKeys.expire.mutate({ id: created.id })
    expect(await reason(wrong)).toBe('expired')
    await operator.apiKeys.delete.mutate({ id: created.id })
    expect(await reason(wrong)).toBe('unknown_key')
    expect(await reason('malformed')).toBe('invalid_key')
  })

  test('a system user and a user who does not exist are rejected', async () => {
    const { authorizer } = await withKey()
    const system = { id: uuidv7(), username: `system-${uuidv7().slice(-12)}`, isSystem: true }
    await store().createUser(system)
    const secret = 's'.repeat(22)
    for (const [id, userId, reason] of [
      ['systemkey1', system.id, 'system_user'],
      ['nobodykey1', uuidv7(), 'unknown_user'],
    ] as const) {
      await store().createApiKey({ id, userId, secretHash: hashSecret(secret), expiresAt: null })
      expect(await rejectionOf(authorizer.isAuthorized.query({ key: `${id}-${secret}` }))).toMatchObject({
        code: 'UNAUTHORIZED',
        reason,
      })
    }
  })

  describe('the delegated path', () => {
    test('the delegated path is closed to a connection without the capability', async () => {
      const { connect, created } = await withKey()
      const { authorizer } = connect(remote)
      expect(await rejectionOf(authorizer.isAuthorized.query({ keyId: created.id }))).toMatchObject({
        code: 'FORBIDDEN',
        reason: 'delegation_not_allowed',
      })
      await expect(authorizer.isAuthorized.query({ key: created.key })).resolves.toMatchObject({ apiKeyId: created.id })
    })
  })

  test('both or neither is ambiguous', async () => {
    const { authorizer, created } = await withKey()
    for (const input of [{}, { key: created.key, keyId: created.id }]) {
      expect(await rejectionOf(authorizer.isAuthorized.query(input))).toMatchObject({
        code: 'BAD_REQUEST',
        reason: 'ambiguous_auth',
      })
    }
  })

  test('an API key never appears in logs or messages', async () => {
    const { authorizer, operator, created, logger } = await withKey()
    const secret = created.key.slice(11)
    const messages: string[] = []
    const reject = async (call: Promise<unknown>) => messages.push((await rejectionOf(call)).message)
    await reject(authorizer.isAuthorized.query({ key: `${created.key}x` }))
    await reject(authorizer.isAuthorized.query({ keyId: created.key }))
    await reject(authorizer.isAuthorized.query({ key: created.key, keyId: created.key }))
    await reject(operator.apiKeys.expire.mutate({ id: created.key }))
    await reject(operator.users.delete.mutate({ user: created.key }))
    await operator.apiKeys.expire.mutate({ id: created.id })
    await reject(authorizer.isAuthorized.query({ key: created.key }))
    expect(JSON.stringify(await operator.apiKeys.list.query({}))).not.toContain(secret)
    expect(messages).toHaveLength(6)
    expect(messages.join('\n')).not.toContain(secret)
    expect(logger.lines.length).toBeGreaterThan(0)
    expect(logger.text()).not.toContain(secret)
  })

  test('an admin cannot ask', async () => {
    const { connect, created } = await withKey()
    const { authorizer, providerConfigurator } = connect(admin)
    expect(await rejectionOf(authorizer.isAuthorized.query({ key: created.key }))).toMatchObject({ code: 'FORBIDDEN' })
    expect(await rejectionOf(providerConfigurator.getProviders.query())).toMatchObject({ code: 'FORBIDDEN' })
  })
})
