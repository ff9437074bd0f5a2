import { type Kysely, sql } from 'kysely'

const statements = [
  // A key's name is for people; the time is written at most once a minute, beside the requests. No index has either
  // column, so the update of a time stays within its page.
  `alter table api_keys add column name text, add column last_used_at timestamptz(3)`,

  // Lists print the last 12 digits of an id, and commands take them back (shared/contract/fields.ts).
  `create index users_short_id on users ((right(id::text, 12) collate "C"))`,
  `create index interceptions_short_id on interceptions ((right(id::text, 12) collate "C"))`,
  // Entries about one row: by its whole id or name, which end alike, or by the short form.
  `create index audit_log_target on audit_log ((right(target, 12) collate "C"), at, id) where target is not null`,

  // The newest failure of a provider. Without it a provider that never fails would be read from end to end.
  `create index interceptions_newest_failed_of_provider_name on interceptions (provider_name, started_at, id)
    where error_type is not null`,
]

/**
 * Names and last use of API keys, and indexes for short ids, for entries about a row and for the last failure of a
 * provider.
 */
export async function up<Schema>(db: Kysely<Schema>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}
