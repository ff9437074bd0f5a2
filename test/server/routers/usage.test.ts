import { v7 as uuidv7 } from 'uuid'
import { describe, expect, test } from 'vitest'
import { admin, daemon, deployments, oneStore, rejectionOf, startServer } from '../services/running-server.js'

describe.each(deployments)('$name', deployment => {
  const store = oneStore(deployment)

  async function recorded() {
    const { connect } = await startServer(store(), {}, deployment)
    const [{ admin: operator }, { recorder }] = [connect(admin), connect(daemon)]
    const username = `ada-${uuidv7().slice(-8)}`
    const { id: initiatorId } = await operator.users.create.mutate({ username })
    for (const [model, startedAt] of [
      ['big', new Date('2026-05-01T23:00:00Z')],
      ['small', new Date('2026-05-02T01:00:00Z')],
      ['big', new Date('2026-05-02T02:00:00Z')],
    ] as const) {
      const id = uuidv7()
      await recorder.recordInterception.mutate({
        id,
        initiatorId,
        apiKeyId: 'abcdefghij',
        provider: 'anthropic',
        model,
        startedAt,
      })
      for (const inputTokens of [5, 6]) {
        await recorder.recordTokenUsage.mutate({
          id: uuidv7(),
          interceptionId: id,
          msgId: 'm',
          inputTokens,
          outputTokens: 1,
          cacheReadInputTokens: 0,
          cacheWriteInputTokens: 2,
          createdAt: startedAt,
        })
      }
    }
    return { operator, username, userId: initiatorId }
  }
  const tokens = (interceptions: number) => ({
    interceptions,
    inputTokens: 11 * interceptions,
    outputTokens: 2 * interceptions,
    cacheReadInputTokens: 0,
    cacheWriteInputTokens: 4 * interceptions,
    costNanos: null,
    unpricedRecords: 2 * interceptions,
    estimatedRecords: 0,
  })

  test('usage is answered by groups, and says when there was more', async () => {
    const { operator, username, userId } = await recorded()
    const row = { userId: null, username: null, keyId: null, provider: null, model: null, client: null, day: null }
    expect(await operator.usage.query({ user: username })).toEqual({ rows: [{ ...row, ...tokens(3) }], isCut: false })
    const named = { userId, username }
    expect(await operator.usage.query({ user: userId, by: ['user', 'model'] })).toEqual({
      rows: [
        { ...row, ...named, model: 'big', ...tokens(2) },
        { ...row, ...named, model: 'small', ...tokens(1) },
      ],
      isCut: false,
    })
    expect(await operator.usage.query({ user: userId, by: ['day'], limit: 1 })).toEqual({
      rows: [{ ...row, day: '2026-05-02', ...tokens(2) }],
      isCut: true,
    })
    const filters = { from: new Date('2026-05-02T02:00:00Z'), provider: 'anthropic', model: 'big' }
    expect(await operator.usage.query({ user: userId, ...filters })).toMatchObject({ rows: [{ interceptions: 1 }] })
  })

  test('tokens with a billed model of their own count for that model, and the interception for its own', async () => {
    const { connect } = await startServer(store(), {}, deployment)
    const [{ admin: operator }, { recorder }] = [connect(admin), connect(daemon)]
    const { id: initiatorId } = await operator.users.create.mutate({ username: `ada-${uuidv7().slice(-8)}` })
    const [id, startedAt] = [uuidv7(), new Date('2026-05-01T23:00:00Z')]
    const interception = { id, initiatorId, apiKeyId: 'abcdefghij', provider: 'anthropic', model: 'asked', startedAt }
    await recorder.recordInterception.mutate(interception)
    const counts = { outputTokens: 1, cacheReadInputTokens: 0, cacheWriteInputTokens: 0 }
    const usage = () => ({ id: uuidv7(), interceptionId: id, msgId: 'm', ...counts, createdAt: startedAt })
    await recorder.recordTokenUsage.mutate({ ...usage(), inputTokens: 5 })
    await recorder.recordTokenUsage.mutate({ ...usage(), inputTokens: 70, model: 'advisor' })
    const { rows } = await operator.usage.query({ user: initiatorId, by: ['model'] })
    const asked = { model: 'asked', interceptions: 1, inputTokens: 5 }
    const advisor = { model: 'advisor', interceptions: 0, inputTokens: 70 }
    expect(rows).toMatchObject([advisor, asked])
    for (const row of [asked, advisor]) {
      const filtered = await operator.usage.query({ user: initiatorId, model: row.model })
      expect(filtered.rows).toMatchObject([{ ...row, model: null }])
    }
  })

  test('usage rejects unknown groups, and daemons', async () => {
    const { connect } = await startServer(store(), {}, deployment)
    const { usage } = connect(admin).admin
    expect(await rejectionOf(usage.query({ user: 'nobody' }))).toMatchObject({
      code: 'NOT_FOUND',
      reason: 'unknown_row',
    })
    for (const limit of [0, 1001, 1.5])
      expect(await rejectionOf(usage.query({ limit }))).toMatchObject({ code: 'BAD_REQUEST' })
    const unknown = JSON.parse('{"by": ["colour"]}')
    expect(await rejectionOf(usage.query(unknown))).toMatchObject({ code: 'BAD_REQUEST' })
    expect(await rejectionOf(connect(daemon).admin.usage.query({}))).toMatchObject({ code: 'FORBIDDEN' })
  })
})
