/**
 * Calls of tools and thoughts of responses, in the shapes of the vendors' pages (Anthropic SDK 1.11, OpenAI SDK 6.30).
 */
import { describe, expect, test } from 'vitest'
import type { BridgedRoute, ResponseFacts } from '../../../../../client/bridge/providers/provider-api.js'
import { anthropicMessages } from '../../../../../client/bridge/providers/responses/anthropic-messages.js'
import { openaiChat } from '../../../../../client/bridge/providers/responses/openai-chat.js'
import { openaiResponses } from '../../../../../client/bridge/providers/responses/openai-responses.js'
import type { JsonObject } from '../../../../../shared/values/text.js'
import { fc } from '../../../../fixtures/random.js'

function readBody(route: BridgedRoute, body: object, request?: JsonObject): ResponseFacts {
  const reader = route.createResponseReader(request)
  reader.body(body)
  return reader.facts()
}

function readEvents(route: BridgedRoute, ...events: object[]): ResponseFacts {
  const reader = route.createResponseReader()
  for (const event of events) reader.event({ event: '', data: JSON.stringify(event) })
  return reader.facts()
}

const toolsOf = ({ tools }: ResponseFacts) => tools.map(({ at: _, input, ...call }) => ({ ...call, input: input.text }))
const thoughtsOf = ({ thoughts }: ResponseFacts) => thoughts.map(({ content }) => content.text)

/** The events of a stream with these items, and its last event with or without them. */
function streamOf(items: readonly object[], isRepeated: boolean): object[] {
  return [
    { type: 'response.created', response: { id: 'resp_1', status: 'in_progress', output: [] } },
    ...items.flatMap((item, output_index) => [
      { type: 'response.output_item.added', output_index, item },
      { type: 'response.output_item.done', output_index, item },
    ]),
    { type: 'response.completed', response: { id: 'resp_1', status: 'completed', output: isRepeated ? items : [] } },
  ]
}

describe('an item of Responses', () => {
  const actions = [{ type: 'click', button: 'left', x: 1, y: 2 }, { type: 'screenshot' }]
  const servers = { tools: [{ type: 'mcp', server_label: 'wiki', server_url: 'https://wiki.example/mcp' }] }
  const rows: [string, object, object | undefined][] = [
    [
      'computer_call with several actions',
      { type: 'computer_call', id: 'cu_1', call_id: 'call_1', actions, status: 'completed' },
      { callId: 'call_1', itemId: 'cu_1', tool: 'computer', input: JSON.stringify(actions) },
    ],
    [
      'computer_call with one action',
      { type: 'computer_call', id: 'cu_1', call_id: 'call_1', action: actions[0] },
      { callId: 'call_1', itemId: 'cu_1', tool: 'computer', input: JSON.stringify(actions[0]) },
    ],
    [
      'tool_search_call of the client',
      { type: 'tool_search_call', id: 'ts_1', call_id: 'call_1', execution: 'client', arguments: { query: 'x' } },
      { callId: 'call_1', itemId: 'ts_1', tool: 'tool_search', input: '{"query":"x"}' },
    ],
    [
      'tool_search_call of the provider',
      { type: 'tool_search_call', id: 'ts_1', call_id: null, execution: 'server', arguments: {} },
      undefined,
    ],
    [
      'function_call with a namespace',
      {
        type: 'function_call',
        id: 'fc_1',
        call_id: 'call_1',
        name: 'search',
        namespace: 'mcp__wiki',
        arguments: '{"q":1}',
      },
      {
        callId: 'call_1',
        itemId: 'fc_1',
        tool: 'mcp__wiki.search',
        metadata: { namespace: 'mcp__wiki' },
        input: '{"q":1}',
      },
    ],
    [
      'mcp_approval_request',
      { type: 'mcp_approval_request', id: 'mcpr_1', name: 'ask', server_label: 'wiki', arguments: '{"q":"a"}' },
      {
        callId: 'mcpr_1',
        itemId: 'mcpr_1',
        tool: 'ask',
        serverUrl: 'https://wiki.example/mcp',
        metadata: { mcp_server: 'wiki', request: 'approval' },
        input: '{"q":"a"}',
      },
    ],
    [
      'mcp_call that the provider ran',
      {
        type: 'mcp_call',
        id: 'mcp_1',
        name: 'ask',
        server_label: 'wiki',
        arguments: '{"q":"a"}',
        output: 'x',
        error: null,
      },
      {
        callId: 'mcp_1',
        itemId: 'mcp_1',
        tool: 'ask',
        serverUrl: 'https://wiki.example/mcp',
        metadata: { mcp_server: 'wiki' },
        input: '{"q":"a"}',
      },
    ],
    [
      'web_search_call',
      { type: 'web_search_call', id: 'ws_1', status: 'completed', action: { type: 'search' } },
      undefined,
    ],
    [
      'shell_call in a container of the provider',
      { type: 'shell_call', id: 'sh_1', call_id: 'c', action: {}, environment: { type: 'container_reference' } },
      undefined,
    ],
  ]

  test.each(rows)('%s leaves the call that it is, once, in a body', (_, item, call) => {
    const facts = readBody(openaiResponses, { id: 'resp_1', output: [item] }, servers)
    expect(toolsOf(facts)).toEqual(call ? [call] : [])
    expect(facts.unknownItems).toBe(0)
  })

  test.each(rows)('%s leaves the call that it is, once, in a stream', (_, item, call) => {
    for (const isRepeated of [true, false]) {
      const reader = openaiResponses.createResponseReader(servers)
      for (const event of streamOf([item], isRepeated)) reader.event({ event: '', data: JSON.stringify(event) })
      expect(toolsOf(reader.facts())).toEqual(call ? [call] : [])
    }
  })

  test('an item of Responses that failed on an MCP server has the error', () => {
    const item = {
      type: 'mcp_call',
      id: 'm',
      name: 'ask',
      server_label: 'wiki',
      arguments: '{}',
      error: { type: 'http_error', code: 500, message: 'down' },
    }
    expect(readBody(openaiResponses, { output: [item] }).tools[0]?.invocationError).toBe('down')
  })

  test('an item of Responses of an unknown type is counted once, and known ones are not', () => {
    const known = [
      'message',
      'reasoning',
      'compaction',
      'context_compaction',
      'shell_call_output',
      'apply_patch_call_output',
      'tool_search_output',
      'mcp_list_tools',
      'web_search_call',
      'file_search_call',
      'code_interpreter_call',
      'image_generation_call',
    ]
    const items = [...known, 'hologram_call', 'constructor'].map((type, index) => ({ type, id: `i${index}` }))
    expect(readBody(openaiResponses, { output: items }).unknownItems).toBe(2)
    expect(readEvents(openaiResponses, ...streamOf(items, true)).unknownItems).toBe(2)
    expect(readEvents(openaiResponses, ...streamOf(items, false)).unknownItems).toBe(2)
  })
})

