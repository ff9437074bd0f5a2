import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Migrator } from 'kysely'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { migrations } from '../../../../server/store/migrations/index.js'
import { migratePostgres, openPostgresStore } from '../../../../server/store/postgres/postgres.js'
import { postgresDatabase } from '../../../../server/store/postgres/postgres-dialect.js'
import type { Store } from '../../../../server/store/store.js'
import { PostgresServer } from '../../../fixtures/postgres-server.js'
import { makeDatabase, silentLogger } from '../../../fixtures/stores.js'
import { recordingLogger } from '../../services/running-server.js'
import { interception } from '../records/records.js'

const logger = silentLogger

describe('a PostgreSQL server of its own', () => {
  let server: PostgresServer
  let store: Store | undefined
  beforeAll(async () => {
    server = await PostgresServer.create()
  })
  afterEach(async () => {
    await store?.close()
    store = undefined
  })
  afterAll(() => server.remove())

  test.each(['SIGINT', 'SIGKILL'] as const)(
    'a PostgreSQL server of its own that ends by %s under load and starts again costs no record',
    async signal => {
      const opened = await openPostgresStore({ url: server.url(), logger })
      store = opened
      const ids: string[] = []
      let writing = true
      let answered = 0
      const writers = Array.from({ length: 8 }, async () => {
        while (writing) {
          const records = Array.from({ length: 3 }, () => interception())
          const outcomes = await opened.record(records)
          expect(outcomes).toEqual([{ ok: true }, { ok: true }, { ok: true }])
          ids.push(...records.map(({ record }) => record.id))
          answered++
        }
      })
      await expect.poll(() => answered).toBeGreaterThan(20)
      await server.stop(signal)
      const before = answered
      await server.start()
      await expect.poll(() => answered, { timeout: 20_000 }).toBeGreaterThan(before + 20)
      writing = false
      await Promise.all(writers)
      for (const id of ids) expect(await opened.getInterception(id)).not.toBeNull()
      expect((await opened.listInterceptions({ limit: 200 })).length).toBeGreaterThan(0)
    },
  )

  test('a PostgreSQL server of its own that only reads, as a standby or a full disk does, does not respond to a ping', async () => {
    await (await openPostgresStore({ url: server.url(), logger })).close()
    const url = new URL(server.url())
    url.searchParams.set('options', '-c default_transaction_read_only=on')
    const opened = await openPostgresStore({ url: url.href, logger })
    store = opened
    expect(await opened.findUser('ada')).toBeNull()
    await expect(opened.ping()).rejects.toMatchObject({ code: 'INTERNAL_SERVER_ERROR' })
  })

  test('a PostgreSQL server of its own that is away rejects with an error after a while, and never ends the process', async () => {
    const opened = await openPostgresStore({ url: server.url(), logger, outageMs: 300 })
    store = opened
    await opened.ping()
    await server.stop('SIGKILL')
    await expect(opened.findUser('ada')).rejects.toMatchObject({
      code: 'INTERNAL_SERVER_ERROR',
      cause: expect.any(Error),
    })
    await server.start()
    expect(await opened.findUser('ada')).toBeNull()
  })

  test('a PostgreSQL server of its own that was away is listened to again, and what may have been missed is signalled', async () => {
    const lines = recordingLogger()
    const opened = await openPostgresStore({ url: server.url(), logger: lines })
    store = opened
    let told = 0
    opened.onChange('providers', () => {
      told++
    })
    await expect.poll(() => told).toBe(1)
    await server.stop()
    await server.start()
    await expect.poll(() => told, { timeout: 10_000 }).toBe(2)
    expect(lines.text()).toContain('are not noticed until the connection is back')
    await opened.upsertProvider({ name: 'a', type: 'anthropic', enabled: true, baseUrl: 'https://x', settings: null })
    await expect.poll(() => told).toBe(3)
  })

  test('a PostgreSQL server of its own is rejected at the start when it does not respond, without its password in the message', async () => {
    const url = 'postgres://ada:MARKED-secret@127.0.0.1:9/x'
    const rejected = await openPostgresStore({ url, logger, outageMs: 300 }).catch((error: unknown) => error)
    expect(rejected).toMatchObject({ code: 'PRECONDITION_FAILED', reason: 'database_unreachable' })
    expect(String(rejected)).not.toContain('MARKED')
  })
})

describe('a network between store and server', () => {
  test('a network between store and server that swallows everything is found out: calls fail in time, and the listener comes back', async () => {
    const database = await makeDatabase()
    const network = await networkTo(new URL(database.url))
    const store = await openPostgresStore({ url: network.url, logger, statementTimeoutMs: 200, listenerCheckMs: 300 })
    let told = 0
    store.onChange('providers', () => {
      told++
    })
    await expect.poll(() => told).toBe(1)
    await store.ping()
    network.swallow()
    await expect(store.revokeDaemonKey('abcdefghij', new Date())).rejects.toMatchObject({
      code: 'INTERNAL_SERVER_ERROR',
    })
    // Only connections that were open swallow; new ones go through.
    expect(await store.findUser('ada')).toBeNull()
    await expect.poll(() => told, { timeout: 20_000 }).toBe(2)
    await store.close()
    await network.close()
    await database.drop()
  })
})

