/** The numbered steps from an empty database to the schema of this version. A released step is never edited. */
import { type Kysely, type Migration, Migrator, sql } from 'kysely'
import { rpcError } from '../../../shared/contract/error-reasons.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import * as initial from './0001-initial.js'
import * as daemonKeys from './0002-daemon-keys.js'
import * as controlPlane from './0003-control-plane.js'
import * as operators from './0004-operators.js'
import * as recordFacts from './0005-record-facts.js'
import * as ends from './0006-ends.js'
import * as erasures from './0007-erasures.js'
import * as feedByStatement from './0008-feed-by-statement.js'
import * as interceptionKinds from './0009-interception-kinds.js'
import * as injection from './0010-injection.js'
import * as keyRejections from './0011-key-rejections.js'
import * as agents from './0012-agents.js'
import * as chats from './0013-chats.js'
import * as userKeys from './0014-user-keys.js'
import * as prices from './0015-prices.js'

/** Name → step, run in the order of the names. */
export const migrations: Readonly<Record<string, Migration>> = {
  '0001-initial': initial,
  '0002-daemon-keys': daemonKeys,
  '0003-control-plane': controlPlane,
  '0004-operators': operators,
  '0005-record-facts': recordFacts,
  '0006-ends': ends,
  '0007-erasures': erasures,
  '0008-feed-by-statement': feedByStatement,
  '0009-interception-kinds': interceptionKinds,
  '0010-injection': injection,
  '0011-key-rejections': keyRejections,
  '0012-agents': agents,
  '0013-chats': chats,
  '0014-user-keys': userKeys,
  '0015-prices': prices,
}

/**
 * Brings the database to the schema of this version. Several processes may call at once: kysely holds a lock, and one
 * process does the work.
 * @param describe the database's name in messages
 * @throws PRECONDITION_FAILED `database_newer` if the database has a step that this version does not know;
 *   INTERNAL_SERVER_ERROR, with the database's words and error as cause, if the database cannot be read or a step
 *   fails. Nothing is changed then.
 */
export async function migrate<Schema>(db: Kysely<Schema>, describe: string): Promise<void> {
  const applied = await appliedMigrations(db).catch((error: unknown) => {
    throw failed(`${describe} does not tell its version`, error)
  })
  const unknown = applied.filter(name => !Object.hasOwn(migrations, name))
  if (unknown.length > 0) {
    throw rpcError(
      'database_newer',
      `${describe} was migrated by a newer version of aibridge: it has ${unknown.join(', ')}, and this version knows up to ` +
        `${Object.keys(migrations).at(-1)}. Nothing was changed. Start the newer version, or restore a backup made before the upgrade.`,
    )
  }
  // Also for a role that may not change the schema.
  if (applied.length === Object.keys(migrations).length) return
  const migrator = new Migrator({ db, provider: { getMigrations: async () => ({ ...migrations }) } })
  for (let attempt = 1; ; attempt++) {
    const { error, results } = await migrator.migrateToLatest()
    if (error === undefined) return
    // A step locks whole tables, and may wait for a transaction of a server that waits for the step.
    if (isDeadlock(error) && attempt < maxAttempts) continue
    const step = results?.find(result => result.status === 'Error')?.migrationName ?? 'the migration'
    throw failed(`${step} failed on ${describe}`, error)
  }
}

/** PostgreSQL takes a second to find a deadlock. */
const maxAttempts = 5

function isDeadlock(error: unknown): boolean {
  return Reflect.get(Object(error), 'code') === '40P01'
}

function failed(what: string, cause: unknown): RpcError {
  const words = cause instanceof Error ? cause.message : String(cause)
  return new RpcError('INTERNAL_SERVER_ERROR', `${what}: ${words}. Nothing was changed.`, { cause })
}

async function appliedMigrations<Schema>(db: Kysely<Schema>): Promise<string[]> {
  const table = await sql<{ exists: boolean }>`select to_regclass('kysely_migration') is not null as exists`.execute(db)
  if (!table.rows[0]?.exists) return []
  const applied = await sql<{ name: string }>`select name from kysely_migration order by name`.execute(db)
  return applied.rows.map(row => row.name)
}
