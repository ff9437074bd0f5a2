/** Statements that PostgreSQL gets together, as libpq's pipeline mode sends them. */
import type { Connection, FieldDef, PoolClient, Submittable } from 'pg'
import type { Statement, StatementResult } from '../sql/pipeline.js'

/** Returns the parser of a column by its type. */
export type GetTypeParser = (oid: number, format: 'text') => (value: string) => unknown

/** Distinct statements that a session keeps prepared for batches; more run unprepared. */
const maxPrepared = 256
/** Session → text of a prepared statement → its name. */
const prepared = new WeakMap<PoolClient, Map<string, string>>()

/**
 * Runs statements as {@link import('../sql/pipeline.js').Pipeline.run} says, in one session.
 * @throws the error of `pg`
 */
export function runBatch(
  client: PoolClient,
  statements: readonly Statement[],
  getTypeParser: GetTypeParser,
): Promise<StatementResult[]> {
  const names = prepared.get(client) ?? new Map<string, string>()
  prepared.set(client, names)
  return new Promise((resolve, reject) => {
    const callback: StatementBatch['callback'] = (error, results) => (error ? reject(error) : resolve(results ?? []))
    client.query(new StatementBatch(statements, names, getTypeParser, callback))
  })
}

/**
 * A query of `pg` that sends its statements in one write and with one Sync at the end: PostgreSQL runs them as one
 * transaction, which it commits at the Sync. `pg`'s own pipeline mode sends a Sync behind each statement.
 * https://www.postgresql.org/docs/18/protocol-flow.html#PROTOCOL-FLOW-PIPELINING
 */
class StatementBatch implements Submittable {
  /** `pg` replaces this where a query has a time limit. */
  callback: (error: Error | null, results?: StatementResult[]) => void
  readonly #statements: readonly Statement[]
  readonly #names: Map<string, string>
  readonly #getTypeParser: GetTypeParser
  readonly #results: StatementResult[] = []
  #fields: readonly { name: string; parse: (value: string) => unknown }[] = []
  #rows: unknown[] = []
  #stopCounting = () => {}

  /** @param names those of the session's prepared statements, to which the batch adds */
  constructor(
    statements: readonly Statement[],
    names: Map<string, string>,
    getTypeParser: GetTypeParser,
    callback: StatementBatch['callback'],
  ) {
    this.#statements = statements
    this.#names = names
    this.#getTypeParser = getTypeParser
    this.callback = callback
  }

  submit(connection: Connection): void {
    const added = new Map<string, string>()
    connection.stream.cork()
    for (const { sql, parameters } of this.#statements) {
      let name = this.#names.get(sql) ?? added.get(sql)
      if (name === undefined) {
        const size = this.#names.size + added.size
        name = size < maxPrepared ? `batch${size}` : ''
        connection.parse({ text: sql, name, types: [] }, true)
        if (name !== '') added.set(sql, name)
      }
      connection.bind({ statement: name, values: [...parameters] }, true)
      connection.describe({ type: 'P' }, true)
      connection.execute(null, true)
    }
    connection.sync()
    connection.stream.uncork()
    if (added.size > 0) this.#countPrepared(connection, added)
  }

  /** Statements stay prepared if a later one fails, so each counts as soon as PostgreSQL has it. */
  #countPrepared(connection: Connection, added: ReadonlyMap<string, string>): void {
    const waiting = [...added]
    const onParsed = () => {
      const [sql, name] = waiting.shift() ?? []
      if (sql !== undefined && name !== undefined) this.#names.set(sql, name)
    }
    connection.on('parseComplete', onParsed)
    this.#stopCounting = () => connection.off('parseComplete', onParsed)
  }

  handleRowDescription({ fields }: { fields: readonly FieldDef[] }): void {
    this.#fields = fields.map(({ name, dataTypeID }) => ({ name, parse: this.#getTypeParser(dataTypeID, 'text') }))
  }

  handleDataRow({ fields }: { fields: readonly (string | null)[] }): void {
    const columns = this.#fields.map(({ name, parse }, index) => {
      const field = fields[index]
      return [name, field === null || field === undefined ? null : parse(field)]
    })
    this.#rows.push(Object.fromEntries(columns))
  }

  handleCommandComplete({ text }: { text: string }): void {
    // "INSERT 0 2", "UPDATE 1", "SELECT 3"
    this.#results.push({ rows: this.#rows, rowCount: Number(text.slice(text.lastIndexOf(' ') + 1)) || 0 })
    this.#rows = []
  }

  handleError(error: Error): void {
    this.#stopCounting()
    this.callback(error)
  }

  handleReadyForQuery(): void {
    this.#stopCounting()
    this.callback(null, this.#results)
  }
}
