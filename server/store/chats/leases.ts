/**
 * Leases of chats, by the database's clock. Taking a chat gives it the next fence and a new version, so watchers learn
 * of the new runner; a renewal changes no version. Locks are taken in the order of the ids, or not waited for.
 */
import { type Kysely, type RawBuilder, sql } from 'kysely'
import type { ChatRow, ChatStore, RunningChat } from '../contract/chats.js'
import type { Database } from '../sql/schema.js'
import { inTransaction } from '../sql/transaction.js'
import { type ChatRecord, chatColumns, chatOf } from './chat-rows.js'

const isActive = sql`status in ('running', 'interrupting')`

/** Takes chats whose lease has ended, the longest without a lease first; chats in another transaction are skipped. */
export async function acquireChats(
  db: Kysely<Database>,
  { runner, limit, leaseMs }: { runner: string; limit: number; leaseMs: number },
): Promise<ChatRow[]> {
  // A subquery that locks may run once for each row of a join, and then takes more rows than its limit; a materialized
  // one runs once.
  const { rows } = await sql<ChatRecord>`
    with due as materialized (
      select id from chats where ${isActive} and (lease_until is null or lease_until <= now())
      order by lease_until nulls first limit ${limit} for no key update skip locked
    )
    update chats c set ${takenBy(runner, leaseMs)} from due where c.id = due.id returning ${chatColumns}`.execute(db)
  return rows.map(chatOf)
}

/** Takes one chat, whatever its lease; with `interruptedAt` only for this interrupt. */
export async function takeChat(
  db: Kysely<Database>,
  { id, runner, leaseMs, interruptedAt }: Parameters<ChatStore['takeChat']>[0],
): Promise<ChatRow | null> {
  // The history keeps its version until the interrupt is finished, so the version names the interrupt.
  const condition =
    interruptedAt === undefined
      ? isActive
      : sql`status = 'interrupting' and history_version = ${interruptedAt}::integer`
  const { rows } = await sql<ChatRecord>`
    update chats c set ${takenBy(runner, leaseMs)} where c.id = ${id}::uuid and ${condition}
    returning ${chatColumns}`.execute(db)
  return rows[0] ? chatOf(rows[0]) : null
}

function takenBy(runner: string, leaseMs: number): RawBuilder<unknown> {
  return sql`runner = ${runner}::uuid, fence = c.fence + 1, version = c.version + 1, lease_until = ${after(leaseMs)}`
}

/** Renews leases, and returns the rows of all given chats that exist. */
export function renewChats(
  db: Kysely<Database>,
  { runner, chats, leaseMs }: { runner: string; chats: readonly RunningChat[]; leaseMs: number },
): Promise<ChatRow[]> {
  if (chats.length === 0) return Promise.resolve([])
  return inTransaction(db, async tx => {
    await sql`
      update chats c set lease_until = ${after(leaseMs)} from ${held(runner, chats)} as held where c.id = held.id`.execute(
      tx,
    )
    // A second statement sees a row as it is behind a lock that the first one has waited for.
    const ids = `{${chats.map(({ id }) => id).join(',')}}`
    const { rows } = await sql<ChatRecord>`
      select ${chatColumns} from chats c where c.id = any(${ids}::uuid[])`.execute(tx)
    return rows.map(chatOf)
  })
}

/** Ends leases: any server may take the chats at once. */
export async function releaseChats(
  db: Kysely<Database>,
  { runner, chats }: { runner: string; chats: readonly RunningChat[] },
): Promise<void> {
  if (chats.length === 0) return
  await sql`
    update chats c set runner = null, lease_until = null, version = c.version + 1
    from ${held(runner, chats)} as held where c.id = held.id`.execute(db)
}

/** Locks and selects the chats whose runner and fence are the given ones. */
function held(runner: string, chats: readonly RunningChat[]): RawBuilder<unknown> {
  return sql`(
    select chats.id from json_to_recordset(${JSON.stringify(chats)}::json) as r(id uuid, fence bigint)
    join chats on chats.id = r.id and chats.fence = r.fence and chats.runner = ${runner}::uuid
    order by chats.id for no key update of chats
  )`
}

function after(leaseMs: number): RawBuilder<Date> {
  return sql<Date>`now() + ${leaseMs}::integer * interval '1 ms'`
}
