import type { IncomingHttpHeaders } from 'node:http'
import { recordLimits } from '../../../../shared/contract/limits.js'
import { isPlainObject, type JsonObject } from '../../../../shared/values/text.js'
import type { RequestFacts } from '../provider-api.js'
import { textOf } from '../reading.js'
import { attributionOf } from './attribution.js'
import { recogniseClient } from './client-recognition.js'
import { ownKindOf } from './own-request.js'
import { continuedCall, promptOf, type Turn } from './prompt.js'
import { sessionOf } from './session.js'

/** The parts of a request that each API has in a place of its own. */
export interface RequestParts {
  /** the user's turn at the end of the conversation */
  turn: Turn
  /** texts of the system's instructions */
  instructions: string[]
  /** the kind of a request that its structure shows */
  kind?: 'compaction' | undefined
}

/** Returns the facts of a request, which are the same for all APIs. Never throws, for any JSON. */
export function requestFacts(body: JsonObject, headers: IncomingHttpHeaders, parts: RequestParts): RequestFacts {
  const { turn, instructions } = parts
  const client = recogniseClient(headers)
  return {
    model: cut(textOf(body.model)) ?? '',
    client,
    ...keptPrompt(promptOf(turn, client)),
    correlatingToolCallId: continuedCall(turn),
    previousMsgId: textOf(body.previous_response_id) ?? idIn(body.thread, 'previous_message_id'),
    conversationId: textOf(body.conversation) ?? idIn(body.conversation, 'id'),
    sessionId: sessionOf(body, headers, client),
    metadata: attributionOf(headers, parts.kind ?? ownKindOf(client, body, instructions, turn.texts)),
  }
}

/** longest text that is kept of a name: a record cuts it further */
const maxNameCharacters = 4 * recordLimits.maxNameLength

function cut(name: string | undefined): string | undefined {
  return name === undefined || name.length <= maxNameCharacters ? name : name.slice(0, maxNameCharacters)
}

/** Returns the part of a prompt that a record can hold, as a copy: a part of a text would keep the whole body alive. */
function keptPrompt(prompt: string | undefined): Pick<RequestFacts, 'prompt' | 'promptBytes'> {
  if (prompt === undefined || prompt.length <= recordLimits.maxContentBytes) return { prompt }
  const kept = Buffer.from(prompt.slice(0, recordLimits.maxContentBytes)).toString()
  return { prompt: kept, promptBytes: Buffer.byteLength(prompt) }
}

function idIn(value: unknown, name: string): string | undefined {
  return isPlainObject(value) ? textOf(value[name]) : undefined
}
