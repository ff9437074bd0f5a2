/** Erases records, in SQL; the guarantees stand in store.ts. */
import { type Kysely, type RawBuilder, sql } from 'kysely'
import type { Database } from '../sql/schema.js'
import { inTransaction } from '../sql/transaction.js'
import type { Erased, ErasureStore } from '../store.js'
import { childKinds, tableOf } from './record-rows.js'

/** Key of an advisory lock, distinct from the other locks of this database. The holder erases old records. */
export const retentionLock = 0x61_69_62_72

/** The erasing methods of a database. */
export function erasureStore(db: Kysely<Database>): ErasureStore {
  return {
    eraseOldInterceptions({ startedBefore, unendedBefore, limit }) {
      return inTransaction(db, async tx => {
        if (!(await tryLock(tx))) return null
        return eraseWhere(
          tx,
          sql<boolean>`started_at < ${startedBefore}::timestamptz and (ended_at is not null or started_at < ${unendedBefore}::timestamptz)`,
          limit,
        )
      })
    },

    eraseInterceptionsOf({ initiatorId, limit }) {
      return inTransaction(db, tx => eraseWhere(tx, sql<boolean>`initiator_id = ${initiatorId}::uuid`, limit))
    },

    trimFeed({ notedBefore, limit }) {
      return inTransaction(db, async tx => {
        if (!(await tryLock(tx))) return null
        // A row is noted when a transaction begins and gets a position at the commit, so the times are not in order:
        // the erased part ends before the first row that must stay.
        const { rows } = await sql<{ rows: number; end: number | null }>`
          with oldest as materialized (
            select position, noted_at from record_feed order by position limit ${limit}
          ),
          trimmed as (
            delete from record_feed where position in (
              select position from oldest
              where position < coalesce(
                (select min(position) from oldest where noted_at >= ${notedBefore}::timestamptz), ${Number.MAX_SAFE_INTEGER}::bigint
              )
            )
            returning position
          )
          select count(*) as rows, max(position) as end from trimmed`.execute(tx)
        const [trimmed] = rows
        if (!trimmed || trimmed.end === null) return 0
        await tx.updateTable('record_feed_trimmed').set({ position: trimmed.end }).execute()
        return trimmed.rows
      })
    },
  }
}

/**
 * Returns whether this transaction has the lock, which lasts until the transaction ends in any way. The call never
 * waits.
 */
async function tryLock(tx: Kysely<Database>): Promise<boolean> {
  const { rows } = await sql<{ locked: boolean }>`select pg_try_advisory_xact_lock(${retentionLock}) as locked`.execute(
    tx,
  )
  return rows[0]?.locked === true
}

/**
 * Erases the oldest interceptions that meet the condition, with all their records.
 *
 * Interceptions are locked before their children are read: a child that is being inserted holds a lock that makes the
 * statement skip the interception, and a later child waits and then finds no interception (records.ts). The statements
 * wait for no lock, so no deadlock includes them.
 */
async function eraseWhere(tx: Kysely<Database>, condition: RawBuilder<boolean>, limit: number): Promise<Erased> {
  const found = await tx
    .selectFrom('interceptions')
    .select('id')
    .where(condition)
    .orderBy('started_at')
    .orderBy('id')
    .limit(limit)
    .forUpdate()
    .skipLocked()
    .execute()
  if (found.length === 0) return { interceptions: 0, records: 0 }
  // One array keeps the statements the same for any number of ids. PostgreSQL expects few elements, and looks each id
  // up in the index.
  const ids = sql`any(${`{${found.map(({ id }) => id).join(',')}}`}::uuid[])`
  let records = 0
  for (const kind of childKinds) {
    const { numDeletedRows } = await tx
      .deleteFrom(tableOf(kind))
      .where(sql<boolean>`interception_id = ${ids}`)
      .executeTakeFirst()
    records += Number(numDeletedRows)
  }
  await tx.deleteFrom('interceptions').where(sql<boolean>`id = ${ids}`).execute()
  return { interceptions: found.length, records }
}
