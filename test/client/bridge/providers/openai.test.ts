import type { IncomingHttpHeaders } from 'node:http'
import { describe, expect, test, vi } from 'vitest'
import { openai } from '../../../../client/bridge/providers/openai.js'
import type { BridgedRoute, ResponseFacts } from '../../../../client/bridge/providers/provider-api.js'
import { openaiChat } from '../../../../client/bridge/providers/responses/openai-chat.js'
import { openaiEmbeddings } from '../../../../client/bridge/providers/responses/openai-embeddings.js'
import { openaiCompaction, openaiResponses } from '../../../../client/bridge/providers/responses/openai-responses.js'
import { recordLimits } from '../../../../shared/contract/limits.js'
import type { JsonObject } from '../../../../shared/values/text.js'

function readEvents(route: BridgedRoute, ...events: (object | string)[]) {
  const reader = route.createResponseReader()
  for (const event of events)
    reader.event({ event: '', data: typeof event === 'string' ? event : JSON.stringify(event) })
  return { ...timeless(reader.facts()), complete: reader.complete, mayEnd: reader.mayEnd }
}

function readBody(route: BridgedRoute, body: unknown) {
  const reader = route.createResponseReader()
  reader.body(body)
  return timeless(reader.facts())
}

/** Returns the facts that these tests are about, without the times, which differ between runs. */
function timeless({ msgId, usage, error, tools, thoughts }: ResponseFacts) {
  return {
    msgId,
    usage,
    error,
    tools: tools.map(({ callId, tool, input }) => [callId, tool, input.text]),
    thoughts: thoughts.map(({ content }) => content.text),
  }
}

describe('routes', () => {
  test.each([
    ['POST', '/chat/completions', openaiChat],
    ['POST', '/responses', openaiResponses],
    ['GET', '/models', 'passthrough'],
    ['HEAD', '/models', 'passthrough'],
    ['GET', '/models/gpt-5', 'passthrough'],
    ['DELETE', '/models/ft:x', undefined],
    ['POST', '/conversations', 'passthrough'],
    ['DELETE', '/conversations/conv_1', 'passthrough'],
    ['POST', '/conversations/conv_1/items', 'passthrough'],
    ['GET', '/responses/resp_1', 'passthrough'],
    ['POST', '/responses/resp_1/cancel', 'passthrough'],
    ['POST', '/responses/input_tokens', 'passthrough'],
    ['GET', '/responses', undefined],
    ['GET', '/chat/completions', undefined],
    ['POST', '/chat/completions/', undefined],
    ['POST', '/embeddings', openaiEmbeddings],
    ['GET', '/embeddings', undefined],
    ['POST', '/responses/compact', openaiCompaction],
    ['GET', '/modelsx', undefined],
    ['GET', '/conversationsx', undefined],
    ['GET', '', undefined],
  ])('the route of %s %s', (method, path, route) => {
    expect(openai.route(method, path)).toBe(route)
  })
})

