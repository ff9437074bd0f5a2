/** Rows by the short form of their id, in SQL; the guarantees stand in store.ts, the indexes in migration 0004. */
import { type Kysely, type RawBuilder, sql } from 'kysely'
import type { Database } from '../sql/schema.js'
import type { ShortIdPlace, ShortIdStore } from '../store.js'

/** Place → the select of its ids. The expression is that of the index, to the letter. */
const selects: Record<ShortIdPlace, (shortId: string) => RawBuilder<{ id: string }>> = {
  users: shortId => sql`select id from users where right(id::text, 12) collate "C" = ${shortId}`,
  interceptions: shortId => sql`select id from interceptions where right(id::text, 12) collate "C" = ${shortId}`,
  auditTargets: shortId => sql`
    select distinct target as id from audit_log where target is not null and right(target, 12) collate "C" = ${shortId}`,
}

/** The short ids of a database. */
export function shortIdStore(db: Kysely<Database>): ShortIdStore {
  return {
    async findByShortId({ place, shortId, limit }) {
      const { rows } = await sql<{ id: string }>`${selects[place](shortId)} order by id limit ${limit}`.execute(db)
      return rows.map(({ id }) => id)
    },
  }
}
