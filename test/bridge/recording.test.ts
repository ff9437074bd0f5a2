import { existsSync } from 'node:fs'
import { join } from 'node:path'
import Anthropic from '@anthropic-ai/sdk'
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createGate, eventStream, json, recorded, type StandInProvider, startProvider } from '../fixtures/provider.js'
import { readTxtar, sectionOf } from '../fixtures/txtar.js'
import { closeControlPlanes, controlPlanes, type Recorded, type RunningControlPlane } from './control-planes.js'
import { anthropicProvider, type RunningBridge, send, startBridge } from './running-bridge.js'
import { scriptedControlPlane, testKey } from './scripted-control-plane.js'

const own = join(import.meta.dirname, '../fixtures/answers/anthropic')
const shared = join(import.meta.dirname, '../../../shared/fixtures/anthropic')

interface Expected {
  fixture: string
  mode: 'streaming' | 'non-streaming'
  prompt: string
  /** input, output, cache read, cache write */
  tokens?: [number, number, number, number]
  /** tool, call id, input */
  tools?: [string, string, string][]
  thoughts?: number
  error?: { status: number; errorType: string; errorMessage: string }
}

const angels = 'how many angels can dance on the head of a pin\n'
const foo = '{"file_path":"/tmp/blah/foo"}'
const tooLong = {
  status: 400,
  errorType: 'bad_request',
  errorMessage: 'prompt is too long: 205429 tokens > 200000 maximum',
}

/** From the README of the recorded fixtures. */
const sharedCases: Expected[] = [
  { fixture: 'simple', mode: 'streaming', prompt: angels, tokens: [18, 240, 0, 0], thoughts: 1 },
  { fixture: 'simple', mode: 'non-streaming', prompt: angels, tokens: [18, 254, 0, 0], thoughts: 1 },
  {
    fixture: 'single_builtin_tool',
    mode: 'streaming',
    prompt: 'read the foo file',
    tokens: [2, 61, 13993, 22],
    tools: [['Read', 'toolu_01RX68weRSquLx6HUTj65iBo', foo]],
    thoughts: 1,
  },
  {
    fixture: 'single_builtin_tool',
    mode: 'non-streaming',
    prompt: 'read the foo file',
    tokens: [5, 84, 23490, 0],
    tools: [['Read', 'toolu_01AusGgY5aKFhzWrFBv9JfHq', foo]],
    thoughts: 1,
  },
  {
    fixture: 'stream_error',
    mode: 'streaming',
    prompt: 'yo',
    tokens: [18, 1, 0, 0],
    error: { status: 200, errorType: 'server_error', errorMessage: 'Overloaded' },
  },
  { fixture: 'non_stream_error', mode: 'streaming', prompt: 'yo', error: tooLong },
  { fixture: 'non_stream_error', mode: 'non-streaming', prompt: 'yo', error: tooLong },
]

const both = (id: number | string): [string, string, string][] => [
  ['Read', 'toolu_a', `{"path":"/tmp/a b\\"c","id":${id}}`],
  ['Status', 'toolu_b', '{}'],
]
const greeting = 'Grüße aus 東京 🎉'

const ownCases: Expected[] = [
  { fixture: 'short', mode: 'streaming', prompt: 'hello', tokens: [5, 3, 0, 0] },
  { fixture: 'short', mode: 'non-streaming', prompt: 'hello', tokens: [5, 3, 0, 0] },
  {
    fixture: 'everything',
    mode: 'streaming',
    prompt: greeting,
    tokens: [9, 42, 13, 11],
    tools: both('12345678901234567890'),
    thoughts: 1,
  },
  {
    fixture: 'everything',
    mode: 'non-streaming',
    prompt: greeting,
    tokens: [9, 42, 13, 11],
    tools: both(7),
    thoughts: 1,
  },
  {
    fixture: 'cut-tool-input',
    mode: 'streaming',
    prompt: 'write a poem into a file',
    tokens: [21, 16, 0, 0],
    tools: [['Write', 'toolu_cut', '{"text": "Roses are r']],
  },
  {
    fixture: 'error-in-stream',
    mode: 'streaming',
    prompt: 'hello',
    tokens: [5, 1, 0, 0],
    error: { status: 200, errorType: 'overloaded', errorMessage: 'Overloaded' },
  },
]

const folders = [
  { folder: own, cases: ownCases },
  ...(existsSync(shared) ? [{ folder: shared, cases: sharedCases }] : []),
]
const cases = folders.flatMap(({ folder, cases }) =>
  cases.map(one => ({ ...one, path: join(folder, `${one.fixture}.txtar`) })),
)

afterAll(closeControlPlanes)

