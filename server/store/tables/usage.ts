/** Sums over records, in SQL; the guarantees stand in the store's contract. */
import { type Kysely, type RawBuilder, sql } from 'kysely'
import { type UsageGroup, type UsageKey, type UsageRow, usageGroups } from '../../../shared/contract/admin/usage.js'
import type { Database } from '../sql/schema.js'
import { inTransaction } from '../sql/transaction.js'
import type { UsageQuery, UsageStore } from '../store.js'

/** The sums of a database. */
export function usageStore(db: Kysely<Database>): UsageStore {
  return {
    readUsage: query => readUsage(db, query),
    readUsagePage: (query, after) => readUsagePage(db, query, after),
  }
}

/**
 * Group → its column, and the expression that gives it; texts collated so that they sort the same on every server.
 * A token usage may have a billed model of its own.
 */
const groupColumns: Record<UsageGroup, GroupColumn> = {
  user: { name: 'user_id', value: sql`i.initiator_id`, type: sql`uuid`, isUuid: true },
  key: { name: 'key_id', value: sql`i.api_key_id collate "C"`, type: sql`text` },
  provider: { name: 'provider', value: sql`i.provider_name collate "C"`, type: sql`text` },
  model: {
    name: 'model',
    value: sql`i.model collate "C"`,
    ofTokens: sql`coalesce(t.model, i.model) collate "C"`,
    type: sql`text`,
  },
  client: { name: 'client', value: sql`i.client collate "C"`, type: sql`text` },
  day: { name: 'day', value: sql`to_char(i.started_at at time zone 'UTC', 'YYYY-MM-DD') collate "C"`, type: sql`text` },
}

/** The counts of a part of the totals. */
type UsagePart = 'interceptions' | 'tokens'

interface GroupColumn {
  name: string
  value: RawBuilder<unknown>
  /** the expression over a token usage `t`, if it differs */
  ofTokens?: RawBuilder<unknown>
  type: RawBuilder<unknown>
  isUuid?: true
}

/** Group → the field of a row that names it. */
const fieldOf: Record<UsageGroup, 'userId' | 'keyId' | 'provider' | 'model' | 'client' | 'day'> = {
  user: 'userId',
  key: 'keyId',
  provider: 'provider',
  model: 'model',
  client: 'client',
  day: 'day',
}

/**
 * Sums are numeric, which not every driver gives as a number, so they are cast; they are whole and below 2^53.
 *
 * Interceptions are counted by themselves, and tokens summed by themselves: joined, an interception would count once
 * for each of its token usages.
 */
async function readUsage(db: Kysely<Database>, query: UsageQuery): Promise<UsageRow[]> {
  const order = sql`s.day desc, s.input + s.output + s.cache_read + s.cache_write desc, s.interceptions desc, s.user_id, s.key_id,
    s.provider, s.model, s.client`
  return runTotals(db, totalsOf(query, { order, limit: query.limit }))
}

/** Reads the rows behind `after` in the order of their groups: a group that is null for all sorts nothing. */
function readUsagePage(db: Kysely<Database>, query: UsageQuery, after: UsageKey | undefined): Promise<UsageRow[]> {
  const columns = query.by.map(group => ({ group, column: groupColumns[group] }))
  // Nulls, of clients without a name, are sorted as the empty text.
  const key = columns.map(({ column }) => keyOf(column, sql`s.${sql.ref(column.name)}`))
  const order = key.length > 0 ? sql.join(key) : sql`1`
  if (!after || columns.length === 0) return runTotals(db, totalsOf(query, { order, limit: query.limit }))
  const last = columns.map(({ column, group }) => keyOf(column, sql`${after[fieldOf[group]]}::${column.type}`))
  const behind = sql`where (${sql.join(key)}) > (${sql.join(last)})`
  return runTotals(db, totalsOf(query, { order, limit: query.limit, behind }))
}

function keyOf({ isUuid }: GroupColumn, value: RawBuilder<unknown>): RawBuilder<unknown> {
  return isUuid ? value : sql`coalesce(${value}, '') collate "C"`
}

