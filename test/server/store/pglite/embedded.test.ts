import { existsSync, readdirSync, statSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Migrator, sql } from 'kysely'
import { describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { migrations } from '../../../../server/store/migrations/index.js'
import { openEmbeddedStore } from '../../../../server/store/pglite/embedded.js'
import { pgliteDatabase } from '../../../../server/store/pglite/pglite-dialect.js'
import { PGliteThread } from '../../../../server/store/pglite/pglite-thread.js'
import { makeDataDir } from '../../../fixtures/data-dir.js'
import { interception, tokenUsage } from '../records/records.js'

const inUse = { code: 'PRECONDITION_FAILED', reason: 'data_in_use' }
const corrupt = { code: 'PRECONDITION_FAILED', reason: 'database_corrupt' }

describe('one process per data directory', () => {
  test('the same process is rejected as well, until it has closed the store', async () => {
    const dataDir = await dataDirectory()
    const store = await openEmbeddedStore({ dataDir })
    await expect(openEmbeddedStore({ dataDir })).rejects.toMatchObject({
      ...inUse,
      message: expect.stringContaining(`process ${process.pid}`),
    })
    await store.ping()
    await store.close()
    await (await openEmbeddedStore({ dataDir })).close()
  })
})

describe('durability', () => {
  test('what was stored is there after closing and opening', async () => {
    const dataDir = await dataDirectory()
    const parent = interception()
    const first = await openEmbeddedStore({ dataDir })
    await first.record([parent, tokenUsage(parent.record.id)])
    const before = await first.getInterception(parent.record.id)
    await first.close()
    const second = await openEmbeddedStore({ dataDir })
    expect(await second.getInterception(parent.record.id)).toEqual(before)
    await second.close()
  })
})

describe('a database that cannot be opened', () => {
  test.each([
    ['PG_VERSION is missing', 'PG_VERSION', null],
    ['PG_VERSION is of another PostgreSQL', 'PG_VERSION', '17\n'],
    ['pg_control is garbage', 'global/pg_control', 'garbage'.repeat(1000)],
    ['pg_control is missing', 'global/pg_control', null],
    ['the configuration is garbage', 'postgresql.conf', 'garbage = {{{\n'],
    ['its catalogues are missing', 'base', null],
  ])(
    'a database that cannot be opened is reported with its path and left as it is: %s',
    { timeout: 60_000 },
    async (_name, file, content) => {
      const dataDir = await dataDirectory()
      const path = join(dataDir, 'pg', file)
      if (content === null) await rename(path, join(dataDir, 'kept'))
      else await writeFile(path, content)
      await expect(openEmbeddedStore({ dataDir })).rejects.toMatchObject({
        ...corrupt,
        message: expect.stringContaining(join(dataDir, 'pg')),
      })
      expect(existsSync(path)).toBe(content !== null)
      if (content !== null) return
      await rename(join(dataDir, 'kept'), path)
      await (await openEmbeddedStore({ dataDir })).close()
    },
  )

  test('damage that only its version table shows is reported alike', async () => {
    const dataDir = await dataDirectory()
    const thread = await PGliteThread.open(join(dataDir, 'pg'))
    const { rows } = await thread.query(`select pg_relation_filepath('kysely_migration') as path`)
    await thread.close()
    const file = z.tuple([z.object({ path: z.string() })]).parse(rows)[0].path
    await writeFile(join(dataDir, 'pg', file), Buffer.alloc(8192, 'garbage'))
    await expect(openEmbeddedStore({ dataDir })).rejects.toMatchObject({
      ...corrupt,
      message: expect.stringContaining(join(dataDir, 'pg')),
    })
  })

  test('a database that cannot be opened that others may enter is closed to them', async () => {
    const dataDir = await dataDirectory()
    await chmod(join(dataDir, 'pg'), 0o755)
    await (await openEmbeddedStore({ dataDir })).close()
    expect(statSync(join(dataDir, 'pg')).mode & 0o777).toBe(0o700)
  })

  test('an empty directory in its place is not taken for a first start', async () => {
    const dataDir = await temporaryDirectory()
    await mkdir(join(dataDir, 'pg'))
    await expect(openEmbeddedStore({ dataDir })).rejects.toMatchObject(corrupt)
    expect(readdirSync(dataDir)).toEqual(['pg'])
  })

  test('one of version 1.0 gets what came since, and keeps its rows', async () => {
    const dataDir = await dataDirectory()
    const { db } = pgliteDatabase(await PGliteThread.open(join(dataDir, 'pg')))
    await sql`drop schema public cascade`.execute(db)
    await sql`create schema public`.execute(db)
    const { '0001-initial': initial = expect.fail() } = migrations
    const provider = { getMigrations: async () => ({ '0001-initial': initial }) }
    expect(await new Migrator({ db, provider }).migrateToLatest()).toMatchObject({ results: [{ status: 'Success' }] })
    await sql`insert into users (id, username) values ('019a0000-0000-7000-8000-000000000001', 'ada')`.execute(db)
    await db.destroy()
    const store = await openEmbeddedStore({ dataDir })
    expect(await store.findUser('ada')).toMatchObject({ username: 'ada' })
    expect(await store.listDaemonKeys()).toEqual([])
    await store.close()
  })

  test('one migrated by a newer version is rejected with the name of the migration', async () => {
    const dataDir = await dataDirectory()
    await (await openEmbeddedStore({ dataDir })).close()
    const { db } = pgliteDatabase(await PGliteThread.open(join(dataDir, 'pg')))
    await sql`insert into kysely_migration (name, timestamp) values ('9999-from-the-future', 'now')`.execute(db)
    await db.destroy()
    await expect(openEmbeddedStore({ dataDir })).rejects.toMatchObject({
      code: 'PRECONDITION_FAILED',
      reason: 'database_newer',
      message: expect.stringContaining('9999-from-the-future'),
    })
  })

  test('a data directory that cannot be made is reported with its path', async () => {
    const file = join(await temporaryDirectory(), 'file')
    await writeFile(file, '')
    await expect(openEmbeddedStore({ dataDir: join(file, 'data') })).rejects.toMatchObject({
      code: 'PRECONDITION_FAILED',
      message: expect.stringContaining(file),
    })
  })
})

describe('the database thread', () => {
  test('the database thread that ends ends pending calls, rejects later ones, and the process lives', async () => {
    const dataDir = await dataDirectory()
    const thread = await PGliteThread.open(join(dataDir, 'pg'))
    const { db } = pgliteDatabase(thread)
    const waiting = Promise.allSettled([
      thread.query('select pg_sleep(60)'),
      sql`select 1`.execute(db),
      thread.query('select 2'),
    ])
    await thread.terminate()
    // What was sent may have been committed.
    const lost = { status: 'rejected', reason: { mayHaveCommitted: true } }
    expect(await waiting).toMatchObject([lost, lost, lost])
    const late = { message: expect.stringContaining('the database thread ended'), mayHaveCommitted: false }
    await expect(sql`select 1`.execute(db)).rejects.toMatchObject(late)
    await expect(db.transaction().execute(tx => sql`select 1`.execute(tx))).rejects.toThrow('the database thread ended')
    await db.destroy()
  })

  test('the database thread ends when the write-ahead log cannot be written, instead of hanging at the next statement', async () => {
    const dataDir = await dataDirectory()
    const path = join(dataDir, 'pg')
    const thread = await PGliteThread.open(path)
    await thread.query('create table kept (a int)')
    // PGlite's pid is always 42; this is the name under which PostgreSQL makes the next segment of the log.
    await mkdir(join(path, 'pg_wal/xlogtemp.42'))
    await thread.query('select pg_switch_wal()')
    const results = await Promise.allSettled([thread.query('insert into kept values (1)'), thread.query('select 1')])
    const cause = { message: expect.stringMatching(/^PostgreSQL stopped: PANIC: .*xlogtemp\.42/) }
    const rejected = { status: 'rejected', reason: { message: 'the database thread failed', cause } }
    expect(results).toMatchObject([rejected, rejected])
    await expect(thread.query('select 1')).rejects.toThrow('the database thread failed')
    await thread.close()
    await rm(join(path, 'pg_wal/xlogtemp.42'), { recursive: true })
    const again = await PGliteThread.open(path)
    expect(await again.query('select * from kept')).toMatchObject({ rows: [] })
    await again.close()
  })

  test('the database thread keeps the SQLSTATE of an error and goes on', async () => {
    const dataDir = await dataDirectory()
    const thread = await PGliteThread.open(join(dataDir, 'pg'))
    await expect(thread.query('select 1/$1::int', [0])).rejects.toMatchObject({ code: '22012' })
    await expect(thread.query('selec')).rejects.toMatchObject({ code: '42601' })
    await expect(thread.query('selec')).rejects.toMatchObject({ code: '42601' })
    expect(
      await thread.query('select count(*) as n, $1::int8 as big from pg_class where false', [2 ** 40]),
    ).toMatchObject({
      rows: [{ n: 0, big: 2 ** 40 }],
    })
    await thread.close()
  })
})

async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'aibridge-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  return directory
}

async function dataDirectory(): Promise<string> {
  const directory = await makeDataDir()
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  return directory
}
