import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { copiedTables, importEmbeddedStore } from '../../../../server/store/open/import.js'
import {
  type EmbeddedDatabase,
  openEmbeddedDatabase,
  openEmbeddedStore,
} from '../../../../server/store/pglite/embedded.js'
import { openPostgresDatabase, openPostgresStore } from '../../../../server/store/postgres/postgres.js'
import { makeDataDir } from '../../../fixtures/data-dir.js'
import { silentLogger as logger, makeDatabase } from '../../../fixtures/stores.js'
import { message, newChat } from '../chats/new-chats.js'
import { ended, interception, modelThought, promptUsage, tokenUsage, toolUsage } from '../records/records.js'

let from: string
let database: Awaited<ReturnType<typeof makeDatabase>>
beforeEach(async () => {
  from = await makeDataDir()
  database = await makeDatabase({ migrated: false })
})
afterEach(async () => {
  await rm(from, { recursive: true, force: true })
  await database.drop()
})

/** Every row of every table as JSON, the rows in one order. */
async function dump(db: EmbeddedDatabase['db']): Promise<Record<string, string[]>> {
  const tables: Record<string, string[]> = {}
  for (const table of copiedTables) {
    const { rows } = await sql<{ row: string }>`select row_to_json(t)::text as row from ${sql.table(table)} t`.execute(
      db,
    )
    tables[table] = rows.map(({ row }) => row).sort()
  }
  return tables
}

async function fill(): Promise<number> {
  const store = await openEmbeddedStore({ dataDir: from })
  const parent = interception({
    metadata: { 'a"b': [1, null, { c: '😀\\u0000' }] },
    client: 'cli',
    correlatingToolCallId: 'c',
  })
  const { id } = parent.record
  const prompt = promptUsage(id, { prompt: 'line\nline\t"quoted" \\ 😀' })
  await store.record([
    parent,
    tokenUsage(id, { inputTokens: 1e12 }),
    prompt,
    toolUsage(id),
    modelThought(id),
    ended(id),
  ])
  for (let batch = 0; batch < 3; batch++) await store.record(Array.from({ length: 100 }, () => interception()))
  const user = { id: randomUUID(), username: 'ada' }
  await store.audited(
    tables => tables.createUser(user),
    () => ({ actor: 'admin', action: 'users.create', target: user.id, details: { username: 'ada' } }),
  )
  await store.createApiKey({
    id: 'abcdefghij',
    userId: user.id,
    secretHash: new Uint8Array([0, 255, 7]),
    expiresAt: null,
  })
  const conversation = { userId: user.id, key: new Uint8Array(32).fill(7) }
  const text = '{"b":"\\u0000\\ud800 \\"quoted\\" 😀","a":1}'
  const json = { text, bytes: text.length, containers: 1, contentHash: new Uint8Array(32) }
  await store.pinTools(conversation, json, new Date())
  for (let index = 0; index < 25; index++) {
    const limits = { maxTurns: 100, maxBytes: 1e6 }
    await store.keepTurn(conversation, { id: randomUUID(), ...json }, limits, new Date())
  }
  const chat = await newChat(store, { ownerId: user.id })
  await store.changeChat(chat.id, async changed => {
    for (const text of ['a', 'b'])
      await changed.append(message(text, { parts: `[${JSON.stringify(text)},  "\\u0000"]` }))
    await changed.deleteFrom(2)
    for (const queued of [message('c'), message('d')]) await changed.enqueue(queued)
    const [head] = await changed.queue()
    await changed.dequeue(head?.id ?? '')
    await changed.update({ status: 'error', lastError: { reason: 'internal', message: 'm', retryAt: new Date() } })
  })
  await store.createDaemonKey({
    id: 'abcdefghij',
    name: null,
    delegate: true,
    secretHash: new Uint8Array(32),
    expiresAt: new Date(),
  })
  const keys = [{ id: randomUUID(), sealed: new Uint8Array([1, 2, 250]), hint: 's…t' }]
  await store.seedProviders([
    { name: 'a', type: 'anthropic', enabled: true, baseUrl: 'https://a', settings: { b: 1 }, keys },
  ])
  const end = await store.feedEnd()
  await store.close()
  return end
}

