/** Reading records. */
import type { Kysely } from 'kysely'
import { sql } from 'kysely'
import type { Interception, InterceptionDetail } from '../../shared/admin.js'
import { userAgentKey } from '../../shared/recorder.js'
import type { Database } from './schema.js'
import type { InterceptionQuery } from './store.js'

/** See {@link import('./store.js').RecordStore.listInterceptions}. */
export async function listInterceptions(db: Kysely<Database>, query: InterceptionQuery): Promise<Interception[]> {
  const { before, initiatorId, provider, model, client, clientSessionId, errorType, from, to } = query
  let select = db.selectFrom('interceptions').select(interceptionColumns)
  if (before)
    select = select.where(sql<boolean>`(started_at, id) < (${before.startedAt}::timestamptz, ${before.id}::uuid)`)
  if (initiatorId !== undefined) select = select.where('initiator_id', '=', initiatorId)
  if (provider !== undefined)
    select = select.where(where => where.or([where('provider', '=', provider), where('provider_name', '=', provider)]))
  if (model !== undefined) select = select.where('model', '=', model)
  if (client !== undefined) select = select.where('client', '=', client)
  if (clientSessionId !== undefined) select = select.where('client_session_id', '=', clientSessionId)
  if (errorType !== undefined) select = select.where(sql<boolean>`error_type = ${errorType}`)
  if (from) select = select.where('started_at', '>=', from)
  if (to) select = select.where('started_at', '<', to)
  const rows = await select.orderBy('started_at', 'desc').orderBy('id', 'desc').limit(query.limit).execute()
  return rows.map(withUserAgent)
}

/** See {@link import('./store.js').RecordStore.getInterception}. All is read in one snapshot. */
export async function getInterception(db: Kysely<Database>, id: string): Promise<InterceptionDetail | null> {
  return db
    .transaction()
    .setIsolationLevel('repeatable read')
    .setAccessMode('read only')
    .execute(async tx => {
      const row = await tx
        .selectFrom('interceptions')
        .select(interceptionColumns)
        .where('id', '=', id)
        .executeTakeFirst()
      if (!row) return null
      return {
        interception: withUserAgent(row),
        tokenUsages: await tx
          .selectFrom('token_usages')
          .select([
            ...childColumns,
            'msg_id as msgId',
            'input_tokens as inputTokens',
            'output_tokens as outputTokens',
            'cache_read_input_tokens as cacheReadInputTokens',
            'cache_write_input_tokens as cacheWriteInputTokens',
          ])
          .where('interception_id', '=', id)
          .orderBy('created_at')
          .orderBy('id')
          .execute(),
        promptUsages: await tx
          .selectFrom('user_prompts')
          .select([...childColumns, 'msg_id as msgId', 'prompt'])
          .where('interception_id', '=', id)
          .orderBy('created_at')
          .orderBy('id')
          .execute(),
        toolUsages: await tx
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
          .where('interception_id', '=', id)
          .orderBy('created_at')
          .orderBy('id')
          .execute(),
        modelThoughts: await tx
          .selectFrom('model_thoughts')
          .select([...childColumns, 'content'])
          .where('interception_id', '=', id)
          .orderBy('created_at')
          .orderBy('id')
          .execute(),
      }
    })
}

const interceptionColumns = [
  'id',
  'initiator_id as initiatorId',
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
] as const

const childColumns = ['id', 'interception_id as interceptionId', 'metadata', 'created_at as createdAt'] as const

function withUserAgent(row: Omit<Interception, 'userAgent'>): Interception {
  const userAgent = row.metadata?.[userAgentKey]
  return { ...row, userAgent: typeof userAgent === 'string' ? userAgent : null }
}
