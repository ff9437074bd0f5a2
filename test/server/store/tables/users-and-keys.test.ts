import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Store } from '../../../../server/store/store.js'
import { stores } from '../../../fixtures/stores.js'
import { secondsLater } from '../records/records.js'

describe.each(stores)('users and keys in the store: $name', ({ open }) => {
  let store: Store
  beforeAll(async () => {
    store = await open()
  })
  afterAll(() => store.close())

  const uniqueName = () => `user-${randomBytes(6).toString('hex')}`
  const newUser = async (fields: { username?: string; isSystem?: boolean } = {}) => {
    const user = await store.createUser({ id: randomUUID(), username: uniqueName(), ...fields })
    if (!user) throw new Error('the name is taken')
    return user
  }
  const newKey = async (userId: string, expiresAt: Date | null = null) => {
    const id = randomBytes(5).toString('hex')
    const key = await store.createApiKey({ id, userId, secretHash: randomBytes(32), expiresAt })
    if (!key) throw new Error('the id is taken')
    return key
  }

  describe('users', () => {
    test('a new user is active, not deleted, and found by id and by name', async () => {
      const id = randomUUID()
      const username = uniqueName()
      const user = await store.createUser({ id, username })
      expect(user).toEqual({
        id,
        username,
        status: 'active',
        isSystem: false,
        createdAt: expect.any(Date),
        deletedAt: null,
      })
      expect(await store.findUser(id)).toEqual(user)
      expect(await store.findUser(id.toUpperCase())).toEqual(user)
      expect(await store.findUser(username)).toEqual(user)
    })

    test('a system user is marked as one', async () => {
      expect(await newUser({ isSystem: true })).toMatchObject({ isSystem: true })
    })

    test('an unknown user is null, by id and by name', async () => {
      expect(await store.findUser(randomUUID())).toBeNull()
      expect(await store.findUser('nobody')).toBeNull()
      expect(await store.setUserStatus(randomUUID(), 'active')).toBeNull()
      expect(await store.deleteUser(randomUUID())).toBeNull()
    })

    test('a name can be given once at a time, also to concurrent callers', async () => {
      const username = uniqueName()
      const created = await Promise.all([1, 2, 3, 4].map(() => store.createUser({ id: randomUUID(), username })))
      expect(created.filter(user => user !== null)).toHaveLength(1)
      expect(await store.createUser({ id: randomUUID(), username })).toBeNull()
    })

    test('a name that looks like the id of another user finds that one by id and this one by nothing', async () => {
      const user = await newUser()
      await newUser({ username: user.id })
      expect(await store.findUser(user.id)).toEqual(user)
    })

    test('a name that looks like an id finds its user', async () => {
      const user = await newUser({ username: randomUUID() })
      expect(await store.findUser(user.username)).toEqual(user)
    })

    test('names are found by ids, of deleted users too, and of none without ids', async () => {
      const [one, two] = [await newUser(), await newUser()]
      await store.deleteUser(two.id)
      const names = await store.findUsernames([one.id, two.id, randomUUID()])
      expect(names).toEqual(new Map([one, two].map(({ id, username }) => [id, username])))
      expect(await store.findUsernames([])).toEqual(new Map())
    })

    test('a status can be set back and forth', async () => {
      const user = await newUser()
      expect(await store.setUserStatus(user.id, 'suspended')).toEqual({ ...user, status: 'suspended' })
      expect(await store.findUser(user.id)).toEqual({ ...user, status: 'suspended' })
      expect(await store.setUserStatus(user.id, 'active')).toEqual(user)
    })

    test('a deleted user is found by id only, keeps its first time of deletion, and its name is free', async () => {
      const user = await newUser()
      const deleted = await store.deleteUser(user.id)
      expect(deleted).toEqual({ ...user, deletedAt: expect.any(Date) })
      expect(await store.deleteUser(user.id)).toEqual(deleted)
      expect(await store.findUser(user.id)).toEqual(deleted)
      expect(await store.findUser(user.username)).toBeNull()
      const successor = await newUser({ username: user.username })
      expect(await store.findUser(user.username)).toEqual(successor)
    })

    test('the list has deleted users too, by name in the order of code points and then by creation', async () => {
      const prefix = uniqueName()
      for (const suffix of ['b', 'B', 'a', '-a', '_', 'a.a']) await newUser({ username: `${prefix}${suffix}` })
      const first = await newUser({ username: prefix })
      await store.deleteUser(first.id)
      const second = await newUser({ username: prefix })
      const listed = (await store.listUsers()).filter(({ username }) => username.startsWith(prefix))
      expect(listed.map(({ username }) => username.slice(prefix.length))).toEqual([
        '',
        '',
        '-a',
        'B',
        '_',
        'a',
        'a.a',
        'b',
      ])
      const twice = listed.slice(0, 2)
      expect(twice.map(({ id }) => id).sort()).toEqual([first.id, second.id].sort())
      expect(twice[0]?.createdAt.getTime()).toBeLessThanOrEqual(twice[1]?.createdAt.getTime() ?? 0)
    })
  })

  test('users are found by the last 12 digits of their id, sorted and up to a limit', async () => {
    const end = randomUUID().slice(-12)
    const ids = Array.from({ length: 4 }, () => `${randomUUID().slice(0, -12)}${end}`).sort()
    for (const id of ids) await store.createUser({ id, username: uniqueName() })
    const find = (shortId: string, limit = 10) => store.findByShortId({ place: 'users', shortId, limit })
    expect(await find(end)).toEqual(ids)
    expect(await find(end, 3)).toEqual(ids.slice(0, 3))
    expect(await find(randomUUID().slice(-12))).toEqual([])
  })

  describe('API keys', () => {
    test('a key is found with its hash, its expiry and its owner', async () => {
      const user = await newUser()
      const secretHash = randomBytes(32)
      const key = await store.createApiKey({
        id: 'a1B2c3D4e5',
        userId: user.id,
        name: 'laptop',
        secretHash,
        expiresAt: secondsLater(1),
      })
      const { username } = user
      expect(key).toEqual({
        id: 'a1B2c3D4e5',
        userId: user.id,
        username,
        name: 'laptop',
        createdAt: expect.any(Date),
        expiresAt: secondsLater(1),
        lastUsedAt: null,
      })
      const found = await store.findApiKey('a1B2c3D4e5')
      expect(found).toEqual({
        id: 'a1B2c3D4e5',
        kind: 'user',
        secretHash: expect.any(Uint8Array),
        expiresAt: secondsLater(1),
        lastUsedAt: null,
        owner: user,
      })
      expect(Buffer.from(found?.secretHash ?? [])).toEqual(secretHash)
    })

    test('the last use is a time that only goes on, and other keys keep theirs', async () => {
      const { id: userId } = await newUser()
      const [one, two, other] = [await newKey(userId), await newKey(userId), await newKey(userId)]
      await store.recordKeysUsed([one.id, two.id, 'unknown000'], secondsLater(5))
      await store.recordKeysUsed([one.id], secondsLater(4))
      await store.recordKeysUsed([two.id], secondsLater(6))
      await store.recordKeysUsed([], secondsLater(9))
      const used = await store.listApiKeys({ userId })
      expect(new Map(used.map(({ id, lastUsedAt }) => [id, lastUsedAt]))).toEqual(
        new Map([
          [one.id, secondsLater(5)],
          [two.id, secondsLater(6)],
          [other.id, null],
        ]),
      )
      expect(await store.findApiKey(one.id)).toMatchObject({ lastUsedAt: secondsLater(5) })
    })

    test('the last use of many keys is one statement', async () => {
      const { id } = await newKey(randomUUID())
      const unknown = Array.from({ length: 9_999 }, (_, index) => `none${String(index).padStart(6, '0')}`)
      await store.recordKeysUsed([...unknown, id], secondsLater(1))
      expect(await store.findApiKey(id)).toMatchObject({ lastUsedAt: secondsLater(1) })
    })

    test('a key whose id is taken is null and changes nothing', async () => {
      const key = await newKey(randomUUID())
      expect(
        await store.createApiKey({ id: key.id, userId: randomUUID(), secretHash: randomBytes(32), expiresAt: null }),
      ).toBeNull()
      expect(await store.listApiKeys({ userId: key.userId })).toEqual([key])
    })

    test('ids that differ in case are different keys', async () => {
      const userId = randomUUID()
      for (const id of ['caseCASE01', 'CASEcase01']) {
        expect(await store.createApiKey({ id, userId, secretHash: randomBytes(32), expiresAt: null })).toMatchObject({
          id,
        })
      }
    })

    test('an unknown key is null', async () => {
      expect(await store.findApiKey('unknown000')).toBeNull()
      expect(await store.expireApiKey('unknown000', secondsLater(0))).toBeNull()
      expect(await store.deleteApiKey('unknown000')).toBe(false)
    })

    test('a key may outlive its user', async () => {
      const key = await newKey(randomUUID())
      expect(key.username).toBeNull()
      expect(await store.findApiKey(key.id)).toMatchObject({ id: key.id, owner: null })
    })

    test('the owner of a key is shown as suspended and as deleted', async () => {
      const user = await newUser()
      const key = await newKey(user.id)
      await store.setUserStatus(user.id, 'suspended')
      const deleted = await store.deleteUser(user.id)
      expect((await store.findApiKey(key.id))?.owner).toEqual({ ...deleted, status: 'suspended' })
    })

    test('the list is in the order of creation, then of ids, and of one user where one is asked for', async () => {
      const userId = randomUUID()
      const keys = [await newKey(userId), await newKey(userId), await newKey(userId)]
      await newKey(randomUUID())
      const byCreation = keys.toSorted(
        (a, b) => a.createdAt.getTime() - b.createdAt.getTime() || (a.id < b.id ? -1 : 1),
      )
      expect(await store.listApiKeys({ userId })).toEqual(byCreation)
      expect((await store.listApiKeys({})).filter(key => key.userId === userId)).toEqual(byCreation)
    })

    test('an expiry can be set and brought forward, never put back', async () => {
      const key = await newKey(randomUUID())
      expect(await store.expireApiKey(key.id, secondsLater(10))).toEqual({ ...key, expiresAt: secondsLater(10) })
      expect(await store.expireApiKey(key.id, secondsLater(20))).toEqual({ ...key, expiresAt: secondsLater(10) })
      expect(await store.expireApiKey(key.id, secondsLater(5))).toEqual({ ...key, expiresAt: secondsLater(5) })
      expect((await store.findApiKey(key.id))?.expiresAt).toEqual(secondsLater(5))
    })

    test('a deleted key is gone, once', async () => {
      const key = await newKey(randomUUID())
      expect(await store.deleteApiKey(key.id)).toBe(true)
      expect(await store.deleteApiKey(key.id)).toBe(false)
      expect(await store.findApiKey(key.id)).toBeNull()
    })
  })
})
