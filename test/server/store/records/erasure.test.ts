import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openPostgresStore } from '../../../../server/store/postgres/postgres.js'
import { retentionLock } from '../../../../server/store/records/erasure.js'
import type { Store } from '../../../../server/store/store.js'
import { makeDatabase, silentLogger, stores } from '../../../fixtures/stores.js'
import { children, ended, interception, secondsLater, someTime, toolUsage } from './records.js'

const limit = 100

describe.each(stores)('erasing: $name', ({ open }) => {
  let store: Store
  beforeAll(async () => {
    store = await open()
  })
  afterAll(() => store.close())

  const ids = (count: number) => Array.from({ length: count }, () => randomUUID())
  const isStored = async (id: string) => (await store.getInterception(id)) !== null
  /** Erases all that started before these many seconds after {@link someTime} and has ended, at once. */
  const eraseBefore = (seconds: number, unended = Number.NEGATIVE_INFINITY) =>
    store.eraseOldInterceptions({
      startedBefore: secondsLater(seconds),
      unendedBefore: unended === Number.NEGATIVE_INFINITY ? new Date(0) : secondsLater(unended),
      limit,
    })

  test('erasing takes what is older and has ended, with all its records, and leaves the rest', async () => {
    const [old, running, young] = [
      interception(),
      interception({ startedAt: secondsLater(1) }),
      interception({ startedAt: secondsLater(10) }),
    ]
    const childIds = [ids(4), ids(4), ids(4)]
    for (const [index, { record }] of [old, running, young].entries()) {
      await store.record([[old, running, young][index] ?? old, ...children(record.id, childIds[index] ?? [])])
    }
    await store.record([ended(old.record.id), ended(young.record.id)])
    expect(await eraseBefore(10)).toEqual({ interceptions: 1, records: 4 })
    expect(await Promise.all([old, running, young].map(({ record }) => isStored(record.id)))).toEqual([
      false,
      true,
      true,
    ])
    expect(await store.getInterception(young.record.id)).toMatchObject({
      tokenUsages: [{}],
      promptUsages: [{}],
      toolUsages: [{}],
      modelThoughts: [{}],
    })
    // Its children are gone too: the same ids are free.
    expect(await store.record([old, ...children(old.record.id, childIds[0] ?? [], 1)])).toEqual(
      Array.from({ length: 5 }, () => ({ ok: true })),
    )
    expect(await eraseBefore(10, 2)).toEqual({ interceptions: 2, records: 8 })
    expect(await eraseBefore(11)).toEqual({ interceptions: 1, records: 4 })
    expect(await eraseBefore(11)).toEqual({ interceptions: 0, records: 0 })
  })

  test('erasing takes the oldest first, as many as a batch has', async () => {
    const records = [3, 1, 2].map(second => interception({ startedAt: secondsLater(second) }))
    await store.record([...records, ...records.map(({ record }) => ended(record.id))])
    const query = { startedBefore: secondsLater(4), unendedBefore: new Date(0), limit: 2 }
    expect(await store.eraseOldInterceptions(query)).toEqual({ interceptions: 2, records: 0 })
    expect(await Promise.all(records.map(({ record }) => isStored(record.id)))).toEqual([true, false, false])
    expect(await store.eraseOldInterceptions(query)).toEqual({ interceptions: 1, records: 0 })
  })

  test("an erased parent's id stays in its child", async () => {
    const initiatorId = randomUUID()
    const parent = interception({ initiatorId })
    const child = interception({ initiatorId, correlatingToolCallId: 'call', startedAt: secondsLater(5) })
    await store.record([parent, toolUsage(parent.record.id, { toolCallId: 'call' }), child, ended(parent.record.id)])
    expect(await eraseBefore(5)).toEqual({ interceptions: 1, records: 1 })
    const lineage = { parentId: parent.record.id, rootId: parent.record.id }
    expect(await store.getInterception(child.record.id)).toMatchObject({ interception: lineage, thread: [lineage] })
    await store.eraseInterceptionsOf({ initiatorId, limit })
  })

  test("erasing takes one user's and no other user's", async () => {
    const [initiatorId, other] = [randomUUID(), interception()]
    const own = [interception({ initiatorId }), interception({ initiatorId }), interception({ initiatorId })]
    await store.record([...own, other, ...own.flatMap(({ record }) => children(record.id, ids(4)))])
    expect(await store.eraseInterceptionsOf({ initiatorId, limit: 2 })).toEqual({ interceptions: 2, records: 8 })
    expect(await store.eraseInterceptionsOf({ initiatorId, limit: 2 })).toEqual({ interceptions: 1, records: 4 })
    expect(await store.eraseInterceptionsOf({ initiatorId, limit: 2 })).toEqual({ interceptions: 0, records: 0 })
    expect(await isStored(other.record.id)).toBe(true)
  })

  test('a watcher from before the trimmed part of the feed is told so; others go on, without what was erased', async () => {
    const [first, second, third] = [interception(), interception(), interception()]
    for (const record of [first, second, third]) await store.record([record])
    const end = await store.feedEnd()
    const all = Number.MAX_SAFE_INTEGER
    expect(await store.trimFeed({ notedBefore: someTime, limit: 2 })).toBe(0)
    expect(await store.readFeed({ after: 0, limit: 1 })).toMatchObject({ known: true })
    while ((await store.trimFeed({ notedBefore: new Date(Date.now() + 60_000), limit: 2 })) === 2);
    expect(await store.feedEnd()).toBe(end)
    expect(await store.readFeed({ after: end - 1, limit: all })).toEqual({
      known: false,
      events: [],
      end: end - 1,
      isWhole: true,
    })
    expect(await store.readFeed({ after: end, limit: all })).toEqual({ known: true, events: [], end, isWhole: true })
    const [gone, kept] = [interception(), interception()]
    await store.record([gone, kept])
    await store.eraseInterceptionsOf({ initiatorId: gone.record.initiatorId, limit })
    const { known, events } = await store.readFeed({ after: end, limit: all })
    expect({ known, ids: events.map(({ record }) => record.record.id) }).toEqual({ known: true, ids: [kept.record.id] })
  })

  test('children that are stored while their interceptions are erased are NOT_FOUND or erased, and never orphans', async () => {
    const initiatorId = randomUUID()
    const parents = Array.from({ length: 60 }, () => interception({ initiatorId }))
    await store.record(parents)
    const childIds = ids(parents.length * 4)
    const writers = parents.map(async ({ record }, index) => {
      const own = children(record.id, childIds.slice(index * 4, index * 4 + 4))
      // Half of them by themselves, half in a batch, which is a transaction.
      const outcomes = index % 2 ? await store.record(own) : await Promise.all(own.map(child => store.record([child])))
      return outcomes.flat()
    })
    let erased = 0
    while (erased < parents.length) {
      const batch = await store.eraseInterceptionsOf({ initiatorId, limit: 7 })
      erased += batch.interceptions
    }
    for (const outcome of (await Promise.all(writers)).flat()) {
      expect(outcome.ok || outcome.code).toSatisfy(value => value === true || value === 'NOT_FOUND')
    }
    // An orphan would keep its id: with other content it would be rejected.
    const heir = interception({ initiatorId })
    await store.record([heir])
    const reused = parents.flatMap((_, index) => children(heir.record.id, childIds.slice(index * 4, index * 4 + 4), 9))
    expect(new Set((await store.record(reused)).map(({ ok }) => ok))).toEqual(new Set([true]))
  })
})

