import { hash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { canonicalJson, contentHash } from '../../../../server/services/daemon/content-hash.js'
import { createRecorder } from '../../../../server/services/daemon/recorder.js'
import type { StoredRecord } from '../../../../server/store/store.js'
import { recordLimits } from '../../../../shared/contract/limits.js'
import { type BatchRecord, type RecordOutcome, recordSchemas } from '../../../../shared/contract/recorder.js'
import { fc } from '../../../fixtures/random.js'
import { recordingLogger, rejectionOf } from '../running-server.js'

const interceptionId = '019a0000-0000-7000-8000-000000000001'
const at = new Date('2026-05-01T12:00:00.123Z')

const interception = {
  kind: 'interception',
  id: interceptionId,
  initiatorId: '019a0000-0000-7000-8000-000000000002',
  apiKeyId: 'abcdefghij',
  provider: 'anthropic',
  model: 'claude',
  startedAt: at,
} as const
const child = { interceptionId, msgId: 'msg_1', createdAt: at } as const
const prompt = { ...child, kind: 'promptUsage', id: '019a0000-0000-7000-8000-000000000003', prompt: 'hello' } as const
const tokens = {
  ...child,
  kind: 'tokenUsage',
  id: '019a0000-0000-7000-8000-000000000004',
  inputTokens: 1,
  outputTokens: 2,
  cacheReadInputTokens: 3,
  cacheWriteInputTokens: 4,
} as const

function recorderWith(outcomes: RecordOutcome[] = [], structuredLogging = false) {
  const calls: (readonly StoredRecord[])[] = []
  const logger = recordingLogger()
  const store = {
    async record(records: readonly StoredRecord[]): Promise<RecordOutcome[]> {
      calls.push(records)
      return records.map((_, index) => outcomes[index] ?? { ok: true })
    },
  }
  return {
    recorder: createRecorder({
      store,
      isStoreWritable: async () => true,
      logger,
      structuredLogging,
      recordPricer: { price: async () => {} },
    }),
    calls,
    logger,
  }
}

async function storedOf(input: object): Promise<StoredRecord> {
  const { recorder, calls } = recorderWith()
  // Whatever a test gives is what a peer may send.
  await recorder.recordBatch([input as BatchRecord])
  const [stored] = calls[0] ?? []
  if (!stored) throw new Error('nothing was stored')
  return stored
}

const hashOf = async (input: object) => Buffer.from((await storedOf(input)).contentHash).toString('hex')

describe('normalising', () => {
  test.each([undefined, '', ' ', '\t\n'])('a provider name of %j becomes the provider', async providerName => {
    expect((await storedOf({ ...interception, providerName })).record).toMatchObject({ providerName: 'anthropic' })
  })

  test('the user agent moves to the metadata', async () => {
    const { record } = await storedOf({ ...interception, userAgent: 'claude-cli/2.0', metadata: { a: 1 } })
    expect(record).toMatchObject({ metadata: { a: 1, request_user_agent: 'claude-cli/2.0' } })
    expect(record).not.toHaveProperty('userAgent')
  })

  test('metadata stays away where there is none', async () => {
    expect((await storedOf(interception)).record).not.toHaveProperty('metadata')
  })

  test('U+0000 and lone surrogates become U+FFFD, in keys too', async () => {
    const { record } = await storedOf({ ...prompt, prompt: 'a\0b\ud800c', metadata: { 'k\0': ['\udc00'] } })
    expect(record).toMatchObject({ prompt: 'a\uFFFDb\uFFFDc', metadata: { 'k\uFFFD': ['\uFFFD'] } })
  })

  test('content is cut at a character and its size kept', async () => {
    // 3 bytes each, and 1 MiB is not a multiple of 3.
    const long = '€'.repeat(400_000)
    const { recorder, calls } = recorderWith()
    await recorder.record({
      kind: 'promptUsage',
      record: recordSchemas.promptUsage.parse({ ...prompt, prompt: long, metadata: { a: 1 } }),
    })
    const stored = calls[0]?.[0]?.record
    expect(stored).toMatchObject({ metadata: { a: 1, original_bytes: { prompt: 1_200_000 } } })
    const kept = stored && 'prompt' in stored ? stored.prompt : ''
    expect(kept).toBe('€'.repeat(Math.floor(recordLimits.maxContentBytes / 3)))
  })
})

describe('the content hash', () => {
  test('a record without the fields of later versions has the hash that it always had', async () => {
    const text =
      '{"apiKeyId":"abcdefghij","credentialKind":"centralized","id":"019a0000-0000-7000-8000-000000000001",' +
      '"initiatorId":"019a0000-0000-7000-8000-000000000002","model":"claude","provider":"anthropic",' +
      '"providerName":"anthropic","startedAt":"2026-05-01T12:00:00.123Z"}'
    expect(await hashOf(interception)).toBe(hash('sha256', text))
    const more = { previousMsgId: 'resp', conversationId: 'conv' }
    expect(await hashOf({ ...interception, ...more })).not.toBe(hash('sha256', text))
    expect(await hashOf({ ...interception, interceptionKind: 'model' })).toBe(hash('sha256', text))
    expect(await hashOf({ ...interception, interceptionKind: 'mcp' })).not.toBe(hash('sha256', text))
    const usage =
      '{"cacheReadInputTokens":3,"cacheWriteInputTokens":4,"createdAt":"2026-05-01T12:00:00.123Z",' +
      '"id":"019a0000-0000-7000-8000-000000000004","inputTokens":1,' +
      `"interceptionId":"${interceptionId}","msgId":"msg_1","outputTokens":2}`
    expect(await hashOf(tokens)).toBe(hash('sha256', usage))
    expect(await hashOf({ ...tokens, model: 'advisor' })).not.toBe(hash('sha256', usage))
  })

  test('the content hash is the same in whatever order the fields come', async () => {
    const one = await hashOf({ ...interception, metadata: { a: { x: 1, y: 2 }, b: 2 } })
    const reversed = Object.fromEntries(Object.entries(interception).reverse())
    expect(await hashOf({ metadata: { b: 2, a: { y: 2, x: 1 } }, ...reversed })).toBe(one)
  })

  test('the content hash is the same for a default and for nothing', async () => {
    const one = await hashOf(interception)
    expect(await hashOf({ ...interception, providerName: 'anthropic', credentialKind: 'centralized' })).toBe(one)
    expect(await hashOf({ ...interception, providerName: ' ', client: undefined })).toBe(one)
    expect(await hashOf({ ...interception, id: interceptionId.toUpperCase() })).toBe(one)
  })

  test('differs when a field differs', async () => {
    const hashes = await Promise.all(
      [
        interception,
        { ...interception, model: 'claude-2' },
        { ...interception, startedAt: new Date(at.getTime() + 1) },
        { ...interception, userAgent: 'x' },
        { ...interception, metadata: {} },
        { ...interception, metadata: { a: 1 } },
        { ...interception, metadata: { a: '1' } },
        { ...interception, metadata: { a: [1] } },
      ].map(hashOf),
    )
    expect(new Set(hashes).size).toBe(hashes.length)
  })

  test('the content hash has 32 bytes', () => expect(contentHash({})).toHaveLength(32))

  test('canonical JSON is JSON of the same value, with sorted keys', () => {
    fc.assert(
      fc.property(fc.jsonValue(), value => {
        const text = canonicalJson(value)
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)))
      }),
    )
    expect(canonicalJson({ b: at, a: undefined, B: [undefined, null] })).toBe(
      '{"B":[null,null],"b":"2026-05-01T12:00:00.123Z"}',
    )
  })

  test('keys such as __proto__ count', () => {
    const hostile: unknown = JSON.parse('{"__proto__": {"a": 1}}')
    expect(canonicalJson(hostile)).toBe('{"__proto__":{"a":1}}')
  })
})

