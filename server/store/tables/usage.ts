/** Sums over records, in SQL; the guarantees stand in the store's contract. */
import { type Kysely, type RawBuilder, sql } from 'kysely'
import { type UsageGroup, type UsageRow, usageGroups } from '../../../shared/contract/admin/usage.js'
import type { Database } from '../sql/schema.js'
import { inTransaction } from '../sql/transaction.js'
import type { UsageQuery, UsageStore } from '../store.js'

/** The sums of a database. */
export function usageStore(db: Kysely<Database>): UsageStore {
  return { readUsage: query => readUsage(db, query) }
}

/**
 * Group → its column, and the expression that gives it; texts collated so that they sort the same on every server.
 * A token usage may have a billed model of its own.
 */
const groupColumns: Record<UsageGroup, GroupColumn> = {
  user: { name: 'user_id', value: sql`i.initiator_id`, type: sql`uuid` },
  provider: { name: 'provider', value: sql`i.provider_name collate "C"`, type: sql`text` },
  model: {
    name: 'model',
    value: sql`i.model collate "C"`,
    ofTokens: sql`coalesce(t.model, i.model) collate "C"`,
    type: sql`text`,
  },
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
}

/**
 * Sums are numeric, which not every driver gives as a number, so they are cast; they are whole and below 2^53.
 *
 * Interceptions are counted by themselves, and tokens summed by themselves: joined, an interception would count once
 * for each of its token usages.
 */
async function readUsage(db: Kysely<Database>, query: UsageQuery): Promise<UsageRow[]> {
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
  const totals = sql<UsageRow>`
    with parts as (
      select ${groups('interceptions')}, count(*) as interceptions, 0 as input, 0 as output, 0 as cache_read, 0 as cache_write
      from interceptions i where ${conditionOf(query, 'interceptions')} ${groupBy('interceptions')}
      union all
      select ${groups('tokens')}, 0, sum(t.input_tokens), sum(t.output_tokens), sum(t.cache_read_input_tokens), sum(t.cache_write_input_tokens)
      from interceptions i join token_usages t on t.interception_id = i.id
      where ${conditionOf(query, 'tokens')} ${groupBy('tokens')}
    ),
    totals as (
      select user_id, provider, model, day, sum(interceptions) as interceptions, coalesce(sum(input), 0) as input,
        coalesce(sum(output), 0) as output, coalesce(sum(cache_read), 0) as cache_read, coalesce(sum(cache_write), 0) as cache_write
      from parts group by user_id, provider, model, day
    )
    select s.user_id as "userId", u.username, s.provider, s.model, s.day, s.interceptions::float8, s.input::float8 as "inputTokens",
      s.output::float8 as "outputTokens", s.cache_read::float8 as "cacheReadInputTokens", s.cache_write::float8 as "cacheWriteInputTokens"
    from totals s left join users u on u.id = s.user_id
    order by s.day desc, s.input + s.output + s.cache_read + s.cache_write desc, s.interceptions desc, s.user_id, s.provider, s.model
    limit ${query.limit}`
  return inTransaction(db, async tx => {
    // The one statement that reads whole tables: what other sessions do without (postgres.ts) is right here.
    await sql`set local enable_seqscan = on`.execute(tx)
    await sql`set local enable_hashjoin = on`.execute(tx)
    return (await totals.execute(tx)).rows
  })
}

function conditionOf(query: UsageQuery, of: UsagePart): RawBuilder<unknown> {
  const { initiatorId, provider, model, endedBy, interceptionKind, from, to } = query
  const conditions = [sql`true`]
  if (initiatorId !== undefined) conditions.push(sql`i.initiator_id = ${initiatorId}::uuid`)
  if (provider !== undefined) conditions.push(sql`(i.provider_name = ${provider} or i.provider = ${provider})`)
  if (model !== undefined)
    conditions.push(sql`${of === 'tokens' ? sql`coalesce(t.model, i.model)` : sql`i.model`} = ${model}`)
  if (endedBy !== undefined) conditions.push(sql`i.ended_by = ${endedBy}`)
  if (interceptionKind !== undefined) {
    conditions.push(sql`coalesce(i.interception_kind, 'model') = ${interceptionKind}`)
  }
  if (from) conditions.push(sql`i.started_at >= ${from}::timestamptz`)
  if (to) conditions.push(sql`i.started_at < ${to}::timestamptz`)
  return sql.join(conditions, sql` and `)
}
