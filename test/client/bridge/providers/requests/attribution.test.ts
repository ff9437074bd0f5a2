import type { IncomingHttpHeaders } from 'node:http'
import { describe, expect, test } from 'vitest'
import { readAnthropicRequest } from '../../../../../client/bridge/providers/requests/anthropic-request.js'
import { attributionOf } from '../../../../../client/bridge/providers/requests/attribution.js'
import { readChatRequest } from '../../../../../client/bridge/providers/requests/chat-request.js'
import { readResponsesRequest } from '../../../../../client/bridge/providers/requests/responses-request.js'
import { isInternalRequestKind } from '../../../../../shared/contract/request-kinds.js'
import type { JsonObject } from '../../../../../shared/values/text.js'
import { fc } from '../../../../fixtures/random.js'

const turn = (fields: JsonObject) => ({ 'x-codex-turn-metadata': JSON.stringify(fields) })

test.each<[string, IncomingHttpHeaders, JsonObject | undefined]>([
  ['no client', {}, undefined],
  [
    'Claude Code 2.1.332, a sub-agent without hints',
    { 'x-claude-code-agent-id': 'a3003ec7983870911', 'x-claude-code-parent-agent-id': 'a1' },
    { agent_id: 'a3003ec7983870911', parent_agent_id: 'a1', request_kind: 'subagent' },
  ],
  [
    'Claude Code 2.1.332 with CLAUDE_CODE_GATEWAY_HINT_HEADERS',
    {
      'x-claude-code-agent-id': 'a2',
      'x-claude-code-agent-type': 'Explore',
      'x-claude-code-prompt-id': 'p',
      'x-claude-code-request-class': 'workflow',
      'x-claude-code-prev-tool-durations': 'Bash=742;Read=9;mcp__wiki__search=3',
    },
    {
      agent_id: 'a2',
      agent_type: 'Explore',
      prompt_id: 'p',
      request_kind: 'workflow',
      tool_durations: [
        { tool: 'Bash', ms: 742 },
        { tool: 'Read', ms: 9 },
        { tool: 'mcp__wiki__search', ms: 3 },
      ],
    },
  ],
  [
    'Claude Code 2.1.332, a compaction',
    { 'x-claude-code-request-class': 'main', 'x-claude-code-compaction': 'auto' },
    { request_kind: 'compaction' },
  ],
  [
    'Codex 0.171.0, a turn',
    turn({ thread_id: 's', turn_id: 't', root_turn_id: 't', request_kind: 'turn', thread_source: 'user' }),
    { prompt_id: 't', request_kind: 'turn' },
  ],
  [
    'Codex 0.171.0, a thread of another',
    {
      'x-codex-parent-thread-id': 's',
      'x-openai-subagent': 'collab_spawn',
      ...turn({ thread_id: 'c', turn_id: 't2', root_turn_id: 't', parent_thread_id: 's', request_kind: 'turn' }),
    },
    {
      agent_id: 'c',
      parent_agent_id: 's',
      prompt_id: 't',
      agent_type: 'collab_spawn',
      request_kind: 'subagent',
    },
  ],
  [
    'Codex without the headers beside its metadata',
    turn({ thread_id: 'c', parent_thread_id: 's', subagent_kind: 'review', request_kind: 'compaction' }),
    { agent_id: 'c', parent_agent_id: 's', agent_type: 'review', request_kind: 'compaction' },
  ],
  ['Codex, older', { 'x-openai-subagent': 'compact' }, { agent_type: 'compact', request_kind: 'compaction' }],
  [
    'Copilot CLI 1.0.102, a prompt',
    { 'x-initiator': 'user', 'x-interaction-type': 'conversation-user' },
    { request_kind: 'user' },
  ],
  ['Copilot CLI 1.0.102, a further step', { 'x-initiator': 'agent' }, { request_kind: 'agent' }],
  [
    'Copilot, a sub-agent',
    { 'x-initiator': 'agent', 'x-interaction-type': 'conversation-subagent' },
    { request_kind: 'subagent' },
  ],
])('the metadata of %s', (_, headers, metadata) => {
  expect(attributionOf(headers, undefined)).toEqual(metadata)
})

