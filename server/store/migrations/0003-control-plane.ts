import { type Kysely, sql } from 'kysely'

/** Key of an advisory lock, chosen at random so that no other program of the same database takes the same number. */
export const feedLock = 0x61_69_62_66

/** Record table → kind of the records. */
const recordKinds = {
  interceptions: 'interception',
  token_usages: 'tokenUsage',
  user_prompts: 'promptUsage',
  tool_usages: 'toolUsage',
  model_thoughts: 'modelThought',
} as const

const statements = [
  // Records in commit order: a position is drawn at the end of the transaction, by a deferred trigger, and under a lock
  // that is held until others see the transaction. A reader who sees a position therefore sees every lower position
  // that will ever exist.
  `create table record_feed (
    position bigint generated always as identity primary key,
    kind text not null,
    id uuid not null,
    noted_at timestamptz(3) not null default now()
  )`,
  // The positions up to this one may be gone.
  `create table record_feed_trimmed (
    only_row boolean primary key default true check (only_row),
    position bigint not null
  )`,
  'insert into record_feed_trimmed (position) values (0)',
  `create function note_record() returns trigger language plpgsql as $$
    begin
      perform pg_advisory_xact_lock(${feedLock});
      insert into record_feed (kind, id) values (tg_argv[0], new.id);
      perform pg_notify('aibridge_records', '');
      return null;
    end
  $$`,
  ...Object.entries(recordKinds).map(
    ([table, kind]) => `create constraint trigger ${table}_note after insert on ${table}
      deferrable initially deferred for each row execute function note_record('${kind}')`,
  ),
  `create constraint trigger interceptions_note_end after update of ended_at on interceptions
    deferrable initially deferred for each row when (old.ended_at is null and new.ended_at is not null)
    execute function note_record('interceptionEnded')`,

  // One notification per statement; PostgreSQL folds equal notifications of a transaction into one.
  `create function note_change() returns trigger language plpgsql as $$
    begin
      perform pg_notify('aibridge_' || tg_argv[0], '');
      return null;
    end
  $$`,
  `create trigger providers_note after insert or update or delete on providers
    for each statement execute function note_change('providers')`,
  `create trigger provider_keys_note after insert or update or delete on provider_keys
    for each statement execute function note_change('providers')`,
  `create trigger daemon_keys_note after delete or update of revoked_at, expires_at on daemon_keys
    for each statement execute function note_change('daemon_keys')`,

  // Filters of lists: each index has the order of the list behind the filter, so that a page of a rare value is as fast
  // as a page of a frequent value.
  'create index interceptions_newest_of_provider on interceptions (provider, started_at, id)',
  'create index interceptions_newest_of_provider_name on interceptions (provider_name, started_at, id)',
  'create index interceptions_newest_of_model on interceptions (model, started_at, id)',
  'create index interceptions_newest_of_client on interceptions (client, started_at, id) where client is not null',
  `create index interceptions_newest_of_session on interceptions (client_session_id, started_at, id)
    where client_session_id is not null`,
  `create index interceptions_newest_of_error on interceptions (error_type, started_at, id) where error_type is not null`,
  'create index interceptions_of_root on interceptions (root_id, started_at, id) where root_id is not null',

  // The secrets are sealed above the store. token_url and client_id refresh tokens, validate_url checks a token.
  `create table mcp_servers (
    id text collate "C" primary key,
    url text not null,
    tool_allow_regex text,
    tool_deny_regex text,
    token_url text,
    client_id text,
    client_secret bytea,
    validate_url text,
    created_at timestamptz(3) not null default now(),
    updated_at timestamptz(3) not null default now()
  )`,
  // refresh_lease is a lock outside transactions: the holder asks another server meanwhile. The lease ends by itself.
  `create table external_auth_links (
    user_id uuid not null,
    server_id text collate "C" not null references mcp_servers on delete cascade,
    access_token bytea not null,
    refresh_token bytea,
    expires_at timestamptz(3),
    refresh_lease uuid,
    refresh_lease_until timestamptz(3),
    created_at timestamptz(3) not null default now(),
    updated_at timestamptz(3) not null default now(),
    primary key (user_id, server_id)
  )`,
  'create index external_auth_links_server on external_auth_links (server_id)',

  `create table audit_log (
    id uuid primary key,
    at timestamptz(3) not null default now(),
    actor text not null,
    action text not null,
    target text,
    details jsonb
  )`,
  'create index audit_log_newest on audit_log (at, id)',
]

/**
 * The feed of records, notifications of changes, MCP servers and their tokens, the audit log, and indexes for every
 * filter of the list.
 */
export async function up<Schema>(db: Kysely<Schema>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}
