/** The price of a model at a moment, and the cost of a usage at a price. */
import { type Decimal, decimalOf, isLess, product, rounded, sum } from './decimal.js'

/**
 * The classes of what is billed. Rates of tokens are in USD for a million tokens, `webSearch` for a thousand searches.
 * - `input` plain input; `cacheWrite` written for five minutes, `cacheWrite1h` for an hour
 * - `…Audio`, `…Image` the part of the input or output that is no text
 */
export const billedClasses = [
  'input',
  'output',
  'cacheRead',
  'cacheWrite',
  'cacheWrite1h',
  'inputAudio',
  'inputImage',
  'outputAudio',
  'outputImage',
  'webSearch',
] as const

/** One of {@link billedClasses}. */
export type BilledClass = (typeof billedClasses)[number]

/** A rate as decimal text. A tier holds for the whole request if its input has more than `above` tokens. */
export interface Rate {
  readonly base: string
  readonly tiers?: readonly { readonly above: number; readonly rate: string }[]
}

/** A price as it is kept beside the records that it priced. */
export interface Price {
  /** the price list, such as `anthropic`; `own` for a price that an operator has set */
  readonly list: string
  /** the name under which the list, or the operator, has the price */
  readonly model: string
  /**
   * - `exact` the list has this name; `date` the name without its date
   * - `alias` an operator says which name of the list is meant; `own` an operator has set the price
   */
  readonly match: 'exact' | 'date' | 'alias' | 'own'
  /** the version of the list */
  readonly source: string
  readonly rates: Readonly<Partial<Record<BilledClass, Rate>>>
  /** multiplies all rates of tokens */
  readonly factor?: string
  /** service tier, speed or place → what the rates of tokens are multiplied by; others than these are not priced */
  readonly multipliers: Readonly<Record<string, string>>
}

/** What a record of tokens says of its bill. */
export interface BilledUsage {
  readonly counts: Readonly<Partial<Record<BilledClass, number>>>
  /** tokens that were sent: plain input, cache reads and cache writes. They decide the tier */
  readonly totalInput: number
  /** names of {@link Price.multipliers} that apply, beside the standard */
  readonly modes: readonly string[]
}

/** The cost of a usage, or why it has none. */
export type Cost = { readonly nanos: bigint } | { readonly unpriced: string }

const nanosPerMillionth = decimalOf('1000')
const nanosPerThousandth = decimalOf('1000000')

/** The largest cost that the store keeps: nine thousand million dollars. */
const maxNanos = 2n ** 63n - 1n

/**
 * Returns the cost in nano-dollars, computed exactly and rounded once, a half up. A part without a rate makes the whole
 * unpriced: a cost is never too low without a word.
 * - cache reads without a rate are billed as input
 * - cache writes without a rate, or with one below that of input, are billed as input, with the rate on top: the vendor
 *   bills the tokens as input, and the rate is for keeping them
 * - audio and images without a rate are billed as text
 */
export function costOf(price: Price, { counts, totalInput, modes }: BilledUsage): Cost {
  let tokens: Decimal = zero
  let total: Decimal = zero
  for (const billed of billedClasses) {
    const count = counts[billed] ?? 0
    if (count === 0) continue
    const rate = rateOf(price, billed, totalInput)
    if (!rate) return { unpriced: `no_rate:${billed}` }
    const part = product({ digits: BigInt(Math.round(count)), scale: 0 }, rate)
    if (billed === 'webSearch') total = sum(total, product(part, nanosPerThousandth))
    else tokens = sum(tokens, part)
  }
  let multiplied = product(tokens, nanosPerMillionth)
  if (price.factor !== undefined) multiplied = product(multiplied, decimalOf(price.factor))
  for (const mode of modes) {
    const multiplier = Object.hasOwn(price.multipliers, mode) ? price.multipliers[mode] : undefined
    if (multiplier === undefined) return { unpriced: `no_multiplier:${mode}` }
    multiplied = product(multiplied, decimalOf(multiplier))
  }
  const nanos = rounded(sum(total, multiplied))
  return nanos > maxNanos ? { unpriced: 'too_large' } : { nanos }
}

const zero = decimalOf('0')

/** The class whose rate takes the place of one that is not listed. */
const instead: Partial<Record<BilledClass, BilledClass>> = {
  cacheRead: 'input',
  cacheWrite: 'input',
  inputAudio: 'input',
  inputImage: 'input',
  outputAudio: 'output',
  outputImage: 'output',
}

/** Returns the rate of a class for a request with so much input; undefined if it has none. */
export function rateOf(price: Price, billed: BilledClass, totalInput: number): Decimal | undefined {
  const listed = price.rates[billed]
  if (!listed) {
    // Where nobody lists five-minute writes, hour-long ones cost what input costs too.
    const other = billed === 'cacheWrite1h' && !price.rates.cacheWrite ? 'input' : instead[billed]
    return other && rateOf(price, other, totalInput)
  }
  const rate = decimalOf(tierOf(listed, totalInput))
  if (billed !== 'cacheWrite' || !price.rates.input) return rate
  const input = decimalOf(tierOf(price.rates.input, totalInput))
  return isLess(rate, input) ? sum(rate, input) : rate
}

function tierOf({ base, tiers = [] }: Rate, totalInput: number): string {
  let found = base
  let above = -1
  for (const tier of tiers) {
    if (totalInput > tier.above && tier.above > above) {
      found = tier.rate
      above = tier.above
    }
  }
  return found
}
