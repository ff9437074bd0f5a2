/** The presence of daemons in SQL; the guarantees stand in the store's contract. */
import { type Kysely, sql } from 'kysely'
import type { AbsentDaemon, DaemonInstanceStore } from '../contract/ends.js'
import type { Database } from '../sql/schema.js'

/** The presence of daemons in a database. */
export function daemonInstanceStore(db: Kysely<Database>): DaemonInstanceStore {
  return {
    async recordDaemonsPresent(daemons, { server, at }) {
      if (daemons.length === 0) return
      const rows = daemons.map(({ daemonInstance, daemonKeyId }) => ({ instance: daemonInstance, key: daemonKeyId }))
      // In one order, so that two servers never wait for each other in a circle.
      await sql`
        insert into daemon_instances as d (instance, daemon_key_id, connected_to, last_seen_at)
        select instance, key, ${server}::uuid, ${at}::timestamptz
        from json_to_recordset(${JSON.stringify(rows)}::json) as r(instance uuid, key text)
        order by instance
        on conflict (instance) do update
        set connected_to = excluded.connected_to, last_seen_at = excluded.last_seen_at, settled_at = null,
          declared_gone_at = case when d.connected_to = excluded.connected_to then d.declared_gone_at end
        where d.daemon_key_id is not distinct from excluded.daemon_key_id`.execute(db)
    },

    async recordDaemonsLeft(daemonInstances, { server, at }) {
      if (daemonInstances.length === 0) return
      await sql`
        update daemon_instances set connected_to = null, last_seen_at = ${at}::timestamptz
        where instance = ${anyOf(daemonInstances)} and connected_to = ${server}::uuid`.execute(db)
    },

    async recordUnnotedDaemons(at) {
      // One look into the index for each daemon, however many interceptions it has.
      await sql`
        with recursive daemons as (
          (select daemon_instance as instance from interceptions where daemon_instance is not null order by daemon_instance limit 1)
          union all
          select (
            select i.daemon_instance from interceptions i where i.daemon_instance > d.instance order by i.daemon_instance limit 1
          ) from daemons d where d.instance is not null
        )
        insert into daemon_instances (instance, daemon_key_id, last_seen_at)
        select instance, ${keyOfNewest(sql`daemons.instance`)}, ${at}::timestamptz
        from daemons where instance is not null and not exists (select from daemon_instances n where n.instance = daemons.instance)
        on conflict (instance) do nothing`.execute(db)
    },

    async listAbsentDaemons({ notSeenSince, at, limit }) {
      const { rows } = await sql<AbsentDaemon>`
        select ${absentColumns} from daemon_instances d
        where settled_at is null and (declared_gone_at is not null or (
          last_seen_at < ${notSeenSince}::timestamptz and not exists (
            select from interceptions i where i.daemon_instance = d.instance
            and i.started_at >= ${notSeenSince}::timestamptz and i.started_at <= ${at}::timestamptz
          )
        ))
        order by last_seen_at, instance limit ${limit}`.execute(db)
      return rows
    },

    async declareDaemonsGone(daemonInstances, { daemonKeyId, at }) {
      const { rows } = await sql<AbsentDaemon>`
        insert into daemon_instances as d (instance, daemon_key_id, last_seen_at, declared_gone_at)
        select instance, ${daemonKeyId}::text, ${at}::timestamptz, ${at}::timestamptz
        from (
          select instance, (
            select i.daemon_key_id is not distinct from ${daemonKeyId}::text from interceptions i
            where i.daemon_instance = instance order by i.started_at desc, i.id desc limit 1
          ) as is_own
          from unnest(${arrayOf(daemonInstances)}) as instance
        ) as named where is_own
        order by instance
        on conflict (instance) do update set declared_gone_at = coalesce(d.declared_gone_at, excluded.declared_gone_at)
        where d.daemon_key_id is not distinct from excluded.daemon_key_id and d.settled_at is null
        returning ${absentColumns}`.execute(db)
      return rows
    },

    async settleDaemon({ daemonInstance, lastSeenAt, at }) {
      await db
        .updateTable('daemon_instances')
        .set({ settled_at: at })
        .where('instance', '=', daemonInstance)
        .where('last_seen_at', '=', lastSeenAt)
        .execute()
    },

    async forgetDaemons({ notSeenSince }) {
      const { numDeletedRows } = await db
        .deleteFrom('daemon_instances')
        .where('last_seen_at', '<', notSeenSince)
        .where('settled_at', 'is not', null)
        .where(
          sql<boolean>`not exists (select from interceptions i where i.daemon_instance = daemon_instances.instance)`,
        )
        .executeTakeFirst()
      return Number(numDeletedRows)
    },
  }
}

const absentColumns = sql`d.instance as "daemonInstance", d.last_seen_at as "lastSeenAt",
  d.connected_to is not null as "isConnected", d.declared_gone_at is not null as "isDeclaredGone"`

/** One array keeps the statement the same for any number of ids. */
function arrayOf(ids: readonly string[]) {
  return sql`${`{${ids.join(',')}}`}::uuid[]`
}

function anyOf(ids: readonly string[]) {
  return sql`any(${arrayOf(ids)})`
}

/** The key of a daemon's newest interception. */
function keyOfNewest(instance: ReturnType<typeof sql>) {
  return sql`(
    select i.daemon_key_id from interceptions i where i.daemon_instance = ${instance}
    order by i.started_at desc, i.id desc limit 1
  )`
}
