/** The procedures of chats on every store: repeats, other users, limits, and what stays of messages. */
import { createHash, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Chats, createChats } from '../../../../server/services/chats/chats.js'
import { createRunChanges, type Run } from '../../../../server/services/chats/run-changes.js'
import type { ChatChange, ChatSize, Store } from '../../../../server/store/store.js'
import type { CreateChat, SendMessage } from '../../../../shared/contract/chats.js'
import { chatLimits } from '../../../../shared/contract/limits.js'
import { stores } from '../../../fixtures/stores.js'
import { makeUser, seedDemo } from './chat-fixtures.js'

const admin = { role: 'admin', name: 'operator' } as const

describe.each(stores)('$name', ({ open }) => {
  let store: Store
  let chats: Chats
  let ada: string
  let bob: string

  beforeAll(async () => {
    store = await open()
    await seedDemo(store)
    ada = await makeUser(store, 'ada')
    bob = await makeUser(store, 'bob')
    chats = createChats({ store, recordsContent: true })
  })
  afterAll(() => store.close())

  const create = async (more: Partial<CreateChat> = {}) => {
    const input = { id: randomUUID(), provider: 'demo', model: 'demo', ...more }
    await chats.create(input, ada)
    return input
  }
  const textsOf = async (chatId: string) =>
    (await chats.messages({ chatId }, admin)).messages.map(({ role, parts }) =>
      [role, ...parts.map(part => (part.type === 'text' ? part.text : part.type))].join(' '),
    )
  const acquire = async (chatId: string): Promise<Run> => {
    const runner = randomUUID()
    const row = await store.takeChat({ id: chatId, runner, leaseMs: 60_000 })
    if (!row) throw new Error('the chat does not run')
    return { chatId, runner, fence: row.fence, historyVersion: row.historyVersion }
  }
  const runs = () => createRunChanges(store)
  /** Changes chats that say that they have this size. */
  const withSize =
    (size: ChatSize): Store['changeChat'] =>
    (id, work) =>
      store.changeChat(id, chat => {
        const get = (_: ChatChange, name: string | symbol): unknown => {
          const field: unknown = Reflect.get(chat, name)
          return name === 'size' ? size : typeof field === 'function' ? field.bind(chat) : field
        }
        return work(new Proxy(chat, { get }))
      })
  /** Adds messages of the model, each with so many bytes. */
  const fill = (chatId: string, count: number, bytes: number) =>
    store.changeChat(chatId, async chat => {
      const parts = JSON.stringify([{ type: 'text', text: 'x'.repeat(bytes) }])
      const contentHash = createHash('sha256').update(parts).digest()
      for (let n = 0; n < count; n++) await chat.append({ id: randomUUID(), role: 'assistant', parts, contentHash })
    })
  const answer = { role: 'assistant', parts: [{ type: 'text', text: 'yes' }] } as const

  test('a chat that is created again is the same chat, and its first message is sent once', async () => {
    const input = await create({ title: 'first', message: { id: randomUUID(), parts: [part('hello')] } })
    const again = await chats.create(input, ada)
    expect(again).toMatchObject({ id: input.id, status: 'running', title: 'first', username: 'ada', queue: [] })
    expect(await textsOf(input.id)).toEqual(['user hello'])
    await expect(chats.create({ ...input, title: 'second' }, ada)).rejects.toMatchObject({ reason: 'content_differs' })
    await expect(chats.create(input, bob)).rejects.toMatchObject({ reason: 'content_differs' })
  })

  test('a chat with 10,000 messages takes no more', async () => {
    const { id: chatId } = await create()
    const size = { messages: chatLimits.maxMessages, bytes: 1 }
    const full = createChats({ store: { ...store, changeChat: withSize(size) }, recordsContent: true })
    await expect(full.send(message(chatId, 'more'), ada)).rejects.toMatchObject({ reason: 'chat_full' })
    expect(await chats.send(message(chatId, 'more'), ada)).toMatchObject({ state: 'stored' })
  })

  test('a chat with 16 MiB of messages takes no more, and its turn fails; an edit makes room', async () => {
    const { id: chatId } = await create()
    const first = message(chatId, 'go')
    await chats.send(first, ada)
    await fill(chatId, 6, Math.ceil(chatLimits.maxHistoryBytes / 6))
    await expect(chats.send(message(chatId, 'more'), ada)).rejects.toMatchObject({ reason: 'chat_full' })
    const run = await acquire(chatId)
    expect(await runs().commitStep(run, [answer])).toMatchObject({
      state: 'done',
      row: { status: 'error', lastError: { reason: 'too_long' } },
    })
    await expect(chats.send(message(chatId, 'more'), ada)).rejects.toMatchObject({ reason: 'chat_full' })
    const edited = { id: randomUUID(), parts: [part('again')] }
    expect(await chats.edit({ chatId, messageId: first.id, ...edited }, ada)).toMatchObject({ state: 'stored' })
    expect(await textsOf(chatId)).toEqual(['user again'])
    expect(await chats.send(message(chatId, 'more'), ada)).toEqual({ state: 'queued' })
  })

  test('a message that is sent again says what became of it', async () => {
    const { id: chatId } = await create()
    const first = message(chatId, 'one')
    const second = message(chatId, 'two')
    expect(await chats.send(first, ada)).toEqual({ state: 'stored', seq: 1 })
    expect(await chats.send(second, ada)).toEqual({ state: 'queued' })
    expect(await chats.send(first, ada)).toEqual({ state: 'stored', seq: 1 })
    expect(await chats.send(second, ada)).toEqual({ state: 'queued' })
    await chats.dequeue({ chatId, id: second.id }, ada)
    expect(await chats.send(second, ada)).toEqual({ state: 'dequeued' })
    await chats.dequeue({ chatId, id: second.id }, ada)
    await expect(chats.send({ ...first, parts: [part('other')] }, ada)).rejects.toMatchObject({
      code: 'CONFLICT',
      reason: 'content_differs',
    })
    expect(await textsOf(chatId)).toEqual(['user one'])
  })

  test('the same message on two connections at once is stored once', async () => {
    const { id: chatId } = await create()
    const both = message(chatId, 'once')
    const sent = await Promise.all([chats.send(both, ada), chats.send(both, ada), chats.send(both, ada)])
    expect(sent).toEqual([1, 2, 3].map(() => ({ state: 'stored', seq: 1 })))
  })

  test('every procedure finds nothing for another user', async () => {
    const { id: chatId } = await create({ message: { id: randomUUID(), parts: [part('secret')] } })
    const reader = { role: 'user', userId: bob } as const
    const calls = [
      () => chats.get({ chatId }, reader),
      () => chats.messages({ chatId }, reader),
      () => chats.send(message(chatId, 'x'), bob),
      () => chats.edit({ ...message(chatId, 'x'), messageId: randomUUID() }, bob),
      () => chats.interrupt({ chatId }, bob),
      () => chats.dequeue({ chatId, id: randomUUID() }, bob),
      () => chats.promote({ chatId, id: randomUUID() }, bob),
      () => chats.retry({ chatId }, bob),
      () => chats.archive({ chatId, archived: true }, bob),
    ]
    for (const call of calls) await expect(call()).rejects.toMatchObject({ code: 'NOT_FOUND', reason: 'unknown_chat' })
    expect((await chats.list({}, reader)).chats).toEqual([])
    expect((await chats.list({ user: 'ada', limit: 200 }, admin)).chats.map(({ id }) => id)).toContain(chatId)
  })

  test('a provider, an API and an agent must be there', async () => {
    const base = { id: randomUUID(), provider: 'demo', model: 'demo' }
    await expect(chats.create({ ...base, provider: 'off' }, ada)).rejects.toMatchObject({ reason: 'unknown_row' })
    await expect(chats.create({ ...base, agent: 'nobody' }, ada)).rejects.toMatchObject({ reason: 'unknown_row' })
    await expect(chats.create({ ...base, api: 'openai-chat' }, ada)).rejects.toMatchObject({ code: 'BAD_REQUEST' })
    const { id } = await create({ provider: 'openai', api: 'openai-chat' })
    expect(await chats.get({ chatId: id }, admin)).toMatchObject({ api: 'openai-chat' })
  })

  test('an agent of another user is unknown', async () => {
    const agent = { id: randomUUID(), keyId: 'k123456789', name: 'builder', userId: bob, expiresAt: null }
    await store.createAgent({ ...agent, secretHash: new Uint8Array(32) })
    await expect(create({ agent: 'builder' })).rejects.toMatchObject({ reason: 'unknown_row' })
  })

  test('an edit deletes the later messages and the queue, and the old run commits nothing', async () => {
    const { id: chatId } = await create()
    const first = message(chatId, 'one')
    await chats.send(first, ada)
    await runs().finishTurn(await acquire(chatId), [answer])
    await chats.send(message(chatId, 'two'), ada)
    const old = await acquire(chatId)
    const waiting = message(chatId, 'three')
    await chats.send(waiting, ada)
    const edited = { ...message(chatId, 'uno'), messageId: first.id }
    expect(await chats.edit(edited, ada)).toMatchObject({ state: 'stored' })
    expect(await runs().finishTurn(old, [answer])).toEqual({ state: 'lost' })
    expect(await textsOf(chatId)).toEqual(['user uno'])
    expect(await chats.send(waiting, ada)).toEqual({ state: 'dequeued' })
    expect(await chats.edit(edited, ada)).toMatchObject({ state: 'stored' })
    await runs().finishTurn(await acquire(chatId), [answer])
    expect(await textsOf(chatId)).toEqual(['user uno', 'assistant yes'])
    const { messages } = await chats.messages({ chatId }, admin)
    const response = messages.at(-1)?.id ?? ''
    await expect(chats.edit({ ...message(chatId, 'x'), messageId: response }, ada)).rejects.toMatchObject({
      reason: 'unknown_message',
    })
  })

  test('a message behind open tool calls closes them', async () => {
    const { id: chatId } = await create({ message: { id: randomUUID(), parts: [part('go')] } })
    const run = await acquire(chatId)
    const call = { type: 'tool-call', toolCallId: 'call_1', toolName: 'execute', input: '{}' } as const
    const outcome = await runs().commitStep(run, [{ role: 'assistant', parts: [call], finishReason: 'tool_calls' }])
    if (outcome.state !== 'done') throw new Error(`the run is ${outcome.state}`)
    await runs().failTurn({ ...run, historyVersion: outcome.row.historyVersion }, { reason: 'internal', message: 'x' })
    await chats.send(message(chatId, 'and now'), ada)
    expect(await textsOf(chatId)).toEqual(['user go', 'assistant tool-call', 'tool tool-result', 'user and now'])
    const { messages } = await chats.messages({ chatId }, admin)
    expect(messages[2]?.parts[0]).toMatchObject({ toolCallId: 'call_1', isError: true, cancelled: true })
    expect(await chats.get({ chatId }, admin)).toMatchObject({ status: 'running', lastError: null })
  })

  test('a tool call whose id was used in an earlier step of the turn is open until it has a result of its own', async () => {
    const { id: chatId } = await create({ message: { id: randomUUID(), parts: [part('go')] } })
    let run = await acquire(chatId)
    const call = { type: 'tool-call', toolCallId: 'call_0', toolName: 'execute', input: '{}' } as const
    const result = { ...call, type: 'tool-result', output: 'done', isError: false } as const
    const steps = [
      { role: 'assistant', parts: [call] },
      { role: 'tool', parts: [result] },
      { role: 'assistant', parts: [call] },
    ] as const
    for (const step of steps) {
      const outcome = await runs().commitStep(run, [step])
      if (outcome.state !== 'done') throw new Error(`the run is ${outcome.state}`)
      run = { ...run, historyVersion: outcome.row.historyVersion }
    }
    await chats.interrupt({ chatId }, ada)
    await runs().finishInterrupt(run, [])
    expect(await textsOf(chatId)).toEqual([
      'user go',
      'assistant tool-call',
      'tool tool-result',
      'assistant tool-call',
      'tool tool-result',
    ])
  })

  test('a turn that ends takes the head of the queue, and a promoted message comes first', async () => {
    const { id: chatId } = await create({ message: { id: randomUUID(), parts: [part('one')] } })
    const run = await acquire(chatId)
    const [two, three] = [message(chatId, 'two'), message(chatId, 'three')]
    await chats.send(two, ada)
    await chats.send(three, ada)
    await chats.promote({ chatId, id: three.id }, ada)
    expect((await chats.get({ chatId }, admin)).queue.map(({ id }) => id)).toEqual([three.id, two.id])
    expect(await runs().finishTurn(run, [answer])).toMatchObject({ state: 'interrupting' })
    const partial = { role: 'assistant', parts: [{ type: 'text', text: 'y' }], interrupted: true } as const
    const outcome = await runs().finishInterrupt(run, [partial])
    expect(outcome).toMatchObject({ state: 'done', row: { status: 'running', runner: run.runner, fence: run.fence } })
    expect(await textsOf(chatId)).toEqual(['user one', 'assistant y', 'user three'])
  })

  test('a queue takes fifty messages', async () => {
    const { id: chatId } = await create({ message: { id: randomUUID(), parts: [part('go')] } })
    for (let left = chatLimits.maxQueue; left > 0; left--) await chats.send(message(chatId, `${left}`), ada)
    await expect(chats.send(message(chatId, 'one more'), ada)).rejects.toMatchObject({
      code: 'TOO_MANY_REQUESTS',
      reason: 'queue_full',
    })
    await chats.interrupt({ chatId, clearQueue: true }, ada)
    expect(await chats.get({ chatId }, admin)).toMatchObject({ status: 'interrupting', queue: [] })
  })

  test('a queue takes two MiB, so that it fits into a message of the link', async () => {
    const { id: chatId } = await create({ message: { id: randomUUID(), parts: [part('go')] } })
    await chats.send(message(chatId, 'x'.repeat(1_048_000)), ada)
    await chats.send(message(chatId, 'y'.repeat(1_048_000)), ada)
    await expect(chats.send(message(chatId, 'z'.repeat(10_000)), ada)).rejects.toMatchObject({ reason: 'queue_full' })
    expect((await chats.get({ chatId }, admin)).queue).toHaveLength(2)
  })

  test('pages of chats and of messages have every row once', async () => {
    const owner = await makeUser(store, 'pages')
    const reader = { role: 'user', userId: owner } as const
    const ids = Array.from({ length: 5 }, () => randomUUID())
    for (const id of ids) await chats.create({ id, provider: 'demo', model: 'demo' }, owner)
    const seen: string[] = []
    let cursor: string | undefined
    do {
      const page = await chats.list({ limit: 2, ...(cursor !== undefined && { cursor }) }, reader)
      seen.push(...page.chats.map(({ id }) => id))
      cursor = page.nextCursor ?? undefined
    } while (cursor !== undefined)
    expect(seen.sort()).toEqual(ids.sort())
    await expect(chats.list({ cursor: 'nonsense' }, reader)).rejects.toMatchObject({ code: 'BAD_REQUEST' })

    const [chatId = ''] = ids
    for (const text of ['a', 'b', 'c']) {
      await chats.send(message(chatId, text), owner)
      await runs().finishTurn(await acquire(chatId), [answer])
    }
    const first = await chats.messages({ chatId, limit: 4 }, reader)
    expect(first.next).toBe(4)
    const rest = await chats.messages({ chatId, after: 4 }, reader)
    expect([...first.messages, ...rest.messages].map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6])
    expect(rest.next).toBeNull()
  })

  test('reads of an operator leave one audit entry for each chat and minute, and reads of a user none', async () => {
    let nowMs = 0
    const traced = createChats({ store, recordsContent: true, clockMs: () => nowMs })
    const { id: chatId } = await create()
    const operator = { role: 'admin', name: `operator-${chatId}` } as const
    const entries = async () =>
      (await store.listAudit({ actor: operator.name, limit: 50 })).map(({ action, target, details }) => ({
        action,
        target,
        details,
      }))
    for (const reader of [{ role: 'user', userId: ada } as const, operator, operator]) {
      await traced.get({ chatId }, reader)
      await traced.messages({ chatId }, reader)
      await traced.find(chatId, reader)
    }
    const read = { action: 'chats.read', target: chatId, details: { userId: ada } }
    expect(await entries()).toEqual([read])
    expect(await store.listAudit({ action: 'chats.read', target: chatId, limit: 50 })).toHaveLength(1)

    for (const reader of [{ role: 'user', userId: ada } as const, operator, operator]) {
      await traced.list({}, reader)
      await traced.openWatchAll(reader)
    }
    await traced.list({ user: 'ada' }, operator)
    const listed = { action: 'chats.list', target: null, details: null }
    expect(await entries()).toEqual([{ ...listed, details: { userId: ada } }, listed, read])

    await expect(traced.get({ chatId: randomUUID() }, operator)).rejects.toMatchObject({ reason: 'unknown_chat' })
    expect(await entries()).toHaveLength(3)
    nowMs = 60_000
    await traced.get({ chatId }, operator)
    expect(await entries()).toHaveLength(4)
  })

  test('a read of an operator fails if its audit entry cannot be stored', async () => {
    const { id: chatId } = await create()
    const failing = { ...store, audited: () => Promise.reject(new Error('the store failed')) }
    const traced = createChats({ store: failing, recordsContent: true })
    for (const call of [() => traced.get({ chatId }, admin), () => traced.list({}, admin)]) {
      await expect(call()).rejects.toThrow('the store failed')
    }
    expect(await traced.get({ chatId }, { role: 'user', userId: ada })).toMatchObject({ id: chatId })
  })

  test('a server without content has no chats', async () => {
    const off = createChats({ store, recordsContent: false })
    const { id: chatId } = await create()
    const calls = [
      () => off.create({ id: randomUUID(), provider: 'demo', model: 'demo' }, ada),
      () => off.send(message(chatId, 'x'), ada),
      () => off.get({ chatId }, admin),
      () => off.list({}, admin),
    ]
    for (const call of calls) await expect(call()).rejects.toMatchObject({ reason: 'chats_need_content' })
  })
})

function part(text: string) {
  return { type: 'text', text } as const
}

function message(chatId: string, text: string): SendMessage {
  return { chatId, id: randomUUID(), parts: [part(text)] }
}
