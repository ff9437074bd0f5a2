/**
 * The statements that write records: one statement for any number of records of one kind, in one round trip. The
 * records travel as one JSON text, so that the statement is the same for one record and for five hundred.
 */
import { CompiledQuery, type Kysely } from 'kysely'
import type { RecordKind } from '../../../shared/contract/record-kinds.js'
import type { Database } from '../sql/schema.js'
import type { NormalRecord, StoredRecord } from '../store.js'
import { linkedByUsages } from './lineage.js'

/** The kinds with rows of their own; an end is a part of its interception. */
export type RowKind = Exclude<RecordKind, 'interceptionEnded'>
export type ChildKind = Exclude<RowKind, 'interception'>

/** The outcome of one record in {@link insertRecords}. */
export type InsertResult =
  /** `links`: an interception waits for the record, or the record is one of a conversation (lineage.ts) */
  | { result: 'inserted'; links: boolean }
  /** the id was stored before; the SHA-256 of the stored content in hexadecimal */
  | { result: 'stored'; hash: string }
  /** the interception of a child is not stored */
  | { result: 'unknown interception' }

/**
 * Stores the records, all of one kind, whose ids are not stored yet. The ids must be distinct. Rows are written in the
 * order of their ids: two transactions that write the same ids wait for each other, and never in a circle. An id has no
 * result if another transaction stored the id while the statement ran: the statement waited, but sees the table as of
 * its own start. {@link readHashes} then returns the hash.
 */
export async function insertRecords(
  db: Kysely<Database>,
  kind: RowKind,
  records: readonly StoredRecord<RowKind>[],
): Promise<Map<string, InsertResult>> {
  const rows = records.map(toRow)
  const { rows: results } = await db.executeQuery<InsertRow>(
    CompiledQuery.raw(insertStatements[kind], [JSON.stringify(rows)]),
  )
  return new Map(results.map(row => [row.id, toResult(row)]))
}

interface InsertRow {
  id: string
  inserted: boolean
  hash: string | null
  links: boolean
}

function toResult({ inserted, hash, links }: InsertRow): InsertResult {
  if (inserted) return { result: 'inserted', links }
  return hash === null ? { result: 'unknown interception' } : { result: 'stored', hash }
}

/** Reads the hashes of stored records in hexadecimal, by id. */
export async function readHashes(
  db: Kysely<Database>,
  kind: RowKind,
  ids: readonly string[],
): Promise<Map<string, string>> {
  const rows = await db
    .selectFrom(tableOf(kind))
    .select(['id', 'content_hash'])
    .where('id', 'in', [...ids])
    .execute()
  return new Map(rows.map(row => [row.id, toHex(row.content_hash)]))
}

/**
 * Writes the ends of interceptions without an end of their daemon. The ids must be distinct. Returns the ids whose
 * interception is stored.
 */
export async function writeEnds(
  db: Kysely<Database>,
  ends: readonly NormalRecord<'interceptionEnded'>[],
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

/** Returns bytes as lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

interface RecordTable<K extends RowKind> {
  readonly name: keyof Database
  /** every field of a record, with its column and the column's SQL type */
  readonly columns: Readonly<Record<keyof NormalRecord<K>, readonly [column: string, type: string]>>
}

const child = {
  id: ['id', 'uuid'],
  interceptionId: ['interception_id', 'uuid'],
  metadata: ['metadata', 'jsonb'],
  createdAt: ['created_at', 'timestamptz'],
} as const

/**
 * Kind → table. Every transaction writes the tables in this order, so that two transactions never wait for each other
 * in a circle.
 */
