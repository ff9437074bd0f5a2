/** The APIs of the bridge, as a table. Each has recorded conversations and the expected records. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { anthropic } from '../../../client/bridge/providers/anthropic.js'
import type { BridgedRoute } from '../../../client/bridge/providers/provider-api.js'
import { openaiChat } from '../../../client/bridge/providers/responses/openai-chat.js'
import { openaiResponses } from '../../../client/bridge/providers/responses/openai-responses.js'
import { readTxtar, sectionOf } from '../../fixtures/txtar.js'
import type { RunningBridge } from './running-bridge.js'

/** A recorded conversation in one mode, and the expected records. */
export interface Conversation {
  fixture: string
  mode: 'streaming' | 'non-streaming'
  prompt: string
  /** input, output, cache read, cache write; none if the provider sent no usage */
  tokens?: [number, number, number, number]
  /** tool, call id, input */
  tools?: [string, string, string][]
  thoughts?: string[] | number
  /** `sdkIsSilent`: the official SDK delivers the error as an ordinary event */
  error?: { status: number; errorType: string; errorMessage: string; sdkIsSilent?: true }
}

/** A conversation with its texts. */
export interface LoadedConversation extends Conversation {
  /** the request as a client sends it in this mode */
  request: string
  model: string
  /** the recorded section: a stream, a JSON body, or a raw response that begins with `HTTP/` */
  response: string
}

export interface ApiRow {
  name: string
  provider: 'anthropic' | 'openai'
  /** path of the clients' requests, below the bridge */
  path: string
  /** path of the request at the provider */
  upstreamPath: string
  route: BridgedRoute
  conversations: LoadedConversation[]
  /** Makes one exchange through the official SDK and reads a stream to its end. */
  exchange(bridge: RunningBridge, request: string): Promise<void>
  /** class of the official SDK's errors */
  apiError: new (
    ...args: never[]
  ) => Error
  /** Returns the request body that reaches the provider. */
  forwarded(request: string): string
  /** Returns the part of a streamed response that reaches the client. */
  shown(response: string): string
}

function load(folder: string, conversations: Conversation[]): LoadedConversation[] {
  return loadFrom(join(import.meta.dirname, '../../fixtures/responses', folder), conversations)
}

/** Where more recorded conversations may lie, beside the project. */
export const conversationsBesideProject = join(import.meta.dirname, '../../../../shared/fixtures')

/**
 * Loads the conversations beside the project, if there are any; test/client/bridge/apis.test.ts shows if there are
 * none.
 */
function loadShared(folder: string, conversations: Conversation[]): LoadedConversation[] {
  const path = join(conversationsBesideProject, folder)
  return existsSync(path) ? loadFrom(path, conversations) : []
}

function loadFrom(folder: string, conversations: Conversation[]): LoadedConversation[] {
  return conversations.map(conversation => {
    const txtar = readTxtar(join(folder, `${conversation.fixture}.txtar`))
    const recorded = sectionOf(txtar, 'request')
    const stream = conversation.mode === 'streaming'
    // The same text except for `stream`, so that every byte of the client is known.
    const withoutStream = recorded.replace(/,\s*"stream": ?(true|false)|"stream": ?(true|false)\s*,/, '')
    const request = stream ? withoutStream.replace('{', '{"stream":true,') : withoutStream
    const { model } = JSON.parse(recorded) as { model: string } // recorded from a client
    return { ...conversation, request, model, response: sectionOf(txtar, conversation.mode) }
  })
}

const angels = 'how many angels can dance on the head of a pin\n'
const greeting = 'Grüße aus 東京 🎉'

