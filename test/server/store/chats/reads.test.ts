import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Store } from '../../../../server/store/store.js'
import { stores } from '../../../fixtures/stores.js'
import { append, chatFields, hashOf, message, newChat, newOwner, notified, runningChat } from './new-chats.js'

describe.each(stores)('reading and erasing chats: $name', ({ openTwo }) => {
  let store: Store
  let other: Store
  beforeAll(async () => {
    ;[store, other] = await openTwo()
  })
  afterAll(async () => {
    await store.close()
    await other.close()
  })

  test('a page of messages has at most its number and its bytes, but one message at least', async () => {
    const { id } = await newChat(store)
    const sizes = [10, 10, 500, 10, 10]
    await append(store, id, ...sizes.map(size => message('', { parts: `"${'é'.repeat((size - 2) / 2)}"` })))
    const page = async (after: number, limit: number, maxBytes: number) => {
      const { messages, hasMore } = await store.listMessages({ chatId: id, after, limit, maxBytes })
      return [messages.map(({ seq }) => seq), hasMore]
    }
    expect(await page(0, 10, 10_000)).toEqual([[1, 2, 3, 4, 5], false])
    expect(await page(0, 5, 10_000)).toEqual([[1, 2, 3, 4, 5], false])
    expect(await page(0, 4, 10_000)).toEqual([[1, 2, 3, 4], true])
    expect(await page(0, 10, 20)).toEqual([[1, 2], true])
    expect(await page(0, 10, 19)).toEqual([[1], true])
    expect(await page(2, 10, 1)).toEqual([[3], true])
    expect(await page(4, 10, 1)).toEqual([[5], false])
    expect(await page(5, 10, 1)).toEqual([[], false])
  })

  test('a sync has the messages behind a number, the queue and the row; a deletion that the caller has not seen is a reset', async () => {
    const { id } = await newChat(store)
    const { historyVersion } = await append(store, id, message('a'), message('b'), message('c'))
    await store.changeChat(id, chat => chat.enqueue(message('q')))
    const sync = async (afterSeq: number, seen: number, limit = 9) =>
      (await store.syncChat({ id, afterSeq, historyVersion: seen, limit, maxBytes: 9_999 })) ?? expect.fail('unknown')
    const found = await sync(1, historyVersion)
    expect(found).toMatchObject({ wasReset: false, lastSeq: 3, hasMore: false, messages: [{ seq: 2 }, { seq: 3 }] })
    expect(found.queue).toHaveLength(1)
    expect(found.row).toEqual((await store.findChat(id))?.row)
    expect(await sync(0, 0, 2)).toMatchObject({ wasReset: false, hasMore: true, messages: [{ seq: 1 }, { seq: 2 }] })

    const edited = await store.changeChat(id, async chat => {
      await chat.deleteFrom(2)
      await chat.append(message('d'))
      await chat.update({ historyChanged: true })
    })
    const version = edited?.row.historyVersion ?? 0
    const seqsOf = async (afterSeq: number, seen: number) => {
      const { wasReset, messages } = await sync(afterSeq, seen)
      return [wasReset, messages.map(({ seq }) => seq)]
    }
    expect(await seqsOf(3, historyVersion)).toEqual([true, [1, 4]])
    expect(await seqsOf(2, historyVersion)).toEqual([true, [1, 4]])
    expect(await seqsOf(1, historyVersion), 'the caller has seen none of the deleted ones').toEqual([false, [4]])
    expect(await seqsOf(4, version)).toEqual([false, []])
    expect(await seqsOf(0, 0)).toEqual([false, [1, 4]])
    await store.changeChat(id, chat => chat.deleteFrom(3))
    expect(await sync(0, 0), 'the last number stays behind a deletion').toMatchObject({ lastSeq: 4 })
  })

  test('a snapshot is of one moment: the row tells of exactly the messages that come with it', async () => {
    const { id } = await newChat(store)
    const writes = (async () => {
      for (let turn = 0; turn < 30; turn++) await append(other, id, message('a'))
    })()
    let isOver = false
    void writes.finally(() => {
      isOver = true
    })
    while (!isOver) {
      const history = (await store.readHistory(id)) ?? expect.fail('the chat is unknown')
      expect(history.row.version).toBe(history.messages.length + 1)
      const query = { id, afterSeq: 0, historyVersion: 0, limit: 100, maxBytes: 99_999 }
      const sync = (await store.syncChat(query)) ?? expect.fail('the chat is unknown')
      expect(sync.row.version).toBe(sync.messages.length + 1)
    }
    await writes
  })

  test('the list has the newest change first, by owner and by archive, page by page', async () => {
    const [ownerId, stranger] = [await newOwner(store), await newOwner(store)]
    const ids: string[] = []
    for (let n = 0; n < 5; n++) ids.push((await newChat(store, { ownerId })).id)
    await newChat(store, { ownerId: stranger })
    const [first, second] = ids
    if (first === undefined || second === undefined) throw new Error('no chats')
    await store.changeChat(first, chat => chat.update({ title: 'newest' }))
    await store.changeChat(second, chat => chat.update({ archived: true }))
    const listed = await store.listChats({ ownerId, limit: 10 })
    expect(listed).toHaveLength(5)
    expect(listed).toEqual(
      listed.toSorted((a, b) => b.updatedAt.getTime() - a.updatedAt.getTime() || (a.id < b.id ? 1 : -1)),
    )
    const paged = []
    for (let before: (typeof listed)[number] | undefined; ; ) {
      const page = await store.listChats({ ownerId, before, limit: 2 })
      paged.push(...page)
      before = page.at(-1)
      if (!before) break
    }
    expect(paged).toEqual(listed)
    expect((await store.listChats({ ownerId, archived: true, limit: 9 })).map(({ id }) => id)).toEqual([second])
    expect(await store.listChats({ ownerId, archived: false, limit: 9 })).toHaveLength(4)
    expect((await store.listChats({ limit: 100 })).length).toBeGreaterThanOrEqual(6)
  })

  test('another process is notified of a new, changed, taken and erased chat by its id, and not of a renewed one', async () => {
    const ownerId = await newOwner(store)
    const fields = chatFields(ownerId)
    const { id } = fields
    const seen: (string | null)[] = []
    const stop = other.onChatChange(chatId => seen.push(chatId))
    await notified(other, id, () => store.createChat(fields))
    await notified(other, id, () => store.changeChat(id, chat => chat.update({ status: 'running' })))
    const runner = randomUUID()
    await notified(other, id, () => store.takeChat({ id, runner, leaseMs: 1_000 }))
    const before = seen.length
    await store.renewChats({ runner, chats: [{ id, fence: 1 }], leaseMs: 1_000 })
    const next = await newChat(store)
    await notified(other, next.id, () => store.changeChat(next.id, chat => chat.update({ title: 't' })))
    expect(seen.slice(before)).not.toContain(id)
    await notified(other, id, () => store.eraseChatsOf({ userId: ownerId, limit: 1 }))
    stop()
    const count = seen.length
    await notified(other, next.id, () => store.changeChat(next.id, chat => chat.update({ title: 'u' })))
    expect(seen).toHaveLength(count)
  })

  test('chats at rest that were changed long ago are erased with everything they have, and no others', async () => {
    const [old, running] = [await newChat(store), await runningChat(store)]
    await append(store, old.id, message('a'))
    const queued = message('b')
    await store.changeChat(old.id, async chat => {
      await chat.enqueue(queued)
      await chat.dequeue(queued.id)
      await chat.enqueue(message('c'))
    })
    const updatedBefore = new Date((await store.findChat(running.id))?.row.updatedAt ?? 0)
    expect(await store.eraseOldChats({ updatedBefore: new Date(0), limit: 10 })).toBe(0)
    let erased = 0
    for (;;) {
      const batch = await store.eraseOldChats({ updatedBefore: new Date(updatedBefore.getTime() + 60_000), limit: 2 })
      expect(batch).toBeLessThanOrEqual(2)
      erased += batch
      if (batch === 0) break
    }
    expect(erased).toBeGreaterThan(0)
    expect(await store.findChat(old.id)).toBeNull()
    expect(await store.findChat(running.id)).not.toBeNull()
    expect(await store.listMessages({ chatId: old.id, after: 0, limit: 9, maxBytes: 9 })).toEqual({
      messages: [],
      hasMore: false,
    })
  })

  test('a user is erased behind the own chats, and not before', async () => {
    const ownerId = await newOwner(store)
    const chats = await Promise.all([newChat(store, { ownerId }), newChat(store, { ownerId })])
    await store.changeChat(chats[0].id, chat => chat.update({ status: 'running' }))
    expect(await store.eraseUser(ownerId)).toBeNull()
    expect(await store.eraseChatsOf({ userId: ownerId, limit: 1 })).toBe(1)
    expect(await store.eraseChatsOf({ userId: ownerId, limit: 9 })).toBe(1)
    expect(await store.eraseUser(ownerId)).not.toBeNull()
    expect(await store.findUser(ownerId)).toBeNull()
  })

  test('the key of the chats of a user is made once, however many ask at once, and is found when it has expired', async () => {
    const userId = await newOwner(store)
    const ask = (n: number) =>
      (n % 2 ? store : other).findOrCreateChatsKey({
        id: `${randomUUID().slice(0, 8)}${n % 10}x`,
        userId,
        secretHash: hashOf(String(n)),
      })
    const keys = await Promise.all(Array.from({ length: 8 }, (_, n) => ask(n)))
    const [key] = keys
    expect(key).toMatchObject({ kind: 'chats', expiresAt: null, owner: { id: userId } })
    expect(new Set(keys.map(found => found?.id)).size).toBe(1)
    const at = new Date(1_000)
    await store.expireApiKey(key?.id ?? '', at)
    expect(await ask(9)).toMatchObject({ id: key?.id, expiresAt: at })
    expect(await store.findApiKey(key?.id ?? '')).toMatchObject({ kind: 'chats' })
  })

  test('a deleted or unknown user gets no key of chats; a key of an operator is of kind user', async () => {
    const userId = await newOwner(store)
    const id = randomUUID().slice(0, 10)
    await store.createApiKey({ id, userId, secretHash: hashOf('a'), expiresAt: null })
    expect(await store.findApiKey(id)).toMatchObject({ kind: 'user' })
    await store.deleteUser(userId)
    const key = { id: randomUUID().slice(0, 10), secretHash: hashOf('b') }
    expect(await store.findOrCreateChatsKey({ ...key, userId })).toBeNull()
    expect(await store.findOrCreateChatsKey({ ...key, userId: randomUUID() })).toBeNull()
  })
})
