import { createHash, randomBytes, randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ConversationPlace } from '../../../../server/store/contract/conversations.js'
import { openPostgresStore } from '../../../../server/store/postgres/postgres.js'
import type { Store } from '../../../../server/store/store.js'
import { makeDatabase, silentLogger, stores } from '../../../fixtures/stores.js'
import { secondsLater } from '../records/records.js'

const json = (text: string, containers = 1) => ({
  text,
  bytes: text.length,
  containers,
  contentHash: createHash('sha256').update(text).digest(),
})
const turn = (text: string, id: string = randomUUID(), containers?: number) => ({ id, ...json(text, containers) })
const wide = { maxTurns: 100, maxBytes: 1_000 }
const at = secondsLater(0)

describe.each(stores)('conversations: $name', ({ openTwo }) => {
  let store: Store
  let other: Store
  beforeAll(async () => {
    ;[store, other] = await openTwo()
  })
  afterAll(async () => {
    for (const one of new Set([store, other])) await one.close()
  })

  const newUser = async () => {
    const user = await store.createUser({ id: randomUUID(), username: `user-${randomBytes(6).toString('hex')}` })
    return (user ?? expect.fail('the name is taken')).id
  }
  const newPlace = async (): Promise<ConversationPlace> => ({ userId: await newUser(), key: randomBytes(32) })
  const open = (place: ConversationPlace, query: Partial<Parameters<Store['openConversation']>[1]> = {}) =>
    store.openConversation(place, {
      maxBytes: 1_000,
      maxContainers: 1_000,
      at,
      notedBefore: new Date(0),
      ...query,
    })

  test('an unknown conversation of a user is empty, and opening makes none', async () => {
    const place = await newPlace()
    expect(await open(place)).toEqual({ tools: null, turns: [], next: null })
    expect(await store.hasConversations(place.userId)).toBe(false)
  })

  test('a user who does not exist or is deleted has no conversation and gets none', async () => {
    const deleted = await newPlace()
    await store.keepTurn(deleted, turn('"before"'), wide, at)
    await store.deleteUser(deleted.userId)
    for (const place of [deleted, { userId: randomUUID(), key: randomBytes(32) }]) {
      expect(await open(place)).toBeNull()
      expect(await store.pinTools(place, json('[]'), at)).toBeNull()
      expect(await store.keepTurn(place, turn('"after"'), wide, at)).toBeNull()
    }
  })

  test('the tools of the first caller stay, whoever pins later or at once', async () => {
    const place = await newPlace()
    const lists = ['["a"]', '["b"]', '["c"]', '["d"]']
    const pinned = await Promise.all(
      lists.map((text, index) => (index % 2 ? store : other).pinTools(place, json(text), at)),
    )
    expect(new Set(pinned).size).toBe(1)
    expect(lists).toContain(pinned[0])
    expect(await store.pinTools(place, json('["e"]'), at)).toBe(pinned[0])
    expect(await open(place)).toEqual({ tools: pinned[0], turns: [], next: null })
  })

  test('turns come back in the order in which they were kept, each once, as the very text', async () => {
    const place = await newPlace()
    const [first, second] = [turn('{"b":1,"a":"\\u0000\\ud800"}'), turn('{"2":1}')]
    for (const each of [first, second, first]) expect(await store.keepTurn(place, each, wide, at)).toBe('kept')
    expect(await other.keepTurn(place, { ...turn('"else"'), id: first.id }, wide, at)).toBe('differs')
    expect(await open(place)).toEqual({ tools: null, turns: [first.text, second.text], next: null })
    // The same id in another conversation is another turn.
    const elsewhere = { ...place, key: randomBytes(32) }
    expect(await store.keepTurn(elsewhere, { ...turn('"else"'), id: first.id }, wide, at)).toBe('kept')
  })

  test('turns that are kept at once on two servers get places of their own, a repeated one gets one', async () => {
    const place = await newPlace()
    const turns = Array.from({ length: 6 }, (_, index) => turn(`"${index}"`))
    const twice = [...turns, ...turns]
    await Promise.all(twice.map((each, index) => (index % 2 ? store : other).keepTurn(place, each, wide, at)))
    expect((await open(place))?.turns.toSorted()).toEqual(turns.map(({ text }) => text))
  })

  test.each([
    [{ maxTurns: 3, maxBytes: 1_000 }, ['"3333"', '"4444"', '"5555"']],
    [{ maxTurns: 100, maxBytes: 18 }, ['"3333"', '"4444"', '"5555"']],
    [{ maxTurns: 100, maxBytes: 17 }, ['"4444"', '"5555"']],
    [{ maxTurns: 1, maxBytes: 6 }, ['"5555"']],
  ])('the oldest turns make room for a new one: %j', async (limits, left) => {
    const place = await newPlace()
    const texts = ['"1111"', '"2222"', '"3333"', '"4444"']
    for (const text of texts) await store.keepTurn(place, turn(text), wide, at)
    const last = turn('"5555"')
    for (const _ of ['once', 'again']) expect(await store.keepTurn(place, last, limits, at)).toBe('kept')
    const query = { maxBytes: 1_000, maxContainers: 1_000, at, notedBefore: at }
    expect(await other.openConversation(place, query)).toEqual({ tools: null, turns: left, next: null })
    // The sums of what is left decide about the next one.
    await store.keepTurn(place, turn('"6666"'), { maxTurns: 100, maxBytes: left.length * 6 + 6 }, at)
    expect((await store.openConversation(place, query))?.turns).toEqual([...left, '"6666"'])
  })

  test('pages hold what their limits allow, and together everything', async () => {
    const place = await newPlace()
    await store.pinTools(place, json('["tools"]', 3), at)
    const texts = ['"11111"', '"22222"', '"33333"', '"44444"']
    for (const text of texts) await store.keepTurn(place, turn(text, randomUUID(), 2), wide, at)
    for (const limits of [
      { maxBytes: 9, maxContainers: 100 },
      { maxBytes: 16, maxContainers: 100 },
      { maxBytes: 100, maxContainers: 3 },
      { maxBytes: 100, maxContainers: 5 },
      { maxBytes: 1_000, maxContainers: 1_000 },
    ]) {
      const first = (await open(place, limits)) ?? expect.fail('the user is there')
      expect(first.tools).toBe('["tools"]')
      const pages = [first]
      for (let next = first.next; next !== null; ) {
        const page = (await open(place, { ...limits, after: next })) ?? expect.fail('the user is there')
        expect(page.tools).toBeNull()
        pages.push(page)
        next = page.next
      }
      expect(pages.flatMap(({ turns }) => turns)).toEqual(texts)
      for (const [index, { turns }] of pages.entries()) {
        const tools = index === 0 ? { bytes: 9, containers: 3 } : { bytes: 0, containers: 0 }
        expect(turns.length * 7 + tools.bytes).toBeLessThanOrEqual(limits.maxBytes)
        expect(turns.length * 2 + tools.containers).toBeLessThanOrEqual(limits.maxContainers)
      }
    }
  })

  test('the least used conversations are erased first, by their last use, with tools that no other has', async () => {
    const place = await newPlace()
    const [shared, own] = [json('["shared"]'), json('["own"]')]
    const used = async (key: string, tools: typeof own, second: number) => {
      const each = { ...place, key: Buffer.from(key.padEnd(32)) }
      await store.pinTools(each, tools, secondsLater(second))
      await store.keepTurn(each, turn(`"${key}"`), wide, secondsLater(second))
      return each
    }
    const [older, oldest, opened, young] = [
      await used('older', shared, -3_000),
      await used('oldest', own, -4_000),
      await used('opened', shared, -3_500),
      await used('young', shared, -10),
    ]
    await open(opened, { at: secondsLater(-5), notedBefore: secondsLater(-100) })
    await open(older, { at: secondsLater(-5), notedBefore: secondsLater(-3_100) }) // noted not long before
    const usedBefore = secondsLater(-1_000)
    const left = async () => {
      const pages = await Promise.all([oldest, older, opened, young].map(each => open(each)))
      return pages.map(page => [page?.tools, page?.turns.length])
    }
    expect(await store.eraseOldConversations({ usedBefore, limit: 1 })).toBe(1)
    const kept = [shared.text, 1]
    expect(await left()).toEqual([[null, 0], kept, kept, kept])
    expect(await store.eraseOldConversations({ usedBefore, limit: 10 })).toBe(1)
    expect(await left()).toEqual([[null, 0], [null, 0], kept, kept])
    expect(await store.eraseOldConversations({ usedBefore, limit: 10 })).toBe(0)
    // A conversation that comes back begins anew.
    expect(await store.pinTools(oldest, json('["new"]'), at)).toBe('["new"]')
  })

  test('a purge erases conversations of that user alone, and the user behind them', async () => {
    const [place, neighbour] = [await newPlace(), await newPlace()]
    for (const each of [place, { ...place, key: randomBytes(32) }, neighbour]) {
      await store.pinTools(each, json('["tools"]'), at)
      await store.keepTurn(each, turn('"1"'), wide, at)
    }
    expect(await store.hasConversations(place.userId)).toBe(true)
    await store.rejectUser(place.userId, at)
    expect(await store.eraseUser(place.userId)).toBeNull()
    expect(await store.eraseConversationsOf({ userId: place.userId, limit: 1 })).toBe(1)
    expect(await store.eraseConversationsOf({ userId: place.userId, limit: 9 })).toBe(1)
    expect(await store.hasConversations(place.userId)).toBe(false)
    expect(await store.eraseUser(place.userId)).not.toBeNull()
    expect(await open(neighbour)).toEqual({ tools: '["tools"]', turns: ['"1"'], next: null })
  })

  test('turns that race the deletion of their user are found by the purge', async () => {
    const place = await newPlace()
    const results: unknown[] = []
    const keeping = Array.from({ length: 8 }, async (_, index) => {
      results.push(await (index % 2 ? store : other).keepTurn(place, turn(`"${index}"`), wide, at))
    })
    await store.rejectUser(place.userId, at)
    const erased = await other.eraseConversationsOf({ userId: place.userId, limit: 9 })
    await Promise.all(keeping)
    // One behind the deletion was not kept, so nothing is left.
    expect(await store.hasConversations(place.userId)).toBe(false)
    expect(erased > 0).toBe(results.includes('kept'))
    expect(await store.eraseUser(place.userId)).not.toBeNull()
  })
})

