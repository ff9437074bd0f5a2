import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { openPostgresStore } from '../../../../server/store/postgres/postgres.js'
import type { ProviderStore, SealedKey, Store } from '../../../../server/store/store.js'
import { eventually } from '../../../fixtures/eventually.js'
import { makeDatabase, silentLogger, stores } from '../../../fixtures/stores.js'
import { ended, interception, secondsLater } from '../records/records.js'

describe.each(stores)('providers in the store: $name', ({ open }) => {
  let store: Store
  beforeAll(async () => {
    store = await open()
  })
  afterEach(async () => {
    for (const { name } of await store.listProviders()) await store.removeProvider(name)
  })
  afterAll(() => store.close())

  test('a provider comes back as it was stored, its keys in the order given', async () => {
    const keys = [key('z', 1), key('a', 255), key('m', 0)]
    const settings = { region: 'eu', list: [1, null] }
    const row = await store.upsertProvider(provider('anthropic', { settings, keys }))
    expect(plain(row)).toEqual({
      ...provider('anthropic', { settings, keys }),
      createdAt: expect.any(Date),
      updatedAt: expect.any(Date),
    })
    expect(await store.listProviders()).toEqual([row])
  })

  test('keys are changed one by one, under a lock of their provider', async () => {
    const before = await store.upsertProvider(provider('p', { keys: [key('a')] }))
    const add = (id: string) => store.changeProviderKeys('p', keys => [...keys, key(id)])
    await Promise.all(['b', 'c', 'd'].map(add))
    const reversed = await store.changeProviderKeys('p', keys => keys.toSorted((a, b) => (a.id < b.id ? 1 : -1)))
    expect(reversed?.keys.map(({ id }) => id)).toEqual(['d', 'c', 'b', 'a'])
    expect(reversed?.updatedAt.getTime()).toBeGreaterThanOrEqual(before.updatedAt.getTime())
    const failing = store.changeProviderKeys('p', () => {
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect((await store.listProviders())[0]).toEqual(reversed)
    expect(await store.changeProviderKeys('unknown', keys => keys)).toBeNull()
  })

  test('a rejection of a key is news once for a configuration, and again if it concerns all models', async () => {
    const { updatedAt: revision } = await store.upsertProvider(provider('p', { keys: [key('a'), key('b')] }))
    const note = (change: Partial<Parameters<ProviderStore['noteKeyRejection']>[0]> = {}) =>
      store.noteKeyRejection({
        provider: 'p',
        keyId: 'a',
        revision,
        status: 403,
        model: 'm',
        reportedBy: 'd',
        ...change,
      })
    expect(await note({ revision: new Date(revision.getTime() - 1) })).toBe(false)
    expect(await note()).toBe(true)
    expect(await note({ model: 'other' })).toBe(false)
    expect(await note({ status: 401, model: null, reportedBy: 'e' })).toBe(true)
    expect(await note({ status: 401, model: null })).toBe(false)
    expect(await note({ keyId: 'unknown' })).toBe(false)
    expect(await note({ provider: 'unknown' })).toBe(false)
    expect(await store.listKeyRejections()).toEqual([
      { provider: 'p', keyId: 'a', status: 401, model: null, reportedBy: 'e', at: expect.any(Date) },
    ])
  })

  test.each<[string, (store: Store) => Promise<unknown>]>([
    ['that is changed', store => store.upsertProvider(provider('p'))],
    ['that is disabled', store => store.setProviderEnabled('p', false)],
    ['whose keys are changed', store => store.changeProviderKeys('p', keys => keys)],
    ['that is removed', store => store.removeProvider('p')],
  ])('a provider %s has no rejections of keys', async (_, change) => {
    const { updatedAt } = await store.upsertProvider(provider('p', { keys: [key('a')] }))
    const rejection = { provider: 'p', keyId: 'a', status: 401, model: null, reportedBy: 'd' }
    expect(await store.noteKeyRejection({ ...rejection, revision: updatedAt })).toBe(true)
    await eventually(() => expect(Date.now()).toBeGreaterThan(updatedAt.getTime() + 1)) // a later revision
    await change(store)
    expect(await store.listKeyRejections()).toEqual([])
  })

  test('the list is in the order of the names code points', async () => {
    for (const name of ['b', 'a-b', 'ab', 'a', '1']) await store.upsertProvider(provider(name))
    expect((await store.listProviders()).map(({ name }) => name)).toEqual(['1', 'a', 'a-b', 'ab', 'b'])
  })

  test('keys are replaced where they are given and kept where they are left out', async () => {
    const created = await store.upsertProvider(provider('p', { keys: [key('one'), key('two')] }))
    const kept = await store.upsertProvider(provider('p', { baseUrl: 'https://other.example', enabled: false }))
    expect(kept).toMatchObject({ baseUrl: 'https://other.example', enabled: false, createdAt: created.createdAt })
    expect(kept.keys.map(({ id }) => id)).toEqual(['one', 'two'])
    const replaced = await store.upsertProvider(provider('p', { keys: [key('three')] }))
    expect(replaced.keys.map(({ id }) => id)).toEqual(['three'])
    expect((await store.upsertProvider(provider('p', { keys: [] }))).keys).toEqual([])
    expect(await store.listProviders()).toHaveLength(1)
  })

  test('what is to be kept stays where the provider is there, the base URL with its type only', async () => {
    const own = { baseUrl: 'https://mine.example', enabled: false, settings: { region: 'eu' } }
    const row = await store.upsertProvider(provider('p', own))
    const keep = ['type', 'enabled', 'baseUrl', 'settings'] as const
    const given = provider('p', { type: 'openai', baseUrl: 'https://openai.example' })
    expect(await store.upsertProvider(given, keep)).toEqual({ ...row, updatedAt: expect.any(Date) })
    expect(await store.upsertProvider(provider('p'), ['enabled', 'baseUrl'])).toMatchObject({
      baseUrl: own.baseUrl,
      enabled: false,
      settings: null,
    })
    expect(await store.upsertProvider(given, ['baseUrl'])).toMatchObject({
      type: 'openai',
      baseUrl: 'https://openai.example',
      enabled: true,
    })
    expect(await store.upsertProvider(provider('new', own), keep)).toMatchObject(own)
  })

  test('concurrent writers of one provider leave the keys of one of them', async () => {
    await Promise.all(
      [1, 2, 3, 4].map(i => store.upsertProvider(provider('p', { keys: [key(`${i}a`), key(`${i}b`)] }))),
    )
    const [row] = await store.listProviders()
    const [first, second] = row?.keys ?? []
    expect([first?.id, second?.id, row?.keys.length]).toEqual([`${first?.id[0]}a`, `${first?.id[0]}b`, 2])
  })

  test('a provider can be disabled and enabled, an unknown one is null', async () => {
    const row = await store.upsertProvider(provider('p', { keys: [key('one')] }))
    expect(await store.setProviderEnabled('p', false)).toEqual({ ...row, enabled: false, updatedAt: expect.any(Date) })
    expect(await store.setProviderEnabled('p', true)).toEqual({ ...row, updatedAt: expect.any(Date) })
    expect(await store.setProviderEnabled('unknown', true)).toBeNull()
  })

  test('a removed provider is gone with its keys, once', async () => {
    await store.upsertProvider(provider('p', { keys: [key('one')] }))
    expect(await store.removeProvider('p')).toBe(true)
    expect(await store.removeProvider('p')).toBe(false)
    expect(await store.listProviders()).toEqual([])
    expect((await store.upsertProvider(provider('p'))).keys).toEqual([])
  })

  test('the last failure is the newest failed interception by start, of providers that are stored', async () => {
    for (const name of ['failing', 'working', 'unused']) await store.upsertProvider(provider(name))
    const request = (providerName: string, seconds: number) =>
      interception({ providerName, startedAt: secondsLater(seconds) })
    const [old, newest, good] = [request('failing', 1), request('failing', 2), request('failing', 3)]
    const others = [request('working', 4), request('removed', 5)]
    await store.record([old, newest, good, ...others])
    const fail = (id: string, seconds: number) => ended(id, { endedAt: secondsLater(seconds), errorType: 'timeout' })
    await store.record([fail(newest.record.id, 6), fail(old.record.id, 9), ended(good.record.id)])
    await store.record(
      others.map(({ record: { id, providerName } }) => (providerName === 'removed' ? fail(id, 9) : ended(id))),
    )
    expect(await store.listLastFailures()).toEqual(
      new Map([['failing', { interceptionId: newest.record.id, at: secondsLater(6), errorType: 'timeout' }]]),
    )
  })

  test('concurrent callers seed once, and a removed seed stays removed', async () => {
    const seeds = [provider('demo', { keys: [key('one')] }), provider('other')]
    const seeded = await Promise.all([1, 2, 3].map(() => store.seedProviders(seeds)))
    expect(seeded.filter(Boolean)).toHaveLength(1)
    expect((await store.listProviders()).map(({ name, keys }) => [name, keys.length])).toEqual([
      ['demo', 1],
      ['other', 0],
    ])
    await store.removeProvider('demo')
    expect(await store.seedProviders(seeds)).toBe(false)
    expect((await store.listProviders()).map(({ name }) => name)).toEqual(['other'])
  })

  test('a seed leaves a provider of its name as it is', async () => {
    const store = await open()
    onTestFinished(() => store.close())
    const own = await store.upsertProvider(provider('demo', { baseUrl: 'https://mine.example' }))
    expect(await store.seedProviders([provider('demo', { keys: [key('one')] })])).toBe(true)
    expect(await store.listProviders()).toEqual([own])
  })
})

test('the newest key of a server of the version before is preferred, and the preferred key is its newest', async () => {
  const database = await makeDatabase()
  const store = await openPostgresStore({ url: database.url, logger: silentLogger })
  const client = new pg.Client({ connectionString: database.url })
  onTestFinished(async () => {
    await client.end()
    await store.close()
    await database.drop()
  })
  await client.connect()
  await store.upsertProvider(provider('p'))
  await client.query(`insert into provider_keys (provider_name, position, id, sealed, hint)
    values ('p', 0, 'older', '', ''), ('p', 1, 'newest', '', '')`)
  const [before] = await store.listProviders()
  expect(before?.keys.map(({ id }) => id)).toEqual(['newest', 'older'])
  await store.changeProviderKeys('p', keys => [...keys, key('reserve')])
  const { rows } = await client.query<{ id: string }>('select id from provider_keys order by position')
  expect(rows.map(({ id }) => id)).toEqual(['reserve', 'older', 'newest'])
})

type NewProvider = Parameters<ProviderStore['upsertProvider']>[0]

function provider(name: string, fields: Partial<NewProvider> = {}): NewProvider {
  return { name, type: 'anthropic', enabled: true, baseUrl: 'https://api.anthropic.com', settings: null, ...fields }
}

function key(id: string, byte = 7): SealedKey {
  return { id, sealed: new Uint8Array([byte, 0, 255]), hint: `sk-${id}` }
}

/** Bytes as Uint8Array: which subclass of it a driver gives is its own business. */
function plain<T extends { keys: SealedKey[] }>(row: T): T {
  return { ...row, keys: row.keys.map(entry => ({ ...entry, sealed: new Uint8Array(entry.sealed) })) }
}
