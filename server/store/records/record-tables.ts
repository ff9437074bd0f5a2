/**
 * The statements that write records: one for any number of records of one kind, in one round trip. The records travel as one JSON text,
 * so that the statement is the same for one record and for five hundred.
 */
import { CompiledQuery, type Kysely } from 'kysely'
import type { CheckedRecord } from '../../../shared/contract/recorder.js'
import type { JsonValue } from '../../../shared/values/text.js'
import type { Database } from '../sql/schema.js'
import type { StoredRecord } from '../store.js'

/** The kinds that are stored as rows of their own; an end is a part of its interception. */
export type RowKind = Exclude<StoredRecord['kind'], 'interceptionEnded'>
export type ChildKind = Exclude<RowKind, 'interception'>
export type Recorded<K extends StoredRecord['kind']> = Extract<StoredRecord, { kind: K }>

/** What became of one record that was given to {@link insertRecords}. */
export type InsertResult =
  | { result: 'inserted' }
  /** the id was stored before; the SHA-256 of that content in hexadecimal */
  | { result: 'stored'; hash: string }
  /** the interception of a child is not stored */
  | { result: 'unknown interception' }

/**
 * Stores the records, all of one kind, whose id is not stored yet. The ids must be distinct.
 * Rows are written in the order of their ids: two transactions that write the same ids wait for each other, and never in a circle.
 * An id has no result if another transaction stored it while the statement ran: the statement waited for that one, but looked at the table as it
 * was before. {@link readHashes} tells then.
 */
export async function insertRecords(
  db: Kysely<Database>,
  kind: RowKind,
  records: readonly Recorded<RowKind>[],
): Promise<Map<string, InsertResult>> {
  const rows = records.map(record => ({ ...toRow(record), content_hash: `\\x${toHex(record.contentHash)}` }))
  const { rows: results } = await db.executeQuery<{ id: string; inserted: boolean; hash: string | null }>(
    CompiledQuery.raw(insertStatements[kind], [JSON.stringify(rows)]),
  )
  return new Map(results.map(row => [row.id, toResult(row)]))
}

function toResult({ inserted, hash }: { inserted: boolean; hash: string | null }): InsertResult {
  if (inserted) return { result: 'inserted' }
  return hash === null ? { result: 'unknown interception' } : { result: 'stored', hash }
}

/** The hashes of stored records in hexadecimal, by id. */
export async function readHashes(
  db: Kysely<Database>,
  kind: RowKind,
  ids: readonly string[],
): Promise<Map<string, string>> {
  const rows = await db
    .selectFrom(tables[kind].name)
    .select(['id', 'content_hash'])
    .where('id', 'in', [...ids])
    .execute()
  return new Map(rows.map(row => [row.id, toHex(row.content_hash)]))
}

/** Writes the ends of interceptions that have none. The ids must be distinct. Returns the ids whose interception is stored. */
export async function writeEnds(
  db: Kysely<Database>,
  ends: readonly CheckedRecord<'interceptionEnded'>[],
): Promise<Set<string>> {
  const rows = ends.map(end => ({
    id: end.id,
    ended_at: end.endedAt,
    credential_hint: end.credentialHint,
    error_type: end.errorType,
    error_message: 'errorMessage' in end ? end.errorMessage : undefined,
  }))
  const { rows: known } = await db.executeQuery<{ id: string }>(CompiledQuery.raw(endStatement, [JSON.stringify(rows)]))
  return new Set(known.map(row => row.id))
}

/** Bytes as lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

/** Column → SQL type. */
type Columns = Readonly<Record<string, string>>

const child: Columns = {
  id: 'uuid',
  interception_id: 'uuid',
  metadata: 'jsonb',
  created_at: 'timestamptz',
  content_hash: 'bytea',
}

const tables = {
  interception: {
    name: 'interceptions',
    columns: {
      id: 'uuid',
      initiator_id: 'uuid',
      api_key_id: 'text',
      provider: 'text',
      provider_name: 'text',
      model: 'text',
      started_at: 'timestamptz',
      client: 'text',
      client_session_id: 'text',
      correlating_tool_call_id: 'text',
      credential_kind: 'text',
      credential_hint: 'text',
      metadata: 'jsonb',
      content_hash: 'bytea',
    },
  },
  tokenUsage: {
    name: 'token_usages',
    columns: {
      ...child,
      msg_id: 'text',
      input_tokens: 'bigint',
      output_tokens: 'bigint',
      cache_read_input_tokens: 'bigint',
      cache_write_input_tokens: 'bigint',
    },
  },
  promptUsage: { name: 'user_prompts', columns: { ...child, msg_id: 'text', prompt: 'text' } },
  toolUsage: {
    name: 'tool_usages',
    columns: {
      ...child,
      msg_id: 'text',
      tool_call_id: 'text',
      item_id: 'text',
      server_url: 'text',
      tool: 'text',
      input: 'text',
      injected: 'boolean',
      invocation_error: 'text',
    },
  },
  modelThought: { name: 'model_thoughts', columns: { ...child, content: 'text' } },
} as const satisfies Record<RowKind, { name: keyof Database; columns: Columns }>

