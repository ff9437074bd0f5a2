import { type Kysely, sql } from 'kysely'

const statements = [
  // A server of an older version adds MCP servers without the column, and must go on doing so.
  'alter table mcp_servers add column inject boolean not null default false',

  // Lists of tools, once for all conversations of a user with the same list. The JSON is text: jsonb would change the
  // order of keys, and models sign what they were sent.
  `create table conversation_tools (
    user_id uuid not null references users on delete cascade,
    content_hash bytea not null,
    tools text not null,
    bytes integer not null,
    containers integer not null,
    last_pinned_at timestamptz(3) not null,
    primary key (user_id, content_hash)
  )`,

  // turns: the number of the newest turn; bytes: the sum of conversation_turns. A server of an older version erases a
  // user without knowing the table, hence the cascades; they come in any order, hence the deferred reference.
  `create table conversations (
    user_id uuid not null references users on delete cascade,
    key bytea not null,
    tools_hash bytea,
    turns integer not null default 0,
    bytes integer not null default 0,
    last_used_at timestamptz(3) not null,
    primary key (user_id, key),
    foreign key (user_id, tools_hash) references conversation_tools deferrable initially deferred
  )`,
  'create index conversations_least_used on conversations (last_used_at)',
  'create index conversations_of_tools on conversations (user_id, tools_hash)',

  // number: from 1, the place in the conversation.
  `create table conversation_turns (
    user_id uuid not null,
    key bytea not null,
    number integer not null,
    id uuid not null,
    content_hash bytea not null,
    turn text not null,
    bytes integer not null,
    containers integer not null,
    created_at timestamptz(3) not null,
    primary key (user_id, key, number),
    unique (user_id, key, id),
    foreign key (user_id, key) references conversations on delete cascade
  )`,
]

/** MCP servers whose tools bridges put into model requests, and the conversations that had some. */
export async function up<Schema>(db: Kysely<Schema>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}
