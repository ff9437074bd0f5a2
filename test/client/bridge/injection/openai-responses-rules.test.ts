import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { openaiResponsesInjection as api } from '../../../../client/bridge/injection/openai-responses.js'
import type { JsonObject } from '../../../../shared/values/text.js'
import { eventsOf } from '../../../fixtures/provider.js'
import { readTxtar, sectionOf } from '../../../fixtures/txtar.js'
import { dataOf, injected, play } from './play.js'
import { type ItemSpec, type ResponsesRoundSpec, responsesBody, responsesStream } from './responses-rounds.js'

const tools = ['bmcp_wiki_read'].map(injected)
const request: JsonObject = { model: 'm', input: 'Find it.' }
const streamed: JsonObject = { ...request, stream: true }
const read: ItemSpec = { call: 'bmcp_wiki_read', input: '{}' }
const shell: ItemSpec = { call: 'shell', input: '{}' }
const round = (...items: ItemSpec[]): ResponsesRoundSpec => ({ items, status: 'completed', usage: [1, 0, 1] })
const stores = { store: true, encrypts: false }
const body = (spec: ResponsesRoundSpec, number = 0) => responsesBody(spec, number, stores)
const stream = (spec: ResponsesRoundSpec, number = 0) => responsesStream(spec, number, stores)
const hidden = round({ text: 'Reading.' }, read)
const done = round({ text: 'Done.' })
const mixed = round(read, shell)
const output = (callId: string): JsonObject => ({ type: 'function_call_output', call_id: callId, output: 'ok' })
const inputOf = (text: string | undefined): JsonObject[] => JSON.parse(text ?? '').input

