/**
 * Advisory locks of initiators, which make lineage the same in any order of concurrent transactions (lineage.ts).
 *
 * A lock is per initiator, not per tool call: a chain of interceptions has a tool call for each link, and the root at
 * the top has to reach all of them. A transaction takes its locks first and in one order, so no two transactions wait
 * for each other in a circle. Its statements see what was committed before the locks were taken, because each has its
 * own snapshot.
 */
import type { Statement } from '../sql/pipeline.js'

/** The initiators of a transaction. */
export interface InitiatorsToLock {
  /** ids of interceptions that may be stored; their initiators get the shared lock */
  interceptionIds: readonly string[]
  initiators: readonly { id: string; exclusive: boolean }[]
}

/**
 * Seed of the keys of our advisory locks, which sets the locks apart from other programs' locks in one database; any
 * number does.
 */
const lockNamespace = 0x61_69_62

/**
 * Returns the statement that takes locks until the end of the transaction, exclusive where any part of the list asks
 * for it. Its row has `found`, the number of interceptions that are stored.
 */
export function lockInitiators({ interceptionIds, initiators }: InitiatorsToLock): Statement {
  return {
    sql: lockStatement,
    parameters: [JSON.stringify(interceptionIds), JSON.stringify(initiators), String(lockNamespace)],
  }
}

/** Returns the statement that takes the exclusive locks of the initiators of stored interceptions. */
export function lockInitiatorsOf(interceptionIds: readonly string[]): Statement {
  return { sql: lockAllStatement, parameters: [JSON.stringify(interceptionIds), String(lockNamespace)] }
}

const initiatorsOf = `
  select (select i.initiator_id from interceptions i where i.id = r.value::uuid) as id
  from json_array_elements_text($1::json) as r`

// The sub-selects are sorted, and count() takes their rows one by one, so the locks are taken in one order.
const lockStatement = `
  with stored as materialized (${initiatorsOf}),
  keys as (
    select hashtextextended(id::text, $3::bigint) as key, bool_or(exclusive) as exclusive
    from (
      select id, false as exclusive from stored
      union all select r.id, r.exclusive from json_to_recordset($2::json) as r(id uuid, exclusive boolean)
    ) as initiators
    where id is not null group by key order by key
  )
  select (select count(id) from stored) as found,
    (select count(case when exclusive then pg_advisory_xact_lock(key) else pg_advisory_xact_lock_shared(key) end) from keys) as locks`

const lockAllStatement = `
  with keys as (
    select hashtextextended(id::text, $2::bigint) as key from (${initiatorsOf}) as initiators
    where id is not null group by key order by key
  )
  select count(pg_advisory_xact_lock(key)) as locks from keys`
