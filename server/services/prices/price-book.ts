/** Finds the price of a model at a provider, from memory. */
import type { OwnRates } from '../../../shared/contract/admin/prices.js'
import { readProviderSettings } from '../../../shared/contract/provider-settings.js'
import type { Logger } from '../../../shared/values/log.js'
import type { ChangeStore, OwnPrice, OwnPriceStore, ProviderStore } from '../../store/store.js'
import { ListedPrices } from './listed-prices.js'
import type { Price } from './price.js'
import { listOfBaseUrl } from './price-hosts.js'

/** A model at a configured provider, at a moment. */
export interface PricedModel {
  /** the configured name */
  readonly providerName: string
  readonly model: string
  readonly at: Date
}

/** A price, or why a model has none. */
export type FoundPrice = { readonly price: Price } | { readonly unpriced: UnpricedReason }

/**
 * - `unknown_provider` no provider has this name any more
 * - `no_list` nobody says which list the prices of the provider stand in
 * - `unknown_model` the list has no model of this name
 */
export type UnpricedReason = 'unknown_provider' | 'no_list' | 'unknown_model'

export interface PriceBook {
  /** Resolves when prices can be read, as they were stored at the time of the call or later. Rejects as the store. */
  ready(): Promise<void>
  /** Notes that prices or providers were changed: the next {@link PriceBook.ready} reads them again. */
  changed(): void
  /** Returns the price of a model, once the book is {@link PriceBook.ready}. */
  priceOf(model: PricedModel): FoundPrice
  /** Returns the list of a provider; undefined if it has none. */
  listOf(providerName: string): string | undefined
  /** Returns the names of a list, sorted. */
  modelsOf(list: string): string[]
  /** Stops to follow changes. */
  stop(): void
}

export interface PriceBookOptions {
  store: Pick<ProviderStore, 'listProviders'> & OwnPriceStore & ChangeStore
  logger: Logger
}

/** Most prices that are kept at hand: one for each model, provider and day. */
const maxKept = 10_000

/** Prices of a list hold for a day; where they change by the hour, for a moment. */
const dayMs = 86_400_000

export function createPriceBook({ store, logger }: PriceBookOptions): PriceBook {
  let lists: ListedPrices | undefined
  let listOfProvider: ReadonlyMap<string, string | undefined> = new Map()
  let own: ReadonlyMap<string, OwnPrice> = new Map()
  let kept = new Map<string, FoundPrice>()
  let loading: Promise<void> | undefined
  let isStale = true
  const markStale = (): void => {
    isStale = true
  }
  const undo = [store.onChange('providers', markStale), store.onChange('prices', markStale)]

  async function load(): Promise<void> {
    isStale = false
    try {
      const [loaded, providers, prices] = await Promise.all([
        lists ?? ListedPrices.load(),
        store.listProviders(),
        store.listOwnPrices(),
      ])
      lists = loaded
      listOfProvider = new Map(
        providers.map(({ name, baseUrl, settings }) => {
          const { priceList = listOfBaseUrl(baseUrl) } = readProviderSettings(settings ?? undefined)
          if (priceList !== undefined && priceList !== 'none' && !loaded.has(priceList)) {
            logger.warn({ provider: name, priceList }, 'no price list has this name: the models are unpriced')
          }
          return [name, priceList === 'none' ? undefined : priceList]
        }),
      )
      own = new Map(prices.map(price => [keyOf(price.provider, price.model), price]))
      kept = new Map()
    } catch (error) {
      isStale = true
      throw error
    }
  }

  function find({ providerName, model, at }: PricedModel): FoundPrice {
    const set = own.get(keyOf(providerName, model)) ?? own.get(keyOf('', model))
    if (set?.rates) return { price: ownPrice(set, set.rates) }
    const list = set?.aliasOf?.list ?? listOfProvider.get(providerName)
    if (list === undefined) return { unpriced: listOfProvider.has(providerName) ? 'no_list' : 'unknown_provider' }
    const found = lists?.priceOf(list, set?.aliasOf?.model ?? model, at)
    if (!found) return { unpriced: 'unknown_model' }
    const { price, match } = found
    const multipliers = { ...price.multipliers, ...set?.multipliers }
    return {
      price: {
        ...price,
        match: set?.aliasOf ? 'alias' : match,
        multipliers,
        ...(set?.aliasOf?.factor !== undefined && { factor: set.aliasOf.factor }),
      },
    }
  }

  return {
    async ready() {
      while (isStale || loading) {
        loading ??= load().finally(() => {
          loading = undefined
        })
        await loading
      }
    },
    changed: markStale,
    priceOf(asked) {
      const list =
        own.get(keyOf(asked.providerName, asked.model))?.aliasOf?.list ?? listOfProvider.get(asked.providerName)
      // DeepSeek's prices differ by the hour.
      const spanMs = list === 'deepseek' ? 1_000 : dayMs
      const key = `${Math.floor(asked.at.getTime() / spanMs)} ${keyOf(asked.providerName, asked.model)}`
      const known = kept.get(key)
      if (known) return known
      if (kept.size >= maxKept) kept = new Map()
      const found = find(asked)
      kept.set(key, found)
      return found
    },
    listOf: providerName => listOfProvider.get(providerName),
    modelsOf: list => lists?.modelsOf(list) ?? [],
    stop() {
      for (const step of undo) step()
    },
  }
}

function keyOf(provider: string, model: string): string {
  return `${provider}\n${model}`
}

function ownPrice({ model, multipliers }: OwnPrice, rates: OwnRates): Price {
  const known = JSON.parse(JSON.stringify(rates)) as Price['rates'] // without fields that are undefined
  return { list: 'own', model, match: 'own', source: 'own', rates: known, multipliers: multipliers ?? {} }
}
