/** The history of a chat as messages of Chat Completions. */
import type OpenAI from 'openai'
import type { HistoryMessage, ModelRequest } from '../../server/services/chats/model.js'
import { isPlainObject } from '../../shared/values/text.js'
import { ownInternal } from './internal-text.js'
import { userTextOf } from './user-text.js'

type Message = OpenAI.Chat.ChatCompletionMessageParam

/** Fields with a thought, which OpenAI itself does not have: DeepSeek, Moonshot and vLLM; OpenRouter. */
export const reasoningFields = ['reasoning_content', 'reasoning'] as const

/** Returns the messages. */
export function chatMessagesOf(request: ModelRequest): Message[] {
  const { system, messages } = request
  const turn = messages.findLastIndex(({ role }) => role === 'user')
  const history = messages.flatMap((message, index): Message[] => {
    switch (message.role) {
      case 'assistant':
        return assistantMessage(request, message, index > turn)
      case 'tool':
        return message.parts.flatMap(part =>
          part.type === 'tool-result' ? [{ role: 'tool', tool_call_id: part.toolCallId, content: part.output }] : [],
        )
      default: {
        const content = message.parts.flatMap(part => userTextOf(part) ?? []).join('\n\n')
        return content === '' ? [] : [{ role: message.role, content }]
      }
    }
  })
  return system ? [{ role: 'system', content: system }, ...history] : history
}

/**
 * Thoughts go back within their turn only: DeepSeek and Moonshot need them beside the calls of tools, and count those
 * of earlier turns as input without a use.
 */
function assistantMessage(request: ModelRequest, { parts }: HistoryMessage, isOpenTurn: boolean): Message[] {
  const content = parts.flatMap(part => (part.type === 'text' ? [part.text] : [])).join('')
  const calls = parts.flatMap((part): OpenAI.Chat.ChatCompletionMessageToolCall[] => {
    if (part.type !== 'tool-call') return []
    const { extra } = ownInternal(request, part) ?? {}
    return [
      {
        id: part.toolCallId,
        type: 'function',
        function: { name: part.toolName, arguments: part.input },
        ...(isPlainObject(extra) && { extra_content: extra }),
      },
    ]
  })
  if (content === '' && calls.length === 0) return []
  const thoughts = isOpenTurn ? thoughtsOf(request, parts) : {}
  return [
    {
      role: 'assistant',
      content: content === '' ? null : content,
      ...(calls.length > 0 && { tool_calls: calls }),
      ...thoughts,
    },
  ]
}

function thoughtsOf(request: ModelRequest, parts: HistoryMessage['parts']): Record<string, string> {
  for (const part of parts) {
    if (part.type !== 'reasoning' || part.text === '') continue
    const { field } = ownInternal(request, part) ?? {}
    const known = reasoningFields.find(name => name === field)
    if (known !== undefined) return { [known]: part.text }
  }
  return {}
}
