import type { z } from 'zod'
import type {
  BackfillOutput,
  PriceExplanation,
  PricesList,
  pricesBackfillInput,
  pricesExplainInput,
  pricesListInput,
  pricesRemoveInput,
  pricesSetInput,
  ShownOwnPrice,
  ShownRate,
} from '../../../shared/contract/admin/prices.js'
import type {
  AuditedWrites,
  OwnPrice,
  OwnPriceStore,
  RecordPriceStore,
  UnpricedRecord,
  UnpricedStore,
} from '../../store/store.js'
import { auditEntry } from '../audit-entry.js'
import { textOf } from '../prices/decimal.js'
import { type BilledClass, billedClasses, type Price, rateOf } from '../prices/price.js'
import type { PriceBook } from '../prices/price-book.js'
import { createRecordPricer } from '../prices/record-pricer.js'
import { unknownRow } from '../unknown-row.js'
import { pageOf } from './pages.js'

/** Sets, explains and applies prices. */
export interface PricesAdmin {
  /** Returns the prices that operators have set, and the models with unpriced records, at most 200. */
  list(input: z.output<typeof pricesListInput>): Promise<PricesList>
  /** Sets a price, for records from now on. */
  set(input: z.output<typeof pricesSetInput>, actor: string): Promise<ShownOwnPrice>
  /** @throws RpcError `NOT_FOUND` (unknown_row) if no such price is set */
  remove(input: z.output<typeof pricesRemoveInput>, actor: string): Promise<ShownOwnPrice>
  explain(input: z.output<typeof pricesExplainInput>): Promise<PriceExplanation>
  /**
   * Prices a part of the records that have no cost, at the prices of the days of their requests, and marks the costs as
   * estimates. A repeated call changes no record a second time.
   * @throws RpcError `BAD_REQUEST` if the cursor is not the `nextCursor` of a call
   */
  backfill(input: z.output<typeof pricesBackfillInput>, actor: string): Promise<BackfillOutput>
}

export interface PricesAdminOptions {
  store: OwnPriceStore & RecordPriceStore & UnpricedStore & AuditedWrites
  priceBook: PriceBook
  now?: () => Date
}

const defaultSinceMs = 30 * 86_400_000
const maxUnpricedModels = 200
const maxSimilar = 10

export function createPricesAdmin({ store, priceBook, now = () => new Date() }: PricesAdminOptions): PricesAdmin {
  const pricer = createRecordPricer({ book: priceBook, store })
  return {
    async list({ since = new Date(now().getTime() - defaultSinceMs) }) {
      await priceBook.ready()
      const [own, unpriced] = await Promise.all([
        store.listOwnPrices(),
        store.listUnpricedModels({ since, limit: maxUnpricedModels }),
      ])
      return {
        own: own.map(toShown),
        unpriced: unpriced.map(row => {
          const found = priceBook.priceOf({ providerName: row.provider, model: row.model, at: now() })
          return { ...row, reason: 'unpriced' in found ? found.unpriced : null }
        }),
      }
    },

    async set({ provider = '', model, rates = null, aliasOf = null, multipliers = null }, actor) {
      const set = await store.audited(
        tables => tables.setOwnPrice({ provider, model, rates, aliasOf, multipliers }),
        () => {
          const details = JSON.parse(JSON.stringify({ provider: provider || null, rates, aliasOf, multipliers }))
          return auditEntry(actor, 'prices.set', model, details)
        },
      )
      priceBook.changed()
      return toShown(set)
    },

    async remove({ provider = '', model }, actor) {
      const set = (await store.listOwnPrices()).find(own => own.provider === provider && own.model === model)
      const isRemoved = await store.audited(
        tables => tables.removeOwnPrice({ provider, model }),
        done => (done ? auditEntry(actor, 'prices.remove', model, { provider: provider || null }) : null),
      )
      priceBook.changed()
      if (!set || !isRemoved) throw unknownRow('price', model)
      return toShown(set)
    },

    async explain({ provider, model, at = now() }) {
      await priceBook.ready()
      const found = priceBook.priceOf({ providerName: provider, model, at })
      const list = priceBook.listOf(provider) ?? null
      if ('unpriced' in found) {
        const similar = list === null ? [] : similarTo(model, priceBook.modelsOf(list))
        return { provider, model, at, list, price: null, reason: found.unpriced, similar }
      }
      const { price } = found
      const { factor = null, multipliers, ...rest } = price
      const rates = billedClasses.map(billed => shownRate(price, billed))
      const shown = { list: rest.list, model: rest.model, match: rest.match, source: rest.source }
      return { provider, model, at, list, price: { ...shown, factor, multipliers, rates }, reason: null, similar: [] }
    },

    async backfill({ limit, cursor, from, to }, actor) {
      await priceBook.ready()
      const { rows, nextCursor } = await pageOf<UnpricedRecord>({
        limit,
        cursor,
        positionOf: ({ createdAt, id }) => ({ time: createdAt, id }),
        read: (after, count) =>
          store.listUnpriced({ from, to, after: after && { createdAt: after.time, id: after.id }, limit: count }),
      })
      const costs = rows.flatMap(({ billedModel, ...row }) => {
        const usage = { ...row, model: billedModel ?? undefined }
        const { providerName, model, startedAt } = row
        const cost = pricer.costOf(usage, { providerName, model, startedAt })
        return 'unpriced' in cost ? [] : [{ id: row.id, ...cost }]
      })
      if (costs.length === 0) return { priced: 0, unpriced: rows.length, nextCursor }
      const prices = [...new Map(costs.map(({ priceId, price }) => [priceId, { id: priceId, price }])).values()]
      const priced = await store.audited(
        async tables => {
          await tables.keepPrices(prices)
          return tables.setCosts(costs)
        },
        records => (records > 0 ? auditEntry(actor, 'prices.backfill', null, { records }) : null),
      )
      return { priced, unpriced: rows.length - costs.length, nextCursor }
    },
  }
}

function toShown({ provider, ...own }: OwnPrice): ShownOwnPrice {
  return { provider: provider === '' ? null : provider, ...own }
}

function shownRate(price: Price, billed: BilledClass): ShownRate {
  const listed = price.rates[billed]
  const tiers = listed?.tiers ?? price.rates.input?.tiers ?? []
  const rate = rateOf(price, billed, 0)
  return {
    class: billed,
    rate: rate ? textOf(rate) : null,
    basis: rate ? basisOf(price, billed) : null,
    tiers: rate ? tiers.map(({ above }) => ({ above, rate: textOf(rateOf(price, billed, above + 1) ?? rate) })) : [],
  }
}

function basisOf(price: Price, billed: BilledClass): ShownRate['basis'] {
  const listed = price.rates[billed]
  if (!listed) return billed === 'outputAudio' || billed === 'outputImage' ? 'output' : 'input'
  const rate = rateOf(price, billed, 0)
  return rate && textOf(rate) !== listed.base ? 'input+list' : 'list'
}

/** Returns names that share the longest beginning with a model. */
function similarTo(model: string, names: readonly string[]): string[] {
  const shared = (name: string): number => {
    let length = 0
    while (length < name.length && name[length] === model[length]) length++
    return length
  }
  return names
    .map(name => ({ name, length: shared(name) }))
    .filter(({ length }) => length >= 4)
    .sort((a, b) => b.length - a.length)
    .slice(0, maxSimilar)
    .map(({ name }) => name)
}
