import { existsSync } from 'node:fs'
import { join } from 'node:path'
import Anthropic from '@anthropic-ai/sdk'
import { describe, expect, test } from 'vitest'
import { noMetrics } from '../../../client/bridge/metrics/metrics.js'
import { createMemoryOutbox } from '../../../client/bridge/outbox/memory-outbox.js'
import { createRecordSender } from '../../../client/bridge/outbox/record-sender.js'
import { createRecorder } from '../../../client/bridge/recording/recorder.js'
import type { InterceptionStart } from '../../../client/bridge/recording/records.js'
import { eventually } from '../../fixtures/eventually.js'
import { createGate, eventStream, json, recorded, startProvider } from '../../fixtures/provider.js'
import { readTxtar, sectionOf } from '../../fixtures/txtar.js'
import { type ApiRow, apiRows, type LoadedConversation } from './apis.js'
import { bridged } from './bridged.js'
import { controlPlanes, type Recorded } from './control-planes.js'
import { anthropicProvider, memoryLogger, send, startBridge } from './running-bridge.js'
import { scriptedControlPlane, testKey, testOwner } from './scripted-control-plane.js'

const own = join(import.meta.dirname, '../../fixtures/responses/anthropic')
const shared = join(import.meta.dirname, '../../../../shared/fixtures/anthropic')

