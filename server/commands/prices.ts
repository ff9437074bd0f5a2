/** `aibridge prices`: what models cost. */
import { type Command, InvalidArgumentError } from 'commander'
import type {
  OwnRates,
  PriceExplanation,
  PricesList,
  ShownOwnPrice,
  ShownRate,
  UnpricedModel,
} from '../../shared/contract/admin/prices.js'
import { transportError } from '../../shared/rpc/errors.js'
import { type Column, print, printFields, printResult, printTable } from '../process/output.js'
import { callAdmin } from './common/call-admin.js'
import { timeOrAge } from './common/option-values.js'
import { type CommonOptions, ownOptions, withCommonOptions } from './common/options.js'

/** Option → class of the rate. */
const rateOptions = {
  input: 'input',
  output: 'output',
  cacheRead: 'cacheRead',
  cacheWrite: 'cacheWrite',
  cacheWrite1h: 'cacheWrite1h',
  webSearch: 'webSearch',
} as const satisfies Record<string, keyof OwnRates>

type RateClass = keyof typeof rateOptions
type Tier = { above: number; rates: Partial<Record<RateClass, string>> }

interface SetOptions extends CommonOptions, Partial<Record<RateClass, string>> {
  provider?: string
  tier?: Tier[]
  aliasOf?: { list: string; model: string }
  factor?: string
  multiplier?: Record<string, string>
}

/** Adds `prices list|set|remove|explain|backfill`. */
export function addPricesCommands(program: Command): void {
  const prices = program.command('prices').description('what models cost, in USD')

  withCommonOptions(prices.command('list').description('prices that were set, and models without a price'))
    .option('--since <when>', 'records since: a time, or an age (default: 30d)', value => timeOrAge(value))
    .action(async ({ since, ...options }: CommonOptions & { since?: Date }) => {
      const list = await callAdmin(options, admin => admin.prices.list.query(since ? { since } : {}))
      printResult(options, list, printList)
    })

  withCommonOptions(
    prices
      .command('set <model>')
      .description(
        'set the price of a model, for requests from now on: rates for a million tokens, or another name of a model of a price list',
      ),
  )
    .option('--provider <name>', 'at this provider (default: at every provider that has no price of its own)')
    .option('--input <usd>', 'a million tokens of input')
    .option('--output <usd>', 'a million tokens of output')
    .option('--cache-read <usd>', 'a million tokens that are read from a cache (default: as input)')
    .option('--cache-write <usd>', 'a million tokens that are written into one (default: as input)')
    .option('--cache-write-1h <usd>', 'the same for an hour')
    .option('--web-search <usd>', 'a thousand searches')
    .option(
      '--tier <tier>',
      'rates of requests with more input: 200000:input=6,output=22.5; may be repeated',
      (value, tiers: Tier[] = []) => [...tiers, tierOf(value)],
    )
    .option(
      '--alias-of <list/model>',
      'the same price as a model of a list, such as anthropic/claude-sonnet-4-5',
      aliasOf,
    )
    .option('--factor <number>', 'with --alias-of: times so much')
    .option(
      '--multiplier <name=number>',
      'what a service tier, a speed or a place multiplies rates by, such as priority=2; may be repeated',
      (value, known: Record<string, string> = {}) => ({ ...known, ...multiplierOf(value) }),
    )
    .action(async (model: string, given: SetOptions) => {
      const { provider, multiplier: multipliers, aliasOf: alias, factor, ...options } = given
      const rates = ratesOf(given)
      const set = await callAdmin(options, admin =>
        admin.prices.set.mutate({
          model,
          ...(provider !== undefined && { provider }),
          ...(rates && { rates }),
          ...(alias && { aliasOf: { ...alias, ...(factor !== undefined && { factor }) } }),
          ...(multipliers && { multipliers }),
        }),
      )
      printResult(options, set, () => printFields(fieldsOf(set)))
    })

  withCommonOptions(prices.command('remove <model>').description('take back a price that was set'))
    .option('--provider <name>', 'that of this provider (default: that of every provider)')
    .action(async (model: string, { provider, ...options }: CommonOptions & { provider?: string }) => {
      const input = { model, ...(provider !== undefined && { provider }) }
      const removed = await callAdmin(options, admin => admin.prices.remove.mutate(input))
      printResult(options, removed, () => print(`the price of ${model} is that of the list again`))
    })

  withCommonOptions(
    prices.command('explain <model>').description('what a model costs, and which list, name and rules say so'),
  )
    .option('--provider <name>', 'at this provider (default: at each)')
    .option('--at <when>', 'at a time, or an age (default: now)', value => timeOrAge(value))
    .action(async (model: string, { provider, at, ...options }: CommonOptions & { provider?: string; at?: Date }) => {
      const explained = await callAdmin(options, async admin => {
        const names = provider === undefined ? (await admin.providers.list.query()).map(({ name }) => name) : [provider]
        return Promise.all(names.map(name => admin.prices.explain.query({ provider: name, model, ...(at && { at }) })))
      })
      printResult(options, explained, () => explained.forEach(printExplanation))
    })

  withCommonOptions(
    prices
      .command('backfill')
      .description('price records that have no cost, at the prices of their days; the costs are marked as estimates'),
  )
    .option('--from <when>', 'records from: a time, or an age', value => timeOrAge(value))
    .option('--to <when>', 'records before: a time, or an age', value => timeOrAge(value))
    .action(async (options: CommonOptions & { from?: Date; to?: Date }) => {
      const total = { priced: 0, unpriced: 0 }
      await callAdmin(options, async admin => {
        let cursor: string | null | undefined
        do {
          const part = await admin.prices.backfill.mutate({ ...ownOptions(options), ...(cursor && { cursor }) })
          total.priced += part.priced
          total.unpriced += part.unpriced
          cursor = part.nextCursor
        } while (cursor)
      })
      printResult(options, total, ({ priced, unpriced }) => {
        print(`${priced} records have a cost now, ${unpriced} have no price; prices list names their models`)
      })
    })
}

