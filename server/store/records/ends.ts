/** Ends by the control plane, in SQL; the guarantees stand in the store's contract. */
import { type Kysely, type RawBuilder, sql } from 'kysely'
import type { EndStore, OpenInterceptionsQuery } from '../contract/ends.js'
import type { Database } from '../sql/schema.js'

interface Row {
  kind: 'ended' | 'skipped' | 'last'
  id: string
  time: Date
}

/** The ends of a database. */
export function endStore(db: Kysely<Database>): EndStore {
  return {
    async endOpenInterceptions(query, { at, errorMessage }) {
      // Locks are never waited for, so a transaction that waits for one of these cannot close a circle.
      const { rows } = await sql<Row>`
        with part as materialized (
          select id, started_at, ended_at is null and ${isOfKey(query)} as is_open from interceptions
          where ${isInPart(query)}
          order by daemon_instance desc, started_at desc, id desc limit ${query.limit}
        ),
        free as materialized (
          select id from interceptions where id = any(array(select id from part where is_open)) and ended_at is null
          for update skip locked
        ),
        ended as (
          update interceptions
          set ended_at = greatest(${at}::timestamptz, started_at), error_type = 'unknown', error_message = ${errorMessage},
            ended_by = 'control_plane'
          where id = any(array(select id from free))
          returning id, ended_at
        )
        select 'ended' as kind, id, ended_at as time from ended
        union all
        select 'skipped', id, started_at from part where is_open and id not in (select id from free)
        union all
        (select 'last', id, started_at from part where (select count(*) from part) = ${query.limit} order by started_at, id limit 1)`.execute(
        db,
      )
      const [last] = rows.filter(({ kind }) => kind === 'last')
      return {
        ended: rows.flatMap(({ kind, id, time }) => (kind === 'ended' ? [{ id, endedAt: time }] : [])),
        skipped: rows.filter(({ kind }) => kind === 'skipped').length,
        next: last ? { startedAt: last.time, id: last.id } : null,
      }
    },
  }
}

function isOfKey({ daemonKeyId }: OpenInterceptionsQuery): RawBuilder<boolean> {
  return daemonKeyId === undefined ? sql`true` : sql`daemon_key_id is not distinct from ${daemonKeyId}::text`
}

/**
 * A part is a range of one index, as a page of a list is: an equality would let the planner drop the column from the
 * order, and read the interceptions of all daemons by time.
 */
function isInPart({ daemonInstance, before, startedFrom, startedBefore }: OpenInterceptionsQuery): RawBuilder<boolean> {
  const daemon = sql`${daemonInstance}::uuid`
  const conditions = [
    daemonInstance === null
      ? sql`daemon_instance is null`
      : sql`daemon_instance >= ${daemon} and daemon_instance <= ${daemon}`,
  ]
  if (before) {
    const [columns, values] = daemonInstance === null ? [sql``, sql``] : [sql`daemon_instance, `, sql`${daemon}, `]
    conditions.push(sql`(${columns}started_at, id) < (${values}${before.startedAt}::timestamptz, ${before.id}::uuid)`)
  }
  if (startedFrom) conditions.push(sql`started_at >= ${startedFrom}::timestamptz`)
  if (startedBefore) conditions.push(sql`started_at < ${startedBefore}::timestamptz`)
  return sql.join(conditions, sql` and `)
}
