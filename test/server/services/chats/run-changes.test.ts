import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { createRunChanges, type RunMessage } from '../../../../server/services/chats/run-changes.js'
import type { ChatChange, ChatPatch, ChatRow, ChatSize } from '../../../../server/store/store.js'
import { chatLimits } from '../../../../shared/contract/limits.js'

const run = { chatId: randomUUID(), runner: randomUUID(), fence: 1, historyVersion: 2 }
const call = { type: 'tool-call', toolCallId: 't1', toolName: 'execute', input: '{}' } as const
const calls: RunMessage = { role: 'assistant', parts: [call] }
const results: RunMessage = {
  role: 'tool',
  parts: [{ type: 'tool-result', toolCallId: 't1', toolName: 'execute', output: 'one', isError: false }],
}

/** Commits a message to a chat of a size; returns its role if it was stored, and the failure of the turn. */
async function commit(message: RunMessage, size: Partial<ChatSize>) {
  const patches: ChatPatch[] = []
  const stored: string[] = []
  const chat = {
    row: { ...run, status: 'running', archived: false } as object as ChatRow,
    size: { messages: 0, bytes: 0, ...size },
    queue: async () => [],
    append: async ({ role }) => stored.push(role),
    update: async patch => void patches.push(patch),
  } satisfies Partial<ChatChange>
  const changeChat = async <T>(_: string, work: (chat: ChatChange) => Promise<T>) => {
    return { result: await work(chat as Partial<ChatChange> as ChatChange), row: chat.row }
  }
  await createRunChanges({ changeChat }).commitStep(run, [message])
  return [...stored, ...patches.flatMap(({ lastError }) => lastError?.reason ?? [])]
}

test('a response with calls needs room for their results: without it no call is made', async () => {
  const { maxMessages } = chatLimits
  expect(await commit(calls, { messages: maxMessages - 2 })).toEqual(['assistant'])
  expect(await commit(calls, { messages: maxMessages - 1 })).toEqual(['too_long'])
})

test('results of calls are stored in a chat that is full', async () => {
  expect(await commit(results, { messages: chatLimits.maxMessages })).toEqual(['tool'])
  expect(await commit(results, { bytes: chatLimits.maxHistoryBytes })).toEqual(['tool'])
})
