import { getEventListeners } from 'node:events'
import { join } from 'node:path'
import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type BridgeFetchOptions, createBridgeFetch } from '../../../../client/index.js'
import { rpcError } from '../../../../shared/contract/error-reasons.js'
import { RpcError } from '../../../../shared/rpc/errors.js'
import { eventually } from '../../../fixtures/eventually.js'
import { leavesNothing } from '../../../fixtures/leaves-nothing.js'
import {
  createGate,
  eventStream,
  json,
  recorded,
  type StandInProvider,
  stall,
  startProvider,
} from '../../../fixtures/provider.js'
import { readTxtar, sectionOf } from '../../../fixtures/txtar.js'
import { controlPlanes, type Recorded, type RunningControlPlane } from '../control-planes.js'
import { anthropicProvider, type RunningBridge, send, startBridge } from '../running-bridge.js'
import { type ScriptedControlPlane, scriptedControlPlane, testKey, testOwner } from '../scripted-control-plane.js'

const responses = join(import.meta.dirname, '../../../fixtures/responses/anthropic')
const section = (fixture: string, name: string) => sectionOf(readTxtar(join(responses, `${fixture}.txtar`)), name)
const hello: Anthropic.MessageCreateParamsNonStreaming = {
  model: 'claude-test-1',
  max_tokens: 9,
  messages: [{ role: 'user', content: 'hello' }],
}

/** Makes an SDK with an invented key and the provider's own address. */
const sdkWith = (fetch: typeof globalThis.fetch) => new Anthropic({ apiKey: 'made-up-MARKED', fetch, maxRetries: 0 })

