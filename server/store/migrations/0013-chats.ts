import { type Kysely, sql } from 'kysely'

const statements = [
  // A server of an older version adds keys without the column. A key of kind chats is the one under which the server
  // itself calls models for a user: its secret is known to nobody.
  `alter table api_keys add column kind text not null default 'user' check (kind in ('user', 'chats'))`,
  `create unique index api_keys_chats_of_user on api_keys (user_id) where kind = 'chats'`,

  // version: rises with every change but a renewal of the lease; history_version, queue_version: the version of the
  // last change of the messages and of the queue. messages, bytes: of those that are not deleted, and of their parts;
  // last_seq counts the others too.
  // runner: the server process that runs the chat until lease_until; fence: rises with each taking of the chat.
  // A server of an older version erases a user without knowing the table, hence the cascades.
  `create table chats (
    id uuid primary key,
    owner_id uuid not null references users on delete cascade,
    agent_id uuid,
    provider text not null,
    model text not null,
    api text not null,
    title text,
    system text,
    cwd text,
    content_hash bytea not null,
    status text not null default 'waiting',
    archived boolean not null default false,
    version integer not null default 1,
    history_version integer not null default 1,
    queue_version integer not null default 1,
    last_seq integer not null default 0,
    messages integer not null default 0,
    bytes bigint not null default 0,
    attempt integer not null default 0,
    retry jsonb,
    last_error jsonb,
    agent_instance uuid,
    runner uuid,
    fence bigint not null default 0,
    lease_until timestamptz(3),
    created_at timestamptz(3) not null default now(),
    updated_at timestamptz(3) not null default now()
  )`,
  `create index chats_by_lease on chats (lease_until nulls first) where status in ('running', 'interrupting')`,
  'create index chats_newest on chats (updated_at, id)',
  'create index chats_newest_of_owner on chats (owner_id, updated_at, id)',
  'create index chats_newest_of_archived on chats (owner_id, archived, updated_at, id)',

  // parts is text: jsonb would change the order of keys, and models sign their thoughts. A deleted message keeps its id
  // and hash, and no parts; version is then that of the deletion. format: of the parts. An id is unique in its chat
  // only, so that nobody learns of ids in the chats of others.
  `create table chat_messages (
    chat_id uuid not null references chats on delete cascade,
    seq integer not null,
    id uuid not null,
    role text not null,
    parts text not null,
    format smallint not null default 1,
    content_hash bytea not null,
    usage jsonb,
    interception_id uuid,
    finish_reason text,
    interrupted boolean not null default false,
    version integer not null,
    deleted boolean not null default false,
    created_at timestamptz(3) not null default now(),
    primary key (chat_id, seq),
    unique (chat_id, id)
  )`,
  'create index chat_messages_deleted on chat_messages (chat_id, version) where deleted',
  `create index chat_messages_of_users on chat_messages (chat_id, seq) where role = 'user' and not deleted`,

  // position: an order; the head may have a negative one.
  `create table chat_queue (
    chat_id uuid not null references chats on delete cascade,
    position integer not null,
    id uuid not null,
    parts text not null,
    content_hash bytea not null,
    created_at timestamptz(3) not null default now(),
    primary key (chat_id, position),
    unique (chat_id, id)
  )`,

  // Messages that were taken out of the queue: the same message sent again is not stored.
  `create table chat_dequeued (
    chat_id uuid not null references chats on delete cascade,
    id uuid not null,
    content_hash bytea not null,
    primary key (chat_id, id)
  )`,

  // The payload says which chat, so a server with many watchers reads that chat only. PostgreSQL folds equal
  // notifications of a transaction into one.
  `create function note_chat() returns trigger language plpgsql as $$
    begin
      if tg_op = 'DELETE' then
        perform pg_notify('aibridge_chats', old.id::text);
      else
        perform pg_notify('aibridge_chats', new.id::text);
      end if;
      return null;
    end
  $$`,
  `create trigger chats_note after insert or delete or update of version on chats
    for each row execute function note_chat()`,
]

/** Chats: conversations with a model that run on the server, and the keys that they use. */
export async function up<Schema>(db: Kysely<Schema>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}
