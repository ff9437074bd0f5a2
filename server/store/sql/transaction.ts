import type { Kysely } from 'kysely'
import type { Database } from './schema.js'

/** Runs `work` in a transaction: in the transaction that `db` is, or else in a new one. */
export function inTransaction<T>(db: Kysely<Database>, work: (tx: Kysely<Database>) => Promise<T>): Promise<T> {
  return db.isTransaction ? work(db) : db.transaction().execute(work)
}
