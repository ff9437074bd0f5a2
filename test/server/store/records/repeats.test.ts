/** A daemon that has no response sends a record again, while the first call may still run, or may have committed. */
import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { feedLock } from '../../../../server/store/migrations/0003-control-plane.js'
import { openEmbeddedDatabase } from '../../../../server/store/pglite/embedded.js'
import { pgliteDatabase } from '../../../../server/store/pglite/pglite-dialect.js'
import { openPostgresStore } from '../../../../server/store/postgres/postgres.js'
import { connectionLost, SqlError } from '../../../../server/store/sql/sql-error.js'
import { createSqlStore } from '../../../../server/store/sql-store.js'
import type { Store, StoredRecord } from '../../../../server/store/store.js'
import { makeDataDir } from '../../../fixtures/data-dir.js'
import { makeDatabase, silentLogger, stores } from '../../../fixtures/stores.js'
import { cuttableNetwork } from '../postgres/cuttable-network.js'
import {
  children,
  ended,
  interception,
  modelThought,
  promptUsage,
  secondsLater,
  tokenUsage,
  toolUsage,
} from './records.js'

const ok = { ok: true }

/** An interception with a record of each kind. */
function family(fields: Parameters<typeof interception>[0] = {}): StoredRecord[] {
  const parent = interception(fields)
  const { id } = parent.record
  return [
    parent,
    ...children(
      id,
      Array.from({ length: 4 }, () => randomUUID()),
    ),
    ended(id),
  ]
}

function copyOf(record: StoredRecord, carrier: string): StoredRecord {
  return record.kind === 'interception' ? { ...record, carrier: { daemonInstance: carrier } } : { ...record }
}

/** Kind and id of every record of the feed, in order. */
async function feedOf(store: Store): Promise<string[]> {
  const { events } = await store.readFeed({ after: 0, limit: 10_000 })
  return events.map(({ record: { kind, record } }) => `${kind} ${record.id}`)
}

const keyOf = ({ kind, record: { id } }: StoredRecord) => `${kind} ${id}`

describe.each(stores)('records that come twice: $name', ({ openTwo }) => {
  let servers: [Store, Store]
  beforeAll(async () => {
    servers = await openTwo()
  })
  afterAll(async () => {
    for (const store of servers) await store.close()
  })

  test('a record of each kind that comes through two servers at the same moment is stored once', async () => {
    const daemons = [randomUUID(), randomUUID()]
    for (let turn = 0; turn < 5; turn++) {
      for (const record of family()) {
        const twice = servers.map((store, i) => store.record([copyOf(record, daemons[i] ?? '')]))
        expect(await Promise.all(twice)).toEqual([[ok], [ok]])
        expect((await feedOf(servers[0])).filter(key => key === keyOf(record)).length).toBe(1)
      }
    }
    const [newest] = await servers[0].listInterceptions({ limit: 1 })
    expect(daemons).toContain(newest?.daemonInstance)
  })

  test('of two contents of one record that come at the same moment one is stored and the other is a conflict', async () => {
    const { record: parent } = interception()
    await servers[0].record([interception(parent)])
    const id = randomUUID()
    for (const make of [
      (i: number) => interception({ id, initiatorId: randomUUID(), model: `model ${i}` }),
      (i: number) => tokenUsage(parent.id, { id, inputTokens: i }),
      (i: number) => promptUsage(parent.id, { id, prompt: `prompt ${i}` }),
      (i: number) => toolUsage(parent.id, { id, input: `input ${i}` }),
      (i: number) => modelThought(parent.id, { id, content: `thought ${i}` }),
    ]) {
      const outcomes = await Promise.all(servers.map((store, i) => store.record([make(i)])))
      expect(
        outcomes
          .flat()
          .map(outcome => (outcome.ok ? 'ok' : outcome.code))
          .toSorted(),
      ).toEqual(['CONFLICT', 'ok'])
    }
  })

  test('an interception of two users that comes with records at the same moment has one user, who has the lineage', async () => {
    for (let turn = 0; turn < 10; turn++) {
      const id = randomUUID()
      const users = [randomUUID(), randomUUID()]
      const continuations = users.map(initiatorId => interception({ initiatorId, previousMsgId: id }))
      for (const continuation of continuations) await servers[0].record([continuation])
      await Promise.all(
        servers.map((store, i) =>
          store.record([interception({ id, initiatorId: users[i] ?? '' }), tokenUsage(id, { msgId: id })]),
        ),
      )
      const owner = (await servers[0].getInterception(id))?.interception.initiatorId
      const parents = await Promise.all(
        continuations.map(async ({ record }) => (await servers[0].getInterception(record.id))?.interception.parentId),
      )
      expect(parents).toEqual(users.map(user => (user === owner ? id : null)))
    }
  })

  test('any records that come any number of times, through two servers at once, are stored once each', async () => {
    const sent = fc.array(
      fc.record({ family: fc.nat(2), server: fc.nat(1), from: fc.nat(5), length: fc.integer({ min: 1, max: 6 }) }),
      {
        minLength: 2,
        maxLength: 8,
      },
    )
    await fc.assert(
      fc.asyncProperty(sent, async calls => {
        const families = [0, 1, 2].map(i => family({ startedAt: secondsLater(i) }))
        for (const [parent] of families) if (parent) await servers[0].record([parent])
        const before = (await feedOf(servers[0])).length
        const parts = calls.map(call => (families[call.family] ?? []).slice(call.from, call.from + call.length))
        const outcomes = await Promise.all(
          parts.map((records, i) => servers[calls[i]?.server === 1 ? 1 : 0].record(records)),
        )
        expect(outcomes).toEqual(parts.map(records => records.map(() => ok)))
        const added = (await feedOf(servers[0])).slice(before)
        const expected = new Set(
          parts
            .flat()
            .filter(({ kind }) => kind !== 'interception')
            .map(keyOf),
        )
        expect(added.toSorted()).toEqual([...expected].toSorted())
      }),
      { numRuns: 15 },
    )
  })
})

