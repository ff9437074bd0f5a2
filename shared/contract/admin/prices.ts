/** Prices: what operators set, what a price is made of, and what has none. */
import { z } from 'zod'
import { name, time } from '../fields.js'
import { adminLimits } from '../limits.js'

/** A decimal without a sign, such as `0.075`; at most twelve digits before the point and behind it. */
export const decimal = z.string().regex(/^\d{1,12}(?:\.\d{1,12})?$/, 'must be a decimal such as 0.075, without a sign')

/** The name of a service tier, of a speed (`speed:fast`) or of a place (`geo:us`). */
const mode = z.string().regex(/^[a-z0-9][a-z0-9:_-]{0,63}$/, 'must be a name such as priority, speed:fast or geo:us')

const rate = z.object({
  base: decimal,
  tiers: z
    .array(z.object({ above: z.number().int().min(0).max(1e12), rate: decimal }))
    .max(8)
    .optional(),
})

/**
 * Rates that an operator sets: USD for a million tokens, `webSearch` for a thousand searches. A tier holds for the
 * whole request if its input, with cache reads and writes, has more than `above` tokens.
 */
export const ownRates = z.object({
  input: rate,
  output: rate,
  cacheRead: rate.optional(),
  cacheWrite: rate.optional(),
  cacheWrite1h: rate.optional(),
  webSearch: rate.optional(),
})

/** Rates that an operator sets. */
export type OwnRates = z.output<typeof ownRates>

/** A name of a price list. */
const listName = z.string().regex(/^[a-z0-9][a-z0-9_-]{0,63}$/, 'must be the name of a price list')

const priceKey = { provider: name.optional(), model: name }

/**
 * Sets the price of a model, for records from now on: rates, or the model of a list whose price holds (`factor`: times
 * so much), or multipliers alone, beside the price of the list. Without `provider` it holds at every provider that has
 * none of its own.
 */
export const pricesSetInput = z
  .object({
    ...priceKey,
    rates: ownRates.optional(),
    aliasOf: z.object({ list: listName, model: name, factor: decimal.optional() }).optional(),
    multipliers: z
      .record(mode, decimal)
      .refine(value => Object.keys(value).length <= 32, 'must have at most 32 multipliers')
      .optional(),
  })
  .refine(({ rates, aliasOf }) => !(rates && aliasOf), 'rates and aliasOf exclude each other')
  .refine(
    ({ rates, aliasOf, multipliers }) => rates ?? aliasOf ?? multipliers,
    'rates, aliasOf or multipliers must be given',
  )

/** Removes the price that an operator has set. */
export const pricesRemoveInput = z.object(priceKey)

/** Reads the prices that operators have set, and the models without a price since a time; default: 30 days ago. */
export const pricesListInput = z.object({ since: time.optional() })

/** Explains the price of a model at a provider, at a time; default: now. */
export const pricesExplainInput = z.object({ provider: name, model: name, at: time.optional() })

/** Prices records without a cost, at most `limit`; `cursor` is the `nextCursor` of the call before. */
export const pricesBackfillInput = z.object({
  from: time.optional(),
  to: time.optional(),
  cursor: z.string().max(256).optional(),
  limit: z.number().int().min(1).max(adminLimits.maxBackfill).default(adminLimits.maxBackfill),
})

/** A price that an operator has set. */
export interface ShownOwnPrice {
  /** null: every provider */
  provider: string | null
  model: string
  rates: OwnRates | null
  aliasOf: { list: string; model: string; factor?: string | undefined } | null
  multipliers: Record<string, string> | null
  updatedAt: Date
}

/** A model with records without a price. */
export interface UnpricedModel {
  /** the configured name */
  provider: string
  model: string
  records: number
  /** of all classes */
  tokens: number
  lastAt: Date
  /**
   * why a request of now would have no price: `unknown_provider`, `no_list`, `unknown_model`; null: it would have one,
   * unless a part of it has no rate
   */
  reason: string | null
}

/** Prices that are set, and models without one. */
export interface PricesList {
  own: ShownOwnPrice[]
  unpriced: UnpricedModel[]
}

/** The price of a model, step by step. */
export interface PriceExplanation {
  provider: string
  model: string
  at: Date
  /** the list of the provider; null: none */
  list: string | null
  /** null: unpriced, for the reason */
  price: {
    list: string
    model: string
    match: 'exact' | 'date' | 'alias' | 'own'
    source: string
    factor: string | null
    multipliers: Record<string, string>
    rates: ShownRate[]
  } | null
  reason: string | null
  /** names of the list that resemble the model; none if it has a price */
  similar: string[]
}

/** What one class costs. */
export interface ShownRate {
  class: string
  /** USD for a million tokens, or for a thousand searches; null: a request with this class is unpriced */
  rate: string | null
  /** `list`: as the list says; `input`, `output`: as that class; `input+list`: the list's rate on top of input */
  basis: 'list' | 'input' | 'output' | 'input+list' | null
  tiers: { above: number; rate: string }[]
}

/** The outcome of a part of a backfill. */
export interface BackfillOutput {
  priced: number
  unpriced: number
  nextCursor: string | null
}
