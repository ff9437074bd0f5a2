/** The history of a chat as a step reads it. */
import type { ChatRow, MessageRow } from '../../../store/store.js'
import type { ModelRequest, StoredPart } from '../model.js'
import { partsOf } from '../stored-parts.js'
import { chatTools } from '../tools/definitions.js'
import { openCalls } from '../turns.js'

/** Calls of tools of one message. */
export interface MessageCalls {
  messageId: string
  calls: readonly (StoredPart & { type: 'tool-call' })[]
}

/** A chat and its messages, from one snapshot. */
export interface History {
  row: ChatRow
  messages: MessageRow[]
}

/** Returns the step whose tools have not run; undefined if the model is next. */
export function openStepOf(messages: readonly MessageRow[]): MessageCalls | undefined {
  const at = messages.findLastIndex(({ role }) => role === 'assistant')
  const last = messages[at]
  if (!last || messages.slice(at).some(({ role }) => role === 'user')) return undefined
  const calls = openCalls(messages.slice(at))
  return calls.length === 0 ? undefined : { messageId: last.id, calls }
}

/** Returns the calls that no server goes on with: their message was deleted, or their results say `cancelled`. */
export function droppedCalls(messages: readonly MessageRow[], { messageId, calls }: MessageCalls) {
  const at = messages.findIndex(({ id }) => id === messageId)
  if (at < 0) return calls
  const results = messages.slice(at + 1, at + 2).flatMap(partsOf)
  const dropped = results.flatMap(part => (part.type === 'tool-result' && part.cancelled ? part.toolCallId : []))
  return calls.filter(({ toolCallId }) => dropped.includes(toolCallId))
}

/** Returns the number of calls of the model since the last message of the user. */
export function stepsOf(messages: readonly Pick<MessageRow, 'role'>[]): number {
  const turn = messages.slice(messages.findLastIndex(({ role }) => role === 'user') + 1)
  return turn.filter(({ role }) => role === 'assistant').length
}

/** Returns the next call of the model. Chats without an agent have no tools. */
export function modelRequestOf({ row, messages }: History, keyId: string): ModelRequest {
  return {
    provider: row.provider,
    api: row.api,
    model: row.model,
    system: row.system,
    messages: messages.map(message => ({ role: message.role, parts: partsOf(message) })),
    tools: row.agentId === null ? [] : [...chatTools],
    keyId,
    chatId: row.id,
  }
}
