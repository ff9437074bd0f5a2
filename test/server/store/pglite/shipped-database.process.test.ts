/** The database that the build ships, and first starts that take a packed database. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Migrator, sql } from 'kysely'
import { expect, onTestFinished, test } from 'vitest'
import pglite from '../../../../node_modules/@electric-sql/pglite/package.json' with { type: 'json' }
import { migrations } from '../../../../server/store/migrations/index.js'
import { openEmbeddedDatabase } from '../../../../server/store/pglite/embedded.js'
import { pgliteDatabase } from '../../../../server/store/pglite/pglite-dialect.js'
import { PGliteThread } from '../../../../server/store/pglite/pglite-thread.js'
import { packDatabase, shippedDatabaseFile } from '../../../../server/store/pglite/shipped-database.js'
import { makeDataDir } from '../../../fixtures/data-dir.js'
import { built, kill, scriptsOfSuite } from '../../../fixtures/script-process.js'

const spawnNode = scriptsOfSuite()
const folder = 'dist/server/store/pglite'
const shippedName = `empty-database-${pglite.version}.br`
const shipped = pathToFileURL(join(folder, shippedName))

test('the build ships one database, and a program looks for that of its own version of PGlite alone', async () => {
  expect(readdirSync(folder).filter(name => name.endsWith('.br'))).toEqual([shippedName])
  expect(basename((await shippedDatabaseFile()).pathname)).toBe(shippedName)
})

test('a first start from the shipped database has the schema and the rows that PostgreSQL and the migrations make', async () => {
  const dataDir = await temporaryDirectory()
  const made = await contentsOf(await makeDataDir())
  expect(await contentsOf(dataDir, shipped)).toEqual(made)
  expect(made).toContainEqual(expect.objectContaining({ kind: 'migration', name: Object.keys(migrations).at(-1) }))
  expect(readdirSync(dataDir)).toEqual(['pg'])
  expect(statSync(join(dataDir, 'pg')).mode & 0o777).toBe(0o700)
})

test('a packed database of an older version gets the migrations that came since', async () => {
  const older = await makeDataDir()
  const { db } = pgliteDatabase(await PGliteThread.open(join(older, 'pg')))
  await sql`drop schema public cascade`.execute(db)
  await sql`create schema public`.execute(db)
  const { '0001-initial': initial = expect.fail() } = migrations
  const provider = { getMigrations: async () => ({ '0001-initial': initial }) }
  expect(await new Migrator({ db, provider }).migrateToLatest()).toMatchObject({ results: [{ status: 'Success' }] })
  await db.destroy()
  const packed = join(older, 'packed')
  await writeFile(packed, await packDatabase(join(older, 'pg')))
  expect(await contentsOf(await temporaryDirectory(), pathToFileURL(packed))).toEqual(
    await contentsOf(await makeDataDir()),
  )
}, 60_000)

test('a first start that is killed while it unpacks leaves no half database, and the next one is whole', async () => {
  const dataDir = await temporaryDirectory()
  const killed = spawnNode(`
    import { openEmbeddedStore } from ${built('server/store/pglite/embedded.js')}
    await openEmbeddedStore({ dataDir: ${JSON.stringify(dataDir)} })`)
  while (readdirSync(dataDir).every(name => !name.startsWith('pg'))) await new Promise(setImmediate)
  await kill(killed)
  // A machine that is slow to kill may see the end of the start.
  if (existsSync(join(dataDir, 'pg'))) expect(statSync(join(dataDir, 'pg/PG_VERSION')).size).toBe(3)
  const { db, release } = await openEmbeddedDatabase({ dataDir, shipped })
  await db.destroy()
  await release()
  expect(readdirSync(dataDir)).toEqual(['pg'])
})

test('a damaged packed database is an error with the place of the database, and leaves nothing', async () => {
  const dataDir = await temporaryDirectory()
  const place = await temporaryDirectory()
  await writeFile(join(place, 'damaged'), 'garbage')
  const opening = openEmbeddedDatabase({ dataDir, shipped: pathToFileURL(join(place, 'damaged')) })
  await expect(opening).rejects.toMatchObject({
    code: 'PRECONDITION_FAILED',
    message: expect.stringContaining(`the database in ${join(dataDir, 'pg')} cannot be made`),
  })
  expect(readdirSync(dataDir)).toEqual([])
})

async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'aibridge-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  return directory
}

/** Returns columns, indexes, constraints, triggers, functions, sequences, migrations and rows of a database. */
async function contentsOf(dataDir: string, packed?: URL): Promise<unknown[]> {
  const { thread, db, release } = await openEmbeddedDatabase({ dataDir, shipped: packed })
  const { rows } = await thread.query(`
    select 'column' as kind, table_name || '.' || column_name as name,
      concat_ws(' ', data_type, column_default, is_nullable, collation_name) as text
    from information_schema.columns where table_schema = 'public'
    union all select 'index', indexname, indexdef from pg_indexes where schemaname = 'public'
    union all select 'constraint', conname, pg_get_constraintdef(oid) from pg_constraint
      where connamespace = 'public'::regnamespace
    union all select 'trigger', tgname, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
    union all select 'function', proname, prosrc from pg_proc where pronamespace = 'public'::regnamespace
    union all select 'sequence', sequencename, last_value::text from pg_sequences
    union all select 'setting', name, setting from pg_settings where source = 'configuration file'
    union all select 'migration', name, '' from kysely_migration
    order by 1, 2, 3`)
  const tables = new Set<string>()
  for (const { kind, name } of rows.map(row => ({ kind: '', name: '', ...Object(row) })))
    if (kind === 'column' && !name.startsWith('kysely')) tables.add(name.split('.')[0])
  const contents: unknown[] = [...rows]
  for (const table of [...tables].sort()) contents.push(table, (await thread.query(`select * from ${table}`)).rows)
  await db.destroy()
  await release()
  return contents
}
