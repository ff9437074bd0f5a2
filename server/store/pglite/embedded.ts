/** The embedded store: PGlite under DATA/pg, opened by one process at a time. */
import { chmod, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { rpcError } from '../../../shared/contract/error-reasons.js'
import { lockFolder } from '../../../shared/files/folder-lock.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import type { Logger } from '../../../shared/values/log.js'
import { migrate } from '../migrations/index.js'
import type { SqlDatabase } from '../sql/sql-database.js'
import { SqlError } from '../sql/sql-error.js'
import { createSqlStore } from '../sql-store.js'
import type { Store } from '../store.js'
import { pgliteDatabase } from './pglite-dialect.js'
import { PGliteThread } from './pglite-thread.js'
import { shippedDatabaseFile, unpackDatabase } from './shipped-database.js'

/** The major version of PostgreSQL that PGlite is built from, as in PG_VERSION of a directory that PGlite can open. */
const postgresVersion = '18'
const databaseName = 'pg'
const unfinishedPrefix = 'pg.new-'

/** The database of a data directory, under this process's lock until `release()`. */
export interface EmbeddedDatabase extends SqlDatabase {
  thread: PGliteThread
  release(): Promise<void>
}

/**
 * Opens the store in `dataDir`; a missing directory is made with mode 0700. The first start unpacks the database that
 * the build ships, and takes some seconds longer without one. No other process can open the store until `close()` or
 * the end of the process. Acknowledged writes survive `kill -9`; PGlite never calls fsync, so a power cut may lose the
 * last seconds.
 * @param options.onLost called when the database ends by itself, for instance because the disk is full: every later
 *   call fails, and only a new process can open the database again
 * @throws as {@link openEmbeddedDatabase}
 */
export async function openEmbeddedStore(options: {
  dataDir: string
  logger?: Logger | undefined
  onLost?: ((cause: Error) => void) | undefined
}): Promise<Store> {
  const { thread, release, ...database } = await openEmbeddedDatabase(options)
  void thread.lost.then(options.onLost)
  // The lock says that no other server is there: daemons of a server that was killed are not connected any more.
  const notes = database.db
    .updateTable('daemon_instances')
    .set({ connected_to: null })
    .where('connected_to', 'is not', null)
  // Nor does it run any chat: this one need not wait for the end of the lease.
  const leases = database.db
    .updateTable('chats')
    .set({ runner: null, lease_until: null })
    .where('status', 'in', ['running', 'interrupting'])
  // A store that does not take the notes is open all the same; notes and leases get old by themselves.
  await notes.execute().catch(() => {})
  await leases.execute().catch(() => {})
  return createSqlStore(database, thread, { afterClose: release })
}

/**
 * Opens the database in `dataDir` and brings the schema to this version.
 * @param options.shipped the packed database that a first start takes; default: that of the build, if there is one
 * @throws PRECONDITION_FAILED `data_in_use` naming the process that has the database open; `database_corrupt` if
 *   opening fails, and nothing is deleted then; `database_newer` if a newer version migrated the database
 */
export async function openEmbeddedDatabase(options: {
  dataDir: string
  logger?: Logger | undefined
  shipped?: URL | undefined
}): Promise<EmbeddedDatabase> {
  const { dataDir, logger, shipped = await shippedDatabaseFile() } = options
  await makeDirectory(dataDir)
  const lock = await lockFolder(dataDir, 'data directory')
  let thread: PGliteThread | undefined
  try {
    await removeUnfinished(dataDir)
    const path = join(dataDir, databaseName)
    if (!(await hasEmbeddedDatabase(dataDir))) {
      logger?.info({ path }, 'creating the database')
      await createDatabase(dataDir, path, shipped)
    }
    thread = await openDatabase(path)
    const database = pgliteDatabase(thread)
    await migrate(database.db, `the database in ${path}`).catch((error: unknown) => {
      throw isDamage(error) ? corrupt(path, error.cause.message, error) : error
    })
    return { ...database, thread, release: lock.release }
  } catch (error) {
    await thread?.close()
    await lock.release()
    throw error
  }
}

/** Returns whether the directory holds a database. */
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

/**
 * Creates the database beside its place and moves the whole directory there, so that a killed first start leaves
 * nothing that looks like a database.
 */
async function createDatabase(dataDir: string, path: string, shipped: URL): Promise<void> {
  const unfinished = join(dataDir, `${unfinishedPrefix}${process.pid}`)
  try {
    await mkdir(unfinished, { mode: 0o700 })
    if (!(await unpackDatabase(shipped, unfinished))) {
      const thread = await PGliteThread.open(unfinished)
      await thread.close()
    }
    await rename(unfinished, path)
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true })
    const words = error instanceof Error ? error.message : String(error)
    throw new RpcError('PRECONDITION_FAILED', `the database in ${path} cannot be made: ${words}`, { cause: error })
  }
}

/** Removes the remains of killed first starts. The lock is held, so no process uses them. */
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
    // PGlite makes its files readable and writable for everybody (mode 0666), so the directory has to be closed,
    // whatever the mode of its parent.
    await chmod(path, 0o700)
    const thread = await PGliteThread.open(path)
    await thread.query('select 1')
    return thread
  } catch (error) {
    throw corrupt(path, error instanceof Error ? error.message : String(error), error)
  }
}

/** PostgreSQL's class XX, such as `data_corrupted`: the disk holds other content than PostgreSQL wrote. */
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
