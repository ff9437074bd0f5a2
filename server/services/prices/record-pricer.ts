/** Prices the records of tokens before they are stored. */
import { createHash } from 'node:crypto'
import type { InterceptionFacts, NormalRecord, RecordCost, RecordPriceStore, StoredRecord } from '../../store/store.js'
import { billedUsageOf, servedModelOf } from './billed-usage.js'
import { costOf, type Price } from './price.js'
import type { PriceBook, UnpricedReason } from './price-book.js'

/** Prices records. */
export interface RecordPricer {
  /**
   * Sets the costs of the records of tokens in `records`, in place. A record without a price stays without a cost.
   * Rejects as the store does.
   */
  price(records: readonly StoredRecord[]): Promise<void>
  /** Returns the cost of one record of tokens. */
  costOf(usage: PricedUsage, facts: InterceptionFacts): RecordCost | { unpriced: string }
}

/** The fields of a record of tokens that decide its cost. */
export type PricedUsage = Pick<
  NormalRecord<'tokenUsage'>,
  'inputTokens' | 'outputTokens' | 'cacheReadInputTokens' | 'cacheWriteInputTokens' | 'createdAt' | 'model'
> & { metadata?: NormalRecord<'tokenUsage'>['metadata'] | null }

export interface RecordPricerOptions {
  book: Pick<PriceBook, 'ready' | 'priceOf' | 'changed'>
  store: RecordPriceStore
  /** Counts a record without a price. */
  onUnpriced?: ((reason: UnpricedReason | 'no_rate') => void) | undefined
}

/** Interceptions whose facts are kept at hand: records of tokens mostly come seconds after their interception. */
const maxInterceptions = 10_000

/** Time between two looks for providers that are not known. */
const askAgainMs = 1_000

export function createRecordPricer({ book, store, onUnpriced }: RecordPricerOptions): RecordPricer {
  const recent = new Map<string, InterceptionFacts>()
  /** prices that are stored, by the object and by id: the book returns the same object for a day */
  const ids = new WeakMap<Price, string>()
  const stored = new Set<string>()

  let askedAt = Number.NEGATIVE_INFINITY
  function mayAskAgain(): boolean {
    const now = performance.now()
    if (now - askedAt < askAgainMs) return false
    askedAt = now
    return true
  }

  function note(id: string, facts: InterceptionFacts): void {
    recent.set(id, facts)
    if (recent.size <= maxInterceptions) return
    for (const oldest of recent.keys()) {
      recent.delete(oldest)
      break
    }
  }

  function idOf(price: Price): string {
    const known = ids.get(price)
    if (known !== undefined) return known
    const id = createHash('sha256').update(JSON.stringify(price)).digest('hex').slice(0, 32)
    ids.set(price, id)
    return id
  }

  function cost(
    usage: PricedUsage,
    { providerName, model, startedAt }: InterceptionFacts,
  ): RecordCost | { unpriced: string } {
    const billed = usage.model ?? servedModelOf(usage.metadata)
    const at = startedAt
    let found = book.priceOf({ providerName, model: billed ?? model, at })
    // What an operator says of the name that was asked for holds for the names behind it.
    if (billed !== undefined && usage.model === undefined && 'unpriced' in found) {
      const asked = book.priceOf({ providerName, model, at })
      if ('price' in asked && (asked.price.match === 'own' || asked.price.match === 'alias')) found = asked
    }
    if ('unpriced' in found) return found
    const { price } = found
    const result = costOf(price, billedUsageOf(usage))
    if ('unpriced' in result) return result
    return { priceId: idOf(price), price, nanos: result.nanos, isEstimated: usage.metadata?.estimated === true }
  }

  async function factsOf(
    records: readonly StoredRecord<'tokenUsage'>[],
  ): Promise<ReadonlyMap<string, InterceptionFacts>> {
    const facts = new Map<string, InterceptionFacts>()
    const missing = new Set<string>()
    for (const { record } of records) {
      const known = recent.get(record.interceptionId)
      if (known) facts.set(record.interceptionId, known)
      else missing.add(record.interceptionId)
    }
    if (missing.size === 0) return facts
    for (const { id, ...found } of await store.findInterceptionFacts([...missing])) {
      note(id, found)
      facts.set(id, found)
    }
    return facts
  }

  return {
    costOf: cost,
    async price(records) {
      const usages: StoredRecord<'tokenUsage'>[] = []
      for (const stored of records) {
        if (stored.kind === 'tokenUsage') usages.push(stored)
        else if (stored.kind === 'interception') {
          const { id, providerName, model, startedAt } = stored.record
          note(id, { providerName, model, startedAt })
        }
      }
      if (usages.length === 0) return
      await book.ready()
      const facts = await factsOf(usages)
      const added: { id: string; price: Price }[] = []
      for (const usage of usages) {
        const of = facts.get(usage.record.interceptionId)
        if (!of) continue
        let result = cost(usage.record, of)
        if ('unpriced' in result && result.unpriced === 'unknown_provider' && mayAskAgain()) {
          // A provider that was added a moment ago.
          book.changed()
          await book.ready()
          result = cost(usage.record, of)
        }
        if ('unpriced' in result) {
          onUnpriced?.(isReason(result.unpriced) ? result.unpriced : 'no_rate')
          continue
        }
        usage.cost = result
        if (!stored.has(result.priceId)) added.push({ id: result.priceId, price: result.price as Price })
      }
      if (added.length === 0) return
      await store.keepPrices(added)
      for (const { id } of added) stored.add(id)
    },
  }
}

function isReason(text: string): text is UnpricedReason {
  return text === 'unknown_provider' || text === 'no_list' || text === 'unknown_model'
}
