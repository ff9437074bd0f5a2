import { v7 as uuidv7 } from 'uuid'
import { describe, expect, test } from 'vitest'
import type { BridgeClient } from '../../../client/bridge-client.js'
import { recordLimits } from '../../../shared/contract/limits.js'
import type { BatchRecord } from '../../../shared/contract/recorder.js'
import { errorCodeOf } from '../../../shared/rpc/errors.js'
import { admin, daemon, deployments, oneStore, rejectionOf, startServer } from '../services/running-server.js'

describe.each(deployments)('$name', deployment => {
  const store = oneStore(deployment)
  const at = new Date('2026-05-01T12:00:00.123Z')
  const initiatorId = uuidv7()

  async function connect() {
    const running = await startServer(store(), {}, deployment)
    return { ...running, recorder: running.connect(daemon).recorder, admin: running.connect(admin).admin }
  }

  function interception(change: object = {}) {
    return {
      id: uuidv7(),
      initiatorId,
      apiKeyId: 'abcdefghij',
      provider: 'anthropic',
      model: 'claude',
      startedAt: at,
      ...change,
    }
  }

  const child = (interceptionId: string) => ({ id: uuidv7(), interceptionId, msgId: 'msg_1', createdAt: at })
  const tokens = (interceptionId: string) => ({
    ...child(interceptionId),
    inputTokens: 1,
    outputTokens: 2,
    cacheReadInputTokens: 3,
    cacheWriteInputTokens: 1e12,
  })

  async function started({ recorder }: Pick<BridgeClient, 'recorder'>): Promise<string> {
    const record = interception()
    await recorder.recordInterception.mutate(record)
    return record.id
  }

  test('ready says whether the store takes writes', async () => {
    const real = store()
    let isFull = false
    const failing = new Proxy(real, {
      get: (target, name) =>
        name === 'ping' && isFull ? () => Promise.reject(new Error('the disk is full')) : Reflect.get(target, name),
    })
    const first = await startServer(failing, {}, deployment)
    expect(await first.connect(daemon).recorder.ready.query()).toEqual({ isWritable: true })
    isFull = true
    // The state is at most a second old, so a server that has just started has none.
    const second = await startServer(failing, {}, deployment)
    expect(await second.connect(daemon).recorder.ready.query()).toEqual({ isWritable: false })
  })

  describe('the six records', () => {
    test('the six records are read back as they were recorded', async () => {
      const { recorder, admin } = await connect()
      const record = interception({ userAgent: 'claude-cli/2.0', metadata: { a: 1 }, clientSessionId: 's1' })
      const usage = { ...tokens(record.id), model: 'advisor', metadata: { tier: 'standard' } }
      const prompt = { ...child(record.id), prompt: 'hello' }
      const tool = { ...child(record.id), toolCallId: 'toolu_1', tool: 'Bash', input: '{"a":1', injected: false }
      const { msgId: _, ...rest } = child(record.id)
      const thought = { ...rest, content: 'hm' }
      expect(await recorder.recordInterception.mutate(record)).toEqual({})
      expect(await recorder.recordTokenUsage.mutate(usage)).toEqual({})
      expect(await recorder.recordPromptUsage.mutate(prompt)).toEqual({})
      expect(await recorder.recordToolUsage.mutate(tool)).toEqual({})
      expect(await recorder.recordModelThought.mutate(thought)).toEqual({})
      const end = { id: record.id, endedAt: at, errorType: 'no such type', errorMessage: 'why' }
      expect(await recorder.recordInterceptionEnded.mutate(end)).toEqual({})

      const detail = await admin.interceptions.get.query({ id: record.id })
      expect(detail.interception).toMatchObject({
        ...record,
        providerName: 'anthropic',
        metadata: { a: 1, request_user_agent: 'claude-cli/2.0' },
        endedAt: at,
        errorType: 'unknown',
        errorMessage: 'why',
        client: null,
        parentId: null,
      })
      expect(detail.tokenUsages).toEqual([{ ...usage, costNanos: null, costEstimated: false }])
      expect(detail.promptUsages).toEqual([{ ...prompt, metadata: null }])
      expect(detail.toolUsages).toMatchObject([{ ...tool, serverUrl: null, invocationError: null }])
      expect(detail.modelThoughts).toEqual([{ ...thought, metadata: null }])
    })

    test('the six records may be repeated, and the same id with other content is a conflict', async () => {
      const { recorder } = await connect()
      const record = interception({ metadata: { a: 1, b: 2 } })
      await recorder.recordInterception.mutate(record)
      await recorder.recordInterception.mutate({ ...record, providerName: ' ', metadata: { b: 2, a: 1 } })
      const usage = tokens(record.id)
      await recorder.recordTokenUsage.mutate(usage)
      await recorder.recordTokenUsage.mutate(usage)
      const conflict = { code: 'CONFLICT', reason: 'content_differs' }
      const otherModel = recorder.recordInterception.mutate({ ...record, model: 'other' })
      expect(await rejectionOf(otherModel)).toMatchObject(conflict)
      const otherCount = recorder.recordTokenUsage.mutate({ ...usage, inputTokens: 2 })
      expect(await rejectionOf(otherCount)).toMatchObject(conflict)
    })

    test('the six records of an unknown interception are rejected', async () => {
      const { recorder } = await connect()
      const rejections = await Promise.all([
        rejectionOf(recorder.recordTokenUsage.mutate(tokens(uuidv7()))),
        rejectionOf(recorder.recordInterceptionEnded.mutate({ id: uuidv7(), endedAt: at })),
      ])
      const unknown = { code: 'NOT_FOUND', reason: 'unknown_interception' }
      expect(rejections).toMatchObject([unknown, unknown])
    })

    test('name the daemon that brought the interception first, and no other field tells it', async () => {
      const running = await startServer(store(), {}, deployment)
      const [first, second] = [uuidv7(), uuidv7()]
      const record = interception()
      await running.connect({ ...daemon, daemonInstance: first }).recorder.recordInterception.mutate(record)
      const again = running.connect({ ...daemon, daemonInstance: second })
      await again.recorder.recordInterception.mutate(record)
      const batched = interception()
      await again.recorder.recordBatch.mutate({ records: [{ kind: 'interception', ...batched }] })
      const { admin: operator } = running.connect(admin)
      const [one, two] = await Promise.all(
        [record, batched].map(async ({ id }) => (await operator.interceptions.get.query({ id })).interception),
      )
      const daemonKeyId = deployment.link === 'memory' ? null : expect.stringMatching(/^[A-Za-z0-9]{10}$/)
      expect(one).toMatchObject({ daemonInstance: first, daemonKeyId })
      expect(two).toMatchObject({ daemonInstance: second, daemonKeyId })
    })

    test('link a request to the one whose tool call it continues', async () => {
      const { recorder, admin } = await connect()
      const parentId = await started({ recorder })
      const toolCallId = `toolu_${uuidv7()}`
      await recorder.recordToolUsage.mutate({
        ...child(parentId),
        toolCallId,
        tool: 'Bash',
        input: '',
        injected: false,
      })
      const next = interception({ correlatingToolCallId: toolCallId })
      await recorder.recordInterception.mutate(next)
      const detail = await admin.interceptions.get.query({ id: next.id })
      expect(detail.interception).toMatchObject({ parentId, rootId: parentId })
    })
  })

  describe('hostile values', () => {
    test('U+0000 and lone surrogates are stored as U+FFFD', async () => {
      const { recorder, admin } = await connect()
      const id = await started({ recorder })
      const metadata = { 'key\0': 'a\0b', list: ['\udc00'] }
      await recorder.recordPromptUsage.mutate({ ...child(id), prompt: 'a\0b\ud800c', metadata })
      const { promptUsages } = await admin.interceptions.get.query({ id })
      expect(promptUsages).toMatchObject([
        { prompt: 'a\uFFFDb\uFFFDc', metadata: { 'key\uFFFD': 'a\uFFFDb', list: ['\uFFFD'] } },
      ])
    })

    test('content of more than 1 MiB is cut at a character and its size kept', async () => {
      const { recorder, admin } = await connect()
      const id = await started({ recorder })
      await recorder.recordPromptUsage.mutate({ ...child(id), prompt: '€'.repeat(400_000) })
      const { promptUsages } = await admin.interceptions.get.query({ id })
      const [usage] = promptUsages
      expect(usage?.metadata).toEqual({ original_bytes: { prompt: 1_200_000 } })
      expect(usage?.prompt).toBe('€'.repeat(Math.floor(recordLimits.maxContentBytes / 3)))
    })

    test('metadata keys of object internals are stored as keys like any other', async () => {
      const { recorder, admin } = await connect()
      const metadata = JSON.parse(
        '{"__proto__": {"polluted": true}, "constructor": {"prototype": {"polluted": true}}, "toString": 1, "": 2}',
      )
      const record = interception({ metadata })
      await recorder.recordInterception.mutate(record)
      await recorder.recordInterception.mutate(record)
      const { interception: stored } = await admin.interceptions.get.query({ id: record.id })
      expect(JSON.stringify(sorted(stored.metadata))).toBe(JSON.stringify(sorted(metadata)))
      expect(Reflect.get({}, 'polluted')).toBeUndefined()
    })

    test.each<[string, object, RegExp]>([
      ['a count below zero', { inputTokens: -1 }, /^inputTokens: .* \(got -1\)$/],
      ['a count above 1e12', { inputTokens: 1e12 + 1 }, /^inputTokens: .*1000000000000 \(got 1000000000001\)$/],
      ['a count that is infinite', { outputTokens: Number.POSITIVE_INFINITY }, /^outputTokens: /],
      ['a bigint', { outputTokens: 5n }, /^outputTokens: .* \(got a bigint\)$/],
      ['a time as text', { createdAt: '2026-05-01' }, /^createdAt: .*expected date.* \(got "2026-05-01"\)$/],
      ['an id that is none', { id: 'abc' }, /^id: .* \(got "abc"\)$/],
      ['an empty message id', { msgId: '' }, /^msgId: /],
      ['a message id that is too long', { msgId: 'x'.repeat(257) }, /^msgId: .*256.* \(got a text of length 257\)$/],
      [
        'deep metadata',
        { metadata: JSON.parse(`{"a":${'['.repeat(70)}${']'.repeat(70)}}`) },
        /^metadata: .*deeper than 64/,
      ],
      ['large metadata', { metadata: { a: 'x'.repeat(70_000) } }, /^metadata: .*larger than 65,536 bytes/],
      ['a date in metadata', { metadata: { a: new Date() } }, /^metadata: .*neither plain nor an array/],
    ])('%s is rejected by name, and nothing is stored', async (_, change, message) => {
      const { recorder, admin } = await connect()
      const id = await started({ recorder })
      // What the types forbid is what a peer may still send.
      const rejected = await rejectionOf(
        recorder.recordTokenUsage.mutate({ ...tokens(id), ...change } as ReturnType<typeof tokens>),
      )
      expect(rejected.code).toBe('BAD_REQUEST')
      expect(rejected.message).toMatch(message)
      expect((await admin.interceptions.get.query({ id })).tokenUsages).toEqual([])
    })
  })

  describe('recordBatch', () => {
    test('recordBatch stores the good ones and returns an outcome for each in order', async () => {
      const { recorder, admin } = await connect()
      const record = interception()
      const usage = tokens(record.id)
      const records: BatchRecord[] = [
        { kind: 'interception', ...record },
        { kind: 'tokenUsage', ...usage },
        { kind: 'tokenUsage', ...usage, inputTokens: -1 },
        { kind: 'tokenUsage', ...usage, inputTokens: 7 },
        { kind: 'promptUsage', ...child(uuidv7()), prompt: 'of nobody' },
        { kind: 'interceptionEnded', id: record.id, endedAt: at },
      ]
      for (let round = 0; round < 2; round++) {
        const { results } = await recorder.recordBatch.mutate({ records })
        expect(results.map(result => (result.ok ? 'ok' : result.code))).toEqual([
          'ok',
          'ok',
          'BAD_REQUEST',
          'CONFLICT',
          'NOT_FOUND',
          'ok',
        ])
      }
      const detail = await admin.interceptions.get.query({ id: record.id })
      expect(detail.interception.endedAt).toEqual(at)
      expect(detail.tokenUsages).toMatchObject([{ inputTokens: 1 }])
    })

    test('recordBatch rejects none and more than 500', async () => {
      const { recorder } = await connect()
      const record: BatchRecord = { kind: 'interception', ...interception() }
      for (const records of [[], Array.from({ length: 501 }, () => record)]) {
        const rejected = await rejectionOf(recorder.recordBatch.mutate({ records }))
        expect(rejected.code).toBe('BAD_REQUEST')
        expect(rejected.message).toMatch(/^records: .* \(got a list of (0|501)\)$/)
      }
    })

    test('recordBatch rejects more than 1 MiB', async () => {
      const { recorder } = await connect()
      const records: BatchRecord[] = [1, 2].map(() => ({
        kind: 'promptUsage',
        ...child(uuidv7()),
        prompt: 'x'.repeat(600_000),
      }))
      const rejected = await rejectionOf(recorder.recordBatch.mutate({ records }))
      expect(rejected).toMatchObject({ code: 'BAD_REQUEST' })
      expect(rejected.message).toMatch(/1,200,\d{3} bytes is larger than maxBatchBytes 1,048,576/)
    })
  })

  test('calls of two daemons at the same moment have their own outcomes, and one that is cancelled stops no other', async () => {
    const { connect: connectAs, admin, ...first } = await connect()
    const recorders = [first.recorder, connectAs(daemon).recorder]
    const ids = await Promise.all(recorders.flatMap(recorder => [started({ recorder }), started({ recorder })]))
    const [cancelled, unknown] = [new AbortController(), uuidv7()]
    const outcomes = Promise.allSettled(
      recorders.flatMap(recorder => [
        ...ids.map(id => recorder.recordTokenUsage.mutate(tokens(id))),
        recorder.recordTokenUsage.mutate(tokens(unknown)),
        recorder.recordTokenUsage.mutate(tokens(ids[0] ?? ''), { signal: cancelled.signal }),
        recorder.recordBatch.mutate({
          records: ids.map(id => ({ kind: 'promptUsage' as const, ...child(id), prompt: 'hello' })),
        }),
      ]),
    )
    cancelled.abort()
    const results = [
      ...ids.map(() => ({})),
      'NOT_FOUND',
      'CLIENT_CLOSED_REQUEST',
      { results: ids.map(() => ({ ok: true })) },
    ]
    expect((await outcomes).map(each => (each.status === 'fulfilled' ? each.value : errorCodeOf(each.reason)))).toEqual(
      [...results, ...results],
    )
    for (const id of ids.slice(1)) {
      const { tokenUsages, promptUsages } = await admin.interceptions.get.query({ id })
      expect([tokenUsages.length, promptUsages.length]).toEqual([2, 2])
    }
  })

  test('an admin cannot record', async () => {
    const { connect } = await startServer(store(), {}, deployment)
    const { recorder } = connect(admin)
    const record = interception()
    for (const call of [
      recorder.recordInterception.mutate(record),
      recorder.recordBatch.mutate({ records: [{ kind: 'interception', ...record }] }),
    ]) {
      const rejected = await rejectionOf(call)
      expect(rejected.code).toBe('FORBIDDEN')
      expect(rejected.message).toMatch(/^recorder\.record\w+ needs the role daemon; "admin" has the role admin$/)
    }
    expect(await store().getInterception(record.id)).toBeNull()
  })

  test('with structured logging each record is one log line', async () => {
    const { connect, logger } = await startServer(store(), { structuredLogging: true }, deployment)
    const { recorder } = connect(daemon)
    const id = await started({ recorder })
    await recorder.recordPromptUsage.mutate({ ...child(id), prompt: 'MARKED-CONTENT' })
    const lines = logger.lines.filter(({ message }) => message === 'interception log')
    expect(lines.map(({ fields }) => Reflect.get(fields, 'record_type'))).toEqual([
      'interception_start',
      'prompt_usage',
    ])
    expect(logger.text()).not.toContain('MARKED')
  })

  function sorted(value: unknown): unknown {
    if (typeof value !== 'object' || value === null) return value
    return Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, field]) => [key, sorted(field)])
  }
})
