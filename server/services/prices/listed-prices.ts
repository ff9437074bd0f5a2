/** The prices of the package `@pydantic/genai-prices` as data. The package's own search for a model is not used. */
import type { ModelInfo, ModelPrice, Provider } from '@pydantic/genai-prices'
import { decimalText } from './decimal.js'
import type { BilledClass, Price, Rate } from './price.js'

/** The version of the package, which stands beside each price. */
export const listSource = 'genai-prices 0.1.8'

/** Class → the package's name of its rate. */
const rateNames: Readonly<Record<BilledClass, string>> = {
  input: 'input_mtok',
  output: 'output_mtok',
  cacheRead: 'cache_read_mtok',
  cacheWrite: 'cache_write_mtok',
  cacheWrite1h: 'cache_write_1h_mtok',
  inputAudio: 'input_audio_mtok',
  inputImage: 'input_image_mtok',
  outputAudio: 'output_audio_mtok',
  outputImage: 'output_image_mtok',
  webSearch: 'web_searches_kcount',
}

/**
 * List → service tier, speed or place → what the rates are multiplied by, as the vendors' price pages say. One that is
 * missing differs from model to model, and an operator may set it.
 * - Anthropic: batches cost half; inference in the US alone 1.1 times
 * - OpenAI and Azure: batch and flex cost half. Google: the same
 */
const multipliersOf: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  anthropic: { batch: '0.5', 'geo:us': '1.1' },
  openai: { batch: '0.5', flex: '0.5' },
  azure: { batch: '0.5', flex: '0.5' },
  google: { batch: '0.5', flex: '0.5' },
}

/** A price without the name by which it was found. */
export type ListedPrice = Omit<Price, 'match'>

/** The price lists, once they are loaded. */
export class ListedPrices {
  readonly #find: (list: string) => Provider | undefined
  /** list → name → model */
  readonly #names = new Map<string, ReadonlyMap<string, ModelInfo>>()

  private constructor(find: (list: string) => Provider | undefined) {
    this.#find = find
  }

  /** Loads the lists: 0.1 s, which nobody waits for at a start. */
  static async load(): Promise<ListedPrices> {
    const { findProvider } = await import('@pydantic/genai-prices')
    return new ListedPrices(providerId => findProvider({ providerId }))
  }

  /** Returns whether there is a list of this name. */
  has(list: string): boolean {
    return this.#find(list)?.id === list
  }

  /** Returns the names of a list, sorted. */
  modelsOf(list: string): string[] {
    return [...this.#namesOf(list).keys()].sort()
  }

  /**
   * Returns the price of a model at a moment: of the name itself, or of the name without its date. Longer names that
   * begin like one of the list are other models.
   */
  priceOf(list: string, model: string, at: Date): { price: ListedPrice; match: 'exact' | 'date' } | undefined {
    const names = this.#namesOf(list)
    const exact = names.get(model)
    const found = exact ?? names.get(withoutDate(model)) ?? names.get(`${withoutDate(model)}-latest`)
    const rates = found && activePrice(found, at)
    if (!found || !rates) return undefined
    const price = {
      list,
      model: found.id,
      source: listSource,
      rates: ratesOf(rates),
      multipliers: multipliersOf[list] ?? {},
    }
    return { price, match: exact ? 'exact' : 'date' }
  }

  #namesOf(list: string): ReadonlyMap<string, ModelInfo> {
    const known = this.#names.get(list)
    if (known) return known
    const provider = this.#find(list)
    const names = new Map<string, ModelInfo>()
    for (const model of provider?.id === list ? provider.models : []) {
      for (const name of equalNames(model.match)) if (!names.has(name)) names.set(name, model)
    }
    // An id is the model's own name, whatever another model's rules say.
    for (const model of provider?.id === list ? provider.models : []) names.set(model.id, model)
    this.#names.set(list, names)
    return names
  }
}

/** Returns the names that a model's rules spell out: rules for beginnings and patterns fit other models too. */
function equalNames(match: ModelInfo['match']): string[] {
  if ('equals' in match) return [match.equals]
  return 'or' in match ? match.or.flatMap(equalNames) : []
}

const dates =
  /(?:[-@]20\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])|-20\d{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))$/

function withoutDate(model: string): string {
  return model.replace(dates, '')
}

/** Returns the last price whose condition holds, as the lists are meant. */
function activePrice({ prices }: ModelInfo, at: Date): ModelPrice | undefined {
  if (!Array.isArray(prices)) return prices
  const [day = '', time = ''] = at.toISOString().split('T')
  return prices.findLast(({ constraint }) => {
    if (!constraint) return true
    if (constraint.type === 'start_date') return constraint.start_date <= day
    const [start, end, now] = [constraint.start_time, constraint.end_time, time].map(text => text.slice(0, 8))
    if (start === undefined || end === undefined || now === undefined) return false
    return start <= end ? start <= now && now < end : start <= now || now < end
  })?.prices
}

function ratesOf(prices: ModelPrice): Price['rates'] {
  const rates: Partial<Record<BilledClass, Rate>> = {}
  for (const [billed, name] of Object.entries(rateNames) as [BilledClass, string][]) {
    const value = prices[name]
    if (typeof value === 'number') rates[billed] = { base: decimalText(value) }
    else if (value) {
      const tiers = value.tiers.map(({ start, price }) => ({ above: start, rate: decimalText(price) }))
      rates[billed] = { base: decimalText(value.base), tiers }
    }
  }
  return rates
}
