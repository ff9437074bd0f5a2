import { v7 as uuidv7 } from 'uuid'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../shared/values/text.js'
import { admin, daemon, deployments, oneStore, rejectionOf, startServer } from '../services/running-server.js'

const startedAt = new Date('2026-05-01T12:00:00Z')

describe.each(deployments)('$name', deployment => {
  const store = oneStore(deployment)

  /** A server with a provider of the vendor, and a function that records a request. */
  async function started() {
    const { connect } = await startServer(store(), {}, deployment)
    const [{ admin: operator }, { recorder }] = [connect(admin), connect(daemon)]
    const provider = `vendor-${uuidv7().slice(-12)}`
    await operator.providers.upsert.mutate({ name: provider, type: 'anthropic' })

    async function record(
      model: string,
      usages: { inputTokens?: number; outputTokens?: number; model?: string; metadata?: JsonObject }[],
      how: 'one by one' | 'as a batch' = 'as a batch',
    ): Promise<string> {
      const id = uuidv7()
      const interception = {
        id,
        initiatorId: uuidv7(),
        apiKeyId: 'abcdefghij',
        provider: 'anthropic',
        providerName: provider,
        model,
        startedAt,
      }
      const tokens = usages.map(usage => ({
        id: uuidv7(),
        interceptionId: id,
        msgId: 'm',
        inputTokens: 0,
        outputTokens: 0,
        cacheReadInputTokens: 0,
        cacheWriteInputTokens: 0,
        createdAt: startedAt,
        ...usage,
      }))
      if (how === 'as a batch') {
        const records = [
          { kind: 'interception' as const, ...interception },
          ...tokens.map(usage => ({ kind: 'tokenUsage' as const, ...usage })),
        ]
        const { results } = await recorder.recordBatch.mutate({ records })
        expect(results.every(({ ok }) => ok)).toBe(true)
      } else {
        await recorder.recordInterception.mutate(interception)
        for (const usage of tokens) await recorder.recordTokenUsage.mutate(usage)
      }
      return id
    }
    const costsOf = async (id: string) => {
      const { interception, tokenUsages } = await operator.interceptions.get.query({ id })
      return { total: interception.costNanos, each: tokenUsages.map(({ costNanos }) => costNanos) }
    }
    return { operator, recorder, provider, record, costsOf, connect }
  }

  test.each(['one by one', 'as a batch'] as const)(
    'records that come %s are priced when they are stored',
    async how => {
      const { record, costsOf } = await started()
      const id = await record('claude-sonnet-4-5-20250929', [{ inputTokens: 1_000 }, { outputTokens: 1_000 }], how)
      expect(await costsOf(id)).toEqual({ total: '18000000', each: ['3000000', '15000000'] })
    },
  )

  test('each record has the price of its own model', async () => {
    const { record, costsOf } = await started()
    const served = { response: { served_model: 'claude-haiku-4-5-20251001' } }
    const id = await record('claude-sonnet-4-5', [
      { inputTokens: 1_000, model: 'claude-opus-4-5' },
      { inputTokens: 1_000, metadata: served },
      { inputTokens: 1_000, metadata: { response: { served_model: 'claude-haiku-5-5' } } },
    ])
    expect((await costsOf(id)).each).toEqual(['5000000', '1000000', null])
  })

  test('a model without a price is null everywhere, and never 0', async () => {
    const { operator, provider, record, costsOf } = await started()
    const id = await record('claude-sonnet-5-5', [{ inputTokens: 1_000 }])
    expect(await costsOf(id)).toEqual({ total: null, each: [null] })
    const { rows } = await operator.usage.query({ provider })
    expect(rows).toMatchObject([{ costNanos: null, unpricedRecords: 1, inputTokens: 1_000 }])
    const { unpriced } = await operator.prices.list.query({ since: new Date('2026-01-01') })
    expect(unpriced).toContainEqual({
      provider,
      model: 'claude-sonnet-5-5',
      records: 1,
      tokens: 1_000,
      lastAt: startedAt,
      reason: 'unknown_model',
    })
    const explained = await operator.prices.explain.query({ provider, model: 'claude-sonnet-5-5' })
    expect(explained).toMatchObject({ list: 'anthropic', price: null, reason: 'unknown_model' })
    expect(explained.similar).toContain('claude-sonnet-5')
  })

  test('a price that is set holds from then on, and changes no record', async () => {
    const { operator, provider, record, costsOf } = await started()
    const before = await record('claude-sonnet-4-5', [{ inputTokens: 1_000 }])
    const rates = { input: { base: '7' }, output: { base: '9' } }
    const set = await operator.prices.set.mutate({ provider, model: 'claude-sonnet-4-5', rates })
    expect(set).toMatchObject({ provider, model: 'claude-sonnet-4-5', rates, aliasOf: null })
    const after = await record('claude-sonnet-4-5', [{ inputTokens: 1_000 }])
    expect([(await costsOf(before)).total, (await costsOf(after)).total]).toEqual(['3000000', '7000000'])
    expect((await operator.prices.list.query({})).own).toContainEqual(set)
    expect(await operator.prices.explain.query({ provider, model: 'claude-sonnet-4-5' })).toMatchObject({
      price: { list: 'own', match: 'own' },
    })
    await operator.prices.remove.mutate({ provider, model: 'claude-sonnet-4-5' })
    const last = await record('claude-sonnet-4-5', [{ inputTokens: 1_000 }])
    expect((await costsOf(last)).total).toBe('3000000')
    expect(await rejectionOf(operator.prices.remove.mutate({ provider, model: 'claude-sonnet-4-5' }))).toMatchObject({
      reason: 'unknown_row',
    })
    const { entries } = await operator.audit.list.query({ target: 'claude-sonnet-4-5', limit: 2 })
    expect(entries.map(({ action }) => action)).toEqual(['prices.remove', 'prices.set'])
  })

  test('an alias with a factor prices a name of another vendor’s', async () => {
    const { operator, provider, record, costsOf } = await started()
    const model = 'us.anthropic.claude-sonnet-4-5-20250929-v1:0'
    expect(await operator.prices.explain.query({ provider, model })).toMatchObject({ price: null })
    const aliasOf = { list: 'anthropic', model: 'claude-sonnet-4-5', factor: '1.1' }
    await operator.prices.set.mutate({ provider, model, aliasOf })
    const id = await record(model, [{ inputTokens: 1_000 }])
    expect((await costsOf(id)).total).toBe('3300000')
    expect(await operator.prices.explain.query({ provider, model })).toMatchObject({
      price: { match: 'alias', factor: '1.1', list: 'anthropic', model: 'claude-sonnet-4-5' },
    })
  })

  test('multipliers that are set stand beside the prices of the list', async () => {
    const { operator, provider, record, costsOf } = await started()
    const priority = { service_tier: 'priority' }
    const before = await record('claude-sonnet-4-5', [{ inputTokens: 1_000, metadata: priority }])
    await operator.prices.set.mutate({ provider, model: 'claude-sonnet-4-5', multipliers: { priority: '2.5' } })
    const after = await record('claude-sonnet-4-5', [{ inputTokens: 1_000, metadata: priority }])
    expect([(await costsOf(before)).total, (await costsOf(after)).total]).toEqual([null, '7500000'])
  })

  test('a provider of an unknown host is unpriced until a list is named, and then by none again', async () => {
    const { operator, provider, record, costsOf } = await started()
    const listIs = (list: string | null) =>
      expect
        .poll(async () => (await operator.prices.explain.query({ provider, model: 'claude-sonnet-4-5' })).list)
        .toBe(list)
    await operator.providers.upsert.mutate({ name: provider, baseUrl: 'https://api.anthropic.com.example.net' })
    await listIs(null)
    const first = await record('claude-sonnet-4-5', [{ inputTokens: 1_000 }])
    const set = await operator.providers.upsert.mutate({ name: provider, settings: { priceList: 'anthropic' } })
    expect(set.settings.priceList).toBe('anthropic')
    await listIs('anthropic')
    const second = await record('claude-sonnet-4-5', [{ inputTokens: 1_000 }])
    await operator.providers.upsert.mutate({ name: provider, settings: { priceList: 'none' } })
    await listIs(null)
    const third = await record('claude-sonnet-4-5', [{ inputTokens: 1_000 }])
    const totals = []
    for (const id of [first, second, third]) totals.push((await costsOf(id)).total)
    expect(totals).toEqual([null, '3000000', null])
    expect(await operator.prices.explain.query({ provider, model: 'claude-sonnet-4-5' })).toMatchObject({
      list: null,
      reason: 'no_list',
    })
  })

  test('a backfill prices records of the past, in parts, once, and marks the costs as estimates', async () => {
    const { operator, provider, record, costsOf } = await started()
    const rates = { input: { base: '1' }, output: { base: '1' } }
    const model = `own-${uuidv7().slice(-8)}`
    const ids: string[] = []
    for (let number = 0; number < 3; number++) ids.push(await record(model, [{ inputTokens: 1_000 }]))
    await operator.prices.set.mutate({ provider, model, rates })
    // Other tests of this store have left records without a price.
    let cursor: string | null = null
    let priced = 0
    do {
      const part: Awaited<ReturnType<typeof operator.prices.backfill.mutate>> = await operator.prices.backfill.mutate({
        limit: 2,
        ...(cursor !== null && { cursor }),
      })
      priced += part.priced
      cursor = part.nextCursor
    } while (cursor !== null)
    expect(priced).toBeGreaterThanOrEqual(3)
    for (const id of ids) {
      const { tokenUsages } = await operator.interceptions.get.query({ id })
      expect(tokenUsages).toMatchObject([{ costNanos: '1000000', costEstimated: true }])
    }
    await operator.prices.set.mutate({ provider, model, rates: { input: { base: '5' }, output: { base: '5' } } })
    await operator.prices.backfill.mutate({})
    expect((await costsOf(ids[0] ?? '')).total).toBe('1000000')
    const { rows } = await operator.usage.query({ provider, by: ['model'] })
    expect(rows).toMatchObject([{ model, costNanos: '3000000', unpricedRecords: 0, estimatedRecords: 3 }])
    expect(await rejectionOf(operator.prices.backfill.mutate({ cursor: 'x' }))).toMatchObject({ code: 'BAD_REQUEST' })
  })

  test('an export has every row once, page by page, in the order of its groups', async () => {
    const { operator, provider, record } = await started()
    for (const model of ['b', 'a', 'c']) await record(model, [{ inputTokens: 1 }])
    const query = { provider, by: ['model' as const, 'client' as const, 'user' as const] }
    const page = await operator.usageExport.query(query)
    expect(page.rows.map(({ model }) => model)).toEqual(['a', 'b', 'c'])
    expect(page.nextCursor).toBeNull()
    const rows = (await operator.usage.query(query)).rows
    expect(page.rows).toEqual(expect.arrayContaining(rows))
    const cursorOf = (values: unknown) => Buffer.from(JSON.stringify(values)).toString('base64url')
    const { userId } = page.rows[0] ?? { userId: null }
    const behind = cursorOf([userId, null, null, 'a', null, null])
    const second = await operator.usageExport.query({ ...query, cursor: behind })
    expect(second.rows.map(({ model }) => model)).toEqual(['b', 'c'])
    for (const cursor of ['x', cursorOf([]), cursorOf(['no uuid', null, null, 'a', null, null])]) {
      expect(await rejectionOf(operator.usageExport.query({ ...query, cursor }))).toMatchObject({ code: 'BAD_REQUEST' })
    }
  })

  test.each([
    { rates: { input: { base: '-1' }, output: { base: '1' } } },
    { rates: { input: { base: '1e3' }, output: { base: '1' } } },
    { rates: { input: { base: '1' }, output: { base: '' } } },
    { rates: { input: { base: '1' }, output: { base: '1' } }, aliasOf: { list: 'anthropic', model: 'm' } },
    { multipliers: { 'NO NAME': '1' } },
    { multipliers: Object.fromEntries(Array.from({ length: 33 }, (_, index) => [`m${index}`, '1'])) },
    {},
  ])('the price %j is rejected', async price => {
    const { operator } = await started()
    expect(await rejectionOf(operator.prices.set.mutate({ model: 'm', ...price }))).toMatchObject({
      code: 'BAD_REQUEST',
    })
  })

  test('prices are the operators’', async () => {
    const { connect } = await started()
    const { admin: others } = connect(daemon)
    expect(await rejectionOf(others.prices.list.query({}))).toMatchObject({ code: 'FORBIDDEN' })
  })
})
