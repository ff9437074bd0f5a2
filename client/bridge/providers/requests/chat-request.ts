/** Requests of OpenAI Chat Completions (https://platform.openai.com/docs/api-reference/chat). */
import type { IncomingHttpHeaders } from 'node:http'
import type { JsonObject } from '../../../../shared/values/text.js'
import type { RequestFacts } from '../provider-api.js'
import { lastSpoken, objectsOf, textOf } from '../reading.js'
import { recogniseSession } from './client-recognition.js'

/** Reads a request of `POST /chat/completions`. Never throws, for any JSON. */
export function readChatRequest(body: JsonObject, headers: IncomingHttpHeaders): RequestFacts {
  const messages = objectsOf(body.messages)
  const last = lastSpoken(messages)
  const lastOfOthers = lastSpoken(messages.filter(({ role }) => role !== 'user'))
  return {
    model: textOf(body.model) ?? '',
    prompt: last?.role === 'user' ? promptOf(last.content) : undefined,
    correlatingToolCallId: lastOfOthers?.role === 'tool' ? textOf(lastOfOthers.tool_call_id) : undefined,
    sessionId: recogniseSession(headers),
  }
}

function promptOf(content: unknown): string | undefined {
  if (typeof content === 'string') return content || undefined
  return textOf(objectsOf(content).findLast(part => part.type === 'text')?.text)
}
