import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { anthropicInjection as api } from '../../../../client/bridge/injection/anthropic.js'
import type { HiddenTurn } from '../../../../client/bridge/injection/injection-api.js'
import type { ToolResult } from '../../../../client/bridge/mcp/injected-tool.js'
import type { JsonObject, JsonValue } from '../../../../shared/values/text.js'
import { readTxtar, sectionOf } from '../../../fixtures/txtar.js'
import { conversationsBesideProject } from '../apis.js'
import { done, find, played, request, round, text, user } from './anthropic-play.js'
import { wikiTools } from './anthropic-provider.js'
import { dataOf, injected } from './play.js'

const prepared = (body: string, tools = wikiTools, turns: HiddenTurn[] = []) =>
  Buffer.concat(
    api.open({ json: JSON.parse(body), body: Buffer.from(body), tools, turns, mayAskForUsage: true }).body(),
  ).toString()

describe('tools are injected into requests', () => {
  test.each<[JsonObject, boolean]>([
    [{ messages: [] }, true],
    [{ messages: [], tools: null }, true],
    [{ messages: [], tools: [] }, true],
    [{ messages: [], tools: {} }, false],
    [{ messages: 'x' }, false],
    [{}, false],
  ])('%j may be injected into: %s', (json, may) => {
    expect(api.mayInject(json)).toBe(may)
  })

  const [tool] = [injected('bmcp_a')].map(one => ({
    name: one.fullName,
    description: one.description,
    input_schema: one.inputSchema,
  }))
  test.each<[string, string]>([
    [
      '{"messages":[]}',
      '{"messages":[],"tools":[TOOL],"tool_choice":{"type":"auto","disable_parallel_tool_use":true}}',
    ],
    [
      '{ "tools" : [ {"name":"b"} ], "tool_choice":null,"x":1.0,"messages":[]}',
      '{ "tools" : [ TOOL,{"name":"b"} ], "tool_choice":{"type":"auto","disable_parallel_tool_use":true},"x":1.0,"messages":[]}',
    ],
    [
      '{"tools":[],"tool_choice":{"type":"any"},"messages":[]}',
      '{"tools":[TOOL],"tool_choice":{"type":"any","disable_parallel_tool_use":true},"messages":[]}',
    ],
    [
      '{"tool_choice":{"type":"tool","name":"b","disable_parallel_tool_use":false},"messages":[]}',
      '{"tool_choice":{"type":"tool","name":"b","disable_parallel_tool_use":true},"messages":[],"tools":[TOOL]}',
    ],
    ['{"tool_choice":{"type":"none"},"messages":[]}', '{"tool_choice":{"type":"none"},"messages":[],"tools":[TOOL]}'],
    ['{"tool_choice":"auto","messages":[]}', '{"tool_choice":"auto","messages":[],"tools":[TOOL]}'],
  ])('%s', (body, expected) => {
    expect(prepared(body, [injected('bmcp_a')])).toBe(expected.replace('TOOL', JSON.stringify(tool)))
  })

  test('a request without tools to inject stays as it is', () => {
    const body = '{ "messages": [ {"role":"user","content":"a"} ] }'
    expect(prepared(body, [])).toBe(body)
  })

  test('equal requests become equal bodies', () => {
    const turn = played({}, round('tool_use', text('Looking.'), find), done).turn
    const body = JSON.stringify({
      ...request,
      messages: [
        user('list my pages'),
        {
          role: 'assistant',
          content: [
            { type: 'text', text: 'Looking.' },
            { type: 'text', text: 'Done.' },
          ],
        },
        user('go on'),
      ],
    })
    const stored: HiddenTurn[] = turn ? [JSON.parse(JSON.stringify(turn))] : []
    const bodies = Array.from({ length: 10 }, () => prepared(body, wikiTools, stored))
    expect(new Set(bodies).size).toBe(1)
    expect(bodies[0]).toContain('toolu_a_0_1')
  })

  test('the names of the client’s tools are known', () => {
    expect([...api.clientToolNames({ tools: [{ name: 'Read' }, { type: 'web_search', name: 'web' }, 7] })]).toEqual([
      'Read',
      'web',
    ])
  })
})

