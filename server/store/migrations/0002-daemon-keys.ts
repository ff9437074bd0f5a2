import { type Kysely, sql } from 'kysely'

const statements = [
  // A revoked key stays: the list shows the key, and the id is not given again.
  `create table daemon_keys (
    id text collate "C" primary key,
    name text,
    secret_hash bytea not null,
    delegate boolean not null,
    created_at timestamptz(3) not null default now(),
    expires_at timestamptz(3),
    revoked_at timestamptz(3),
    last_seen_at timestamptz(3),
    build_version text
  )`,
]

/** The keys of remote daemons. */
export async function up<Schema>(db: Kysely<Schema>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}