describe.each(controlPlanes())('the Anthropic SDK in the same process, with $name', ({ start }) => {
  let provider: StandInProvider
  let plane: RunningControlPlane
  let bridge: RunningBridge
  let sdk: Anthropic

  beforeEach(async () => {
    provider = await startProvider()
    plane = await start(provider.url)
    bridge = await startBridge(plane.client)
    const keyId = plane.key.slice(0, 10)
    sdk = sdkWith(createBridgeFetch(bridge.daemon, { provider: 'anthropic', source: 'agents', keyId }))
  })
  afterEach(async () => {
    await bridge.close()
    await plane.close()
    await provider.close()
    expect(provider.unexpected).toBe(0)
  })

  /** Resolves with the only interception when it has ended. */
  async function onlyRecord(): Promise<Recorded> {
    const look = async () => {
      const [record, ...more] = await plane.recorded()
      expect(more).toEqual([])
      if (!record || !(Reflect.get(record.end, 'endedAt') instanceof Date)) throw new Error('it has not ended yet')
      return record
    }
    return eventually(look)
  }

  test('a blocking response is recorded for the owner of the key', async () => {
    provider.respondWith(recorded(section('short', 'non-streaming')))
    const message = await sdk.messages.create(hello)
    expect(message).toMatchObject(JSON.parse(section('short', 'non-streaming')))
    const record = await onlyRecord()
    expect(record.interception).toMatchObject({
      apiKeyId: plane.key.slice(0, 10),
      credentialKind: 'centralized',
      credentialHint: 'sk-a…6789',
    })
    expect(record.prompts).toMatchObject([{ prompt: 'hello' }])
    expect(record.tokens).toMatchObject([{ inputTokens: 5, outputTokens: 3 }])
  })

  test('the SDK gets a stream with thoughts and tools', async () => {
    provider.respondWith(recorded(section('everything', 'streaming')))
    const request = JSON.parse(section('everything', 'request')) as Anthropic.MessageStreamParams // recorded
    const message = await sdk.messages.stream(request).finalMessage()
    expect(message.content.map(({ type }) => type)).toEqual(expect.arrayContaining(['thinking', 'tool_use']))
    expect((await onlyRecord()).tools).toMatchObject([{ toolCallId: 'toolu_a' }, { toolCallId: 'toolu_b' }])
  })

  test('the SDK gets the first token before the provider has sent the last', async () => {
    const gate = createGate()
    provider.respondWith(eventStream(section('short', 'streaming'), { 3: gate }))
    const stream = sdk.messages.stream(hello)
    stream.once('text', () => gate.open())
    expect(await stream.finalText()).toBe('Hello there')
  })

  test('an abort of the SDK ends the call to the provider', async () => {
    provider.respondWith(eventStream(section('short', 'streaming'), { 3: createGate() }))
    const abort = new AbortController()
    const stream = sdk.messages.stream(hello, { signal: abort.signal })
    stream.once('text', () => abort.abort())
    await expect(stream.done()).rejects.toBeInstanceOf(Anthropic.APIUserAbortError)
    await (await provider.call(0)).closed
    const record = await onlyRecord()
    expect(record.end).toMatchObject({ errorType: 'client_closed', errorMessage: 'the client disconnected' })
    expect(record.tokens).toMatchObject([{ inputTokens: 5, metadata: { estimated: true } }])
  })

  test('a timeout of the SDK ends the call to the provider', async () => {
    provider.respondWith(stall)
    await expect(sdk.messages.create(hello, { timeout: 100 })).rejects.toBeInstanceOf(
      Anthropic.APIConnectionTimeoutError,
    )
    // The timeout may have come before the call to the provider.
    for (const call of provider.calls) await call.closed
  })

  test('the SDK gets the errors of the provider and can retry', async () => {
    const error = { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }
    provider.respondWith(json(error, 529, { 'retry-after-ms': '1' }), recorded(section('short', 'non-streaming')))
    const message = await sdk.messages.create(hello, { maxRetries: 1 })
    expect(message.id).toBeTypeOf('string')
    provider.respondWith(json(error, 529))
    await expect(sdk.messages.create(hello)).rejects.toMatchObject({ status: 529, error })
  })

  test('the SDK gets an error inside a stream', async () => {
    provider.respondWith(recorded(section('error-in-stream', 'streaming')))
    await expect(sdk.messages.stream(hello).finalMessage()).rejects.toBeInstanceOf(Anthropic.APIError)
    expect((await onlyRecord()).end).toMatchObject({ errorType: 'overloaded' })
  })

  test('a list of models leaves no record', async () => {
    provider.respondWith(json({ data: [{ type: 'model', id: 'claude-test-1' }], has_more: false }))
    expect((await sdk.models.list()).data).toMatchObject([{ id: 'claude-test-1' }])
    expect(provider.calls.map(({ method, url }) => `${method} ${url}`)).toEqual(['GET /v1/models'])
    expect(await plane.recorded()).toEqual([])
  })

  test('the OpenAI SDK works too, blocking and streaming', async () => {
    const keyId = plane.key.slice(0, 10)
    const fetch = createBridgeFetch(bridge.daemon, { provider: 'openai', source: 'agents', keyId })
    const openai = new OpenAI({ apiKey: 'made-up-MARKED', fetch, maxRetries: 0 })
    const request: OpenAI.ChatCompletionCreateParamsNonStreaming = {
      model: 'gpt-test-1',
      messages: [{ role: 'user', content: 'hello' }],
    }
    const common = { id: 'chatcmpl_1', model: 'gpt-test-1', created: 1 }
    const message = { role: 'assistant', content: 'Hello' }
    const usage = { prompt_tokens: 5, completion_tokens: 1, total_tokens: 6 }
    const chunk = { ...common, object: 'chat.completion.chunk' }
    provider.respondWith(
      json({ ...common, object: 'chat.completion', choices: [{ index: 0, message, finish_reason: 'stop' }], usage }),
      eventStream(
        [
          { ...chunk, choices: [{ index: 0, delta: message }] },
          { ...chunk, choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] },
          { ...chunk, choices: [], usage },
        ]
          .map(event => `data: ${JSON.stringify(event)}\n\n`)
          .join('')
          .concat('data: [DONE]\n\n'),
      ),
    )
    expect((await openai.chat.completions.create(request)).choices[0]?.message.content).toBe('Hello')
    let text = ''
    for await (const { choices } of await openai.chat.completions.create({ ...request, stream: true })) {
      text += choices[0]?.delta.content ?? ''
    }
    expect(text).toBe('Hello')
    expect(provider.calls.map(({ url }) => url)).toEqual(Array(2).fill(provider.calls[0]?.url))
    expect(provider.calls[0]?.url).toMatch(/\/chat\/completions$/)
    expect(JSON.stringify(provider.calls.map(({ rawHeaders }) => rawHeaders))).not.toContain('MARKED')
    const tokens = async () => (await plane.recorded()).map(record => record.tokens)
    await eventually(async () =>
      expect(await tokens()).toMatchObject(Array(2).fill([{ inputTokens: 5, outputTokens: 1 }])),
    )
  })

  test('the id of an unknown key gets 401', async () => {
    const stranger = createBridgeFetch(bridge.daemon, { provider: 'anthropic', source: 'agents', keyId: '0000000000' })
    await expect(sdkWith(stranger).messages.create(hello)).rejects.toBeInstanceOf(Anthropic.AuthenticationError)
    expect(provider.calls).toHaveLength(0)
  })
})