describe('on PostgreSQL, where transactions run side by side', () => {
  let database: Awaited<ReturnType<typeof makeDatabase>>
  let store: Store
  let client: pg.Client
  beforeAll(async () => {
    database = await makeDatabase()
    store = await openPostgresStore({ url: database.url, logger: silentLogger })
    client = new pg.Client({ connectionString: database.url })
    await client.connect()
  })
  afterAll(async () => {
    await client.end()
    await store.close()
    await database.drop()
  })

  const oldOnes = { startedBefore: secondsLater(1), unendedBefore: secondsLater(1), limit }

  test('nobody waits for a process that is at it; when it has ended, or died, another can', async () => {
    await store.record([interception()])
    await client.query('begin')
    await client.query('select pg_try_advisory_xact_lock($1)', [retentionLock])
    expect(await store.eraseOldInterceptions(oldOnes)).toBeNull()
    expect(await store.trimFeed({ notedBefore: new Date(), limit })).toBeNull()
    await client.query('rollback')
    expect(await store.eraseOldInterceptions(oldOnes)).toEqual({ interceptions: 1, records: 0 })
  })

  test('an interception that somebody is writing to is left for later, and nobody waits for it', async () => {
    const [busy, free] = [interception(), interception()]
    await store.record([busy, free])
    await client.query('begin')
    await client.query(
      `insert into model_thoughts (id, interception_id, content, created_at, content_hash) values ($1, $2, 'hm', now(), '')`,
      [randomUUID(), busy.record.id],
    )
    expect(await store.eraseOldInterceptions(oldOnes)).toEqual({ interceptions: 1, records: 0 })
    await client.query('commit')
    expect(await store.eraseOldInterceptions(oldOnes)).toEqual({ interceptions: 1, records: 1 })
  })

  test.each([
    ['by itself', 1],
    ['in a batch', 4],
  ])('a child that waits for an erasing transaction is NOT_FOUND afterwards: %s', async (_how, count) => {
    const parent = interception()
    await store.record([parent])
    await client.query('begin')
    await client.query('select id from interceptions where id = $1 for update', [parent.record.id])
    const ids = Array.from({ length: 4 }, () => randomUUID())
    const call = store.record(children(parent.record.id, ids).slice(0, count))
    await untilBlocked(client)
    await client.query('delete from interceptions where id = $1', [parent.record.id])
    await client.query('commit')
    expect(await call).toEqual(Array.from({ length: count }, () => expect.objectContaining({ code: 'NOT_FOUND' })))
  })
})

/** Resolves when a transaction waits for one of this session. */
async function untilBlocked(client: pg.Client): Promise<void> {
  for (;;) {
    const { rows } = await client.query(
      'select 1 from pg_stat_activity where pg_backend_pid() = any(pg_blocking_pids(pid)) limit 1',
    )
    if (rows.length > 0) return
  }
}