describe('a store in PostgreSQL', () => {
  test('a store in PostgreSQL opens no more connections than it may, and one that listens, however many call', async () => {
    const database = await makeDatabase()
    const store = await openPostgresStore({ url: database.url, logger, maxConnections: 3 })
    await Promise.all(Array.from({ length: 50 }, () => store.findUser('ada')))
    const sessions = `select application_name from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`
    expect(await execute(database.url, sessions)).toEqual(Array(4).fill({ application_name: 'aibridge' }))
    await store.close()
    await database.drop()
  })

  test('a store in PostgreSQL has the server end a statement that takes too long', async () => {
    const database = await makeDatabase()
    const store = await openPostgresStore({ url: database.url, logger, statementTimeoutMs: 300 })
    const locker = new pg.Client({ connectionString: database.url })
    await locker.connect()
    await locker.query('begin; lock table users')
    await expect(store.listUsers()).rejects.toMatchObject({ code: 'INTERNAL_SERVER_ERROR', cause: { code: '57014' } })
    await locker.query('rollback')
    expect(await store.listUsers()).toEqual([])
    await locker.end()
    await store.close()
    await database.drop()
  })
})

describe('the schema', () => {
  test('the schema is made once by eight processes that start at the same moment', async () => {
    const database = await makeDatabase({ migrated: false })
    const opened = await Promise.all(
      Array.from({ length: 8 }, () => openPostgresStore({ url: database.url, logger, maxConnections: 2 })),
    )
    for (const store of opened) expect(await store.listUsers()).toEqual([])
    await Promise.all(opened.map(store => store.close()))
    await database.drop()
  })

  test('the schema is migrated also where a transaction of a running server and the migration wait for each other', async () => {
    const database = await makeDatabase({ migrated: false })
    const { db } = postgresDatabase(new pg.Pool({ connectionString: database.url }), {
      acquireTimeoutMs: 10_000,
      getTypeParser: pg.types.getTypeParser,
    })
    const migrator = new Migrator({ db, provider: { getMigrations: async () => ({ ...migrations }) } })
    expect(await migrator.migrateTo('0007-erasures')).not.toHaveProperty('error')
    const server = new pg.Client({ connectionString: database.url })
    await server.connect()
    // PostgreSQL ends the session that looks first: the migration, after a second.
    await server.query(`set deadlock_timeout = '4s'`)
    await server.query('begin; lock table model_thoughts in row exclusive mode')
    const migrated = migratePostgres({ url: database.url, logger })
    const isWaiting = async () =>
      (await execute(database.url, `select from pg_locks where not granted and relation = 'model_thoughts'::regclass`))
        .length
    await expect.poll(isWaiting).toBe(1)
    await server.query('select from interceptions')
    await server.query('commit')
    await migrated
    expect(await execute(database.url, 'select from kysely_migration')).toHaveLength(Object.keys(migrations).length)
    await server.end()
    await db.destroy()
    await database.drop()
  })

  test('the schema of a newer version is rejected', async () => {
    const database = await makeDatabase()
    await execute(database.url, `insert into kysely_migration (name, timestamp) values ('9999-later', 'now')`)
    await expect(openPostgresStore({ url: database.url, logger })).rejects.toMatchObject({ reason: 'database_newer' })
    await database.drop()
  })

  test('the schema needs no right to change it once it is made: reading and writing rows is enough', async () => {
    const database = await makeDatabase({ migrated: false })
    await migratePostgres({ url: database.url, logger })
    const role = `clerk_${randomUUID().slice(0, 8)}`
    await execute(
      database.url,
      `create role ${role} login;
       grant select, insert, update, delete on all tables in schema public to ${role};
       grant usage, select on all sequences in schema public to ${role};`,
    )
    const url = new URL(database.url)
    url.username = role
    const store = await openPostgresStore({ url: url.href, logger })
    const record = interception({ correlatingToolCallId: 'call' })
    expect(await store.record([record])).toEqual([{ ok: true }])
    expect((await store.readFeed({ after: 0, limit: 1 })).events.length).toBe(1)
    expect(await store.seedProviders([])).toBe(true)
    await store.audited(
      tables => tables.createUser({ id: randomUUID(), username: 'ada' }),
      () => ({ actor: 'a', action: 'users.create', target: null, details: null }),
    )
    await store.close()
    await execute(database.url, `drop owned by ${role}; drop role ${role};`)
    await database.drop()
  })
})

test('concurrent batches that touch the same rows in different orders all succeed, each row once', async () => {
  const database = await makeDatabase()
  const store = await openPostgresStore({ url: database.url, logger })
  const shared = Array.from({ length: 40 }, () => interception({ correlatingToolCallId: 'call' }))
  await Promise.all(
    Array.from({ length: 12 }, async (_, worker) => {
      const order = worker % 2 === 0 ? shared : [...shared].reverse()
      for (const outcome of await store.record([...order, interception()])) expect(outcome).toEqual({ ok: true })
    }),
  )
  expect((await store.listInterceptions({ limit: 100 })).length).toBe(40 + 12)
  expect((await store.readFeed({ after: 0, limit: 100 })).events.length).toBe(40 + 12)
  await store.close()
  await database.drop()
})

async function execute(url: string, statement: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query<object>(statement)
  await client.end()
  return rows
}

/** Forwards to a server, until its open connections swallow what they get. */
async function networkTo(target: URL) {
  const links = new Set<{ near: Socket; far: Socket; swallows: boolean }>()
  const proxy = createServer(near => {
    const far = connect(Number(target.port), target.hostname)
    const link = { near, far, swallows: false }
    links.add(link)
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('data', chunk => link.swallows || to.write(chunk))
      from.on('error', () => {})
      from.on('close', () => link.swallows || to.destroy())
    }
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  const url = new URL(target)
  url.port = String((proxy.address() as AddressInfo).port) // it listens on TCP
  return {
    url: url.href,
    swallow() {
      for (const link of links) link.swallows = true
    },
    async close() {
      for (const { near, far } of links) for (const socket of [near, far]) socket.destroy()
      proxy.close()
      await once(proxy, 'close')
    },
  }
}