describe('importing an embedded store into PostgreSQL', () => {
  test('copies every row of every table, and the events of watchers go on', async () => {
    const end = await fill()
    const counts = await importEmbeddedStore({ from, url: database.url, logger })
    expect(counts).toMatchObject({ interceptions: 301, token_usages: 1, users: 1, audit_log: 1, provider_keys: 1 })
    const [source, target] = [
      await openEmbeddedDatabase({ dataDir: from }),
      await openPostgresDatabase({ url: database.url, logger }),
    ]
    expect(await dump(target)).toEqual(await dump(source.db))
    await source.db.destroy()
    await source.release()
    await target.destroy()
    const store = await openPostgresStore({ url: database.url, logger })
    expect(await store.feedEnd()).toBe(end)
    expect(await store.readFeed({ after: end, limit: 9 })).toMatchObject({ known: true, events: [] })
    expect(await store.readFeed({ after: end - 1, limit: 9 })).toMatchObject({ known: false })
    const next = interception()
    await store.record([next])
    expect(await store.readFeed({ after: end, limit: 9 })).toMatchObject({
      events: [{ position: end + 1, record: { record: { id: next.record.id } } }],
    })
    await store.close()
  })

  test('importing an embedded store into PostgreSQL knows every table there is', async () => {
    const target = await openPostgresDatabase({ url: database.url, logger })
    const { rows } = await sql<{
      name: string
    }>`select tablename as name from pg_tables where schemaname = 'public'`.execute(target)
    await target.destroy()
    const left = ['kysely_migration', 'kysely_migration_lock', 'replicas', 'record_feed', 'record_feed_trimmed']
    expect(rows.map(({ name }) => name).sort()).toEqual([...copiedTables, ...left].sort())
  })

  test('importing an embedded store into PostgreSQL rejects a target that has rows, and leaves it as it is', async () => {
    await fill()
    const store = await openPostgresStore({ url: database.url, logger })
    await store.createUser({ id: randomUUID(), username: 'grace' })
    await expect(importEmbeddedStore({ from, url: database.url, logger })).rejects.toMatchObject({
      code: 'PRECONDITION_FAILED',
      reason: 'import_refused',
      message: expect.stringContaining('users'),
    })
    expect((await store.listUsers()).map(({ username }) => username)).toEqual(['grace'])
    expect(await store.listInterceptions({ limit: 1 })).toEqual([])
    await store.close()
  })

  test('importing an embedded store into PostgreSQL that fails half-way leaves an empty target, into which a second one goes', async () => {
    await fill()
    const blocked = await openPostgresDatabase({ url: database.url, logger })
    await sql`alter table model_thoughts add constraint refuse_all check (false) not valid`.execute(blocked)
    await expect(importEmbeddedStore({ from, url: database.url, logger })).rejects.toThrow('refuse_all')
    expect(Object.values(await dump(blocked)).flat()).toEqual([])
    await sql`alter table model_thoughts drop constraint refuse_all`.execute(blocked)
    await blocked.destroy()
    expect(await importEmbeddedStore({ from, url: database.url, logger })).toMatchObject({ model_thoughts: 1 })
  })

  test('importing an embedded store into PostgreSQL that loses a row is rejected with both counts, and leaves an empty target', async () => {
    await fill()
    const lossy = await openPostgresDatabase({ url: database.url, logger })
    await sql`create rule lose_one as on insert to interceptions where new.client = 'cli' do instead nothing`.execute(
      lossy,
    )
    // What refers to the row would be missed first.
    for (const table of ['token_usages', 'user_prompts', 'tool_usages', 'model_thoughts'] as const)
      await sql`alter table ${sql.table(table)} drop constraint ${sql.ref(`${table}_interception_id_fkey`)}`.execute(
        lossy,
      )
    await expect(importEmbeddedStore({ from, url: database.url, logger })).rejects.toMatchObject({
      reason: 'import_refused',
      message: 'interceptions has 301 rows and 300 of them were copied. Nothing was changed in the target.',
    })
    expect(Object.values(await dump(lossy)).flat()).toEqual([])
    await lossy.destroy()
  })

  test('a directory without a store, or one that a server uses, is rejected', async () => {
    const missing = `${from}/nothing`
    await expect(importEmbeddedStore({ from: missing, url: database.url, logger })).rejects.toMatchObject({
      reason: 'import_refused',
      message: expect.stringContaining(missing),
    })
    const running = await openEmbeddedStore({ dataDir: from })
    await expect(importEmbeddedStore({ from, url: database.url, logger })).rejects.toMatchObject({
      reason: 'data_in_use',
    })
    await running.close()
  })
})