describe('the opening of a conversation', () => {
  const openingOf = (content: JsonValue) => api.openingOf({ messages: [user(content), user('later')] })

  test('marks of caches, blanks and elements of the client do not change an opening', () => {
    const block: JsonObject = { type: 'text', text: 'list my pages' }
    const marked = { ...block, text: ' list  my pages\n', cache_control: { type: 'ephemeral' } }
    const reminder = { type: 'text', text: '<system-reminder>Monday</system-reminder>' }
    const openings = ['list my pages', [block], [marked], [reminder, block]].map(openingOf)
    expect(new Set(openings).size).toBe(1)
  })

  test('other words or another picture are another opening', () => {
    const picture = (data: string) => [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data } }]
    const openings = ['a', 'b', picture('a'), picture('b')].map(openingOf)
    expect(new Set(openings).size).toBe(4)
  })

  test('a request without a message of the user has no opening', () => {
    expect(api.openingOf({ messages: [{ role: 'assistant', content: 'a' }] })).toBeUndefined()
    expect(api.openingOf({ messages: 'a' })).toBeUndefined()
  })
})

describe('the result of a call as the model gets it', () => {
  const image = (mimeType: string) => ({ type: 'image' as const, mimeType, base64: 'AA==' })
  const note = (mimeType: string) => ({ type: 'text', text: `(an image of type ${mimeType} is left out)` })
  test.each<[Partial<ToolResult>, object]>([
    [{ parts: [{ type: 'text', text: 'a' }] }, { content: [{ type: 'text', text: 'a' }] }],
    [{ parts: [{ type: 'text', text: ' ' }] }, { content: [{ type: 'text', text: '(no content)' }] }],
    [
      { parts: [image('image/png')] },
      { content: [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AA==' } }] },
    ],
    [{ parts: [image('image/tiff')] }, { content: [note('image/tiff')] }],
    [
      { isError: true, parts: [image('image/png')] },
      { is_error: true, content: [note('image/png')] },
    ],
  ])('%j', (result, expected) => {
    const given = { isError: false, parts: [], durationMs: 1, ...result }
    const { json } = played({ result: () => given }, round('tool_use', find), done)
    const { messages } = json[1] ?? {}
    const block = { type: 'tool_result', tool_use_id: 'toolu_a_0_0', ...expected }
    expect(Array.isArray(messages) && messages.at(-1)).toEqual(user([block] as JsonValue)) // JSON as it stands
  })
})

const recordedPath = join(conversationsBesideProject, 'anthropic', 'single_injected_tool.txtar')

describe.skipIf(!existsSync(recordedPath))('the recorded conversation with an injected tool', () => {
  test.each([
    ['streaming', true, 202],
    ['non-streaming', false, 204],
  ] as const)('%s: the client gets one message with the usage of both calls', (mode, stream, output) => {
    const txtar = readTxtar(recordedPath)
    const recorded: JsonObject = { ...JSON.parse(sectionOf(txtar, 'request')), stream }
    const tools = ['list_workspaces', 'list_templates'].map(name => injected(`bmcp_coder_coder_${name}`))
    const responses = [sectionOf(txtar, mode), sectionOf(txtar, `${mode}/tool-call`)]
    const { text: shown, ends, json } = played({ request: recorded, tools, responses })
    expect(ends.map(({ calls }) => calls.map(({ name, arguments: given }) => [name, given]))).toEqual([
      [['bmcp_coder_coder_list_workspaces', { owner: 'admin' }]],
      [],
    ])
    expect(json[1]?.messages).toMatchObject([
      { role: 'user' },
      { role: 'assistant', content: [{ type: 'text' }, { type: 'tool_use', input: { owner: 'admin' } }] },
      { role: 'user', content: [{ type: 'tool_result' }] },
    ])
    const message = stream
      ? JSON.parse(dataOf(shown).find(data => data.includes('message_delta')) ?? '')
      : JSON.parse(shown)
    expect(message.usage).toMatchObject({ input_tokens: 15_308, output_tokens: output })
    expect(shown).not.toContain('bmcp_')
  })
})
