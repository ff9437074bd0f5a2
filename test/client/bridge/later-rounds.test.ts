/** Rounds behind the first one, in every API, each through a whole bridge. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { anthropicInjection } from '../../../client/bridge/injection/anthropic.js'
import type { InjectionApi } from '../../../client/bridge/injection/injection-api.js'
import { openaiChatInjection } from '../../../client/bridge/injection/openai-chat.js'
import { openaiResponsesInjection } from '../../../client/bridge/injection/openai-responses.js'
import { isPlainObject, type JsonObject, type JsonValue } from '../../../shared/values/text.js'
import { eventually } from '../../fixtures/eventually.js'
import { type Responder, type StandInProvider, startProvider } from '../../fixtures/provider.js'
import { eventsOf } from './injection/anthropic-provider.js'
import { chatStream } from './injection/chat-rounds.js'
import { dataOf, injected, play } from './injection/play.js'
import { responsesStream } from './injection/responses-rounds.js'
import { oldServer } from './mcp/tool-servers.js'
import { anthropicProvider, openaiProvider, type RunningBridge, send, startBridge } from './running-bridge.js'
import { type ScriptedControlPlane, scriptedControlPlane, testKey } from './scripted-control-plane.js'

let provider: StandInProvider
let plane: ScriptedControlPlane
let bridge: RunningBridge

beforeEach(async () => {
  provider = await startProvider()
  plane = scriptedControlPlane([anthropicProvider(provider.url), openaiProvider(provider.url)])
  const { url } = await oldServer()
  plane.mcpServers = [{ id: 'wiki', url, toolAllowRegex: null, toolDenyRegex: null, inject: true }]
  plane.mcpTokens.set('wiki', { token: 'token-of-test' })
  bridge = await startBridge(plane)
})
afterEach(async () => {
  await bridge.close()
  await provider.close()
})

const messages = [{ role: 'user' as const, content: 'hello' }]
const name = 'bmcp_wiki_echo'
const input = '{"text":"x"}'
const usage: [number, number, number] = [1, 0, 1]
const stores = { store: true, encrypts: false }

interface Row {
  api: string
  injection: InjectionApi
  path: string
  request: JsonObject
  /** Returns the stream of a round that calls a hidden tool. */
  hidden: (number: number) => string
  /** Streams with the official SDK. */
  stream: () => Promise<unknown>
  /** choices of tools in a request, and in its later rounds */
  choices: [first: JsonValue, later: JsonValue][]
  /** Returns the error event for the provider's error in the API's own shape. */
  shown: (error: JsonObject) => JsonObject
}

const deep = JSON.parse(`${'['.repeat(10_000)}${']'.repeat(10_000)}`)
const autoOfMessages = { type: 'auto', disable_parallel_tool_use: true }
const chatFunction = (of: string) => ({ type: 'function', function: { name: of } })
const same = (choice: JsonValue): [JsonValue, JsonValue] => [choice, choice]
const chatRound = { text: [], reasoning: [], finish: 'stop', usage }

const rows: Row[] = [
  {
    api: 'Messages',
    injection: anthropicInjection,
    path: '/bridge/anthropic/v1/messages',
    request: { model: 'm', max_tokens: 9, messages },
    hidden: number =>
      eventsOf(
        [{ type: 'tool_use', id: `call_${number}`, name, input: { text: 'x' } }],
        { blocks: [], stopReason: 'tool_use', usage: { input_tokens: 1, output_tokens: 1 } },
        `msg_${number}`,
      ).join(''),
    stream: () => bridge.sdk.messages.stream({ model: 'm', max_tokens: 9, messages }).finalMessage(),
    choices: [
      [{ type: 'any' }, autoOfMessages],
      [{ type: 'any', disable_parallel_tool_use: false }, autoOfMessages],
      [{ type: 'auto' }, autoOfMessages],
      [
        { type: 'auto', more: 1 },
        { ...autoOfMessages, more: 1 },
      ],
      [{ type: 'none' }, { type: 'none' }],
      [{ type: 'tool', name }, autoOfMessages],
      [
        { type: 'tool', name: 'own' },
        { type: 'tool', name: 'own', disable_parallel_tool_use: true },
      ],
    ],
    shown: error => ({ type: 'error', error }),
  },
  {
    api: 'Chat Completions',
    injection: openaiChatInjection,
    path: '/bridge/openai/v1/chat/completions',
    request: { model: 'm', messages },
    hidden: number => chatStream({ ...chatRound, calls: [{ id: `call_${number}`, name, input }] }, number, 'openai'),
    stream: () => bridge.openai.chat.completions.stream({ model: 'm', messages }).finalMessage(),
    choices: [
      ['required', 'auto'],
      same('auto'),
      same('none'),
      [chatFunction(name), 'auto'],
      same(chatFunction('own')),
      [
        {
          type: 'allowed_tools',
          allowed_tools: { mode: 'required', tools: [chatFunction('own'), chatFunction(name)] },
        },
        { type: 'allowed_tools', allowed_tools: { mode: 'auto', tools: [chatFunction('own'), chatFunction(name)] } },
      ],
      same({ type: 'allowed_tools', allowed_tools: { mode: 'required', tools: [chatFunction('own')] } }),
      same({ type: 'custom', custom: { name } }),
    ],
    shown: error => ({ error }),
  },
  {
    api: 'Responses',
    injection: openaiResponsesInjection,
    path: '/bridge/openai/v1/responses',
    request: { model: 'm', input: 'hello' },
    hidden: number => responsesStream({ items: [{ call: name, input }], status: 'completed', usage }, number, stores),
    stream: () => bridge.openai.responses.stream({ model: 'm', input: 'hello' }).finalResponse(),
    choices: [
      ['required', 'auto'],
      same('auto'),
      same('none'),
      [{ type: 'function', name }, 'auto'],
      same({ type: 'function', name: 'own' }),
      [
        { type: 'allowed_tools', mode: 'required', tools: [{ type: 'function', name }] },
        { type: 'allowed_tools', mode: 'auto', tools: [{ type: 'function', name }] },
      ],
      same({ type: 'allowed_tools', mode: 'required', tools: [{ type: 'mcp', name, server_label: 'x' }, 'odd'] }),
      same({ type: 'allowed_tools', mode: 'required' }),
      same({ type: 'file_search' }),
    ],
    shown: ({ type = null, code = type, message = null, param = null, ...more }) => ({
      type: 'error',
      code,
      message,
      param,
      sequence_number: expect.any(Number),
      error: { type, message, ...(code !== type && { code, param }), ...more },
    }),
  },
]

