/**
 * The tables of records, and records as their rows. Rows travel as JSON text, so that a statement is the same for one
 * record and for five hundred.
 */
import type { RecordKind } from '../../../shared/contract/record-kinds.js'
import type { Database } from '../sql/schema.js'
import type { NormalRecord, StoredRecord } from '../store.js'

/** The kinds with rows of their own; an end is a part of its interception. */
export type RowKind = Exclude<RecordKind, 'interceptionEnded'>
export type ChildKind = Exclude<RowKind, 'interception'>

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
      interceptionKind: ['interception_kind', 'text'],
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

/** In the write order of their tables. */
export const rowKinds: readonly RowKind[] = ['interception', ...childKinds]

/** Kind → the columns that hold fields of a record. Each table also has `content_hash`. */
const columns = Object.fromEntries(rowKinds.map(kind => [kind, columnsOf(kind)])) as Record<RowKind, Column[]> // one list a kind

function columnsOf(kind: RowKind): Column[] {
  return Object.entries(tables[kind].columns).map(([field, [name, type]]) => ({ name, type, field }))
}

/** Kind → the columns that the server sets, and their types. */
const serverColumns: Partial<Record<RowKind, Readonly<Record<string, string>>>> = {
  interception: { daemon_key_id: 'text', daemon_instance: 'uuid' },
  tokenUsage: { price_id: 'text', cost_nanos: 'bigint', cost_estimated: 'boolean' },
}

/** Returns the columns that a row fills, and the definition of a row of JSON in SQL. */
export function rowColumns(kind: RowKind): { names: string[]; definition: string } {
  const own = Object.entries(serverColumns[kind] ?? {})
  const all = [...columns[kind].map(({ name, type }) => [name, type]), ...own, ['content_hash', 'bytea']]
  return { names: all.map(([name = '']) => name), definition: all.map(column => column.join(' ')).join(', ') }
}

/**
 * Returns a record as JSON text: its row, or for an end the columns that it sets. JSON leaves out undefined fields, and
 * PostgreSQL reads missing fields as null.
 */
export function toRow(stored: StoredRecord): string {
  if (stored.kind === 'interceptionEnded') return JSON.stringify(endColumns(stored.record))
  const row: Record<string, unknown> = {}
  for (const { name, field } of columns[stored.kind]) row[name] = Reflect.get(stored.record, field)
  if (stored.kind === 'interception') {
    row.daemon_key_id = stored.carrier?.daemonKeyId
    row.daemon_instance = stored.carrier?.daemonInstance
  } else if (stored.kind === 'tokenUsage' && stored.cost) {
    row.price_id = stored.cost.priceId
    row.cost_nanos = String(stored.cost.nanos)
    row.cost_estimated = stored.cost.isEstimated
  }
  row.content_hash = `\\x${toHex(stored.contentHash)}`
  return JSON.stringify(row)
}

function endColumns(end: NormalRecord<'interceptionEnded'>) {
  return {
    ended_at: end.endedAt,
    credential_hint: end.credentialHint,
    error_type: end.errorType,
    error_message: 'errorMessage' in end ? end.errorMessage : undefined,
  }
}

/** Returns bytes as lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}
