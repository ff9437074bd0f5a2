import { type Kysely, sql } from 'kysely'

const statements = [
  `create trigger api_keys_note after delete or update of expires_at on api_keys
    for each statement execute function note_change('user_keys')`,
  `create trigger users_note after delete or update of status, deleted_at on users
    for each statement execute function note_change('user_keys')`,
]

/** Notifications of users' keys that may have become invalid. */
export async function up<Schema>(db: Kysely<Schema>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}