describe.each(controlPlanes())('with $name', ({ start }) => {
  const the = bridged(start)

  function expectRecords(actual: Recorded | undefined, api: ApiRow, expected: LoadedConversation): void {
    const { prompt, tokens, tools = [], thoughts = 0, error, model } = expected
    const { provider } = api
    expect(actual?.interception).toMatchObject({
      provider,
      providerName: provider,
      model,
      credentialKind: 'centralized',
    })
    expect(actual?.prompts).toMatchObject([{ prompt }])
    const [inputTokens, outputTokens, cacheReadInputTokens, cacheWriteInputTokens] = tokens ?? []
    const counts = { inputTokens, outputTokens, cacheReadInputTokens, cacheWriteInputTokens }
    expect(actual?.tokens).toMatchObject(tokens ? [counts] : [])
    expect(actual?.tools).toMatchObject(
      tools.map(([tool, toolCallId, input]) => ({ tool, toolCallId, input, injected: false })),
    )
    if (typeof thoughts === 'number') expect(actual?.thoughts).toHaveLength(thoughts)
    else expect(actual?.thoughts).toMatchObject(thoughts.map(content => ({ content })))
    const ended = (field: string): unknown => Reflect.get(actual?.end ?? {}, field) ?? null
    expect([ended('errorType'), ended('errorMessage')]).toEqual([error?.errorType ?? null, error?.errorMessage ?? null])
  }

  describe.each(apiRows)('$name', api => {
    describe.each(api.conversations)('$fixture, $mode', one => {
      test('the official SDK gets its response, and every record is stored', async () => {
        the.provider.respondWith(recorded(one.response))
        const exchange = api.exchange(the.bridge, one.request)
        if (one.error && !one.error.sdkIsSilent) await expect(exchange).rejects.toBeInstanceOf(api.apiError)
        else await exchange
        expectRecords((await the.recordedOf(1))[0], api, one)
        expect(the.provider.calls[0]?.url).toBe(api.upstreamPath)
      })

      test('request and response pass byte for byte', async () => {
        the.provider.respondWith(recorded(one.response))
        const { request: body, response: sent } = one
        const response = await send(the.bridge, { path: api.path, body, headers: { 'x-api-key': the.plane.key } })
        expect(the.provider.calls[0]?.body.toString()).toBe(api.forwarded(body))
        expect(response.body.toString()).toBe(sent.startsWith('HTTP/') ? rawBodyOf(sent) : api.shown(sent))
        expect(response.status).toBe(one.error?.status ?? 200)
        expectRecords((await the.recordedOf(1))[0], api, one)
      })
    })
  })

  test('every field of the records is set', async () => {
    const txtar = readTxtar(join(own, 'everything.txtar'))
    the.provider.respondWith(recorded(sectionOf(txtar, 'streaming').replaceAll('\n', '\r\n')))
    const headers = { authorization: `Bearer ${the.plane.key}`, 'user-agent': 'claude-cli/2.0 (external)' }
    await send(the.bridge, { body: sectionOf(txtar, 'request'), headers })
    const [record] = await the.recordedOf(1)
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

  test('the SDK gets the first token before the provider has sent the last', async () => {
    const gate = createGate()
    the.provider.respondWith(eventStream(sectionOf(readTxtar(join(own, 'short.txtar')), 'streaming'), { 3: gate }))
    const stream = the.bridge.sdk.messages.stream({
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

  test('an abort of the SDK ends the call to the provider', async () => {
    the.provider.respondWith(
      eventStream(sectionOf(readTxtar(join(own, 'short.txtar')), 'streaming'), { 3: createGate() }),
    )
    const stream = the.bridge.sdk.messages.stream({
      model: 'm',
      max_tokens: 9,
      messages: [{ role: 'user', content: 'hello' }],
    })
    stream.once('text', () => stream.abort())
    await expect(stream.done()).rejects.toBeInstanceOf(Anthropic.APIUserAbortError)
    await (await the.provider.call(0)).closed
    const [record] = await the.recordedOf(1)
    expect(record?.end).toMatchObject({ errorType: 'client_closed', errorMessage: 'the client disconnected' })
    // The input is the provider's count, the output an estimate.
    expect(record?.tokens).toMatchObject([{ inputTokens: 5, metadata: { estimated: true } }])
  })

  test('models and token counts pass through the SDK without a record', async () => {
    const file = join(shared, 'fallthrough.txtar')
    const models = existsSync(file)
      ? sectionOf(readTxtar(file), 'non-streaming')
      : '{"data":[{"type":"model","id":"claude-test-1"}],"has_more":false}'
    the.provider.respondWith(json(models), json({ input_tokens: 7 }))
    expect((await the.bridge.sdk.models.list()).data).toEqual(Reflect.get(JSON.parse(models), 'data'))
    const messages: Anthropic.MessageParam[] = [{ role: 'user', content: 'hello' }]
    expect(await the.bridge.sdk.messages.countTokens({ model: 'm', messages })).toEqual({ input_tokens: 7 })
    expect(the.provider.calls.map(call => `${call.method} ${call.url}`)).toEqual([
      'GET /v1/models',
      'POST /v1/messages/count_tokens',
    ])
    expect(await the.plane.recorded()).toEqual([])
  })

  test('a prompt that no database stores is recorded cleaned and passed on unchanged', async () => {
    the.provider.respondWith(json({ id: 'msg_1' }))
    const body = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'a\0b\ud800c' }] })
    expect((await send(the.bridge, { body, headers: { 'x-api-key': the.plane.key } })).status).toBe(200)
    expect(the.provider.calls[0]?.body.toString()).toBe(body)
    expect((await the.recordedOf(1))[0]?.prompts).toMatchObject([{ prompt: 'a\uFFFDb\uFFFDc' }])
  })

  test('concurrent interceptions keep their records apart', async () => {
    const usage = (n: number) => ({ id: `msg_${n}`, usage: { input_tokens: n, output_tokens: 1 } })
    const responses = Array.from(
      { length: 20 },
      () => (response: Parameters<ReturnType<typeof json>>[0], call: Parameters<ReturnType<typeof json>>[1]) => {
        const { model } = JSON.parse(call.body.toString()) as { model: string } // sent below
        return json(usage(Number(model)))(response, call)
      },
    )
    the.provider.respondWith(...responses)
    const headers = { 'x-api-key': the.plane.key }
    await Promise.all(
      responses.map((_, n) =>
        send(the.bridge, {
          headers,
          body: JSON.stringify({ model: String(n), messages: [{ role: 'user', content: `prompt ${n}` }] }),
        }),
      ),
    )
    for (const record of await the.recordedOf(20)) {
      const n = Number(Reflect.get(record.interception, 'model'))
      expect(record.prompts).toMatchObject([{ prompt: `prompt ${n}`, msgId: `msg_${n}` }])
      expect(record.tokens).toMatchObject([{ inputTokens: n }])
    }
  })
})

test('an error that repeats a key is recorded without the key, and only the central key is masked for the client', async () => {
  const provider = await startProvider()
  const plane = scriptedControlPlane([anthropicProvider(provider.url, { keys: ['provider+key+MARKED'] })])
  const bridge = await startBridge(plane)
  try {
    const echo = (keys: string[]) => ({
      type: 'error',
      error: { type: 'authentication_error', message: `no: ${keys}` },
    })
    const [central, own] = [echo(['provider+key+MARKED', testKey]), echo(['own+key+MARKED', testKey])]
    provider.respondWith(json(central, 401), json(own, 401), json(own, 401), json(own, 401))
    const byok = { 'x-bridge-token': testKey }
    const responses = [
      await send(bridge),
      await send(bridge, { headers: { ...byok, 'x-api-key': 'own+key+MARKED' } }),
      await send(bridge, { headers: { ...byok, 'api-key': 'own+key+MARKED' } }),
      await send(bridge, { headers: { ...byok, authorization: 'Bearer another-key', 'x-api-key': 'own+key+MARKED' } }),
    ]
    const masked = echo(['*'.repeat('provider+key+MARKED'.length), testKey])
    expect(responses.map(({ body }) => JSON.parse(body.toString()))).toEqual([masked, own, own, own])
    await eventually(() => expect(plane.stored('interceptionEnded')).toHaveLength(4))
    for (const { errorType, errorMessage } of plane.stored('interceptionEnded')) {
      expect(errorType).toBe('unauthorized')
      expect(errorMessage).toMatch(/^no: (\[secret\]|\*{19}),\[secret\]$/)
    }
  } finally {
    await bridge.close()
    await provider.close()
  }
})

test('facts that cannot become records cost neither the end nor the response', async () => {
  const plane = scriptedControlPlane()
  const { logger, lines } = memoryLogger()
  const outbox = createMemoryOutbox({ send: createRecordSender(plane), logger })
  const recorder = createRecorder({ client: plane, outbox, recordContent: true, logger, metrics: noMetrics })
  const start: InterceptionStart = {
    owner: testOwner,
    provider: { type: 'openai', name: 'openai' },
    request: { model: 'm', prompt: 'hello' },
    credentialKind: 'centralized',
    credentialHint: undefined,
    secrets: [],
    client: undefined,
    userAgent: undefined,
    requestBytes: 1,
    startedAt: new Date(),
    arrivedAt: performance.now(),
  }
  const recording = await recorder.begin(start, new AbortController().signal)
  const at = new Date(Number.NaN)
  const thoughts = [{ at, content: { bytes: 1, text: undefined as never } }] // a fault of a reader
  recording.note([undefined as never]) // another one
  await recording.end([{ tools: [], thoughts }], { type: 'timeout', message: 'no' })
  await outbox.close({ timeoutMs: 1_000 })
  expect(plane.stored('interceptionEnded')).toMatchObject([{ id: recording.id, errorType: 'timeout' }])
  expect(lines).toMatchObject([
    { level: 'error', message: 'the tokens so far could not be noted' },
    { level: 'error', message: 'a response could not be recorded; its end is' },
  ])
})

/** Returns the body of a raw response, by its Content-Length. */
function rawBodyOf(section: string): string {
  const [, length, rest = ''] = /^content-length: (\d+)[\s\S]*?\r?\n\r?\n([\s\S]*)$/im.exec(section) ?? []
  return Buffer.from(rest).subarray(0, Number(length)).toString()
}
