import type { Kysely } from 'kysely'
import type { Database } from './schema.js'

/** Runs `work` in a transaction: in the transaction that `db` is, or else in a new one. */
export function inTransaction<T>(db: Kysely<Database>, work: (tx: Kysely<Database>) => Promise<T>): Promise<T> {
  return db.isTransaction ? work(db) : db.transaction().execute(work)
}

/**
 * Runs reads that all see the database at one moment. In the transaction that `db` is, each statement sees the commits
 * of others before it.
 */
export function inSnapshot<T>(db: Kysely<Database>, work: (tx: Kysely<Database>) => Promise<T>): Promise<T> {
  if (db.isTransaction) return work(db)
  return db.transaction().setIsolationLevel('repeatable read').setAccessMode('read only').execute(work)
}
