import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Store, StoredRecord } from '../../../../server/store/store.js'
import type { JsonObject } from '../../../../shared/values/text.js'
import { stores } from '../../../fixtures/stores.js'
import {
  children,
  ended,
  interception,
  modelThought,
  promptUsage,
  secondsLater,
  someTime,
  stored,
  tokenUsage,
  toolUsage,
} from './records.js'

const ok = { ok: true }
const conflict = (id: string) => ({ ok: false, code: 'CONFLICT', message: expect.stringContaining(id) })
const notFound = (id: string) => ({ ok: false, code: 'NOT_FOUND', message: expect.stringContaining(id) })

describe.each(stores)('records in the store: $name', ({ open }) => {
  let store: Store
  beforeAll(async () => {
    store = await open()
  })
  afterAll(() => store.close())

  const read = async (id: string) => {
    const detail = await store.getInterception(id)
    if (!detail) throw new Error(`interception ${id} is not stored`)
    return detail
  }

  test('an interception comes back as it was recorded', async () => {
    const record = interception({
      providerName: 'team-a',
      client: 'Claude Code',
      clientSessionId: 'session',
      correlatingToolCallId: 'toolu_unknown',
      credentialKind: 'byok',
      credentialHint: 'sk-a…wxyz',
      metadata: { nested: { list: [1, 'two', null, true] }, request_user_agent: 'claude-cli/2.0' },
    })
    expect(await store.record([record])).toEqual([ok])
    expect((await read(record.record.id)).interception).toEqual({
      ...record.record,
      interceptionKind: 'model',
      username: null,
      userAgent: 'claude-cli/2.0',
      endedAt: null,
      errorType: null,
      errorMessage: null,
      parentId: null,
      rootId: null,
      daemonKeyId: null,
      daemonInstance: null,
      endedBy: null,
      costNanos: null,
      unpricedRecords: 0,
    })
  })

  test('what is not set comes back as null', async () => {
    const record = interception()
    await store.record([record])
    expect((await read(record.record.id)).interception).toEqual({
      id: record.record.id,
      initiatorId: record.record.initiatorId,
      interceptionKind: 'model',
      username: null,
      apiKeyId: 'abcdefghij',
      provider: 'anthropic',
      providerName: 'anthropic',
      model: 'claude-test',
      startedAt: someTime,
      client: null,
      userAgent: null,
      clientSessionId: null,
      correlatingToolCallId: null,
      credentialKind: 'centralized',
      credentialHint: null,
      metadata: null,
      endedAt: null,
      errorType: null,
      errorMessage: null,
      parentId: null,
      rootId: null,
      daemonKeyId: null,
      daemonInstance: null,
      endedBy: null,
      costNanos: null,
      unpricedRecords: 0,
    })
  })

  test('children come back as they were recorded', async () => {
    const { record: parent } = interception()
    const token = tokenUsage(parent.id, { metadata: { a: 1 } })
    const prompt = promptUsage(parent.id)
    const tool = toolUsage(parent.id, {
      toolCallId: 'toolu_1',
      itemId: 'item',
      serverUrl: 'https://mcp.example/',
      injected: true,
      invocationError: 'refused',
    })
    const bareTool = toolUsage(parent.id, { createdAt: secondsLater(1) })
    const thought = modelThought(parent.id)
    await store.record([stored('interception', parent), token, prompt, tool, bareTool, thought])
    expect(await read(parent.id)).toEqual({
      interception: expect.objectContaining({ id: parent.id }),
      thread: [expect.objectContaining({ id: parent.id })],
      tokenUsages: [{ ...token.record, model: null, costNanos: null, costEstimated: false }],
      promptUsages: [{ ...prompt.record, metadata: null }],
      toolUsages: [
        { ...tool.record, metadata: null },
        {
          ...bareTool.record,
          toolCallId: null,
          itemId: null,
          serverUrl: null,
          invocationError: null,
          metadata: null,
        },
      ],
      modelThoughts: [{ ...thought.record, metadata: null }],
    })
  })

  test('children are listed in the order of their creation, then of their ids', async () => {
    const { record: parent } = interception()
    const [low = '', high = ''] = [randomUUID(), randomUUID()].sort()
    await store.record([
      stored('interception', parent),
      promptUsage(parent.id, { prompt: 'third', createdAt: secondsLater(1), id: high }),
      promptUsage(parent.id, { prompt: 'second', createdAt: secondsLater(1), id: low }),
      promptUsage(parent.id, { prompt: 'first', createdAt: someTime }),
    ])
    expect((await read(parent.id)).promptUsages.map(({ prompt }) => prompt)).toEqual(['first', 'second', 'third'])
  })

  test('an interception that is not stored reads as null', async () => {
    expect(await store.getInterception(randomUUID())).toBeNull()
  })

  test.each(['1970-01-01T00:00:00.000Z', '2026-12-31T23:59:59.999Z', '9999-12-31T23:59:59.999Z'])(
    'the time %s is kept to the millisecond',
    async time => {
      const record = interception({ startedAt: new Date(time) })
      await store.record([record])
      expect((await read(record.record.id)).interception.startedAt).toEqual(new Date(time))
    },
  )

  test('counts are kept up to 1e12', async () => {
    const { record: parent } = interception()
    const counts = { inputTokens: 1e12, outputTokens: 0, cacheReadInputTokens: 2 ** 31, cacheWriteInputTokens: 1 }
    await store.record([stored('interception', parent), tokenUsage(parent.id, counts)])
    expect((await read(parent.id)).tokenUsages).toEqual([expect.objectContaining(counts)])
  })

  test.each([
    ['quotes and backslashes', `'"\\\\ \\x00 $1 {} \u2028\r\n\t`],
    ['characters beyond the basic plane', '👩‍👩‍👧 𝔘𝔫𝔦 ﷽ \u{10ffff}'],
    ['U+FFFD and control characters', '\uFFFD\u0001\u001f\u007f'],
    ['a mebibyte', 'ä'.repeat(2 ** 19)],
    ['nothing', ''],
  ])('text of %s comes back unchanged', async (_name, prompt) => {
    const { record: parent } = interception()
    await store.record([
      stored('interception', parent),
      promptUsage(parent.id, { prompt, metadata: { [prompt.slice(0, 100)]: prompt.slice(0, 100) } }),
    ])
    const [usage] = (await read(parent.id)).promptUsages
    expect(usage?.prompt === prompt).toBe(true)
    expect(usage?.metadata).toEqual({ [prompt.slice(0, 100)]: prompt.slice(0, 100) })
  })

  test('metadata keeps keys such as __proto__ as its own', async () => {
    const metadata: JsonObject = JSON.parse('{"__proto__": {"polluted": true}, "constructor": {"prototype": 1}, "": 0}')
    const record = interception({ metadata })
    await store.record([record])
    const read1 = (await read(record.record.id)).interception.metadata
    expect(JSON.parse(JSON.stringify(read1))).toEqual(
      JSON.parse('{"__proto__": {"polluted": true}, "constructor": {"prototype": 1}, "": 0}'),
    )
    expect(Object.hasOwn(read1 ?? {}, '__proto__')).toBe(true)
    expect(Object.getPrototypeOf(read1)).toBe(Object.prototype)
  })

  describe('repeats', () => {
    test('the same interception again changes nothing, other content is a conflict', async () => {
      const first = interception({ model: 'one' })
      await store.record([first])
      const before = await read(first.record.id)
      expect(await store.record([first])).toEqual([ok])
      expect(await store.record([interception({ ...first.record, model: 'two' })])).toEqual([conflict(first.record.id)])
      expect(await read(first.record.id)).toEqual(before)
    })

    test('the same child of each kind again changes nothing, other content is a conflict', async () => {
      const { record: parent } = interception()
      const ids = Array.from({ length: 4 }, () => randomUUID())
      await store.record([stored('interception', parent)])
      for (const child of children(parent.id, ids)) expect(await store.record([child])).toEqual([ok])
      const before = await read(parent.id)
      for (const child of children(parent.id, ids)) expect(await store.record([child])).toEqual([ok])
      expect(await store.record(children(parent.id, ids))).toEqual([ok, ok, ok, ok])
      for (const [i, child] of children(parent.id, ids, 1).entries()) {
        expect(await store.record([child])).toEqual([conflict(ids[i] ?? '')])
      }
      expect(await store.record(children(parent.id, ids, 1))).toEqual(ids.map(conflict))
      expect(await read(parent.id)).toEqual(before)
    })

    test('the same record twice in a batch is stored once; the first of two contents wins', async () => {
      const record = interception({ model: 'one' })
      const other = interception({ ...record.record, model: 'two' })
      const thought = modelThought(record.record.id)
      const otherThought = modelThought(record.record.id, { id: thought.record.id, content: 'other' })
      const batch = [record, record, other, thought, otherThought, thought]
      const { id } = thought.record
      expect(await store.record(batch)).toEqual([ok, ok, conflict(record.record.id), ok, conflict(id), ok])
      const detail = await read(record.record.id)
      expect(detail.interception.model).toBe('one')
      expect(detail.modelThoughts).toEqual([{ ...thought.record, metadata: null }])
    })

    test('one id may be used by records of different kinds', async () => {
      const { record: parent } = interception()
      const batch = [stored('interception', parent), ...children(parent.id, Array(4).fill(parent.id))]
      expect(await store.record(batch)).toEqual([ok, ok, ok, ok, ok])
    })

    test('concurrent calls with one id store one content', async () => {
      const id = randomUUID()
      const contents = Array.from({ length: 8 }, (_, i) =>
        interception({ id, initiatorId: id, model: `model ${i % 2}` }),
      )
      const outcomes = (await Promise.all(contents.map(record => store.record([record])))).flat()
      const { model } = (await read(id)).interception
      expect(outcomes.map(outcome => outcome.ok)).toEqual(contents.map(({ record }) => record.model === model))
    })

    test('concurrent batches over the same ids in different orders all succeed', async () => {
      const parents = Array.from({ length: 20 }, () => interception())
      const batch = parents.flatMap(parent => [
        parent,
        toolUsage(parent.record.id, { toolCallId: parent.record.id }),
        tokenUsage(parent.record.id),
        ended(parent.record.id),
      ])
      const reversed = parents
        .toReversed()
        .flatMap(parent => batch.filter(record => interceptionOf(record) === parent.record.id))
      const outcomes = await Promise.all([batch, reversed, batch, reversed].map(records => store.record(records)))
      expect(outcomes.flat().every(outcome => outcome.ok)).toBe(true)
    })
  })

  describe('records that the database does not take', () => {
    const badRequest = (id: string) => ({ ok: false, code: 'BAD_REQUEST', message: expect.stringContaining(id) })

    test('a record that the database does not take is BAD_REQUEST, and the records of its batch and of other calls are stored', async () => {
      const parents = Array.from({ length: 6 }, () => interception())
      await store.record(parents)
      const faulty: StoredRecord[] = [0, 1].map(i => promptUsage(parents[i]?.record.id ?? '', { prompt: 'a\u0000b' }))
      const calls = parents.map(({ record: { id } }, i) => [tokenUsage(id), ...faulty.slice(i, i + 1), ended(id)])
      const outcomes = await Promise.all(calls.map(records => store.record(records)))
      expect(outcomes).toEqual(
        calls.map(records => records.map(each => (faulty.includes(each) ? badRequest(each.record.id) : ok))),
      )
      for (const { record } of parents) {
        const { interception: stored, tokenUsages, promptUsages } = await read(record.id)
        expect([stored.endedAt, tokenUsages.length, promptUsages.length]).toEqual([secondsLater(1), 1, 0])
      }
      expect(await store.record(faulty.slice(0, 1))).toEqual([badRequest(faulty[0]?.record.id ?? '')])
    })
  })

  describe('batches', () => {
    test('an empty batch has no outcomes', async () => {
      expect(await store.record([])).toEqual([])
    })

    test('a child of an unknown interception is NOT_FOUND, alone and in a batch, and is not stored', async () => {
      const parent = interception()
      const unknown = parent.record.id
      const ids = Array.from({ length: 4 }, () => randomUUID())
      for (const child of [...children(unknown, ids), toolUsage(unknown, { toolCallId: 'toolu' }), ended(unknown)]) {
        expect(await store.record([child])).toEqual([notFound(unknown)])
      }
      const other = interception()
      expect(await store.record([...children(unknown, ids), other, ended(unknown)])).toEqual([
        ...ids.map(() => notFound(unknown)),
        ok,
        notFound(unknown),
      ])
      await store.record([parent])
      expect(await read(unknown)).toMatchObject({
        interception: { endedAt: null },
        tokenUsages: [],
        promptUsages: [],
        toolUsages: [],
        modelThoughts: [],
      })
    })

    test('a child or an end that stands before its new interception is NOT_FOUND, one behind it is stored', async () => {
      const parent = interception()
      const { id } = parent.record
      const late = promptUsage(id, { prompt: 'behind' })
      const batch = [
        promptUsage(id, { prompt: 'before' }),
        ended(id, { endedAt: secondsLater(1) }),
        parent,
        late,
        ended(id, { endedAt: secondsLater(2) }),
      ]
      expect(await store.record(batch)).toEqual([notFound(id), notFound(id), ok, ok, ok])
      const detail = await read(id)
      expect(detail.promptUsages.map(({ prompt }) => prompt)).toEqual(['behind'])
      expect(detail.interception.endedAt).toEqual(secondsLater(2))
    })

    test('a child that is rejected before its interception is stored where it stands again behind it', async () => {
      const parent = interception()
      const child = promptUsage(parent.record.id)
      expect(await store.record([child, parent, child])).toEqual([notFound(parent.record.id), ok, ok])
    })

    test('a child may stand before its interception where that was stored earlier', async () => {
      const parent = interception()
      await store.record([parent])
      expect(await store.record([promptUsage(parent.record.id), parent])).toEqual([ok, ok])
    })

    test('a child behind a conflicting repeat of a stored interception is stored', async () => {
      const parent = interception()
      await store.record([parent])
      const repeat = interception({ ...parent.record, model: 'other' })
      expect(await store.record([repeat, promptUsage(parent.record.id)])).toEqual([conflict(parent.record.id), ok])
    })

    test('500 records of all kinds are stored by one call', async () => {
      const parents = Array.from({ length: 100 }, () => interception())
      const batch = parents.flatMap(parent => [
        parent,
        tokenUsage(parent.record.id),
        toolUsage(parent.record.id, { toolCallId: parent.record.id }),
        modelThought(parent.record.id),
        ended(parent.record.id),
      ])
      expect(await store.record(batch)).toEqual(Array(500).fill(ok))
    })
  })

  describe('ends', () => {
    test('the first end wins, a later one is ok and changes nothing', async () => {
      const parent = interception()
      const { id } = parent.record
      await store.record([parent])
      const first = ended(id, { endedAt: secondsLater(5), errorType: 'timeout', errorMessage: 'too late' })
      expect(await store.record([first])).toEqual([ok])
      expect(await store.record([ended(id, { endedAt: secondsLater(1) })])).toEqual([ok])
      expect(await store.record([parent, ended(id, { endedAt: secondsLater(9), credentialHint: 'x' })])).toEqual([
        ok,
        ok,
      ])
      expect((await read(id)).interception).toMatchObject({
        endedAt: secondsLater(5),
        errorType: 'timeout',
        errorMessage: 'too late',
        credentialHint: null,
      })
    })

    test('the first of two ends in a batch wins', async () => {
      const parent = interception()
      const { id } = parent.record
      await store.record([parent, ended(id, { endedAt: secondsLater(5) }), ended(id, { endedAt: secondsLater(1) })])
      expect((await read(id)).interception.endedAt).toEqual(secondsLater(5))
    })

    test('one of concurrent ends wins with all its fields', async () => {
      const parent = interception()
      const { id } = parent.record
      await store.record([parent])
      const ends = Array.from({ length: 8 }, (_, i) =>
        ended(id, { endedAt: secondsLater(i), errorType: 'unknown', errorMessage: `${i}` }),
      )
      await Promise.all(ends.map(end => store.record([end])))
      const { endedAt, errorMessage } = (await read(id)).interception
      expect(endedAt).toEqual(secondsLater(Number(errorMessage)))
    })

    test.each([
      ['centralized', 'first', 'second', 'second'],
      ['centralized', 'first', undefined, 'first'],
      ['byok', 'first', 'second', 'first'],
      ['byok', undefined, 'second', null],
    ] as const)('a %s row with the hint %s that ends with %s shows %s', async (credentialKind, before, hint, shown) => {
      const parent = interception({ credentialKind, ...(before && { credentialHint: before }) })
      await store.record([parent, ended(parent.record.id, hint ? { credentialHint: hint } : {})])
      expect((await read(parent.record.id)).interception.credentialHint).toBe(shown)
    })
  })
})

function interceptionOf({ record }: StoredRecord): string {
  return 'interceptionId' in record ? record.interceptionId : record.id
}
