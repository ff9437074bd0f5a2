/** Requests that get tools, those that do not, and calls that go wrong: each through a whole bridge. */
import { once } from 'node:events'
import { gzipSync } from 'node:zlib'
import Anthropic from '@anthropic-ai/sdk'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../shared/values/text.js'
import { eventually } from '../../fixtures/eventually.js'
import { json, type Responder, type StandInProvider, startProvider } from '../../fixtures/provider.js'
import { bodyOf, eventsOf, type MeantRound } from './injection/anthropic-provider.js'
import { oldServer, type ToolServer } from './mcp/tool-servers.js'
import { anthropicProvider, begin, openaiProvider, type RunningBridge, send, startBridge } from './running-bridge.js'
import { type ScriptedControlPlane, scriptedControlPlane, testKey } from './scripted-control-plane.js'

const wiki = { id: 'wiki', toolAllowRegex: null, toolDenyRegex: null, inject: true }

let provider: StandInProvider
let plane: ScriptedControlPlane
let server: ToolServer
let bridge: RunningBridge

beforeEach(async () => {
  provider = await startProvider()
  plane = scriptedControlPlane([anthropicProvider(provider.url), openaiProvider(provider.url)])
  server = await oldServer()
  plane.mcpServers = [{ ...wiki, url: server.url }]
  plane.mcpTokens.set('wiki', { token: 'token-of-test' })
  bridge = await startBridge(plane)
})
afterEach(async () => {
  await bridge.close()
  await provider.close()
})

const usage = { input_tokens: 10, output_tokens: 5 }
const done: MeantRound = { blocks: [{ is: 'text', text: 'Done.' }], stopReason: 'end_turn', usage }

/** Responds with blocks of the model; a call names an injected tool or one of the client. */
function message(id: string, blocks: JsonObject[], stopReason: string, isStream = false): Responder {
  const round = { ...done, stopReason }
  const text = isStream ? eventsOf(blocks, round, id).join('') : bodyOf(blocks, round, id)
  return response => {
    response.writeHead(200, { 'content-type': isStream ? 'text/event-stream' : 'application/json' })
    response.end(text)
  }
}

const call = (id: string, name: string, input: JsonObject = {}): JsonObject => ({ type: 'tool_use', id, name, input })
const text = (words: string): JsonObject => ({ type: 'text', text: words })
const end = (id: string, isStream = false) => message(id, [text('Done.')], 'end_turn', isStream)

const hello = { model: 'm', max_tokens: 9, messages: [{ role: 'user' as const, content: 'hello' }] }
const namesSent = (index = 0) => provider.calls[index]?.body.toString().match(/bmcp_\w+/g) ?? []

describe('a request gets no tools', () => {
  test.each<[string, object, Record<string, string>]>([
    ['for a small model', { ...hello, model: 'claude-3-5-haiku-latest' }, {}],
    [
      "if the client has the server's endpoint",
      { ...hello, tools: [{ name: 'mcp__wiki__echo', input_schema: {} }] },
      {},
    ],
  ])('%s', async (_, body, headers) => {
    provider.respondWith(end('a'))
    const request = JSON.stringify(body)
    await send(bridge, { body: request, headers: { 'x-api-key': testKey, ...headers } })
    expect(provider.calls[0]?.body.toString()).toBe(request)
    expect(plane.calls).not.toContain('conversations.pin')
  })

  test('in the background or with several choices', async () => {
    provider.respondWith(json({ id: 'r', object: 'response', output: [] }), json({ id: 'c', choices: [] }))
    const background = JSON.stringify({ model: 'm', input: 'hello', background: true })
    await send(bridge, { path: '/bridge/openai/v1/responses', body: background })
    const choices = JSON.stringify({ ...hello, n: 2 })
    await send(bridge, { path: '/bridge/openai/v1/chat/completions', body: choices })
    expect(provider.calls.map(({ body }) => body.toString())).toEqual([background, choices])
  })

  test('if no content is recorded: the results of hidden calls would be stored', async () => {
    await bridge.close()
    bridge = await startBridge(plane, {}, testKey, { recordContent: false })
    provider.respondWith(end('a'))
    await send(bridge, { body: JSON.stringify(hello) })
    expect(namesSent()).toEqual([])
    expect(plane.calls.filter(path => path.startsWith('conversations'))).toEqual([])
  })

  test('from a server that is down, and the request goes on', async () => {
    plane.mcpServers = [{ ...wiki, url: 'http://127.0.0.1:9/mcp' }]
    provider.respondWith(end('a'))
    expect((await send(bridge, { body: JSON.stringify(hello) })).status).toBe(200)
    expect(namesSent()).toEqual([])
  })
})

test('a user without such servers costs no call to the control plane beside those of a minute', async () => {
  plane.mcpServers = []
  provider.respondWith(end('a'), end('b'))
  for (const _ of ['first', 'second']) await send(bridge, { body: JSON.stringify(hello) })
  const asked = plane.calls.filter(path => /^(mcpConfigurator|conversations)/.test(path))
  expect(asked).toEqual(['mcpConfigurator.getServerConfigs'])
})

