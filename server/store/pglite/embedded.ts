/** The embedded store: PGlite under DATA/pg, opened by one process at a time. */
import { chmod, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Kysely } from 'kysely'
import { rpcError } from '../../../shared/contract/error-reasons.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import type { Logger } from '../../../shared/values/log.js'
import { migrate } from '../migrations/index.js'
import type { Database } from '../sql/schema.js'
import { SqlError } from '../sql/sql-error.js'
import { createSqlStore } from '../sql-store.js'
import type { Store } from '../store.js'
import { lockDataDir } from './data-lock.js'
import { pgliteDialect } from './pglite-dialect.js'
import { PGliteThread } from './pglite-thread.js'

/** The major version of PostgreSQL that PGlite is built from: what PG_VERSION says in a directory it can open. */
const postgresVersion = '18'
const databaseName = 'pg'
const unfinishedPrefix = 'pg.new-'

/** The database of a data directory, which is ours until `release()`. */
export interface EmbeddedDatabase {
  db: Kysely<Database>
  thread: PGliteThread
  release(): Promise<void>
}

/**
 * Opens the store in `dataDir`, which is made (mode 0700) where it is missing; the first start takes some seconds. Until `close()` or the end of the
 * process no other process can open it. What the store acknowledged is there after `kill -9`; PGlite never calls fsync, so the last seconds
 * may be lost with the power.
 * @param options.onLost is told when the database ends by itself, for instance because the disk is full: every call fails from then on, and it does not
 *   come back in this process
 * @throws as {@link openEmbeddedDatabase}
 */
export async function openEmbeddedStore(options: {
  dataDir: string
  logger?: Logger | undefined
  onLost?: ((cause: Error) => void) | undefined
}): Promise<Store> {
  const { db, thread, release } = await openEmbeddedDatabase(options)
  void thread.lost.then(options.onLost)
  return createSqlStore(db, thread, { afterClose: release })
}

/**
 * Opens the database in `dataDir` and brings its schema to this version.
 * @throws PRECONDITION_FAILED `data_in_use` naming the process that has it open; `database_corrupt` if it cannot be opened, and nothing is deleted then;
 *   `database_newer` if a newer version migrated it
 */
export async function openEmbeddedDatabase(options: {
  dataDir: string
  logger?: Logger | undefined
}): Promise<EmbeddedDatabase> {
  const { dataDir, logger } = options
  await makeDirectory(dataDir)
  const lock = await lockDataDir(dataDir)
  let thread: PGliteThread | undefined
  try {
    await removeUnfinished(dataDir)
    const path = join(dataDir, databaseName)
    if (!(await hasEmbeddedDatabase(dataDir))) {
      logger?.info({ path }, 'creating the database')
      await createDatabase(dataDir, path)
    }
    thread = await openDatabase(path)
    const db = new Kysely<Database>({ dialect: pgliteDialect(thread) })
    await migrate(db, `the database in ${path}`).catch((error: unknown) => {
      throw isDamage(error) ? corrupt(path, error.cause.message, error) : error
    })
    return { db, thread, release: lock.release }
  } catch (error) {
    await thread?.close()
    await lock.release()
    throw error
  }
}

/** Whether there is a database in the directory. */
export async function hasEmbeddedDatabase(dataDir: string): Promise<boolean> {
  const names: string[] = await readdir(dataDir).catch(() => [])
  return names.includes(databaseName)
}

async function makeDirectory(dataDir: string): Promise<void> {
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 })
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error)
    throw new RpcError('PRECONDITION_FAILED', `data directory ${dataDir} cannot be made: ${words}`, {
      reason: 'config_invalid',
      cause: error,
    })
  }
}

/** Makes the database beside its place and moves it there whole, so that a first start that is killed leaves nothing that looks like one. */
async function createDatabase(dataDir: string, path: string): Promise<void> {
  const unfinished = join(dataDir, `${unfinishedPrefix}${process.pid}`)
  try {
    await mkdir(unfinished, { mode: 0o700 })
    const thread = await PGliteThread.open(unfinished)
    await thread.close()
    await rename(unfinished, path)
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true })
    const words = error instanceof Error ? error.message : String(error)
    throw new RpcError('PRECONDITION_FAILED', `the database in ${path} cannot be made: ${words}`, { cause: error })
  }
}

/** What first starts that were killed left behind. The lock is ours, so none of it is in use. */
async function removeUnfinished(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    if (name.startsWith(unfinishedPrefix)) await rm(join(dataDir, name), { recursive: true, force: true })
  }
}

async function openDatabase(path: string): Promise<PGliteThread> {
  const version = await readFile(join(path, 'PG_VERSION'), 'utf8').catch((error: unknown) => {
    throw corrupt(path, 'its file PG_VERSION cannot be read', error)
  })
  if (version.trim() !== postgresVersion) {
    throw corrupt(path, `PG_VERSION is ${JSON.stringify(version.trim().slice(0, 20))} and must be "${postgresVersion}"`)
  }
  try {
    // PGlite makes its files readable and writable for everybody (mode 0666), so their directory has to be closed, whoever made the one above it.
    await chmod(path, 0o700)
    const thread = await PGliteThread.open(path)
    await thread.query('select 1')
    return thread
  } catch (error) {
    throw corrupt(path, error instanceof Error ? error.message : String(error), error)
  }
}

/** PostgreSQL's class XX, such as `data_corrupted`: what is on the disk is not what it wrote. */
function isDamage(error: unknown): error is Error & { cause: SqlError } {
  return error instanceof Error && error.cause instanceof SqlError && error.cause.code?.startsWith('XX') === true
}

function corrupt(path: string, words: string, cause?: unknown): RpcError<'database_corrupt'> {
  return rpcError(
    'database_corrupt',
    `the database in ${path} cannot be opened: ${words}. Nothing was deleted. Restore the directory from a backup, or move it away to start with an empty database.`,
    { cause },
  )
}
