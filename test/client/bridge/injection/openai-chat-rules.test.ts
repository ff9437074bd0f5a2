import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { openaiChatInjection as api } from '../../../../client/bridge/injection/openai-chat.js'
import type { JsonObject } from '../../../../shared/values/text.js'
import { eventsOf } from '../../../fixtures/provider.js'
import { readTxtar, sectionOf } from '../../../fixtures/txtar.js'
import { type ChatRoundSpec, chatBody, chatStream, spellings } from './chat-rounds.js'
import { dataOf, injected, play } from './play.js'

const tools = ['bmcp_wiki_read'].map(injected)
const request: JsonObject = { model: 'm', messages: [{ role: 'user', content: 'Find it.' }] }
const streamed: JsonObject = { ...request, stream: true, stream_options: { include_usage: true } }
const read = { id: 'call_r', name: 'bmcp_wiki_read', input: '{}' }
const shell = { id: 'call_s', name: 'shell', input: '{}' }
const round = (more: Partial<ChatRoundSpec>): ChatRoundSpec => ({
  text: [],
  reasoning: [],
  calls: [],
  finish: 'tool_calls',
  usage: [1, 0, 1],
  ...more,
})
const hidden = round({ text: ['Reading.'], calls: [read] })
const done = round({ text: ['Done.'], finish: 'stop' })
const chunk = (json: object) =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm', ...json })}\n\n`

describe('tools are injected into requests', () => {
  test.each<[JsonObject, boolean]>([
    [{}, true],
    [{ n: 1, tools: null, functions: null }, true],
    [{ n: 2 }, false],
    [{ functions: [{ name: 'f' }] }, false],
    [{ tools: 'x' }, false],
    [{ messages: [] }, false],
    [{ messages: null, input: 'x' }, false],
  ])('%j: %j', (more, may) => {
    expect(api.mayInject({ ...request, ...more })).toBe(may)
  })

  test('the client’s own names are those of functions and custom tools', () => {
    const own = [{ type: 'function', function: { name: 'a' } }, { type: 'custom', custom: { name: 'b' } }, 'c', {}]
    expect([...api.clientToolNames({ tools: own })]).toEqual(['a', 'b'])
  })

  test('the opening is the first words of the user, without the client’s elements', () => {
    const opening = (content: JsonObject['x']) =>
      api.openingOf({
        messages: [
          { role: 'system', content: 's' },
          { role: 'user', content },
        ],
      })
    const part = { type: 'text', text: '<system-reminder>Monday</system-reminder>Find it.' }
    expect(opening([{ ...part, cache_control: { type: 'ephemeral' } }])).toBe(opening('Find it.'))
    expect(opening('Find it.')).not.toBe(opening('Find them.'))
    expect(api.openingOf({ messages: [{ role: 'system', content: 's' }] })).toBeUndefined()
  })

  test('bytes beside the changes stay as the client wrote them', () => {
    const body = Buffer.from('{ "model" : "m", "seed":1.0,\n "messages" :[{"role":"user","content":"\\u0041"} ]}')
    const own = api.open({ json: JSON.parse(body.toString()), body, tools, turns: [], mayAskForUsage: true })
    const text = Buffer.concat(own.body()).toString()
    expect(text).toContain('{ "model" : "m", "seed":1.0,\n "messages" :[{"role":"user","content":"\\u0041"} ]')
    expect(JSON.parse(text)).toMatchObject({ parallel_tool_calls: false, tools: [{ function: { name: read.name } }] })
  })
})