const tables = {
  interception: {
    name: 'interceptions',
    columns: {
      id: ['id', 'uuid'],
      initiatorId: ['initiator_id', 'uuid'],
      apiKeyId: ['api_key_id', 'text'],
      provider: ['provider', 'text'],
      providerName: ['provider_name', 'text'],
      model: ['model', 'text'],
      startedAt: ['started_at', 'timestamptz'],
      client: ['client', 'text'],
      clientSessionId: ['client_session_id', 'text'],
      correlatingToolCallId: ['correlating_tool_call_id', 'text'],
      previousMsgId: ['previous_msg_id', 'text'],
      conversationId: ['conversation_id', 'text'],
      credentialKind: ['credential_kind', 'text'],
      credentialHint: ['credential_hint', 'text'],
      metadata: ['metadata', 'jsonb'],
    },
  },
  tokenUsage: {
    name: 'token_usages',
    columns: {
      ...child,
      msgId: ['msg_id', 'text'],
      inputTokens: ['input_tokens', 'bigint'],
      outputTokens: ['output_tokens', 'bigint'],
      cacheReadInputTokens: ['cache_read_input_tokens', 'bigint'],
      cacheWriteInputTokens: ['cache_write_input_tokens', 'bigint'],
      model: ['model', 'text'],
    },
  },
  promptUsage: {
    name: 'user_prompts',
    columns: { ...child, msgId: ['msg_id', 'text'], prompt: ['prompt', 'text'] },
  },
  toolUsage: {
    name: 'tool_usages',
    columns: {
      ...child,
      msgId: ['msg_id', 'text'],
      toolCallId: ['tool_call_id', 'text'],
      itemId: ['item_id', 'text'],
      serverUrl: ['server_url', 'text'],
      tool: ['tool', 'text'],
      input: ['input', 'text'],
      injected: ['injected', 'boolean'],
      invocationError: ['invocation_error', 'text'],
    },
  },
  modelThought: { name: 'model_thoughts', columns: { ...child, content: ['content', 'text'] } },
} as const satisfies { [K in RowKind]: RecordTable<K> }

const { interception: _, ...childTables } = tables

/** The kinds of children, in the write order of their tables. */
export const childKinds = Object.keys(childTables) as ChildKind[] // its own keys

/** Returns the name of a kind's table. */
export function tableOf<K extends RowKind>(kind: K): (typeof tables)[K]['name'] {
  return tables[kind].name
}

interface Column {
  name: string
  /** in SQL */
  type: string
  /** the record's field in this column */
  field: string
}

const rowKinds: RowKind[] = ['interception', ...childKinds]

/** Kind → the columns that hold fields of a record. Each table also has `content_hash`. */
const columns = Object.fromEntries(rowKinds.map(kind => [kind, columnsOf(kind)])) as Record<RowKind, Column[]> // one list a kind

function columnsOf(kind: RowKind): Column[] {
  return Object.entries(tables[kind].columns).map(([field, [name, type]]) => ({ name, type, field }))
}

/** The columns of an interception that the server sets, and their types. */
const carrierColumns = { daemon_key_id: 'text', daemon_instance: 'uuid' }

/** Kind of record → its column that interceptions name, and the column in which they name it. */
const linkKeys: { [kind in ChildKind]?: readonly [key: string, column: string] } = {
  toolUsage: ['tool_call_id', 'correlating_tool_call_id'],
  tokenUsage: ['msg_id', 'previous_msg_id'],
  promptUsage: ['msg_id', 'previous_msg_id'],
}

const insertStatements = Object.fromEntries([
  ['interception', interceptionStatement()],
  ...childKinds.map(kind => [kind, childStatement(kind)]),
]) as Record<RowKind, string> // one of each kind

// PostgreSQL expects a hundred rows of any JSON text, and would rather read a whole table into a hash than look up a
// hundred ids in an index. A scalar sub-select, or a lateral one with `offset 0`, always runs row by row and so always
// looks up. Rows joined to the target of an UPDATE are also given as an array, so that only the index is read for them.

