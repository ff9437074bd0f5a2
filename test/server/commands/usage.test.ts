/** `aibridge usage` against a server that listens. */
import papaparse from 'papaparse'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { addUsageCommand } from '../../../server/commands/usage.js'
import type { UsageReport } from '../../../shared/contract/admin/usage.js'
import { oneStore } from '../services/running-server.js'
import { interception, tokenUsage } from '../store/records/records.js'
import { commandLine } from './command-line.js'

const store = oneStore()

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

describe('usage', () => {
  const operator = () => commandLine(store(), addUsageCommand)

  test('usage is a table by what was asked for, and as JSON what the contract has', async () => {
    const { admin, print, json } = await operator()
    const { id: initiatorId } = await admin.users.create.mutate({ username: 'ada' })
    const rows = ['big', 'small', 'big'].map(model => interception({ initiatorId, model }))
    await store().record([...rows, ...rows.map(({ record }) => tokenUsage(record.id))])
    expect(await print('usage', '--by', 'user, model', '--user', 'ada')).toBe(
      [
        'USER  MODEL  REQUESTS  INPUT  OUTPUT  CACHE READ  CACHE WRITE  COST  UNPRICED',
        'ada   big    2         2      4       6           8            -     2',
        'ada   small  1         1      2       3           4            -     1\n',
      ].join('\n'),
    )
    expect(await print('usage', '--by', 'model', '--user', 'ada', '--limit', '1')).toMatch(
      /^MODEL .*\nbig .*\nonly the first 1 rows; there are more\n$/,
    )
    expect(await json<UsageReport>('usage', '--from', '2026-03-04', '--to', '2026-03-05', '--model', 'small')).toEqual({
      rows: [
        {
          userId: null,
          username: null,
          keyId: null,
          provider: null,
          model: null,
          client: null,
          day: null,
          interceptions: 1,
          inputTokens: 1,
          outputTokens: 2,
          cacheReadInputTokens: 3,
          cacheWriteInputTokens: 4,
          costNanos: null,
          unpricedRecords: 1,
          estimatedRecords: 0,
        },
      ],
      isCut: false,
    })
  })

  test('an export has all rows as CSV for spreadsheets and as lines of JSON', async () => {
    const { admin, print } = await operator()
    const { id: initiatorId } = await admin.users.create.mutate({ username: 'eve' })
    const model = '=a "model", quoted'
    const rows = [interception({ initiatorId, model })]
    await store().record([...rows, ...rows.map(({ record }) => tokenUsage(record.id))])
    const csv = await print('usage', '--by', 'user,model', '--user', initiatorId, '--format', 'csv')
    const { data, errors } = papaparse.parse<Record<string, string>>(csv, { header: true, skipEmptyLines: true })
    expect(errors).toEqual([])
    expect(data).toEqual([
      {
        user_id: initiatorId,
        user: 'eve',
        model: `'${model}`,
        requests: '1',
        input_tokens: '1',
        output_tokens: '2',
        cache_read_input_tokens: '3',
        cache_write_input_tokens: '4',
        cost_usd: '',
        unpriced_records: '1',
        estimated_records: '0',
      },
    ])
    const lines = await print('usage', '--by', 'user,model', '--user', initiatorId, '--format', 'jsonl')
    expect(
      lines
        .trim()
        .split('\n')
        .map(line => JSON.parse(line)),
    ).toEqual([expect.objectContaining({ user: 'eve', model, requests: 1, cost_usd: null })])
  })

  test('usage rejects other groups', async () => {
    const { print } = await operator()
    await expect(print('usage', '--by', 'user,colour')).rejects.toThrow(
      'It must be any of user, key, provider, model, client, day.',
    )
    await expect(print('usage', '--limit', '1001')).rejects.toMatchObject({ code: 'BAD_REQUEST' })
  })
})
