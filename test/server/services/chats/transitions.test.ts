/** The table of transitions, walked on every store: each cell takes the actions that it lists, and no other. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Chats, createChats } from '../../../../server/services/chats/chats.js'
import {
  createRunChanges,
  type Run,
  type RunChanges,
  type RunOutcome,
} from '../../../../server/services/chats/run-changes.js'
import { type Action, type Cell, cellOf, cells, takes, transitions } from '../../../../server/services/chats/states.js'
import type { Store } from '../../../../server/store/store.js'
import type { SendMessage } from '../../../../shared/contract/chats.js'
import { RpcError } from '../../../../shared/rpc/errors.js'
import { stores } from '../../../fixtures/stores.js'
import { makeUser, seedDemo } from './chat-fixtures.js'

const actions = Object.keys(transitions) as Action[] // the keys of that table
const runnerActions: readonly Action[] = [
  'beginAttempt',
  'noteRetry',
  'noteAgentInstance',
  'commitStep',
  'finishTurn',
  'failTurn',
  'finishInterrupt',
]

describe.each(stores)('$name', ({ open }) => {
  let store: Store
  let chats: Chats
  let runs: RunChanges
  let userId: string

  beforeAll(async () => {
    store = await open()
    await seedDemo(store)
    userId = await makeUser(store, 'ada')
    chats = createChats({ store, recordsContent: true })
    runs = createRunChanges(store)
  })
  afterAll(() => store.close())

  test.each(cells.flatMap(cell => actions.map(action => [cell, action] as const)))(
    'the cell %s takes or rejects the action %s as the table says',
    async (cell, action) => {
      const place = await chatIn(cell)
      expect(await cellNow(place.chatId)).toBe(cell)
      const before = await chats.get({ chatId: place.chatId }, { role: 'admin', name: 'operator' })
      const isTaken = await act(action, place)
      const after = await chats.get({ chatId: place.chatId }, { role: 'admin', name: 'operator' })
      expect(isTaken).toBe(takes(cell, action))
      if (isTaken) expect(nextCells(action, cell)).toContain(await cellNow(place.chatId))
      else expect(after).toEqual(before)
    },
  )

  interface Place {
    chatId: string
    run: Run
    queued: string[]
  }

  /** Brings a new chat into a cell by the procedures that users and runners have. */
  async function chatIn(cell: Cell): Promise<Place> {
    const id = randomUUID()
    await chats.create({ id, provider: 'demo', model: 'demo' }, userId)
    const queued: string[] = []
    const base = cell.replace(/^X/, '')
    if (base !== 'W') await chats.send(message(id), userId)
    const run = base === 'W' ? runOf(id, 0, 0) : await acquire(id)
    if (base.endsWith('1')) {
      const next = message(id)
      queued.push(next.id)
      await chats.send(next, userId)
    }
    if (base.startsWith('I')) await chats.interrupt({ chatId: id }, userId)
    if (base.startsWith('E')) {
      expect(await runs.failTurn(run, { reason: 'rejected', message: 'no' })).toMatchObject({ state: 'done' })
    }
    if (cell.startsWith('X')) await chats.archive({ chatId: id, archived: true }, userId)
    return { chatId: id, run, queued }
  }

  async function acquire(id: string): Promise<Run> {
    const runner = randomUUID()
    const row = await store.takeChat({ id, runner, leaseMs: 60_000 })
    if (!row) throw new Error('the chat does not run')
    return { chatId: id, runner, fence: row.fence, historyVersion: row.historyVersion }
  }

  const runOf = (chatId: string, fence: number, historyVersion: number): Run => ({
    chatId,
    runner: randomUUID(),
    fence,
    historyVersion,
  })

  /** Returns whether the chat took the action. */
  async function act(action: Action, { chatId, run, queued }: Place): Promise<boolean> {
    if (runnerActions.includes(action)) return (await ofRunner(action, run)).state === 'done'
    try {
      await ofUser(action, chatId, queued[0] ?? randomUUID())
      return true
    } catch (error) {
      expect(error).toBeInstanceOf(RpcError)
      return false
    }
  }

  async function ofUser(action: Action, chatId: string, queuedId: string): Promise<unknown> {
    switch (action) {
      case 'send':
        return chats.send(message(chatId), userId)
      case 'sendAndInterrupt':
        return chats.send({ ...message(chatId), whenBusy: 'interrupt' }, userId)
      case 'edit': {
        const { messages } = await chats.messages({ chatId }, { role: 'admin', name: 'operator' })
        const last = messages.findLast(({ role }) => role === 'user')
        if (!last) {
          // A chat at rest has a message to edit when a turn has ended there.
          await endOneTurn(chatId)
          return ofUser(action, chatId, queuedId)
        }
        return chats.edit({ ...message(chatId), messageId: last.id }, userId)
      }
      case 'interrupt':
        return chats.interrupt({ chatId }, userId)
      case 'interruptAndClear':
        return chats.interrupt({ chatId, clearQueue: true }, userId)
      case 'dequeue':
        return chats.dequeue({ chatId, id: queuedId }, userId)
      case 'promote':
        return chats.promote({ chatId, id: queuedId }, userId)
      case 'retry':
        return chats.retry({ chatId }, userId)
      case 'archive':
        return chats.archive({ chatId, archived: true }, userId)
      case 'unarchive':
        return chats.archive({ chatId, archived: false }, userId)
    }
    throw new Error(`${action} is the runner's`)
  }

  async function endOneTurn(chatId: string): Promise<void> {
    await chats.send(message(chatId), userId)
    await runs.finishTurn(await acquire(chatId), [{ role: 'assistant', parts: [{ type: 'text', text: 'yes' }] }])
  }

  function ofRunner(action: Action, run: Run): Promise<RunOutcome> {
    const messages = [{ role: 'assistant', parts: [{ type: 'text', text: 'yes' }] }] as const
    switch (action) {
      case 'beginAttempt':
        return runs.beginAttempt(run)
      case 'noteRetry':
        return runs.noteRetry(run, { attempt: 1, at: new Date(), reason: 'unavailable', message: 'again' })
      case 'noteAgentInstance':
        return runs.noteAgentInstance(run, randomUUID())
      case 'commitStep':
        return runs.commitStep(run, messages)
      case 'finishTurn':
        return runs.finishTurn(run, messages)
      case 'failTurn':
        return runs.failTurn(run, { reason: 'rejected', message: 'no' })
      case 'finishInterrupt':
        return runs.finishInterrupt(run, messages)
    }
    throw new Error(`${action} is the user's`)
  }

  async function cellNow(chatId: string): Promise<Cell> {
    const { status, archived, queue } = await chats.get({ chatId }, { role: 'admin', name: 'operator' })
    return cellOf({ status, archived }, queue.length > 0)
  }
})

function nextCells(action: Action, cell: Cell): readonly Cell[] {
  const row: Partial<Record<Cell, readonly Cell[]>> = transitions[action]
  return row[cell] ?? []
}

function message(chatId: string): SendMessage {
  return { chatId, id: randomUUID(), parts: [{ type: 'text', text: 'hello' }] }
}