describe('one record', () => {
  const record = recordSchemas.tokenUsage.parse(tokens)

  test('one record that is stored answers nothing', async () => {
    const { recorder, calls } = recorderWith()
    expect(await recorder.record({ kind: 'tokenUsage', record })).toEqual({})
    expect(calls).toHaveLength(1)
  })

  test.each([
    ['NOT_FOUND', 'unknown_interception'],
    ['CONFLICT', 'content_differs'],
  ] as const)('one record that is rejected with %s rejects with the reason %s', async (code, reason) => {
    const { recorder } = recorderWith([{ ok: false, code, message: 'because' }])
    const rejected = await rejectionOf(recorder.record({ kind: 'tokenUsage', record }))
    expect(rejected).toEqual({ code, reason, message: 'because' })
  })
})

describe('a batch', () => {
  test('a batch keeps the order of its outcomes, and bad records stop no others', async () => {
    const { recorder, calls } = recorderWith([
      { ok: true },
      { ok: false, code: 'NOT_FOUND', message: 'no such interception' },
    ])
    const records: object[] = [
      { kind: 'nonsense' },
      interception,
      { ...tokens, inputTokens: -1 },
      prompt,
      { ...prompt, prompt: 5 },
      tokens,
    ]
    const { results } = await recorder.recordBatch(records as BatchRecord[])
    expect(results.map(result => (result.ok ? 'ok' : result.code))).toEqual([
      'BAD_REQUEST',
      'ok',
      'BAD_REQUEST',
      'NOT_FOUND',
      'BAD_REQUEST',
      'ok',
    ])
    expect(calls.map(call => call.map(({ kind }) => kind))).toEqual([['interception', 'promptUsage', 'tokenUsage']])
  })

  test('a batch of bad records alone asks the store nothing', async () => {
    const { recorder, calls } = recorderWith()
    for (const record of [null, 5, 'x', [], {}, { kind: '__proto__' }, { kind: 'toString' }, { kind: null }]) {
      const { results } = await recorder.recordBatch([record as unknown as BatchRecord])
      expect(results).toEqual([
        { ok: false, code: 'BAD_REQUEST', message: expect.stringMatching(/^kind: must be one of interception, /) },
      ])
    }
    expect(calls).toEqual([])
  })

  test('above maxBatchBytes is rejected as a whole, with both numbers', async () => {
    const { recorder, calls } = recorderWith()
    const half = 'x'.repeat(recordLimits.maxBatchBytes / 2)
    const rejected = await rejectionOf(
      recorder.recordBatch([
        { ...prompt, prompt: half },
        { ...prompt, prompt: half },
      ]),
    )
    expect(rejected.code).toBe('BAD_REQUEST')
    expect(rejected.message).toMatch(/a batch of 1,04\d,\d{3} bytes is larger than maxBatchBytes 1,048,576/)
    expect(calls).toEqual([])
  })

  test('a batch of exactly maxBatchBytes is taken', async () => {
    const { recorder } = recorderWith()
    const rest = recordLimits.maxBatchBytes - Buffer.byteLength(JSON.stringify({ ...prompt, prompt: '' }))
    const { results } = await recorder.recordBatch([{ ...prompt, prompt: 'x'.repeat(rest) }])
    expect(results).toEqual([{ ok: true }])
    const rejected = await rejectionOf(recorder.recordBatch([{ ...prompt, prompt: 'x'.repeat(rest + 1) }]))
    expect(rejected.message).toContain('1,048,577')
  })
})

