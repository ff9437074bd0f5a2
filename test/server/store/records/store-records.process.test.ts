/** What happens between two transactions of one call: changes by others, and the end of the process. */
import { randomUUID } from 'node:crypto'
import { Kysely, PostgresDialect } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type EmbeddedDatabase, openEmbeddedDatabase } from '../../../../server/store/pglite/embedded.js'
import { toMember } from '../../../../server/store/records/member.js'
import { storeRecords } from '../../../../server/store/records/records.js'
import type { Database } from '../../../../server/store/sql/schema.js'
import { createSqlStore } from '../../../../server/store/sql-store.js'
import type { Store, StoredRecord } from '../../../../server/store/store.js'
import { makeDataDir } from '../../../fixtures/data-dir.js'
import { children, ended, interception, promptUsage, secondsLater, toolUsage } from './records.js'

let database: EmbeddedDatabase
let store: Store
beforeAll(async () => {
  database = await openEmbeddedDatabase({ dataDir: await makeDataDir() })
  store = createSqlStore(database, database.thread, { afterClose: database.release })
})
afterAll(() => store.close())

const ok = { ok: true }

/** Stores records, and runs `meanwhile` behind each of the first transactions. */
function storeWith(records: readonly StoredRecord[], meanwhile: (() => Promise<unknown>)[]) {
  const rest = [...meanwhile]
  const pipeline: EmbeddedDatabase['pipeline'] = {
    isExclusive: true,
    async run(statements) {
      const results = await database.pipeline.run(statements)
      await rest.shift()?.()
      return results
    },
  }
  return storeRecords({ db: database.db, pipeline }, records.map(toMember))
}

describe('an interception that another transaction stores after the first look', () => {
  test('an interception that another transaction stores after the first look gets its records and its end', async () => {
    const parent = interception()
    const { id } = parent.record
    const records = [
      ...children(
        id,
        [1, 2, 3, 4].map(() => randomUUID()),
      ),
      ended(id),
    ]
    expect(await storeWith(records, [() => store.record([parent])])).toEqual(Array(5).fill(ok))
    expect(await store.getInterception(id)).toMatchObject({
      interception: { endedAt: secondsLater(1) },
      tokenUsages: [{}],
      promptUsages: [{}],
      toolUsages: [{}],
      modelThoughts: [{}],
    })
  })

  test('records whose interception comes and goes at every look are an error in the end', async () => {
    const parent = interception()
    const { id, initiatorId } = parent.record
    const erase = () => store.eraseInterceptionsOf({ initiatorId, limit: 1 })
    const comeAndGo = Array.from({ length: 30 }, () => [() => store.record([parent]), erase]).flat()
    await expect(storeWith([ended(id)], comeAndGo)).rejects.toThrow('10 times')
    await erase()
  })
})

test.each(['call', 'response', 'conversation'] as const)(
  'a call whose process died before it set the link of a continuation, by %s, sets the link when it is repeated',
  async by => {
    const initiatorId = randomUUID()
    const at = (seconds: number) => ({ initiatorId, startedAt: secondsLater(seconds) })
    const parent = interception(at(0))
    const [records, continuation] = {
      call: [
        [parent, toolUsage(parent.record.id, { toolCallId: 'c' })],
        interception({ ...at(1), correlatingToolCallId: 'c' }),
      ],
      response: [
        [parent, promptUsage(parent.record.id, { msgId: 'r' })],
        interception({ ...at(1), previousMsgId: 'r' }),
      ],
      conversation: [
        [interception({ ...parent.record, conversationId: 'c' })],
        interception({ ...at(1), conversationId: 'c' }),
      ],
    }[by] as [StoredRecord[], StoredRecord]
    await store.record([continuation])
    const dead = new Kysely<Database>({
      dialect: new PostgresDialect({ pool: () => Promise.reject(new Error('the process has ended')) }),
    })
    await expect(storeRecords({ ...database, db: dead }, records.map(toMember))).rejects.toThrow()
    const parentId = async () => (await store.getInterception(continuation.record.id))?.interception.parentId
    expect(await parentId()).toBeNull()
    expect(await store.record(records)).toEqual(records.map(() => ok))
    expect(await parentId()).toBe(parent.record.id)
  },
)
