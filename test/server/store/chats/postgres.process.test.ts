/** Chats on a PostgreSQL server whose connections are lost, or which a server of an older version uses too. */
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { openPostgresStore } from '../../../../server/store/postgres/postgres.js'
import type { Store } from '../../../../server/store/store.js'
import { makeDatabase, silentLogger } from '../../../fixtures/stores.js'
import { type CuttableNetwork, cuttableNetwork } from '../postgres/cuttable-network.js'
import { append, message, newChat, newOwner } from './new-chats.js'

let database: Awaited<ReturnType<typeof makeDatabase>>
let network: CuttableNetwork
let direct: pg.Client
let store: Store
beforeAll(async () => {
  database = await makeDatabase()
  network = await cuttableNetwork(database.url)
  direct = new pg.Client({ connectionString: database.url })
  await direct.connect()
  store = await openPostgresStore({ url: database.url, logger: silentLogger })
})
afterEach(() => network.heal())
afterAll(async () => {
  await direct.end()
  await store.close()
  await network.close()
  await database.drop()
})

async function rowsOf(table: string, chatId: string): Promise<number> {
  const { rows } = await direct.query(`select from ${table} where chat_id = $1`, [chatId])
  return rows.length
}

test('a server of an older version that erases a user takes everything of the chats along', async () => {
  const ownerId = await newOwner(store)
  const { id } = await newChat(store, { ownerId })
  await append(store, id, message('a'))
  const queued = message('b')
  await store.changeChat(id, async chat => {
    await chat.enqueue(queued)
    await chat.dequeue(queued.id)
    await chat.enqueue(message('c'))
  })
  const tables = ['chat_messages', 'chat_queue', 'chat_dequeued']
  for (const table of tables) expect(await rowsOf(table, id), table).toBe(1)
  await direct.query('delete from users where id = $1', [ownerId])
  for (const table of tables) expect(await rowsOf(table, id), table).toBe(0)
  expect(await store.findChat(id)).toBeNull()
})

test('a server of an older version adds keys of users, and cannot add a second key of chats', async () => {
  const userId = await newOwner(store)
  const keyId = randomUUID().slice(0, 10)
  await direct.query(`insert into api_keys (id, user_id, secret_hash) values ($1, $2, '')`, [keyId, userId])
  expect(await store.findApiKey(keyId)).toMatchObject({ kind: 'user' })
  await store.findOrCreateChatsKey({ id: randomUUID().slice(0, 10), userId, secretHash: new Uint8Array(32) })
  const second = direct.query(`insert into api_keys (id, user_id, secret_hash, kind) values ($1, $2, '', 'chats')`, [
    randomUUID().slice(0, 10),
    userId,
  ])
  await expect(second).rejects.toThrow('api_keys_chats_of_user')
})

describe('a connection that is lost during a change of a chat', () => {
  test.each([
    ['at its begin', /start transaction/, 'before', 'stored'],
    ['at the lock', /for no key update/, 'after', 'stored'],
    ['at the message', /insert into "chat_messages"/, 'after', 'stored'],
    ['at the row', /update chats/, 'before', 'stored'],
    ['before the commit arrives', /commit/, 'before', 'uncertain'],
    ['behind the commit', /commit/, 'after', 'uncertain'],
  ] as const)(
    '%s: the message is there once, or not at all, and the error says which',
    async (_name, at, cut, outcome) => {
      const { id } = await newChat(store)
      const own = await openPostgresStore({
        url: network.url,
        logger: silentLogger,
        maxConnections: 1,
        outageMs: 5_000,
      })
      let runs = 0
      network.failAt(at, cut)
      const changed = own.changeChat(id, async chat => {
        runs++
        await chat.append(message('once'))
        await chat.update({ historyChanged: true })
      })
      if (outcome === 'stored') expect((await changed)?.row.version).toBe(2)
      else await expect(changed).rejects.toMatchObject({ code: 'INTERNAL_SERVER_ERROR', mayHaveRun: true })
      expect(network.hasFailed()).toBe(true)
      // PostgreSQL may still be busy with a commit whose connection is gone.
      const isStored = outcome === 'stored' || cut === 'after'
      await expect.poll(async () => (await store.findChat(id))?.row.version).toBe(isStored ? 2 : 1)
      expect(await rowsOf('chat_messages', id)).toBe(isStored ? 1 : 0)
      if (outcome === 'uncertain') expect(runs).toBe(1)
      await own.close()
    },
  )
})