const insertStatements: Record<RowKind, string> = {
  interception: interceptionStatement(),
  tokenUsage: childStatement('tokenUsage'),
  promptUsage: childStatement('promptUsage'),
  toolUsage: childStatement('toolUsage'),
  modelThought: childStatement('modelThought'),
}

// PostgreSQL expects a hundred rows of any JSON text, and would rather read a whole table into a hash than look up a hundred ids in its index.
// A scalar sub-select, or a lateral one with `offset 0`, is always run row by row and so always looks up; what is joined to the target of an UPDATE
// is also given as an array, so that the index is read for it alone.

/** A new interception has no tool usages yet, so nothing continues it: its own lineage is all there is to set. */
function interceptionStatement(): string {
  const { name, columns } = tables.interception
  const names = Object.keys(columns)
  return `
    with input as materialized (${input(columns)}),
    inserted as (
      insert into ${name} (${names.join(', ')}, linked_id, parent_id, root_id)
      select ${names.map(column => `r.${column}`).join(', ')}, p.id, p.id, coalesce(p.root_id, p.id)
      from input r left join lateral (
        select i.id, i.root_id from ${name} i where i.id = (
          select t.interception_id from tool_usages t
          where t.initiator_id = r.initiator_id and t.tool_call_id = r.correlating_tool_call_id
          order by t.created_at desc, t.id desc limit 1
        ) offset 0
      ) p on true
      order by r.id
      on conflict (id) do nothing
      returning id
    )
    select id, true as inserted, null as hash from inserted
    union all
    select id, false, hash from (
      select r.id, (select encode(s.content_hash, 'hex') from ${name} s where s.id = r.id) as hash from input r
    ) as stored where hash is not null`
}

/** `initiator_id` is a column that a tool usage takes from its interception. */
function childStatement(kind: ChildKind): string {
  const { name, columns } = tables[kind]
  const names = Object.keys(columns)
  const inherited = kind === 'toolUsage' ? ', initiator_id' : ''
  return `
    with input as materialized (
      select r.*, (select i.initiator_id from interceptions i where i.id = r.interception_id) as initiator_id from (${input(columns)}) as r
    ),
    inserted as (
      insert into ${name} (${names.join(', ')}${inherited})
      select ${names.join(', ')}${inherited} from input where initiator_id is not null order by id
      on conflict (id) do nothing
      returning id
    )
    select id, true as inserted, null as hash from inserted
    union all
    select id, false, hash from (
      select r.id, r.initiator_id,
        (select encode(s.content_hash, 'hex') from ${name} s where s.id = r.id and r.initiator_id is not null) as hash
      from input r
    ) as stored where hash is not null or initiator_id is null`
}

const endStatement = `
  with input as materialized (
    ${input({ id: 'uuid', ended_at: 'timestamptz', credential_hint: 'text', error_type: 'text', error_message: 'text' })}
  ),
  ended as (
    update interceptions i
    set ended_at = r.ended_at, error_type = r.error_type, error_message = r.error_message,
      credential_hint = case when i.credential_kind = 'centralized' then coalesce(r.credential_hint, i.credential_hint) else i.credential_hint end
    from input r where i.id = r.id and i.id = any(array(select id from input)) and i.ended_at is null
  )
  select r.id from input r where (select i.id from interceptions i where i.id = r.id) is not null`

function input(columns: Columns): string {
  const definitions = Object.entries(columns).map(([column, type]) => `${column} ${type}`)
  return `select * from json_to_recordset($1::json) as r(${definitions.join(', ')})`
}

/** The columns of a record but its hash. JSON leaves out what is undefined, and PostgreSQL reads that as null. */
function toRow(stored: Recorded<RowKind>): Record<string, JsonValue | Date | undefined> {
  switch (stored.kind) {
    case 'interception': {
      const { record } = stored
      return {
        id: record.id,
        initiator_id: record.initiatorId,
        api_key_id: record.apiKeyId,
        provider: record.provider,
        provider_name: record.providerName,
        model: record.model,
        started_at: record.startedAt,
        client: record.client,
        client_session_id: record.clientSessionId,
        correlating_tool_call_id: record.correlatingToolCallId,
        credential_kind: record.credentialKind,
        credential_hint: record.credentialHint,
        metadata: record.metadata,
      }
    }
    case 'tokenUsage': {
      const { record } = stored
      return {
        ...childRow(record),
        msg_id: record.msgId,
        input_tokens: record.inputTokens,
        output_tokens: record.outputTokens,
        cache_read_input_tokens: record.cacheReadInputTokens,
        cache_write_input_tokens: record.cacheWriteInputTokens,
      }
    }
    case 'promptUsage':
      return { ...childRow(stored.record), msg_id: stored.record.msgId, prompt: stored.record.prompt }
    case 'toolUsage': {
      const { record } = stored
      return {
        ...childRow(record),
        msg_id: record.msgId,
        tool_call_id: record.toolCallId,
        item_id: record.itemId,
        server_url: record.serverUrl,
        tool: record.tool,
        input: record.input,
        injected: record.injected,
        invocation_error: record.invocationError,
      }
    }
    case 'modelThought':
      return { ...childRow(stored.record), content: stored.record.content }
  }
}

function childRow({ id, interceptionId, metadata, createdAt }: CheckedRecord<ChildKind>) {
  return { id, interception_id: interceptionId, metadata, created_at: createdAt }
}
