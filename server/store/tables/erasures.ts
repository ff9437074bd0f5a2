/** Erasures that reach the outboxes of daemons, in SQL; the guarantees stand in the store's contract. */
import { type Kysely, sql } from 'kysely'
import type { Erasure, ErasureState, OutboxErasureStore, UnreachedDaemon } from '../contract/erasures.js'
import type { Database } from '../sql/schema.js'
import { inTransaction } from '../sql/transaction.js'

interface StateRow extends Pick<ErasureState, 'confirmed' | 'records'>, Omit<UnreachedDaemon, 'lastSeenAt'> {
  lastSeenAt: Date | null
}

/** The erasures of a database. */
export function outboxErasureStore(db: Kysely<Database>): OutboxErasureStore {
  return {
    async recordOutboxWatched({ outboxId, daemonKeyId, isDurable }, { watch, at }) {
      await sql`
        insert into daemon_outboxes as o (id, daemon_key_id, is_durable, watched_by, last_seen_at)
        values (${outboxId}::uuid, ${daemonKeyId}, ${isDurable}::boolean, ${watch}::uuid, ${at}::timestamptz)
        on conflict (id) do update
        set daemon_key_id = excluded.daemon_key_id, is_durable = excluded.is_durable, is_empty = false,
          watched_by = excluded.watched_by, last_seen_at = excluded.last_seen_at`.execute(db)
    },

    async recordOutboxLeft(outboxId, { watch, at }) {
      await db
        .updateTable('daemon_outboxes')
        .set({ watched_by: null, last_seen_at: at })
        .where('id', '=', outboxId)
        .where('watched_by', '=', watch)
        .execute()
    },

    async recordOutboxEmpty({ outboxId, daemonKeyId }, at) {
      await db
        .updateTable('daemon_outboxes')
        .set({ is_empty: true, last_seen_at: at })
        .where('id', '=', outboxId)
        .where(isOfKey(daemonKeyId))
        .execute()
    },

    beginErasure({ erasureId, userId, at }) {
      return inTransaction(db, async tx => {
        const { rows } = await sql<{ id: string }>`
          with open as materialized (
            select id from erasures where user_id = ${userId}::uuid and finished_at is null order by begun_at desc, id desc limit 1
          ),
          begun as (
            insert into erasures (id, user_id, begun_at)
            select ${erasureId}::uuid, ${userId}::uuid, ${at}::timestamptz where not exists (select from open)
            returning id
          )
          select id from open union all select id from begun`.execute(tx)
        const current = rows[0]?.id ?? erasureId
        await tx
          .deleteFrom('erasures')
          .where('user_id', '=', userId)
          .where('id', '<>', current)
          .where('finished_at', 'is not', null)
          .execute()
        return current
      })
    },

    async findErasure(userId) {
      const found = await db
        .selectFrom('erasures')
        .select('id')
        .where('user_id', '=', userId)
        .orderBy('begun_at', 'desc')
        .orderBy('id', 'desc')
        .limit(1)
        .executeTakeFirst()
      return found?.id ?? null
    },

    listErasures({ outboxId, limit }) {
      return db
        .selectFrom('erasures as e')
        .select(['e.id as erasureId', 'e.user_id as userId'])
        .where(
          sql<boolean>`not exists (select from erasure_confirmations c where c.erasure_id = e.id and c.outbox_id = ${outboxId}::uuid)`,
        )
        .orderBy('e.begun_at')
        .orderBy('e.id')
        .limit(limit)
        .execute()
    },

    confirmErasures({ outboxId, daemonKeyId }, { erasures, areRecordsErased = false }) {
      return inTransaction(db, async tx => {
        const outbox = await tx
          .selectFrom('daemon_outboxes')
          .select('id')
          .where('id', '=', outboxId)
          .where(isOfKey(daemonKeyId))
          .executeTakeFirst()
        if (!outbox) return null
        // A purge that finishes at this moment waits for the lock, and then sees what this outbox handed over before;
        // or this statement waits, and sees that the purge is finished.
        const { rows } = await sql<Erasure & { isFinished: boolean }>`
          select id as "erasureId", user_id as "userId", finished_at is not null as "isFinished" from erasures
          where id = any(${`{${erasures.map(({ erasureId }) => erasureId).join(',')}}`}::uuid[])
          order by id for share`.execute(tx)
        const late = areRecordsErased ? [] : rows.filter(({ isFinished }) => isFinished)
        const recordsOf = new Map(erasures.map(({ erasureId, records }) => [erasureId, records]))
        const confirmed = rows.flatMap(row => {
          return late.includes(row) ? [] : [{ id: row.erasureId, records: recordsOf.get(row.erasureId) ?? 0 }]
        })
        if (confirmed.length > 0) {
          await sql`
            insert into erasure_confirmations (erasure_id, outbox_id, records)
            select id, ${outboxId}::uuid, records
            from json_to_recordset(${JSON.stringify(confirmed)}::json) as r(id uuid, records integer)
            order by id on conflict do nothing`.execute(tx)
        }
        return late.map(({ erasureId, userId }) => ({ erasureId, userId }))
      })
    },

    async readErasure(erasureId, { seenSince, memorySeenSince, connectedSince }) {
      // One statement, so that an outbox that confirms meanwhile is counted or named.
      const { rows } = await sql<StateRow>`
        with unreached as (
          select o.daemon_key_id as "daemonKeyId", k.name, o.last_seen_at as "lastSeenAt",
            o.watched_by is not null and o.last_seen_at >= ${connectedSince}::timestamptz as "isConnected"
          from daemon_outboxes o left join daemon_keys k on k.id = o.daemon_key_id
          where not o.is_empty
            and o.last_seen_at >= case when o.is_durable then ${seenSince}::timestamptz else ${memorySeenSince}::timestamptz end
            and not exists (select from erasure_confirmations c where c.erasure_id = ${erasureId}::uuid and c.outbox_id = o.id)
          union all
          select k.id, k.name, k.last_seen_at, false from daemon_keys k
          where k.last_seen_at >= ${seenSince}::timestamptz
            and not exists (select from daemon_outboxes o where o.daemon_key_id = k.id)
        )
        select confirmed, records, unreached.*
        from (
          select count(*) as confirmed, coalesce(sum(records), 0) as records from erasure_confirmations
          where erasure_id = ${erasureId}::uuid
        ) as counts left join unreached on true
        order by "lastSeenAt" desc, "daemonKeyId"`.execute(db)
      const [{ confirmed, records } = { confirmed: 0, records: 0 }] = rows
      // Without an unreached daemon the one row has the counts alone.
      const unreached = rows.flatMap(({ daemonKeyId, name, lastSeenAt, isConnected }) =>
        lastSeenAt === null ? [] : [{ daemonKeyId, name, lastSeenAt, isConnected }],
      )
      return { confirmed, records, unreached }
    },

    async forgetErasures({ begunBefore, outboxesSeenBefore }) {
      await db.deleteFrom('erasures').where('begun_at', '<', begunBefore).execute()
      await db.deleteFrom('daemon_outboxes').where('last_seen_at', '<', outboxesSeenBefore).execute()
    },
  }
}

function isOfKey(daemonKeyId: string | null) {
  return sql<boolean>`daemon_key_id is not distinct from ${daemonKeyId}::text`
}
