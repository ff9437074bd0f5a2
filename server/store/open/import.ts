/** Copies an embedded store to a PostgreSQL database. */
import { CompiledQuery, type Kysely, sql } from 'kysely'
import { rpcError } from '../../../shared/contract/error-reasons.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import type { Logger } from '../../../shared/values/log.js'
import { hasEmbeddedDatabase, openEmbeddedDatabase } from '../pglite/embedded.js'
import { openPostgresDatabase } from '../postgres/postgres.js'
import { toSqlError } from '../postgres/postgres-dialect.js'
import type { Database } from '../sql/schema.js'
import { SqlError } from '../sql/sql-error.js'

/** The tables to copy, in an order in which every row finds the row that its reference names. */
export const copiedTables = [
  'users',
  'api_keys',
  'daemon_keys',
  'agents',
  'daemon_instances',
  'daemon_outboxes',
  'erasures',
  'erasure_confirmations',
  'interceptions',
  'prices',
  'token_usages',
  'user_prompts',
  'tool_usages',
  'model_thoughts',
  'providers',
  'provider_keys',
  'own_prices',
  'key_rejections',
  'mcp_servers',
  'external_auth_links',
  'conversation_tools',
  'conversations',
  'conversation_turns',
  'chats',
  'chat_messages',
  'chat_queue',
  'chat_dequeued',
  'audit_log',
  'server_state',
] as const satisfies readonly (keyof Database)[]

/** Rows under way at once: two content fields of 1 MiB each at most, or a turn or a message of 3 MiB. */
const rowsAtOnce = 100
const largeRowsAtOnce = 20
const tablesOfLargeRows = new Set<keyof Database>(['conversation_turns', 'chat_messages'])

/**
 * Copies all rows of the embedded store in `from` into an empty database, in one transaction: after a failure or a kill
 * the target is as empty as before. The source is brought to this version and otherwise left unchanged. Watchers keep
 * their positions: a watcher that had read the source to the end goes on without a gap, and any other watcher gets
 * `event_expired`.
 * @returns table → rows, as counted in both databases
 * @throws RpcError `PRECONDITION_FAILED`: `import_refused` if `from` holds no store, the target is not empty, or the
 *   counts differ; the errors of opening either database
 */
export async function importEmbeddedStore(options: {
  from: string
  url: string
  logger: Logger
}): Promise<Record<string, number>> {
  const { from, url, logger } = options
  if (!(await hasEmbeddedDatabase(from))) throw rejected(`${from} holds no embedded store`)
  const source = await openEmbeddedDatabase({ dataDir: from, logger })
  try {
    const target = await openPostgresDatabase({ url, logger })
    try {
      return await source.db.transaction().execute(tx => target.transaction().execute(to => copyAll(tx, to)))
    } catch (cause) {
      if (cause instanceof RpcError) throw cause
      const words = (cause instanceof SqlError ? cause : toSqlError(cause)).message
      throw new RpcError('INTERNAL_SERVER_ERROR', `the import failed and changed nothing: ${words}`, { cause })
    } finally {
      await target.destroy()
    }
  } finally {
    await source.db.destroy()
    await source.release()
  }
}

async function copyAll(from: Kysely<Database>, to: Kysely<Database>): Promise<Record<string, number>> {
  await checkEmpty(to)
  const counts: Record<string, number> = {}
  // A table with a reference that is checked at the end cannot be altered before.
  await sql`set constraints all immediate`.execute(to)
  for (const table of copiedTables) {
    // The triggers would note every row as recorded just now.
    await sql`alter table ${sql.table(table)} disable trigger user`.execute(to)
    await copyTable(from, to, table)
    await sql`alter table ${sql.table(table)} enable trigger user`.execute(to)
    const [expected, copied] = [await countRows(from, table), await countRows(to, table)]
    if (expected !== copied) throw rejected(`${table} has ${expected} rows and ${copied} of them were copied`)
    counts[table] = copied
  }
  const { rows } = await sql<{ position: number }>`
    select coalesce((select max(position) from record_feed), (select position from record_feed_trimmed)) as position
  `.execute(from)
  const position = rows[0]?.position ?? 0
  await to.updateTable('record_feed_trimmed').set({ position }).execute()
  await sql`select setval(pg_get_serial_sequence('record_feed', 'position'), ${position + 1}, false)`.execute(to)
  return counts
}

async function checkEmpty(to: Kysely<Database>): Promise<void> {
  // Servers that start meanwhile wait here, and find the database seeded.
  await sql`lock table ${sql.join(copiedTables.map(table => sql.table(table)))} in access exclusive mode`.execute(to)
  const filled: string[] = []
  for (const table of [...copiedTables, 'record_feed' as const]) {
    const { rows } = await sql`select 1 from ${sql.table(table)} limit 1`.execute(to)
    if (rows.length > 0) filled.push(table)
  }
  if (filled.length > 0)
    throw rejected(`the target is not empty: ${filled.join(', ')} have rows; import into a new database`)
}

/** Rows travel as JSON, written and read by PostgreSQL itself, so this process converts no type. */
async function copyTable(from: Kysely<Database>, to: Kysely<Database>, table: keyof Database): Promise<void> {
  await sql`declare import_rows cursor for select row_to_json(t)::text as row from ${sql.table(table)} t`.execute(from)
  for (;;) {
    const { rows } = await from.executeQuery<{ row: string }>(
      CompiledQuery.raw(`fetch ${tablesOfLargeRows.has(table) ? largeRowsAtOnce : rowsAtOnce} from import_rows`, []),
    )
    if (rows.length === 0) break
    const json = `[${rows.map(({ row }) => row).join(',')}]`
    await sql`
      insert into ${sql.table(table)} select * from json_populate_recordset(null::${sql.table(table)}, ${json}::json)
    `.execute(to)
  }
  await sql`close import_rows`.execute(from)
}

async function countRows(db: Kysely<Database>, table: keyof Database): Promise<number> {
  const { rows } = await sql<{ count: number }>`select count(*) as count from ${sql.table(table)}`.execute(db)
  return rows[0]?.count ?? 0
}

function rejected(message: string): RpcError<'import_refused'> {
  return rpcError('import_refused', `${message}. Nothing was changed in the target.`)
}
