import { describe, expect, test } from 'vitest'
import { anthropicInjection as api } from '../../../../client/bridge/injection/anthropic.js'
import { type SseEvent, SseReader } from '../../../../client/bridge/wire/sse.js'
import { eventsOf } from '../../../fixtures/provider.js'
import {
  done,
  eventsIn,
  find,
  played,
  read,
  request,
  round,
  sse,
  streamed,
  text,
  typesIn,
  user,
} from './anthropic-play.js'
import { respondWith, resultOf, wikiTools } from './anthropic-provider.js'
import { dataOf } from './play.js'

describe('a stream that goes wrong', () => {
  const error = 'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'

  test('an error in a later round is the end of the stream, as it came', () => {
    const first = respondWith([round('tool_use', text('a'), find)], 'a', true).responses
    const { text: shown, lasts, turn } = played({ request: streamed, responses: [...first, `${error}${error}`] })
    expect(shown.endsWith(error)).toBe(true)
    expect(typesIn(shown).filter(type => type === 'error')).toHaveLength(1)
    expect(lasts).toBe(1)
    expect(turn?.rounds).toHaveLength(2)
  })

  test('a later round of the other kind is an error in the kind of the client', () => {
    const pair = [round('tool_use', find), done]
    const bodies = respondWith(pair, 'a', false).responses
    const streams = respondWith(pair, 'a', true).responses
    const [body = '', , stream = ''] = [bodies[0], '', streams[0]]
    const intoStream = played({ request: streamed, responses: [stream, bodies[1] ?? ''] })
    expect(typesIn(intoStream.text).at(-1)).toBe('error')
    const intoBody = played({ responses: [body, streams[1] ?? ''] })
    expect(JSON.parse(intoBody.text)).toMatchObject({ type: 'error' })
  })

  test('a body in place of a stream is merged as a body', () => {
    const { responses } = respondWith([round('tool_use', find), done], 'a', false)
    const { text: shown, injected: open } = played({ request: streamed, responses })
    expect(JSON.parse(shown)).toMatchObject({ content: [{ type: 'text', text: 'Done.' }] })
    expect(open.isStream).toBe(false)
  })

  test.each(['{"type":"error","error":{"type":"api_error","message":"no"}}', '[]', '{"content":1}'])(
    'the body %s is the response as it is',
    body => {
      const { responses } = respondWith([round('tool_use', find)], 'a', false)
      expect(played({ responses: [body] }).text).toBe(body)
      expect(played({ responses: [...responses, body] }).text).toBe(body)
    },
  )

  const { responses } = respondWith(
    [
      round('tool_use', { is: 'thinking', text: 'hm' }, text('a'), find, text('b')),
      round('tool_use', text('c'), read, find),
    ],
    'a',
    true,
  )
  const whole = played({ request: streamed, responses })
  const streams = whole.bodies.map((body, at) => {
    const response = responses[at]
    return eventsOf(typeof response === 'function' ? response(JSON.parse(body)) : '')
  })

  test('a stream that is cut at any event, or inside of one, shows no hidden call and no second end', () => {
    const [first = [], second = []] = streams
    const cuts = [first, second].flatMap((events, at) =>
      events.flatMap((event, index) =>
        [0, 0.5, 0.9].map(part => {
          const text = events.slice(0, index).join('') + event.slice(0, Math.floor(event.length * part))
          return at === 0 ? [text] : [first.join(''), text]
        }),
      ),
    )
    expect(cuts.length).toBeGreaterThan(60)
    for (const cut of cuts) {
      const { text: shown, ends } = played({ request: streamed, responses: cut })
      expect(shown).not.toMatch(/bmcp_|result of/)
      // The client got a beginning of the whole response, with whole events.
      if (shown !== '') expect(shown.endsWith('\n\n')).toBe(true)
      const data = eventsIn(shown)
      expect(eventsIn(whole.text).slice(0, data.length)).toEqual(data)
      expect(data.filter(event => event.type === 'message_stop').length).toBeLessThanOrEqual(1)
      if (!cut.at(-1)?.includes('"stop_reason":"tool_use"')) expect(ends.at(-1)).toMatchObject({ calls: [] })
    }
  })

  test('the calls of a stream that lacks its last event are run', () => {
    const [first = []] = streams
    const { ends } = played({ request: streamed, responses: [first.slice(0, -1).join('')] })
    expect(ends[0]?.calls).toHaveLength(1)
  })

  test('a client that leaves in a later round leaves the turn as far as it has seen it', () => {
    const [first = [], second = []] = streams
    const { turn } = played({ request: streamed, responses: [first.join(''), second.slice(0, 6).join('')] })
    const history = [
      user('list my pages'),
      {
        role: 'assistant',
        content: ['a', 'b', 'c'].map(said => ({ type: 'text', text: said })),
      },
      user('go on'),
    ]
    const turns = turn ? [turn] : []
    const [body] = played({ request: { ...request, messages: history }, turns }, done).json
    expect(body?.messages).toMatchObject([
      history[0],
      { content: [{ text: 'a' }, { type: 'tool_use' }, { text: 'b' }] },
      { content: [{ type: 'tool_result' }] },
      { content: [{ text: 'c' }] },
      history[2],
    ])
  })
})

