import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Store, UsageQuery } from '../../../../server/store/store.js'
import { stores } from '../../../fixtures/stores.js'
import { interception, tokenUsage } from '../records/records.js'

describe.each(stores)('usage in the store: $name', ({ open }) => {
  let store: Store
  const [ada, grace] = [randomUUID(), randomUUID()]
  const at = (time: string) => new Date(`2026-03-${time}Z`)

  beforeAll(async () => {
    store = await open()
    await store.createUser({ id: ada, username: 'ada' })
    const rows = [
      interception({ initiatorId: ada, providerName: 'team', model: 'big', startedAt: at('01T23:59:59.999') }),
      interception({ initiatorId: ada, providerName: 'team', model: 'small', startedAt: at('02T00:00:00') }),
      interception({
        initiatorId: grace,
        provider: 'other',
        providerName: 'other',
        model: 'big',
        startedAt: at('02T12:00:00'),
      }),
    ]
    const [first, second, third] = rows.map(({ record }) => record.id)
    await store.record([
      ...rows,
      // Two answers of one interception; the largest counts there are; and an interception without any.
      tokenUsage(first ?? '', { inputTokens: 10, outputTokens: 20 }),
      tokenUsage(first ?? '', { inputTokens: 1, outputTokens: 2, createdAt: at('05T00:00:00') }),
      ...Array.from({ length: 3 }, () => tokenUsage(second ?? '', { inputTokens: 1e12, outputTokens: 1e12 })),
    ])
    expect(third).toBeDefined()
  })
  afterAll(() => store.close())

  const read = (query: Partial<UsageQuery>) => store.readUsage({ by: [], limit: 100, ...query })
  const ungrouped = {
    userId: null,
    username: null,
    keyId: null,
    provider: null,
    model: null,
    client: null,
    day: null,
  }
  const tokens = (interceptions: number, input: number, output: number, usages: number) => ({
    interceptions,
    inputTokens: input,
    outputTokens: output,
    cacheReadInputTokens: 3 * usages,
    cacheWriteInputTokens: 4 * usages,
    costNanos: null,
    unpricedRecords: usages,
    estimatedRecords: 0,
  })
  const firstDay = tokens(1, 11, 22, 2)
  const large = tokens(1, 3e12, 3e12, 3)
  const none = tokens(1, 0, 0, 0)

  test('without groups is one row, in which an interception counts once', async () => {
    expect(await read({})).toEqual([{ ...ungrouped, ...tokens(3, 3e12 + 11, 3e12 + 22, 5) }])
    expect(await read({ initiatorId: randomUUID() })).toEqual([{ ...ungrouped, ...tokens(0, 0, 0, 0) }])
  })

  test('by user has the name, or none where the user is gone, and most tokens first', async () => {
    expect(await read({ by: ['user'] })).toEqual([
      { ...ungrouped, userId: ada, username: 'ada', ...tokens(2, 3e12 + 11, 3e12 + 22, 5) },
      { ...ungrouped, userId: grace, ...none },
    ])
  })

  test('by day has days of UTC, the newest first', async () => {
    expect(await read({ by: ['day'] })).toEqual([
      { ...ungrouped, day: '2026-03-02', ...tokens(2, 3e12, 3e12, 3) },
      { ...ungrouped, day: '2026-03-01', ...firstDay },
    ])
  })

  test('by all groups in any order has a row for each combination', async () => {
    const rows = await read({ by: ['day', 'model', 'provider', 'user', 'day'] })
    expect(rows).toEqual([
      { ...ungrouped, userId: ada, username: 'ada', provider: 'team', model: 'small', day: '2026-03-02', ...large },
      { ...ungrouped, userId: grace, provider: 'other', model: 'big', day: '2026-03-02', ...none },
      { ...ungrouped, userId: ada, username: 'ada', provider: 'team', model: 'big', day: '2026-03-01', ...firstDay },
    ])
    expect(await read({ by: ['day', 'model', 'provider', 'user'], limit: 2 })).toEqual(rows.slice(0, 2))
  })

  test.each<[Partial<UsageQuery>, number]>([
    [{ initiatorId: ada }, 2],
    [{ provider: 'team' }, 2],
    [{ provider: 'anthropic' }, 2],
    [{ provider: 'other' }, 1],
    [{ model: 'big' }, 2],
    [{ from: at('02T00:00:00') }, 2],
    [{ to: at('02T00:00:00') }, 1],
    [{ initiatorId: ada, provider: 'team', model: 'big', from: at('01T00:00:00'), to: at('02T00:00:00') }, 1],
    [{ model: 'none' }, 0],
  ])('usage of %j counts what matches', async (query, interceptions) => {
    expect(await read(query)).toMatchObject([{ interceptions }])
    expect(await read({ ...query, by: ['user', 'day'] })).toHaveLength(interceptions)
  })

  test('of one kind of interception counts no others', async () => {
    const initiatorId = randomUUID()
    await store.record([interception({ initiatorId }), interception({ initiatorId, interceptionKind: 'mcp' })])
    const counts = []
    for (const interceptionKind of ['model', 'mcp', undefined] as const) {
      counts.push(...(await read({ initiatorId, interceptionKind })).map(({ interceptions }) => interceptions))
    }
    expect(counts).toEqual([1, 1, 2])
  })
})
