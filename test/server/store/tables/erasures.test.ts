import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { DaemonOutbox, Store } from '../../../../server/store/store.js'
import { eventually } from '../../../fixtures/eventually.js'
import { stores } from '../../../fixtures/stores.js'
import { interception, secondsLater } from '../records/records.js'

describe.each(stores)('erasures that reach outboxes: $name', ({ open, openTwo }) => {
  let store: Store
  beforeAll(async () => {
    store = await open()
  })
  afterAll(() => store.close())

  const newOutbox = (daemonKeyId: string | null = null): DaemonOutbox => ({ outboxId: randomUUID(), daemonKeyId })
  const newKey = async (name: string | null = null) => {
    const id = randomUUID().slice(-10)
    const secretHash = new Uint8Array(32)
    await store.createDaemonKey({ id, name, delegate: false, expiresAt: null, secretHash })
    return id
  }
  async function watched(outbox: DaemonOutbox, second: number, isDurable = true): Promise<string> {
    const watch = randomUUID()
    await store.recordOutboxWatched({ ...outbox, isDurable }, { watch, at: secondsLater(second) })
    return watch
  }
  const begin = (userId: string, second = 0) =>
    store.beginErasure({ erasureId: randomUUID(), userId, at: secondsLater(second) })
  /** Only what this test has made: the store is shared. */
  const openOf = async ({ outboxId }: DaemonOutbox, userIds: string[]) => {
    const erasures = await store.listErasures({ outboxId, limit: 1_000 })
    return erasures.filter(({ userId }) => userIds.includes(userId)).map(({ erasureId }) => erasureId)
  }
  const confirm = (outbox: DaemonOutbox, ids: string[], areRecordsErased?: boolean) =>
    store.confirmErasures(outbox, {
      erasures: ids.map(erasureId => ({ erasureId, records: 3 })),
      ...(areRecordsErased !== undefined && { areRecordsErased }),
    })
  const horizon = (second: number) => ({
    seenSince: secondsLater(second),
    memorySeenSince: secondsLater(second + 10),
    connectedSince: secondsLater(second + 20),
  })

  test('an outbox is given the erasures that it has not confirmed, the oldest first, whenever it came', async () => {
    const users = [randomUUID(), randomUUID(), randomUUID()]
    const [early, late] = [newOutbox(), newOutbox()]
    await watched(early, 0)
    const ids: string[] = []
    for (const [index, user] of users.entries()) ids.unshift(await begin(user, 10 - index))
    await watched(late, 20)
    for (const outbox of [early, late]) expect(await openOf(outbox, users)).toEqual(ids)
    expect(await confirm(early, [ids[1] ?? ''])).toEqual([])
    expect(await openOf(early, users)).toEqual([ids[0], ids[2]])
    expect(await openOf(late, users)).toEqual(ids)
    expect(await store.listErasures({ outboxId: early.outboxId, limit: 1 })).toHaveLength(1)
  })

  test('an unfinished erasure of a user goes on, and a finished one is followed by another', async () => {
    const [user, outbox] = [randomUUID(), newOutbox()]
    await watched(outbox, 0)
    expect(await store.findErasure(user)).toBeNull()
    const first = await begin(user)
    expect(await begin(user, 1)).toBe(first)
    await confirm(outbox, [first])
    await store.eraseUser(user)
    expect(await store.findErasure(user)).toBe(first)
    const second = await begin(user, 2)
    expect(second).not.toBe(first)
    expect(await openOf(outbox, [user])).toEqual([second])
    expect(await store.findErasure(user)).toBe(second)
  })

  test('an erasure whose purge is finished is confirmed only after the records of its user were erased again', async () => {
    const [user, other] = [randomUUID(), randomUUID()]
    const outbox = newOutbox()
    await watched(outbox, 0)
    const [finished, open] = [await begin(user), await begin(other)]
    await store.eraseUser(user)
    expect(await confirm(outbox, [finished, open])).toEqual([{ erasureId: finished, userId: user }])
    expect(await openOf(outbox, [user, other])).toEqual([finished])
    for (let turn = 0; turn < 2; turn++) expect(await confirm(outbox, [finished], true)).toEqual([])
    expect(await openOf(outbox, [user, other])).toEqual([])
  })

  test('an erasure is unfinished while an interception of its user is stored', async () => {
    const [user, outbox] = [randomUUID(), newOutbox()]
    await watched(outbox, 0)
    const erasure = await begin(user)
    await store.record([interception({ initiatorId: user })])
    expect(await store.eraseUser(user)).toBeNull()
    expect(await confirm(outbox, [erasure])).toEqual([])
  })

  test('only a daemon with the key of an outbox confirms for it, and erasures that are not stored are left out', async () => {
    const user = randomUUID()
    const outbox = newOutbox('key-of-it')
    const erasure = await begin(user)
    expect(await confirm(outbox, [erasure])).toBeNull()
    await watched(outbox, 0)
    for (const daemonKeyId of [null, 'other-key']) {
      expect(await confirm({ ...outbox, daemonKeyId }, [erasure])).toBeNull()
    }
    expect(await openOf(outbox, [user])).toEqual([erasure])
    expect(await confirm(outbox, [randomUUID(), erasure])).toEqual([])
    expect(await openOf(outbox, [user])).toEqual([])
  })

  test('the state of an erasure counts outboxes that have confirmed, and names the daemons of the others', async () => {
    const [paris, rome] = [await newKey('paris'), await newKey('rome')]
    const [first, second, embedded] = [newOutbox(paris), newOutbox(rome), newOutbox()]
    const base = 1_000_000
    await watched(first, base + 30)
    await watched(second, base + 5)
    const watch = await watched(embedded, base + 30)
    await store.recordOutboxLeft(embedded.outboxId, { watch, at: secondsLater(base + 40) })
    const erasure = await begin(randomUUID(), base)
    const read = () => store.readErasure(erasure, horizon(base))
    const unreached = [
      { daemonKeyId: null, name: null, lastSeenAt: secondsLater(base + 40), isConnected: false },
      { daemonKeyId: paris, name: 'paris', lastSeenAt: secondsLater(base + 30), isConnected: true },
      // Its server died: nobody noted the end.
      { daemonKeyId: rome, name: 'rome', lastSeenAt: secondsLater(base + 5), isConnected: false },
    ]
    expect(await read()).toEqual({ confirmed: 0, records: 0, unreached })
    await confirm(first, [erasure])
    await confirm(embedded, [erasure])
    expect(await read()).toEqual({ confirmed: 2, records: 6, unreached: unreached.slice(2) })
  })

  test('an outbox in memory is lost sooner than one on disk, and an empty one holds nothing until it is watched again', async () => {
    const base = 2_000_000
    const [onDisk, inMemory, empty] = [newOutbox('on-disk'), newOutbox('in-memory'), newOutbox('empty')]
    await watched(onDisk, base)
    await watched(inMemory, base, false)
    await watched(empty, base)
    await store.recordOutboxEmpty({ ...empty, daemonKeyId: 'another' }, secondsLater(base))
    const erasure = await begin(randomUUID(), base)
    const keys = async (second: number) =>
      (await store.readErasure(erasure, horizon(second))).unreached.map(({ daemonKeyId }) => daemonKeyId)
    expect(await keys(base - 10)).toEqual(['empty', 'in-memory', 'on-disk'])
    expect(await keys(base)).toEqual(['empty', 'on-disk'])
    await store.recordOutboxEmpty(empty, secondsLater(base))
    expect(await keys(base)).toEqual(['on-disk'])
    expect(await keys(base + 1)).toEqual([])
    await watched(empty, base + 1)
    expect(await keys(base + 1)).toEqual(['empty'])
  })

  test('a key that was seen, and whose daemon never named an outbox, is unreached', async () => {
    const base = 3_000_000
    const [old, unused, newer] = [await newKey('old'), await newKey(), await newKey()]
    for (const id of [old, newer]) {
      await store.recordDaemonSeen(id, { at: secondsLater(base + 50), buildVersion: null })
    }
    await watched(newOutbox(newer), base + 50)
    const erasure = await begin(randomUUID(), base)
    const { unreached } = await store.readErasure(erasure, horizon(base + 50))
    expect(unreached.map(({ daemonKeyId, name }) => [daemonKeyId, name])).toEqual(
      [
        [newer, null],
        [old, 'old'],
      ].toSorted(([a], [b]) => String(a).localeCompare(String(b))),
    )
    expect(unreached.map(({ daemonKeyId }) => daemonKeyId)).not.toContain(unused)
  })

  test('the end of an old watch does not end a newer one', async () => {
    const base = 4_000_000
    const outbox = newOutbox('moved')
    const [before, after] = [await watched(outbox, base + 30), await watched(outbox, base + 31)]
    const erasure = await begin(randomUUID(), base)
    const row = async () => (await store.readErasure(erasure, horizon(base))).unreached[0]
    await store.recordOutboxLeft(outbox.outboxId, { watch: before, at: secondsLater(base + 32) })
    expect(await row()).toMatchObject({ isConnected: true, lastSeenAt: secondsLater(base + 31) })
    await store.recordOutboxLeft(outbox.outboxId, { watch: after, at: secondsLater(base + 33) })
    expect(await row()).toMatchObject({ isConnected: false, lastSeenAt: secondsLater(base + 33) })
  })

  test('old erasures and outboxes are forgotten, with their confirmations', async () => {
    const own = await open()
    const [lost, kept] = [newOutbox(), newOutbox()]
    for (const [second, outbox] of [lost, kept].entries()) {
      await own.recordOutboxWatched({ ...outbox, isDurable: true }, { watch: randomUUID(), at: secondsLater(second) })
    }
    const ids: string[] = []
    for (const second of [0, 1]) {
      const erasureId = randomUUID()
      ids.push(await own.beginErasure({ erasureId, userId: randomUUID(), at: secondsLater(second) }))
    }
    const erasures = ids.map(erasureId => ({ erasureId, records: 0 }))
    for (const outbox of [lost, kept]) await own.confirmErasures(outbox, { erasures })
    await own.forgetErasures({ begunBefore: secondsLater(1), outboxesSeenBefore: secondsLater(1) })
    expect(await own.confirmErasures(lost, { erasures })).toBeNull()
    const [, second = ''] = ids
    expect(await own.readErasure(second, horizon(-100))).toMatchObject({ confirmed: 1 })
    expect(await own.listErasures({ outboxId: randomUUID(), limit: 9 })).toMatchObject([{ erasureId: second }])
    await own.close()
  })

  test('erasures and confirmations are noticed by every process, each by its listeners alone', async () => {
    const [one, two] = await openTwo()
    const noticed: string[] = []
    for (const topic of ['erasures', 'erasure_confirmations'] as const) two.onChange(topic, () => noticed.push(topic))
    const outbox = newOutbox()
    await one.recordOutboxWatched({ ...outbox, isDurable: true }, { watch: randomUUID(), at: secondsLater(0) })
    const quiet = noticed.length // a new listener on PostgreSQL is notified of what it may have missed
    const erasureId = randomUUID()
    await one.beginErasure({ erasureId, userId: randomUUID(), at: secondsLater(0) })
    await eventually(() => expect(noticed.slice(quiet)).toContain('erasures'))
    await one.confirmErasures(outbox, { erasures: [{ erasureId, records: 0 }] })
    await eventually(() => expect(noticed.at(-1)).toBe('erasure_confirmations'))
    for (const each of new Set([one, two])) await each.close()
  })

  test('a confirmation and the end of a purge at the same moment never leave records of the user', async () => {
    const [one, two] = await openTwo()
    const left: number[] = []
    for (let turn = 0; turn < 20; turn++) {
      const [userId, outbox] = [randomUUID(), newOutbox()]
      await one.recordOutboxWatched({ ...outbox, isDurable: true }, { watch: randomUUID(), at: secondsLater(0) })
      const erasureId = await one.beginErasure({ erasureId: randomUUID(), userId, at: secondsLater(0) })
      const handOver = async () => {
        await two.record([interception({ initiatorId: userId })])
        return two.confirmErasures(outbox, { erasures: [{ erasureId, records: 1 }] })
      }
      const [finished, late] = await Promise.all([one.eraseUser(userId), handOver()])
      // Either the purge sees the interception and goes on, or the daemon is told to erase once more.
      if (finished !== null) left.push(late?.length ?? 0)
    }
    expect(left).toEqual(left.map(() => 1))
    for (const each of new Set([one, two])) await each.close()
  })
})