describe('Chat Completions', () => {
  const chunk = (delta: object, rest: object = {}) => ({ id: 'c', choices: [{ index: 0, delta, ...rest }] })
  const call = (fields: object) => chunk({ tool_calls: [fields] })

  test('usage that grows in every chunk counts once, and a field that a later chunk lacks stays', () => {
    const usage = (prompt_tokens: number, completion_tokens: number, more: object = {}) => ({
      ...chunk({ content: 'x' }),
      usage: { prompt_tokens, completion_tokens, ...more },
    })
    const cached = { total_tokens: 9, prompt_tokens_details: { cached_tokens: 2, audio_tokens: 1 } }
    const facts = readEvents(openaiChat, usage(5, 1), usage(5, 2, cached), usage(5, 3), { ...chunk({}), usage: null })
    expect(facts.usage).toEqual({ input: 3, output: 3, cacheRead: 2, cacheWrite: 0, details: cached })
  })

  test.each([
    [{ prompt_tokens: 3, completion_tokens: 1, prompt_tokens_details: { cached_tokens: 5 } }, [0, 1, 5]],
    [{ completion_tokens: 7 }, [0, 7, 0]],
    [{ prompt_tokens: 7 }, [7, 0, 0]],
    [{ prompt_tokens: 7, prompt_tokens_details: 7 }, [7, 0, 0]],
    [{ prompt_tokens: 7, prompt_tokens_details: { cached_tokens: -5 } }, [7, 0, 0]],
    [{ total_tokens: 7 }, undefined],
    [{ prompt_tokens: '7' }, undefined],
    [[], undefined],
    [null, undefined],
  ])('the counts of the usage %j', (usage, counts) => {
    const { usage: actual } = readBody(openaiChat, { id: 'c', usage, choices: [] })
    expect(actual && [actual.input, actual.output, actual.cacheRead]).toEqual(counts)
  })

  test('parallel calls with the same index stay apart', () => {
    const { tools } = readEvents(
      openaiChat,
      call({ index: 0, id: 'a', function: { name: 'f', arguments: '{"x":1}' } }),
      call({ index: 0, id: 'b', function: { name: 'f', arguments: '{"x"' } }),
      call({ index: 0, id: 'b', function: { arguments: ':2}' } }),
    )
    expect(tools).toEqual([
      ['a', 'f', '{"x":1}'],
      ['b', 'f', '{"x":2}'],
    ])
  })

  test('calls without an index, and calls of several choices, stay apart', () => {
    const of = (choice: number, ...calls: object[]) => ({ choices: [{ index: choice, delta: { tool_calls: calls } }] })
    const { tools } = readEvents(
      openaiChat,
      of(0, { id: 'a', function: { name: 'f', arguments: '1' } }, { id: 'b', function: { name: 'g', arguments: '2' } }),
      of(1, { id: 'c', function: { name: 'f', arguments: '3' } }),
      of(0, { function: { arguments: '1' } }, { function: { arguments: '2' } }),
      of(1, { function: { arguments: '3' } }),
    )
    expect(tools).toEqual([
      ['a', 'f', '11'],
      ['b', 'g', '22'],
      ['c', 'f', '33'],
    ])
  })

  const parts = (...calls: object[][]) =>
    readEvents(openaiChat, ...calls.map(tool_calls => chunk({ tool_calls }))).tools
  const fn = (name: string, text: unknown) => ({ function: { name, arguments: text } })

  test.each<[string, object[][], [string, string, string][]]>([
    [
      'ids in every part, and no index',
      [
        [
          { id: 'a', ...fn('f', '1') },
          { id: 'b', ...fn('g', '2') },
        ],
        [{ id: 'b', ...fn('', '2') }],
        [{ id: 'a', ...fn('', '1') }],
      ],
      [
        ['a', 'f', '11'],
        ['b', 'g', '22'],
      ],
    ],
    [
      'ids that take turns at one index',
      [
        [{ index: 0, id: 'a', ...fn('f', '1') }],
        [{ index: 0, id: 'b', ...fn('g', '2') }],
        [{ index: 0, id: 'a', ...fn('', '1') }],
        [{ index: 0, ...fn('', '1') }],
      ],
      [
        ['a', 'f', '111'],
        ['b', 'g', '2'],
      ],
    ],
    [
      'whole calls at one index, without ids',
      [[{ index: 0, id: '', ...fn('f', '{"x":1}') }], [{ index: 0, id: '', ...fn('f', '{"y":2}') }]],
      [
        ['', 'f', '{"x":1}'],
        ['', 'f', '{"y":2}'],
      ],
    ],
    [
      'a name in every part',
      [[{ index: 0, ...fn('f', '{"x"') }], [{ index: 0, ...fn('f', ':1}') }]],
      [['', 'f', '{"x":1}']],
    ],
    [
      'an id that comes later',
      [[{ index: 0, ...fn('f', '1') }], [{ index: 0, id: 'a', ...fn('', '1') }]],
      [['a', 'f', '11']],
    ],
    [
      'one id for each function, at places of their own',
      [
        [{ index: 0, id: 'f', ...fn('f', '{"x":1}') }],
        [{ index: 1, id: 'f', ...fn('f', '{"x"') }],
        [{ index: 1, id: 'f', ...fn('', ':2}') }],
      ],
      [
        ['f', 'f', '{"x":1}'],
        ['f', 'f', '{"x":2}'],
      ],
    ],
    [
      'another id in every part',
      [[{ index: 0, id: 'a', ...fn('f', '{"x"') }], [{ index: 0, id: 'b', ...fn('', ':1}') }]],
      [['a', 'f', '{"x":1}']],
    ],
    [
      'braces in their text, and a name in every part',
      [
        [{ index: 0, ...fn('f', '{"x":"}\\"') }],
        [{ index: 0, ...fn('f', '}"') }],
        [{ index: 0, ...fn('f', '}') }],
        [{ index: 0, ...fn('f', '{}') }],
      ],
      [
        ['', 'f', '{"x":"}\\"}"}'],
        ['', 'f', '{}'],
      ],
    ],
    ['an input that is no text', [[{ index: 0, id: 'a', ...fn('f', { x: 1 }) }]], [['a', 'f', '{"x":1}']]],
    ['a part without its beginning', [[{ index: 3, ...fn('', '{"x":1}') }]], [['', '', '{"x":1}']]],
    ['nothing', [[{ index: 0, id: '', ...fn('', '') }, {}, { function: 7 }]], []],
  ])('calls with %s are read', (_, calls, expected) => {
    expect(parts(...calls)).toEqual(expected)
  })

  test('a call that is larger than its kept part ends at its own end', () => {
    const large = JSON.stringify({ x: 'x'.repeat(recordLimits.maxContentBytes) })
    const calls = parts([{ index: 0, ...fn('f', large) }], [{ index: 0, ...fn('g', '{}') }])
    expect(calls.map(([, tool]) => tool)).toEqual(['f', 'g'])
  })

  test('a name in every part costs no more time than the part', () => {
    const reader = openaiChat.createResponseReader()
    const part = { event: '', data: JSON.stringify(call({ index: 0, ...fn('f', '{"a":{}},') })) }
    reader.event({ event: '', data: JSON.stringify(call({ index: 0, ...fn('f', '[') })) })
    const startedAt = performance.now()
    for (let count = 0; count < 10_000; count++) reader.event(part)
    expect(performance.now() - startedAt).toBeLessThan(3_000)
    expect(reader.facts().tools).toHaveLength(1)
  })

  test('every call of a whole message is a separate call', () => {
    const message = { tool_calls: [{ index: 0, ...fn('f', '1') }, { index: 0, ...fn('f', '2') }, fn('', '')] }
    expect(readBody(openaiChat, { choices: [{ message }] }).tools).toEqual([
      ['', 'f', '1'],
      ['', 'f', '2'],
    ])
    const empty = { function_call: { name: '', arguments: '' } }
    expect(readBody(openaiChat, { choices: [{ message: empty }] }).tools).toEqual([])
  })

  test('a call has the time of its selection', async () => {
    const reader = openaiChat.createResponseReader()
    const event = (json: object) => reader.event({ event: '', data: JSON.stringify(json) })
    vi.useFakeTimers({ now: 1_000 })
    event(call({ index: 0, id: 'a', ...fn('f', '1') }))
    vi.setSystemTime(2_000)
    event(call({ index: 0, ...fn('', '1') }))
    vi.useRealTimers()
    expect(reader.facts().tools.map(({ at }) => at.getTime())).toEqual([1_000])
  })

  test.each([
    ['x_groq', { choices: [], x_groq: { usage: { prompt_tokens: 5, completion_tokens: 1 } } }],
    ['a choice', { choices: [{ index: 0, delta: {}, usage: { prompt_tokens: 5, completion_tokens: 1 } }] }],
  ])('usage in %s is read', (_, event) => {
    expect(readEvents(openaiChat, event).usage).toMatchObject({ input: 5, output: 1 })
  })

  test('details stay when a later chunk empties them, and unknown names do no harm', () => {
    const first = {
      prompt_tokens: 9,
      completion_tokens: 1,
      prompt_tokens_details: { cached_tokens: 4, audio_tokens: 2 },
    }
    const later = [
      { prompt_tokens_details: {} },
      { prompt_tokens_details: null },
      { prompt_tokens_details: { audio_tokens: 3 } },
    ]
    const usage = [first, ...later].map(usage => ({ choices: [], usage }))
    const hostile = '{"choices":[],"usage":{"__proto__":{"prompt_tokens":7},"constructor":1}}'
    const { usage: counts } = readEvents(openaiChat, ...usage, hostile)
    expect(counts).toMatchObject({
      input: 5,
      cacheRead: 4,
      details: { prompt_tokens_details: { cached_tokens: 4, audio_tokens: 3 } },
    })
    expect(Object.keys(counts?.details ?? {})).toEqual(['prompt_tokens_details', '__proto__', 'constructor'])
  })

  test.each([
    [
      { index: 0, delta: {}, error: { code: 502, message: 'no' }, finish_reason: 'error' },
      { type: 'server_error', message: 'no' },
    ],
    [{ index: 0, delta: {}, finish_reason: 'error' }, { type: 'unknown' }],
  ])('the error of a choice counts, and so does later usage: %j', (choice, error) => {
    const usage = { choices: [], usage: { prompt_tokens: 5, completion_tokens: 1 } }
    expect(readEvents(openaiChat, { choices: [choice] }, usage)).toMatchObject({ error, usage: { input: 5 } })
  })

  test('an error inside an array is read', () => {
    expect(readBody(openaiChat, [{ error: { code: 429, message: 'no' } }]).error).toMatchObject({
      type: 'rate_limited',
      message: 'no',
    })
  })

  test('a chunk after the end of a choice does not reopen the choice', () => {
    const end = { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }
    expect(readEvents(openaiChat, end, { choices: [{ index: 0, delta: {}, finish_reason: null }] }).mayEnd).toBe(true)
  })

  test('a call in the older form for a single call is read', () => {
    const parts = [{ function_call: { name: 'f', arguments: '{"a"' } }, { function_call: { arguments: ':1}' } }]
    expect(readEvents(openaiChat, ...parts.map(part => chunk(part))).tools).toEqual([['', 'f', '{"a":1}']])
    const message = { function_call: { name: 'f', arguments: '{"a":1}' } }
    expect(readBody(openaiChat, { choices: [{ message }] }).tools).toEqual([['', 'f', '{"a":1}']])
  })

  test('a stream is whole when every choice has a finish reason, with [DONE] or without', () => {
    const finish = (index: number) => ({ choices: [{ index, delta: {}, finish_reason: 'stop' }] })
    const text = (index: number) => ({ choices: [{ index, delta: { content: 'x' }, finish_reason: null }] })
    expect(readEvents(openaiChat).mayEnd).toBe(false)
    expect(readEvents(openaiChat, text(0)).mayEnd).toBe(false)
    expect(readEvents(openaiChat, text(0), text(1), finish(0)).mayEnd).toBe(false)
    expect(readEvents(openaiChat, text(0), text(1), finish(0), finish(1))).toMatchObject({
      mayEnd: true,
      complete: false,
    })
    expect(readEvents(openaiChat, text(0), ' [DONE] ')).toMatchObject({ mayEnd: true, complete: true })
  })

  test('events after [DONE] do not count', () => {
    const usage = { choices: [], usage: { prompt_tokens: 1, completion_tokens: 1 } }
    expect(readEvents(openaiChat, '[DONE]', usage).usage).toBeUndefined()
  })

  test.each([
    [{ message: 'no', type: 'server_error' }, 'server_error', 'no'],
    [{ message: 'no', type: 'invalid_request_error', code: 'invalid_api_key' }, 'unauthorized', 'no'],
    [{ message: 'no', type: 'tokens', code: 'rate_limit_exceeded' }, 'rate_limited', 'no'],
    [{ message: 'no', code: 529 }, 'overloaded', 'no'],
    [{ message: 'no', code: '429' }, 'rate_limited', 'no'],
    [{ message: 'no', code: 502, type: null }, 'server_error', 'no'],
    [{ message: 'no', code: 1302, type: 'rate_limit_error' }, 'rate_limited', 'no'],
    [{ message: 'no', code: 402, type: 'insufficient_quota' }, 'billing', 'no'],
    [{ code: 'constructor' }, 'unknown', 'constructor'],
    [{}, 'unknown', 'the provider reported an error without a message'],
    ['plain words', 'unknown', 'plain words'],
  ])('the error %j is read', (error, type, message) => {
    expect(readEvents(openaiChat, { error })).toMatchObject({
      error: { type, message, isQuoted: true },
      complete: true,
    })
    expect(readBody(openaiChat, { error }).error).toEqual({ type, message, isQuoted: true })
  })

  test.each<[string, JsonObject[], string | undefined, string | undefined]>([
    ['a string', [{ role: 'user', content: 'a\n' }], 'a\n', undefined],
    [
      'the last text part',
      [{ role: 'user', content: [{ type: 'text', text: 'a' }, { type: 'text', text: 'b' }, { type: 'input_audio' }] }],
      'b',
      undefined,
    ],
    [
      'a tool result',
      [{ role: 'user', content: 'a' }, { role: 'assistant' }, { role: 'tool', tool_call_id: 't' }],
      undefined,
      't',
    ],
    [
      'words behind a tool result',
      [
        { role: 'tool', tool_call_id: 't' },
        { role: 'user', content: 'b' },
      ],
      'b',
      't',
    ],
    [
      'words behind a response',
      [{ role: 'tool', tool_call_id: 't' }, { role: 'assistant' }, { role: 'user', content: 'b' }],
      'b',
      undefined,
    ],
    [
      'the assistant last',
      [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: 'b' },
      ],
      undefined,
      undefined,
    ],
    [
      'instructions last',
      [
        { role: 'tool', tool_call_id: 't' },
        { role: 'user', content: 'a' },
        { role: 'developer', content: 'b' },
      ],
      'a',
      't',
    ],
    ['no messages', [], undefined, undefined],
  ])('the chat request with %s is read', (_, messages, prompt, correlatingToolCallId) => {
    const facts = openaiChat.readRequest({ model: 'm', messages }, {})
    expect(facts).toEqual({ model: 'm', prompt, correlatingToolCallId, sessionId: undefined })
  })

  test.each<[JsonObject, string | undefined]>([
    [{ stream: true }, '{"stream":true,"stream_options":{"include_usage":true}}'],
    [{ stream: true, stream_options: null }, '{"stream":true,"stream_options":{"include_usage":true}}'],
    [
      { stream: true, stream_options: { include_usage: false, x: 1 } },
      '{"stream":true,"stream_options":{"include_usage":true,"x":1}}',
    ],
    [{ stream: true, stream_options: { include_usage: true } }, undefined],
    [{ stream: true, stream_options: { include_usage: 1 } }, undefined],
    [{ stream: true, stream_options: { include_usage: 'true' } }, undefined],
    [{ stream: true, stream_options: 'wrong' }, undefined],
    [{ stream: false }, undefined],
    [{ stream: 'true' }, undefined],
    [{}, undefined],
  ])('the request for usage in %j', (json, body) => {
    const adaptation = openaiChat.adapt?.(json, Buffer.from(JSON.stringify(json)))
    expect(adaptation && Buffer.concat(adaptation.body).toString()).toBe(body)
  })

  test.each([
    ['{"choices":[],"usage":{"prompt_tokens":1}}', true],
    ['{ "usage" : {} , "choices" : [ ] }', true],
    ['{"choices":[],"usage":null}', false],
    ['{"choices":[],"usage":{},"error":{"message":"no"}}', false],
    ['{"choices":[{}],"usage":{"prompt_tokens":1}}', false],
    ['{"choices":[],"prompt_filter_results":[]}', false],
    ['{"usage":{}}', true],
    ['[DONE]', false],
    ['"usage"', false],
  ])('whether the chunk is hidden from a client that did not ask for usage: %s', (data, hidden) => {
    const adaptation = openaiChat.adapt?.({ stream: true }, Buffer.from('{"stream":true}'))
    expect(adaptation?.hides({ event: '', data })).toBe(hidden)
  })
})

