/** The error of a database; `code` is the SQLSTATE, or the system's name of the connection's failure. */
export class SqlError extends Error {
  override readonly name = 'SqlError'
  readonly code: string | undefined
  readonly constraint: string | undefined
  /**
   * Whether the statement may have been committed all the same: it was sent, and neither its result nor an error of the
   * statement has arrived.
   */
  readonly mayHaveCommitted: boolean

  /** PostgreSQL's detail, hint and context are left out: such text may quote the row, and errors are logged. */
  constructor({ message, code, constraint, mayHaveCommitted = false, cause }: SqlErrorFields) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.constraint = constraint
    this.mayHaveCommitted = mayHaveCommitted
  }

  /** Returns this error as that of a statement which a transaction without a commit contains. */
  uncommitted(): SqlError {
    return this.mayHaveCommitted ? copyOf(this, false) : this
  }
}

interface SqlErrorFields {
  message: string
  code?: string | undefined
  constraint?: string | undefined
  mayHaveCommitted?: boolean
  cause?: unknown
}

/** Returns whether failed work may be stored. An error of this program says nothing about its statements. */
export function mayHaveCommitted(error: unknown): boolean {
  return error instanceof SqlError ? error.mayHaveCommitted : true
}

/** Returns the error as that of work of which a part may be committed. */
export function partlyCommitted(error: unknown): unknown {
  if (!(error instanceof SqlError) || error.mayHaveCommitted) return error
  return copyOf(error, true)
}

function copyOf({ message, code, constraint, cause }: SqlError, mayHaveCommitted: boolean): SqlError {
  return new SqlError({ message, code, constraint, mayHaveCommitted, cause })
}

/** The code of a connection that ended, or did not respond in time, during a statement. */
export const connectionLost = 'CONNECTION_LOST'

/** The code of an embedded database whose thread has ended. */
export const threadEnded = 'THREAD_ENDED'

/**
 * The place of a statement: by itself, in a transaction, or the commit. A statement in a transaction is not committed
 * before the commit, whatever became of it.
 */
export type StatementPlace = 'alone' | 'transaction' | 'commit'

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

/**
 * Returns the SQLSTATE of an error that the content of a row causes each time: data that a type cannot hold (class 22),
 * a broken constraint (23), or more than an index or the stack takes (54). Undefined for other errors.
 */
export function contentFault(error: unknown): string | undefined {
  return error instanceof SqlError && /^(22|23|54)/.test(error.code ?? '') ? error.code : undefined
}

/** Returns whether one row may be why a statement for many rows failed: also by a trigger (P0), or a fault (XX). */
export function mayBeOfOneRow(error: unknown): boolean {
  return contentFault(error) !== undefined || (error instanceof SqlError && /^(P0|XX)/.test(error.code ?? ''))
}
