import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { stores } from '../../fixtures/stores.js'
import { interception } from './records/records.js'

describe.each(stores)('the store: $name', ({ open }) => {
  test('the store responds to a ping until it is closed, and fails with INTERNAL_SERVER_ERROR afterwards', async () => {
    const store = await open()
    await store.ping()
    await store.close()
    await expect(store.ping()).rejects.toMatchObject({ code: 'INTERNAL_SERVER_ERROR' })
    await expect(store.record([interception()])).rejects.toMatchObject({ code: 'INTERNAL_SERVER_ERROR' })
    await expect(store.findUser('nobody')).rejects.toMatchObject({ code: 'INTERNAL_SERVER_ERROR' })
  })

  test('closing ends open work first, and a second close gets the same promise', async () => {
    const store = await open()
    const record = interception({ correlatingToolCallId: 'call' })
    const work = [store.record([record]), store.listUsers(), store.seedProviders([]), store.ping()]
    const closing = store.close()
    expect(store.close()).toBe(closing)
    await expect(Promise.all(work)).resolves.toEqual([[{ ok: true }], [], true, undefined])
    await closing
  })

  test('a batch that the database rejects stores nothing of it', async () => {
    const store = await open()
    const good = interception()
    const bad = interception({ apiKeyId: 'a\0b' })
    await expect(store.record([good, bad])).rejects.toMatchObject({
      code: 'INTERNAL_SERVER_ERROR',
      cause: expect.any(Error),
    })
    expect(await store.getInterception(good.record.id)).toBeNull()
    await expect(store.getInterception('no id')).rejects.toMatchObject({ code: 'INTERNAL_SERVER_ERROR' })
    expect(await store.record([good])).toEqual([{ ok: true }])
    expect(await store.getInterception(randomUUID())).toBeNull()
    await store.close()
  })
})