describe.each(controlPlanes)('with $name', ({ start }) => {
  let provider: StandInProvider
  let plane: RunningControlPlane
  let bridge: RunningBridge

  beforeEach(async () => {
    provider = await startProvider()
    plane = await start(provider.url)
    bridge = await startBridge(plane.client, {}, plane.key)
  })
  afterEach(async () => {
    await bridge.close()
    await plane.close()
    await provider.close()
    expect(provider.unexpected).toBe(0)
  })

  /** The interceptions, once all have ended. */
  async function recordedOf(count: number): Promise<Recorded[]> {
    await vi.waitFor(async () => {
      const all = await plane.recorded()
      expect(all.filter(one => Reflect.get(one.end, 'endedAt') instanceof Date)).toHaveLength(count)
    })
    return plane.recorded()
  }

  function expectRecords(actual: Recorded | undefined, expected: Expected, model: unknown): void {
    expect(actual?.interception).toMatchObject({
      provider: 'anthropic',
      providerName: 'anthropic',
      model,
      credentialKind: 'centralized',
    })
    expect(actual?.prompts).toMatchObject([{ prompt: expected.prompt }])
    const [inputTokens, outputTokens, cacheReadInputTokens, cacheWriteInputTokens] = expected.tokens ?? []
    const counts = { inputTokens, outputTokens, cacheReadInputTokens, cacheWriteInputTokens }
    expect(actual?.tokens).toMatchObject(expected.tokens ? [counts] : [])
    const tools = (expected.tools ?? []).map(([tool, toolCallId, input]) => ({
      tool,
      toolCallId,
      input,
      injected: false,
    }))
    expect(actual?.tools).toMatchObject(tools)
    expect(actual?.thoughts).toHaveLength(expected.thoughts ?? 0)
    const { status: _, ...end } = expected.error ?? { status: 200 }
    if (expected.error) expect(actual?.end).toMatchObject(end)
    else expect(Reflect.get(actual?.end ?? {}, 'errorType') ?? null).toBeNull()
  }

  describe.each(cases)('$fixture, $mode', one => {
    const txtar = readTxtar(one.path)
    const request = JSON.parse(sectionOf(txtar, 'request')) as Anthropic.MessageCreateParams // recorded from a client
    const section = sectionOf(txtar, one.mode)

    test('the official SDK gets its answer, and every record is there', async () => {
      provider.answerWith(recorded(section))
      const stream = one.mode === 'streaming'
      const exchange = async () => {
        if (!stream) return bridge.sdk.messages.create({ ...request, stream: false })
        for await (const event of await bridge.sdk.messages.create({ ...request, stream: true })) void event
        return undefined
      }
      if (one.error) await expect(exchange()).rejects.toBeInstanceOf(Anthropic.APIError)
      else await exchange()
      expectRecords((await recordedOf(1))[0], one, request.model)
      expect(JSON.parse(provider.calls[0]?.body.toString() ?? '')).toEqual({ ...request, stream })
    })

    test('every byte is that of the client and that of the provider', async () => {
      provider.answerWith(recorded(section))
      const body = sectionOf(txtar, 'request')
      const answer = await send(bridge, { body, headers: { 'x-api-key': plane.key } })
      expect(provider.calls[0]?.body.toString()).toBe(body)
      const sent = section.startsWith('HTTP/') ? /\r?\n\r?\n(.{164})/s.exec(section)?.[1] : section
      expect(answer.body.toString()).toBe(sent)
      expect(answer.status).toBe(one.error?.status ?? 200)
      expectRecords((await recordedOf(1))[0], one, request.model)
    })
  })

  test('every detail is recorded', async () => {
    const txtar = readTxtar(join(own, 'everything.txtar'))
    provider.answerWith(recorded(sectionOf(txtar, 'streaming').replaceAll('\n', '\r\n')))
    const headers = { authorization: `Bearer ${plane.key}`, 'user-agent': 'claude-cli/2.0 (external)' }
    await send(bridge, { body: sectionOf(txtar, 'request'), headers })
    const [record] = await recordedOf(1)
    expect(record?.interception).toMatchObject({
      client: 'Claude Code',
      clientSessionId: '0f8fad5b-d9cb-469f-a165-70867728950e',
      correlatingToolCallId: 'toolu_before',
      credentialHint: 'sk-a…6789',
      startedAt: expect.any(Date),
    })
    expect(record?.tokens).toMatchObject([
      {
        msgId: 'msg_everything',
        metadata: {
          cache_creation: { ephemeral_5m_input_tokens: 11, ephemeral_1h_input_tokens: 0 },
          server_tool_use: { web_search_requests: 1 },
          service_tier: 'standard',
        },
      },
    ])
    expect(record?.prompts).toMatchObject([{ msgId: 'msg_everything' }])
    expect(record?.thoughts).toMatchObject([{ content: 'Zwei Dateien → zwei Aufrufe' }])
    expect(record?.tools).toMatchObject([{ msgId: 'msg_everything' }, { msgId: 'msg_everything' }])
  })

  test('the SDK sees the first token before the provider has sent the last', async () => {
    const gate = createGate()
    provider.answerWith(eventStream(sectionOf(readTxtar(join(own, 'short.txtar')), 'streaming'), { 3: gate }))
    const stream = bridge.sdk.messages.stream({
      model: 'm',
      max_tokens: 9,
      messages: [{ role: 'user', content: 'hello' }],
    })
    const words: string[] = []
    stream.on('text', word => {
      words.push(word)
      if (words.length === 1) gate.open()
    })
    expect(await stream.finalText()).toBe('Hello there')
    expect(words).toEqual(['Hello', ' there'])
  })

  test('an SDK that aborts ends the call at the provider', async () => {
    provider.answerWith(eventStream(sectionOf(readTxtar(join(own, 'short.txtar')), 'streaming'), { 3: createGate() }))
    const stream = bridge.sdk.messages.stream({
      model: 'm',
      max_tokens: 9,
      messages: [{ role: 'user', content: 'hello' }],
    })
    stream.once('text', () => stream.abort())
    await expect(stream.done()).rejects.toBeInstanceOf(Anthropic.APIUserAbortError)
    await (await provider.call(0)).closed
    const [record] = await recordedOf(1)
    expect(record?.end).toMatchObject({ errorType: 'unknown', errorMessage: 'the client disconnected' })
    expect(record?.tokens).toMatchObject([{ inputTokens: 5, outputTokens: 1 }])
  })

  test('models and token counts pass through the SDK and leave no record', async () => {
    const file = join(shared, 'fallthrough.txtar')
    const models = existsSync(file)
      ? sectionOf(readTxtar(file), 'non-streaming')
      : '{"data":[{"type":"model","id":"claude-test-1"}],"has_more":false}'
    provider.answerWith(json(models), json({ input_tokens: 7 }))
    expect((await bridge.sdk.models.list()).data).toEqual(Reflect.get(JSON.parse(models), 'data'))
    const messages: Anthropic.MessageParam[] = [{ role: 'user', content: 'hello' }]
    expect(await bridge.sdk.messages.countTokens({ model: 'm', messages })).toEqual({ input_tokens: 7 })
    expect(provider.calls.map(call => `${call.method} ${call.url}`)).toEqual([
      'GET /v1/models',
      'POST /v1/messages/count_tokens',
    ])
    expect(await plane.recorded()).toEqual([])
  })

  test('a prompt that no database takes is recorded cleaned, and passed on as it is', async () => {
    provider.answerWith(json({ id: 'msg_1' }))
    const body = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'a\0b\ud800c' }] })
    expect((await send(bridge, { body, headers: { 'x-api-key': plane.key } })).status).toBe(200)
    expect(provider.calls[0]?.body.toString()).toBe(body)
    expect((await recordedOf(1))[0]?.prompts).toMatchObject([{ prompt: 'a\uFFFDb\uFFFDc' }])
  })

  test('interceptions at the same time keep their records apart', async () => {
    const usage = (n: number) => ({ id: `msg_${n}`, usage: { input_tokens: n, output_tokens: 1 } })
    const answers = Array.from(
      { length: 20 },
      () => (response: Parameters<ReturnType<typeof json>>[0], call: Parameters<ReturnType<typeof json>>[1]) => {
        const { model } = JSON.parse(call.body.toString()) as { model: string } // sent below
        return json(usage(Number(model)))(response, call)
      },
    )
    provider.answerWith(...answers)
    const headers = { 'x-api-key': plane.key }
    await Promise.all(
      answers.map((_, n) =>
        send(bridge, {
          headers,
          body: JSON.stringify({ model: String(n), messages: [{ role: 'user', content: `prompt ${n}` }] }),
        }),
      ),
    )
    for (const record of await recordedOf(20)) {
      const n = Number(Reflect.get(record.interception, 'model'))
      expect(record.prompts).toMatchObject([{ prompt: `prompt ${n}`, msgId: `msg_${n}` }])
      expect(record.tokens).toMatchObject([{ inputTokens: n }])
    }
  })
})

test('an error that repeats a key is recorded without it, and passed on as it is', async () => {
  const provider = await startProvider()
  const plane = scriptedControlPlane([anthropicProvider(provider.url, { keys: ['provider+key+MARKED'] })])
  const bridge = await startBridge(plane)
  try {
    const echo = (keys: string[]) => ({
      type: 'error',
      error: { type: 'authentication_error', message: `no: ${keys}` },
    })
    const [central, own] = [echo(['provider+key+MARKED', testKey]), echo(['own+key+MARKED', testKey])]
    provider.answerWith(json(central, 401), json(own, 401))
    const answers = [
      await send(bridge),
      await send(bridge, { headers: { 'x-bridge-token': testKey, 'x-api-key': 'own+key+MARKED' } }),
    ]
    expect(answers.map(({ body }) => JSON.parse(body.toString()))).toEqual([central, own])
    await vi.waitFor(() => expect(plane.stored('interceptionEnded')).toHaveLength(2))
    for (const { errorType, errorMessage } of plane.stored('interceptionEnded')) {
      expect({ errorType, errorMessage }).toEqual({ errorType: 'unauthorized', errorMessage: 'no: [secret],[secret]' })
    }
  } finally {
    await bridge.close()
    await provider.close()
  }
})
