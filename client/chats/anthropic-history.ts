/** The history of a chat as messages of Anthropic Messages. */
import type Anthropic from '@anthropic-ai/sdk'
import type { HistoryMessage, ModelRequest, StoredPart } from '../../server/services/chats/model.js'
import { isPlainObject } from '../../shared/values/text.js'
import { parsed, textOf } from '../bridge/providers/reading.js'
import { ownInternal } from './internal-text.js'
import { userTextOf } from './user-text.js'

type Block = Anthropic.ContentBlockParam

/** Returns the system prompt: the chat's, and the system messages of its history, for which the API has no role. */
export function systemOf({ system, messages }: ModelRequest): string | undefined {
  const added = messages.filter(({ role }) => role === 'system').flatMap(({ parts }) => textsOf(parts))
  return textOf([system ?? '', ...added].filter(text => text !== '').join('\n\n'))
}

/**
 * Returns the messages, of which no two neighbours have one role. The last block is marked as the end of the cached
 * prefix: a turn of many steps would pay its whole history for each.
 */
export function anthropicMessagesOf(request: ModelRequest): Anthropic.MessageParam[] {
  const messages: { role: 'user' | 'assistant'; content: Block[] }[] = []
  for (const message of request.messages) {
    if (message.role === 'system') continue
    const role = message.role === 'assistant' ? 'assistant' : 'user'
    const content = role === 'assistant' ? assistantBlocks(request, message) : message.parts.flatMap(userBlocks)
    if (content.length === 0) continue
    const last = messages.at(-1)
    if (last?.role === role) last.content.push(...content)
    else messages.push({ role, content })
  }
  const last = messages.at(-1)?.content.at(-1)
  if (last?.type === 'text' || last?.type === 'tool_result') last.cache_control = { type: 'ephemeral' }
  return messages
}

function textsOf(parts: readonly StoredPart[]): string[] {
  return parts.flatMap(part => (part.type === 'text' && part.text !== '' ? [part.text] : []))
}

function userBlocks(part: StoredPart): Block[] {
  if (part.type === 'tool-result') {
    const { toolCallId, output, isError } = part
    return [{ type: 'tool_result', tool_use_id: toolCallId, content: output, is_error: isError }]
  }
  const text = userTextOf(part)
  return text === undefined ? [] : [{ type: 'text', text }]
}

/** Thoughts alone are no message that the API takes. */
function assistantBlocks(request: ModelRequest, { parts }: HistoryMessage): Block[] {
  const blocks = parts.flatMap((part): Block[] => {
    switch (part.type) {
      case 'text':
        return part.text.trim() === '' ? [] : [{ type: 'text', text: part.text }]
      case 'reasoning':
        return thoughtOf(request, part, part.text)
      case 'tool-call':
        return [{ type: 'tool_use', id: part.toolCallId, name: part.toolName, input: inputOf(part.input) }]
      default:
        return []
    }
  })
  return blocks.every(({ type }) => type === 'thinking' || type === 'redacted_thinking') ? [] : blocks
}

/** A thought without its signature, such as one that was cut by an interrupt, is rejected by the provider. */
function thoughtOf(request: ModelRequest, part: StoredPart, text: string): Block[] {
  const { signature, thinking, data } = ownInternal(request, part) ?? {}
  if (typeof data === 'string') return [{ type: 'redacted_thinking', data }]
  if (typeof signature !== 'string') return []
  return [{ type: 'thinking', thinking: typeof thinking === 'string' ? thinking : text, signature }]
}

/** The API takes objects only. Text that is none, such as a call that was cut short, is shown to the model as it is. */
function inputOf(input: string): Record<string, unknown> {
  const json = parsed(input)
  return isPlainObject(json) ? json : { invalid_json: input }
}