test('an encoded request reaches the provider decoded, with tools', async () => {
  provider.respondWith(end('a'))
  const headers = { 'x-api-key': testKey, 'content-encoding': 'gzip' }
  await send(bridge, { body: gzipSync(JSON.stringify(hello)), headers })
  expect(provider.calls[0]?.headers['content-encoding']).toBeUndefined()
  expect(provider.calls[0]?.headers['content-length']).toBe(String(provider.calls[0]?.body.length))
  expect(namesSent()).toContain('bmcp_wiki_echo')
})

const answered = [
  ...hello.messages,
  { role: 'assistant' as const, content: 'Hi.' },
  { role: 'user' as const, content: 'x' },
]

test('equal requests give equal bodies, and the tools of a conversation outlive their server', async () => {
  provider.respondWith(...['a', 'b', 'c', 'd'].map(id => end(id)))
  for (const _ of ['first', 'second']) await send(bridge, { body: JSON.stringify(hello) })
  await send(bridge, { body: JSON.stringify({ ...hello, messages: answered }) })
  await bridge.close()
  plane.mcpServers = []
  bridge = await startBridge(plane)
  await send(bridge, { body: JSON.stringify({ ...hello, messages: answered }) })
  const [first, again, second, later] = provider.calls.map(({ body }) => body.toString())
  expect(again).toBe(first)
  expect(later).toBe(second)
  expect(namesSent(3)).toEqual(namesSent(0))
})

test('a conversation that began without tools gets none: signed thinking is bound to them', async () => {
  provider.respondWith(...['a', 'b'].map(id => end(id)))
  const [server] = plane.mcpServers
  plane.mcpServers = []
  await send(bridge, { body: JSON.stringify(hello) })
  plane.mcpServers = server ? [server] : []
  await bridge.close()
  bridge = await startBridge(plane)
  await send(bridge, { body: JSON.stringify({ ...hello, messages: answered }) })
  expect([namesSent(0), namesSent(1)]).toEqual([[], []])
})

test.each<[string, Anthropic.MessageParam[], Record<string, string>]>([
  ['in another session', answered, { 'x-claude-code-session-id': 'other' }],
  ['without its beginning', answered.slice(1), { 'x-claude-code-session-id': 'session' }],
])('a conversation that goes on %s has its tools and hidden calls', async (_, messages, headers) => {
  // Short words are found by the user's before them.
  const words = 'The wiki has a page about it, which says more than a few words can, and is worth a visit.'
  const hidden = message('a', [text(words), call('one', 'bmcp_wiki_echo', { text: 'x' })], 'tool_use')
  provider.respondWith(hidden, message('b', [text('Hi.')], 'end_turn'), end('c'))
  const first = await send(bridge, {
    body: JSON.stringify(hello),
    headers: { 'x-api-key': testKey, 'x-claude-code-session-id': 'session' },
  })
  const { content }: { content: JsonObject[] } = JSON.parse(first.body.toString())
  const spoken = messages.map(each => (each.role === 'assistant' ? { ...each, content } : each))
  await send(bridge, {
    body: JSON.stringify({ ...hello, messages: spoken }),
    headers: { 'x-api-key': testKey, ...headers },
  })
  expect(namesSent(2)).toEqual(expect.arrayContaining(namesSent(0)))
  expect(provider.calls[2]?.body.toString()).toContain('"tool_use_id":"one"')
})

test('results above the room of a turn are cut, and the turn is stored', async () => {
  await bridge.close()
  const image = Buffer.alloc(900_000)
  image.write('89504e470d0a1a0a', 'hex')
  const big = await oldServer(mcp =>
    mcp.registerTool('look', { description: 'looks' }, () => ({
      content: [{ type: 'image', mimeType: 'image/png', data: image.subarray(0, 700_000).toString('base64') }],
    })),
  )
  plane.mcpServers = [{ ...wiki, url: big.url }]
  bridge = await startBridge(plane)
  const look = (id: string) => message(id, [call(id, 'bmcp_wiki_look')], 'tool_use')
  provider.respondWith(...['a', 'b', 'c', 'd'].map(look), end('e'))
  const response = await send(bridge, { body: JSON.stringify(hello) })
  expect(response.status).toBe(200)
  const last = provider.calls[4]?.body.toString() ?? ''
  expect(last.match(/"type":"image"/g)).toHaveLength(2)
  expect(last.match(/left out: the results of this turn/g)).toHaveLength(2)
  expect(plane.calls).toContain('conversations.keep')
})

