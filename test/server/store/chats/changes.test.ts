import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ChatChange, Store } from '../../../../server/store/store.js'
import { RpcError } from '../../../../shared/rpc/errors.js'
import { stores } from '../../../fixtures/stores.js'
import { append, chatFields, hashOf, message, newChat, newOwner } from './new-chats.js'

describe.each(stores)('changes of chats: $name', ({ openTwo }) => {
  let store: Store
  let other: Store
  beforeAll(async () => {
    ;[store, other] = await openTwo()
  })
  afterAll(async () => {
    await store.close()
    await other.close()
  })

  const change = async <T>(id: string, work: (chat: ChatChange) => Promise<T>) =>
    (await store.changeChat(id, work)) ?? expect.fail('the chat is unknown')

  test('a new chat is at rest, and is found with the hash of its content', async () => {
    const ownerId = await newOwner(store)
    const fields = chatFields(ownerId, {
      agentId: randomUUID(),
      title: 't',
      system: 's',
      cwd: '/c',
      api: 'openai-chat',
    })
    const row = await store.createChat(fields)
    const { contentHash, ...kept } = fields
    expect(row).toEqual({
      ...kept,
      username: `owner-${ownerId}`,
      status: 'waiting',
      archived: false,
      version: 1,
      historyVersion: 1,
      queueVersion: 1,
      attempt: 0,
      retry: null,
      lastError: null,
      agentInstance: null,
      runner: null,
      fence: 0,
      leaseUntil: null,
      createdAt: expect.any(Date),
      updatedAt: expect.any(Date),
    })
    const found = await store.findChat(fields.id)
    expect(found?.row).toEqual(row)
    expect(Buffer.from(found?.contentHash ?? [])).toEqual(contentHash)
  })

  test('a chat whose id is taken, or whose owner is unknown or deleted, is null', async () => {
    const { id, ownerId } = await newChat(store)
    expect(await store.createChat(chatFields(ownerId, { id }))).toBeNull()
    expect(await store.createChat(chatFields(randomUUID()))).toBeNull()
    const deleted = await newOwner(store)
    await store.deleteUser(deleted)
    expect(await store.createChat(chatFields(deleted))).toBeNull()
  })

  test('a new chat and its first change are stored together, or not at all', async () => {
    const ownerId = await newOwner(store)
    const [fields, first] = [chatFields(ownerId), message('a')]
    const row = await store.createChat(fields, async chat => {
      await chat.append(first)
      await chat.update({ status: 'running', historyChanged: true })
    })
    expect(row).toMatchObject({ id: fields.id, status: 'running', version: 2, historyVersion: 2 })
    expect((await store.readHistory(fields.id))?.messages).toMatchObject([{ id: first.id, seq: 1 }])
    expect(await store.createChat(fields, () => expect.fail('the id is taken'))).toBeNull()
    const failed = chatFields(ownerId)
    const rejection = new RpcError('CONFLICT', 'no')
    await expect(store.createChat(failed, () => Promise.reject(rejection))).rejects.toBe(rejection)
    expect(await store.findChat(failed.id)).toBeNull()
  })

  test('an unknown chat is null everywhere, and its change does not run', async () => {
    const id = randomUUID()
    expect(await store.findChat(id)).toBeNull()
    expect(await store.changeChat(id, () => expect.fail('the change runs'))).toBeNull()
    expect(await store.readHistory(id)).toBeNull()
    const query = { id, afterSeq: 0, historyVersion: 0, limit: 1, maxBytes: 1 }
    expect(await store.syncChat(query)).toBeNull()
    expect(await store.takeChat({ id, runner: randomUUID(), leaseMs: 1 })).toBeNull()
    expect(await store.readChatVersions([id])).toEqual(new Map())
  })

  test('the version rises once for each change, and stands in everything that the change has written', async () => {
    const { id } = await newChat(store)
    const { row, result } = await change(id, async chat => {
      expect(chat.row.version).toBe(1)
      const seqs = [await chat.append(message('a')), await chat.append(message('b'))]
      await chat.enqueue(message('c'))
      await chat.update({ title: 'first' })
      await chat.update({ title: 'second', status: 'running', historyChanged: true })
      return seqs
    })
    expect(result).toEqual([1, 2])
    expect(row).toMatchObject({ version: 2, historyVersion: 2, queueVersion: 2, title: 'second', status: 'running' })
    expect((await store.findChat(id))?.row).toEqual(row)
    expect(await store.readChatVersions([id, randomUUID()])).toEqual(new Map([[id, 2]]))
  })

  test('a change without a write leaves the chat as it is', async () => {
    const chat = await newChat(store)
    const { row, result } = await change(chat.id, async locked => {
      expect(await locked.dequeue(randomUUID())).toBeNull()
      await locked.clearQueue()
      await locked.promote(randomUUID())
      await locked.deleteFrom(1)
      return [await locked.queue(), await locked.lastTurn(), locked.size]
    })
    expect(result).toEqual([[], [], { messages: 0, bytes: 0 }])
    expect(row).toEqual(chat)
    expect((await store.findChat(chat.id))?.row).toEqual(chat)
  })

  test('a change that throws changes nothing, and its rejection reaches the caller', async () => {
    const chat = await newChat(store)
    const rejection = new RpcError('CONFLICT', 'other content')
    const failed = store.changeChat(chat.id, async locked => {
      await locked.append(message('a'))
      await locked.enqueue(message('b'))
      await locked.update({ status: 'running', historyChanged: true })
      throw rejection
    })
    await expect(failed).rejects.toBe(rejection)
    expect((await store.findChat(chat.id))?.row).toEqual(chat)
    expect(await store.readHistory(chat.id)).toMatchObject({ messages: [] })
  })

  test('a change of the history ends attempt and wait; a released chat has no runner and no lease', async () => {
    const { id } = await newChat(store)
    await change(id, chat => chat.update({ status: 'running' }))
    const runner = randomUUID()
    await store.takeChat({ id, runner, leaseMs: 60_000 })
    const retry = { attempt: 1, at: new Date(1_000), reason: 'rate_limited', message: 'a\0b\ud800' }
    const lastError = { reason: 'rejected', message: 'm', status: 400, retryAt: new Date(5_000) } as const
    const leaseUntil = new Date(Date.now() + 1_000)
    const agentInstance = randomUUID()
    const { row } = await change(id, chat => chat.update({ attempt: 2, retry, lastError, agentInstance, leaseUntil }))
    const cleaned = { ...retry, message: 'a\uFFFDb\uFFFD' }
    expect(row).toMatchObject({ attempt: 2, retry: cleaned, lastError, agentInstance, leaseUntil, runner, fence: 1 })
    expect((await store.findChat(id))?.row).toEqual(row)
    const next = await change(id, async chat => {
      await chat.update({ historyChanged: true, released: true, lastError: null })
      await chat.update({ agentInstance: null })
    })
    expect(next.row).toMatchObject({
      attempt: 0,
      retry: null,
      lastError: null,
      agentInstance: null,
      runner: null,
      leaseUntil: null,
      fence: 1,
      historyVersion: next.row.version,
    })
  })

  test('a message comes back byte for byte, with its usage', async () => {
    const { id } = await newChat(store)
    const parts = '[{"z":1,"type":"text","text":"\\u0000\\ud800 😀","internal":"{\\"b\\":1,  \\"a\\":2}"}]'
    const usage = { inputTokens: 1, outputTokens: 2, cacheReadInputTokens: 3, cacheWriteInputTokens: 4 }
    const interceptionId = randomUUID()
    const assistant = message('', { role: 'assistant', parts, usage, interceptionId, finishReason: 'end' })
    await append(store, id, message('question'), { ...assistant, interrupted: true })
    const { messages } = (await store.readHistory(id)) ?? expect.fail('the chat is unknown')
    expect(messages[1]).toEqual({
      id: assistant.id,
      seq: 2,
      role: 'assistant',
      parts,
      usage,
      interceptionId,
      finishReason: 'end',
      interrupted: true,
      createdAt: expect.any(Date),
    })
    expect(messages[0]).toMatchObject({ usage: null, interceptionId: null, finishReason: null, interrupted: false })
  })

  test('deleted messages are gone but for their ids and hashes, and their numbers are not used again', async () => {
    const { id } = await newChat(store)
    const [a, b, c] = [message('a'), message('b'), message('c')]
    await append(store, id, a, b, c)
    const next = message('d')
    const { result } = await change(id, async chat => {
      await chat.deleteFrom(2)
      expect(chat.size).toEqual({ messages: 1, bytes: a.parts.length })
      await chat.update({ historyChanged: true })
      return [await chat.append(next), chat.size]
    })
    expect(result).toEqual([4, { messages: 2, bytes: a.parts.length + next.parts.length }])
    const { messages } = (await store.readHistory(id)) ?? expect.fail('the chat is unknown')
    expect(messages.map(({ seq, parts }) => [seq, parts])).toEqual([
      [1, a.parts],
      [4, next.parts],
    ])
    await change(id, async chat => {
      expect(await chat.find(a.id)).toMatchObject({ place: 'history', role: 'user', seq: 1, isDeleted: false })
      const deleted = await chat.find(c.id)
      expect(deleted).toMatchObject({ place: 'history', seq: 3, isDeleted: true })
      expect(Buffer.from(deleted?.contentHash ?? [])).toEqual(c.contentHash)
      expect(await chat.find(randomUUID())).toBeNull()
    })
  })

  test('the last turn begins with the last message of a user that is not deleted', async () => {
    const { id } = await newChat(store)
    const roles = ['system', 'user', 'assistant', 'user', 'assistant', 'tool'] as const
    await append(store, id, ...roles.map(role => message(role, { role })))
    const seqs = async (chat: ChatChange) => (await chat.lastTurn()).map(({ seq }) => seq)
    await change(id, async chat => {
      expect(await seqs(chat)).toEqual([4, 5, 6])
      await chat.deleteFrom(4)
      expect(await seqs(chat)).toEqual([2, 3])
      await chat.deleteFrom(2)
      expect(await seqs(chat)).toEqual([1])
    })
  })

  test('the queue keeps its order; a promoted message is its head, and a taken one is known', async () => {
    const { id } = await newChat(store)
    const queued = [message('a'), message('b'), message('c'), message('d')] as const
    await change(id, async chat => {
      for (const one of queued) await chat.enqueue(one)
    })
    const order = async () => {
      const { queue } =
        (await store.syncChat({ id, afterSeq: 0, historyVersion: 0, limit: 9, maxBytes: 9 })) ?? expect.fail()
      return queue.map(row => queued.findIndex(one => one.id === row.id))
    }
    const { row } = await change(id, chat => chat.promote(queued[2].id))
    expect(row).toMatchObject({ version: 3, queueVersion: 3, historyVersion: 1 })
    expect(await order()).toEqual([2, 0, 1, 3])
    await change(id, chat => chat.promote(queued[3].id))
    expect(await order()).toEqual([3, 2, 0, 1])
    await change(id, async chat => {
      expect(await chat.dequeue(queued[0].id)).toEqual({
        id: queued[0].id,
        parts: queued[0].parts,
        createdAt: expect.any(Date),
        contentHash: expect.any(Uint8Array),
      })
      expect(await chat.dequeue(queued[0].id)).toBeNull()
      await chat.dequeue(queued[3].id, true)
      expect(await chat.find(queued[0].id)).toEqual({ place: 'dequeued', contentHash: expect.any(Uint8Array) })
      expect(await chat.find(queued[1].id)).toMatchObject({ place: 'queue' })
      expect(await chat.find(queued[3].id)).toBeNull()
    })
    await change(id, async chat => {
      await chat.clearQueue()
      const known = await chat.find(queued[2].id)
      expect(known?.place).toBe('dequeued')
      expect(Buffer.from(known?.contentHash ?? [])).toEqual(hashOf(queued[2].parts))
    })
    expect(await order()).toEqual([])
  })

  test('an id is known in its own chat only', async () => {
    const [one, two] = [await newChat(store), await newChat(store)]
    const shared = message('a')
    await append(store, one.id, shared)
    const { result } = await change(two.id, async chat => [await chat.find(shared.id), await chat.append(shared)])
    expect(result).toEqual([null, 1])
  })

  test('the same message sent many times at once, by two servers, is stored once', async () => {
    const { id } = await newChat(store)
    const sent = message('once')
    const send = (to: Store) =>
      to.changeChat(id, async chat => {
        const known = await chat.find(sent.id)
        if (known) return known.place === 'history' ? known.seq : -1
        await chat.update({ historyChanged: true })
        return chat.append(sent)
      })
    const results = await Promise.all(Array.from({ length: 10 }, (_, n) => send(n % 2 ? store : other)))
    expect(results.map(outcome => outcome?.result)).toEqual(Array.from({ length: 10 }, () => 1))
    expect((await store.findChat(id))?.row.version).toBe(2)
  })

  test('the same chat created many times at once, by two servers, is created once', async () => {
    const fields = chatFields(await newOwner(store))
    const created = await Promise.all(Array.from({ length: 8 }, (_, n) => (n % 2 ? store : other).createChat(fields)))
    expect(created.filter(Boolean)).toHaveLength(1)
  })

  test('changes of one chat run one after the other: numbers have no gap and no repeat', async () => {
    const { id } = await newChat(store)
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        (n % 2 ? store : other).changeChat(id, async chat => {
          await chat.update({ historyChanged: true })
          return chat.append(message(String(n)))
        }),
      ),
    )
    expect(results.map(outcome => outcome?.result).toSorted((a, b) => Number(a) - Number(b))).toEqual(
      Array.from({ length: 20 }, (_, n) => n + 1),
    )
    expect((await store.findChat(id))?.row.version).toBe(21)
  })
})
