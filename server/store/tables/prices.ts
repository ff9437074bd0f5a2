/** Prices in SQL; the guarantees stand in the store's contract. */
import { type Kysely, sql } from 'kysely'
import type { OwnRates } from '../../../shared/contract/admin/prices.js'
import type { JsonObject } from '../../../shared/values/text.js'
import type { Database } from '../sql/schema.js'
import type {
  OwnPrice,
  OwnPriceChanges,
  OwnPriceStore,
  RecordPriceStore,
  UnpricedModelRow,
  UnpricedRecord,
  UnpricedStore,
} from '../store.js'

/** The prices of a database. */
export function priceStore(db: Kysely<Database>): OwnPriceStore & OwnPriceChanges & RecordPriceStore & UnpricedStore {
  return {
    async listOwnPrices() {
      const rows = await db.selectFrom('own_prices').selectAll().orderBy('provider').orderBy('model').execute()
      return rows.map(toOwnPrice)
    },

    async setOwnPrice({ provider, model, rates, aliasOf, multipliers }) {
      const definition = JSON.stringify({ rates, aliasOf, multipliers })
      const row = await db
        .insertInto('own_prices')
        .values({ provider, model, definition })
        .onConflict(conflict =>
          conflict.columns(['provider', 'model']).doUpdateSet({ definition, updated_at: sql`now()` }),
        )
        .returningAll()
        .executeTakeFirstOrThrow()
      return toOwnPrice(row)
    },

    async removeOwnPrice({ provider, model }) {
      const { numDeletedRows } = await db
        .deleteFrom('own_prices')
        .where('provider', '=', provider)
        .where('model', '=', model)
        .executeTakeFirst()
      return numDeletedRows > 0n
    },

    findInterceptionFacts: ids =>
      db
        .selectFrom('interceptions')
        .select(['id', 'provider_name as providerName', 'model', 'started_at as startedAt'])
        .where('id', '=', sql<string>`any(${arrayOf(ids)}::uuid[])`)
        .execute(),

    async keepPrices(prices) {
      const values = prices.map(({ id, price }) => ({ id, price: JSON.stringify(price) }))
      await db
        .insertInto('prices')
        .values(values)
        .onConflict(conflict => conflict.doNothing())
        .execute()
    },

    async listUnpricedModels({ since, limit }) {
      const { rows } = await sql<UnpricedModelRow>`
        select i.provider_name as provider, coalesce(t.model, i.model) as model, count(*)::float8 as records,
          sum(t.input_tokens + t.output_tokens + t.cache_read_input_tokens + t.cache_write_input_tokens)::float8 as tokens,
          max(t.created_at) as "lastAt"
        from token_usages t join interceptions i on i.id = t.interception_id
        where t.cost_nanos is null and t.created_at >= ${since}::timestamptz
        group by i.provider_name, coalesce(t.model, i.model)
        order by count(*) desc, i.provider_name collate "C", coalesce(t.model, i.model) collate "C"
        limit ${limit}`.execute(db)
      return rows
    },

    async listUnpriced({ from, to, after, limit }) {
      const conditions = [sql`t.cost_nanos is null`]
      if (from) conditions.push(sql`t.created_at >= ${from}::timestamptz`)
      if (to) conditions.push(sql`t.created_at < ${to}::timestamptz`)
      if (after) conditions.push(sql`(t.created_at, t.id) > (${after.createdAt}::timestamptz, ${after.id}::uuid)`)
      const { rows } = await sql<UnpricedRecord>`
        select t.id, t.created_at as "createdAt", t.model as "billedModel", t.metadata, t.input_tokens as "inputTokens",
          t.output_tokens as "outputTokens", t.cache_read_input_tokens as "cacheReadInputTokens",
          t.cache_write_input_tokens as "cacheWriteInputTokens", i.provider_name as "providerName", i.model,
          i.started_at as "startedAt"
        from token_usages t join interceptions i on i.id = t.interception_id
        where ${sql.join(conditions, sql` and `)}
        order by t.created_at, t.id limit ${limit}`.execute(db)
      return rows
    },

    async setCosts(costs) {
      const rows = JSON.stringify(
        costs.map(({ id, priceId, nanos }) => ({ id, price_id: priceId, nanos: String(nanos) })),
      )
      const { numAffectedRows } = await sql`
        update token_usages t set price_id = c.price_id, cost_nanos = c.nanos, cost_estimated = true
        from json_to_recordset(${rows}::json) as c(id uuid, price_id text, nanos bigint)
        where t.id = c.id and t.cost_nanos is null`.execute(db)
      return Number(numAffectedRows ?? 0)
    },
  }
}

interface OwnPriceRow {
  provider: string
  model: string
  definition: JsonObject | null
  updated_at: Date
}

function toOwnPrice({ provider, model, definition, updated_at: updatedAt }: OwnPriceRow): OwnPrice {
  const {
    rates = null,
    aliasOf = null,
    multipliers = null,
  } = (definition ?? {}) as Partial<{
    rates: OwnRates | null
    aliasOf: OwnPrice['aliasOf']
    multipliers: OwnPrice['multipliers']
  }> // written by setOwnPrice
  return { provider, model, rates, aliasOf, multipliers, updatedAt }
}

function arrayOf(ids: readonly string[]): string {
  return `{${ids.join(',')}}`
}