test('a change that meets a deadlock runs again and is stored once', async () => {
  const { id } = await newChat(store)
  await direct.query('create sequence deadlocks')
  await direct.query(`create function deadlock() returns trigger language plpgsql as $$ begin
    if nextval('deadlocks') <= 2 then raise exception 'deadlock' using errcode = '40P01'; end if;
    return null; end $$`)
  await direct.query(`create trigger deadlock after insert on chat_messages for each row execute function deadlock()`)
  const changed = await store.changeChat(id, async chat => {
    await chat.append(message('once'))
    await chat.update({ historyChanged: true })
  })
  await direct.query('drop function deadlock cascade')
  expect(changed?.row.version).toBe(2)
  expect(await rowsOf('chat_messages', id)).toBe(1)
})

test('a listener that was cut off is notified that any chat may have changed', async () => {
  const own = await openPostgresStore({ url: network.url, logger: silentLogger })
  const { id } = await newChat(store)
  let seen: (string | null)[] = []
  let wake = () => {}
  own.onChatChange(chatId => {
    seen.push(chatId)
    wake()
  })
  const until = async (subject: string | null) => {
    while (!seen.includes(subject)) {
      await new Promise<void>(resolve => {
        wake = resolve
      })
    }
  }
  await until(null)
  await append(store, id, message('a'))
  await until(id)
  seen = []
  await direct.query(
    `select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen%' and datname = current_database()`,
  )
  await until(null)
  await own.close()
})

/** Runs statements in a session of their own: a session reports what it has read when it ends. */
async function inSession<T>(work: (session: pg.Client) => Promise<T>): Promise<T> {
  const session = new pg.Client({ connectionString: database.url })
  await session.connect()
  try {
    return await work(session)
  } finally {
    await session.end()
  }
}

test('taking, listing, syncing and changing read few rows of many', async () => {
  const ownerId = await newOwner(store)
  const { id } = await newChat(store, { ownerId })
  await inSession(async session => {
    await session.query(
      `insert into chats (id, owner_id, provider, model, api, content_hash, status, updated_at)
       select gen_random_uuid(), $1, 'p', 'm', 'openai-chat', '', case when n % 1000 = 0 then 'running' else 'waiting' end,
         now() - n * interval '1 minute' from generate_series(1, 20000) as n`,
      [ownerId],
    )
    await session.query(
      `insert into chat_messages (chat_id, seq, id, role, parts, content_hash, interrupted, version)
       select $1, n, gen_random_uuid(), case when n % 2 = 0 then 'user' else 'assistant' end, '[]', '', false, 1
       from generate_series(1, 10000) as n`,
      [id],
    )
    await session.query('update chats set last_seq = 10000, messages = 10000 where id = $1', [id])
    await session.query('analyze')
  })
  const read = () =>
    inSession(async session => {
      const { rows } = await session.query<{ read: string }>(`
        select (select sum(seq_tup_read) from pg_stat_user_tables where relname like 'chat%')
          + (select sum(idx_tup_read) from pg_stat_user_indexes where relname like 'chat%') as read`)
      return Number(rows[0]?.read)
    })
  const statements: Record<string, (own: Store) => Promise<unknown>> = {
    acquire: own => own.acquireChats({ runner: randomUUID(), limit: 5, leaseMs: 60_000 }),
    'list of a user': own => own.listChats({ ownerId, limit: 20 }),
    'list without archived ones': own => own.listChats({ ownerId, archived: false, limit: 20 }),
    'list of all': own => own.listChats({ limit: 20 }),
    sync: own => own.syncChat({ id, afterSeq: 9_990, historyVersion: 0, limit: 20, maxBytes: 1_000 }),
    page: own => own.listMessages({ chatId: id, after: 5_000, limit: 20, maxBytes: 100_000 }),
    change: own =>
      own.changeChat(id, async chat => {
        await chat.lastTurn()
        await chat.find(randomUUID())
        await chat.append(message('next'))
        await chat.update({ historyChanged: true })
      }),
    'erase old ones': own => own.eraseOldChats({ updatedBefore: new Date(0), limit: 20 }),
  }
  for (const [name, statement] of Object.entries(statements)) {
    const before = await read()
    const own = await openPostgresStore({ url: database.url, logger: silentLogger, maxConnections: 1 })
    await statement(own)
    await own.close()
    expect({ name, read: (await read()) - before < 200 }).toEqual({ name, read: true })
  }
})