function ratesOf(options: SetOptions): OwnRates | undefined {
  const given = (Object.keys(rateOptions) as RateClass[]).filter(billed => options[billed] !== undefined)
  if (given.length === 0 && !options.tier) return undefined
  const rates = Object.fromEntries(
    given.map(billed => {
      const tiers = (options.tier ?? []).flatMap(({ above, rates }) => {
        const rate = rates[billed]
        return rate === undefined ? [] : [{ above, rate }]
      })
      return [billed, { base: options[billed], ...(tiers.length > 0 && { tiers }) }]
    }),
  )
  if (!rates.input || !rates.output) throw transportError('config_invalid', 'rates need --input and --output')
  return rates as OwnRates // input and output are there; the server checks the rest
}

function tierOf(value: string): Tier {
  const [, above, list = ''] = /^(\d{1,12}):(.+)$/.exec(value) ?? []
  const rates = Object.fromEntries(
    list.split(',').map(part => {
      const [name = '', rate = ''] = part.split('=')
      const billed = name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())
      if (!Object.hasOwn(rateOptions, billed)) throw new InvalidArgumentError(tierForm)
      return [billed, rate]
    }),
  )
  if (above === undefined) throw new InvalidArgumentError(tierForm)
  return { above: Number(above), rates }
}

const tierForm = 'It must be like 200000:input=6,output=22.5, with the names of the options for rates.'

function aliasOf(value: string): { list: string; model: string } {
  const [, list, model] = /^([a-z0-9_-]+)\/(.+)$/.exec(value) ?? []
  if (list === undefined || model === undefined) throw new InvalidArgumentError('It must be LIST/MODEL.')
  return { list, model }
}

function multiplierOf(value: string): Record<string, string> {
  const [, name, multiplier] = /^([a-z0-9:_-]+)=([\d.]+)$/.exec(value) ?? []
  if (name === undefined || multiplier === undefined) throw new InvalidArgumentError('It must be like priority=2.')
  return { [name]: multiplier }
}

function printList({ own, unpriced }: PricesList): void {
  printTable(own, ownColumns, 'no price was set: those of the price lists hold')
  if (unpriced.length === 0) return
  print('')
  print('without a price:')
  printTable(unpriced, unpricedColumns, '')
}

const ownColumns: Column<ShownOwnPrice>[] = [
  ['MODEL', row => row.model],
  ['PROVIDER', row => row.provider ?? 'every'],
  ['INPUT', row => row.rates?.input.base],
  ['OUTPUT', row => row.rates?.output.base],
  ['ALIAS OF', row => row.aliasOf && `${row.aliasOf.list}/${row.aliasOf.model}`],
  ['FACTOR', row => row.aliasOf?.factor],
  ['MULTIPLIERS', row => multipliersText(row.multipliers)],
  ['SET', row => row.updatedAt],
]

const unpricedColumns: Column<UnpricedModel>[] = [
  ['MODEL', row => row.model],
  ['PROVIDER', row => row.provider],
  ['RECORDS', row => row.records],
  ['TOKENS', row => row.tokens],
  ['LAST', row => row.lastAt],
  ['WHY', row => row.reason ?? 'a part had no rate, or the price came later'],
]

function fieldsOf({ model, provider, rates, aliasOf: alias, multipliers }: ShownOwnPrice): Record<string, unknown> {
  const given = Object.entries(rates ?? {}).flatMap(([billed, rate]) => {
    if (!rate) return []
    const tiers = (rate.tiers ?? []).map(tier => `, ${tier.rate} above ${tier.above} tokens of input`)
    return [[billed, `${rate.base}${tiers.join('')}`]]
  })
  return {
    model,
    provider: provider ?? 'every',
    ...Object.fromEntries(given),
    ...(alias && { 'alias of': `${alias.list}/${alias.model}`, factor: alias.factor ?? '1' }),
    ...(multipliers && { multipliers: multipliersText(multipliers) }),
  }
}

function multipliersText(multipliers: Record<string, string> | null): string {
  return Object.entries(multipliers ?? {})
    .map(([name, value]) => `${name}=${value}`)
    .join(', ')
}

function printExplanation({ provider, model, list, price, reason, similar }: PriceExplanation): void {
  if (!price) {
    printFields({
      provider,
      model,
      price: `none: ${reason}`,
      list: list ?? 'none',
      ...(similar.length > 0 && { 'the list has': similar.join(', ') }),
    })
    print('')
    return
  }
  printFields({
    provider,
    model,
    'found as': `${price.list}/${price.model} (${matchTexts[price.match]})`,
    source: price.source,
    ...(price.factor !== null && { factor: price.factor }),
    multipliers: multipliersText(price.multipliers),
  })
  printTable(price.rates, rateColumns, '')
  print('')
}

const matchTexts: Record<NonNullable<PriceExplanation['price']>['match'], string> = {
  exact: 'the same name',
  date: 'the name without its date',
  alias: 'by the alias that was set',
  own: 'set here',
}

const rateColumns: Column<ShownRate>[] = [
  ['CLASS', row => row.class],
  ['USD', row => row.rate ?? 'unpriced'],
  ['TIERS', row => row.tiers.map(({ above, rate }) => `${rate} above ${above}`).join(', ')],
  ['BASIS', row => row.basis && basisTexts[row.basis]],
]

const basisTexts: Record<NonNullable<ShownRate['basis']>, string> = {
  list: 'the list',
  input: 'not listed: as input',
  output: 'not listed: as output',
  'input+list': 'as input, and the list’s rate on top',
}
