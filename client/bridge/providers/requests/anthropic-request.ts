/** Requests of Anthropic Messages (https://docs.anthropic.com/en/api/messages). */
import type { IncomingHttpHeaders } from 'node:http'
import type { JsonObject } from '../../../../shared/values/text.js'
import type { RequestFacts } from '../provider-api.js'
import { objectsOf } from '../reading.js'
import { instructionsOf, isInstruction, textsOf, turnOf } from './content.js'
import { lastTurnOf, type Speech } from './prompt.js'
import { requestFacts } from './request-facts.js'

/** Reads a request of `POST /v1/messages`. Never throws, for any JSON. */
export function readAnthropicRequest(body: JsonObject, headers: IncomingHttpHeaders): RequestFacts {
  const messages = objectsOf(body.messages)
  const instructions = [...textsOf(body.system), ...instructionsOf(messages)]
  return requestFacts(body, headers, { turn: lastTurnOf(messages, speechOf), instructions })
}

function speechOf(message: Record<string, unknown>): Speech {
  if (isInstruction(message)) return 'silent'
  return message.role === 'user' ? turnOf(message.content) : 'model'
}
