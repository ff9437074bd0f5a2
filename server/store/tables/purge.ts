/** Erasing a user, in SQL; the guarantees stand in store.ts. */
import { type Kysely, sql } from 'kysely'
import type { JsonObject, JsonValue } from '../../../shared/values/text.js'
import type { Database } from '../sql/schema.js'
import { inTransaction } from '../sql/transaction.js'
import type { PurgeStore } from '../store.js'

/** The erasing of a database's users. */
export function purgeStore(db: Kysely<Database>): PurgeStore {
  return {
    async holdsUser(id) {
      const { rows } = await sql<{ held: boolean }>`
        select exists (select from users where id = ${id}::uuid)
          or exists (select from api_keys where user_id = ${id}::uuid)
          or exists (select from external_auth_links where user_id = ${id}::uuid)
          or exists (select from interceptions where initiator_id = ${id}::uuid) as held`.execute(db)
      return rows[0]?.held === true
    },

    rejectUser(id, at) {
      return inTransaction(db, async tx => {
        const deleted = await tx
          .updateTable('users')
          .set({ deleted_at: sql<Date>`now()` })
          .where('id', '=', id)
          .where('deleted_at', 'is', null)
          .executeTakeFirst()
        const expired = await tx
          .updateTable('api_keys')
          .set({ expires_at: at })
          .where('user_id', '=', id)
          .where(({ eb }) => eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', at)]))
          .executeTakeFirst()
        return deleted.numUpdatedRows > 0n || expired.numUpdatedRows > 0n
      })
    },

    eraseUser(id) {
      return inTransaction(db, async tx => {
        // A confirmation under way is waited for: what its daemon handed over before then counts below.
        await tx.selectFrom('erasures').select('id').where('user_id', '=', id).orderBy('id').forUpdate().execute()
        const left = await tx.selectFrom('interceptions').select('id').where('initiator_id', '=', id).limit(1).execute()
        if (left.length > 0) return null
        const kept = await tx.selectFrom('conversations').select('key').where('user_id', '=', id).limit(1).execute()
        if (kept.length > 0) return null
        const chats = await tx.selectFrom('chats').select('id').where('owner_id', '=', id).limit(1).execute()
        if (chats.length > 0) return null
        const keys = await tx.deleteFrom('api_keys').where('user_id', '=', id).executeTakeFirst()
        const links = await tx.deleteFrom('external_auth_links').where('user_id', '=', id).executeTakeFirst()
        const user = await tx
          .deleteFrom('users')
          .where('id', '=', id)
          .returning(['id', 'username', textOf('created_at').as('createdAt'), textOf('deleted_at').as('deletedAt')])
          .executeTakeFirst()
        if (user) await scrubAuditLog(tx, user)
        await tx
          .updateTable('erasures')
          .set({ finished_at: sql<Date>`now()` })
          .where('user_id', '=', id)
          .where('finished_at', 'is', null)
          .execute()
        return { apiKeys: Number(keys.numDeletedRows), links: Number(links.numDeletedRows) }
      })
    },
  }
}

/** Times as text: a `Date` drops the microseconds. */
interface NamedUser {
  id: string
  username: string
  createdAt: string | null
  deletedAt: string | null
}

function textOf(column: 'created_at' | 'deleted_at') {
  return sql<string | null>`${sql.ref(column)}::text`
}

/** Puts the user's id where entries have the name. */
async function scrubAuditLog(tx: Kysely<Database>, user: NamedUser): Promise<void> {
  const candidates = await tx
    .selectFrom('audit_log')
    .select(['id', 'action', 'target', 'details'])
    // Another user may have the name before and after. Entries have whole milliseconds.
    .select(
      sql<boolean>`at >= date_trunc('milliseconds', ${user.createdAt}::timestamptz) and at <= coalesce(${user.deletedAt}::timestamptz, 'infinity')`.as(
        'hadName',
      ),
    )
    .where(
      sql<boolean>`(target = ${user.username} or strpos(details::text, ${JSON.stringify(user.username)}::text) > 0)`,
    )
    .execute()
  for (const { id, action, target, details, hadName } of candidates) {
    const isAboutUser = target === user.id || JSON.stringify(details).includes(user.id)
    if (!isAboutUser && !hadName) continue
    await tx
      .updateTable('audit_log')
      .set({
        target: target === user.username && action.startsWith('users.') ? user.id : target,
        details: details && JSON.stringify(scrubbed(details, user, isAboutUser)),
      })
      .where('id', '=', id)
      .execute()
  }
}

/** Fields that name a user, whatever else an entry is about. */
const userFields = new Set(['user', 'username'])

/** `isAboutUser`: the name stands for this user in any field; else in those that name users only. */
function scrubbed(details: JsonObject, user: NamedUser, isAboutUser: boolean): JsonObject {
  const scrub = (value: JsonValue, namesUser: boolean): JsonValue => {
    if (value === user.username) return namesUser ? user.id : value
    if (Array.isArray(value)) return value.map(item => scrub(item, namesUser))
    return typeof value === 'object' && value !== null ? scrubObject(value) : value
  }
  const scrubObject = (object: JsonObject): JsonObject =>
    Object.fromEntries(
      Object.entries(object).map(([field, value]) => [field, scrub(value, isAboutUser || userFields.has(field))]),
    )
  return scrubObject(details)
}
