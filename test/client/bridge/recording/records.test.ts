import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Outcome, ResponseFacts, TokenCounts } from '../../../../client/bridge/providers/provider-api.js'
import { InterceptionRecords, type InterceptionStart } from '../../../../client/bridge/recording/records.js'
import { type BatchRecord, recordSchemas } from '../../../../shared/contract/recorder.js'
import type { JsonObject } from '../../../../shared/values/text.js'
import { silentLogger } from '../../../fixtures/stores.js'
import { testOwner } from '../scripted-control-plane.js'

const start: InterceptionStart = {
  owner: testOwner,
  provider: { type: 'anthropic', name: 'anthropic' },
  request: { model: 'm' },
  credentialKind: 'centralized',
  credentialHint: undefined,
  secrets: [],
  client: undefined,
  userAgent: undefined,
  requestBytes: 400,
  startedAt: new Date(),
  arrivedAt: performance.now(),
}

const counts = (n: number, details: JsonObject = {}): TokenCounts => ({
  input: n,
  output: n + 1,
  cacheRead: n + 2,
  cacheWrite: n + 3,
  details,
})

/** Returns the token usages of a response, checked as the control plane checks them. */
function usagesOf(response: Partial<ResponseFacts>, recordContent = true) {
  const options = { recordContent, logger: silentLogger }
  const records = new InterceptionRecords(options, start).whole([{ tools: [], thoughts: [], ...response }], undefined)
  return records.filter(({ kind }) => kind === 'tokenUsage').map(record => recordSchemas.tokenUsage.parse(record))
}

test('no field of an interception holds a key of its request', () => {
  const key = 'abcdefghij-0123456789abcdefghijkl'
  const request = {
    model: `m ${key}`,
    sessionId: key,
    conversationId: key,
    previousMsgId: key,
    correlatingToolCallId: key,
  }
  const withKey = { ...start, secrets: [key], userAgent: `x ${key}`, request }
  const record = new InterceptionRecords({ recordContent: true, logger: silentLogger }, withKey).interception
  expect(JSON.stringify(record)).not.toContain(key)
})

describe('token usages of a response', () => {
  test('token usages of a response are one for the response and one for each part that is billed beside it, with ids in the order of the parts', () => {
    const billedBeside = [10, 20, 30, 40].map(n => ({ ...counts(n), model: n === 20 ? 'advisor' : undefined }))
    const usages = usagesOf({ usage: counts(1), billedBeside, usageIsFinal: true })
    expect(usages.map(({ inputTokens, model }) => [inputTokens, model])).toEqual([
      [1, undefined],
      [10, undefined],
      [20, 'advisor'],
      [30, undefined],
      [40, undefined],
    ])
    const ids = usages.map(({ id }) => id)
    expect(ids.toSorted()).toEqual(ids)
  })

  test('token usages of a response have the facts of the response in the first one only', () => {
    const outcome: Outcome = { served_model: 'claude-x', stop_reason: 'end_turn', searches: 2 }
    const [first, second] = usagesOf({ usage: counts(1), billedBeside: [{ ...counts(2), model: 'a' }], outcome })
    expect(first?.metadata).toEqual({ response: outcome })
    expect(second?.metadata).toBeUndefined()
  })

  test('token usages of a response have no metadata without facts and details, so that hashes of older records stay', () => {
    expect(usagesOf({ usage: counts(1), outcome: {} })[0]).not.toHaveProperty('metadata')
  })

  test('keep counts and enumerations without content, also in lists, and no words', () => {
    const details = {
      cache_creation: { ephemeral_5m_input_tokens: 3, note: 'words' },
      parts: [{ tokens: 1, text: 'words' }, { tokens: 2 }, 'words'],
      'words in a name': 3,
      service_tier: 'words of any kind',
    }
    const outcome: Outcome = {
      served_model: 'vendor/model-1:free',
      stop_reason: 'some words that a user wrote',
      context_edits: { clear_thinking: 1, 'words in a name': 2 },
      images: 1,
    }
    const [usage] = usagesOf({ usage: counts(1, details), outcome }, false)
    expect(usage?.metadata).toEqual({
      cache_creation: { ephemeral_5m_input_tokens: 3 },
      parts: [{ tokens: 1 }, { tokens: 2 }],
      response: { served_model: 'vendor/model-1:free', context_edits: { clear_thinking: 1 }, images: 1 },
    })
  })

  test.each(['accounts/f/models/x#accounts/y/deployments/z', 'claude-sonnet-4-5[1m]', 'my model.gguf'])(
    'name the served model %s',
    served_model =>
      expect(usagesOf({ usage: counts(1), outcome: { served_model } })[0]?.metadata).toEqual({
        response: { served_model },
      }),
  )

  test('keep the facts where the details are too large for a record', () => {
    const details = { text: 'x'.repeat(100_000) }
    expect(usagesOf({ usage: counts(1, details), outcome: { images: 1 } })[0]?.metadata).toEqual({
      response: { images: 1 },
    })
  })

  test.each<[string, Partial<ResponseFacts>, [number, number, boolean][]]>([
    ['nothing was relayed', { mayBeEstimated: true, relayedCharacters: 0 }, []],
    ['no count came', { mayBeEstimated: true, relayedCharacters: 9 }, [[100, 3, true]]],
    ['only a beginning was counted', { mayBeEstimated: true, relayedCharacters: 9, usage: counts(7) }, [[7, 8, true]]],
    [
      'the beginning counts less than came',
      { mayBeEstimated: true, relayedCharacters: 90, usage: counts(7) },
      [[7, 23, true]],
    ],
    [
      'the beginning counts no input',
      { mayBeEstimated: true, relayedCharacters: 9, usage: { ...counts(0), cacheRead: 0, cacheWrite: 0 } },
      [[100, 3, true]],
    ],
    [
      'the count is final',
      { mayBeEstimated: true, relayedCharacters: 90, usage: counts(7), usageIsFinal: true },
      [[7, 8, false]],
    ],
    [
      'the provider reported an error',
      { mayBeEstimated: false, relayedCharacters: 90, usage: counts(7) },
      [[7, 8, false]],
    ],
  ])('token usages of a response are estimated or not where %s', (_, response, expected) => {
    const usages = usagesOf(response)
    expect(
      usages.map(({ inputTokens, outputTokens, metadata }) => [
        inputTokens,
        outputTokens,
        metadata?.estimated ?? false,
      ]),
    ).toEqual(expected)
  })
})