/** A database that can lose the response to one transaction. */
interface LosingRow {
  name: string
  open(): Promise<{
    store: Store
    /** Loses the response to the next transaction, after the commit. */
    loseResponse(): void
    hasLost(): boolean
  }>
}

const losing: LosingRow[] = [
  {
    name: 'embedded (PGlite)',
    async open() {
      const { thread, release } = await openEmbeddedDatabase({ dataDir: await makeDataDir() })
      let loses = false
      const database = pgliteDatabase({
        query: (...args) => thread.query(...args),
        async run(statements) {
          const results = await thread.run(statements)
          if (!loses) return results
          loses = false
          throw new SqlError({ message: 'lost', code: connectionLost, mayHaveCommitted: true })
        },
        close: () => thread.close(),
      })
      return {
        store: createSqlStore(database, thread, { afterClose: release }),
        loseResponse() {
          loses = true
        },
        hasLost: () => !loses,
      }
    },
  },
  {
    name: 'PostgreSQL',
    async open() {
      const database = await makeDatabase()
      onTestFinished(() => database.drop())
      const network = await cuttableNetwork(database.url)
      onTestFinished(() => network.close())
      const store = await openPostgresStore({ url: network.url, logger: silentLogger, listenerCheckMs: 60_000 })
      // The connection that listens is open, and sends nothing more.
      await new Promise<void>(resolve => store.onChange('records', resolve))
      return {
        store,
        loseResponse: () => network.failAtResponse(1),
        hasLost: () => network.hasFailed(),
      }
    },
  },
]

describe.each(losing)('a commit whose response is lost: $name', ({ open }) => {
  test('a commit whose response is lost is repeated: the caller gets its outcomes, and each record is stored once', async () => {
    const { store, loseResponse, hasLost } = await open()
    const [first, second, third] = [family(), family(), family()]
    await store.record(third)
    for (const [records, expected] of [
      [first.slice(0, 1), 1],
      [first.slice(1), 5],
      [[...second, ...third], 6],
    ] as const) {
      const before = (await feedOf(store)).length
      loseResponse()
      expect(await store.record(records)).toEqual(records.map(() => ok))
      expect(hasLost()).toBe(true)
      expect((await feedOf(store)).length - before).toBe(expected)
    }
    expect(new Set(await feedOf(store))).toEqual(new Set([...first, ...second, ...third].map(keyOf)))
    await store.close()
  })
})

describe('PostgreSQL, while a call hangs', () => {
  let database: Awaited<ReturnType<typeof makeDatabase>>
  let other: pg.Client
  beforeAll(async () => {
    database = await makeDatabase()
    other = new pg.Client({ connectionString: database.url })
    await other.connect()
  })
  afterAll(async () => {
    await other.end()
    await database.drop()
  })

  test('a batch that is answered late and sent again, to the same server and to another, is stored once', async () => {
    const options = { url: database.url, logger: silentLogger }
    const servers = [await openPostgresStore(options), await openPostgresStore(options)] as const
    const records = family()
    await other.query('select pg_advisory_lock($1)', [feedLock])
    const late = servers[0].record(records)
    await expect.poll(async () => (await waiting(other)).length).toBe(1)
    const again = [servers[0].record(records), servers[1].record(records)]
    await expect.poll(async () => (await waiting(other)).length).toBe(2)
    await other.query('select pg_advisory_unlock($1)', [feedLock])
    expect(await Promise.all([late, ...again])).toEqual(Array(3).fill(records.map(() => ok)))
    expect((await feedOf(servers[0])).toSorted()).toEqual(records.map(keyOf).toSorted())
    for (const store of servers) await store.close()
  })
})

/** The sessions that wait for a lock. */
async function waiting(client: pg.Client): Promise<unknown[]> {
  const { rows } = await client.query<object>(
    `select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
  )
  return rows
}
