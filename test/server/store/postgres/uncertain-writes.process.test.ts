/** Whether a write that failed may be stored all the same: what the error says, beside what the database has. */
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { openPostgresStore } from '../../../../server/store/postgres/postgres.js'
import type { Store } from '../../../../server/store/store.js'
import { errorCodeOf, mayHaveRunOf } from '../../../../shared/rpc/errors.js'
import { makeDatabase, silentLogger } from '../../../fixtures/stores.js'
import { children, ended, interception, toolUsage } from '../records/records.js'
import { type CuttableNetwork, cuttableNetwork } from './cuttable-network.js'

let database: Awaited<ReturnType<typeof makeDatabase>>
let network: CuttableNetwork
let direct: pg.Client
let store: Store
const options = {
  logger: silentLogger,
  maxConnections: 2,
  statementTimeoutMs: 300,
  networkTimeoutMs: 500,
  outageMs: 20,
}
beforeAll(async () => {
  database = await makeDatabase()
  network = await cuttableNetwork(database.url)
  direct = new pg.Client({ connectionString: database.url })
  await direct.connect()
  store = await openPostgresStore({ ...options, url: network.url })
  // The connection that listens is open, and sends nothing more.
  await new Promise<void>(resolve => store.onChange('providers', resolve))
})
afterEach(() => network.heal())
afterAll(async () => {
  await direct.end()
  await store.close()
  await network.close()
  await database.drop()
})

/** An operator's write: a transaction of a change and its audit entry. Returns what to look for afterwards. */
function createUser(on = store) {
  const username = randomUUID()
  const entry = { actor: 'a', action: 'users.create', target: username, details: null } as const
  const done = on.audited(
    tables => tables.createUser({ id: randomUUID(), username }),
    () => entry,
  )
  return { done, isStored: () => isStored('select from users where username = $1', username) }
}

/** A record of a daemon, which the store may repeat. */
function recordOne(on = store) {
  const record = interception()
  return {
    done: on.record([record]),
    isStored: () => isStored('select from interceptions where id = $1', record.record.id),
  }
}

async function isStored(statement: string, value: string): Promise<boolean> {
  return ((await direct.query(statement, [value])).rowCount ?? 0) > 0
}

const outcomeOf = (done: Promise<unknown>): Promise<unknown> =>
  done.then(
    () => 'done',
    (error: unknown) => ({ code: errorCodeOf(error), mayHaveRun: mayHaveRunOf(error) }),
  )
const failed = (mayHaveRun: boolean) => ({ code: 'INTERNAL_SERVER_ERROR', mayHaveRun })

describe('a connection that is lost at a statement', () => {
  test.each([
    ['a transaction before its begin arrives', createUser, /start transaction/, 'before', false],
    ['a transaction behind its begin', createUser, /start transaction/, 'after', false],
    ['a transaction before its change arrives', createUser, /insert into "users"/, 'before', false],
    ['a transaction behind its change', createUser, /insert into "users"/, 'after', false],
    ['a transaction before its commit arrives', createUser, /commit/, 'before', true],
    ['a transaction behind its commit', createUser, /commit/, 'after', true],
    ['a transaction whose change is swallowed', createUser, /insert into "users"/, 'swallow', false],
    ['a transaction whose commit is swallowed', createUser, /commit/, 'swallow', true],
    ['a lone record before it arrives', recordOne, /interceptions/, 'before', true],
    ['a lone record behind its arrival', recordOne, /interceptions/, 'after', true],
  ] as const)('%s', async (_name, write, message, cut, mayHaveRun) => {
    // A pool of its own: sessions that have prepared a statement send its name alone.
    const own = await openPostgresStore({ ...options, url: network.url })
    network.failAt(message, cut, { thenRefuse: true })
    const { done, isStored } = write(own)
    expect(await outcomeOf(done)).toEqual(failed(mayHaveRun))
    if (!mayHaveRun) expect(await isStored()).toBe(false)
    network.heal()
    expect(await outcomeOf(write(own).done)).toBe('done')
    await own.close()
  })

  test('a record whose first attempt was lost is stored once by the repeat', async () => {
    const own = await openPostgresStore({ ...options, url: network.url, outageMs: 5_000 })
    network.failAt(/interceptions/, 'after')
    const { done, isStored } = recordOne(own)
    expect(await outcomeOf(done)).toBe('done')
    expect(await isStored()).toBe(true)
    await own.close()
  })
})