test('a server that does not know conversations can erase their user, and no row is left', async () => {
  const database = await makeDatabase()
  const store = await openPostgresStore({ url: database.url, logger: silentLogger })
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  const userId = randomUUID()
  await store.createUser({ id: userId, username: 'ada' })
  for (const key of [randomBytes(32), randomBytes(32)]) {
    await store.pinTools({ userId, key }, json('["tools"]'), at)
    await store.keepTurn({ userId, key }, turn('"1"'), wide, at)
  }
  const rows = async () => {
    const { rows } = await client.query<{ tools: string; all: string; turns: string }>(
      `select (select count(*) from conversation_tools) as tools, (select count(*) from conversations) as all,
        (select count(*) from conversation_turns) as turns`,
    )
    return rows[0]
  }
  // Both conversations share one list.
  expect(await rows()).toEqual({ tools: '1', all: '2', turns: '2' })
  await client.query('delete from users where id = $1', [userId])
  expect(await rows()).toEqual({ tools: '0', all: '0', turns: '0' })
  const [old, young] = [randomUUID(), randomUUID()]
  for (const [id, second] of [
    [old, -2_000],
    [young, 0],
  ] as const) {
    await store.createUser({ id, username: id.slice(0, 8) })
    await store.pinTools({ userId: id, key: randomBytes(32) }, json('["tools"]'), secondsLater(second))
  }
  await store.eraseOldConversations({ usedBefore: secondsLater(-1_000), limit: 9 })
  expect(await rows()).toEqual({ tools: '1', all: '1', turns: '0' })
  await client.end()
  await store.close()
  await database.drop()
})
