import { describe, expect, test } from 'vitest'
import type { HiddenTurn } from '../../../../client/bridge/injection/injection-api.js'
import type { JsonObject, JsonValue } from '../../../../shared/values/text.js'
import { thinkingError } from '../../../fixtures/signed-thinking.js'
import { done, find, played, read, request, round, sse, streamed, text, typesIn, user } from './anthropic-play.js'
import type { MeantBlock } from './anthropic-provider.js'
import { dataOf } from './play.js'

describe('a hidden call', () => {
  test('neither call nor result is in the stream, and the indexes have no gap', () => {
    const { text: shown } = played({ request: streamed }, round('tool_use', find, text('a'), find), done)
    expect(shown).not.toMatch(/bmcp_|toolu_|input_json|result of/)
    expect(dataOf(shown).flatMap(data => JSON.parse(data).index ?? [])).toEqual([0, 0, 0, 0, 1, 1, 1, 1])
  })

  test('a round with nothing but a hidden call leaves no trace', () => {
    const { text: shown, json } = played({ request: streamed }, round('tool_use', find), done)
    expect(typesIn(shown).filter(type => type === 'content_block_start')).toHaveLength(1)
    expect(json[1]?.messages).toHaveLength(3)
    expect(played({}, round('tool_use', find), done).text).toContain('"text": "Done."')
  })

  test('a call of the client’s own tool with a name that looks injected is the client’s', () => {
    const own = { ...streamed, tools: [{ name: 'bmcp_own', input_schema: {} }] }
    const call: MeantBlock = { is: 'call', name: 'bmcp_own', input: {} }
    const { text: shown, ends } = played({ request: own }, round('tool_use', call))
    expect(ends[0]?.calls).toEqual([])
    expect(shown).toContain('bmcp_own')
  })

  test('an unknown name that looks injected is a call without a tool', () => {
    const call: MeantBlock = { is: 'call', name: 'bmcp_other', input: {} }
    const { ends, json } = played({}, round('tool_use', call), done)
    expect(ends[0]?.calls).toMatchObject([{ name: 'bmcp_other', tool: undefined, arguments: {} }])
    expect(JSON.stringify(json[1])).toContain('"is_error":true')
  })

  test.each(['max_tokens', 'end_turn', 'refusal', 'pause_turn', 'model_context_window_exceeded'])(
    'with the stop reason %s no call is run, and the client sees that reason',
    stopReason => {
      for (const one of [request, streamed]) {
        const { ends, text: shown, turn, lasts } = played({ request: one }, round(stopReason, text('a'), find))
        expect(ends).toMatchObject([{ calls: [], isFinal: true }])
        expect(shown).toContain(stopReason)
        expect(shown).not.toContain('bmcp_')
        expect([turn, lasts]).toEqual([undefined, 1])
      }
    },
  )

  test.each(['{"a": [1, "b', '[1]', '"a"', 'null'])('the input %s is no object: the call has no arguments', input => {
    const response = sse(
      {
        type: 'content_block_start',
        index: 0,
        content_block: { type: 'tool_use', id: 'c', name: 'bmcp_x', input: {} },
      },
      { type: 'content_block_delta', index: 0, delta: { type: 'input_json_delta', partial_json: input } },
      { type: 'message_delta', delta: { stop_reason: 'tool_use' } },
    )
    const { ends, json } = played({ request: streamed, responses: [response, sse({ type: 'message_stop' })] })
    expect(ends[0]?.calls).toMatchObject([{ input, arguments: undefined }])
    const { messages } = json[1] ?? {}
    const call = { type: 'tool_use', id: 'c', name: 'bmcp_x', input: { INVALID_JSON: input } }
    expect(Array.isArray(messages) && messages[1]).toEqual({ role: 'assistant', content: [call] })
  })

  test('an input without any text is an empty object', () => {
    const { ends } = played({ request: streamed }, round('tool_use', { ...find, input: {} } as MeantBlock), done)
    expect(ends[0]?.calls).toMatchObject([{ input: '{}', arguments: {} }])
  })

  test('numbers and the order of members are as the model wrote them', () => {
    const input = '{"b": 12345678901234567890, "a": 1.0}'
    const response = sse(
      {
        type: 'content_block_start',
        index: 0,
        content_block: { type: 'tool_use', id: 'c', name: 'bmcp_x', input: {} },
      },
      { type: 'content_block_delta', index: 0, delta: { type: 'input_json_delta', partial_json: input } },
      { type: 'message_delta', delta: { stop_reason: 'tool_use' } },
    )
    const { bodies, turn } = played({ request: streamed, responses: [response, sse({ type: 'message_stop' })] })
    expect(bodies[1]).toContain(`"input":${input}`)
    expect(JSON.stringify(turn)).toContain(JSON.stringify(`"input":${input}`).slice(1, -1))
  })

  test('of several signatures of a block the last one goes back', () => {
    const response = sse(
      { type: 'content_block_start', index: 0, content_block: { type: 'thinking', thinking: '' } },
      { type: 'content_block_delta', index: 0, delta: { type: 'signature_delta', signature: 'one' } },
      { type: 'content_block_delta', index: 0, delta: { type: 'signature_delta', signature: 'two' } },
      { type: 'content_block_start', index: 1, content_block: { type: 'text', text: 'a', citations: null } },
      { type: 'content_block_delta', index: 1, delta: { type: 'citations_delta', citation: { cited: 1 } } },
      { type: 'content_block_delta', index: 1, delta: { type: 'citations_delta', citation: { cited: 2 } } },
      {
        type: 'content_block_start',
        index: 2,
        content_block: { type: 'tool_use', id: 'c', name: 'bmcp_x', input: {} },
      },
      { type: 'message_delta', delta: { stop_reason: 'tool_use' } },
    )
    const { bodies } = played({ request: streamed, responses: [response, sse({ type: 'message_stop' })] })
    expect(bodies[1]).toContain('{"type":"thinking","thinking":"","signature":"two"}')
    expect(bodies[1]).toContain('"citations":[{"cited":1},{"cited":2}]')
  })

  test('blocks of the model go back to it as it wrote them', () => {
    const { json } = played(
      {},
      round('tool_use', { is: 'thinking', text: 'hm' }, { is: 'redacted' }, { is: 'unknown' }, { is: 'search' }, find),
      done,
    )
    expect(thinkingError(json[1] ?? {})).toBeUndefined()
  })
})