describe('a block of Anthropic', () => {
  const servers = { mcp_servers: [{ type: 'url', name: 'wiki', url: 'https://wiki.example/mcp' }] }
  const rows: [string, object[], object[]][] = [
    [
      'tool_use of a toolset',
      [{ type: 'tool_use', id: 'toolu_1', name: 'close_tab', toolset_name: 'browser', input: { tab_id: 'x' } }],
      [{ callId: 'toolu_1', tool: 'browser.close_tab', metadata: { toolset: 'browser' }, input: '{"tab_id":"x"}' }],
    ],
    [
      'tool_use that code called',
      [
        {
          type: 'tool_use',
          id: 'toolu_1',
          name: 'f',
          input: {},
          caller: { type: 'code_execution_20250825', tool_id: 's' },
        },
      ],
      [{ callId: 'toolu_1', tool: 'f', metadata: { caller: 'code_execution_20250825' }, input: '{}' }],
    ],
    [
      'tool_use that the model called',
      [{ type: 'tool_use', id: 'toolu_1', name: 'f', input: {}, caller: { type: 'direct' } }],
      [{ callId: 'toolu_1', tool: 'f', input: '{}' }],
    ],
    [
      'mcp_tool_use with its failed result',
      [
        { type: 'mcp_tool_use', id: 'mcptoolu_1', name: 'ask', server_name: 'wiki', input: { q: 1 } },
        {
          type: 'mcp_tool_result',
          tool_use_id: 'mcptoolu_1',
          is_error: true,
          content: [{ type: 'text', text: 'down' }],
        },
      ],
      [
        {
          callId: 'mcptoolu_1',
          tool: 'ask',
          serverUrl: 'https://wiki.example/mcp',
          metadata: { mcp_server: 'wiki' },
          input: '{"q":1}',
          invocationError: 'down',
        },
      ],
    ],
    [
      'server_tool_use and its result',
      [
        { type: 'server_tool_use', id: 's', name: 'web_search', input: {} },
        { type: 'web_search_tool_result', tool_use_id: 's', content: [] },
      ],
      [],
    ],
  ]

  test.each(rows)('%s leaves the calls that it is, in a body and in a stream', (_, content, calls) => {
    expect(toolsOf(readBody(anthropicMessages, { type: 'message', content }, servers))).toEqual(calls)
    const reader = anthropicMessages.createResponseReader(servers)
    for (const [index, content_block] of content.entries()) {
      reader.event({ event: '', data: JSON.stringify({ type: 'content_block_start', index, content_block }) })
      reader.event({ event: '', data: JSON.stringify({ type: 'content_block_stop', index }) })
    }
    expect(toolsOf(reader.facts())).toEqual(calls)
    expect(reader.facts().unknownItems).toBe(0)
  })

  test('a block of Anthropic of an unknown type is counted', () => {
    const types = [
      'text',
      'thinking',
      'redacted_thinking',
      'server_tool_use',
      'compaction',
      'container_upload',
      'fallback',
      'mcp_tool_listing',
      'web_fetch_tool_result',
      'advisor_tool_result',
      'hologram',
    ]
    expect(readBody(anthropicMessages, { content: types.map(type => ({ type })) }).unknownItems).toBe(1)
  })
})

