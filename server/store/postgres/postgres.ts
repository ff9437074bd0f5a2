/** The store on a PostgreSQL server. */
import { type Kysely, sql } from 'kysely'
import pg, { type PoolConfig } from 'pg'
import { rpcError } from '../../../shared/contract/error-reasons.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { type Logger, silentLogger } from '../../../shared/values/log.js'
import { migrate } from '../migrations/index.js'
import type { Database } from '../sql/schema.js'
import { createSqlStore } from '../sql-store.js'
import type { Store } from '../store.js'
import { postgresDatabase, toSqlError } from './postgres-dialect.js'
import { PostgresListener } from './postgres-listener.js'

/** Oldest major version of PostgreSQL that the statements are tested on. */
const oldestVersion = 15

export interface PostgresOptions {
  /** `postgres://USER:PASSWORD@HOST:PORT/DATABASE`; never logged */
  url: string
  /** default: no log */
  logger?: Logger | undefined
  /**
   * connections of this process, beside one connection that listens; default 10, PostgreSQL's own default allows 100 in
   * all
   */
  maxConnections?: number | undefined
  /** longest run of one statement; the server ends a longer statement */
  statementTimeoutMs?: number
  /** further wait for the server's own end of such a statement, which a hanging network keeps back */
  networkTimeoutMs?: number
  /** longest absence of the server until a call fails; with as long again for a repeat, below the deadline of a call */
  outageMs?: number
  /** see {@link PostgresListener} */
  listenerCheckMs?: number
}

const defaultOutageMs = 10_000
const connectTimeoutMs = 5_000
/**
 * Sessions keep plans, perhaps plans from a time when the tables were small. The settings give the plans that fit large
 * tables: all statements but the totals of admin.usage look up few rows. The embedded store has the same settings
 * (pglite-worker.js).
 */
const planSettings = '-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off'
const defaultNetworkTimeoutMs = 5_000
/** A process that hangs in the middle of a transaction must not hold locks for ever. */
const idleInTransactionTimeoutMs = 30_000

/**
 * Opens the store in a PostgreSQL database and brings the schema to this version; several processes may do so at once.
 * Calls wait up to 10 s for a connection to a restarting server, and repeatable calls are repeated.
 * @throws RpcError `PRECONDITION_FAILED`: `database_unreachable` if the server cannot be reached within 10 s or rejects
 *   the login, `database_newer`, `config_invalid` for a server that is too old
 */
export async function openPostgresStore(options: PostgresOptions): Promise<Store> {
  const { url, logger = silentLogger, maxConnections = 10, statementTimeoutMs = 15_000 } = options
  const { outageMs = defaultOutageMs, networkTimeoutMs = defaultNetworkTimeoutMs, listenerCheckMs = 5_000 } = options
  await migratePostgres({ url, logger, outageMs })
  const pool = openPool(logger, {
    ...connectionOptions(url),
    max: maxConnections,
    options: planSettings,
    statement_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs + networkTimeoutMs,
    idle_in_transaction_session_timeout: idleInTransactionTimeoutMs,
  })
  const database = postgresDatabase(pool, { acquireTimeoutMs: outageMs, getTypeParser })
  const changes = new PostgresListener({ connection: connectionOptions(url), logger, checkMs: listenerCheckMs })
  return createSqlStore(database, changes, { repeatForMs: outageMs })
}

/**
 * Brings the schema of a database to this version, with no limit on the run of a statement. A current schema is left
 * untouched, so a server whose role may not change the schema starts all the same.
 * @throws as {@link openPostgresStore}
 */
export async function migratePostgres(options: Pick<PostgresOptions, 'url' | 'logger' | 'outageMs'>): Promise<void> {
  const db = await openPostgresDatabase(options)
  await db.destroy()
}

/**
 * Opens one connection to a database whose schema is of this version, for long work: its statements have no time limit.
 * @throws as {@link openPostgresStore}
 */
export async function openPostgresDatabase({
  url,
  logger = silentLogger,
  outageMs = defaultOutageMs,
}: Pick<PostgresOptions, 'url' | 'logger' | 'outageMs'>): Promise<Kysely<Database>> {
  const pool = openPool(logger, { ...connectionOptions(url), max: 1 })
  const { db } = postgresDatabase(pool, { acquireTimeoutMs: outageMs, getTypeParser })
  try {
    await checkVersion(db)
    await migrate(db, 'the PostgreSQL database')
    return db
  } catch (error) {
    await db.destroy()
    throw error
  }
}

async function checkVersion(db: Kysely<Database>): Promise<void> {
  const { rows } = await sql<{ server_version_num: string }>`show server_version_num`.execute(db).catch(cause => {
    const { message } = toSqlError(cause)
    throw rpcError('database_unreachable', `the PostgreSQL database cannot be used: ${message}`, { cause })
  })
  const version = Math.floor(Number(rows[0]?.server_version_num) / 10_000)
  if (version >= oldestVersion) return
  throw new RpcError(
    'PRECONDITION_FAILED',
    `the server is PostgreSQL ${version}; it must be ${oldestVersion} or newer`,
    {
      reason: 'config_invalid',
    },
  )
}

function openPool(logger: Logger, config: PoolConfig): pg.Pool {
  const pool = new pg.Pool(config)
  // Without these two listeners a server that ends a session (57P01) would end this process.
  pool.on('error', error => logger.debug({ err: toSqlError(error) }, 'an idle connection to PostgreSQL ended'))
  pool.on('connect', client => {
    client.on('error', error => logger.debug({ err: toSqlError(error) }, 'a connection to PostgreSQL ended'))
  })
  return pool
}

function connectionOptions(url: string): PoolConfig {
  return {
    connectionString: url,
    application_name: 'aibridge',
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
    types: { getTypeParser },
  }
}

/** Reads int8 and numeric as numbers (all values are below 2^53) and a date as text, as PGlite does. */
const getTypeParser: typeof pg.types.getTypeParser = (oid: number, format?: 'text' | 'binary') => {
  if (oid === pg.types.builtins.INT8 || oid === pg.types.builtins.NUMERIC) return Number
  if (oid === pg.types.builtins.DATE) return String
  return format === undefined ? pg.types.getTypeParser(oid) : pg.types.getTypeParser(oid, format as 'text')
}