/** A new interception has no usages and so no continuations by them: only its own lineage is set. */
function interceptionStatement(): string {
  const table = tableOf('interception')
  const names = [...columnNames('interception'), ...Object.keys(carrierColumns)]
  return `
    with input as materialized (${input('interception', carrierColumns)}),
    inserted as (
      insert into ${table} (${names.join(', ')}, linked_id, parent_id, root_id)
      select ${names.map(column => `r.${column}`).join(', ')}, p.id, p.id, coalesce(p.root_id, p.id)
      from input r left join lateral (
        select i.id, i.root_id from ${table} i where i.id = ${linkedByUsages('r')} offset 0
      ) p on true
      order by r.id
      on conflict (id) do nothing
      returning id, conversation_id
    )
    select id, true as inserted, null as hash, conversation_id is not null as links from inserted
    union all
    select id, false, hash, false from (
      select r.id, (select encode(s.content_hash, 'hex') from ${table} s where s.id = r.id) as hash from input r
    ) as stored where hash is not null`
}

/** `initiator_id` is a column that records take from their interception if others find it by them. */
function childStatement(kind: ChildKind): string {
  const table = tableOf(kind)
  const names = columnNames(kind)
  const [key, column] = linkKeys[kind] ?? []
  const inherited = key === undefined ? '' : ', initiator_id'
  const links = `(select true from interceptions i where i.initiator_id = n.initiator_id and i.${column} = n.${key} limit 1)`
  return `
    with input as materialized (
      select r.*, (select i.initiator_id from interceptions i where i.id = r.interception_id) as initiator_id from (${input(kind)}) as r
    ),
    inserted as (
      insert into ${table} (${names.join(', ')}${inherited})
      select ${names.join(', ')}${inherited} from input where initiator_id is not null order by id
      on conflict (id) do nothing
      returning ${['id', ...(key === undefined ? [] : ['initiator_id', key])].join(', ')}
    )
    select id, true as inserted, null as hash, ${key === undefined ? 'false' : `${links} is not null`} as links from inserted n
    union all
    select id, false, hash, false from (
      select r.id, r.initiator_id,
        (select encode(s.content_hash, 'hex') from ${table} s where s.id = r.id and r.initiator_id is not null) as hash
      from input r
    ) as stored where hash is not null or initiator_id is null`
}

const endStatement = `
  with input as materialized (
    select * from json_to_recordset($1::json) as r(
      id uuid, ended_at timestamptz, credential_hint text, error_type text, error_message text
    )
  ),
  ended as (
    update interceptions i
    set ended_at = greatest(r.ended_at, i.started_at), error_type = r.error_type, error_message = r.error_message, ended_by = null,
      credential_hint = case when i.credential_kind = 'centralized' then coalesce(r.credential_hint, i.credential_hint) else i.credential_hint end
    from input r where i.id = r.id and i.id = any(array(select id from input)) and (i.ended_at is null or i.ended_by is not null)
  )
  select r.id from input r where (select i.id from interceptions i where i.id = r.id) is not null`

function columnNames(kind: RowKind): string[] {
  return [...columns[kind].map(({ name }) => name), 'content_hash']
}

function input(kind: RowKind, more: Readonly<Record<string, string>> = {}): string {
  const fields = [...columns[kind].map(({ name, type }) => [name, type]), ...Object.entries(more)]
  const definitions = [...fields.map(field => field.join(' ')), 'content_hash bytea']
  return `select * from json_to_recordset($1::json) as r(${definitions.join(', ')})`
}

/** Returns the columns of a record. JSON leaves out undefined fields, and PostgreSQL reads missing fields as null. */
function toRow(stored: StoredRecord<RowKind>): Record<string, unknown> {
  const row: Record<string, unknown> = { content_hash: `\\x${toHex(stored.contentHash)}` }
  for (const { name, field } of columns[stored.kind]) row[name] = Reflect.get(stored.record, field)
  if (stored.kind === 'interception') {
    row.daemon_key_id = stored.carrier?.daemonKeyId
    row.daemon_instance = stored.carrier?.daemonInstance
  }
  return row
}
