import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { feedLock } from '../../../../server/store/migrations/0003-control-plane.js'
import { openPostgresStore } from '../../../../server/store/postgres/postgres.js'
import type { Store, StoredRecord } from '../../../../server/store/store.js'
import { recordKinds } from '../../../../shared/contract/record-kinds.js'
import { makeDatabase, silentLogger, stores } from '../../../fixtures/stores.js'
import { children, ended, interception, modelThought, promptUsage, tokenUsage } from './records.js'

describe.each(stores)('the feed of records: $name', ({ open }) => {
  let store: Store
  beforeAll(async () => {
    store = await open()
  })
  afterAll(() => store.close())

  test('the feed of records is read page by page, in the order of storing, and ends where nothing more is', async () => {
    expect(await store.feedEnd()).toBe(0)
    const records = [interception(), interception(), interception()]
    for (const record of records) await store.record([record])
    const end = await store.feedEnd()
    const first = await store.readFeed({ after: 0, limit: 2 })
    expect(first).toMatchObject({ known: true, isWhole: false })
    const second = await store.readFeed({ after: first.end, limit: 2 })
    expect(second).toMatchObject({ known: true, isWhole: true, end })
    expect([...first.events, ...second.events].map(({ record }) => record)).toEqual(
      records.map(({ record: { id } }) => ({
        kind: 'interception',
        record: expect.objectContaining({ id }),
        username: null,
        interceptionKind: 'model',
      })),
    )
    expect(await store.readFeed({ after: end, limit: 2 })).toEqual({ known: true, isWhole: true, end, events: [] })
  })

  test('the feed of records has user and kind of interception beside each kind of record, and null where the user is gone', async () => {
    const user = await store.createUser({ id: randomUUID(), username: 'ada' })
    const after = await store.feedEnd()
    for (const initiatorId of [user?.id ?? '', randomUUID()]) {
      const parent = interception({
        initiatorId,
        ...(initiatorId === user?.id && { interceptionKind: 'mcp' as const }),
      })
      const { id } = parent.record
      const ids = Array.from({ length: 4 }, () => randomUUID())
      await store.record([parent, ...children(id, ids), ended(id)])
    }
    const { events } = await store.readFeed({ after, limit: 20 })
    const named = events.map(
      ({ record: { kind, username, interceptionKind } }) => `${kind} ${username} ${interceptionKind}`,
    )
    expect(named.toSorted()).toEqual(
      Object.keys(recordKinds)
        .flatMap(kind => [`${kind} ada mcp`, `${kind} null model`])
        .toSorted(),
    )
    const withName = events.filter(({ record }) => 'username' in record.record).map(({ record }) => record.kind)
    expect(new Set(withName)).toEqual(new Set(['interception']))
  })

  test('the feed of records has each new record and each first end once, by kinds, whatever comes with them', async () => {
    const [stored, added] = [interception(), interception()]
    const [old, young] = [stored.record.id, added.record.id]
    const known = promptUsage(old)
    await store.record([stored, known])
    const after = await store.feedEnd()
    const usages = [old, young, old].map(id => tokenUsage(id))
    const [prompt, thought] = [promptUsage(young), modelThought(old)]
    await store.record([stored, added, ...usages, known, ended(old), prompt, ended(young), ended(old), thought, prompt])
    await store.record([ended(old), ended(young), added, prompt])
    const { events } = await store.readFeed({ after, limit: 20 })
    const ids = (kind: string) => events.flatMap(({ record }) => (record.kind === kind ? [record.record.id] : []))
    expect(events.map(({ record: { kind } }) => kind)).toEqual([
      'interception',
      ...Array(3).fill('tokenUsage'),
      'promptUsage',
      'modelThought',
      ...Array(2).fill('interceptionEnded'),
    ])
    expect(ids('interception')).toEqual([young])
    expect(ids('tokenUsage').toSorted()).toEqual(usages.map(({ record }) => record.id).toSorted())
    expect([...ids('promptUsage'), ...ids('modelThought')]).toEqual([prompt.record.id, thought.record.id])
    expect(ids('interceptionEnded').toSorted()).toEqual([old, young].toSorted())
  })

  test('the feed of records notifies its listeners, once for the records of a batch', async () => {
    let told = 0
    let tell = () => {}
    const stop = store.onChange('records', () => {
      told++
      tell()
    })
    const next = () => new Promise<void>(resolve => (tell = resolve))
    for (const count of [1, 50]) {
      const heard = next()
      await store.record(Array.from({ length: count }, () => interception()))
      await heard
    }
    expect(told).toBe(2)
    stop()
    await store.record([interception()])
    await store.ping()
    expect(told).toBe(2)
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

  test('a transaction that writes first and commits last comes last', async () => {
    const from = await store.feedEnd()
    const slow = randomUUID()
    await client.query('begin')
    await client.query(
      `insert into interceptions (id, initiator_id, api_key_id, provider, provider_name, model, started_at, credential_kind, content_hash)
       values ($1, $1, 'k', 'p', 'p', 'm', now(), 'byok', '')`,
      [slow],
    )
    const quick = interception()
    await store.record([quick])
    const seen = await store.readFeed({ after: from, limit: 10 })
    expect(seen.events.map(({ record }) => record.record.id)).toEqual([quick.record.id])
    await client.query('commit')
    const later = await store.readFeed({ after: seen.end, limit: 10 })
    expect(later.events.map(({ record }) => record.record.id)).toEqual([slow])
  })

  test('a record that another transaction is about to commit is waited for without the lock of the feed', async () => {
    // The last of the batch: rows are written in the order of their ids.
    const id = 'ffffffff-ffff-4fff-bfff-ffffffffffff'
    const record = interception({ id })
    await client.query('begin')
    await client.query(
      `insert into interceptions (id, initiator_id, api_key_id, provider, provider_name, model, started_at, credential_kind, content_hash)
       values ($1, $1, 'k', 'p', 'p', 'm', now(), 'byok', '')`,
      [id],
    )
    const stored = store.record([interception(), record, interception()])
    await expect
      .poll(async () => {
        const { rows } = await client.query<object>(
          `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
        )
        return rows.length
      })
      .toBe(1)
    const { rows: holders } = await client.query<object>(
      `select from pg_locks join pg_database d on d.oid = database
       where datname = current_database() and locktype = 'advisory' and objid = $1 and granted`,
      [feedLock],
    )
    expect(holders).toEqual([])
    await client.query('commit')
    expect(await stored).toEqual([{ ok: true }, expect.objectContaining({ code: 'CONFLICT' }), { ok: true }])
  })

  test('nobody sees a position before one below it, however long a commit takes after it was drawn', async () => {
    // Runs behind our own trigger, because its name comes later, and before others see the transaction.
    await client.query(`
      create function linger() returns trigger language plpgsql as
        'begin perform pg_sleep(random() * 0.004); return null; end';
      create constraint trigger zz_linger after insert on user_prompts
        deferrable initially deferred for each row execute function linger()`)
    const parent = interception()
    await store.record([parent])
    const from = await store.feedEnd()
    const written: string[] = []
    const stores = await Promise.all(
      Array.from({ length: 3 }, () =>
        openPostgresStore({ url: database.url, logger: silentLogger, maxConnections: 2 }),
      ),
    )
    let writing = true
    const reader = (async () => {
      const seen: string[] = []
      for (let position = from; ; ) {
        const last = !writing
        const page = await store.readFeed({ after: position, limit: 100 })
        seen.push(...page.events.map(({ record }) => record.record.id))
        position = page.end
        if (last && page.isWhole) return seen
      }
    })()
    const writers: ((record: StoredRecord<'promptUsage'>) => Promise<unknown>)[] = [
      ...[...stores, ...stores].map(each => (record: StoredRecord) => each.record([record])),
      // A server of an older version: the trigger adds the row to the feed.
      ...[client, client].map(
        each =>
          ({ record: { id, interceptionId } }: StoredRecord<'promptUsage'>) =>
            each.query(
              `insert into user_prompts (id, interception_id, msg_id, prompt, created_at, content_hash) values ($1, $2, '', '', now(), '')`,
              [id, interceptionId],
            ),
      ),
    ]
    await Promise.all(
      writers.map(async write => {
        for (let turn = 0; turn < 40; turn++) {
          const record = promptUsage(parent.record.id)
          await write(record)
          written.push(record.record.id)
        }
      }),
    )
    writing = false
    const seen = await reader
    expect(seen.length).toBe(written.length)
    expect(new Set(seen)).toEqual(new Set(written))
    await Promise.all(stores.map(each => each.close()))
  })
})
