/** API keys in SQL; the guarantees stand in store.ts. */
import { type Kysely, sql } from 'kysely'
import type { ApiKey } from '../../../shared/contract/admin/api-keys.js'
import type { Database } from '../sql/schema.js'
import { inTransaction } from '../sql/transaction.js'
import type { ApiKeyStore, FoundApiKey } from '../store.js'

/** The API keys of a database. */
export function apiKeyStore(db: Kysely<Database>): ApiKeyStore {
  const withUsername = () =>
    db
      .selectFrom('api_keys as k')
      .leftJoin('users as u', 'u.id', 'k.user_id')
      .select([
        'k.id',
        'k.user_id as userId',
        'u.username',
        'k.name',
        'k.created_at as createdAt',
        'k.expires_at as expiresAt',
        'k.last_used_at as lastUsedAt',
      ])

  return {
    async createApiKey({ id, userId, name = null, secretHash, expiresAt }): Promise<ApiKey | null> {
      const created = await db
        .insertInto('api_keys')
        .values({ id, user_id: userId, name, secret_hash: secretHash, expires_at: expiresAt })
        .onConflict(conflict => conflict.doNothing())
        .returning('id')
        .executeTakeFirst()
      if (!created) return null
      return (await withUsername().where('k.id', '=', id).executeTakeFirst()) ?? null
    },

    findOrCreateChatsKey({ id, userId, secretHash }) {
      return inTransaction(db, async tx => {
        // The share of the user's row holds up the deletion of the user, so a purge finds the key.
        await sql`
          insert into api_keys (id, user_id, name, secret_hash, kind)
          select ${id}, owner.id, 'chats', ${secretHash}::bytea, 'chats'
          from (select id from users where id = ${userId}::uuid and deleted_at is null for share) as owner
          where not exists (select from api_keys where user_id = ${userId}::uuid and kind = 'chats')
          on conflict do nothing`.execute(tx)
        const stored = await tx
          .selectFrom('api_keys')
          .select('id')
          .where('user_id', '=', userId)
          .where('kind', '=', 'chats')
          .executeTakeFirst()
        return stored ? findKey(tx, stored.id) : null
      })
    },

    findApiKey: id => findKey(db, id),

    listApiKeys({ userId }) {
      const list = withUsername().orderBy('k.created_at').orderBy('k.id')
      return (userId === undefined ? list : list.where('k.user_id', '=', userId)).execute()
    },

    async expireApiKey(id, at): Promise<ApiKey | null> {
      // least() ignores null, which stands for "never".
      const expiresAt = sql<Date>`least(expires_at, ${at}::timestamptz)`
      await db.updateTable('api_keys').set({ expires_at: expiresAt }).where('id', '=', id).execute()
      return (await withUsername().where('k.id', '=', id).executeTakeFirst()) ?? null
    },

    async findInvalidApiKeys(ids, at) {
      if (ids.length === 0) return []
      const valid = await db
        .selectFrom('api_keys as k')
        .innerJoin('users as u', 'u.id', 'k.user_id')
        .select('k.id')
        .where('k.id', 'in', [...ids])
        .where(({ eb, or }) => or([eb('k.expires_at', 'is', null), eb('k.expires_at', '>', at)]))
        .where('u.status', '=', 'active')
        .where('u.deleted_at', 'is', null)
        .where('u.is_system', '=', false)
        .execute()
      const known = new Set(valid.map(({ id }) => id))
      return ids.filter(id => !known.has(id))
    },

    async deleteApiKey(id) {
      const { numDeletedRows } = await db.deleteFrom('api_keys').where('id', '=', id).executeTakeFirst()
      return numDeletedRows > 0n
    },

    async recordKeysUsed(ids, at) {
      if (ids.length === 0) return
      const due = db
        .selectFrom('api_keys')
        .select('id')
        .where('id', 'in', ids)
        .where(({ eb }) => eb.or([eb('last_used_at', 'is', null), eb('last_used_at', '<', at)]))
        .forNoKeyUpdate()
        .skipLocked()
      await db.updateTable('api_keys').set({ last_used_at: at }).where('id', 'in', due).execute()
    },
  }
}

async function findKey(db: Kysely<Database>, id: string): Promise<FoundApiKey | null> {
  const row = await db
    .selectFrom('api_keys as k')
    .leftJoin('users as u', 'u.id', 'k.user_id')
    .select([
      'k.id',
      'k.secret_hash',
      'k.expires_at',
      'k.last_used_at',
      'k.kind',
      'u.id as owner_id',
      'u.username',
      'u.status',
      'u.is_system',
      'u.created_at',
      'u.deleted_at',
    ])
    .where('k.id', '=', id)
    .executeTakeFirst()
  if (!row) return null
  const { owner_id, username, status, is_system, created_at } = row
  const hasOwner =
    owner_id !== null && username !== null && status !== null && is_system !== null && created_at !== null
  const owner = hasOwner
    ? { id: owner_id, username, status, isSystem: is_system, createdAt: created_at, deletedAt: row.deleted_at }
    : null
  const { secret_hash: secretHash, expires_at: expiresAt, last_used_at: lastUsedAt, kind } = row
  return { id: row.id, secretHash, expiresAt, lastUsedAt, kind, owner }
}
