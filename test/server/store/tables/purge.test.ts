import { randomBytes, randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openPostgresStore } from '../../../../server/store/postgres/postgres.js'
import type { AuditEntry, Store } from '../../../../server/store/store.js'
import { makeDatabase, silentLogger, stores } from '../../../fixtures/stores.js'
import { interception } from '../records/records.js'

describe.each(stores)('purging a user: $name', ({ open }) => {
  let store: Store
  beforeAll(async () => {
    store = await open()
  })
  afterAll(() => store.close())

  const uniqueName = () => `user-${randomBytes(6).toString('hex')}`
  const later = () => new Date(Date.now() + 60_000)
  async function newUser(username = uniqueName()) {
    const user = await store.createUser({ id: randomUUID(), username })
    return user ?? expect.fail(`${username} is taken`)
  }
  async function newKey(userId: string, expiresAt: Date | null = null) {
    const id = randomBytes(5).toString('hex')
    await store.createApiKey({ id, userId, secretHash: randomBytes(32), expiresAt })
    return id
  }
  const log = (entry: Partial<AuditEntry>) =>
    store.audited(
      async () => {},
      () => ({ actor: 'admin', action: 'x', target: null, details: null, ...entry }),
    )

  test('a user is held by a row, a key or an interception of their own', async () => {
    const [user, keyOwner, initiator] = [await newUser(), randomUUID(), randomUUID()]
    await newKey(keyOwner)
    await store.record([interception({ initiatorId: initiator })])
    for (const id of [user.id, keyOwner, initiator]) expect(await store.holdsUser(id)).toBe(true)
    expect(await store.holdsUser(randomUUID())).toBe(false)
  })

  test('keys are rejected: valid ones expire, the others stay as they are, the user is deleted, once', async () => {
    const [user, other] = [await newUser(), await newUser()]
    const at = new Date(Date.now() - 1000)
    const before = new Date(at.getTime() - 1000)
    await Promise.all([newKey(user.id), newKey(user.id, later()), newKey(user.id, before), newKey(other.id)])
    expect(await store.rejectUser(user.id, at)).toBe(true)
    const times = async (userId: string) => (await store.listApiKeys({ userId })).map(({ expiresAt }) => expiresAt)
    expect(await times(user.id)).toEqual(expect.arrayContaining([at, at, before]))
    expect(await times(other.id)).toEqual([null])
    const { deletedAt } = (await store.findUser(user.id)) ?? expect.fail('the user stays')
    expect(deletedAt).toBeInstanceOf(Date)
    expect(await store.rejectUser(user.id, new Date())).toBe(false)
    expect(await store.findUser(user.id)).toMatchObject({ deletedAt })
    expect(await store.rejectUser(randomUUID(), at)).toBe(false)
  })

  test('the user, the keys and nobody else go, as soon as no interception is left', async () => {
    const [user, other] = [await newUser(), await newUser()]
    await Promise.all([newKey(user.id), newKey(user.id), newKey(other.id)])
    await store.record([interception({ initiatorId: user.id })])
    expect(await store.eraseUser(user.id)).toBeNull()
    expect(await store.findUser(user.id)).toEqual(user)
    await store.eraseInterceptionsOf({ initiatorId: user.id, limit: 10 })
    expect(await store.eraseUser(user.id)).toEqual({ apiKeys: 2, links: 0 })
    expect(await store.holdsUser(user.id)).toBe(false)
    expect(await store.listApiKeys({ userId: other.id })).toHaveLength(1)
    expect(await store.eraseUser(user.id)).toEqual({ apiKeys: 0, links: 0 })
  })

  test('the audit log keeps its entries, with the id in place of the name', async () => {
    const username = uniqueName()
    const earlier = await newUser(username)
    await log({ action: 'users.create', target: earlier.id, details: { username } })
    await store.deleteUser(earlier.id)
    await new Promise(resolve => setTimeout(resolve, 2)) // times of entries are in milliseconds
    const user = await newUser(username)
    const mark = uniqueName()
    await log({ actor: mark, action: 'users.create', target: user.id, details: { username, note: `"${username}` } })
    await log({ actor: mark, action: 'users.setStatus', target: username, details: { status: 'active' } })
    await log({ actor: mark, action: 'x', target: 'key', details: { for: [{ owner: username, userId: user.id }] } })
    await log({ actor: mark, action: 'x', target: username, details: { user: username, name: username } })
    await log({ actor: mark, action: 'x', target: 'none' })
    await store.deleteUser(user.id)
    await new Promise(resolve => setTimeout(resolve, 2))
    const heir = await newUser(username)
    await log({ actor: mark, action: 'users.create', target: heir.id, details: { username } })
    await store.eraseUser(user.id)
    const entries = (await store.listAudit({ limit: 10, actor: mark })).reverse()
    expect(entries.map(({ target, details }) => ({ target, details }))).toEqual([
      { target: user.id, details: { username: user.id, note: `"${username}` } },
      { target: user.id, details: { status: 'active' } },
      { target: 'key', details: { for: [{ owner: user.id, userId: user.id }] } },
      // A row that is no user may have the same name.
      { target: username, details: { user: user.id, name: username } },
      { target: 'none', details: null },
      { target: heir.id, details: { username } },
    ])
    const [first] = await store.listAudit({ limit: 1, target: earlier.id })
    expect(first).toMatchObject({ details: { username } })
  })
})

test("the user's links to MCP servers go, and nobody else's", async () => {
  const database = await makeDatabase()
  const store = await openPostgresStore({ url: database.url, logger: silentLogger })
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  const [user, other] = [randomUUID(), randomUUID()]
  await client.query(`insert into mcp_servers (id, url) values ('a', 'https://a'), ('b', 'https://b')`)
  await client.query(
    `insert into external_auth_links (user_id, server_id, access_token) values ($1, 'a', ''), ($1, 'b', ''), ($2, 'a', '')`,
    [user, other],
  )
  expect(await store.holdsUser(user)).toBe(true)
  expect(await store.eraseUser(user)).toEqual({ apiKeys: 0, links: 2 })
  expect([await store.holdsUser(user), await store.holdsUser(other)]).toEqual([false, true])
  await client.end()
  await store.close()
  await database.drop()
})
