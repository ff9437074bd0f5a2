import type { Kysely } from 'kysely'
import type { Database } from './schema.js'

/** Runs `work` in a transaction: in the one that `db` is already, or else in one of its own. */
export function inTransaction<T>(db: Kysely<Database>, work: (tx: Kysely<Database>) => Promise<T>): Promise<T> {
  return db.isTransaction ? work(db) : db.transaction().execute(work)
}
