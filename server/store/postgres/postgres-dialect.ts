/** kysely and a pipeline on a pool of PostgreSQL connections, each of which may be lost at any moment. */
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Driver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryResult,
  type TransactionSettings,
} from 'kysely'
import pg, { type Pool, type PoolClient } from 'pg'
import type { Statement, StatementResult } from '../sql/pipeline.js'
import type { Database } from '../sql/schema.js'
import type { SqlDatabase } from '../sql/sql-database.js'
import { connectionLost, isPassing, isStale, SqlError, type StatementPlace } from '../sql/sql-error.js'
import { type GetTypeParser, runBatch } from './statement-batch.js'

/** Pause between two attempts to connect; a server restarts within seconds. */
const connectAgainMs = 100

/**
 * Returns the database of a pool. A statement waits for a connection for `acquireTimeoutMs` in all, however often
 * connecting fails meanwhile. A lost or unresponsive connection does not go back to the pool. Every error is a
 * {@link SqlError}.
 */
export function postgresDatabase(
  pool: Pool,
  { acquireTimeoutMs, getTypeParser }: { acquireTimeoutMs: number; getTypeParser: GetTypeParser },
): SqlDatabase {
  const driver = new PostgresDriver(pool, acquireTimeoutMs)
  const dialect = {
    createDriver: () => driver,
    createQueryCompiler: () => new PostgresQueryCompiler(),
    createAdapter: () => new PostgresAdapter(),
    createIntrospector: (db: Kysely<unknown>) => new PostgresIntrospector(db),
  }
  return {
    db: new Kysely<Database>({ dialect }),
    pipeline: {
      isExclusive: false,
      async run(statements) {
        const connection = await driver.acquireConnection()
        try {
          return await connection.runBatch(statements, getTypeParser)
        } finally {
          connection.release()
        }
      },
    },
  }
}

class PostgresDriver implements Driver {
  readonly #pool: Pool
  readonly #acquireTimeoutMs: number

  constructor(pool: Pool, acquireTimeoutMs: number) {
    this.#pool = pool
    this.#acquireTimeoutMs = acquireTimeoutMs
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<PostgresConnection> {
    const giveUpAt = performance.now() + this.#acquireTimeoutMs
    for (;;) {
      try {
        return new PostgresConnection(await this.#pool.connect())
      } catch (cause) {
        const error = toSqlError(cause).uncommitted()
        if (this.#pool.ending || !isPassing(error) || performance.now() + connectAgainMs > giveUpAt) throw error
      }
      await new Promise(resolve => setTimeout(resolve, connectAgainMs))
    }
  }

  async beginTransaction(connection: PostgresConnection, settings: TransactionSettings): Promise<void> {
    const isolation = settings.isolationLevel ? ` isolation level ${settings.isolationLevel}` : ''
    const access = settings.accessMode ? ` ${settings.accessMode}` : ''
    connection.place = 'transaction'
    await connection.run(`start transaction${isolation}${access}`, [])
  }

  async commitTransaction(connection: PostgresConnection): Promise<void> {
    connection.place = 'commit'
    await connection.run('commit', [])
  }

  async rollbackTransaction(connection: PostgresConnection): Promise<void> {
    connection.place = 'transaction'
    // PostgreSQL rolls back the work of a lost connection by itself, and the first error is the error to report.
    if (!connection.isBroken) await connection.run('rollback', [])
  }

  async releaseConnection(connection: PostgresConnection): Promise<void> {
    connection.release()
  }

  async destroy(): Promise<void> {
    await this.#pool.end()
  }
}

/**
 * Distinct statements that a session keeps prepared, which saves parsing and, mostly, planning; more run unprepared.
 */
const maxPrepared = 256
const prepared = new WeakMap<PoolClient, Map<string, string>>()

class PostgresConnection implements DatabaseConnection {
  readonly #client: PoolClient
  isBroken = false
  place: StatementPlace = 'alone'

  constructor(client: PoolClient) {
    this.#client = client
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    const { rows, rowCount } = await this.run(sql, parameters)
    // The author of the statement knows the row's type, here as in every driver.
    return { rows: rows as R[], ...(rowCount !== null && { numAffectedRows: BigInt(rowCount) }) }
  }

  async run(text: string, values: readonly unknown[]): Promise<{ rows: unknown[]; rowCount: number | null }> {
    const name = this.#nameOf(text)
    return this.#guarded(this.#client.query({ text, values: [...values], ...(name !== undefined && { name }) }))
  }

  runBatch(statements: readonly Statement[], getTypeParser: GetTypeParser): Promise<StatementResult[]> {
    return this.#guarded(runBatch(this.#client, statements, getTypeParser))
  }

  async #guarded<T>(result: Promise<T>): Promise<T> {
    try {
      return await result
    } catch (cause) {
      const error = this.place === 'transaction' ? toSqlError(cause).uncommitted() : toSqlError(cause)
      // The server has ended this session, or the session's state is unknown, or the prepared statements are unusable.
      this.isBroken ||= !(cause instanceof pg.DatabaseError) || isEndOfSession(cause) || isStale(error)
      throw error
    }
  }

  /** Returns the name of the prepared statement in this session; undefined for a statement that runs unprepared. */
  #nameOf(text: string): string | undefined {
    let names = prepared.get(this.#client)
    if (!names) {
      names = new Map()
      prepared.set(this.#client, names)
    }
    let name = names.get(text)
    if (name === undefined && names.size < maxPrepared) {
      name = `s${names.size}`
      names.set(text, name)
    }
    return name
  }

  // biome-ignore lint/correctness/useYield: nothing streams from this store
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('this store does not stream')
  }

  release(): void {
    this.#client.release(this.isBroken)
  }
}

/**
 * Converts an error of `pg`: PostgreSQL's errors, the system's, and those of the driver without a code, which all mean
 * a missing or hanging connection.
 *
 * An error of the statement means that it was rolled back. The end of the session does not: PostgreSQL may have
 * committed, and wait for a standby.
 */
export function toSqlError(thrown: unknown): SqlError {
  if (thrown instanceof SqlError) return thrown
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  if (thrown instanceof pg.DatabaseError) {
    const { code, constraint } = thrown
    return new SqlError({ message, code, constraint, mayHaveCommitted: isEndOfSession(thrown) })
  }
  const code: unknown = Reflect.get(Object(thrown), 'code')
  const mayHaveCommitted = !message.endsWith(notQueryable)
  if (typeof code === 'string') return new SqlError({ message: message || code, code, mayHaveCommitted })
  return new SqlError({ message, code: connectionLost, mayHaveCommitted })
}

/** The end of two messages of `pg` about a client that had ended before the statement was sent. */
const notQueryable = 'is not queryable'

function isEndOfSession({ severity }: pg.DatabaseError): boolean {
  return /FATAL|PANIC/.test(severity ?? '')
}
