import { describe, expect, test } from 'vitest'
import { type BilledClass, type BilledUsage, costOf, type Price } from '../../../../server/services/prices/price.js'
import { fc } from '../../../fixtures/random.js'

const sonnet: Price = {
  list: 'anthropic',
  model: 'claude-sonnet-4-5',
  match: 'exact',
  source: 'a list',
  rates: {
    input: { base: '3', tiers: [{ above: 200_000, rate: '6' }] },
    output: { base: '15', tiers: [{ above: 200_000, rate: '22.5' }] },
    cacheRead: { base: '0.3', tiers: [{ above: 200_000, rate: '0.6' }] },
    cacheWrite: { base: '3.75', tiers: [{ above: 200_000, rate: '7.5' }] },
    cacheWrite1h: { base: '6', tiers: [{ above: 200_000, rate: '12' }] },
    webSearch: { base: '10' },
  },
  multipliers: { batch: '0.5', 'geo:us': '1.1' },
}

function usage(counts: BilledUsage['counts'], modes: string[] = []): BilledUsage {
  const { input = 0, cacheRead = 0, cacheWrite = 0, cacheWrite1h = 0 } = counts
  return { counts, totalInput: input + cacheRead + cacheWrite + cacheWrite1h, modes }
}

/** Returns a cost in dollars, for tables; or why there is none. */
function dollars(price: Price, used: BilledUsage): number | string {
  const cost = costOf(price, used)
  return 'nanos' in cost ? Number(cost.nanos) / 1e9 : cost.unpriced
}

describe('the cost of a request', () => {
  test.each<[string, BilledUsage, number | string]>([
    ['of input and output', usage({ input: 1_000, output: 500 }), 0.0105],
    // The vendor's own example of a long context: the higher price holds for the whole request.
    ['above a tier', usage({ input: 100_000, cacheRead: 200_000, output: 10_000 }), 0.945],
    ['at the border of a tier, which is still below', usage({ input: 200_000, output: 1_000 }), 0.615],
    ['one token above the border', usage({ input: 200_001, output: 1_000 }), 1.222506],
    ['whose cache writes decide the tier', usage({ input: 1, cacheWrite: 200_000 }), 1.500006],
    ['with writes for an hour', usage({ cacheWrite: 1_000, cacheWrite1h: 1_000 }), 0.00975],
    ['with searches', usage({ webSearch: 3, input: 1 }), 0.030003],
    ['of a batch, whose searches cost the same', usage({ webSearch: 1, input: 1_000_000 }, ['batch']), 3.01],
    ['in a place with a price of its own', usage({ input: 1_000 }, ['geo:us']), 0.0033],
    ['with two multipliers', usage({ input: 1_000 }, ['batch', 'geo:us']), 0.00165],
    ['in a mode that nobody priced', usage({ input: 1 }, ['priority']), 'no_multiplier:priority'],
    ['with a name of the prototype as mode', usage({ input: 1 }, ['constructor']), 'no_multiplier:constructor'],
    ['of nothing', usage({}), 0],
  ])('%s', (_, used, expected) => {
    expect(dollars(sonnet, used)).toBe(expected)
  })

  const plain: Price = { ...sonnet, rates: { input: { base: '2' }, output: { base: '8' } } }
  test.each<[string, Price, BilledUsage, number | string]>([
    ['cache reads without a rate are input', plain, usage({ cacheRead: 1_000 }), 0.002],
    ['cache writes without a rate are input', plain, usage({ cacheWrite: 1_000 }), 0.002],
    ['hour-long writes are input where no writes are listed', plain, usage({ cacheWrite1h: 1_000 }), 0.002],
    [
      'a rate of 0 for cache writes leaves the input to pay',
      { ...plain, rates: { ...plain.rates, cacheWrite: { base: '0' } } },
      usage({ cacheWrite: 1_000 }),
      0.002,
    ],
    [
      'a rate below that of input is the price of keeping, on top',
      { ...plain, rates: { ...plain.rates, cacheWrite: { base: '0.375' } } },
      usage({ cacheWrite: 1_000 }),
      0.002375,
    ],
    [
      'a rate of 1.25 times the input is the whole',
      { ...plain, rates: { ...plain.rates, cacheWrite: { base: '2.5' } } },
      usage({ cacheWrite: 1_000 }),
      0.0025,
    ],
    [
      'hour-long writes beside listed ones are unpriced',
      { ...plain, rates: { ...plain.rates, cacheWrite: { base: '2.5' } } },
      usage({ cacheWrite1h: 1 }),
      'no_rate:cacheWrite1h',
    ],
    ['audio without a rate is text', plain, usage({ inputAudio: 1_000, outputAudio: 1_000 }), 0.01],
    ['searches without a rate are unpriced', plain, usage({ webSearch: 1 }), 'no_rate:webSearch'],
    [
      'output without a rate is unpriced',
      { ...plain, rates: { input: { base: '2' } } },
      usage({ input: 1, output: 1 }),
      'no_rate:output',
    ],
    ['a factor multiplies', { ...plain, factor: '1.1' }, usage({ input: 1_000 }), 0.0022],
    [
      'an amount above what the store keeps is unpriced',
      { ...plain, rates: { input: { base: '999999999999' } } },
      usage({ input: 1e12 }),
      'too_large',
    ],
  ])('%s', (_, price, used, expected) => {
    expect(dollars(price, used)).toBe(expected)
  })

  test('half a nano-dollar is rounded up, once', () => {
    const tiny: Price = { ...sonnet, rates: { input: { base: '0.0005' }, output: { base: '0.0005' } } }
    expect(costOf(tiny, usage({ input: 1 }))).toEqual({ nanos: 1n })
    // Two halves are one, and not two.
    expect(costOf(tiny, usage({ input: 1, output: 1 }))).toEqual({ nanos: 1n })
  })
})