describe('a response without hidden calls passes byte for byte', () => {
  const folder = `${import.meta.dirname}/../../../fixtures/responses/openai-chat`
  test.each(['short', 'everything', 'cut-tool-input', 'error-in-stream'])('%s', name => {
    const txtar = readTxtar(`${folder}/${name}.txtar`)
    for (const section of ['streaming', 'non-streaming'].filter(mode => txtar.has(mode))) {
      const response = sectionOf(txtar, section)
      const cut = (bytes: Buffer) => eventsOf(bytes.toString()).map(event => Buffer.from(event))
      expect(
        play({ api, request: section === 'streaming' ? streamed : request, tools, responses: [response], cut }).text,
      ).toBe(response)
    }
  })

  test.each(spellings)('calls of the client in the spelling "%s"', spelling => {
    const response = chatStream(round({ text: ['a'], calls: [shell, { ...shell, id: 'call_t' }] }), 0, spelling)
    if (spelling !== 'late name')
      expect(play({ api, request: streamed, tools, responses: [response] }).text).toBe(response)
  })

  test('the older form of a call', () => {
    const response = `${chunk({ choices: [{ index: 0, delta: { role: 'assistant', function_call: { name: 'f', arguments: '{}' } } }] })}${chunk({ choices: [{ index: 0, delta: {}, finish_reason: 'function_call' }] })}data: [DONE]\n\n`
    expect(play({ api, request: streamed, tools, responses: [response] }).text).toBe(response)
  })
})

describe('a hidden call is run if the round ended for tool use', () => {
  test.each([
    ['tool_calls', true],
    ['stop', true],
    ['length', false],
    ['content_filter', false],
    ['error', false],
  ])('%s', (finish, runs) => {
    for (const isStream of [true, false]) {
      const spec = { ...hidden, finish }
      const response = isStream ? chatStream(spec, 0, 'openai') : chatBody(spec, 0)
      const { ends, text, turn } = play({ api, request: isStream ? streamed : request, tools, responses: [response] })
      expect(ends[0]).toMatchObject({ isFinal: !runs, calls: runs ? [{ callId: 'call_r', arguments: {} }] : [] })
      expect(text).not.toContain('bmcp_')
      if (!runs) expect(text).toContain(`"finish_reason":"${finish}"`)
      expect(turn !== undefined).toBe(runs)
    }
  })

  test('a stream that ends early runs nothing, whatever the event', () => {
    const events = eventsOf(chatStream(hidden, 0, 'openai'))
    const finishAt = events.findIndex(event => event.includes('"finish_reason":"tool_calls"'))
    for (const [count] of events.entries()) {
      const { ends } = play({ api, request: streamed, tools, responses: [events.slice(0, count).join('')] })
      expect(ends[0]?.calls.length).toBe(count > finishAt ? 1 : 0)
    }
  })

  test('arguments that are no JSON object are reported, and the history gets an empty object', () => {
    const spec = round({ calls: [{ ...read, input: '{"q":"a' }] })
    const { ends, bodies } = play({ api, request, tools, responses: [chatBody(spec, 0), chatBody(done, 1)] })
    expect(ends[0]?.calls[0]).toMatchObject({ input: '{"q":"a', arguments: undefined })
    expect(JSON.parse(bodies[1] ?? '').messages[1].tool_calls[0].function.arguments).toBe('{}')
  })

  test('a name that looks injected is hidden, unless the client has a tool of that name', () => {
    const responses = [chatBody(round({ calls: [{ ...read, name: 'bmcp_other' }] }), 0)]
    expect(play({ api, request, tools, responses }).ends[0]?.calls).toMatchObject([
      { name: 'bmcp_other', tool: undefined },
    ])
    const own = { ...request, tools: [{ type: 'function', function: { name: 'bmcp_other' } }] }
    expect(play({ api, request: own, tools, responses }).text).toBe(responses[0])
  })

  test('calls without ids, or with one id for all, get results that are told apart', () => {
    for (const ids of [
      [undefined, undefined],
      ['x', 'x'],
    ]) {
      const calls = ids.map(id => ({ id, type: 'function', function: { name: read.name, arguments: '{}' } }))
      const first =
        chunk({ choices: [{ index: 0, delta: { tool_calls: [{ ...calls[0], index: 0 }] } }] }) +
        chunk({
          choices: [{ index: 0, delta: { tool_calls: [{ ...calls[1], index: 1 }] }, finish_reason: 'tool_calls' }],
        })
      const { bodies } = play({ api, request: streamed, tools, responses: [first, chatStream(done, 1, 'openai')] })
      const [, model, ...results] = JSON.parse(bodies[1] ?? '').messages
      const named = model.tool_calls.map((call: { id: string }) => call.id)
      expect(new Set(named).size).toBe(2)
      expect(results.map((message: JsonObject) => message.tool_call_id)).toEqual(named)
    }
  })

  test('members of a call that only the provider knows are sent back', () => {
    const extra = { google: { thought_signature: 'sig' } }
    const call = {
      index: 0,
      id: 'call_r',
      type: 'function',
      extra_content: extra,
      function: { name: read.name, arguments: '{}' },
    }
    const first = chunk({
      choices: [{ index: 0, delta: { role: 'assistant', tool_calls: [call] }, finish_reason: 'stop' }],
    })
    const { bodies } = play({ api, request: streamed, tools, responses: [first, chatStream(done, 1, 'openai')] })
    expect(JSON.parse(bodies[1] ?? '').messages[1].tool_calls[0].extra_content).toEqual(extra)
  })

  test('reasoning blocks are sent back whole', () => {
    const delta = (detail: object) => chunk({ choices: [{ index: 0, delta: { reasoning_details: [detail] } }] })
    const first =
      delta({ type: 'reasoning.text', index: 0, text: 'I ' }) +
      delta({ type: 'reasoning.text', index: 0, text: 'think', signature: 's' }) +
      chatStream(hidden, 0, 'openai')
    const { bodies } = play({ api, request: streamed, tools, responses: [first, chatStream(done, 1, 'openai')] })
    expect(JSON.parse(bodies[1] ?? '').messages[1].reasoning_details).toEqual([
      { type: 'reasoning.text', index: 0, text: 'I think', signature: 's' },
    ])
  })
})

