/** What a pipeline promises, on each database. */
import { CompiledQuery } from 'kysely'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openEmbeddedDatabase } from '../../../../server/store/pglite/embedded.js'
import { postgresDatabase } from '../../../../server/store/postgres/postgres-dialect.js'
import type { Statement, StatementResult } from '../../../../server/store/sql/pipeline.js'
import type { SqlDatabase } from '../../../../server/store/sql/sql-database.js'
import { makeDataDir } from '../../../fixtures/data-dir.js'
import { makeDatabase } from '../../../fixtures/stores.js'

interface Row {
  name: string
  isExclusive: boolean
  open(): Promise<{ database: SqlDatabase; close(): Promise<void> }>
}

const databases: Row[] = [
  {
    name: 'embedded (PGlite)',
    isExclusive: true,
    async open() {
      const { release, thread: _, ...database } = await openEmbeddedDatabase({ dataDir: await makeDataDir() })
      const close = async () => {
        await database.db.destroy()
        await release()
      }
      return { database, close }
    },
  },
  {
    name: 'PostgreSQL',
    isExclusive: false,
    async open() {
      const { url, drop } = await makeDatabase({ migrated: false })
      const pool = new pg.Pool({ connectionString: url, max: 1 })
      const getTypeParser = (oid: number) => pg.types.getTypeParser(oid)
      const database = postgresDatabase(pool, { acquireTimeoutMs: 10_000, getTypeParser })
      const close = async () => {
        await database.db.destroy()
        await drop()
      }
      return { database, close }
    },
  },
]

const statement = (sql: string, ...parameters: (string | null)[]): Statement => ({ sql, parameters })

describe.each(databases)('statements that are sent together: $name', ({ isExclusive, open }) => {
  let database: SqlDatabase
  let close: () => Promise<void>
  beforeAll(async () => {
    const opened = await open()
    database = opened.database
    close = opened.close
    await run('create table notes (n integer primary key, text text)')
  })
  afterAll(() => close())

  const run = (...statements: (string | Statement)[]): Promise<StatementResult[]> =>
    database.pipeline.run(statements.map(each => (typeof each === 'string' ? statement(each) : each)))
  const insert = (n: number, text: string | null) =>
    statement('insert into notes (n, text) values ($1::integer, $2) returning n', String(n), text)
  const all = async () => (await run('select n, text from notes order by n'))[0]?.rows

  test('each has its own result, and sees the rows of those before it', async () => {
    expect(
      await run(
        'delete from notes',
        insert(1, 'one'),
        insert(2, null),
        'select n, text from notes order by n',
        "update notes set text = 'x'",
      ),
    ).toEqual([
      { rows: [], rowCount: 0 },
      { rows: [{ n: 1 }], rowCount: 1 },
      { rows: [{ n: 2 }], rowCount: 1 },
      {
        rows: [
          { n: 1, text: 'one' },
          { n: 2, text: null },
        ],
        rowCount: 2,
      },
      { rows: [], rowCount: 2 },
    ])
  })

  test('one that fails undoes all, rejects with its SQLSTATE, and keeps the session usable', async () => {
    await run('delete from notes', insert(1, 'kept'))
    for (let turn = 0; turn < 3; turn++) {
      const failing = run(insert(2, 'undone'), insert(1, 'again'), `select ${turn}`, insert(3, 'never run'))
      await expect(failing).rejects.toMatchObject({ name: 'SqlError', code: '23505', constraint: 'notes_pkey' })
      expect(await all()).toEqual([{ n: 1, text: 'kept' }])
    }
    await expect(run('selec 1', insert(2, 'undone'))).rejects.toMatchObject({ code: '42601' })
    // Behind the failed ones: each statement is prepared anew, or known by now.
    for (let turn = 0; turn < 3; turn++)
      expect(await run(`select ${turn} as n`, insert(4 + turn, null))).toHaveLength(2)
  })

  test('a commit that fails undoes all', async () => {
    await run(
      'drop table if exists pairs',
      'create table pairs (n integer references notes deferrable initially deferred)',
      'delete from notes',
      insert(1, null),
    )
    await expect(run('insert into pairs values (7)', insert(2, 'undone'))).rejects.toMatchObject({ code: '23503' })
    expect(await all()).toEqual([{ n: 1, text: null }])
    await run('insert into pairs values (7)', insert(7, null))
    await run('drop table pairs')
  })

  test('transactions of kysely and others run before or behind them, never between them', async () => {
    await run('delete from notes', insert(1, 'one'))
    const add = (n: number) => statement('insert into notes select $1::integer, count(*)::text from notes', String(n))
    const work = Array.from({ length: 10 }, (_, turn) =>
      turn % 2 === 0
        ? run(add(100 + 2 * turn), add(101 + 2 * turn))
        : database.db.transaction().execute(async tx => {
            for (const n of [100 + 2 * turn, 101 + 2 * turn]) {
              const { sql, parameters } = add(n)
              await tx.executeQuery(CompiledQuery.raw(sql, [...parameters]))
            }
          }),
    )
    await Promise.all(work)
    const rows = (await all()) as { n: number; text: string }[]
    for (let n = 100; n < 120; n += 2) {
      const [first, second] = [n, n + 1].map(at => Number(rows.find(row => row.n === at)?.text))
      expect(second).toBe((first ?? 0) + 1)
    }
  })

  test('the database says whether this process has its only session', () => {
    expect(database.pipeline.isExclusive).toBe(isExclusive)
  })
})
