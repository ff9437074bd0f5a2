/** Requests of OpenAI Responses (https://platform.openai.com/docs/api-reference/responses). */
import type { IncomingHttpHeaders } from 'node:http'
import type { JsonObject } from '../../../../shared/values/text.js'
import type { RequestFacts } from '../provider-api.js'
import { objectsOf, textOf } from '../reading.js'
import { instructionsOf, isInstruction, textsOf, turnOf } from './content.js'
import { lastTurnOf, type Speech } from './prompt.js'
import { type RequestParts, requestFacts } from './request-facts.js'

/** Reads a request of `POST /responses`. Never throws, for any JSON. */
export function readResponsesRequest(body: JsonObject, headers: IncomingHttpHeaders): RequestFacts {
  return requestFacts(body, headers, partsOf(body))
}

/**
 * Reads a request of `POST /responses/compact`: the client's own, whose last message was said before. Never throws, for
 * any JSON.
 */
export function readCompactionRequest(body: JsonObject, headers: IncomingHttpHeaders): RequestFacts {
  const { turn, instructions } = partsOf(body)
  return requestFacts(body, headers, { turn: { ...turn, texts: [] }, instructions, kind: 'compaction' })
}

function partsOf({ input, instructions }: JsonObject): RequestParts {
  const items = objectsOf(input)
  return {
    turn: typeof input === 'string' ? turnOf(input) : lastTurnOf(items, itemSpeechOf),
    instructions: [...textsOf(instructions), ...instructionsOf(items)],
    kind: items.at(-1)?.type === 'compaction_trigger' ? 'compaction' : undefined,
  }
}

/**
 * Items without a role that stand for the model's speech, beside all calls (`…_call`). An item of any other type, also
 * of one that is invented later, says nothing: it is a setting.
 */
const modelItems: ReadonlySet<string> = new Set([
  'reasoning',
  'item_reference',
  'mcp_approval_request',
  // The conversation so far: its messages were recorded before.
  'compaction',
  'compaction_summary',
  'context_compaction',
])

/** Reads one item of a request. */
export function itemSpeechOf(item: Record<string, unknown>): Speech {
  if (item.role === 'user') return turnOf(item.content)
  if (isInstruction(item)) return 'silent'
  if (item.role !== undefined) return 'model'
  const type = textOf(item.type) ?? ''
  if (modelItems.has(type) || type.endsWith('_call')) return 'model'
  const result = resultOf(type, item)
  if (result === undefined) return 'silent'
  return { texts: [], results: [result] }
}

/**
 * Returns the id of the call whose result an item is, empty text for a result without an id; undefined for other items.
 */
function resultOf(type: string, item: Record<string, unknown>): string | undefined {
  if (type === 'mcp_approval_response') return textOf(item.approval_request_id) ?? ''
  if (!type.endsWith('_output')) return undefined
  // The output of a local shell call has the call's id as its own.
  return textOf(item.call_id) ?? (type === 'local_shell_call_output' ? textOf(item.id) : undefined) ?? ''
}
