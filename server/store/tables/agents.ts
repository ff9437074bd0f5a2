/** Agents and server processes in SQL; the guarantees stand in the store's contract. */
import { type Kysely, sql } from 'kysely'
import type { AgentConnected, AgentLink, AgentStore, Replica, ReplicaStore } from '../contract/agents.js'
import type { Database } from '../sql/schema.js'
import { userStore } from './users.js'

const columns = [
  'agents.id',
  'key_id as keyId',
  'agents.name',
  'owner_id as userId',
  'users.username',
  'agents.created_at as createdAt',
  'expires_at as expiresAt',
  'revoked_at as revokedAt',
  'last_seen_at as lastSeenAt',
  'instance',
  'build_version as buildVersion',
  'replica',
] as const

/** The agents of a database. */
export function agentStore(db: Kysely<Database>): AgentStore {
  const select = () => db.selectFrom('agents').leftJoin('users', 'users.id', 'agents.owner_id').select(columns)
  const byId = async (id: string) => (await select().where('agents.id', '=', id).executeTakeFirst()) ?? null

  return {
    async createAgent({ id, keyId, name, userId, secretHash, expiresAt }) {
      const created = await db
        .insertInto('agents')
        .values({ id, key_id: keyId, name, owner_id: userId, secret_hash: secretHash, expires_at: expiresAt })
        .onConflict(conflict => conflict.doNothing())
        .returning('id')
        .executeTakeFirst()
      return created ? byId(created.id) : null
    },

    async findAgent(idOrName) {
      const found = await select()
        .where(({ and, eb, or }) =>
          or([
            eb(sql<string>`agents.id::text`, '=', idOrName),
            and([eb('agents.name', '=', idOrName), eb('revoked_at', 'is', null)]),
          ]),
        )
        .executeTakeFirst()
      return found ?? null
    },

    async findAgentByKey(keyId) {
      const found = await select().select('secret_hash as secretHash').where('key_id', '=', keyId).executeTakeFirst()
      if (!found) return null
      const { secretHash, ...agent } = found
      return { agent, secretHash, owner: await userStore(db).findUser(agent.userId) }
    },

    listAgents() {
      return select().orderBy('agents.created_at', 'desc').orderBy('agents.id').execute()
    },

    async revokeAgent(id, at) {
      const revoked = await db
        .updateTable('agents')
        .set({ revoked_at: sql<Date>`coalesce(revoked_at, ${at}::timestamptz)` })
        .where('id', '=', id)
        .returning('id')
        .executeTakeFirst()
      return revoked ? byId(revoked.id) : null
    },

    async recordAgentConnected(id, { replica, instance, buildVersion, at, livesSince }) {
      const { rows } = await sql<AgentConnected>`
        with older as (select id, instance, replica, last_seen_at from agents where id = ${id}::uuid for update)
        update agents a set epoch = a.epoch + 1, replica = ${replica}::uuid, instance = ${instance}::uuid,
          build_version = ${buildVersion}::text, last_seen_at = greatest(a.last_seen_at, ${at}::timestamptz)
        from older where a.id = older.id
        returning a.epoch, 
          case when older.replica is not null and older.last_seen_at >= ${livesSince}::timestamptz then older.instance end
            as replaced`.execute(db)
      return rows[0] ?? null
    },

    async recordAgentsPresent(links, at) {
      if (links.length === 0) return
      // In one order, so that two servers never wait for each other in a circle.
      await sql`
        update agents a set last_seen_at = greatest(a.last_seen_at, ${at}::timestamptz)
        from (
          select agents.id from agents join json_to_recordset(${JSON.stringify(links)}::json) as r(id uuid, epoch bigint)
            on r.id = agents.id and r.epoch = agents.epoch
          order by agents.id for update of agents
        ) as present where a.id = present.id`.execute(db)
    },

    async recordAgentLeft({ id, epoch }, at) {
      await db
        .updateTable('agents')
        .set({ replica: null, last_seen_at: sql<Date>`greatest(last_seen_at, ${at}::timestamptz)` })
        .where('id', '=', id)
        .where('epoch', '=', epoch)
        .execute()
    },

    async readAgentLinks(ids, at) {
      if (ids.length === 0) return []
      const { rows } = await sql<AgentLink>`
        select a.id, a.epoch, a.instance, a.replica,
          a.revoked_at is null and (a.expires_at is null or a.expires_at > ${at}::timestamptz)
            and exists (select from users u where u.id = a.owner_id and u.status = 'active' and u.deleted_at is null)
            as "isValid"
        from agents a where a.id = any(${`{${ids.join(',')}}`}::uuid[])`.execute(db)
      return rows
    },
  }
}

/** The server processes of a database that others reach. */
export function replicaStore(db: Kysely<Database>): ReplicaStore {
  return {
    async recordReplicaSeen({ id, advertiseUrl }) {
      await sql`
        insert into replicas (id, advertise_url, seen_at) values (${id}::uuid, ${advertiseUrl}::text, now())
        on conflict (id) do update set advertise_url = excluded.advertise_url, seen_at = excluded.seen_at`.execute(db)
    },

    async findReplica(id, seenWithinMs) {
      const { rows } = await sql<Replica>`
        select id, advertise_url as "advertiseUrl" from replicas where id = ${id}::uuid and advertise_url is not null
          and seen_at > now() - ${seenWithinMs}::integer * interval '1 ms'`.execute(db)
      return rows[0] ?? null
    },

    async forgetReplicas({ id, notSeenForMs }) {
      await sql`
        delete from replicas where id = ${id}::uuid or seen_at < now() - ${notSeenForMs}::integer * interval '1 ms'
        `.execute(db)
    },
  }
}
