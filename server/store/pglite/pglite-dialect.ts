/** kysely and a pipeline on one PGlite session. */
import {
  CompiledQuery,
  type DatabaseConnection,
  type Driver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryResult,
  type TransactionSettings,
} from 'kysely'
import type { Database } from '../sql/schema.js'
import type { SqlDatabase } from '../sql/sql-database.js'
import { SqlError, type StatementPlace } from '../sql/sql-error.js'
import type { PGliteThread } from './pglite-thread.js'

/** The used part of a session. */
type PGliteSession = Pick<PGliteThread, 'query' | 'run' | 'close'>

/**
 * Returns the database of a PGlite session. A transaction owns the session meanwhile; other statements are sent without
 * waiting for each other.
 */
export function pgliteDatabase(thread: PGliteSession): SqlDatabase {
  const session = new Session()
  const dialect = {
    createDriver: () => new PGliteDriver(thread, session),
    createQueryCompiler: () => new PostgresQueryCompiler(),
    createAdapter: () => new PostgresAdapter(),
    createIntrospector: (db: Kysely<unknown>) => new PostgresIntrospector(db),
  }
  return {
    db: new Kysely<Database>({ dialect }),
    pipeline: {
      isExclusive: true,
      run: statements => session.run({}, () => thread.run(statements)),
    },
  }
}

class PGliteDriver implements Driver {
  readonly #thread: PGliteSession
  readonly #session: Session

  constructor(thread: PGliteSession, session: Session) {
    this.#thread = thread
    this.#session = session
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<PGliteConnection> {
    return new PGliteConnection(this.#thread, this.#session)
  }

  async beginTransaction(connection: PGliteConnection, settings: TransactionSettings): Promise<void> {
    await this.#session.take(connection)
    connection.place = 'transaction'
    const isolation = settings.isolationLevel ? ` isolation level ${settings.isolationLevel}` : ''
    const access = settings.accessMode ? ` ${settings.accessMode}` : ''
    // The response is not awaited, which saves a turn of the thread: statements run in order, and a dead thread makes
    // the next statement fail.
    connection.executeQuery(CompiledQuery.raw(`start transaction${isolation}${access}`)).catch(() => {})
  }

  async commitTransaction(connection: PGliteConnection): Promise<void> {
    connection.place = 'commit'
    await connection.executeQuery(CompiledQuery.raw('commit'))
    // After a failed commit kysely rolls back, and the transaction owns the session until then.
    this.#session.give()
  }

  async rollbackTransaction(connection: PGliteConnection): Promise<void> {
    // The work of a lost thread is rolled back by itself, and the first error is the error to report.
    await connection.executeQuery(CompiledQuery.raw('rollback')).catch(() => {})
    this.#session.give()
  }

  async releaseConnection(): Promise<void> {}

  destroy(): Promise<void> {
    return this.#thread.close()
  }
}

class PGliteConnection implements DatabaseConnection {
  readonly #thread: PGliteSession
  readonly #session: Session
  place: StatementPlace = 'alone'

  constructor(thread: PGliteSession, session: Session) {
    this.#thread = thread
    this.#session = session
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    const sent = this.#session.run(this, () => this.#thread.query(sql, parameters))
    const { rows, rowCount } = this.place === 'transaction' ? await sent.catch(throwUncommitted) : await sent
    // The author of the statement knows the row's type, here as in every driver.
    return { rows: rows as R[], numAffectedRows: BigInt(rowCount) }
  }

  // biome-ignore lint/correctness/useYield: nothing streams from this store
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('PGlite returns all rows at once and cannot stream it')
  }
}

function throwUncommitted(error: unknown): never {
  throw error instanceof SqlError ? error.uncommitted() : error
}

/** The queue of the one session: all senders, or the owner of a transaction alone. First come, first served. */
class Session {
  #owner: object | undefined
  readonly #queue: { owner?: object; go: () => void }[] = []

  /** Calls `send` as soon as no transaction owns the session, in the very turn in which the session becomes free. */
  run<T>(sender: object, send: () => Promise<T>): Promise<T> {
    if (this.#owner === sender || this.#isFree()) return send()
    return new Promise(resolve => this.#queue.push({ go: () => resolve(send()) }))
  }

  take(owner: object): Promise<void> {
    if (this.#isFree()) {
      this.#owner = owner
      return Promise.resolve()
    }
    return new Promise(resolve => this.#queue.push({ owner, go: resolve }))
  }

  give(): void {
    this.#owner = undefined
    while (this.#owner === undefined) {
      const next = this.#queue.shift()
      if (!next) return
      this.#owner = next.owner
      next.go()
    }
  }

  #isFree(): boolean {
    return this.#owner === undefined && this.#queue.length === 0
  }
}
