/** Statements that go to a database together, beside kysely, which waits for the result of each. */

/** A statement; `parameters` are text or null. */
export interface Statement {
  sql: string
  parameters: readonly (string | null)[]
}

/** The result of a statement: its rows, and for a write the number of written rows. */
export interface StatementResult {
  rows: unknown[]
  rowCount: number
}

/** A database that takes statements together. */
export interface Pipeline {
  /** whether this process has the database's only session, so that no other transaction runs beside its own */
  readonly isExclusive: boolean
  /**
   * Runs statements in order as one transaction, in one round trip, and returns one result for each after the commit.
   * Each statement sees the rows of those before it.
   * @throws SqlError of the first statement that failed, or of the commit. Nothing has changed then, unless the
   *   connection was lost during the commit.
   */
  run(statements: readonly Statement[]): Promise<StatementResult[]>
}
