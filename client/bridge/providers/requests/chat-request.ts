/** Requests of OpenAI Chat Completions (https://platform.openai.com/docs/api-reference/chat). */
import type { IncomingHttpHeaders } from 'node:http'
import type { JsonObject } from '../../../../shared/values/text.js'
import type { RequestFacts } from '../provider-api.js'
import { objectsOf, textOf } from '../reading.js'
import { instructionsOf, isInstruction, turnOf } from './content.js'
import { lastTurnOf, type Speech } from './prompt.js'
import { requestFacts } from './request-facts.js'
import { readResponsesRequest } from './responses-request.js'

/** Reads a request of `POST /chat/completions`. Never throws, for any JSON. Cursor sends bodies of Responses there. */
export function readChatRequest(body: JsonObject, headers: IncomingHttpHeaders): RequestFacts {
  const hasMessages = Array.isArray(body.messages) && body.messages.length > 0
  if (!hasMessages && body.input !== undefined) return readResponsesRequest(body, headers)
  const messages = objectsOf(body.messages)
  return requestFacts(body, headers, {
    turn: lastTurnOf(messages, chatSpeechOf),
    instructions: instructionsOf(messages),
  })
}

/** Reads one message of a request. */
export function chatSpeechOf(message: Record<string, unknown>): Speech {
  if (isInstruction(message)) return 'silent'
  if (message.role === 'user') return turnOf(message.content)
  // The older form of a result has the function's name and no id.
  if (message.role === 'tool' || message.role === 'function') {
    return { texts: [], results: [textOf(message.tool_call_id) ?? ''] }
  }
  return 'model'
}