describe('records of an interception', () => {
  const options = { recordContent: true, logger: silentLogger }
  const facts: ResponseFacts = {
    tools: [],
    thoughts: [],
    usage: counts(1),
    billedBeside: [{ ...counts(2), model: 'a' }],
  }

  test.each([
    ['back', -3_600_000],
    ['forward', 3_600_000],
  ])('records are not older than their interception, and as late as it lasted, if the clock jumps %s', (_, jumpMs) => {
    vi.useFakeTimers({ toFake: ['Date', 'performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const startedAt = new Date()
    const records = new InterceptionRecords(options, { ...start, startedAt, arrivedAt: performance.now() })
    vi.advanceTimersByTime(1_500)
    vi.setSystemTime(Date.now() + jumpMs)
    const late = new Date(startedAt.getTime() + 1_500)
    const end = records.end(undefined)
    expect(end).toMatchObject({ endedAt: late })
    for (const record of records.whole([facts], undefined)) {
      expect('createdAt' in record ? record.createdAt : late).toEqual(late)
    }
  })

  test('records for a process that dies have the ids of the final ones', () => {
    const request = { model: 'm', prompt: 'hello' }
    const records = new InterceptionRecords(options, { ...start, request })
    const idsOf = (made: BatchRecord[]) => made.filter(({ kind }) => kind !== 'interceptionEnded').map(({ id }) => id)
    const failure = { type: 'unknown', message: 'it died' } as const
    const before = idsOf(records.beforeResponse(failure))
    const inside = idsOf(records.insideResponse([{ ...facts, billedBeside: [] }], failure))
    expect([before.length, inside.length]).toEqual([1, 1])
    expect(idsOf(records.whole([facts], undefined))).toEqual([...before, ...inside, expect.any(String)])
    expect(idsOf(records.whole([facts], undefined))).toHaveLength(3)
  })

  test('each response of an interception has its own token usages, the prompt and the end come once', () => {
    const request = { model: 'm', prompt: 'hello' }
    const records = new InterceptionRecords(options, { ...start, request })
    const at = new Date()
    const input = { text: '{}', bytes: 2 }
    const ran = { callId: 'c', tool: 'search', input, serverUrl: 'https://wiki.test/mcp', injected: true, at }
    const first = { ...facts, msgId: 'one', tools: [ran] }
    const second = { tools: [{ callId: 'd', tool: 'Read', input, at }], thoughts: [], usage: counts(5), msgId: 'two' }
    const noted = records.insideResponse([first, second], { type: 'unknown', message: 'it died' })
    const made = records.whole([first, second], undefined)
    expect(made.map(({ kind, ...rest }) => [kind, 'msgId' in rest ? rest.msgId : undefined])).toEqual([
      ['promptUsage', 'one'],
      ['tokenUsage', 'one'],
      ['tokenUsage', 'one'],
      ['tokenUsage', 'two'],
      ['toolUsage', 'one'],
      ['toolUsage', 'two'],
      ['interceptionEnded', undefined],
    ])
    const tools = made.filter(record => record.kind === 'toolUsage')
    expect(tools.map(({ tool, injected, serverUrl }) => [tool, injected, serverUrl])).toEqual([
      ['search', true, 'https://wiki.test/mcp'],
      ['Read', false, undefined],
    ])
    const tokens = (all: BatchRecord[]) => all.filter(({ kind }) => kind === 'tokenUsage').map(({ id }) => id)
    expect(tokens(noted)).toEqual(tokens(made))
  })
})