describe('a call of the client beside a hidden one', () => {
  test.each([
    ['streamed', streamed],
    ['blocking', request],
  ])('%s: the turn ends with the client’s call, and the follow-up has both results', (_, one) => {
    const first = played({ request: one }, round('tool_use', text('Both.'), find, read))
    expect(first.ends).toMatchObject([{ isFinal: true, calls: [{ callId: 'toolu_a_0_1' }] }])
    expect(first.text).toContain('toolu_a_0_2')
    expect(first.text).not.toContain('bmcp_')
    const call = { type: 'tool_use', id: 'toolu_a_0_2', name: 'Read', input: { path: 'a' } }
    const messages = [
      user('list my pages'),
      { role: 'assistant', content: [{ type: 'text', text: 'Both.' }, call] },
      user([{ type: 'tool_result', tool_use_id: 'toolu_a_0_2', content: 'read' }]),
    ]
    const turns = first.turn ? [first.turn] : []
    const [body] = played({ request: { ...one, messages }, turns }, done).json
    expect(body?.messages).toMatchObject([
      messages[0],
      { content: [{ type: 'text' }, { id: 'toolu_a_0_1' }, { id: 'toolu_a_0_2' }] },
      { content: [{ tool_use_id: 'toolu_a_0_1' }, { tool_use_id: 'toolu_a_0_2' }] },
    ])
  })

  test('a user who writes words in place of the result gets the hidden result in front of them', () => {
    const first = played({}, round('tool_use', read, find))
    const assistant = { role: 'assistant', content: [{ type: 'tool_use', id: 'toolu_a_0_0', name: 'Read', input: {} }] }
    const turns = first.turn ? [first.turn] : []
    const follow = (...more: JsonObject[]) =>
      played({ request: { ...request, messages: [user('list my pages'), assistant, ...more] }, turns }, done).json[0]
    const result = { type: 'tool_result', tool_use_id: 'toolu_a_0_1' }
    const last = (body: JsonObject | undefined) => Array.isArray(body?.messages) && body.messages.at(-1)
    expect(last(follow(user('never mind')))).toMatchObject({ content: [result, { type: 'text', text: 'never mind' }] })
    expect(last(follow(user(' ')))).toMatchObject({ role: 'user', content: [result] })
    expect(last(follow())).toMatchObject({ role: 'user', content: [result] })
  })
})

describe('stored turns in a history', () => {
  const turn = played({}, round('tool_use', { is: 'thinking', text: 'hm' }, text('Looking.'), find), done).turn
  const next = (content: JsonValue) =>
    played(
      {
        request: { ...request, messages: [user('list my pages'), { role: 'assistant', content }, user('go on')] },
        turns: turn ? [turn] : [],
      },
      done,
    ).json[0]

  test('a client that keeps all text as one gets the call in front of it', () => {
    for (const content of ['Looking.\n\nDone.', [{ type: 'text', text: 'Looking.Done.' }]]) {
      expect(next(content)?.messages).toMatchObject([
        user('list my pages'),
        { role: 'assistant', content: [{ type: 'tool_use' }] },
        { role: 'user', content: [{ type: 'tool_result' }] },
        { role: 'assistant', content },
        user('go on'),
      ])
    }
  })

  test('a history that has lost its beginning still has the turn', () => {
    const { turn: late } = played(
      { request: { ...request, messages: [user('first'), { role: 'assistant', content: 'Yes.' }, user('go on')] } },
      round('tool_use', find),
      done,
    )
    const messages = [user('go on'), { role: 'assistant', content: 'Done.' }, user('and on')]
    const [body] = played({ request: { ...request, messages }, turns: late ? [late] : [] }, done).json
    expect(body?.messages).toHaveLength(5)
  })

  test('a history with other words of the model stays as it is', () => {
    expect(next('Something else.')?.messages).toHaveLength(3)
  })

  test('turns of other APIs and of another shape are left alone', () => {
    const messages = [user('list my pages'), { role: 'assistant', content: 'Looking. Done.' }, user('go on')]
    for (const bad of [
      { ...turn, api: 'other' },
      { ...turn, rounds: [{ x: 1 }] },
    ]) {
      const turns = [bad] as HiddenTurn[] // as another version stored them
      expect(played({ request: { ...request, messages }, turns }, done).json[0]?.messages).toEqual(messages)
    }
  })
})
