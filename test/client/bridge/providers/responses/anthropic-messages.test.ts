import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { anthropic } from '../../../../../client/bridge/providers/anthropic.js'
import type { BridgedRoute, ResponseFacts } from '../../../../../client/bridge/providers/provider-api.js'
import { SseReader } from '../../../../../client/bridge/wire/sse.js'
import { isPlainObject, type JsonObject } from '../../../../../shared/values/text.js'
import { readTxtar, sectionOf } from '../../../../fixtures/txtar.js'

const responses = join(import.meta.dirname, '../../../../fixtures/responses/anthropic')
const bridged = anthropic.route('POST', '/v1/messages') as BridgedRoute // it is the bridged one

function readStream(chunks: Buffer[]): ResponseFacts {
  const reader = bridged.createResponseReader()
  const events = new SseReader(event => reader.event(event), 1_000_000)
  for (const chunk of chunks) events.push(chunk)
  events.end()
  return reader.facts()
}

const readText = (text: string) => readStream([Buffer.from(text)])

/** Returns the facts that these tests are about, without the times, which differ between runs. */
function timeless({ msgId, usage, error, tools, thoughts }: ResponseFacts) {
  return {
    msgId,
    usage,
    error,
    tools: tools.map(({ callId, tool, input }) => ({ callId, tool, input: input.text })),
    thoughts: thoughts.map(({ content }) => content.text),
  }
}

function readBody(body: unknown): ResponseFacts {
  const reader = bridged.createResponseReader()
  reader.body(body)
  return reader.facts()
}

const data = (...events: object[]) => events.map(event => `data: ${JSON.stringify(event)}\n\n`).join('')
const start = (usage?: object) => ({ type: 'message_start', message: { id: 'msg_1', usage } })

describe('streamed responses', () => {
  const everything = sectionOf(readTxtar(join(responses, 'everything.txtar')), 'streaming')

  test('every part of a streamed response is read', () => {
    expect(timeless(readText(everything))).toEqual({
      msgId: 'msg_everything',
      usage: {
        input: 9,
        output: 42,
        cacheRead: 13,
        cacheWrite: 11,
        details: {
          cache_creation: { ephemeral_5m_input_tokens: 11, ephemeral_1h_input_tokens: 0 },
          service_tier: 'standard',
          server_tool_use: { web_search_requests: 1 },
        },
      },
      tools: [
        { callId: 'toolu_a', tool: 'Read', input: '{"path":"/tmp/a b\\"c","id":12345678901234567890}' },
        { callId: 'toolu_b', tool: 'Status', input: '{}' },
      ],
      thoughts: ['Zwei Dateien → zwei Aufrufe'],
      error: undefined,
    })
  })

  test.each(['\n', '\r\n'])('a stream that is cut in two at any byte is read the same (line end %j)', lineEnd => {
    const bytes = Buffer.from(everything.replaceAll('\n', lineEnd))
    const expected = timeless(readStream([bytes]))
    for (let cut = 1; cut < bytes.length; cut++) {
      const facts = timeless(readStream([bytes.subarray(0, cut), bytes.subarray(cut)]))
      if (JSON.stringify(facts) !== JSON.stringify(expected)) expect(facts, `cut at ${cut}`).toEqual(expected)
    }
  })

  test('a stream that arrives byte by byte is read the same', () => {
    const bytes = Buffer.from(everything)
    const single = Array.from(bytes, byte => Buffer.of(byte))
    expect(timeless(readStream(single))).toEqual(timeless(readStream([bytes])))
  })

  test('usage of a later event replaces earlier usage, except for absent and null fields', () => {
    const first = start({
      input_tokens: 1,
      output_tokens: 2,
      cache_read_input_tokens: 3,
      cache_creation_input_tokens: 4,
    })
    const second = { type: 'message_delta', usage: { output_tokens: 9, cache_read_input_tokens: null } }
    expect(readText(data(first, second)).usage).toEqual({
      input: 1,
      output: 9,
      cacheRead: 3,
      cacheWrite: 4,
      details: {},
    })
  })

  test('a stream that breaks inside a tool call yields the received input', () => {
    const tool = {
      type: 'content_block_start',
      index: 0,
      content_block: { type: 'tool_use', id: 't', name: 'Write', input: {} },
    }
    const delta = {
      type: 'content_block_delta',
      index: 0,
      delta: { type: 'input_json_delta', partial_json: '{ "a": "b' },
    }
    expect(timeless(readText(data(start(), tool, delta))).tools).toEqual([
      { callId: 't', tool: 'Write', input: '{ "a": "b' },
    ])
  })

  test('an input in the start of its block is read', () => {
    const tool = {
      type: 'content_block_start',
      index: 0,
      content_block: { type: 'tool_use', id: 't', name: 'Write', input: { a: 1 } },
    }
    expect(timeless(readText(data(tool))).tools).toEqual([{ callId: 't', tool: 'Write', input: '{"a":1}' }])
  })

  test('events after message_stop do not count', () => {
    const later = { type: 'message_delta', usage: { output_tokens: 99 } }
    expect(readText(data(start({ output_tokens: 1 }), { type: 'message_stop' }, later)).usage?.output).toBe(1)
  })

  test.each([
    ['overloaded_error', 'overloaded'],
    ['api_error', 'server_error'],
    ['rate_limit_error', 'rate_limited'],
    ['invalid_request_error', 'bad_request'],
    ['permission_error', 'unauthorized'],
    ['timeout_error', 'timeout'],
    ['__proto__', 'unknown'],
  ])('an error of type %s is recorded as %s', (type, errorType) => {
    expect(readText(data({ type: 'error', error: { type, message: 'no' } })).error).toEqual({
      type: errorType,
      message: 'no',
      isQuoted: true,
    })
  })

  test.each([
    'data: null\n\n',
    'data: [1]\n\n',
    'data: {"type":"message_start","message":null}\n\n',
    'data: {"type":"message_start","message":{"id":7,"usage":[1]}}\n\n',
    'data: {"type":"content_block_delta","index":9,"delta":{"type":"thinking_delta","thinking":"x"}}\n\n',
    'data: {"type":"content_block_start","index":0,"content_block":"x"}\n\ndata: {"type":"content_block_stop","index":0}\n\n',
    'data: {"type":"message_delta","usage":{"output_tokens":"many"}}\n\n',
    'data: {"type":"message_de',
  ])('the event %j leaves no record', text => {
    expect(timeless(readText(text))).toEqual({
      msgId: undefined,
      usage: undefined,
      tools: [],
      thoughts: [],
      error: undefined,
    })
  })

  test('a text that is larger than a record is kept in part, with its whole size', () => {
    const block = { type: 'content_block_start', index: 0, content_block: { type: 'thinking', thinking: '' } }
    const delta = {
      type: 'content_block_delta',
      index: 0,
      delta: { type: 'thinking_delta', thinking: 'ä'.repeat(300_000) },
    }
    const [thought] = readText(data(block, ...Array.from({ length: 10 }, () => delta))).thoughts
    expect(thought?.content.bytes).toBe(6_000_000)
    expect(thought?.content.text.length).toBe(1024 * 1024)
  })
})

