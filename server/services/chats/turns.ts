/** Steps of transitions that begin and end turns, within one change of a chat. */
import { randomUUID } from 'node:crypto'
import type { ToolResultPart } from '../../../shared/contract/chats.js'
import type { ChatChange, MessageRow, NewMessage, QueuedRow } from '../../store/store.js'
import type { StoredPart } from './model.js'
import { partsOf, storedParts } from './stored-parts.js'

/** Appends a user's message and begins its turn: any server may run it. Open tool calls are closed before. */
export async function beginTurn(
  chat: ChatChange,
  message: Pick<NewMessage, 'id' | 'parts' | 'contentHash'>,
): Promise<number> {
  await closeOpenCalls(chat)
  const seq = await chat.append({ ...message, role: 'user' })
  await chat.update({ status: 'running', lastError: null, agentInstance: null, historyChanged: true, released: true })
  return seq
}

/**
 * Ends a turn: the head of the queue begins the next one, under the same lease, or the chat is at rest without a lease.
 */
export async function endTurn(chat: ChatChange): Promise<void> {
  const [head] = await chat.queue()
  const next = head && (await chat.dequeue(head.id, true))
  if (!next) return chat.update({ status: 'waiting', agentInstance: null, historyChanged: true, released: true })
  await closeOpenCalls(chat)
  await chat.append({ ...messageOf(next), role: 'user' })
  await chat.update({ status: 'running', agentInstance: null, historyChanged: true })
}

/** Takes the head of the queue, and begins its turn. */
export async function beginQueuedTurn(chat: ChatChange): Promise<void> {
  const [head] = await chat.queue()
  const next = head && (await chat.dequeue(head.id, true))
  if (next) await beginTurn(chat, messageOf(next))
}

/** Appends results for tool calls of the last turn that have none. */
export async function closeOpenCalls(chat: ChatChange): Promise<void> {
  const results = openCalls(await chat.lastTurn()).map(
    ({ toolCallId, toolName }): ToolResultPart => ({
      type: 'tool-result',
      toolCallId,
      toolName,
      output: 'The call was cancelled before its result was known.',
      isError: true,
      cancelled: true,
    }),
  )
  if (results.length > 0) await chat.append({ id: randomUUID(), role: 'tool', ...storedParts(results) })
}

/**
 * Returns the tool calls of messages that have no result behind them. A provider may use an id again in a later step.
 */
export function openCalls(messages: readonly Pick<MessageRow, 'parts'>[]): (StoredPart & { type: 'tool-call' })[] {
  const open: (StoredPart & { type: 'tool-call' })[] = []
  for (const part of messages.flatMap(partsOf)) {
    if (part.type === 'tool-call') open.push(part)
    if (part.type !== 'tool-result') continue
    const index = open.findIndex(({ toolCallId }) => toolCallId === part.toolCallId)
    if (index >= 0) open.splice(index, 1)
  }
  return open
}

function messageOf({ id, parts, contentHash }: QueuedRow & { contentHash: Uint8Array }) {
  return { id, parts, contentHash }
}
