/** The history of a chat as items of OpenAI Responses. */
import type OpenAI from 'openai'
import type { ModelRequest, StoredPart } from '../../server/services/chats/model.js'
import { isPlainObject } from '../../shared/values/text.js'
import { textOf } from '../bridge/providers/reading.js'
import { ownInternal } from './internal-text.js'
import { userTextOf } from './user-text.js'

type Item = OpenAI.Responses.ResponseInputItem

/** Returns the items of the history. */
export function responseItemsOf(request: ModelRequest): Item[] {
  return request.messages.flatMap(({ role, parts }): Item[] => {
    if (role === 'assistant') return assistantItems(request, parts)
    if (role === 'tool') return parts.flatMap(resultOf)
    const content = parts.flatMap(part => {
      const text = userTextOf(part)
      return text === undefined ? [] : [{ type: 'input_text' as const, text }]
    })
    return content.length === 0 ? [] : [{ type: 'message', role: role === 'system' ? 'developer' : 'user', content }]
  })
}

function resultOf(part: StoredPart): Item[] {
  if (part.type !== 'tool-result') return []
  return [{ type: 'function_call_output', call_id: part.toolCallId, output: part.output }]
}

/** Thoughts are bound to the item that follows them: at the end of a message that was cut they are rejected. */
function assistantItems(request: ModelRequest, parts: readonly StoredPart[]): Item[] {
  const items = parts.flatMap(part => itemsOf(request, part))
  const last = items.findLastIndex(({ type }) => type !== 'reasoning')
  return items.slice(0, last + 1)
}

function itemsOf(request: ModelRequest, part: StoredPart): Item[] {
  const own = ownInternal(request, part)
  switch (part.type) {
    case 'text': {
      if (part.text === '') return []
      const phase = textOf(own?.phase)
      // The API takes messages of the model without an id, for which the SDK has no type.
      const message = { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: part.text }] }
      return [(phase === undefined ? message : { ...message, phase }) as Item]
    }
    case 'reasoning':
      // An item as the provider has sent it, with the encrypted thought.
      return isPlainObject(own?.item) ? [own.item as unknown as Item] : []
    case 'tool-call':
      return [{ type: 'function_call', call_id: part.toolCallId, name: part.toolName, arguments: part.input }]
    default:
      return []
  }
}
