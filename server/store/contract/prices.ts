/** The questions about prices: those of operators, those that priced records, and records without a price. */
import type { OwnRates } from '../../../shared/contract/admin/prices.js'
import type { CheckedRecord } from '../../../shared/contract/recorder.js'

/** A price, or another name of a model, that an operator has set. */
export interface OwnPrice {
  /** the configured name of a provider; empty: every provider without one of its own */
  provider: string
  model: string
  /** null for an alias, and for multipliers alone */
  rates: OwnRates | null
  /** the model of a list whose price holds, multiplied by `factor` */
  aliasOf: { list: string; model: string; factor?: string | undefined } | null
  /** beside those of the list */
  multipliers: Record<string, string> | null
  updatedAt: Date
}

/** Prices that operators have set. */
export interface OwnPriceStore {
  /** Sorted by provider, then model. */
  listOwnPrices(): Promise<OwnPrice[]>
}

/** Changes of the prices that operators have set. */
export interface OwnPriceChanges {
  /** Replaces the price of a model at a provider. */
  setOwnPrice(price: Omit<OwnPrice, 'updatedAt'>): Promise<OwnPrice>
  /** Returns whether there was one. */
  removeOwnPrice(key: { provider: string; model: string }): Promise<boolean>
}

/** The cost of a record of tokens, which never changes. */
export interface RecordCost {
  /** of a price that {@link RecordPriceStore.keepPrices} has stored before */
  priceId: string
  /** the price, for the caller; not stored with the record */
  price: object
  nanos: bigint
  /** whether the counts, or the price of the day, are estimates */
  isEstimated: boolean
}

/** The facts of an interception that decide the price of its records. */
export interface InterceptionFacts {
  providerName: string
  model: string
  startedAt: Date
}

/** Pricing of records. */
export interface RecordPriceStore {
  /** Returns the facts of the stored interceptions among the ids. */
  findInterceptionFacts(ids: readonly string[]): Promise<(InterceptionFacts & { id: string })[]>
  /** Stores prices under ids that stand for their content. */
  keepPrices(prices: readonly { id: string; price: object }[]): Promise<void>
}

/** A record of tokens without a cost, and what its price needs. */
export interface UnpricedRecord
  extends InterceptionFacts,
    Pick<
      CheckedRecord<'tokenUsage'>,
      'id' | 'inputTokens' | 'outputTokens' | 'cacheReadInputTokens' | 'cacheWriteInputTokens' | 'createdAt'
    > {
  /** the billed model; null: the interception's */
  billedModel: string | null
  metadata: CheckedRecord<'tokenUsage'>['metadata'] | null
}

/** Records without a cost. */
export interface UnpricedStore {
  /** Returns the models with records without a cost since a time, most records first, at most `limit`. */
  listUnpricedModels(query: { since: Date; limit: number }): Promise<UnpricedModelRow[]>
  /** Returns records without a cost behind the position `after`, by creation, then id, at most `limit`. */
  listUnpriced(query: {
    from?: Date | undefined
    to?: Date | undefined
    after?: { createdAt: Date; id: string } | undefined
    limit: number
  }): Promise<UnpricedRecord[]>
  /** Sets the costs of records that have none, and returns the number of those. */
  setCosts(costs: readonly { id: string; priceId: string; nanos: bigint }[]): Promise<number>
}

/** A model with records without a cost. */
export interface UnpricedModelRow {
  provider: string
  model: string
  records: number
  tokens: number
  lastAt: Date
}
