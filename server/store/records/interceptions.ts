/** Reads records. */
import { type Kysely, sql } from 'kysely'
import type { Interception, InterceptionDetail } from '../../../shared/contract/admin/interceptions.js'
import type { InterceptionEnd } from '../../../shared/contract/admin/watch.js'
import { adminLimits } from '../../../shared/contract/limits.js'
import { type InterceptionKind, userAgentKey } from '../../../shared/contract/recorder.js'
import { internalRequestKinds, requestKindKey } from '../../../shared/contract/request-kinds.js'
import type { Database } from '../sql/schema.js'
import { usernameOf } from '../sql/username-of.js'
import type { InterceptionQuery, InterceptionStore } from '../store.js'

/** The reads of a database's records. */
export function interceptionStore(db: Kysely<Database>): InterceptionStore {
  return {
    listInterceptions: query => listInterceptions(db, query),
    getInterception: id => getInterception(db, id),
  }
}

async function listInterceptions(db: Kysely<Database>, query: InterceptionQuery): Promise<Interception[]> {
  const { provider, limit } = query
  if (provider === undefined) return (await page(db, query, filtersOf(query)).execute()).map(withUserAgent)
  // Two pages, each read from one index in the order of the list; an "or" would read and sort all matches.
  const pages = await Promise.all(
    (['provider_name', 'provider'] as const).map(column =>
      page(db, query, [...filtersOf(query), [column, provider]]).execute(),
    ),
  )
  const found = new Map(pages.flat().map(row => [row.id, row]))
  return [...found.values()].sort(newestFirst).slice(0, limit).map(withUserAgent)
}

/** The order of the list; ids compare as in PostgreSQL, byte by byte. */
function newestFirst(a: Pick<Interception, 'startedAt' | 'id'>, b: Pick<Interception, 'startedAt' | 'id'>): number {
  return b.startedAt.getTime() - a.startedAt.getTime() || (b.id > a.id ? 1 : -1)
}

/** A column and the value that it has in every row of a page. */
type Filter = readonly [column: keyof Database['interceptions'] & string, value: string]

/** All filters but the provider. */
function filtersOf(query: InterceptionQuery): Filter[] {
  const { initiatorId, model, client, clientSessionId, errorType, endedBy, interceptionKind } = query
  const values = {
    initiator_id: initiatorId,
    model,
    client,
    client_session_id: clientSessionId,
    error_type: errorType,
    ended_by: endedBy,
    interception_kind: interceptionKind === 'mcp' ? interceptionKind : undefined,
  }
  return Object.entries(values).flatMap(([column, value]) => (value === undefined ? [] : [[column, value] as Filter]))
}

/**
 * Reads the newest rows that all filters accept. A single filter is read from its own index, whatever its value: the
 * planner takes an index by time for a value that is common, and would read every newer row of other values. That is
 * why ranges and the order name the column: an equality would let the planner drop it from the order.
 */
function page(db: Kysely<Database>, query: InterceptionQuery, filters: readonly Filter[]) {
  const { before, from, to, limit, excludeInternal, interceptionKind } = query
  const [only] = filters.length === 1 ? filters : []
  const column = only ? sql`${sql.ref(only[0])}, ` : sql``
  const value = only ? sql`${only[1]}, ` : sql``
  const conditions = filters.map(([name, is]) =>
    only
      ? sql<boolean>`${sql.ref(name)} >= ${is} and ${sql.ref(name)} <= ${is}`
      : sql<boolean>`${sql.ref(name)} = ${is}`,
  )
  if (excludeInternal) conditions.push(isOfUsers)
  if (interceptionKind === 'model') conditions.push(sql<boolean>`interception_kind is null`)
  if (before) {
    conditions.push(
      sql<boolean>`(${column}started_at, id) < (${value}${before.startedAt}::timestamptz, ${before.id}::uuid)`,
    )
  }
  if (from) conditions.push(sql<boolean>`(${column}started_at) >= (${value}${from}::timestamptz)`)
  if (to) conditions.push(sql<boolean>`(${column}started_at) < (${value}${to}::timestamptz)`)
  return db
    .selectFrom('interceptions')
    .select(interceptionColumns)
    .where(matches => matches.and(conditions))
    .orderBy(sql`${only ? sql`${sql.ref(only[0])} desc, ` : sql``}started_at desc, id desc`)
    .limit(limit)
}

/**
 * The condition of the index `interceptions_newest_of_users`, in its words: otherwise the planner passes the index
 * over.
 */
const isOfUsers = sql<boolean>`coalesce(metadata->>${sql.lit(requestKindKey)}, '') not in (${sql.join(internalRequestKinds.map(kind => sql.lit(kind)))})`