test('calls without results are not stored', () => {
  const own = api.open({ json: request, body: Buffer.from('{}'), tools, turns: [], mayAskForUsage: false })
  const merger = own.beginRound()
  merger.push(Buffer.from(chatBody(hidden, 0)))
  expect(merger.end().calls).toHaveLength(1)
  expect(own.turn()).toBeUndefined()
})

test('the calls of a round with the client’s calls are run before the response ends', () => {
  const mixed = chatStream(round({ text: ['Both.'], calls: [read, shell] }), 0, 'openai')
  const { ends, text, turn } = play({ api, request: streamed, tools, responses: [mixed] })
  expect(ends[0]?.calls).toHaveLength(1)
  expect(ends[0]?.held).toMatchObject({ isLast: true })
  expect(dataOf(ends[0]?.held.bytes.toString() ?? '').at(-1)).toBe('[DONE]')
  expect(text).toContain('"index":0,"id":"call_s"')
  // The client's result follows; the hidden call stands before the client's, its result before the client's result.
  const echo = {
    role: 'assistant',
    content: 'Both.',
    tool_calls: [{ id: 'call_s', type: 'function', function: { name: 'shell', arguments: '{}' } }],
  }
  const messages = [
    ...(request.messages as JsonObject[]),
    echo,
    { role: 'tool', tool_call_id: 'call_s', content: 'ok' },
  ]
  const next = play({
    api,
    request: { ...request, messages },
    tools,
    turns: turn ? [turn] : [],
    responses: [chatBody(done, 1)],
  })
  const [, model, ...results] = JSON.parse(next.bodies[0] ?? '').messages
  expect(model.tool_calls.map((call: { id: string }) => call.id)).toEqual(['call_r', 'call_s'])
  expect(results.map((message: JsonObject) => message.tool_call_id)).toEqual(['call_r', 'call_s'])
})

