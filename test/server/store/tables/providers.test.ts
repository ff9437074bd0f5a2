import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { ProviderStore, SealedKey, Store } from '../../../../server/store/store.js'
import { stores } from '../../../fixtures/stores.js'
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
