/** Daemon keys in SQL; the guarantees stand in store.ts. */
import { type Kysely, sql } from 'kysely'
import type { Database } from '../sql/schema.js'
import type { DaemonKeyStore } from '../store.js'

const columns = [
  'id',
  'name',
  'delegate',
  'created_at as createdAt',
  'expires_at as expiresAt',
  'revoked_at as revokedAt',
  'last_seen_at as lastSeenAt',
  'build_version as buildVersion',
] as const

/** The daemon keys of a database. */
export function daemonKeyStore(db: Kysely<Database>): DaemonKeyStore {
  return {
    async createDaemonKey({ id, name, delegate, secretHash, expiresAt }) {
      const created = await db
        .insertInto('daemon_keys')
        .values({ id, name, delegate, secret_hash: secretHash, expires_at: expiresAt })
        .onConflict(conflict => conflict.doNothing())
        .returning(columns)
        .executeTakeFirst()
      return created ?? null
    },

    async findDaemonKey(id) {
      const row = await db
        .selectFrom('daemon_keys')
        .select([...columns, 'secret_hash as secretHash'])
        .where('id', '=', id)
        .executeTakeFirst()
      return row ?? null
    },

    listDaemonKeys() {
      return db.selectFrom('daemon_keys').select(columns).orderBy('created_at', 'desc').orderBy('id').execute()
    },

    async revokeDaemonKey(id, at) {
      const revoked = await db
        .updateTable('daemon_keys')
        .set({ revoked_at: sql<Date>`coalesce(revoked_at, ${at}::timestamptz)` })
        .where('id', '=', id)
        .returning(columns)
        .executeTakeFirst()
      return revoked ?? null
    },

    async recordDaemonSeen(id, { at, buildVersion }) {
      await db
        .updateTable('daemon_keys')
        .set({ last_seen_at: at, build_version: buildVersion })
        .where('id', '=', id)
        .where(({ eb }) => eb.or([eb('last_seen_at', 'is', null), eb('last_seen_at', '<=', at)]))
        .execute()
    },

    async recordDaemonsConnected(ids, at) {
      if (ids.length === 0) return
      await db
        .updateTable('daemon_keys')
        .set({ last_seen_at: sql<Date>`greatest(last_seen_at, ${at}::timestamptz)` })
        .where('id', 'in', ids)
        .execute()
    },

    async findInvalidDaemonKeys(ids, at) {
      if (ids.length === 0) return []
      const valid = await db
        .selectFrom('daemon_keys')
        .select('id')
        .where('id', 'in', ids)
        .where('revoked_at', 'is', null)
        .where(({ eb }) => eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', at)]))
        .execute()
      const known = new Set(valid.map(({ id }) => id))
      return ids.filter(id => !known.has(id))
    },
  }
}