describe('usage', () => {
  test('a stream that does not ask for its usage asks, and the client does not see it', () => {
    const plain = { ...request, stream: true }
    const responses = [hidden, done].map((spec, number) => chatStream(spec, number, 'openai'))
    const { bodies, text } = play({ api, request: plain, tools, responses, mayAskForUsage: true })
    for (const body of bodies) expect(JSON.parse(body).stream_options).toEqual({ include_usage: true })
    expect(text).not.toContain('usage')
    expect(play({ api, request: plain, tools, responses }).bodies.join('')).not.toContain('stream_options')
  })

  test('usage inside of chunks counts the rounds before', () => {
    const usage = { prompt_tokens: 10, completion_tokens: 5 }
    const inside = (spec: ChatRoundSpec, number: number) =>
      chatStream(spec, number, 'openai', false).replace(
        /"finish_reason":"(stop|tool_calls)"}\]/,
        match => `${match},"x_groq":${JSON.stringify({ usage })}`,
      )
    const { text } = play({ api, request: streamed, tools, responses: [hidden, done].map(inside) })
    expect(
      dataOf(text)
        .filter(data => data.includes('x_groq'))
        .map(data => JSON.parse(data).x_groq.usage),
    ).toEqual([{ prompt_tokens: 20, completion_tokens: 10 }])
  })
})

test('text beside an end in one chunk is shown at once, the end is not', () => {
  const first = chatStream(hidden, 0, 'one chunk')
  const own = api.open({
    json: streamed,
    body: Buffer.from(JSON.stringify(streamed)),
    tools,
    turns: [],
    mayAskForUsage: false,
  })
  const { bytes, isLast } = own.beginRound().push(Buffer.from(first))
  expect(isLast).toBe(false)
  expect(dataOf(bytes.toString()).map(data => JSON.parse(data).choices[0])).toEqual([
    { index: 0, delta: { role: 'assistant', content: 'Reading.' }, finish_reason: null },
  ])
})

test('a result without text parts is a note, and an error is marked', () => {
  const responses = [chatBody(hidden, 0), chatBody(done, 1)]
  const image = { type: 'image', mimeType: 'image/png', base64: 'AA==' } as const
  const { bodies } = play({
    api,
    request,
    tools,
    responses,
    result: () => ({ isError: true, parts: [{ type: 'text', text: 'No.' }, image], durationMs: 1 }),
  })
  expect(JSON.parse(bodies[1] ?? '').messages.at(-1).content).toBe('Error: No.\n[image of type image/png]')
})

test('the end comes last without a [DONE] too', () => {
  const responses = [hidden, done].map((spec, number) =>
    chatStream(spec, number, 'openai').replace('data: [DONE]\n\n', ''),
  )
  const { ends, text } = play({ api, request: streamed, tools, responses })
  expect(ends[1]?.held.isLast).toBe(true)
  expect(dataOf(ends[1]?.held.bytes.toString() ?? '').map(data => JSON.parse(data).choices[0]?.finish_reason)).toEqual([
    'stop',
    undefined,
  ])
  expect(dataOf(text).filter(data => data.includes('"finish_reason":"'))).toHaveLength(1)
})

test('a call without a name is shown with the end', () => {
  const part = { index: 0, id: 'call_x', type: 'function', function: { arguments: '{}' } }
  const response = `${chunk({ choices: [{ index: 0, delta: { tool_calls: [part] } }] })}${chunk({ choices: [{ index: 0, delta: {}, finish_reason: 'tool_calls' }] })}data: [DONE]\n\n`
  const jsons = dataOf(play({ api, request: streamed, tools, responses: [response] }).text)
    .slice(0, -1)
    .map(data => JSON.parse(data))
  expect(jsons).toMatchObject([
    { id: 'c', model: 'm', choices: [{ delta: { tool_calls: [part] }, finish_reason: null }] },
    { id: 'c', choices: [{ finish_reason: 'tool_calls' }] },
  ])
})