test.each([
  ['a transaction', createUser],
  ['a lone record', recordOne],
])('nothing was changed by %s that never got a connection', async (_name, write) => {
  const own = await openPostgresStore({ ...options, url: network.url })
  network.failAt(/start transaction|interceptions/, 'before', { thenRefuse: true })
  await outcomeOf(write(own).done)
  const { done, isStored } = write(own)
  expect(await outcomeOf(done)).toEqual(failed(false))
  expect(await isStored()).toBe(false)
  network.heal()
  await own.close()
})

describe('an error of PostgreSQL', () => {
  /** Makes inserts into `users` and `interceptions` do this. */
  async function onInsert(body: string, { isDeferred = false } = {}): Promise<void> {
    await direct.query(
      `create function fail() returns trigger language plpgsql as $$ begin ${body} return null; end $$`,
    )
    const kind = isDeferred ? 'constraint trigger' : 'trigger'
    const when = isDeferred ? 'deferrable initially deferred' : ''
    for (const table of ['users', 'interceptions']) {
      await direct.query(`create ${kind} fail after insert on ${table} ${when} for each row execute function fail()`)
    }
  }
  afterEach(() => direct.query('drop function if exists fail cascade'))

  const raise = (state: string) => `raise exception 'no' using errcode = '${state}';`
  const terminate = 'perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(1);'

  test.each([
    ['a serialization failure', raise('40001'), false, false],
    ['a deadlock', raise('40P01'), false, false],
    ['a lock that was not free in time', raise('55P03'), false, false],
    ['a statement that took too long', 'perform pg_sleep(20);', false, false],
    ['a full disk', raise('53100'), false, false],
    ['a trigger that fails at the commit', raise('P0001'), true, false],
    ['a serialization failure at the commit', raise('40001'), true, false],
  ])('%s: nothing was changed', async (_name, body, isDeferred) => {
    await onInsert(body, { isDeferred })
    for (const write of [createUser, recordOne]) {
      const { done, isStored } = write()
      expect(await outcomeOf(done)).toEqual(failed(false))
      expect(await isStored()).toBe(false)
    }
  })

  test('the end of a session by PostgreSQL: nothing was changed before a commit, and a lone statement may be stored', async () => {
    await onInsert(terminate)
    expect(await outcomeOf(createUser().done)).toEqual(failed(false))
    expect(await outcomeOf(recordOne().done)).toEqual(failed(true))
  })

  test('the end of a session during the commit: the change may be stored', async () => {
    await onInsert(terminate, { isDeferred: true })
    expect(await outcomeOf(createUser().done)).toEqual(failed(true))
  })
})

test('a read never says that something may have been changed', async () => {
  network.failAt(/"users"/, 'after', { thenRefuse: true })
  expect(await outcomeOf(store.findUser(randomUUID()))).toEqual(failed(false))
})

test('a batch that is cut at each part of each response: what may have been stored is said, and a repeat stores the rest once', async () => {
  let [isDone, doubts] = [false, 0]
  for (let part = 1; !isDone; part++) {
    const parent = interception()
    const { id, initiatorId } = parent.record
    const tool = toolUsage(id, { toolCallId: randomUUID() })
    const next = interception({ initiatorId, correlatingToolCallId: tool.record.toolCallId })
    const ids = Array.from({ length: 4 }, () => randomUUID())
    const batch = [parent, next, ...children(id, ids), tool, ended(id)]
    network.failAtResponse(part, { thenRefuse: true })
    const outcome = await outcomeOf(store.record(batch))
    isDone = !network.hasFailed()
    network.heal()
    if (await isStored('select from interceptions where id = $1', id)) {
      if (!isDone) doubts++
      expect({ part, outcome }).toEqual({ part, outcome: isDone ? 'done' : failed(true) })
    }
    expect(await store.record(batch)).toEqual(batch.map(() => ({ ok: true })))
    expect((await store.getInterception(next.record.id))?.interception.parentId).toBe(id)
    expect((await store.getInterception(id))?.toolUsages).toHaveLength(2)
  }
  expect(doubts).toBeGreaterThan(0)
})
