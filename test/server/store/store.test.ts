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

  test('a record that the database does not take is rejected alone: the others of its batch are stored, also by a repeat', async () => {
    const store = await open()
    const [before, after] = [interception(), interception()]
    const bad = interception({ apiKeyId: 'a\0b' })
    const rejected = { ok: false, code: 'BAD_REQUEST', message: expect.stringContaining(bad.record.id) }
    for (let attempt = 0; attempt < 2; attempt++) {
      expect(await store.record([before, bad, after])).toEqual([{ ok: true }, rejected, { ok: true }])
      expect(await store.record([bad])).toEqual([rejected])
    }
    for (const { record } of [before, after]) {
      expect(await store.getInterception(record.id)).toMatchObject({ interception: { id: record.id } })
    }
    expect(await store.getInterception(bad.record.id)).toBeNull()
    await store.close()
  })

  test('a question that the database does not take fails with INTERNAL_SERVER_ERROR, and the next one is responded to', async () => {
    const store = await open()
    await expect(store.getInterception('no id')).rejects.toMatchObject({
      code: 'INTERNAL_SERVER_ERROR',
      cause: expect.any(Error),
    })
    expect(await store.getInterception(randomUUID())).toBeNull()
    await store.close()
  })
})
