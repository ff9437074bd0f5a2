/** The models of chats, through a real bridge, with a stand-in provider. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createChatModels } from '../../../client/chats/chat-models.js'
import type { LivePart, ModelRequest } from '../../../server/services/chats/model.js'
import { chatLimits } from '../../../shared/contract/limits.js'
import { ModelError } from '../../../shared/contract/model-error.js'
import { eventually } from '../../fixtures/eventually.js'
import { leavesNothing } from '../../fixtures/leaves-nothing.js'
import {
  createGate,
  eventStream,
  eventsOf,
  hangUp,
  json,
  type Responder,
  raw,
  type StandInProvider,
  startProvider,
} from '../../fixtures/provider.js'
import { anthropicProvider, openaiProvider, type RunningBridge, startBridge } from '../bridge/running-bridge.js'
import { type ScriptedControlPlane, scriptedControlPlane, testOwner } from '../bridge/scripted-control-plane.js'
import { modelRows, requestFor } from './model-rows.js'

describe.each(modelRows)('a chat by $api', row => {
  leavesNothing()
  let provider: StandInProvider
  let plane: ScriptedControlPlane
  let bridge: RunningBridge

  beforeEach(async () => {
    provider = await startProvider()
    plane = scriptedControlPlane([anthropicProvider(provider.url), openaiProvider(provider.url)])
    bridge = await startBridge(plane, { outboxFlushMs: 50, upstreamIdleTimeoutMs: 1_000 })
  })
  afterEach(async () => {
    await bridge.close()
    await provider.close()
    expect(provider.unexpected).toBe(0)
  })

  interface Observed {
    pieces: LivePart[]
    interceptions: string[]
  }

  async function call(changes: Partial<ModelRequest> = {}, signal = new AbortController().signal) {
    const observed: Observed = { pieces: [], interceptions: [] }
    const response = await createChatModels({ daemon: bridge.daemon }).call(requestFor(row, changes), {
      signal,
      onPart: part => observed.pieces.push(part),
      onInterception: id => observed.interceptions.push(id),
    })
    return { ...response, ...observed }
  }

  async function failure(changes: Partial<ModelRequest> = {}, signal?: AbortSignal): Promise<ModelError> {
    const error: unknown = await call(changes, signal).then(
      () => undefined,
      (reason: unknown) => reason,
    )
    if (error instanceof ModelError) return error
    throw new Error('the call did not fail with a ModelError', { cause: error })
  }

  const tokenUsages = () =>
    eventually(async () => {
      const usages = plane.stored('tokenUsage')
      if (usages.length === 0) throw new Error('no usage is recorded yet')
      return usages
    })

  test('a response streams, is whole, and is recorded for the owner of the key and the session of the chat', async () => {
    provider.respondWith(eventStream(row.stream('short')))
    const { parts, usage, finishReason, pieces, interceptions } = await call()
    expect(parts).toMatchObject([{ type: 'text', text: 'Hello there' }])
    expect(finishReason).toBe('end')
    expect(pieces).toEqual([
      { role: 'assistant', index: pieces[0]?.index, part: { type: 'text', text: 'Hello' } },
      { role: 'assistant', index: pieces[0]?.index, part: { type: 'text', text: ' there' } },
    ])
    const [recorded] = plane.stored('interception')
    expect(recorded).toMatchObject({
      id: interceptions[0],
      apiKeyId: testOwner.apiKeyId,
      initiatorId: testOwner.ownerId,
      clientSessionId: '0198c5d4-0000-7000-8000-00000000c4a7',
      model: 'model-1',
    })
    expect(interceptions).toHaveLength(1)
    expect(usage).toEqual({ inputTokens: 5, outputTokens: 3, cacheReadInputTokens: 0, cacheWriteInputTokens: 0 })
    expect(await tokenUsages()).toMatchObject([usage])
  })

  test('the first piece arrives before the provider has sent the last', async () => {
    const gate = createGate()
    const events = eventsOf(row.stream('short'))
    const second = events.findIndex(event => event.includes(' there'))
    provider.respondWith(eventStream(row.stream('short'), { [second]: gate }))
    const models = createChatModels({ daemon: bridge.daemon })
    const response = await models.call(requestFor(row), {
      signal: new AbortController().signal,
      onPart: () => gate.open(),
      onInterception: () => {},
    })
    expect(response.parts).toMatchObject([{ text: 'Hello there' }])
  })

  test('thoughts, texts and calls of tools become parts, with the usage that the bridge counts', async () => {
    provider.respondWith(eventStream(row.stream('everything')))
    const { parts, usage, finishReason, pieces } = await call()
    expect(parts.map(({ internal, ...part }) => ({ ...part, ...(internal && { internal: 'kept' }) }))).toEqual(
      everything[row.api],
    )
    expect(finishReason).toBe('tool_calls')
    expect(await tokenUsages()).toMatchObject([usage])
    // Pieces of one index make the part.
    const live = new Map<number, string>()
    for (const { index, part } of pieces) {
      live.set(index, (live.get(index) ?? '') + ('text' in part ? part.text : JSON.stringify(part)))
    }
    const whole = (everything[row.api] ?? []).filter(part => !('text' in part) || part.text !== '')
    expect([...live].sort(([a], [b]) => a - b).map(([, text]) => text)).toEqual(
      whole.map(part => ('text' in part ? part.text : JSON.stringify(part))),
    )
  })

  test('a call that was cut short is kept as it is, and the limit is the reason', async () => {
    provider.respondWith(eventStream(row.stream('cut-tool-input')))
    const { parts, finishReason } = await call()
    const toolName = expect.stringMatching(/write/i)
    expect(parts).toMatchObject([{ type: 'tool-call', toolName, input: '{"text": "Roses are r' }])
    expect(finishReason).toBe('max_tokens')
  })

  test('an error inside a stream is retryable', async () => {
    provider.respondWith(eventStream(row.stream('error-in-stream')))
    expect(await failure()).toMatchObject({ kind: 'retryable', reason: 'unavailable', status: undefined })
  })

  test('a stream that ends at any event is a broken stream, and no response', async () => {
    const events = eventsOf(row.stream('everything'))
    const last = events.findIndex(event => /message_stop|"finish_reason":"|response\.completed/.test(event))
    expect(last).toBeGreaterThan(10)
    for (const [cut] of events.entries()) {
      if (cut > last) break
      provider.respondWith(eventStream(events.slice(0, cut).join('')))
      expect(await failure(), `${cut} of ${events.length} events`).toMatchObject({
        kind: 'retryable',
        reason: 'unavailable',
      })
    }
    // The last event is enough.
    provider.respondWith(eventStream(events.slice(0, last + 1).join('')))
    expect((await call()).finishReason).toBe('tool_calls')
  })

  test.each<[string, Responder]>([
    ['no response', hangUp],
    ['a head alone', raw('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9\r\n\r\n')],
    ['a stall', raw('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: \n\n', 'stall')],
    ['bytes that are no HTTP', raw('nonsense\r\n\r\n')],
    ['text in place of JSON', eventStream('event: message_start\ndata: nonsense\n\n')],
    ['a number in place of an event', eventStream('event: message_start\ndata: 7\n\n')],
    ['a page', response => void response.writeHead(200, { 'content-type': 'text/html' }).end('<p>hello</p>')],
  ])('%s is a failure that a repeat may heal', async (_, responder) => {
    provider.respondWith(responder)
    expect(await failure()).toMatchObject({ kind: 'retryable', reason: 'unavailable' })
  })

  test.each<[number, Record<string, string>, object]>([
    [400, {}, { kind: 'final', reason: 'rejected', message: 'no' }],
    [401, {}, { kind: 'final', reason: 'rejected' }],
    [402, {}, { kind: 'final', reason: 'billing' }],
    [403, {}, { kind: 'final', reason: 'rejected' }],
    [404, {}, { kind: 'final', reason: 'rejected' }],
    [408, {}, { kind: 'retryable', reason: 'unavailable' }],
    [409, {}, { kind: 'final', reason: 'rejected' }],
    [413, {}, { kind: 'final', reason: 'context_too_long' }],
    [422, {}, { kind: 'final', reason: 'rejected' }],
    [425, {}, { kind: 'retryable', reason: 'unavailable' }],
    [429, {}, { kind: 'retryable', reason: 'rate_limited', retryAfterMs: undefined }],
    [429, { 'retry-after': '7' }, { kind: 'retryable', reason: 'rate_limited', retryAfterMs: 7_000 }],
    [429, { 'retry-after-ms': '40', 'retry-after': '1' }, { kind: 'retryable', retryAfterMs: 40 }],
    [429, { 'retry-after': 'Thu, 01 Jan 1970 00:00:00 GMT' }, { kind: 'retryable', retryAfterMs: 0 }],
    [429, { 'retry-after': 'soon' }, { kind: 'retryable', retryAfterMs: undefined }],
    [429, { 'x-should-retry': 'false' }, { kind: 'final', reason: 'rate_limited' }],
    [500, {}, { kind: 'retryable', reason: 'unavailable' }],
    [502, {}, { kind: 'retryable', reason: 'unavailable' }],
    [503, { 'retry-after': '120' }, { kind: 'retryable', reason: 'unavailable', retryAfterMs: 120_000 }],
    [529, { 'x-should-retry': 'false' }, { kind: 'retryable', reason: 'unavailable' }],
  ])('status %i with %j is %j', async (status, headers, expected) => {
    provider.respondWith(json(row.error('some_error'), status, headers))
    expect(await failure()).toMatchObject({ ...expected, status })
  })

  test.each<[number, string, object]>([
    [400, 'context_length_exceeded', { kind: 'final', reason: 'context_too_long' }],
    [429, 'insufficient_quota', { kind: 'final', reason: 'billing' }],
    [400, 'billing_error', { kind: 'final', reason: 'billing' }],
  ])('status %i with the name %s is %j', async (status, name, expected) => {
    provider.respondWith(json(row.error(name), status))
    expect(await failure()).toMatchObject(expected)
  })

  test('an error body of any size fails without being held', async () => {
    provider.respondWith(response => void response.writeHead(500).end(Buffer.alloc(17 * 1024 * 1024, 'x')))
    expect(await failure()).toMatchObject({ kind: 'retryable' })
  })

  test('a response above the limit of a message fails for good, and ends the call to the provider', async () => {
    const [first = '', ...rest] = eventsOf(row.stream('short')).filter(event => !event.startsWith(':'))
    const grows = rest.findIndex(event => event.includes('Hello'))
    const piece = (rest[grows] ?? '').replace('Hello', 'x'.repeat(500_000))
    const times = Math.ceil(chatLimits.maxStoredMessageBytes / 500_000) + 1
    provider.respondWith(eventStream([first, ...rest.slice(0, grows), ...Array(times).fill(piece)].join('')))
    expect(await failure()).toMatchObject({ kind: 'final', reason: 'rejected', message: /more than 3145728 bytes/ })
    await provider.calls[0]?.closed
  })

  test('an abort ends the call to the provider, and is no failure of the provider', async () => {
    const abort = new AbortController()
    const events = eventsOf(row.stream('short'))
    const second = events.findIndex(event => event.includes(' there'))
    provider.respondWith(eventStream(row.stream('short'), { [second]: createGate() }))
    const models = createChatModels({ daemon: bridge.daemon })
    const called = models.call(requestFor(row), {
      signal: abort.signal,
      onPart: () => abort.abort(),
      onInterception: () => {},
    })
    await expect(called).rejects.toMatchObject({ kind: 'aborted' })
    await provider.calls[0]?.closed
    expect(await failure({}, AbortSignal.abort())).toMatchObject({ kind: 'aborted' })
    expect(provider.calls).toHaveLength(1)
  })

  test("the bridge's rejections have their cause as the reason", async () => {
    expect(await failure({ provider: 'nobody' })).toMatchObject({
      kind: 'final',
      reason: 'unknown_provider',
      status: 404,
    })
    expect(await failure({ keyId: '0000000000' })).toMatchObject({ kind: 'final', reason: 'not_allowed', status: 401 })
    plane.before = path => {
      if (path === 'recorder.recordInterception') throw new Error('the database is away')
    }
    expect(await failure()).toMatchObject({
      kind: 'retryable',
      reason: 'unavailable',
      status: 503,
      retryAfterMs: 1_000,
    })
    expect(provider.calls).toHaveLength(0)
  })

  test('nothing of the environment reaches the provider', async () => {
    provider.respondWith(eventStream(row.stream('short')))
    const names = [
      'ANTHROPIC_BASE_URL',
      'ANTHROPIC_AUTH_TOKEN',
      'OPENAI_BASE_URL',
      'OPENAI_ORG_ID',
      'OPENAI_PROJECT_ID',
    ]
    for (const name of names) process.env[name] = 'http://127.0.0.1:1/MARKED'
    try {
      await call()
    } finally {
      for (const name of names) delete process.env[name]
    }
    expect(JSON.stringify(provider.calls[0]?.rawHeaders)).not.toContain('MARKED')
    expect(provider.calls[0]?.url).not.toContain('MARKED')
  })
})

/** The parts of the conversation `everything`, in the order of their beginnings. */
const everything: Readonly<Record<string, Record<string, unknown>[]>> = {
  'anthropic-messages': [
    { type: 'reasoning', text: 'Zwei Dateien → zwei Aufrufe', internal: 'kept' },
    { type: 'reasoning', text: '', internal: 'kept' },
    {
      type: 'tool-call',
      toolCallId: 'toolu_a',
      toolName: 'Read',
      input: '{ "path": "/tmp/a b\\"c", "id": 12345678901234567890 }',
    },
    { type: 'tool-call', toolCallId: 'toolu_b', toolName: 'Status', input: '{}' },
  ],
  'openai-responses': [
    { type: 'reasoning', text: '**First** → think\n\nThen act', internal: 'kept' },
    { type: 'text', text: 'I will look.', internal: 'kept' },
    {
      type: 'tool-call',
      toolCallId: 'call_a',
      toolName: 'weather',
      input: '{"city": "Zürich \\"x\\"","n":12345678901234567890}',
    },
    { type: 'tool-call', toolCallId: 'call_b', toolName: 'weather', input: '{"city":"東京"}' },
    { type: 'tool-call', toolCallId: 'call_c', toolName: 'patch', input: '*** Begin\n+ "quoted"\n*** End' },
    { type: 'text', text: 'Done.', internal: 'kept' },
  ],
  'openai-chat': [
    {
      type: 'tool-call',
      toolCallId: 'call_a',
      toolName: 'weather',
      input: '{"city": "Zürich \\"x\\"","n":12345678901234567890}',
    },
    { type: 'tool-call', toolCallId: 'call_b', toolName: 'weather', input: '{"city":"東京"}' },
    { type: 'tool-call', toolCallId: 'call_c', toolName: 'patch', input: '*** Begin\n+ "quoted"\n*** End' },
  ],
}
