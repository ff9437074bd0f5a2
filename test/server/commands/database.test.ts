/** `migrate` and signals; e2e/import.test.ts has the rest. */
import pg from 'pg'
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { makeDatabase } from '../../fixtures/stores.js'
import { runWords } from './command-line.js'

let url: string
beforeEach(async () => {
  // Under npx a second signal within milliseconds counts as the same one.
  vi.stubEnv('npm_lifecycle_event', '')
  onTestFinished(() => void vi.unstubAllEnvs())
  const database = await makeDatabase({ migrated: false })
  onTestFinished(() => database.drop())
  url = database.url
})

/** Keeps migrations from running until `release`. */
async function holdMigrations() {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  onTestFinished(() => client.end())
  // Kysely's lock.
  await client.query('select pg_advisory_lock(3853314791062309107)')
  return {
    isAwaited: () => expect.poll(() => count(client, 'select 1 from pg_locks where not granted')).toBe(1),
    release: () => client.query('select pg_advisory_unlock(3853314791062309107)'),
    hasTables: async () => (await count(client, "select 1 from pg_tables where tablename = 'users'")) === 1,
  }
}

async function count(client: pg.Client, statement: string): Promise<number> {
  return (await client.query(statement)).rowCount ?? 0
}

test('migrate finishes after the first Ctrl-C and exits 0', async () => {
  const migrations = await holdMigrations()
  const ended = runWords(['migrate', '--database-url', url])
  await migrations.isAwaited()
  const before = process.listenerCount('SIGINT')
  process.emit('SIGINT', 'SIGINT')
  await migrations.release()
  expect(await ended).toEqual({
    code: 0,
    stdout: 'the schema is up to date: servers of this version can be started on the database\n',
    stderr: 'SIGINT: the migration goes on to its end; a second signal stops at once and changes nothing\n',
  })
  expect(await migrations.hasTables()).toBe(true)
  expect(process.listenerCount('SIGINT')).toBe(before - 1)
})

test('migrate ends with 130 at the second Ctrl-C, before anything has changed', async () => {
  const exit = vi.spyOn(process, 'exit').mockImplementation(() => undefined as never) // the process of the tests goes on
  onTestFinished(() => exit.mockRestore())
  const migrations = await holdMigrations()
  const ended = runWords(['migrate', '--database-url', url])
  await migrations.isAwaited()
  process.emit('SIGINT', 'SIGINT')
  expect(exit).not.toHaveBeenCalled()
  process.emit('SIGINT', 'SIGINT')
  expect(exit).toHaveBeenCalledExactlyOnceWith(130)
  expect(await migrations.hasTables()).toBe(false)
  await migrations.release()
  await ended
})