const streamed =
  (text: string): Responder =>
  response => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.end(text)
  }
const failed =
  (status: number, body: string): Responder =>
  response => {
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(body)
  }

describe.each(rows)('a later round of $api', ({ path, request, injection, hidden, stream, choices, shown }) => {
  const ask = async () => {
    const body = JSON.stringify({ ...request, stream: true })
    const response = await send(bridge, { path, body, headers: { 'x-api-key': testKey } })
    expect([response.status, response.whole]).toEqual([200, true])
    return dataOf(response.body.toString())
  }

  test.each(choices)("the client's choice %j is %j behind a hidden call", (choice, later) => {
    const responses = [hidden(0), hidden(1), hidden(2)]
    const tools = [injected(name)]
    const { bodies } = play({
      api: injection,
      request: { ...request, stream: true, tool_choice: choice },
      tools,
      responses,
    })
    const [first, ...others] = bodies.map(body => JSON.parse(body).tool_choice)
    const kept = isPlainObject(choice) && injection === anthropicInjection && choice.type !== 'none'
    expect(first).toEqual(kept ? { ...choice, disable_parallel_tool_use: true } : choice)
    expect(others).toEqual([later, later])
  })

  const lastEvent = async () => JSON.parse((await ask()).at(-1) ?? '')
  const words = 'prompt is too long: 205000 tokens > 200000 maximum'

  test("the stream ends with the provider's own error, which the SDK throws, and which is recorded", async () => {
    const error = {
      type: 'invalid_request_error',
      message: words,
      code: 'context_length_exceeded',
      param: 'x',
      more: 1,
    }
    const rejected = failed(400, JSON.stringify({ type: 'error', error }, null, 2))
    provider.respondWith(streamed(hidden(0)), rejected, streamed(hidden(1)), rejected)
    const event = await lastEvent()
    expect(event).toMatchObject(shown(error))
    await expect(stream()).rejects.toThrow(words)
    await eventually(async () =>
      expect(plane.stored('interceptionEnded')).toMatchObject([
        { errorType: 'bad_request', errorMessage: words },
        { errorType: 'bad_request', errorMessage: words },
      ]),
    )
    expect(JSON.stringify(bridge.log)).not.toContain('too long')
  })

  test.each<[string, unknown, string]>([
    ['a flat error', { object: 'error', message: words, code: 400 }, words],
    ['a list', [{ error: { code: 400, message: words, status: 'INVALID_ARGUMENT' } }], words],
    ['a text in the member', { error: words }, words],
    ['nothing that is JSON', undefined, 'status 400'],
    ['no words', { code: 400 }, 'status 400'],
    ['too deep to be written', { error: { message: words, x: deep } }, words],
  ])('an error of another shape has its words, or the status: %s', (_, body, message) => {
    const open = injection.open({ json: request, body: Buffer.from('{}'), tools: [], turns: [], mayAskForUsage: false })
    const [data = ''] = dataOf(open.errorEvent('status 400', { status: 400, body }).toString())
    const { error } = JSON.parse(data)
    expect(error.message).toBe(message)
    // A deep error passes as it is if the stack has room for it.
    if (!error.x) expect(error.type).toBe('invalid_request_error')
  })

  test("the operator's key is masked in the provider's error", async () => {
    const key = path.includes('openai') ? 'sk-proj-provider-key-0123456789' : 'sk-ant-provider-key-0123456789'
    provider.respondWith(streamed(hidden(0)), failed(400, `{"error":{"type":"x","message":"no right for ${key}"}}`))
    const { error } = await lastEvent()
    expect(error.message).toContain('no right for ')
    expect(error.message).not.toContain(key)
  })
})
