/**
 * The statements that write records and the feed.
 *
 * A new row gets its position in the feed in the same statement, by one insert for all rows. Positions are drawn in
 * commit order (migration 0003): under a lock that lasts until the commit, and taken when nothing is left that may wait
 * for another transaction. The triggers that do the same for servers of older versions pass over rows of transactions
 * that are marked (migration 0008).
 *
 * PostgreSQL expects a hundred rows of any JSON text, and would rather read a whole table into a hash than look up a
 * hundred ids in an index. A scalar sub-select, or a lateral one with `offset 0`, always runs row by row and so always
 * looks up; an array of ids does too.
 */
import { feedLock } from '../migrations/0003-control-plane.js'
import { linkedBefore } from './lineage.js'
import { type ChildKind, childKinds, rowColumns, tableOf } from './record-rows.js'

/** The kinds of records that follow their interception. */
export type FollowingKind = ChildKind | 'interceptionEnded'

/** In the write order of their tables: two transactions never wait for each other in a circle. */
export const followingKinds: readonly FollowingKind[] = [...childKinds, 'interceptionEnded']

/** The children that others find by the user: those of a tool call or a response. */
const inheriting: ReadonlySet<ChildKind> = new Set(['tokenUsage', 'promptUsage', 'toolUsage'])

/**
 * Returns the statement that inserts interceptions whose ids are not stored yet. Its parameter is a list of rows, in
 * the order of their ids: two transactions that write the same ids wait for each other, and never in a circle. The row
 * count is the number of new rows.
 * @param continuing whether a row may continue another interception; needs the locks of the initiators then
 * @param noted whether the new rows are added to the feed; otherwise {@link followingStatement} does that
 */
export function interceptionsStatement({ continuing, noted }: { continuing: boolean; noted: boolean }): string {
  return keep(`interceptions ${continuing} ${noted}`, () => {
    const insert = insertInterceptions(continuing)
    if (!noted) return `with ${marked} ${insert}`
    return withFeed([`new_interceptions as (${insert} returning id)`], [newRows('interception', 'new_interceptions')])
  })
}

/**
 * Returns the statement that inserts children whose ids are not stored yet and whose interceptions are stored, and ends
 * interceptions without an end of their daemon. Each kind has one parameter: a list of rows in the order of their ids,
 * or for ends an object from the interception's id to its columns. The row count is the number of new rows and ends.
 * @param notes whether a last parameter lists ids of interceptions, of which those that are new in this transaction are
 *   added to the feed, and counted
 */
export function followingStatement(kinds: readonly FollowingKind[], notes: boolean): string {
  return keep(`${kinds} ${notes}`, () => {
    const parts = kinds.map((kind, index) => {
      const parameter = `$${index + 1}`
      return `${newTable(kind)} as (${kind === 'interceptionEnded' ? setEnds(parameter) : insertChildren(kind, parameter)} returning id)`
    })
    const rows = kinds.map(kind => newRows(kind, newTable(kind)))
    if (notes) rows.unshift(newRows('interception', 'new_interceptions'))
    if (notes) parts.unshift(`new_interceptions as (${newOf(`$${kinds.length + 1}`)})`)
    return withFeed(parts, rows)
  })
}

const statements = new Map<string, string>()

/** Statements are known by their text: each text is made once. */
function keep(key: string, make: () => string): string {
  const statement = statements.get(key) ?? make()
  statements.set(key, statement)
  return statement
}

/** The setting is read when a row is written, so each part that writes takes its rows from a join with this. */
const marked = `marked as materialized (select set_config('aibridge.feed', 'by_statement', true))`

/** `noted` counts the rows first, so every write of the statement is done when the lock is taken. */
function withFeed(parts: readonly string[], rows: readonly string[]): string {
  return `
    with ${marked},
    ${parts.join(',\n')},
    new_rows as (${rows.join(' union all ')}),
    noted as materialized (
      select pg_advisory_xact_lock(${feedLock}), pg_notify('aibridge_records', '')
      from (select count(*) as count from new_rows) as counted where count > 0
    )
    insert into record_feed (kind, id) select new_rows.kind, new_rows.id from noted cross join new_rows`
}

function newRows(kind: string, table: string): string {
  return `select '${kind}' as kind, id from ${table}`
}

function newTable(kind: FollowingKind): string {
  return kind === 'interceptionEnded' ? 'new_ends' : `new_${tableOf(kind)}`
}

function insertInterceptions(continuing: boolean): string {
  const { names, definition } = rowColumns('interception')
  const columns = names.map(name => `r.${name}`).join(', ')
  const from = `marked cross join json_to_recordset($1::json) as r(${definition})`
  if (!continuing) {
    return `insert into interceptions (${names.join(', ')}) select ${columns} from ${from} on conflict (id) do nothing`
  }
  return `
    insert into interceptions (${names.join(', ')}, linked_id, parent_id, root_id)
    select ${columns}, p.id, p.id, coalesce(p.root_id, p.id)
    from ${from} left join lateral (
      select i.id, i.root_id from interceptions i where i.id = ${linkedBefore('r')} offset 0
    ) as p on true
    on conflict (id) do nothing`
}

function insertChildren(kind: ChildKind, parameter: string): string {
  const { names, definition } = rowColumns(kind)
  const inherits = inheriting.has(kind)
  return `
    insert into ${tableOf(kind)} (${names.join(', ')}${inherits ? ', initiator_id' : ''})
    select ${names.map(name => `r.${name}`).join(', ')}${inherits ? ', i.initiator_id' : ''}
    from marked cross join json_to_recordset(${parameter}::json) as r(${definition})
    cross join lateral (select x.initiator_id from interceptions x where x.id = r.interception_id offset 0) as i
    on conflict (id) do nothing`
}

/** Reads each end by its key: a join with a list would compare each interception with each end. */
function setEnds(parameter: string): string {
  const field = (name: string) => `(${parameter}::jsonb -> i.id::text ->> '${name}')`
  return `
    update interceptions i
    set ended_at = greatest(${field('ended_at')}::timestamptz, i.started_at), ended_by = null,
      error_type = ${field('error_type')}, error_message = ${field('error_message')},
      credential_hint = case when i.credential_kind = 'centralized'
        then coalesce(${field('credential_hint')}, i.credential_hint) else i.credential_hint end
    from marked
    where i.id = any(array(select jsonb_object_keys(${parameter}::jsonb)::uuid))
      and (i.ended_at is null or i.ended_by is not null)`
}

/** Returns SQL for the interceptions that this transaction has inserted: nothing else in it writes their rows yet. */
function newOf(parameter: string): string {
  return `
    select i.id from json_array_elements_text(${parameter}::json) as r
    cross join lateral (
      select x.id from interceptions x where x.id = r.value::uuid and x.xmin = pg_current_xact_id()::xid offset 0
    ) as i`
}