describe('bad values', () => {
  test.each<[string, IncomingHttpHeaders, JsonObject | undefined]>([
    ['a sentence', { 'x-claude-code-agent-type': 'words of a person' }, undefined],
    ['blanks', { 'x-claude-code-agent-id': ' ' }, undefined],
    ['a control character', { 'x-claude-code-prompt-id': 'a\u0000b' }, undefined],
    ['a long id', { 'x-claude-code-prompt-id': 'a'.repeat(10_000) }, { prompt_id: 'a'.repeat(256) }],
    ['metadata that are no JSON', { 'x-codex-turn-metadata': '{"turn_id"' }, undefined],
    ['metadata that are no object', { 'x-codex-turn-metadata': '["turn_id"]' }, undefined],
    ['metadata of other types', turn({ turn_id: 7, request_kind: { a: 1 } }), undefined],
    ['durations of words', { 'x-claude-code-prev-tool-durations': 'my tool=1;Read=fast;=3;Bash=1e9' }, undefined],
  ])('%s leaves nothing but what fits', (_, headers, metadata) => {
    expect(attributionOf(headers, undefined)).toEqual(metadata)
  })

  test('durations are bounded', () => {
    const text = Array.from({ length: 10_000 }, (_, n) => `t${n}=1`).join(';')
    expect(attributionOf({ 'x-claude-code-prev-tool-durations': text }, undefined)?.tool_durations).toHaveLength(64)
  })

  test('no header makes words or a large object', () => {
    const names = fc.constantFrom(
      'x-claude-code-agent-id',
      'x-claude-code-agent-type',
      'x-claude-code-request-class',
      'x-claude-code-prev-tool-durations',
      'x-codex-turn-metadata',
      'x-openai-subagent',
      'x-initiator',
    )
    fc.assert(
      fc.property(fc.dictionary(names, fc.oneof(fc.string({ maxLength: 3_000 }), fc.json())), headers => {
        const text = JSON.stringify(attributionOf(headers, undefined) ?? {})
        expect(text).not.toMatch(/\s/)
        expect(text.length).toBeLessThan(40_000)
      }),
    )
  })
})

const opencode = { 'user-agent': 'opencode/1.18.33' }
const claude = { 'user-agent': 'claude-cli/2.1.332', 'x-claude-code-session-id': 's' }
const said = (content: string, system?: string): JsonObject => ({
  ...(system === undefined ? {} : { system }),
  messages: [{ role: 'user', content }],
})

test.each<[string, JsonObject, IncomingHttpHeaders, string | undefined]>([
  [
    "OpenCode's title",
    said('Say hello.', 'You are a title generator. You output ONLY a thread title.'),
    opencode,
    'title',
  ],
  ["Claude Code's title", said('Say hello.', 'Generate a concise, sentence-case title (3-7 words)'), claude, 'title'],
  ["Claude Code's suggestion", said('[SUGGESTION MODE: Suggest what the user might type next]'), claude, 'suggestion'],
  [
    "Claude Code's compaction",
    said('Your task is to create a detailed summary of the conversation so far, paying close attention to x'),
    claude,
    'compaction',
  ],
  ["Claude Code's probe", { max_tokens: 1, ...said('quota') }, claude, 'quota'],
  [
    "Crush's title",
    said('Say hello.', '- you will generate a short title based on the first message'),
    { 'user-agent': 'Charm-Crush/0.9' },
    'title',
  ],
  ["an SDK's title", said('Say hello.', 'You are a title generator.'), {}, undefined],
  ["the user's wish for a title", said('You are a title generator, Claude.'), claude, undefined],
  ['the word quota', { max_tokens: 100, ...said('quota') }, claude, undefined],
])('the kind of %s is recognised by its texts', (_, body, headers, kind) => {
  expect(readAnthropicRequest(body, headers).metadata?.request_kind).toBe(kind)
  expect(kind === undefined || isInternalRequestKind(kind)).toBe(true)
})

test('a title in the forms of OpenAI is recognised', () => {
  const system = 'You are a title generator. You output ONLY a thread title.'
  const messages = [
    { role: 'system', content: system },
    { role: 'user', content: 'Generate a title for this conversation:\n' },
    { role: 'user', content: 'Say hello.' },
  ]
  const expected = { prompt: 'Say hello.', metadata: { request_kind: 'title' } }
  expect(readChatRequest({ messages }, opencode)).toMatchObject(expected)
  expect(readResponsesRequest({ input: messages }, opencode)).toMatchObject(expected)
  expect(readResponsesRequest({ input: messages.slice(1), instructions: system }, opencode)).toMatchObject(expected)
})

test('a request that ends with a trigger of a compaction is one', () => {
  const input = [{ role: 'user', content: 'a' }, { type: 'compaction_trigger' }]
  expect(readResponsesRequest({ input }, {})).toMatchObject({ prompt: 'a', metadata: { request_kind: 'compaction' } })
})

test('the class of the request in a header wins, unless it is the one for everything else', () => {
  const body = said('[SUGGESTION MODE: x]')
  const kind = (value: string) =>
    readAnthropicRequest(body, { ...claude, 'x-claude-code-request-class': value }).metadata?.request_kind
  expect(kind('main')).toBe('main')
  expect(kind('auxiliary')).toBe('suggestion')
})