/** Reads everything in one snapshot. */
function getInterception(db: Kysely<Database>, id: string): Promise<InterceptionDetail | null> {
  return db
    .transaction()
    .setIsolationLevel('repeatable read')
    .setAccessMode('read only')
    .execute(async tx => {
      const [interception] = await readInterceptions(tx, [id])
      if (!interception) return null
      const [time, tie] = ['created_at', 'id'] as const
      return {
        interception,
        thread: await readThread(tx, interception.rootId ?? id),
        tokenUsages: await selectTokenUsages(tx).where('interception_id', '=', id).orderBy(time).orderBy(tie).execute(),
        promptUsages: await selectPrompts(tx).where('interception_id', '=', id).orderBy(time).orderBy(tie).execute(),
        toolUsages: await selectToolUsages(tx).where('interception_id', '=', id).orderBy(time).orderBy(tie).execute(),
        modelThoughts: await selectModelThoughts(tx)
          .where('interception_id', '=', id)
          .orderBy(time)
          .orderBy(tie)
          .execute(),
      }
    })
}

/** Reads the interception at the root and all its continuations, oldest first. */
async function readThread(db: Kysely<Database>, rootId: string): Promise<Interception[]> {
  const continuing = await db
    .selectFrom('interceptions')
    .select(interceptionColumns)
    .where('root_id', '=', rootId)
    .orderBy('started_at')
    .orderBy('id')
    .limit(adminLimits.maxThreadLength - 1)
    .execute()
  return [...(await readInterceptions(db, [rootId])), ...continuing.map(withUserAgent)]
}

/** Reads interceptions by id, in no order. */
export async function readInterceptions(db: Kysely<Database>, ids: string[]): Promise<Interception[]> {
  const rows = await db.selectFrom('interceptions').select(interceptionColumns).where('id', 'in', ids).execute()
  return rows.map(withUserAgent)
}

/** Reads the ends of interceptions by id, in no order, without open interceptions. */
export async function readEnds(
  db: Kysely<Database>,
  ids: string[],
): Promise<(InterceptionEnd & Pick<Interception, 'username' | 'interceptionKind'>)[]> {
  const rows = await db
    .selectFrom('interceptions')
    .select([
      'id',
      'ended_at as endedAt',
      'error_type as errorType',
      'error_message as errorMessage',
      'credential_hint as credentialHint',
      'ended_by as endedBy',
      sql<InterceptionKind>`coalesce(interception_kind, 'model')`.as('interceptionKind'),
      usernameOf('interceptions.initiator_id'),
    ])
    .where('id', 'in', ids)
    .execute()
  return rows.flatMap(({ endedAt, ...end }) => (endedAt === null ? [] : [{ ...end, endedAt }]))
}

export function selectTokenUsages(db: Kysely<Database>) {
  return db
    .selectFrom('token_usages')
    .select([
      ...childColumns,
      'msg_id as msgId',
      'model',
      'input_tokens as inputTokens',
      'output_tokens as outputTokens',
      'cache_read_input_tokens as cacheReadInputTokens',
      'cache_write_input_tokens as cacheWriteInputTokens',
      sql<string | null>`cost_nanos::text`.as('costNanos'),
      sql<boolean>`coalesce(cost_estimated, false)`.as('costEstimated'),
    ])
}

export function selectPrompts(db: Kysely<Database>) {
  return db.selectFrom('user_prompts').select([...childColumns, 'msg_id as msgId', 'prompt'])
}

export function selectToolUsages(db: Kysely<Database>) {
  return db
    .selectFrom('tool_usages')
    .select([
      ...childColumns,
      'msg_id as msgId',
      'tool_call_id as toolCallId',
      'item_id as itemId',
      'server_url as serverUrl',
      'tool',
      'input',
      'injected',
      'invocation_error as invocationError',
    ])
}

export function selectModelThoughts(db: Kysely<Database>) {
  return db.selectFrom('model_thoughts').select([...childColumns, 'content'])
}

const interceptionColumns = [
  'id',
  'initiator_id as initiatorId',
  usernameOf('interceptions.initiator_id'),
  'api_key_id as apiKeyId',
  'provider',
  'provider_name as providerName',
  'model',
  'started_at as startedAt',
  'client',
  'client_session_id as clientSessionId',
  'correlating_tool_call_id as correlatingToolCallId',
  'credential_kind as credentialKind',
  'credential_hint as credentialHint',
  'metadata',
  'ended_at as endedAt',
  'error_type as errorType',
  'error_message as errorMessage',
  'parent_id as parentId',
  'root_id as rootId',
  'daemon_key_id as daemonKeyId',
  'daemon_instance as daemonInstance',
  'ended_by as endedBy',
  sql<InterceptionKind>`coalesce(interception_kind, 'model')`.as('interceptionKind'),
  sql<
    string | null
  >`(select sum(t.cost_nanos)::text from token_usages t where t.interception_id = interceptions.id)`.as('costNanos'),
  // Without the condition of the index of unpriced rows, of which a plan for a small table would read all.
  sql<number>`(select (count(*) - count(t.cost_nanos))::float8 from token_usages t where t.interception_id = interceptions.id)`.as(
    'unpricedRecords',
  ),
] as const

const childColumns = ['id', 'interception_id as interceptionId', 'metadata', 'created_at as createdAt'] as const

function withUserAgent(row: Omit<Interception, 'userAgent'>): Interception {
  const userAgent = row.metadata?.[userAgentKey]
  return { ...row, userAgent: typeof userAgent === 'string' ? userAgent : null }
}
