/** What the dialect does when a statement fails or hangs; the thread is scripted. */
import { sql } from 'kysely'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { pgliteDatabase } from '../../../../server/store/pglite/pglite-dialect.js'
import type { StatementResult } from '../../../../server/store/sql/pipeline.js'
import type { SqlDatabase } from '../../../../server/store/sql/sql-database.js'
import { SqlError, threadEnded } from '../../../../server/store/sql/sql-error.js'
import { createSqlStore } from '../../../../server/store/sql-store.js'
import { interception } from '../records/records.js'

/** A database whose thread answers each statement as `answer` says. */
function scripted(answer: (statement: string) => Promise<StatementResult>): SqlDatabase {
  return pgliteDatabase({
    query: answer,
    run: statements => Promise.all(statements.map(({ sql: statement }) => answer(statement))),
    close: async () => {},
  })
}

const nothing: StatementResult = { rows: [], rowCount: 0 }

afterEach(() => void vi.useRealTimers())

describe('a commit that fails', () => {
  test('a commit that fails is rolled back before any other caller gets the session, which then has one owner at a time', async () => {
    const statements: string[] = []
    const { db } = scripted(async statement => {
      statements.push(statement)
      if (statement === 'commit' && !statements.includes('rollback')) throw new Error('no space left')
      return nothing
    })
    const write = (name: string) =>
      db.transaction().execute(async tx => {
        await sql.raw(`${name} 1`).execute(tx)
        await sql.raw(`${name} 2`).execute(tx)
      })
    const results = await Promise.allSettled([write('a'), write('b'), sql`alone`.execute(db), write('c')])
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled', 'fulfilled'])
    const transaction = (name: string) => ['start transaction', `${name} 1`, `${name} 2`, 'commit']
    expect(statements).toEqual([...transaction('a'), 'rollback', ...transaction('b'), 'alone', ...transaction('c')])
  })
})

describe('a thread that ends at a statement', () => {
  /** An operator's write and a daemon's record, on a database whose thread ends at a statement that matches. */
  async function outcomesOf(match: RegExp): Promise<unknown[]> {
    let ended = false
    const db = scripted(async statement => {
      if (ended) throw new SqlError({ message: 'ended', code: threadEnded })
      ended = match.test(statement)
      if (ended) throw new SqlError({ message: 'ended', code: threadEnded, mayHaveCommitted: true })
      return nothing
    })
    const store = createSqlStore(db, { onChange: () => () => {}, close: async () => {} })
    const write = () =>
      store.audited(
        async () => {},
        () => ({ actor: 'a', action: 'users.create', target: null, details: null }),
      )
    const writes = await Promise.allSettled([write(), store.record([interception()])])
    return writes.map(result => (result.status === 'rejected' ? result.reason.mayHaveRun : 'done'))
  }

  test.each([
    [/^start transaction/, [false, false]],
    [/audit_log/, [false, false]],
    [/^commit/, [true, false]],
    [/interceptions/, [expect.anything(), true]],
  ])('%s', async (statement, mayHaveRun) => {
    expect(await outcomesOf(statement)).toEqual(mayHaveRun)
  })
})

describe('a database that hangs', () => {
  test('a database that hangs does not keep the store from closing', async () => {
    vi.useFakeTimers()
    let released = false
    const afterClose = async () => {
      released = true
    }
    const store = createSqlStore(
      scripted(() => new Promise(() => {})),
      { onChange: () => () => {}, close: async () => {} },
      { afterClose },
    )
    void store.ping()
    const closed = store.close()
    await vi.advanceTimersByTimeAsync(9_000)
    expect(released).toBe(false)
    await vi.advanceTimersByTimeAsync(1_000)
    await closed
    expect(released).toBe(true)
  })
})
