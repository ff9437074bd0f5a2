import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Store } from '../../../../server/store/store.js'
import { stores } from '../../../fixtures/stores.js'
import { newChat, notified, runningChat } from './new-chats.js'

const minute = 60_000
/** a lease that has ended when it begins */
const ended = -minute

describe.each(stores)('leases of chats: $name', ({ openTwo }) => {
  let store: Store
  let other: Store
  beforeAll(async () => {
    ;[store, other] = await openTwo()
  })
  afterAll(async () => {
    await store.close()
    await other.close()
  })

  test('a chat that runs or is interrupted is taken once, at the next fence; chats at rest are not', async () => {
    const resting = await newChat(store)
    const running = await runningChat(store)
    const interrupting = await runningChat(store)
    await store.changeChat(interrupting.id, chat => chat.update({ status: 'interrupting' }))
    const runner = randomUUID()
    const taken = await store.acquireChats({ runner, limit: 100, leaseMs: minute })
    const byId = new Map(taken.map(row => [row.id, row]))
    expect(byId.get(running.id)).toEqual({
      ...running,
      runner,
      fence: 1,
      version: running.version + 1,
      leaseUntil: expect.any(Date),
    })
    expect(byId.get(interrupting.id)).toMatchObject({ status: 'interrupting', runner, fence: 1 })
    expect(byId.has(resting.id)).toBe(false)
    expect(await store.acquireChats({ runner: randomUUID(), limit: 100, leaseMs: minute })).toEqual([])
  })

  test('a chat whose lease has ended goes to the next server, those without a lease first', async () => {
    const expired = await runningChat(store)
    await store.takeChat({ id: expired.id, runner: randomUUID(), leaseMs: ended })
    const fresh = await runningChat(store)
    const runner = randomUUID()
    const [first] = await store.acquireChats({ runner, limit: 1, leaseMs: minute })
    expect(first).toMatchObject({ id: fresh.id, fence: 1, runner })
    const [second] = await store.acquireChats({ runner, limit: 1, leaseMs: minute })
    expect(second).toMatchObject({ id: expired.id, fence: 2, runner })
  })

  test('two servers that acquire at once share the chats: none is taken twice', async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, async () => (await runningChat(store)).id))
    const runners = Array.from({ length: 6 }, () => randomUUID())
    const taken = await Promise.all(
      runners.map((runner, n) => (n % 2 ? store : other).acquireChats({ runner, limit: 4, leaseMs: minute })),
    )
    const rest = await store.acquireChats({ runner: randomUUID(), limit: 100, leaseMs: minute })
    const all = [...taken.flat(), ...rest]
    expect(all.map(({ id }) => id).toSorted()).toEqual(ids.toSorted())
    expect(all.every(({ fence }) => fence === 1)).toBe(true)
    expect(taken.every(rows => rows.length <= 4)).toBe(true)
  })

  test('one chat is taken whatever its lease, unless it is at rest', async () => {
    const { id } = await runningChat(store)
    await store.takeChat({ id, runner: randomUUID(), leaseMs: minute })
    const runner = randomUUID()
    expect(await store.takeChat({ id, runner, leaseMs: minute })).toMatchObject({ runner, fence: 2 })
    await store.changeChat(id, chat => chat.update({ status: 'waiting', released: true }))
    expect(await store.takeChat({ id, runner, leaseMs: minute })).toBeNull()
  })

  test('a chat that is taken for an interrupt is the one that is interrupting at this history', async () => {
    const { id, historyVersion: interruptedAt } = await runningChat(store)
    const take = (more: object = {}) =>
      store.takeChat({ id, runner: randomUUID(), leaseMs: minute, interruptedAt, ...more })
    expect(await take()).toBeNull()
    await store.changeChat(id, chat => chat.update({ status: 'interrupting' }))
    expect(await take({ interruptedAt: interruptedAt + 1 })).toBeNull()
    expect(await take()).toMatchObject({ status: 'interrupting', fence: 1 })
    await store.changeChat(id, chat => chat.update({ status: 'running', historyChanged: true }))
    const { row } = (await store.changeChat(id, chat => chat.update({ status: 'interrupting' }))) ?? {}
    expect(await take()).toBeNull()
    expect(await take({ interruptedAt: row?.historyVersion })).toMatchObject({ fence: 2 })
  })

  test('a renewal moves the lease of the own fence only, and changes no version', async () => {
    const runner = randomUUID()
    const [mine, lost, resumed] = await Promise.all([runningChat(store), runningChat(store), runningChat(store)])
    for (const { id } of [mine, lost, resumed]) await store.takeChat({ id, runner, leaseMs: minute })
    const winner = randomUUID()
    await store.takeChat({ id: lost.id, runner: winner, leaseMs: minute })
    await store.takeChat({ id: resumed.id, runner, leaseMs: minute })
    const before = await store.findChat(resumed.id)
    const chats = [mine, lost, resumed].map(({ id }) => ({ id, fence: 1 }))
    const gone = { id: randomUUID(), fence: 1 }
    const rows = await store.renewChats({ runner, chats: [...chats, gone], leaseMs: 10 * minute })
    const byId = new Map(rows.map(row => [row.id, row]))
    expect(byId.size).toBe(3)
    expect(byId.get(lost.id)).toMatchObject({ runner: winner, fence: 2 })
    expect(byId.get(resumed.id)).toEqual(before?.row)
    const renewed = byId.get(mine.id)
    expect(renewed).toMatchObject({ runner, fence: 1, version: mine.version + 1 })
    expect(Number(renewed?.leaseUntil) - Number(before?.row.leaseUntil)).toBeGreaterThan(8 * minute)
    expect(await store.renewChats({ runner, chats: [], leaseMs: minute })).toEqual([])
  })

  test('a renewal that meets acquisitions never gives a chat two owners', async () => {
    const { id } = await runningChat(store)
    const [one, two] = [randomUUID(), randomUUID()]
    for (let turn = 0; turn < 20; turn++) {
      const held = await store.takeChat({ id, runner: one, leaseMs: ended })
      const fence = held?.fence ?? expect.fail('the chat runs')
      const [renewed, acquired] = await Promise.all([
        store.renewChats({ runner: one, chats: [{ id, fence }], leaseMs: minute }),
        other.acquireChats({ runner: two, limit: 1, leaseMs: minute }),
      ])
      const now = await store.findChat(id)
      if (acquired.length > 0) expect(now?.row).toMatchObject({ runner: two, fence: fence + 1 })
      else expect(now?.row).toMatchObject({ runner: one, fence })
      // The renewal says what it has found: the own fence, or a higher one.
      expect([fence, fence + 1]).toContain(renewed[0]?.fence)
      if (acquired.length === 0) expect(renewed[0]).toMatchObject({ runner: one, fence })
    }
    await store.changeChat(id, chat => chat.update({ status: 'waiting', released: true }))
  })

  test('a released chat is free at once; a release of an older fence changes nothing', async () => {
    const { id } = await runningChat(store)
    const runner = randomUUID()
    await store.takeChat({ id, runner, leaseMs: minute })
    await store.takeChat({ id, runner, leaseMs: minute })
    await store.releaseChats({ runner, chats: [{ id, fence: 1 }] })
    expect((await store.findChat(id))?.row).toMatchObject({ runner, fence: 2 })
    await notified(other, id, () => store.releaseChats({ runner, chats: [{ id, fence: 2 }] }))
    expect((await store.findChat(id))?.row).toMatchObject({ runner: null, leaseUntil: null, fence: 2 })
    const next = randomUUID()
    expect(await other.acquireChats({ runner: next, limit: 9, leaseMs: minute })).toMatchObject([{ id, fence: 3 }])
    await store.releaseChats({ runner, chats: [] })
  })
})