describe('createBridgeFetch', () => {
  leavesNothing()
  let provider: StandInProvider
  let plane: ScriptedControlPlane
  let bridge: RunningBridge

  beforeEach(async () => {
    provider = await startProvider()
    plane = scriptedControlPlane([anthropicProvider(provider.url)])
    bridge = await startBridge(plane, { outboxFlushMs: 50 })
  })
  afterEach(async () => {
    await bridge.close()
    await provider.close()
    expect(provider.unexpected).toBe(0)
  })

  const keyId = testOwner.apiKeyId
  const url = 'https://api.anthropic.com/v1/messages'
  const post: RequestInit = { method: 'POST', body: JSON.stringify(hello) }
  const fetchWith = (options: Partial<BridgeFetchOptions> = {}) =>
    createBridgeFetch(bridge.daemon, { provider: 'anthropic', source: 'agents', keyId, ...options })
  const asked = () => plane.calls.filter(call => call === 'authorizer.isAuthorized').length

  test.each(['', undefined])('a call without a key id (%j) rejects before any work', async missing => {
    const serve = vi.spyOn(bridge.daemon, 'serve')
    const options = { provider: 'anthropic', source: 'agents', keyId: missing } as BridgeFetchOptions // from JavaScript
    await expect(createBridgeFetch(bridge.daemon, options)(url, post)).rejects.toThrow(TypeError)
    expect(serve).not.toHaveBeenCalled()
    expect(plane.calls).not.toContain('authorizer.isAuthorized')
  })

  test.each(['', 'a/b', 'a b', '../admin', 'a\r\nb', 'x'.repeat(33)])(
    '%j is rejected as the name of a provider',
    name => {
      expect(() => fetchWith({ provider: name })).toThrow(TypeError)
    },
  )

  test('an unknown provider gets 404', async () => {
    const response = await fetchWith({ provider: 'nobody' })(url, post)
    expect([response.status, await response.json()]).toMatchObject([404, { error: { type: 'not_found_error' } }])
  })

  test('path and query are kept, whatever the origin', async () => {
    provider.respondWith(json({}))
    const response = await fetchWith()('http://elsewhere.example:99/v1/models/a%2Fb?x=%2F&y=a+b')
    expect([response.status, await response.json()]).toEqual([200, {}])
    expect(provider.calls[0]?.url).toBe('/v1/models/a%2Fb?x=%2F&y=a+b')
  })

  test('a path cannot leave its mount', async () => {
    for (const path of [
      '/../other/v1/messages',
      '/v1/models/%2e%2e/%2e%2e/%2e%2e/admin',
      '/v1/models/..%2f..%2fadmin',
    ]) {
      const response = await fetchWith()(`https://api.anthropic.com${path}`, { method: 'DELETE' })
      expect(response.status, path).toBe(404)
      await response.text()
    }
    expect(provider.calls).toHaveLength(0)
  })

  test.each<Record<string, string>>([
    { 'x-api-key': 'MARKED' },
    { authorization: 'Bearer MARKED' },
    { 'x-bridge-token': 'MARKED' },
    { 'x-bridge-token': testKey, 'x-api-key': 'MARKED', authorization: 'Bearer MARKED' },
    {},
  ])('the credentials %j in headers decide nothing and reach no provider', async headers => {
    provider.respondWith(json({ id: 'msg_1' }))
    const response = await fetchWith()(url, { ...post, headers })
    expect([response.status, await response.json()]).toEqual([200, { id: 'msg_1' }])
    const { rawHeaders, headers: got } = await provider.call(0)
    expect(JSON.stringify(rawHeaders)).not.toMatch(/MARKED|kkkkkkkkkk|agents/)
    expect([got['x-api-key'], got.authorization]).toEqual(['sk-ant-provider-key-0123456789', undefined])
    expect(plane.stored('interception')).toMatchObject([
      { apiKeyId: keyId, initiatorId: testOwner.ownerId, credentialKind: 'centralized', credentialHint: 'sk-a…6789' },
    ])
    expect(JSON.stringify(plane.records)).not.toContain('MARKED')
  })

  test('the control plane is asked with the key id alone, once in the cache time', async () => {
    const inputs: unknown[] = []
    plane.before = (path, input) => {
      if (path === 'authorizer.isAuthorized') inputs.push(input)
    }
    provider.respondWith(json({ id: 'msg_1' }), json({ id: 'msg_1' }))
    for (let times = 0; times < 2; times++) await (await fetchWith()(url, post)).text()
    expect(inputs).toEqual([{ keyId }])
  })

  test('an authorized key id is not a key, and a key is not a key id', async () => {
    provider.respondWith(json({ id: 'msg_1' }), json({ id: 'msg_1' }))
    await (await fetchWith()(url, post)).text()
    expect((await send(bridge, { headers: { 'x-api-key': keyId } })).status).toBe(401)
    expect((await send(bridge)).status).toBe(200)
    const response = await fetchWith({ keyId: testKey })(url, post)
    expect(response.status).toBe(401)
    await response.text()
    expect(asked()).toBe(4)
  })

  test('a connection without the delegate capability gets 403', async () => {
    plane.before = path => {
      if (path !== 'authorizer.isAuthorized') return
      throw rpcError('delegation_not_allowed', 'no delegation')
    }
    const response = await fetchWith()(url, post)
    expect([response.status, await response.json()]).toMatchObject([403, { error: { type: 'permission_error' } }])
    expect(bridge.log).toContainEqual({
      level: 'info',
      fields: { source: 'agents', code: 'FORBIDDEN', reason: 'delegation_not_allowed', apiKeyId: keyId },
      message: 'a key was not authorized',
    })
  })

  test('the session of the caller is recorded in place of the one in the request', async () => {
    provider.respondWith(json({ id: 'msg_1' }), json({ id: 'msg_1' }))
    const headers = { 'x-claude-code-session-id': 'from-the-header' }
    await (await fetchWith({ sessionId: 'from-the-caller' })(url, { ...post, headers })).text()
    await (await fetchWith()(url, { ...post, headers })).text()
    expect(plane.stored('interception')).toMatchObject([
      { clientSessionId: 'from-the-caller' },
      { clientSessionId: 'from-the-header' },
    ])
  })

  test('the caller gets the id of the interception before the provider is called', async () => {
    const seen: [string, number][] = []
    provider.respondWith(json({ id: 'msg_1' }))
    const onInterception = (id: string) => void seen.push([id, provider.calls.length])
    await (await fetchWith({ onInterception })(url, post)).text()
    expect(seen).toEqual([[Reflect.get(plane.stored('interception')[0] ?? {}, 'id'), 0]])
  })

  test("the caller gets the reason of the bridge's own rejections, and none for a provider's", async () => {
    const reasons: string[] = []
    const onRejection = (reason: string) => void reasons.push(reason)
    provider.respondWith(json({ error: {} }, 401))
    const status = async (options: Partial<BridgeFetchOptions>) => {
      const response = await fetchWith({ onRejection, ...options })(url, post)
      await response.text()
      return response.status
    }
    expect(await status({})).toBe(401)
    expect(reasons).toEqual([])
    expect(await status({ provider: 'nobody' })).toBe(404)
    await bridge.daemon.close({ graceMs: 0 })
    expect(await status({})).toBe(503)
    expect(reasons).toEqual(['unknown_provider', 'shutting_down'])
  })

  test('the source is in the log lines of its exchanges, and in no others', async () => {
    plane.before = path => {
      if (path === 'recorder.recordInterception') throw new RpcError('INTERNAL_SERVER_ERROR', 'internal server error')
    }
    const response = await fetchWith({ source: 'nightly' })(url, post)
    expect(response.status).toBe(503)
    await response.text()
    const sources = () => bridge.log.map(({ message, fields }) => [message, Reflect.get(fields, 'source')])
    expect(sources()).toEqual([
      ['an interception could not be recorded', 'nightly'],
      ['a request failed', 'nightly'],
    ])
    bridge.log.length = 0
    await send(bridge)
    expect(sources()).toEqual([
      ['an interception could not be recorded', undefined],
      ['a request failed', undefined],
    ])
  })

  test('an aborted call rejects with the reason itself and is recorded', async () => {
    provider.respondWith(eventStream(section('short', 'streaming'), { 3: createGate() }))
    const abort = new AbortController()
    const response = await fetchWith()(url, { ...post, signal: abort.signal })
    const reader = response.body?.getReader()
    await reader?.read()
    const reason = new Error('enough')
    abort.abort(reason)
    await expect(reader?.read()).rejects.toBe(reason)
    expect(getEventListeners(abort.signal, 'abort')).toEqual([])
    await (await provider.call(0)).closed
    await eventually(() => expect(plane.stored('interceptionEnded')).toHaveLength(1))
  })

  test('a provider that dies inside its response fails the read behind the received bytes', async () => {
    provider.respondWith(response => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': hello\n\n', () => response.destroy())
    })
    const response = await fetchWith()(url, post)
    const reader = response.body?.getReader()
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe(': hello\n\n')
    await expect(reader?.read()).rejects.toMatchObject({ name: 'TypeError', message: 'terminated' })
  })

  test('a body above the limit gets 413, and the rest of it is cancelled', async () => {
    await bridge.close()
    bridge = await startBridge(plane, { maxBodyBytes: 1_000, outboxFlushMs: 50 })
    const cancelled = createGate()
    const body = new ReadableStream(
      { pull: controller => controller.enqueue(new Uint8Array(700)), cancel: () => cancelled.open() },
      { highWaterMark: 0 },
    )
    const response = await fetchWith()(url, { method: 'POST', body, duplex: 'half' })
    expect([response.status, await response.json()]).toMatchObject([413, { error: { type: 'request_too_large' } }])
    await cancelled.opened
  })

  test('a closing daemon rejects new calls, lets calls in flight end and records them', async () => {
    const gate = createGate()
    provider.respondWith(eventStream(section('short', 'streaming'), { 3: gate }))
    const response = await fetchWith()(url, post)
    const closed = bridge.daemon.close({ graceMs: 30_000 })
    const rejected = await fetchWith()(url, post)
    expect([rejected.status, rejected.headers.get('retry-after'), await rejected.json()]).toMatchObject([
      503,
      '1',
      { error: { message: 'the bridge is shutting down' } },
    ])
    gate.open()
    expect(await response.text()).toBe(section('short', 'streaming'))
    await closed
    expect(plane.stored('interceptionEnded')).toMatchObject([{ id: expect.any(String) }])
  })

  test('a closing daemon cuts off calls at its deadline', async () => {
    provider.respondWith(eventStream(section('short', 'streaming'), { 3: createGate() }))
    const response = await fetchWith()(url, post)
    await bridge.daemon.close({ graceMs: 0 })
    await expect(response.text()).rejects.toMatchObject({ name: 'TypeError', message: 'terminated' })
    expect(plane.stored('interceptionEnded')).toMatchObject([{ errorMessage: 'the bridge is shutting down' }])
  })
})