describe('blocking responses', () => {
  test('every part of a blocking response is read', () => {
    const txtar = readTxtar(join(responses, 'everything.txtar'))
    const streamed = timeless(readText(sectionOf(txtar, 'streaming')))
    const blocking = timeless(readBody(JSON.parse(sectionOf(txtar, 'non-streaming'))))
    // JSON.parse can hold the number of the input here.
    const tools = [
      { callId: 'toolu_a', tool: 'Read', input: '{"path":"/tmp/a b\\"c","id":7}' },
      ...streamed.tools.slice(1),
    ]
    expect(blocking).toEqual({ ...streamed, tools })
  })

  test.each([null, [], 'x', 7, {}, { content: 'x' }, { content: [null, { type: 'tool_use', id: 1 }].slice(0, 1) }])(
    'the body %j leaves no record',
    body => {
      expect(timeless(readBody(body))).toEqual({
        msgId: undefined,
        usage: undefined,
        tools: [],
        thoughts: [],
        error: undefined,
      })
    },
  )
})

describe('requests', () => {
  const read = (body: JsonObject, headers = {}) => bridged.readRequest(body, headers)
  const user = (content: JsonObject['content']) => ({
    model: 'm',
    messages: [{ role: 'user', content: content ?? null }],
  })

  test('prompt, correlating tool call, model and session of a request are read', () => {
    const body: unknown = JSON.parse(sectionOf(readTxtar(join(responses, 'everything.txtar')), 'request'))
    expect(isPlainObject(body) && read(body as JsonObject)).toEqual({
      model: 'claude-test-1',
      prompt: 'Grüße aus 東京 🎉',
      correlatingToolCallId: 'toolu_before',
      sessionId: '0f8fad5b-d9cb-469f-a165-70867728950e',
    })
  })

  test.each<[string, JsonObject, string | undefined]>([
    ['a string', user('hello\n'), 'hello\n'],
    [
      'the last of several text blocks',
      user([{ type: 'text', text: 'a' }, { type: 'text', text: 'b' }, { type: 'image' }]),
      'b',
    ],
    [
      'a message that instructions of the client follow',
      {
        messages: [
          { role: 'user', content: 'a' },
          { role: 'system', content: 'b' },
        ],
      },
      'a',
    ],
    ['tool results alone', user([{ type: 'tool_result', tool_use_id: 't' }]), undefined],
    [
      'a last message of the assistant',
      {
        messages: [
          { role: 'user', content: 'a' },
          { role: 'assistant', content: 'b' },
        ],
      },
      undefined,
    ],
    ['no messages', { messages: [] }, undefined],
    ['messages that are none', { messages: 'x' }, undefined],
    ['an empty string', user(''), undefined],
  ])('the prompt of %s is read', (_, body, prompt) => {
    expect(read(body).prompt).toBe(prompt)
  })

  test.each<[string, JsonObject, Record<string, string>, string | undefined]>([
    ['the header', { metadata: { user_id: 'user_a_session_b' } }, { 'x-claude-code-session-id': 'c' }, 'c'],
    ['a user id of Claude Code', { metadata: { user_id: 'user_a_account__session_b' } }, {}, 'b'],
    ['a user id in JSON', { metadata: { user_id: '{"device_id":"d","session_id":"e"}' } }, {}, 'e'],
    ['another user id', { metadata: { user_id: 'somebody' } }, {}, undefined],
    ['a user id that only looks like JSON', { metadata: { user_id: '{session' } }, {}, undefined],
  ])('the session is read from %s', (_, body, headers, sessionId) => {
    expect(read(body, headers).sessionId).toBe(sessionId)
  })
})
