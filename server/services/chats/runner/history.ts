/** The history of a chat as a step reads it. */
import type { ChatRow, MessageRow } from '../../../store/store.js'
import type { ModelRequest, StoredPart } from '../model.js'
import { partsOf } from '../stored-parts.js'
import { chatTools } from '../tools/definitions.js'
import { openCalls } from '../turns.js'

/** A chat and its messages, from one snapshot. */
export interface History {
  row: ChatRow
  messages: MessageRow[]
}

/** The last response, if it has calls of tools without results. */
export interface OpenStep {
  messageId: string
  calls: (StoredPart & { type: 'tool-call' })[]
}

/** Returns the step whose tools have not run; undefined if the model is next. */
export function openStepOf(messages: readonly MessageRow[]): OpenStep | undefined {
  const at = messages.findLastIndex(({ role }) => role === 'assistant')
  const last = messages[at]
  if (!last || messages.slice(at).some(({ role }) => role === 'user')) return undefined
  const calls = openCalls(messages.slice(at))
  return calls.length === 0 ? undefined : { messageId: last.id, calls }
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