describe('a round that goes wrong', () => {
  test('a failed call is a result with the error flag, and is recorded with its reason', async () => {
    provider.respondWith(message('a', [call('one', 'bmcp_wiki_fail')], 'tool_use'), end('b'))
    await send(bridge, { body: JSON.stringify(hello) })
    const second: { messages: { content: JsonObject[] }[] } = JSON.parse(provider.calls[1]?.body.toString() ?? '')
    expect(second.messages.at(-1)?.content).toMatchObject([{ type: 'tool_result', tool_use_id: 'one', is_error: true }])
    const [used] = plane.stored('toolUsage')
    expect(used).toMatchObject({
      tool: 'fail',
      injected: true,
      invocationError: expect.stringContaining('no such page'),
    })
  })

  test('an error in a later round is an error event, which the SDK throws, and is recorded', async () => {
    provider.respondWith(
      message('a', [text('Looking.'), call('one', 'bmcp_wiki_echo', { text: 'x' })], 'tool_use', true),
      json({ type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }, 529),
    )
    const stream = bridge.sdk.messages.stream(hello)
    await expect(stream.finalMessage()).rejects.toThrow('Overloaded')
    await eventually(async () => expect(plane.stored('interceptionEnded')).toMatchObject([{ errorType: 'overloaded' }]))
    expect(plane.stored('toolUsage')).toMatchObject([{ tool: 'echo', injected: true }])
    expect(plane.stored('tokenUsage')).toHaveLength(1)
  })

  test('an error in a later round of a body passes as it is', async () => {
    provider.respondWith(
      message('a', [call('one', 'bmcp_wiki_echo', { text: 'x' })], 'tool_use'),
      json({ type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }, 529),
    )
    const response = bridge.sdk.messages.create(hello)
    await expect(response).rejects.toBeInstanceOf(Anthropic.InternalServerError)
    await expect(response).rejects.toMatchObject({ status: 529 })
  })

  test('a turn that cannot be stored ends with an error', async () => {
    plane.before = path => {
      if (path === 'conversations.keep') throw new Error('no room')
    }
    provider.respondWith(message('a', [call('one', 'bmcp_wiki_echo', { text: 'x' })], 'tool_use', true), end('b', true))
    await expect(bridge.sdk.messages.stream(hello).finalMessage()).rejects.toThrow('could not be stored')
  })

  test('a client that leaves cancels the call at the server, and the record says so', async () => {
    provider.respondWith(message('a', [text('Wait.'), call('one', 'bmcp_wiki_wait')], 'tool_use', true))
    const response = await begin(bridge, { body: JSON.stringify({ ...hello, stream: true }) })
    response.resume()
    await eventually(async () => expect(server.seen).toContain('wait'))
    response.destroy()
    await once(response, 'close')
    await eventually(async () => expect(server.seen).toContain('cancelled'))
    await eventually(async () =>
      expect(plane.stored('interceptionEnded')).toMatchObject([{ errorType: 'client_closed' }]),
    )
    expect(plane.stored('toolUsage')).toMatchObject([
      { tool: 'wait', injected: true, invocationError: expect.any(String) },
    ])
  })
})

test("a call of the client's own tool ends the response, and the next request has the hidden pair at its place", async () => {
  const mixed = [call('one', 'bmcp_wiki_echo', { text: 'x' }), call('two', 'Read')]
  provider.respondWith(message('a', mixed, 'tool_use', true), end('b', true))
  const tools = [{ name: 'Read', input_schema: { type: 'object' as const } }]
  const first = await bridge.sdk.messages.stream({ ...hello, tools }).finalMessage()
  expect(first.content).toMatchObject([{ type: 'tool_use', id: 'two' }])
  const messages: Anthropic.MessageParam[] = [
    ...hello.messages,
    { role: 'assistant', content: first.content },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'two', content: 'file' }] },
  ]
  await bridge.sdk.messages.stream({ ...hello, tools, messages }).finalMessage()
  const sent: { messages: { content: { id?: string; tool_use_id?: string }[] }[] } = JSON.parse(
    provider.calls[1]?.body.toString() ?? '',
  )
  const [, model, user] = sent.messages
  expect(model?.content.map(({ id }) => id)).toEqual(['one', 'two'])
  expect(new Set(user?.content.map(({ tool_use_id: id }) => id))).toEqual(new Set(['one', 'two']))
})

test('a provider that rejects the wish for usage gets the request without it, once for each model', async () => {
  const chunk = (delta: object, reason: string | null) =>
    `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: reason }] })}\n\n`
  const answer: Responder = response => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.end(`${chunk({ role: 'assistant', content: 'Done.' }, null)}${chunk({}, 'stop')}data: [DONE]\n\n`)
  }
  provider.respondWith(json({ error: { message: 'stream_options' } }, 400), answer, answer)
  for (const _ of ['first', 'second']) {
    const body = JSON.stringify({ ...hello, stream: true })
    const response = await send(bridge, { path: '/bridge/openai/v1/chat/completions', body })
    expect(response.body.toString()).toContain('Done.')
  }
  expect(provider.calls.map(({ body }) => body.includes('include_usage'))).toEqual([true, false, false])
  expect(namesSent(1)).toContain('bmcp_wiki_echo')
})
