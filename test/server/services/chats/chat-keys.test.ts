/** The keys by which chats act as their owners. */
import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { createUserKeys } from '../../../../server/services/admin/user-keys.js'
import { generateApiKey, hashSecret } from '../../../../server/services/api-key.js'
import { createChatKeys, isNotAllowed } from '../../../../server/services/chats/chat-keys.js'
import { createAuthorizer } from '../../../../server/services/daemon/authorizer.js'
import { oneStore } from '../running-server.js'

const store = oneStore()

async function openKeys() {
  const user = await store().createUser({ id: randomUUID(), username: `user-${randomUUID().slice(0, 8)}` })
  if (!user) throw new Error('the name is taken')
  const authorizer = createAuthorizer({ store: store() })
  return { user, authorizer, keys: createChatKeys({ store: store(), authorizer }) }
}

const reasonOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => [isNotAllowed(error), Reflect.get(Object(error), 'reason')],
  )

describe('the keys of chats', () => {
  test('a user has one key for chats, whichever server asks first, and an audit entry says so', async () => {
    const { user, keys } = await openKeys()
    const ids = await Promise.all([keys.open(user.id), keys.open(user.id), keys.open(user.id)])
    expect(new Set(ids).size).toBe(1)
    expect(ids[0]).toMatch(/^[A-Za-z0-9]{10}$/)
    expect(await store().listApiKeys({ userId: user.id })).toMatchObject([
      { id: ids[0], name: 'chats', expiresAt: null },
    ])
    const entries = await store().listAudit({ limit: 10 })
    expect(entries.filter(({ target }) => target === ids[0])).toMatchObject([
      { actor: 'chats', action: 'apiKeys.create', details: { userId: user.id } },
    ])
  })

  test('no secret opens such a key from outside', async () => {
    const { user, authorizer, keys } = await openKeys()
    const id = await keys.open(user.id)
    for (const secret of ['A'.repeat(22), '0'.repeat(22)]) {
      const reason = await reasonOf(authorizer.isAuthorized({ key: `${id}-${secret}` }, { delegate: true }))
      expect(reason).toEqual([true, 'invalid_key'])
    }
    expect(await reasonOf(authorizer.isAuthorized({ keyId: id }, { delegate: false }))).toEqual([
      true,
      'delegation_not_allowed',
    ])
  })

  test("the own secret of such a key opens nothing where a user's key is asked", async () => {
    const { user, authorizer } = await openKeys()
    const { id, secret } = generateApiKey()
    const key = `${id}-${secret}`
    const found = await store().findOrCreateChatsKey({ id, userId: user.id, secretHash: hashSecret(secret) })
    expect(found).toMatchObject({ id })
    expect(await reasonOf(authorizer.isAuthorized({ key }, { delegate: true }))).toEqual([true, 'invalid_key'])
    const userKeys = createUserKeys({ store: store(), authorizer })
    expect(await reasonOf(userKeys.authenticate(key))).toEqual([true, 'key_invalid'])
    expect(await authorizer.isAuthorized({ keyId: id }, { delegate: true })).toMatchObject({ ownerId: user.id })
  })

  test('a revoked key stays revoked', async () => {
    const { user, keys } = await openKeys()
    await store().expireApiKey(await keys.open(user.id), new Date())
    expect(await reasonOf(keys.open(user.id))).toEqual([true, 'expired'])
  })

  test('a suspended user has no key', async () => {
    const { user, keys } = await openKeys()
    await keys.open(user.id)
    await store().setUserStatus(user.id, 'suspended')
    expect(await reasonOf(keys.open(user.id))).toEqual([true, 'inactive_user'])
  })

  test('a deleted user has no key', async () => {
    const { user, keys } = await openKeys()
    await store().deleteUser(user.id)
    expect(await reasonOf(keys.open(user.id))).toEqual([true, 'unknown_user'])
  })
})
