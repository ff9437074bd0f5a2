import { type Kysely, sql } from 'kysely'

const statements = [
  // The model that was billed, where another than the interception's was.
  `alter table token_usages add column model text`,

  // The daemon that carried a request, as its connection says; no part of the record's content. No column has an index:
  // rows are found by them only where their daemon is gone.
  `alter table interceptions add column daemon_key_id text, add column daemon_instance uuid`,

  // A request continues a response (previous_msg_id), whose token usage or prompt has the same msg_id, or a
  // conversation of the provider. initiator_id is the interception's: the newest usage of a response is one look into
  // one index. Rows of older versions have none: their responses get no continuation, which nothing recorded for them
  // either.
  `alter table interceptions add column previous_msg_id text, add column conversation_id text`,
  `alter table token_usages add column initiator_id uuid`,
  `alter table user_prompts add column initiator_id uuid`,
  `create index interceptions_previous_msg on interceptions (initiator_id, previous_msg_id)
    where previous_msg_id is not null`,
  `create index interceptions_conversation on interceptions (initiator_id, conversation_id, started_at, id)
    where conversation_id is not null`,
  `create index token_usages_msg on token_usages (initiator_id, msg_id, created_at, id) where initiator_id is not null`,
  `create index user_prompts_msg on user_prompts (initiator_id, msg_id, created_at, id) where initiator_id is not null`,

  // Lists without the requests that clients make for themselves (shared/contract/request-kinds.ts; the condition stands
  // again in records/interceptions.ts). In the order of the list, so that many such requests cost nothing.
  `create index interceptions_newest_of_users on interceptions (started_at, id)
    where coalesce(metadata->>'request_kind', '') not in ('title', 'suggestion', 'compaction', 'subagent', 'workflow', 'auxiliary', 'memory', 'quota', 'prewarm')`,
]

/**
 * The billed model of token usages, the daemon of interceptions, lineage by response and conversation, internal
 * requests.
 */
export async function up<Schema>(db: Kysely<Schema>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}
