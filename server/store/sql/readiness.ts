import { type Kysely, sql } from 'kysely'
import type { Database } from './schema.js'
import { SqlError } from './sql-error.js'

/**
 * Checks that a database can commit a write, and that its disk has room.
 *
 * A write of one row shows no full disk: it fits into pages, and into a segment of the log, that exist already. A query
 * above its memory writes to a temporary file at once, beside the tables unless `temp_tablespaces` says otherwise, and
 * leaves nothing behind, no row and no entry of a catalogue.
 */
export async function checkReadiness(db: Kysely<Database>): Promise<void> {
  await spill(db).catch((error: unknown) => {
    // The operator's own limit of temporary files (temp_file_limit): the disk was not asked.
    if (!(error instanceof SqlError && error.code === '53400')) throw error
  })
  // One row, which is the same row each time.
  await db
    .insertInto('server_state')
    .values({ key: 'readiness_checked' })
    .onConflict(conflict => conflict.column('key').doUpdateSet({ set_at: sql`now()` }))
    .execute()
}

/**
 * A query of 256 KiB, four times the smallest `work_mem`: some milliseconds. A sort may stay below its memory, a CTE
 * not.
 */
export const spilling = `
  with spilled as materialized (select repeat(md5(n::text), 32) as text from generate_series(1, 256) n)
  select sum(length(text)) from spilled`

/** The smallest value; the setting ends with the transaction. */
export const smallMemory = "set local work_mem = '64kB'"

async function spill(db: Kysely<Database>): Promise<void> {
  await db.transaction().execute(async tx => {
    await sql.raw(smallMemory).execute(tx)
    await sql.raw(spilling).execute(tx)
  })
}