describe('thoughts', () => {
  test('thoughts of Responses are each part of a summary and each part of the reasoning itself, streamed or not', () => {
    const part = fc.string({ minLength: 1 })
    fc.assert(
      fc.property(fc.array(part, { maxLength: 3 }), fc.array(part, { maxLength: 3 }), (summaries, texts) => {
        const item = {
          type: 'reasoning',
          id: 'rs_1',
          summary: summaries.map(text => ({ type: 'summary_text', text })),
          content: texts.map(text => ({ type: 'reasoning_text', text })),
        }
        const expected = [...summaries, ...texts]
        expect(thoughtsOf(readBody(openaiResponses, { output: [item] }))).toEqual(expected)
        expect(thoughtsOf(readEvents(openaiResponses, ...streamOf([item], true)))).toEqual(expected)
        const empty = { ...item, summary: [], content: [] }
        const deltas = [
          ...summaries.map((delta, summary_index) => ({
            type: 'response.reasoning_summary_text.delta',
            output_index: 0,
            summary_index,
            delta,
          })),
          ...texts.map((delta, content_index) => ({
            type: 'response.reasoning_text.delta',
            output_index: 0,
            content_index,
            delta,
          })),
        ]
        const added = { type: 'response.output_item.added', output_index: 0, item: empty }
        expect(thoughtsOf(readEvents(openaiResponses, added, ...deltas))).toEqual(expected)
      }),
    )
  })

  test.each(['reasoning_content', 'reasoning'])('thoughts of Chat are the field %s of each choice', field => {
    const delta = (index: number, text: string) => ({ choices: [{ index, delta: { [field]: text } }] })
    expect(thoughtsOf(readEvents(openaiChat, delta(0, 'a'), delta(1, 'x'), delta(0, 'b')))).toEqual(['ab', 'x'])
    const message = { role: 'assistant', content: 'c', [field]: 'whole' }
    expect(thoughtsOf(readBody(openaiChat, { choices: [{ message }] }))).toEqual(['whole'])
  })
})