function anthropicOwn(): Conversation[] {
  const both = (id: number | string): [string, string, string][] => [
    ['Read', 'toolu_a', `{"path":"/tmp/a b\\"c","id":${id}}`],
    ['Status', 'toolu_b', '{}'],
  ]
  const everything = { fixture: 'everything', prompt: greeting, thoughts: ['Zwei Dateien → zwei Aufrufe'] }
  return [
    { fixture: 'short', mode: 'streaming', prompt: 'hello', tokens: [5, 3, 0, 0] },
    { fixture: 'short', mode: 'non-streaming', prompt: 'hello', tokens: [5, 3, 0, 0] },
    { ...everything, tokens: [9, 42, 13, 11], mode: 'streaming', tools: both('12345678901234567890') },
    { ...everything, tokens: [9, 42, 13, 11], mode: 'non-streaming', tools: both(7) },
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
}

/** The expected records are those of the README beside the conversations, here and in the two lists below. */
function anthropicShared(): Conversation[] {
  const foo = '{"file_path":"/tmp/blah/foo"}'
  const errorMessage = 'prompt is too long: 205429 tokens > 200000 maximum'
  const tooLong = { status: 400, errorType: 'bad_request', errorMessage }
  return [
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
}

/** Two calls of one function and one of a custom tool, whose input is not JSON. */
const parallelCalls: [string, string, string][] = [
  ['weather', 'call_a', '{"city": "Zürich \\"x\\"","n":12345678901234567890}'],
  ['weather', 'call_b', '{"city":"東京"}'],
  ['patch', 'call_c', '*** Begin\n+ "quoted"\n*** End'],
]
const cutCall: [string, string, string][] = [['write', 'call_cut', '{"text": "Roses are r']]

function chatOwn(): Conversation[] {
  const everything = { fixture: 'everything', prompt: greeting, tools: parallelCalls }
  return [
    { fixture: 'short', mode: 'streaming', prompt: 'hello', tokens: [5, 3, 0, 0] },
    { fixture: 'short', mode: 'non-streaming', prompt: 'hello', tokens: [5, 3, 0, 0] },
    { ...everything, mode: 'streaming', tokens: [9, 42, 13, 0] },
    { ...everything, mode: 'non-streaming', tokens: [9, 42, 13, 0] },
    {
      fixture: 'cut-tool-input',
      mode: 'streaming',
      prompt: 'write a poem into a file',
      tokens: [21, 16, 0, 0],
      tools: cutCall,
    },
    {
      fixture: 'error-in-stream',
      mode: 'streaming',
      prompt: 'hello',
      error: { status: 200, errorType: 'overloaded', errorMessage: 'The server is overloaded' },
    },
  ]
}

function chatShared(): Conversation[] {
  const readme = (callId: string): [string, string, string][] => [['read_file', callId, '{"path":"README.md"}']]
  const readFile = { fixture: 'single_builtin_tool', prompt: 'how large is the README.md file in my current path' }
  return [
    { fixture: 'simple', mode: 'streaming', prompt: angels, tokens: [19, 238, 0, 0] },
    { fixture: 'simple', mode: 'non-streaming', prompt: angels, tokens: [19, 200, 0, 0] },
    { ...readFile, mode: 'streaming', tokens: [60, 15, 0, 0], tools: readme('call_HjeqP7YeRkoNj0de9e3U4X4B') },
    { ...readFile, mode: 'non-streaming', tokens: [60, 15, 0, 0], tools: readme('call_KjzAbhiZC6nk81tQzL7pwlpc') },
    {
      fixture: 'stream_error',
      mode: 'streaming',
      prompt: angels,
      error: {
        status: 200,
        errorType: 'server_error',
        errorMessage: 'The server had an error while processing your request. Sorry about that!',
      },
    },
  ]
}

function responsesOwn(): Conversation[] {
  const everything: Omit<Conversation, 'mode'> = {
    fixture: 'everything',
    prompt: '東京 🎉',
    tokens: [9, 42, 13, 0],
    tools: [...parallelCalls, ['local_shell', 'call_d', '{"type":"exec","command":["ls"],"env":{}}']],
    thoughts: ['**First** → think', 'Then act', 'I will look.'],
  }
  const cut: Omit<Conversation, 'mode'> = {
    fixture: 'cut-tool-input',
    prompt: 'write a poem into a file',
    tokens: [21, 16, 0, 0],
    tools: cutCall,
  }
  const failed: Omit<Conversation, 'mode'> = {
    fixture: 'failed',
    prompt: 'hello',
    tokens: [5, 1, 0, 0],
    error: { status: 200, errorType: 'rate_limited', errorMessage: 'Rate limit reached', sdkIsSilent: true },
  }
  return [
    { fixture: 'short', mode: 'streaming', prompt: 'hello', tokens: [5, 3, 0, 0] },
    { fixture: 'short', mode: 'non-streaming', prompt: 'hello', tokens: [5, 3, 0, 0] },
    { ...everything, mode: 'streaming' },
    { ...everything, mode: 'non-streaming' },
    { ...cut, mode: 'streaming' },
    { ...cut, mode: 'non-streaming' },
    { ...failed, mode: 'streaming' },
    { ...failed, mode: 'non-streaming' },
    {
      fixture: 'error-in-stream',
      mode: 'streaming',
      prompt: 'hello',
      error: { status: 200, errorType: 'server_error', errorMessage: 'The server had an error', sdkIsSilent: true },
    },
  ]
}

function responsesShared(): Conversation[] {
  const joke = 'tell me a joke'
  const prime = 'Is 3 + 5 a prime number? Use the add function to calculate the sum.'
  const sum = '{"a":3,"b":5}'
  return [
    { fixture: 'blocking/simple', mode: 'non-streaming', prompt: joke, tokens: [11, 18, 0, 0] },
    {
      fixture: 'blocking/single_builtin_tool',
      mode: 'non-streaming',
      prompt: prime,
      tokens: [58, 18, 0, 0],
      tools: [['add', 'call_CJSaa2u51JG996575oVljuNq', sum]],
      thoughts: 1,
    },
    {
      fixture: 'blocking/http_error',
      mode: 'non-streaming',
      prompt: joke,
      error: {
        status: 401,
        errorType: 'unauthorized',
        errorMessage:
          'Incorrect API key provided: sk-***. You can find your API key at https://platform.openai.com/account/api-keys.',
      },
    },
    { fixture: 'streaming/simple', mode: 'streaming', prompt: joke, tokens: [11, 18, 0, 0] },
    {
      fixture: 'streaming/builtin_tool',
      mode: 'streaming',
      prompt: prime,
      tokens: [58, 18, 0, 0],
      tools: [['add', 'call_7VaiUXZYuuuwWwviCrckxq6t', sum]],
      thoughts: 1,
    },
    { fixture: 'streaming/codex_example', mode: 'streaming', prompt: 'hello', tokens: [4006, 13, 0, 0], thoughts: 1 },
    {
      fixture: 'streaming/stream_error',
      mode: 'streaming',
      prompt: 'hello_stream_error',
      error: { status: 200, errorType: 'unknown', errorMessage: 'Something went wrong', sdkIsSilent: true },
    },
  ]
}

const same = (text: string) => text

export const apiRows: ApiRow[] = [
  {
    name: 'Anthropic Messages',
    provider: 'anthropic',
    path: '/bridge/anthropic/v1/messages',
    upstreamPath: '/v1/messages',
    route: anthropic.route('POST', '/v1/messages') as BridgedRoute, // it is the bridged one
    async exchange({ sdk }, request) {
      const params = JSON.parse(request) as Anthropic.MessageCreateParams // recorded from a client
      const response = await sdk.messages.create(params)
      if (Symbol.asyncIterator in response) for await (const event of response) void event
    },
    apiError: Anthropic.APIError,
    forwarded: same,
    shown: same,
    conversations: [...load('anthropic', anthropicOwn()), ...loadShared('anthropic', anthropicShared())],
  },
  {
    name: 'OpenAI Chat Completions',
    provider: 'openai',
    path: '/bridge/openai/v1/chat/completions',
    upstreamPath: '/v1/chat/completions',
    route: openaiChat,
    async exchange({ openai }, request) {
      const params = JSON.parse(request) as OpenAI.Chat.ChatCompletionCreateParams // recorded from a client
      const response = await openai.chat.completions.create(params)
      if (Symbol.asyncIterator in response) for await (const event of response) void event
    },
    apiError: OpenAI.APIError,
    forwarded: request =>
      /"stream": ?true/.test(request)
        ? request.replace(/\s*\}\s*$/, end => `,"stream_options":{"include_usage":true}${end}`)
        : request,
    shown: response => response.replace(/data: [^\n]*"choices":\[\],"usage":\{[^\n]*\n\n/, ''),
    conversations: [...load('openai-chat', chatOwn()), ...loadShared('openai/chatcompletions', chatShared())],
  },
  {
    name: 'OpenAI Responses',
    provider: 'openai',
    path: '/bridge/openai/v1/responses',
    upstreamPath: '/v1/responses',
    route: openaiResponses,
    async exchange({ openai }, request) {
      const params = JSON.parse(request) as OpenAI.Responses.ResponseCreateParams // recorded from a client
      const response = await openai.responses.create(params)
      if (Symbol.asyncIterator in response) for await (const event of response) void event
    },
    apiError: OpenAI.APIError,
    forwarded: same,
    shown: same,
    conversations: [...load('openai-responses', responsesOwn()), ...loadShared('openai/responses', responsesShared())],
  },
]