test('a turn is known before its round has ended, for a client that leaves', () => {
  const open = api.open({
    json: streamed,
    body: Buffer.from(JSON.stringify(streamed)),
    tools: wikiTools,
    turns: [],
    mayAskForUsage: false,
  })
  const responses = respondWith([round('tool_use', find), done], 'a', true).responses.map(response => response(request))
  const [first = '', second = ''] = responses
  open.beginRound().push(Buffer.from(first))
  expect(open.turn()).toBeUndefined()
  const whole = open.beginRound()
  whole.push(Buffer.from(first))
  open.addResults(whole.end().calls.map(call => ({ call, result: resultOf(call) })))
  expect(open.turn()?.rounds).toHaveLength(1)
  open.beginRound().push(Buffer.from(second.slice(0, second.indexOf('content_block_stop'))))
  expect(open.turn()?.rounds).toMatchObject([
    { results: [{}] },
    { items: [{ visible: expect.stringMatching(/^text:/) }] },
  ])
})

test.each(['\r\n', '\r'])(
  'with the line end %j the events are the same, if the stream is cut behind any of them',
  lineEnd => {
    const streams = respondWith([round('tool_use', text('a'), find), done], 'a', true).responses
    const written = streams.map(response => response(request).replaceAll('\n', lineEnd))
    const events = (shown: string) => {
      const all: SseEvent[] = []
      const reader = new SseReader(event => all.push(event), 10_000)
      reader.push(Buffer.from(shown))
      return all
    }
    const plain = events(played({ request: streamed, responses: streams }).text)
    const [first = ''] = written
    expect(first.length).toBe(Buffer.byteLength(first))
    for (const { index } of first.matchAll(/\r/g)) {
      const at = index + 1
      const cut = (bytes: Buffer) => [bytes.subarray(0, at), bytes.subarray(at)]
      expect(events(played({ request: streamed, responses: written, cut }).text)).toEqual(plain)
    }
  },
)

test('a stream that ends in a line ends with a whole event', () => {
  for (const lineEnd of ['\n', '\r\n', '\r']) {
    const event = `data: {"type":"ping"}${lineEnd}`
    const { text: shown } = played({ request: streamed, responses: [event] })
    expect(shown).toBe(`${event}\n\n`)
  }
})

test('a later round adds no second end, and no block without a beginning', () => {
  const [first] = respondWith([round('tool_use', text('a'), find)], 'a', true).responses
  const delta = { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 3 } }
  const second = sse(
    { ...delta, delta: {}, usage: { output_tokens: 1 } },
    { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'lost' } },
    delta,
    delta,
    { type: 'message_stop' },
    { type: 'message_stop' },
  )
  const { text: shown } = played({ request: streamed, responses: [first ?? '', second] })
  expect(shown).not.toContain('lost')
  expect(typesIn(shown).slice(-2)).toEqual(['message_delta', 'message_stop'])
  const deltas = eventsIn(shown).filter(({ type }) => type === 'message_delta')
  expect(deltas).toMatchObject([{ usage: { output_tokens: 10 } }])
})

test('pings and unknown events of every round pass, and the bridge’s own ping is one', () => {
  const [first, second] = respondWith([round('tool_use', find), done], 'a', true).responses
  const extra = sse({ type: 'ping' }, { type: 'new_event', x: 1 }, '[not json]')
  const { text: shown, injected: open } = played({
    request: streamed,
    responses: [body => `: hi\n${first?.(body)}`, body => `${extra}${second?.(body)}`],
  })
  expect(shown.startsWith(': hi\n')).toBe(true)
  expect(shown).toContain(extra)
  expect(typesIn(open.ping().toString())).toEqual(['ping'])
  expect(JSON.parse(dataOf(open.errorEvent('too slow').toString())[0] ?? '')).toEqual({
    type: 'error',
    error: { type: 'api_error', message: 'too slow' },
  })
})
