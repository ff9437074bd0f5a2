/**
 * The transitions of a chat that its runner makes. Each needs the runner, the fence and the history that the run has
 * read, in the same transaction as the write: a run that has ended commits nothing.
 */
import { randomUUID } from 'node:crypto'
import type { ChatError, ChatRetry } from '../../../shared/contract/chats.js'
import { chatLimits } from '../../../shared/contract/limits.js'
import type { ChatChange, ChatRow, ChatStore, NewMessage } from '../../store/store.js'
import type { StoredPart } from './model.js'
import { type Action, cellOf, takes } from './states.js'
import { storedParts } from './stored-parts.js'
import { closeOpenCalls, endTurn } from './turns.js'

/** A run of a chat, and the history that it has read. */
export interface Run {
  chatId: string
  /** this server process */
  runner: string
  fence: number
  historyVersion: number
}

/**
 * - `done` the change is stored, and `row` is the chat behind it
 * - `lost` the run has ended: another runner, a higher fence, another history, or a chat that is gone
 * - `interrupting` nothing was stored, because the turn is to be interrupted
 */
export type RunOutcome = { state: 'done'; row: ChatRow } | { state: 'lost' } | { state: 'interrupting'; row: ChatRow }

/** A message of a response, or of the results of its tools. */
export type RunMessage = Pick<NewMessage, 'usage' | 'interceptionId' | 'finishReason' | 'interrupted'> & {
  role: 'assistant' | 'tool'
  parts: readonly StoredPart[]
}

/** The changes of a run. All reject only if the store fails. */
export interface RunChanges {
  /** Counts an attempt; the row has its number. */
  beginAttempt(run: Run): Promise<RunOutcome>
  /** Notes the wait before the next attempt. */
  noteRetry(run: Run, retry: ChatRetry): Promise<RunOutcome>
  /** Notes the process of the agent on which the commands of this step are about to be started. */
  noteAgentInstance(run: Run, instance: string): Promise<RunOutcome>
  /**
   * Appends a response with calls, or the results of calls; the turn goes on, with the history of the row. A chat
   * without room for a response and its results fails (too_long).
   */
  commitStep(run: Run, messages: readonly RunMessage[]): Promise<RunOutcome>
  /** Appends messages and ends the turn; a queued message begins the next one, under the same lease. */
  finishTurn(run: Run, messages: readonly RunMessage[]): Promise<RunOutcome>
  /** Ends the turn by a failure. */
  failTurn(run: Run, error: ChatError): Promise<RunOutcome>
  /**
   * Ends an interrupted turn: appends messages, if the history is still the one that was read, and results for open
   * tool calls. A queued message begins the next turn, under the same lease. In any other state: `lost`.
   */
  finishInterrupt(run: Run, messages: readonly RunMessage[]): Promise<RunOutcome>
}

/** Creates the changes of runs on a store. */
export function createRunChanges(store: Pick<ChatStore, 'changeChat'>): RunChanges {
  async function change(run: Run, action: Action, work: (chat: ChatChange) => Promise<void>): Promise<RunOutcome> {
    const changed = await store.changeChat(run.chatId, async chat => {
      const { row } = chat
      if (row.runner !== run.runner || row.fence !== run.fence) return 'lost'
      const isInterrupt = action === 'finishInterrupt'
      if (!isInterrupt && row.historyVersion !== run.historyVersion) return 'lost'
      const cell = cellOf(row, (await chat.queue()).length > 0)
      if (!takes(cell, action)) return row.status === 'interrupting' ? 'interrupting' : 'lost'
      await work(chat)
      return 'done'
    })
    if (!changed || changed.result === 'lost') return { state: 'lost' }
    return { state: changed.result, row: changed.row }
  }

  return {
    beginAttempt: run =>
      change(run, 'beginAttempt', chat => chat.update({ attempt: chat.row.attempt + 1, retry: null })),
    noteRetry: (run, retry) => change(run, 'noteRetry', chat => chat.update({ retry })),
    noteAgentInstance: (run, agentInstance) => change(run, 'noteAgentInstance', chat => chat.update({ agentInstance })),

    commitStep: (run, messages) =>
      change(run, 'commitStep', async chat => {
        // Calls need room for their results, too: results of calls that were made are stored in any case.
        const isResponse = messages.some(({ role }) => role === 'assistant')
        if (isResponse && isFull(chat, messages.length + 1)) return fail(chat, tooLong)
        await appendAll(chat, messages)
        await chat.update({ agentInstance: null, historyChanged: true })
      }),

    finishTurn: (run, messages) =>
      change(run, 'finishTurn', async chat => {
        if (isFull(chat, messages.length)) return fail(chat, tooLong)
        await appendAll(chat, messages)
        await endTurn(chat)
      }),

    failTurn: (run, error) => change(run, 'failTurn', chat => fail(chat, error)),

    finishInterrupt: (run, messages) =>
      change(run, 'finishInterrupt', async chat => {
        if (chat.row.historyVersion === run.historyVersion) await appendAll(chat, messages)
        await closeOpenCalls(chat)
        await endTurn(chat)
      }),
  }
}

const tooLong: ChatError = {
  reason: 'too_long',
  message: `a chat takes ${chatLimits.maxMessages} messages, of ${chatLimits.maxHistoryBytes} bytes together`,
}

/** Whether messages have no room. What a step adds to the bytes is bounded, so its messages may be the last ones. */
function isFull({ size }: ChatChange, messages: number): boolean {
  return size.messages + messages > chatLimits.maxMessages || size.bytes >= chatLimits.maxHistoryBytes
}

async function appendAll(chat: ChatChange, messages: readonly RunMessage[]): Promise<void> {
  for (const { parts, ...message } of messages) {
    await chat.append({ ...message, id: randomUUID(), ...storedParts(parts) })
  }
}

/**
 * The queue stays: the user decides by `retry`, `promote` or a new message. The agent's process stays, too: a retry
 * makes the open calls under the same ids, and a process that never had them must not run them again.
 */
async function fail(chat: ChatChange, lastError: ChatError): Promise<void> {
  await chat.update({ status: 'error', lastError, retry: null, released: true })
}
