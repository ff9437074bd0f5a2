import { type Kysely, sql } from 'kysely'

const statements = [
  // An agent comes with one key, and a revoked one stays, as daemon keys do. replica: the server process that holds the
  // agent's connection; epoch: the number of that connection, so that a server does not write over a newer one.
  `create table agents (
    id uuid primary key,
    key_id text collate "C" not null unique,
    secret_hash bytea not null,
    name text collate "C" not null,
    owner_id uuid not null,
    created_at timestamptz(3) not null default now(),
    expires_at timestamptz(3),
    revoked_at timestamptz(3),
    last_seen_at timestamptz(3),
    instance uuid,
    build_version text,
    replica uuid,
    epoch bigint not null default 0
  )`,
  // A name stands for one agent, and is free again when the agent is revoked.
  'create unique index agents_name on agents (name) where revoked_at is null',
  // The server processes, and the address at which the others reach one.
  `create table replicas (
    id uuid primary key,
    advertise_url text,
    seen_at timestamptz(3) not null
  )`,
  `create trigger agents_note after delete or update of revoked_at, expires_at, epoch on agents
    for each statement execute function note_change('agents')`,
]

/** Workspace agents, and the server processes that hold their connections. */
export async function up<Schema>(db: Kysely<Schema>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}
