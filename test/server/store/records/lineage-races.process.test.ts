/** Transactions that write the two sides of a link at the same moment, on PostgreSQL. */
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { feedLock } from '../../../../server/store/migrations/0003-control-plane.js'
import { openPostgresStore } from '../../../../server/store/postgres/postgres.js'
import { lockInitiators } from '../../../../server/store/records/initiator-locks.js'
import type { Store, StoredRecord } from '../../../../server/store/store.js'
import { makeDatabase, silentLogger } from '../../../fixtures/stores.js'
import { ended, interception, promptUsage, secondsLater, tokenUsage, toolUsage } from './records.js'

let database: Awaited<ReturnType<typeof makeDatabase>>
let servers: Store[]
let holder: pg.Client
beforeAll(async () => {
  database = await makeDatabase()
  servers = await Promise.all([0, 1, 2].map(() => openPostgresStore({ url: database.url, logger: silentLogger })))
  holder = new pg.Client({ connectionString: database.url })
  await holder.connect()
})
afterAll(async () => {
  await holder.end()
  for (const store of servers) await store.close()
  await database.drop()
})

let user: string
beforeEach(() => {
  user = randomUUID()
})

/** Transactions write all their rows, and then wait for this lock before they commit. */
const holdCommits = () => holder.query('select pg_advisory_lock($1)', [feedLock])
const releaseCommits = () => holder.query('select pg_advisory_unlock($1)', [feedLock])

/** Starts a call of a server, and resolves when its transaction waits for a lock. */
async function startAt(server: number, records: readonly StoredRecord[]): Promise<{ outcomes: Promise<unknown> }> {
  const before = await countWaiting()
  const outcomes = servers[server]?.record(records) ?? Promise.reject(new Error(`no server ${server}`))
  await expect.poll(countWaiting).toBe(before + 1)
  return { outcomes }
}

async function countWaiting(): Promise<number> {
  const { rows } = await holder.query<object>(
    `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
  )
  return rows.length
}

async function countWaitingForCommit(): Promise<number> {
  const { rows } = await holder.query<object>(
    `select from pg_locks join pg_database d on d.oid = database
     where datname = current_database() and locktype = 'advisory' and objid = $1 and not granted`,
    [feedLock],
  )
  return rows.length
}

async function parentOf({ record: { id } }: StoredRecord): Promise<string | null | undefined> {
  return (await servers[0]?.getInterception(id))?.interception.parentId
}

const ok = { ok: true }

const links = [
  [
    'a tool call',
    (id: string) => toolUsage(id, { toolCallId: 'call' }),
    () => interception({ initiatorId: user, correlatingToolCallId: 'call' }),
  ],
  [
    'a response with tokens',
    (id: string) => tokenUsage(id, { msgId: 'resp' }),
    () => interception({ initiatorId: user, previousMsgId: 'resp' }),
  ],
  [
    'a prompt',
    (id: string) => promptUsage(id, { msgId: 'resp' }),
    () => interception({ initiatorId: user, previousMsgId: 'resp' }),
  ],
] as const

test.each(links)(
  '%s and the interception that continues it have their link, whichever commits first',
  async (_, usageOf, make) => {
    for (const isUsageFirst of [true, false]) {
      user = randomUUID()
      const parent = interception({ initiatorId: user })
      const [usage, continuation] = [usageOf(parent.record.id), make()]
      await servers[0]?.record([parent])
      await holdCommits()
      const first = await startAt(0, [isUsageFirst ? usage : continuation])
      const second = await startAt(1, [isUsageFirst ? continuation : usage])
      await releaseCommits()
      expect(await Promise.all([first.outcomes, second.outcomes])).toEqual([[ok], [ok]])
      expect(await parentOf(continuation)).toBe(parent.record.id)
    }
  },
)

test('two interceptions of a conversation have their link, whichever commits first', async () => {
  for (const isOlderFirst of [true, false]) {
    user = randomUUID()
    const turns = [0, 1].map(i => interception({ initiatorId: user, conversationId: 'c', startedAt: secondsLater(i) }))
    const [older, younger] = turns as [StoredRecord, StoredRecord]
    await holdCommits()
    const first = await startAt(0, [isOlderFirst ? older : younger])
    const second = await startAt(1, [isOlderFirst ? younger : older])
    await releaseCommits()
    expect(await Promise.all([first.outcomes, second.outcomes])).toEqual([[ok], [ok]])
    expect([await parentOf(older), await parentOf(younger)]).toEqual([null, older.record.id])
  }
})

test('records of one user that continue nothing are stored side by side', async () => {
  const parents = [0, 1].map(() => interception({ initiatorId: user }))
  await servers[0]?.record(parents)
  await holdCommits()
  const calls: Promise<unknown>[] = []
  for (const [i, { record }] of parents.entries()) {
    const { outcomes } = await startAt(i, [promptUsage(record.id), tokenUsage(record.id), ended(record.id)])
    calls.push(outcomes)
  }
  expect(await countWaitingForCommit()).toBe(2)
  await releaseCommits()
  expect(await Promise.all(calls)).toEqual([Array(3).fill(ok), Array(3).fill(ok)])
})

/**
 * Begins a call whose transaction looks for initiators, and then waits for the lock of another user. Returns the
 * function that lets the transaction go on.
 */
async function startBehindLock(records: readonly StoredRecord[]) {
  const other = interception()
  await servers[0]?.record([other])
  const { sql, parameters } = lockInitiators({
    interceptionIds: [],
    initiators: [{ id: other.record.initiatorId, exclusive: true }],
  })
  const locker = new pg.Client({ connectionString: database.url })
  await locker.connect()
  await locker.query('begin')
  await locker.query(sql, [...parameters])
  const { outcomes } = await startAt(0, [...records, tokenUsage(other.record.id)])
  return { outcomes, release: () => locker.end() }
}

test.each([
  ['a record whose interception is stored', false],
  ['an interception of another user with its record, whose id is stored', true],
])('%s after the users were locked has its continuation', async (_, hasFamily) => {
  const parent = interception({ initiatorId: user })
  const { id } = parent.record
  const usage = tokenUsage(id, { msgId: 'resp' })
  const started = await startBehindLock(hasFamily ? [interception({ id }), usage] : [usage])
  expect(await servers[1]?.record([parent])).toEqual([ok])
  await holdCommits()
  await started.release()
  await expect.poll(countWaitingForCommit).toBe(1)
  const continuation = interception({ initiatorId: user, previousMsgId: 'resp' })
  const continued = await startAt(2, [continuation])
  await releaseCommits()
  expect(await continued.outcomes).toEqual([ok])
  const outcomes = [ok, ok]
  if (hasFamily) outcomes.unshift(expect.objectContaining({ code: 'CONFLICT' }))
  expect(await started.outcomes).toEqual(outcomes)
  expect(await parentOf(continuation)).toBe(id)
})