describe('facts beside usage', () => {
  const known = ({ outcome }: ResponseFacts) => JSON.parse(JSON.stringify(outcome))

  test('facts beside usage of Anthropic are read from a body and from a stream', () => {
    const usage = {
      input_tokens: 1,
      output_tokens: 1,
      service_tier: 'priority',
      speed: 'fast',
      server_tool_use: { web_search_requests: 2, web_fetch_requests: 1 },
    }
    const ending = {
      stop_reason: 'refusal',
      stop_details: { type: 'refusal', category: 'cyber', explanation: 'no' },
      container: { id: 'cont_1', expires_at: 'x' },
    }
    const management = {
      applied_edits: [
        { type: 'clear_thinking_20251015' },
        { type: 'clear_tool_uses_20250919' },
        { type: 'clear_thinking_20251015' },
      ],
    }
    const diagnostics = { cache_miss_reason: { type: 'tools_changed', cache_missed_input_tokens: 5 } }
    const expected = {
      served_model: 'claude-served',
      service_tier: 'priority',
      speed: 'fast',
      stop_reason: 'refusal',
      refusal_category: 'cyber',
      container: 'cont_1',
      cache_miss_reason: 'tools_changed',
      context_edits: { clear_thinking_20251015: 2, clear_tool_uses_20250919: 1 },
      searches: 3,
    }
    const message = {
      type: 'message',
      model: 'claude-served',
      content: [],
      usage,
      ...ending,
      context_management: management,
      diagnostics,
    }
    const body = readBody(anthropicMessages, message)
    expect(known(body)).toEqual(expected)
    expect(body.error).toEqual({ type: 'refused', message: 'no', isQuoted: true })
    const stream = readEvents(
      anthropicMessages,
      {
        type: 'message_start',
        message: {
          model: 'claude-served',
          content: [],
          diagnostics,
          usage: { input_tokens: 1, service_tier: 'standard' },
        },
      },
      { type: 'message_delta', delta: ending, usage, context_management: management },
      { type: 'message_stop' },
    )
    expect(known(stream)).toEqual(expected)
  })

  test('facts beside usage of Chat are read from a body and from a stream', () => {
    const rest = {
      model: 'vendor/real',
      service_tier: 'priority',
      usage: { prompt_tokens: 1, completion_tokens: 1, num_sources_used: 4 },
    }
    const expected = {
      served_model: 'vendor/real',
      service_tier: 'priority',
      stop_reason: 'content_filter',
      searches: 4,
      images: 1,
    }
    const said = { content: 'x', images: [{ type: 'image_url' }] }
    const body = readBody(openaiChat, {
      ...rest,
      choices: [{ index: 0, message: said, finish_reason: 'content_filter' }],
    })
    expect(known(body)).toEqual(expected)
    expect(body.error).toBeUndefined()
    const stream = readEvents(openaiChat, {
      ...rest,
      choices: [{ index: 0, delta: said, finish_reason: 'content_filter' }],
    })
    expect(known(stream)).toEqual(expected)
  })

  test('facts beside usage of Responses are read from a body and from a stream', () => {
    const output = ['image_generation_call', 'image_generation_call', 'web_search_call'].map((type, id) => ({
      type,
      id: `${id}`,
    }))
    const response = {
      id: 'resp_1',
      model: 'gpt-served',
      service_tier: 'flex',
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
      output,
      tool_usage: { image_gen: { output_tokens: 7024 }, web_search: { num_requests: 3 } },
      usage: { input_tokens: 1, output_tokens: 1 },
    }
    const expected = {
      served_model: 'gpt-served',
      service_tier: 'flex',
      incomplete_reason: 'max_output_tokens',
      images: 2,
      searches: 3,
    }
    const body = readBody(openaiResponses, response)
    expect(known(body)).toEqual(expected)
    expect(body.error).toBeUndefined()
    expect(body.usage?.details).toEqual({ tool_usage: response.tool_usage })
    expect(known(readEvents(openaiResponses, { type: 'response.incomplete', response }))).toEqual(expected)
  })
})

test('parallel calls of Chat without ids at one place are told apart by their names', () => {
  const call = (name: string, text: string) => ({
    choices: [{ index: 0, delta: { tool_calls: [{ index: 0, function: { name, arguments: text } }] } }],
  })
  const names = (...events: object[]) =>
    readEvents(openaiChat, ...events).tools.map(({ tool, input }) => [tool, input.text])
  expect(names(call('a', ''), call('b', ''))).toEqual([
    ['a', ''],
    ['b', ''],
  ])
  expect(names(call('a', '{"x"'), call('a', ':1}'))).toEqual([['a', '{"x":1}']])
})

describe('characters of Responses without deltas', () => {
  const message = { type: 'message', content: [{ type: 'output_text', text: 'x'.repeat(40) }] }
  test.each<[string, object[]]>([
    ['in whole items', [{ type: 'response.output_item.done', output_index: 0, item: message }]],
    ['in whole items of a response that repeats none', streamOf([message], false)],
    ['in a response that repeats them', streamOf([message], true)],
  ])('%s count once', (_, events) => {
    expect(readEvents(openaiResponses, ...events).relayedCharacters).toBe(40)
  })

  test('count inputs of every call', () => {
    const actions = [{ type: 'click', x: 1, y: 2 }]
    const item = { type: 'computer_call', call_id: 'c', actions }
    expect(readBody(openaiResponses, { output: [item] }).relayedCharacters).toBe(JSON.stringify(actions).length)
  })
})