describe('structured logging', () => {
  test('writes one line per stored record, without content', async () => {
    const { recorder, logger } = recorderWith([{ ok: true }, { ok: false, code: 'CONFLICT', message: 'x' }], true)
    const thought = { kind: 'modelThought', id: prompt.id, interceptionId, content: 'MARKED-CONTENT', createdAt: at }
    const tool = { ...child, kind: 'toolUsage', id: prompt.id, tool: 'Bash', input: 'MARKED-CONTENT', injected: false }
    const end = {
      kind: 'interceptionEnded',
      id: interceptionId,
      endedAt: at,
      errorType: 'timeout',
      errorMessage: 'MARKED-CONTENT',
    }
    const marked = { metadata: { a: 'MARKED-CONTENT' } }
    await recorder.recordBatch([
      { ...interception, ...marked },
      tokens,
      { ...tokens, ...marked },
      { ...prompt, prompt: 'MARKED-CONTENT', ...marked },
      tool,
      thought,
      end,
      { kind: 'bad' },
    ] as BatchRecord[])
    expect(logger.lines.map(({ message, fields }) => [message, Reflect.get(fields, 'record_type')])).toEqual(
      ['interception_start', 'token_usage', 'prompt_usage', 'tool_usage', 'model_thought', 'interception_end'].map(
        type => ['interception log', type],
      ),
    )
    expect(logger.lines.every(({ fields }) => Reflect.get(fields, 'interceptionId') === interceptionId)).toBe(true)
    expect(logger.text()).not.toContain('MARKED')
  })

  test('structured logging is off by default', async () => {
    const { recorder, logger } = recorderWith()
    await recorder.recordBatch([interception])
    expect(logger.lines).toEqual([])
  })
})
