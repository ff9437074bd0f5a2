import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openPostgresStore } from '../../../../server/store/postgres/postgres.js'
import type { Store } from '../../../../server/store/store.js'
import { makeDatabase, silentLogger } from '../../../fixtures/stores.js'
import { newChat, newOwner, runningChat } from './new-chats.js'

let database: Awaited<ReturnType<typeof makeDatabase>>
let store: Store
beforeAll(async () => {
  database = await makeDatabase()
  store = await openPostgresStore({ url: database.url, logger: silentLogger, maxConnections: 1 })
})
afterAll(async () => {
  await store.close()
  await database.drop()
})

/** Makes the planner expect a table with at most one row, for which it may read a subquery again per outer row. */
async function expectFewChats(): Promise<void> {
  const userId = await newOwner(store)
  for (let n = 0; n < 30; n++) await newChat(store, { ownerId: userId })
  await store.eraseChatsOf({ userId, limit: 30 })
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  await client.query('analyze chats')
  await client.end()
}

test('no batch of chats exceeds its limit, also if the table has grown since its statistics were made', async () => {
  await expectFewChats()
  for (let n = 0; n < 6; n++) await runningChat(store)
  expect(await store.acquireChats({ runner: randomUUID(), limit: 4, leaseMs: 60_000 })).toHaveLength(4)
  const userId = await newOwner(store)
  for (let n = 0; n < 6; n++) await newChat(store, { ownerId: userId })
  expect(await store.eraseOldChats({ updatedBefore: new Date(Date.now() + 60_000), limit: 2 })).toBe(2)
  expect(await store.eraseChatsOf({ userId, limit: 1 })).toBe(1)
})