/** A decimal of at most six digits behind the point, as millionths. */
const rate = fc.bigInt({ min: 0n, max: 10n ** 9n })
const textOf = (millionths: bigint) => `${millionths / 1_000_000n}.${String(millionths % 1_000_000n).padStart(6, '0')}`
const tokens = fc.nat(10_000_000)

test('costs agree with a calculation in big integers', () => {
  const classes = ['input', 'output', 'cacheRead', 'cacheWrite', 'cacheWrite1h'] as const
  const of = <T>(value: fc.Arbitrary<T>) => fc.record(Object.fromEntries(classes.map(name => [name, value])))
  fc.assert(
    fc.property(
      of(fc.record({ base: rate, above: rate })),
      of(tokens),
      fc.nat(2_000_000),
      fc.bigInt({ min: 0n, max: 3_000_000n }),
      (rates, counts, border, multiplier) => {
        const price: Price = {
          ...sonnet,
          rates: Object.fromEntries(
            Object.entries(rates).map(([name, { base, above }]) => [
              name,
              { base: textOf(base), tiers: [{ above: border, rate: textOf(above) }] },
            ]),
          ),
          multipliers: { batch: textOf(multiplier) },
        }
        const used = usage(counts as BilledUsage['counts'], ['batch'])
        const isAbove = used.totalInput > border
        // In 10^-18 dollars: tokens × millionths of a dollar for a million × millionths of a multiplier.
        let exact = 0n
        const rateNamed = (name: string) => rates[name]?.[isAbove ? 'above' : 'base'] ?? 0n
        for (const name of classes) {
          const input = rateNamed('input')
          const listed = rateNamed(name)
          const paid = name === 'cacheWrite' && listed < input ? listed + input : listed
          exact += BigInt(counts[name as BilledClass] ?? 0) * paid * multiplier
        }
        const unit = 10n ** 9n
        const expected = exact / unit + ((exact % unit) * 2n >= unit ? 1n : 0n)
        expect(costOf(price, used)).toEqual({ nanos: expected })
      },
    ),
  )
})
