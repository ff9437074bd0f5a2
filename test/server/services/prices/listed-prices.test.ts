import { beforeAll, describe, expect, test } from 'vitest'
import { ListedPrices } from '../../../../server/services/prices/listed-prices.js'
import { listOfBaseUrl, priceLists } from '../../../../server/services/prices/price-hosts.js'

let lists: ListedPrices
beforeAll(async () => {
  lists = await ListedPrices.load()
})
const day = new Date('2026-11-01T12:00:00Z')

test.each([
  ['anthropic', 'claude-sonnet-4-5', 'claude-sonnet-4-5', 'exact'],
  ['anthropic', 'claude-sonnet-4-5-20250929', 'claude-sonnet-4-5', 'date'],
  ['anthropic', 'claude-sonnet-4-5@20250929', 'claude-sonnet-4-5', 'date'],
  ['anthropic', 'claude-sonnet-4-20250514', 'claude-sonnet-4-0', 'date'],
  ['anthropic', 'claude-3-5-haiku-20241022', 'claude-3-5-haiku-latest', 'date'],
  ['openai', 'gpt-4o-2024-08-06', 'gpt-4o', 'exact'],
  // An older version with a price of its own.
  ['openai', 'gpt-4o-2024-05-13', 'gpt-4o:extended', 'exact'],
  ['openai', 'gpt-5', 'gpt-5', 'exact'],
])('the list %s has %s as %s, by %s', (list, model, id, match) => {
  const found = lists.priceOf(list, model, day)
  // The id of the older version differs among versions of the list.
  if (model === 'gpt-4o-2024-05-13') {
    expect(found?.price.model).not.toBe('gpt-4o')
    return
  }
  expect(found && [found.price.model, found.match]).toEqual([id, match])
})

// Each begins like a model of the list, and is none.
test.each([
  ['anthropic', 'claude-sonnet-5-5'],
  ['anthropic', 'claude-sonnet-4-5-made-up'],
  ['anthropic', 'claude-sonnet-4-5-20251399'],
  ['anthropic', 'claude-sonnet-4-5-2025'],
  ['anthropic', 'us.anthropic.claude-sonnet-4-5-20250929-v1:0'],
  ['anthropic', ''],
  ['anthropic', 'constructor'],
  ['anthropic', 'gpt-5'],
  ['openai', 'gpt-5-made-up'],
  ['openai', 'gpt-5-nano-made-up'],
  ['no-such-list', 'gpt-5'],
])('the list %s has no model %s', (list, model) => {
  expect(lists.priceOf(list, model, day)).toBeUndefined()
})

test('a price is that of its day', () => {
  const inputOf = (at: string) => lists.priceOf('anthropic', 'claude-opus-4-6', new Date(at))?.price.rates.input
  expect(inputOf('2026-03-12T23:59:59Z')).toEqual({ base: '5', tiers: [{ above: 200_000, rate: '10' }] })
  expect(inputOf('2026-03-13T00:00:00Z')).toEqual({ base: '5' })
})

test('a price may be that of an hour', () => {
  const inputOf = (at: string) => lists.priceOf('deepseek', 'deepseek-chat', new Date(at))?.price.rates.input?.base
  expect([inputOf('2025-05-01T00:29:59Z'), inputOf('2025-05-01T00:30:00Z'), inputOf('2025-05-01T16:30:00Z')]).toEqual([
    '0.135',
    '0.27',
    '0.135',
  ])
})

describe('the host of a base URL decides the list', () => {
  test.each([
    ['https://api.anthropic.com', 'anthropic'],
    ['https://api.openai.com/v1', 'openai'],
    ['https://generativelanguage.googleapis.com/v1beta/openai', 'google'],
    ['https://some-team.openai.azure.com/openai', 'azure'],
    ['https://bedrock-runtime.us-east-1.amazonaws.com', 'aws'],
    ['https://openrouter.ai/api/v1', 'openrouter'],
    ['https://api.openai.com.example.net/v1', undefined],
    ['https://example.net/api.openai.com', undefined],
    ['https://api-openai.com', undefined],
    ['https://a.b.openai.azure.com', undefined],
    ['http://127.0.0.1:11434/v1', undefined],
    ['/demo', undefined],
    ['no url', undefined],
  ])('%s → %s', (url, list) => {
    expect(listOfBaseUrl(url)).toBe(list)
  })

  test.each(priceLists)('the package has the list %s', list => {
    expect(lists.has(list)).toBe(true)
  })
})
