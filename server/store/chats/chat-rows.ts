/** Rows of chats and messages: their columns, and JSON with times. */
import { type RawBuilder, sql } from 'kysely'
import { cleanText, type JsonObject } from '../../../shared/values/text.js'
import type { ChatRow } from '../contract/chats.js'
import { usernameOf } from '../sql/username-of.js'

/** A chat as it comes from the database, with times inside JSON as text. */
export interface ChatRecord extends Omit<ChatRow, 'retry' | 'lastError'> {
  retry: JsonObject | null
  lastError: JsonObject | null
}

/** Selects a {@link ChatRecord} from `chats c`. */
export const chatColumns: RawBuilder<unknown> = sql`
  c.id, c.owner_id as "ownerId", ${usernameOf('c.owner_id')}, c.agent_id as "agentId", c.provider, c.model, c.api,
  c.title, c.system, c.cwd, c.status, c.archived, c.version, c.history_version as "historyVersion",
  c.queue_version as "queueVersion", c.attempt, c.retry, c.last_error as "lastError",
  c.agent_instance as "agentInstance", c.runner, c.fence, c.lease_until as "leaseUntil", c.created_at as "createdAt",
  c.updated_at as "updatedAt"`

/** Selects a `MessageRow` from `chat_messages m`. */
export const messageColumns: RawBuilder<unknown> = sql`
  m.id, m.seq, m.role, m.parts, m.usage, m.interception_id as "interceptionId", m.finish_reason as "finishReason",
  m.interrupted, m.created_at as "createdAt"`

/** Selects a `QueuedRow` from `chat_queue`. */
export const queuedColumns: RawBuilder<unknown> = sql`id, parts, created_at as "createdAt"`

/** Returns the row of a record, without columns that only the store reads. */
export function chatOf(record: ChatRecord): ChatRow {
  return {
    id: record.id,
    ownerId: record.ownerId,
    username: record.username,
    agentId: record.agentId,
    provider: record.provider,
    model: record.model,
    api: record.api,
    title: record.title,
    system: record.system,
    cwd: record.cwd,
    status: record.status,
    archived: record.archived,
    version: record.version,
    historyVersion: record.historyVersion,
    queueVersion: record.queueVersion,
    attempt: record.attempt,
    // Both were written by jsonOf() from values of these types.
    retry: withTime(record.retry, 'at') as ChatRow['retry'],
    lastError: withTime(record.lastError, 'retryAt') as ChatRow['lastError'],
    agentInstance: record.agentInstance,
    runner: record.runner,
    fence: record.fence,
    leaseUntil: record.leaseUntil,
    createdAt: record.createdAt,
    updatedAt: record.updatedAt,
  }
}

/** Encodes a value for jsonb, which takes neither U+0000 nor lone surrogates: a provider's words may have both. */
export function jsonOf(value: object | null | undefined): string | null {
  if (value === null || value === undefined) return null
  return JSON.stringify(value, (_, field: unknown) => (typeof field === 'string' ? cleanText(field) : field))
}

function withTime(json: JsonObject | null, field: string): unknown {
  const time = json?.[field]
  return typeof time === 'string' ? { ...json, [field]: new Date(time) } : json
}