test('the older form of a call beside a hidden one ends the response too', () => {
  const old = { name: 'f', arguments: '{}' }
  const call = { index: 0, id: 'call_r', type: 'function', function: { name: read.name, arguments: '{}' } }
  const message = { role: 'assistant', content: null, function_call: old, tool_calls: [call] }
  const whole = JSON.stringify({ id: 'c', choices: [{ index: 0, message, finish_reason: 'tool_calls' }] })
  const parts = chunk({ choices: [{ index: 0, delta: message, finish_reason: 'tool_calls' }] })
  for (const response of [whole, parts]) {
    const { ends, text } = play({ api, request, tools, responses: [response] })
    expect(ends).toMatchObject([{ isFinal: true, calls: [{ callId: 'call_r' }] }])
    expect(text).toContain('"function_call"')
    expect(text).not.toContain('bmcp_')
  }
})

test('reasoning blocks come back on the next turn only for a client that sends them', () => {
  const detail = { type: 'reasoning.encrypted', index: 0, data: 'x' }
  const first =
    chunk({ choices: [{ index: 0, delta: { reasoning_details: [detail] } }] }) + chatStream(hidden, 0, 'openai')
  const { turn } = play({ api, request: streamed, tools, responses: [first, chatStream(done, 1, 'openai')] })
  for (const details of [undefined, [detail]]) {
    const echo = { role: 'assistant', content: 'Reading.Done.', ...(details && { reasoning_details: details }) }
    const messages = [...(request.messages as JsonObject[]), echo, { role: 'user', content: 'Go on.' }]
    const next = play({
      api,
      request: { ...request, messages },
      tools,
      turns: turn ? [turn] : [],
      responses: [chatBody(done, 2)],
    })
    const [, model, result] = JSON.parse(next.bodies[0] ?? '').messages
    expect(model.reasoning_details).toEqual(details)
    expect(result).toMatchObject({ role: 'tool', tool_call_id: 'call_r' })
  }
})

test('an error in a later round passes, and nothing follows the end', () => {
  const error = 'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n'
  const { text, lasts, ends } = play({
    api,
    request: streamed,
    tools,
    responses: [chatStream(hidden, 0, 'openai'), error],
  })
  expect(text.endsWith(error)).toBe(true)
  expect(lasts).toBe(1)
  expect(ends.at(-1)).toMatchObject({ isFinal: true, calls: [] })
})

test('a later round of the other kind ends the stream with an error', () => {
  const { text } = play({
    api,
    request: streamed,
    tools,
    responses: [chatStream(hidden, 0, 'openai'), chatBody(done, 1)],
  })
  expect(JSON.parse(dataOf(text).at(-1) ?? '').error.type).toBe('server_error')
})

test('the official SDK throws at the error event and skips pings', async () => {
  const own = api.open({ json: streamed, body: Buffer.from('{}'), tools, turns: [], mayAskForUsage: false })
  const text = `${own.ping()}${chunk({ choices: [{ index: 0, delta: { content: 'a' } }] })}${own.errorEvent('the tools took too long')}`
  const client = new OpenAI({
    apiKey: 'k',
    maxRetries: 0,
    fetch: async () => new Response(text, { headers: { 'content-type': 'text/event-stream' } }),
  })
  const stream = await client.chat.completions.create({ model: 'm', messages: [], stream: true })
  const seen: string[] = []
  await expect(async () => {
    for await (const { choices } of stream) seen.push(choices[0]?.delta.content ?? '')
  }).rejects.toThrow('the tools took too long')
  expect(seen).toEqual(['a'])
})

test('bytes of any kind throw nothing', () => {
  const deep = `data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"bmcp_wiki_read","arguments":${'['.repeat(10_000)}${']'.repeat(10_000)}}}]}}]}\n\n`
  for (const response of [
    deep,
    'data: 1\n\ndata: null\n\ndata: {"choices":[null,{"delta":7},{"delta":{"tool_calls":[1,{}]}}]}\n\n',
    '[1]',
    '{',
    'x',
    '',
  ])
    for (const json of [request, streamed])
      expect(() => play({ api, request: json, tools, responses: [response, response] })).not.toThrow()
})
