import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Store } from '../../../../server/store/store.js'
import { stores } from '../../../fixtures/stores.js'
import { secondsLater } from '../records/records.js'

describe.each(stores)('daemon keys in the store: $name', ({ open }) => {
  let store: Store
  beforeAll(async () => {
    store = await open()
  })
  afterAll(() => store.close())

  type NewKey = Parameters<Store['createDaemonKey']>[0]
  const fieldsOf = (fields: Partial<NewKey> = {}): NewKey => ({
    id: randomBytes(5).toString('hex'),
    secretHash: randomBytes(32),
    name: null,
    delegate: false,
    expiresAt: null,
    ...fields,
  })
  const newKey = async (fields: Partial<NewKey> = {}) => {
    const key = await store.createDaemonKey(fieldsOf(fields))
    if (!key) throw new Error('the id is taken')
    return key
  }

  test('a new key is neither revoked nor seen, and found with its hash', async () => {
    const secretHash = randomBytes(32)
    const expiresAt = secondsLater(1)
    const key = await newKey({ id: 'a1B2c3D4e5', secretHash, name: 'Zürich 1', delegate: true, expiresAt })
    expect(key).toEqual({
      id: 'a1B2c3D4e5',
      name: 'Zürich 1',
      delegate: true,
      createdAt: expect.any(Date),
      expiresAt,
      revokedAt: null,
      lastSeenAt: null,
      buildVersion: null,
    })
    const found = await store.findDaemonKey('a1B2c3D4e5')
    expect(found).toEqual({ ...key, secretHash: expect.any(Uint8Array) })
    expect(Buffer.from(found?.secretHash ?? [])).toEqual(secretHash)
  })

  test('a key has no name, no delegation and no end unless they are given', async () => {
    expect(await newKey()).toMatchObject({ name: null, delegate: false, expiresAt: null })
  })

  test('a key whose id is taken is null and changes nothing, also where the first one was revoked', async () => {
    const { id } = await newKey({ name: 'first' })
    const revoked = await store.revokeDaemonKey(id, secondsLater(0))
    expect(await store.createDaemonKey(fieldsOf({ id, name: 'second', delegate: true }))).toBeNull()
    expect(await store.findDaemonKey(id)).toMatchObject({ ...revoked })
  })

  test('ids that differ in case are different keys', async () => {
    await newKey({ id: 'caseCASE01', name: 'one' })
    await newKey({ id: 'CASEcase01', name: 'two' })
    expect(await store.findDaemonKey('caseCASE01')).toMatchObject({ name: 'one' })
  })

  test('an unknown key is null, cannot be revoked, and seeing it changes nothing', async () => {
    const before = await store.listDaemonKeys()
    expect(await store.findDaemonKey('unknown000')).toBeNull()
    expect(await store.revokeDaemonKey('unknown000', secondsLater(0))).toBeNull()
    await store.recordDaemonSeen('unknown000', { at: secondsLater(0), buildVersion: '1' })
    expect(await store.listDaemonKeys()).toEqual(before)
  })

  test('the list is newest first, then by id, without secrets, and has revoked keys too', async () => {
    // Several of one millisecond: the id decides between them.
    const keys = await Promise.all(Array.from({ length: 20 }, () => newKey()))
    const [first] = keys
    if (!first) throw new Error('there are 20')
    Object.assign(first, await store.revokeDaemonKey(first.id, secondsLater(0)))
    const ids = new Set(keys.map(({ id }) => id))
    expect((await store.listDaemonKeys()).filter(({ id }) => ids.has(id))).toEqual(
      keys.toSorted((a, b) => b.createdAt.getTime() - a.createdAt.getTime() || (a.id < b.id ? -1 : 1)),
    )
  })

  test('a key is revoked once: the first time wins, and other keys stay', async () => {
    const key = await newKey()
    const other = await newKey()
    const revoked = { ...key, revokedAt: secondsLater(10) }
    expect(await store.revokeDaemonKey(key.id, secondsLater(10))).toEqual(revoked)
    expect(await store.revokeDaemonKey(key.id, secondsLater(5))).toEqual(revoked)
    expect(await store.revokeDaemonKey(key.id, secondsLater(20))).toEqual(revoked)
    expect(await store.findDaemonKey(key.id)).toMatchObject(revoked)
    expect(await store.findDaemonKey(other.id)).toMatchObject(other)
  })

  test('the store keeps when a daemon was seen, and what the daemon said of itself', async () => {
    const key = await newKey()
    const other = await newKey()
    await store.recordDaemonSeen(key.id, { at: secondsLater(1), buildVersion: '1.2.3+abc' })
    expect(await store.findDaemonKey(key.id)).toMatchObject({
      ...key,
      lastSeenAt: secondsLater(1),
      buildVersion: '1.2.3+abc',
    })
    await store.recordDaemonSeen(key.id, { at: secondsLater(2), buildVersion: null })
    expect(await store.findDaemonKey(key.id)).toMatchObject({ lastSeenAt: secondsLater(2), buildVersion: null })
    expect(await store.findDaemonKey(other.id)).toMatchObject(other)
  })

  test('the store keeps when daemons were connected, without a step back in time', async () => {
    const [one, two, other] = [await newKey(), await newKey(), await newKey()]
    await store.recordDaemonSeen(one.id, { at: secondsLater(1), buildVersion: '1.2.3' })
    await store.recordDaemonsConnected([one.id, two.id, 'unknown000'], secondsLater(5))
    await store.recordDaemonsConnected([one.id], secondsLater(4))
    await store.recordDaemonsConnected([], secondsLater(9))
    expect(await store.findDaemonKey(one.id)).toMatchObject({ lastSeenAt: secondsLater(5), buildVersion: '1.2.3' })
    expect(await store.findDaemonKey(two.id)).toMatchObject({ lastSeenAt: secondsLater(5), buildVersion: null })
    expect(await store.findDaemonKey(other.id)).toMatchObject(other)
  })

  describe('the invalid ones of some ids', () => {
    test('the invalid ones of some ids are those that were revoked, have expired or are not stored', async () => {
      const at = secondsLater(100)
      const endless = await newKey()
      const later = await newKey({ expiresAt: new Date(at.getTime() + 1) })
      const expired = await newKey({ expiresAt: at })
      const revoked = await newKey()
      await store.revokeDaemonKey(revoked.id, secondsLater(0))
      const revokedLater = await newKey({ expiresAt: secondsLater(200) })
      await store.revokeDaemonKey(revokedLater.id, secondsLater(150))
      const ids = [endless, later, expired, revoked, revokedLater].map(({ id }) => id)
      expect((await store.findInvalidDaemonKeys([...ids, 'unknown000'], at)).toSorted()).toEqual(
        [expired.id, revoked.id, revokedLater.id, 'unknown000'].toSorted(),
      )
    })

    test('the invalid ones of some ids are none of none, and never one that was not asked for', async () => {
      const { id } = await newKey()
      await store.revokeDaemonKey(id, secondsLater(0))
      expect(await store.findInvalidDaemonKeys([], secondsLater(0))).toEqual([])
      expect(await store.findInvalidDaemonKeys(['unknown000'], secondsLater(0))).toEqual(['unknown000'])
    })

    test('the invalid ones of some ids are found among as many as may be connected', async () => {
      const { id } = await newKey()
      const unknown = Array.from({ length: 9_999 }, (_, index) => `none${String(index).padStart(6, '0')}`)
      expect(await store.findInvalidDaemonKeys([id, ...unknown], secondsLater(0))).toHaveLength(unknown.length)
    })
  })
})
