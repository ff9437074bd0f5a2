import { type Kysely, sql } from 'kysely'

/*
 * Times are timestamptz(3): what a Date holds, so that a time read back is the time that was written.
 * What lists sort by is collated "C": the order is the same on every server.
 */
const statements = [
  `create table users (
    id uuid primary key,
    username text collate "C" not null,
    status text not null default 'active' check (status in ('active', 'suspended')),
    is_system boolean not null default false,
    created_at timestamptz(3) not null default now(),
    deleted_at timestamptz(3)
  )`,
  // The name of a deleted user may be given again.
  `create unique index users_username on users (username) where deleted_at is null`,

  // user_id refers to no table: a key may outlive its user, and the authorizer then responds unknown_user.
  `create table api_keys (
    id text collate "C" primary key,
    user_id uuid not null,
    secret_hash bytea not null,
    created_at timestamptz(3) not null default now(),
    expires_at timestamptz(3)
  )`,
  `create index api_keys_user on api_keys (user_id)`,

  // initiator_id and api_key_id refer to no table: records outlive users and keys. linked_id is the interception that
  // the newest tool usage names; parent_id is the same, but null if the links form a cycle whose oldest interception is
  // this one. Neither refers to the table: a purged parent leaves its id behind. Each row is updated once, at its end:
  // the fill factor leaves room for the update within the page.
  `create table interceptions (
    id uuid primary key,
    initiator_id uuid not null,
    api_key_id text not null,
    provider text not null,
    provider_name text not null,
    model text not null,
    started_at timestamptz(3) not null,
    client text,
    client_session_id text,
    correlating_tool_call_id text,
    credential_kind text not null check (credential_kind in ('centralized', 'byok')),
    credential_hint text,
    metadata jsonb,
    ended_at timestamptz(3),
    error_type text,
    error_message text,
    linked_id uuid,
    parent_id uuid,
    root_id uuid,
    content_hash bytea not null
  ) with (fillfactor = 85)`,
  `create index interceptions_newest on interceptions (started_at, id)`,
  `create index interceptions_newest_of_initiator on interceptions (initiator_id, started_at, id)`,
  `create index interceptions_tool_call on interceptions (initiator_id, correlating_tool_call_id)
    where correlating_tool_call_id is not null`,
  `create index interceptions_linked on interceptions (linked_id) where linked_id is not null`,

  `create table token_usages (
    id uuid primary key,
    interception_id uuid not null references interceptions,
    msg_id text not null,
    input_tokens bigint not null,
    output_tokens bigint not null,
    cache_read_input_tokens bigint not null,
    cache_write_input_tokens bigint not null,
    metadata jsonb,
    created_at timestamptz(3) not null,
    content_hash bytea not null
  )`,
  `create index token_usages_interception on token_usages (interception_id, created_at, id)`,

  `create table user_prompts (
    id uuid primary key,
    interception_id uuid not null references interceptions,
    msg_id text not null,
    prompt text not null,
    metadata jsonb,
    created_at timestamptz(3) not null,
    content_hash bytea not null
  )`,
  `create index user_prompts_interception on user_prompts (interception_id, created_at, id)`,

  // initiator_id is the interception's: the newest usage of a tool call is one look into one index.
  `create table tool_usages (
    id uuid primary key,
    interception_id uuid not null references interceptions,
    initiator_id uuid not null,
    msg_id text not null,
    tool_call_id text,
    item_id text,
    server_url text,
    tool text not null,
    input text not null,
    injected boolean not null,
    invocation_error text,
    metadata jsonb,
    created_at timestamptz(3) not null,
    content_hash bytea not null
  )`,
  `create index tool_usages_interception on tool_usages (interception_id, created_at, id)`,
  `create index tool_usages_tool_call on tool_usages (initiator_id, tool_call_id, created_at, id) where tool_call_id is not null`,

  `create table model_thoughts (
    id uuid primary key,
    interception_id uuid not null references interceptions,
    content text not null,
    metadata jsonb,
    created_at timestamptz(3) not null,
    content_hash bytea not null
  )`,
  `create index model_thoughts_interception on model_thoughts (interception_id, created_at, id)`,

  `create table providers (
    name text collate "C" primary key,
    type text not null,
    enabled boolean not null,
    base_url text not null,
    settings jsonb,
    created_at timestamptz(3) not null default now(),
    updated_at timestamptz(3) not null default now()
  )`,
  // The key itself is sealed above the store; no column ever holds a readable key.
  `create table provider_keys (
    provider_name text collate "C" not null references providers on delete cascade,
    position integer not null,
    id text not null,
    sealed bytea not null,
    hint text not null,
    primary key (provider_name, position)
  )`,

  // One-time steps of this database, such as seeding.
  `create table server_state (
    key text primary key,
    set_at timestamptz(3) not null default now()
  )`,
]

/** The tables of version 1.0. */
export async function up<Schema>(db: Kysely<Schema>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}