function totalsOf(
  query: UsageQuery,
  { order, limit, behind = sql`` }: { order: RawBuilder<unknown>; limit: number; behind?: RawBuilder<unknown> },
): RawBuilder<UsageRow> {
  const grouped = usageGroups.filter(group => query.by.includes(group))
  const expressionOf = ({ value, ofTokens = value }: GroupColumn, of: UsagePart) => (of === 'tokens' ? ofTokens : value)
  const groupBy = (of: UsagePart) =>
    grouped.length === 0
      ? sql``
      : sql`group by ${sql.join(grouped.map(group => expressionOf(groupColumns[group], of)))}`
  const groups = (of: UsagePart) =>
    sql.join(
      usageGroups.map(group => {
        const column = groupColumns[group]
        const value = grouped.includes(group) ? expressionOf(column, of) : sql`null::${column.type}`
        return sql`${value} as ${sql.ref(column.name)}`
      }),
    )
  const names = sql.join(usageGroups.map(group => sql.ref(groupColumns[group].name)))
  return sql<UsageRow>`
    with parts as (
      select ${groups('interceptions')}, count(*) as interceptions, 0 as input, 0 as output, 0 as cache_read, 0 as cache_write,
        null::numeric as cost, 0 as unpriced, 0 as estimated
      from interceptions i where ${conditionOf(query, 'interceptions')} ${groupBy('interceptions')}
      union all
      select ${groups('tokens')}, 0, sum(t.input_tokens), sum(t.output_tokens), sum(t.cache_read_input_tokens), sum(t.cache_write_input_tokens),
        sum(t.cost_nanos), count(*) filter (where t.cost_nanos is null), count(*) filter (where t.cost_estimated)
      from interceptions i join token_usages t on t.interception_id = i.id
      where ${conditionOf(query, 'tokens')} ${groupBy('tokens')}
    ),
    totals as (
      select ${names}, sum(interceptions) as interceptions, coalesce(sum(input), 0) as input, coalesce(sum(output), 0) as output,
        coalesce(sum(cache_read), 0) as cache_read, coalesce(sum(cache_write), 0) as cache_write, sum(cost) as cost,
        coalesce(sum(unpriced), 0) as unpriced, coalesce(sum(estimated), 0) as estimated
      from parts group by ${names}
    )
    select s.user_id as "userId", u.username, s.key_id as "keyId", s.provider, s.model, s.client, s.day, s.interceptions::float8,
      s.input::float8 as "inputTokens", s.output::float8 as "outputTokens", s.cache_read::float8 as "cacheReadInputTokens",
      s.cache_write::float8 as "cacheWriteInputTokens", s.cost::text as "costNanos", s.unpriced::float8 as "unpricedRecords",
      s.estimated::float8 as "estimatedRecords"
    from totals s left join users u on u.id = s.user_id ${behind}
    order by ${order}
    limit ${limit}`
}

function runTotals(db: Kysely<Database>, totals: RawBuilder<UsageRow>): Promise<UsageRow[]> {
  return inTransaction(db, async tx => {
    // The one statement that reads whole tables: what other sessions do without (postgres.ts) is right here.
    await sql`set local enable_seqscan = on`.execute(tx)
    await sql`set local enable_hashjoin = on`.execute(tx)
    return (await totals.execute(tx)).rows
  })
}

function conditionOf(query: UsageQuery, of: UsagePart): RawBuilder<unknown> {
  const { initiatorId, key, provider, model, client, endedBy, interceptionKind, from, to } = query
  const conditions = [sql`true`]
  if (initiatorId !== undefined) conditions.push(sql`i.initiator_id = ${initiatorId}::uuid`)
  if (provider !== undefined) conditions.push(sql`(i.provider_name = ${provider} or i.provider = ${provider})`)
  if (model !== undefined)
    conditions.push(sql`${of === 'tokens' ? sql`coalesce(t.model, i.model)` : sql`i.model`} = ${model}`)
  if (key !== undefined) conditions.push(sql`i.api_key_id = ${key}`)
  if (client !== undefined) conditions.push(sql`i.client = ${client}`)
  if (endedBy !== undefined) conditions.push(sql`i.ended_by = ${endedBy}`)
  if (interceptionKind !== undefined) {
    conditions.push(sql`coalesce(i.interception_kind, 'model') = ${interceptionKind}`)
  }
  if (from) conditions.push(sql`i.started_at >= ${from}::timestamptz`)
  if (to) conditions.push(sql`i.started_at < ${to}::timestamptz`)
  return sql.join(conditions, sql` and `)
}
