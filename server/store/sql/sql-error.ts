/** The error of a database; `code` is the SQLSTATE, or the system's name of the connection's failure. */
export class SqlError extends Error {
  override readonly name = 'SqlError'
  readonly code: string | undefined
  readonly constraint: string | undefined

  /** PostgreSQL's detail, hint and context are left out: such text may quote the row, and errors are logged. */
  constructor({
    message,
    code,
    constraint,
  }: { message: string; code?: string | undefined; constraint?: string | undefined }) {
    super(message)
    this.code = code
    this.constraint = constraint
  }
}

/** The code of a connection that ended, or did not respond in time, during a statement. */
export const connectionLost = 'CONNECTION_LOST'

/**
 * https://www.postgresql.org/docs/18/errcodes-appendix.html: class 08 (connection), 57P (the server stops, crashed or
 * starts), too many connections, serialization failure and deadlock, a lock that was not free in time, and a server
 * that became a standby.
 */
const passingStates = /^(08...|57P0[1-5]|53300|40001|40P01|55P03|25006)$/
const passingSystemErrors =
  /^(ECONNREFUSED|ECONNRESET|ECONNABORTED|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EAI_AGAIN|ENOENT)$/

/**
 * Returns whether the same statement may succeed a moment later: the server restarts, the network hangs, or two
 * transactions collide.
 */
export function isPassing(error: unknown): boolean {
  if (!(error instanceof SqlError) || error.code === undefined) return false
  return (
    error.code === connectionLost ||
    isStale(error) ||
    passingStates.test(error.code) ||
    passingSystemErrors.test(error.code)
  )
}

/**
 * Returns whether the session's prepared statements are unusable: a newer version migrated the table, or a pooler
 * handed out another session.
 */
export function isStale({ code, message }: SqlError): boolean {
  return code === '26000' || (code === '0A000' && message.includes('cached plan'))
}

/** Returns whether a row refers to a missing or deleted row. */
export function isForeignKeyViolation(error: unknown): boolean {
  return error instanceof SqlError && error.code === '23503'
}
