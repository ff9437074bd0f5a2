/** The conversation of a request, on which the choice among the keys of its provider depends. */
import { hash } from 'node:crypto'
import type { JsonObject } from '../../../shared/values/text.js'
import type { RequestFacts } from '../providers/provider-api.js'
import { openingOf } from '../providers/requests/opening.js'
import type { Exchange } from './exchange.js'

/**
 * Returns the digest of a request's conversation: by its id, by the response that it continues, or by its opening.
 * Conversations of two users are two. Returns undefined if the provider has one key: nothing depends on it then.
 */
export function conversationOf(
  exchange: Exchange,
  { sessionId, conversationId, previousMsgId }: RequestFacts,
  json: JsonObject,
): string | undefined {
  if (exchange.target.keys.length < 2) return undefined
  const id = sessionId ?? conversationId ?? previousMsgId ?? openingOf(json)
  return id === undefined ? undefined : digestOf(exchange, id)
}

/**
 * Notes the response of a conversation that only its responses name: a request that continues this response belongs to
 * the same conversation.
 */
export function noteResponse(
  exchange: Exchange,
  { sessionId, conversationId }: RequestFacts,
  conversation: string | undefined,
  msgId: string | undefined,
): void {
  if (conversation === undefined || msgId === undefined || (sessionId ?? conversationId) !== undefined) return
  const { conversations } = exchange.parts.upstreams
  const keyId = conversations.keyOf(conversation)
  if (keyId !== undefined) conversations.used(digestOf(exchange, msgId), keyId)
}

function digestOf({ target, owner }: Exchange, id: string): string {
  return hash('sha256', JSON.stringify([target.provider.name, owner.ownerId, id]), 'base64')
}