describe('an error where a response was expected', () => {
  const flat = { object: 'error', message: 'boom', type: 'BadRequestError', code: 400 }
  const rows: [string, object, string, string][] = [
    ['flat', flat, 'bad_request', 'boom'],
    ['flat, with a name only of the API', { message: 'boom', type: 'overloaded_error' }, 'overloaded', 'boom'],
    ['nested, without a type', { error: { type: 'overloaded_error', message: 'busy' } }, 'overloaded', 'busy'],
    ['in `detail`', { detail: 'boom' }, 'unknown', 'boom'],
    ['in a list', { errors: [{ message: 'boom', code: 503 }] }, 'overloaded', 'boom'],
    [
      'of MiniMax',
      { base_resp: { status_code: 1008, status_msg: 'insufficient balance' } },
      'unknown',
      'insufficient balance',
    ],
  ]
  const routes = {
    'openai/chat/completions': openaiChat,
    'openai/responses': openaiResponses,
    'anthropic/messages': anthropicMessages,
  }
  describe.each(Object.entries(routes))('of %s', (_, route) => {
    test.each(rows)('%s is a failure in a stream, whatever follows', (_, error, type, message) => {
      const reader = route.createResponseReader()
      reader.event({ event: '', data: JSON.stringify(error) })
      reader.event({ event: '', data: '{"type":"message_stop"}' })
      reader.event({ event: '', data: '[DONE]' })
      expect(reader.facts().error).toMatchObject({ type, message })
    })
  })

  test.each(rows)(
    '%s is a failure in a body of Chat and of Messages, beside an empty usage too',
    (_, error, type, message) => {
      expect(readBody(openaiChat, { ...error, choices: null, usage: { total_tokens: 0 } }).error).toMatchObject({
        type,
        message,
      })
      expect(readBody(anthropicMessages, { ...error, usage: {} }).error).toMatchObject({ type, message })
    },
  )

  test('an error of success, or empty beside choices, is none', () => {
    const choices = [{ index: 0, message: { content: 'x' }, finish_reason: 'stop' }]
    expect(
      readBody(openaiChat, { choices, error: {}, usage: { prompt_tokens: 1, completion_tokens: 1 } }).error,
    ).toBeUndefined()
    expect(
      readBody(openaiChat, { choices, base_resp: { status_code: 0, status_msg: 'success' } }).error,
    ).toBeUndefined()
    expect(readEvents(openaiChat, { choices: [], base_resp: { status_code: 0, status_msg: '' } }).error).toBeUndefined()
  })

  test('an error where a response was expected is not needed for `[DONE]` alone to be no response', () => {
    const reader = openaiChat.createResponseReader()
    reader.event({ event: '', data: '[DONE]' })
    expect([reader.complete, reader.mayEnd]).toEqual([true, false])
  })
})

describe('the end of a stream', () => {
  test.each<[string, BridgedRoute, object[], boolean]>([
    [
      'Anthropic, after the reason for the end',
      anthropicMessages,
      [{ type: 'message_delta', delta: { stop_reason: 'end_turn' } }],
      true,
    ],
    ['Anthropic, before it', anthropicMessages, [{ type: 'message_delta', delta: { stop_reason: null } }], false],
    [
      'Chat, after the reason of every choice',
      openaiChat,
      [
        {
          choices: [
            { index: 0, finish_reason: 'stop' },
            { index: 1, finish_reason: 'length' },
          ],
        },
      ],
      true,
    ],
    [
      'Chat, before the reason of a choice',
      openaiChat,
      [{ choices: [{ index: 0, finish_reason: 'stop' }, { index: 1 }] }],
      false,
    ],
    ['Responses, after the last event', openaiResponses, [{ type: 'response.incomplete', response: {} }], true],
    ['Responses, before it', openaiResponses, [{ type: 'response.output_item.done', item: {} }], false],
  ])('%s: whole or not', (_, route, events, isWhole) => {
    const reader = route.createResponseReader()
    for (const event of events) reader.event({ event: '', data: JSON.stringify(event) })
    expect(reader.mayEnd).toBe(isWhole)
  })

  test.each([
    ['openai/chat/completions', openaiChat],
    ['openai/responses', openaiResponses],
    ['anthropic/messages', anthropicMessages],
  ])('the end of a stream of %s is an event `error` whose data is the bare error', (_, route) => {
    for (const data of ['{"message":"no","type":"server_error"}', '{"error":{"message":"no","type":"server_error"}}']) {
      const reader = route.createResponseReader()
      reader.event({ event: 'error', data })
      reader.event({ event: '', data: '[DONE]' })
      expect(reader.facts().error).toMatchObject({ type: 'server_error', message: 'no' })
    }
  })
})