describe('Responses', () => {
  const added = (output_index: number, item: object) => ({ type: 'response.output_item.added', output_index, item })
  const done = (output_index: number, item: object) => ({ type: 'response.output_item.done', output_index, item })
  const completed = (response: object) => ({ type: 'response.completed', response })

  test('an item with another id in every event is one item', () => {
    const call = { type: 'function_call', call_id: 'call_1', name: 'f' }
    const facts = readEvents(
      openaiResponses,
      added(0, { id: 'x1', ...call, arguments: '' }),
      { type: 'response.function_call_arguments.delta', item_id: 'x2', output_index: 0, delta: '{"a"' },
      done(0, { id: 'x3', ...call, arguments: '{"a":1}' }),
      completed({ id: 'r', output: [{ id: 'x4', ...call, arguments: '{"a":1}' }] }),
    )
    expect(facts.tools).toEqual([['call_1', 'f', '{"a":1}']])
  })

  const call = (call_id: string, text: string | undefined, rest: object = {}) => ({
    type: 'function_call',
    call_id,
    name: 'f',
    arguments: text,
    ...rest,
  })
  const argumentsDone = (output_index: number, text: string) => ({
    type: 'response.function_call_arguments.done',
    output_index,
    arguments: text,
  })

  const textDelta = (output_index: number, delta: string) => ({
    type: 'response.output_text.delta',
    output_index,
    delta,
  })
  const summaryDelta = (output_index: number, delta: string) => ({
    type: 'response.reasoning_summary_text.delta',
    output_index,
    summary_index: 0,
    delta,
  })

  test.each<[string, object[], [string, string][]]>([
    [
      'without places',
      [done(undefined as never, call('a', '1', { id: 'x' })), completed({ output: [call('a', '1')] })],
      [['a', '1']],
    ],
    [
      'at other places than in the whole',
      [done(1, call('a', '1')), completed({ output: [call('a', '1')] })],
      [['a', '1']],
    ],
    [
      'two at one place',
      [done(0, call('a', '1')), done(0, call('b', '2')), completed({ output: [] })],
      [
        ['a', '1'],
        ['b', '2'],
      ],
    ],
    [
      'without their ends',
      [added(0, call('a', '')), argumentsDone(0, '{"x":1}'), completed({ output: [] })],
      [['a', '{"x":1}']],
    ],
    [
      'whose ends have lost the input',
      [added(0, call('a', '')), argumentsDone(0, '1'), done(0, call('a', undefined))],
      [['a', '1']],
    ],
    [
      'of whose input the end says nothing',
      [
        added(0, call('a', '')),
        { type: 'response.function_call_arguments.delta', output_index: 0, delta: '1' },
        { type: 'response.function_call_arguments.done', output_index: 0 },
      ],
      [['a', '1']],
    ],
    [
      'without input, with a message at the same place',
      [done(0, call('a', '')), added(0, { type: 'message', content: [] }), textDelta(0, 'answer')],
      [['a', '']],
    ],
    [
      'of which a part was lost',
      [added(0, call('a', '{"a"')), completed({ output: [call('a', '{"a":1}')] })],
      [['a', '{"a":1}']],
    ],
    [
      'of which one is missing in the whole',
      [done(0, call('a', '1')), completed({ output: [call('b', '2')] })],
      [
        ['a', '1'],
        ['b', '2'],
      ],
    ],
    [
      'without ids',
      [done(0, call('', '1')), done(1, call('', '2')), completed({ output: [call('', '1'), call('', '2')] })],
      [
        ['', '1'],
        ['', '2'],
      ],
    ],
  ])('each of the calls %s is recorded once', (_, events, expected) => {
    const { tools } = readEvents(openaiResponses, ...events)
    expect(tools.map(([callId, , input]) => [callId, input])).toEqual(expected)
  })

  test('thoughts at other places than in the whole response are recorded once', () => {
    const thought = (text: string) => ({ type: 'reasoning', summary: [{ text }] })
    const facts = readEvents(
      openaiResponses,
      done(2, thought('a')),
      done(4, thought('b')),
      completed({ output: [thought('a'), thought('b')] }),
    )
    expect(facts.thoughts).toEqual(['a', 'b'])
    expect(readEvents(openaiResponses, done(0, thought('a')), completed({ output: [] })).thoughts).toEqual(['a'])
  })

  test('a message at the place of a thought is not part of the thought', () => {
    const facts = readEvents(
      openaiResponses,
      added(0, { type: 'reasoning', summary: [] }),
      summaryDelta(0, 'think'),
      added(0, { type: 'message', content: [] }),
      textDelta(0, 'answer'),
    )
    expect(facts.thoughts).toEqual(['think'])
  })

  test('a whole response without its thoughts keeps the streamed thoughts', () => {
    const events = [added(0, { type: 'reasoning', summary: [] }), summaryDelta(0, 'think')]
    const whole = completed({ output: [{ type: 'reasoning', summary: [] }, { type: 'message' }] })
    expect(readEvents(openaiResponses, ...events, whole).thoughts).toEqual(['think'])
  })

  test.each([
    [{ type: 'response.failed' }, 'unknown'],
    [{ type: 'response.failed', response: { id: 'r' } }, 'unknown'],
    [{ type: 'response.failed', error: { code: 'rate_limit_exceeded' } }, 'rate_limited'],
    [{ type: 'response.failed', response: { error: { code: 'server_error' } } }, 'server_error'],
    [{ type: 'response.cancelled', response: { id: 'r' } }, 'unknown'],
  ])('a response with a bad end is a failure, whichever fields are missing: %j', (event, type) => {
    expect(readEvents(openaiResponses, event)).toMatchObject({ complete: true, error: { type } })
  })

  test('a call and a thought have the time of their beginning', () => {
    const reader = openaiResponses.createResponseReader()
    const event = (json: object) => reader.event({ event: '', data: JSON.stringify(json) })
    const thought = { type: 'reasoning', summary: [{ text: 'a' }] }
    vi.useFakeTimers({ now: 1_000 })
    event(added(0, thought))
    event(added(1, call('a', '')))
    vi.setSystemTime(2_000)
    event(done(1, call('a', '1')))
    event(completed({ output: [thought, call('a', '1')] }))
    vi.useRealTimers()
    const { tools, thoughts } = reader.facts()
    expect([...tools, ...thoughts].map(({ at }) => at.getTime())).toEqual([1_000, 1_000])
  })

  test('a shell call that the provider runs in a container is not a tool call', () => {
    const shell = { type: 'shell_call', call_id: 'a', action: {}, environment: { type: 'container_reference' } }
    expect(readBody(openaiResponses, { output: [shell] }).tools).toEqual([])
    const local = { ...shell, environment: { type: 'local' } }
    expect(readBody(openaiResponses, { output: [local] }).tools).toHaveLength(1)
  })

  test('items that only the last event holds are read', () => {
    const output = [
      { type: 'reasoning', summary: [{ text: 'think' }] },
      { type: 'custom_tool_call', call_id: 'call_1', name: 'patch', input: 'free text' },
    ]
    const facts = readEvents(
      openaiResponses,
      completed({ id: 'r', output, usage: { input_tokens: 3, output_tokens: 1 } }),
    )
    expect(facts).toMatchObject({ msgId: 'r', tools: [['call_1', 'patch', 'free text']], thoughts: ['think'] })
  })

  test('a broken stream yields the facts of its received events', () => {
    const facts = readEvents(
      openaiResponses,
      { type: 'response.created', response: { id: 'r' } },
      added(0, { id: 'rs', type: 'reasoning', summary: [] }),
      {
        type: 'response.reasoning_summary_text.delta',
        item_id: 'rs',
        output_index: 0,
        summary_index: 0,
        delta: 'Thin',
      },
      { type: 'response.reasoning_summary_text.delta', item_id: 'rs', output_index: 0, summary_index: 1, delta: 'Mo' },
      added(1, { id: 'fc', type: 'function_call', call_id: 'call_1', name: 'f', arguments: '' }),
      { type: 'response.function_call_arguments.delta', item_id: 'fc', output_index: 1, delta: '{"a' },
      added(2, { id: 'm', type: 'message', phase: 'commentary', content: [] }),
      { type: 'response.output_text.delta', item_id: 'm', output_index: 2, content_index: 0, delta: 'I wi' },
    )
    expect(facts).toEqual({
      msgId: 'r',
      usage: undefined,
      tools: [['call_1', 'f', '{"a']],
      thoughts: ['Thin', 'Mo', 'I wi'],
      error: undefined,
      complete: false,
      mayEnd: false,
    })
  })

  test('a call that the client runs is a tool call, a call that the provider runs is not', () => {
    const action = { type: 'exec', command: ['ls'] }
    const output = [
      { type: 'local_shell_call', call_id: 'a', action },
      { type: 'shell_call', call_id: 'b', action },
      { type: 'computer_call', call_id: 'c', action },
      { type: 'apply_patch_call', call_id: 'd', operation: { type: 'delete_file', path: 'x' } },
      ...[
        'web_search_call',
        'file_search_call',
        'code_interpreter_call',
        'image_generation_call',
        'mcp_list_tools',
        'constructor',
      ].map(type => ({ type, id: 'x' })),
    ]
    const exec = '{"type":"exec","command":["ls"]}'
    expect(readBody(openaiResponses, { output }).tools).toEqual([
      ['a', 'local_shell', exec],
      ['b', 'shell', exec],
      ['c', 'computer', exec],
      ['d', 'apply_patch', '{"type":"delete_file","path":"x"}'],
    ])
  })

  test('a commentary message is a thought', () => {
    const message = (phase: string | undefined, ...texts: string[]) => ({
      type: 'message',
      phase,
      content: texts.map(text => ({ type: 'output_text', text })),
    })
    const output = [message('commentary', 'I ', 'look'), message('final_answer', 'x'), message(undefined, 'y')]
    expect(readBody(openaiResponses, { output }).thoughts).toEqual(['I look'])
  })

  test.each([
    [completed({ status: 'completed' }), undefined],
    [{ type: 'response.incomplete', response: { status: 'incomplete' } }, undefined],
    [
      { type: 'response.failed', response: { status: 'failed', error: { code: 'server_error', message: 'no' } } },
      { type: 'server_error', message: 'no' },
    ],
    [
      { type: 'response.failed', response: { status: 'failed', error: null } },
      { type: 'unknown', message: 'the provider reported an error without a message' },
    ],
    [
      { type: 'error', code: 'rate_limit_exceeded', message: 'no', param: null },
      { type: 'rate_limited', message: 'no' },
    ],
    [
      { type: 'error', error: { type: 'invalid_request_error', message: 'no' } },
      { type: 'bad_request', message: 'no' },
    ],
    [{ type: 'response.done', response: { status: 'completed' } }, undefined],
    [
      { type: 'response.cancelled', response: { status: 'cancelled' } },
      { type: 'unknown', message: 'the response was cancelled' },
    ],
    [
      { error: { code: 'rate_limit_exceeded', message: 'no' } },
      { type: 'rate_limited', message: 'no', isQuoted: true },
    ],
    [
      { type: 'error', error: 'boom' },
      { type: 'unknown', message: 'boom', isQuoted: true },
    ],
    [{ type: 'error' }, { type: 'unknown', message: 'the provider reported an error without a message' }],
  ])('%j ends a stream', (event, error) => {
    const usage = completed({ usage: { input_tokens: 1, output_tokens: 1 } })
    expect(readEvents(openaiResponses, event, usage)).toMatchObject({
      complete: true,
      mayEnd: true,
      error,
      usage: undefined,
    })
  })

  test.each<[string, JsonObject['input'], string | undefined, string | undefined]>([
    ['a string', 'a\n', 'a\n', undefined],
    ['a message with a string', [{ role: 'user', content: 'a' }], 'a', undefined],
    [
      'several texts',
      [
        {
          role: 'user',
          content: [{ type: 'input_text', text: 'a' }, { type: 'input_image' }, { type: 'input_text', text: 'b' }],
        },
      ],
      'b',
      undefined,
    ],
    [
      'a tool result',
      [
        { role: 'user', content: 'a' },
        { type: 'function_call_output', call_id: 't' },
      ],
      undefined,
      't',
    ],
    ['a custom tool result', [{ type: 'custom_tool_call_output', call_id: 't' }], undefined, 't'],
    [
      'words behind a tool result',
      [
        { type: 'function_call_output', call_id: 't' },
        { role: 'user', content: 'b' },
      ],
      'b',
      't',
    ],
    [
      'a response last',
      [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: 'b' },
      ],
      undefined,
      undefined,
    ],
    [
      'instructions last',
      [
        { type: 'function_call_output', call_id: 't' },
        { role: 'user', content: 'a' },
        { type: 'message', role: 'system', content: 'b' },
      ],
      'a',
      't',
    ],
    ['an image alone', [{ role: 'user', content: [{ type: 'input_image' }] }], undefined, undefined],
    ['nothing', [], undefined, undefined],
    ['an object', {}, undefined, undefined],
  ])('the Responses request with %s is read', (_, input, prompt, correlatingToolCallId) => {
    const facts = openaiResponses.readRequest({ model: 'm', input: input ?? null }, {})
    expect(facts).toEqual({ model: 'm', prompt, correlatingToolCallId, sessionId: undefined })
  })
})

test.each<[IncomingHttpHeaders, string]>([
  [{ session_id: 'codex-1' }, 'codex-1'],
  [{ 'session-id': 'codex-2' }, 'codex-2'],
  [{ 'x-client-session-id': 'copilot-1' }, 'copilot-1'],
])('the session is read from the headers %j', (headers, session) => {
  expect(openaiChat.readRequest({}, headers).sessionId).toBe(session)
  expect(openaiResponses.readRequest({}, headers).sessionId).toBe(session)
})

test.each([
  [400, { type: 'invalid_request_error', code: null }],
  [401, { type: 'invalid_request_error', code: 'invalid_api_key' }],
  [403, { type: 'invalid_request_error', code: 'permission_denied' }],
  [404, { type: 'invalid_request_error', code: null }],
  [413, { type: 'invalid_request_error', code: null }],
  [429, { type: 'requests', code: 'rate_limit_exceeded' }],
  [500, { type: 'server_error', code: null }],
  [503, { type: 'server_error', code: null }],
  [504, { type: 'server_error', code: 'timeout' }],
])('an error of status %i has the shape of the API', (status, fields) => {
  expect(JSON.parse(openai.errorBody(status, 'no'))).toEqual({ error: { message: 'no', param: null, ...fields } })
})
