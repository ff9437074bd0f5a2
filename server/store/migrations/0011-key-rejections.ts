import { type Kysely, sql } from 'kysely'

const statements = [
  // The last rejection of each provider key that a daemon reported. revision: the updated_at of the provider, so that a
  // rejection of an earlier configuration does not count, also where a server of the previous version changed it.
  `create table key_rejections (
    provider_name text collate "C" not null references providers on delete cascade,
    key_id text not null,
    revision timestamptz(3) not null,
    status integer not null,
    model text,
    reported_by text not null,
    at timestamptz(3) not null default now(),
    primary key (provider_name, key_id)
  )`,
]

/** Keys that their provider rejects. */
export async function up<Schema>(db: Kysely<Schema>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}
