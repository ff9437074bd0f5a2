/** Requests of Anthropic Messages (https://docs.anthropic.com/en/api/messages). */
import type { IncomingHttpHeaders } from 'node:http'
import { isPlainObject, type JsonObject } from '../../../../shared/values/text.js'
import type { RequestFacts } from '../provider-api.js'
import { lastSpoken, objectsOf, parsed, textOf } from '../reading.js'
import { recogniseSession } from './client-recognition.js'

/** Reads a request of `POST /v1/messages`. Never throws, for any JSON. */
export function readAnthropicRequest(body: JsonObject, headers: IncomingHttpHeaders): RequestFacts {
  const last = lastSpoken(objectsOf(body.messages))
  const fromUser = last?.role === 'user'
  return {
    model: textOf(body.model) ?? '',
    prompt: fromUser ? promptOf(last?.content) : undefined,
    correlatingToolCallId: fromUser ? lastToolResult(last?.content) : undefined,
    sessionId: recogniseSession(headers) ?? sessionOfUserId(body.metadata),
  }
}

function promptOf(content: unknown): string | undefined {
  if (typeof content === 'string') return content || undefined
  const block = objectsOf(content).findLast(block => block.type === 'text')
  return textOf(block?.text)
}

function lastToolResult(content: unknown): string | undefined {
  const block = objectsOf(content).findLast(block => block.type === 'tool_result')
  return textOf(block?.tool_use_id)
}

/**
 * Returns the session that Claude Code writes into `user_id`: `user_…_account_…_session_<id>`, or JSON with a
 * `session_id`.
 */
function sessionOfUserId(metadata: unknown): string | undefined {
  const userId = isPlainObject(metadata) ? textOf(metadata.user_id) : undefined
  if (userId === undefined) return undefined
  const json = userId.startsWith('{') ? parsed(userId) : undefined
  return isPlainObject(json) ? textOf(json.session_id) : /_session_(.+)$/.exec(userId)?.[1]
}
