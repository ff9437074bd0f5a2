/** Users in SQL; the guarantees stand in store.ts. */
import { type Kysely, sql } from 'kysely'
import type { User, UserStatus } from '../../../shared/contract/admin/users.js'
import type { Database } from '../sql/schema.js'
import type { UserStore } from '../store.js'

/** The users of a database. */
export function userStore(db: Kysely<Database>): UserStore {
  return {
    async createUser({ id, username, isSystem = false }) {
      const user = await db
        .insertInto('users')
        .values({ id, username, is_system: isSystem })
        .onConflict(conflict => conflict.doNothing())
        .returning(userColumns)
        .executeTakeFirst()
      return user ?? null
    },

    async findUser(idOrUsername) {
      const byName = db
        .selectFrom('users')
        .select(userColumns)
        .where('username', '=', idOrUsername)
        .where('deleted_at', 'is', null)
      if (!uuidPattern.test(idOrUsername)) return (await byName.executeTakeFirst()) ?? null
      // A name may look like an id; an id comes first.
      const byId = await db.selectFrom('users').select(userColumns).where('id', '=', idOrUsername).executeTakeFirst()
      return byId ?? (await byName.executeTakeFirst()) ?? null
    },

    async findUsernames(ids) {
      if (ids.length === 0) return new Map()
      const users = await db.selectFrom('users').select(['id', 'username']).where('id', 'in', ids).execute()
      return new Map(users.map(({ id, username }) => [id, username]))
    },

    listUsers(): Promise<User[]> {
      return db
        .selectFrom('users')
        .select(userColumns)
        .orderBy('username')
        .orderBy('created_at')
        .orderBy('id')
        .execute()
    },

    async setUserStatus(id: string, status: UserStatus) {
      return (
        (await db
          .updateTable('users')
          .set({ status })
          .where('id', '=', id)
          .returning(userColumns)
          .executeTakeFirst()) ?? null
      )
    },

    async deleteUser(id) {
      const deletedAt = sql<Date>`coalesce(deleted_at, now())`
      const user = await db
        .updateTable('users')
        .set({ deleted_at: deletedAt })
        .where('id', '=', id)
        .returning(userColumns)
        .executeTakeFirst()
      return user ?? null
    },
  }
}

const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

const userColumns = [
  'id',
  'username',
  'status',
  'is_system as isSystem',
  'created_at as createdAt',
  'deleted_at as deletedAt',
] as const