describe('tools are injected into requests', () => {
  test.each<[JsonObject, boolean]>([
    [{}, true],
    [{ background: false, tools: [] }, true],
    [{ background: true }, false],
    [{ tools: {} }, false],
    [{ input: null }, false],
  ])('%j: %j', (more, may) => {
    expect(api.mayInject({ ...request, ...more })).toBe(may)
  })

  test('the opening is the first words of the user', () => {
    expect(api.openingOf(request)).toBe(
      api.openingOf({ input: [{ role: 'user', content: [{ type: 'input_text', text: 'Find it.' }] }] }),
    )
    expect(api.openingOf({ input: [{ role: 'developer', content: 'x' }] })).toBeUndefined()
  })

  test('bytes beside the changes stay as the client wrote them', () => {
    const bytes = Buffer.from('{ "model" : "m", "top_p":1.0,\n "input" :"\\u0041"}')
    const own = api.open({ json: JSON.parse(bytes.toString()), body: bytes, tools, turns: [], mayAskForUsage: true })
    expect(Buffer.concat(own.body()).toString()).toMatch(/^\{ "model" : "m", "top_p":1\.0,\n "input" :"\\u0041",/)
  })
})

describe('a response without hidden calls passes byte for byte', () => {
  const folder = `${import.meta.dirname}/../../../fixtures/responses/openai-responses`
  test.each(['short', 'everything', 'cut-tool-input', 'error-in-stream', 'failed'])('%s', name => {
    const txtar = readTxtar(`${folder}/${name}.txtar`)
    for (const section of ['streaming', 'non-streaming'].filter(mode => txtar.has(mode))) {
      const response = sectionOf(txtar, section)
      const cut = (bytes: Buffer) => eventsOf(bytes.toString()).map(event => Buffer.from(event))
      expect(play({ api, request: streamed, tools, responses: [response], cut }).text).toBe(response)
    }
  })
})

describe('a hidden call is run if the response is complete', () => {
  test('an incomplete response runs nothing and shows nothing hidden', () => {
    for (const write of [body, stream]) {
      const { ends, text } = play({ api, request, tools, responses: [write({ ...hidden, status: 'incomplete' })] })
      expect(ends[0]).toMatchObject({ isFinal: true, calls: [] })
      expect(text).not.toContain('bmcp_')
      expect(text).toContain('max_output_tokens')
    }
  })

  test('a stream that ends early runs nothing, whatever the event', () => {
    const events = eventsOf(stream(hidden))
    for (const [count] of events.entries()) {
      const { ends, text } = play({ api, request: streamed, tools, responses: [events.slice(0, count).join('')] })
      expect(ends[0]).toMatchObject({ isFinal: true, calls: [] })
      expect(text).not.toContain('bmcp_')
    }
  })

  test('an event for a cut response counts although the snapshot has no status', () => {
    const cut = stream(hidden)
      .replace('"type":"response.completed"', '"type":"response.incomplete"')
      .replaceAll('"status":"completed",', '')
    expect(play({ api, request: streamed, tools, responses: [cut] }).ends[0]).toMatchObject({
      isFinal: true,
      calls: [],
    })
  })

  test('items of a proxy that gives all of them the same place follow the hidden one', () => {
    const onePlace = stream(round(read, { text: 'a' })).replaceAll('"output_index":1', '"output_index":0')
    const { text } = play({
      api,
      request: streamed,
      tools,
      responses: [onePlace, stream(done, 1)],
    })
    const places = dataOf(text).flatMap(data => JSON.parse(data).output_index ?? [])
    expect([...new Set(places)]).toEqual([0, 1])
  })

  test('a last round without items ends with those of the rounds before', () => {
    const { text } = play({ api, request: streamed, tools, responses: [stream(hidden), stream(round(), 1)] })
    expect(JSON.parse(dataOf(text).at(-1) ?? '').response.output).toMatchObject([{ id: 'msg_0_0' }])
  })

  test('a call whose name comes with its end is hidden too', () => {
    const late = stream(hidden).replace('"call_id":"call_0_1","name":"bmcp_wiki_read"', '"call_id":"call_0_1"')
    expect(late).not.toBe(stream(hidden))
    const played = play({ api, request: streamed, tools, responses: [late, stream(done, 1)] })
    expect(played.text).toBe(play({ api, request: streamed, tools, responses: [stream(hidden), stream(done, 1)] }).text)
    const visible = stream(round(shell, { text: 'a' })).replace(
      '"call_id":"call_0_0","name":"shell"',
      '"call_id":"call_0_0"',
    )
    expect(play({ api, request: streamed, tools, responses: [visible] }).text).toBe(visible)
  })

  test('arguments that are no JSON object are reported, and the history gets an empty object', () => {
    const { ends, bodies } = play({
      api,
      request,
      tools,
      responses: [body(round({ ...read, input: '[1]' })), body(done, 1)],
    })
    expect(ends[0]?.calls[0]).toMatchObject({ input: '[1]', arguments: undefined })
    expect(inputOf(bodies[1])[1]?.arguments).toBe('{}')
  })

  test('a snapshot without items counts as far as it goes', () => {
    const bare = (text: string) =>
      text.replace(
        /("status":"completed","error":null,"incomplete_details":null,"model":"m","output":)\[.*\](,"store")/,
        '$1[]$2',
      )
    const { ends, text, bodies } = play({
      api,
      request: streamed,
      tools,
      responses: [bare(stream(hidden)), bare(stream(done, 1))],
    })
    expect(ends[0]?.calls).toHaveLength(1)
    expect(inputOf(bodies[1])).toHaveLength(4)
    expect(JSON.parse(dataOf(text).at(-1) ?? '').response.output).toEqual([])
  })
})

describe('a call of the client beside a hidden one', () => {
  const first = play({ api, request: streamed, tools, responses: [stream(mixed)] })
  const turns = first.turn ? [first.turn] : []
  const next = (more: JsonObject) => {
    const json = { ...request, ...more }
    return inputOf(play({ api, request: json, tools, turns, responses: [body(done, 1)] }).bodies[0])
  }
  const shown: JsonObject[] = JSON.parse(dataOf(first.text).at(-1) ?? '').response.output

  test('the hidden call is run before the response ends', () => {
    expect(first.ends[0]).toMatchObject({ isFinal: true, calls: [{ name: 'bmcp_wiki_read' }], held: { isLast: true } })
    expect(shown.map(item => item.name)).toEqual(['shell'])
  })

  test('in a whole history the pair stands at its place', () => {
    const input = next({ input: [{ role: 'user', content: 'Find it.' }, ...shown, output('call_0_1')] })
    expect(input.slice(1).map(({ type, call_id: id }) => `${type} ${id}`)).toEqual([
      'function_call call_0_0',
      'function_call call_0_1',
      'function_call_output call_0_0',
      'function_call_output call_0_1',
    ])
  })

  test.each<[string, JsonObject]>([
    ['a stored response', { previous_response_id: 'resp_0' }],
    ['a conversation', { conversation: 'conv_1' }],
  ])('behind %s only the missing result is added', (_, more) => {
    const input = next({ ...more, input: [output('call_0_1')] })
    expect(input.map(({ type, call_id: id }) => `${type} ${id}`)).toEqual([
      'function_call_output call_0_0',
      'function_call_output call_0_1',
    ])
    // Every other request finds the result at the provider.
    expect(next({ ...more, input: [{ role: 'user', content: 'Go on.' }] })).toHaveLength(1)
  })

  test('items that a thread does not hold yet get the whole pair', () => {
    const input = next({ previous_response_id: 'resp_x', input: [...shown, output('call_0_1')] })
    expect(input.map(({ type, call_id: id }) => `${type} ${id}`)).toEqual([
      'function_call call_0_0',
      'function_call call_0_1',
      'function_call_output call_0_0',
      'function_call_output call_0_1',
    ])
  })

  test('a result never stands before its call, whatever the order of the client', () => {
    const own = play({ api, request: streamed, tools, responses: [stream(hidden), stream(mixed, 1)] })
    const items: JsonObject[] = JSON.parse(dataOf(own.text).at(-1) ?? '').response.output
    const json = {
      ...request,
      input: [{ role: 'user', content: 'Find it.' }, ...items.toReversed(), output('call_1_1')],
    }
    const bytes = Buffer.concat(
      play({ api, request: json, tools, turns: own.turn ? [own.turn] : [], responses: [] }).injected.body(),
    )
    const ids = inputOf(bytes.toString()).map(({ type, call_id: id }) => `${type} ${id}`)
    for (const id of ['call_0_1', 'call_1_0', 'call_1_1'])
      expect(ids.indexOf(`function_call ${id}`)).toBeLessThan(ids.indexOf(`function_call_output ${id}`))
  })

  test('the thread that the next request continues is known at the end', () => {
    const threadOf = (json: JsonObject) => api.threadOf?.(json)
    expect(first.injected.threadId?.()).toBe(threadOf({ previous_response_id: 'resp_0', input: [] }))
    const thread = (more: JsonObject) =>
      play({
        api,
        request: { ...streamed, ...more },
        tools,
        responses: [stream(hidden), stream(done, 1)],
      }).injected.threadId?.()
    expect(thread({})).toBe('resp_1')
    expect(thread({ conversation: { id: 'conv_1' } })).toBe(threadOf({ conversation: 'conv_1' }))
    expect(thread({ store: false })).toBeUndefined()
    expect(threadOf(request)).toBeUndefined()
  })
})

test('settings between the items of a turn do not divide it', () => {
  const own = play({
    api,
    request,
    tools,
    responses: [body(hidden), body(round({ text: 'More.' }, read), 1), body(done, 2)],
  })
  const [first, second, third]: JsonObject[] = JSON.parse(own.text).output
  const setting = { type: 'additional_tools', role: 'developer', tools: [] }
  const input = [{ role: 'user', content: 'Find it.' }, first, setting, second, third].flatMap(item => item ?? [])
  const next = play({
    api,
    request: { ...request, input },
    tools,
    turns: own.turn ? [own.turn] : [],
    responses: [body(done, 3)],
  })
  expect(inputOf(next.bodies[0]).map(item => item.id ?? item.call_id ?? item.role)).toEqual([
    'user',
    'msg_0_0',
    'fc_0_1',
    'call_0_1',
    'developer',
    'msg_1_0',
    'fc_1_1',
    'call_1_1',
    'msg_2_0',
  ])
})

test('a conversation gets the results alone, a stored response everything behind it', () => {
  const responses = [body(hidden), body(hidden, 1), body(done, 2)]
  const conversations = ['conv_1', { id: 'conv_1' }].map(
    conversation => play({ api, request: { ...request, conversation }, tools, responses }).bodies,
  )
  for (const bodies of conversations)
    expect(bodies.slice(1).map(text => inputOf(text).map(item => item.call_id))).toEqual([['call_0_1'], ['call_1_1']])
  const behind = play({ api, request: { ...request, previous_response_id: 'resp_x' }, tools, responses }).bodies
  expect(behind.map(text => JSON.parse(text).previous_response_id)).toEqual(['resp_x', 'resp_x', 'resp_x'])
  expect(inputOf(behind[2])).toHaveLength(7)
})

test('images of a result are parts of the output', () => {
  const image = { type: 'image', mimeType: 'image/png', base64: 'AA==' } as const
  const { bodies } = play({
    api,
    request,
    tools,
    responses: [body(hidden), body(done, 1)],
    result: () => ({ isError: true, parts: [{ type: 'text', text: 'No.' }, image], durationMs: 1 }),
  })
  expect(inputOf(bodies[1]).at(-1)?.output).toEqual([
    { type: 'input_text', text: 'Error: No.' },
    { type: 'input_image', image_url: 'data:image/png;base64,AA==' },
  ])
})

test('calls without results are not stored', () => {
  const own = api.open({
    json: request,
    body: Buffer.from(JSON.stringify(request)),
    tools,
    turns: [],
    mayAskForUsage: false,
  })
  const merger = own.beginRound()
  merger.push(Buffer.from(body(hidden)))
  expect(merger.end().calls).toHaveLength(1)
  expect(own.turn()).toBeUndefined()
})

test.each<[string, string]>([
  ['error', 'event: error\ndata: {"type":"error","code":"x","message":"No.","param":null,"sequence_number":4}\n\n'],
  [
    'response.failed',
    'event: response.failed\ndata: {"type":"response.failed","sequence_number":4,"response":{"id":"resp_1","status":"failed","output":[],"error":{"code":"x","message":"No."}}}\n\n',
  ],
])('an event %s in a later round ends the response', (type, last) => {
  const { text, lasts, ends } = play({ api, request: streamed, tools, responses: [stream(hidden), last] })
  const events = dataOf(text).map(data => JSON.parse(data))
  expect(events.at(-1)).toMatchObject({ type, sequence_number: events.length - 1 })
  expect(lasts).toBe(1)
  expect(ends.at(-1)).toMatchObject({ isFinal: true, calls: [] })
})

test('the official SDK throws at the error event and skips pings', async () => {
  const own = play({ api, request: streamed, tools, responses: [stream(hidden)] })
  const text = `${own.text}${own.injected.ping()}${own.injected.errorEvent('the tools took too long')}`
  const client = new OpenAI({
    apiKey: 'k',
    maxRetries: 0,
    fetch: async () => new Response(text, { headers: { 'content-type': 'text/event-stream' } }),
  })
  const events = await client.responses.create({ model: 'm', input: 'x', stream: true })
  let seen = 0
  await expect(async () => {
    for await (const event of events) expect(event.sequence_number).toBe(seen++)
  }).rejects.toThrow('the tools took too long')
  expect(JSON.parse(dataOf(text).at(-1) ?? '')).toMatchObject({ type: 'error', sequence_number: seen })
})

test('bytes of any kind throw nothing', () => {
  const deep = `data: {"type":"response.output_item.done","output_index":0,"item":${'['.repeat(10_000)}${']'.repeat(10_000)}}\n\n`
  const odd = 'data: {"type":"response.completed"}\n\n'
  for (const response of [
    deep,
    odd,
    'data: 1\n\ndata: {"type":"response.output_item.added","item":7}\n\n',
    '{"output":[null,7,{}]}',
    '{',
    'x',
    '',
  ])
    for (const json of [request, streamed])
      expect(() => play({ api, request: json, tools, responses: [response, response] })).not.toThrow()
})
