import type { IncomingHttpHeaders } from 'node:http'
import { describe, expect, test } from 'vitest'
import { readAnthropicRequest } from '../../../../../client/bridge/providers/requests/anthropic-request.js'
import { readChatRequest } from '../../../../../client/bridge/providers/requests/chat-request.js'
import { readResponsesRequest } from '../../../../../client/bridge/providers/requests/responses-request.js'
import { recordLimits } from '../../../../../shared/contract/limits.js'
import { isPlainObject, type JsonObject, type JsonValue } from '../../../../../shared/values/text.js'
import { fc } from '../../../../fixtures/random.js'

/** A message of the user or the model, in the words of no API. */
interface Said {
  by: 'user' | 'model' | 'developer'
  texts: string[]
}

/** The APIs: how each writes a conversation, and its reader. */
const apis = [
  {
    api: 'Messages',
    body: (said: readonly Said[]): JsonObject => ({
      model: 'm',
      messages: said.map(({ by, texts }) => ({
        role: by === 'model' ? 'assistant' : by === 'developer' ? 'system' : 'user',
        content: texts.map(text => ({ type: 'text', text })),
      })),
    }),
    read: readAnthropicRequest,
  },
  {
    api: 'Chat Completions',
    body: (said: readonly Said[]): JsonObject => ({
      model: 'm',
      messages: said.map(({ by, texts }) => ({
        role: by === 'model' ? 'assistant' : by === 'developer' ? 'system' : 'user',
        content: texts.map(text => ({ type: 'text', text })),
      })),
    }),
    read: readChatRequest,
  },
  {
    api: 'Responses',
    body: (said: readonly Said[]): JsonObject => ({
      model: 'm',
      input: said.map(({ by, texts }) => ({
        type: 'message',
        role: by === 'model' ? 'assistant' : by === 'developer' ? 'developer' : 'user',
        content: texts.map(text => ({ type: by === 'model' ? 'output_text' : 'input_text', text })),
      })),
    }),
    read: readResponsesRequest,
  },
] as const

const user = (...texts: string[]): Said => ({ by: 'user', texts })
const model = (...texts: string[]): Said => ({ by: 'model', texts })

const claude: IncomingHttpHeaders = { 'user-agent': 'claude-cli/2.1.332', 'x-claude-code-session-id': 's' }
const codex: IncomingHttpHeaders = { 'user-agent': 'codex_exec/0.171.0' }
const vscode: IncomingHttpHeaders = { 'user-agent': 'GitHubCopilotChat/0.35.0' }
const cline: IncomingHttpHeaders = { 'user-agent': 'Cline/3.38.1' }

describe.each(apis)('$api', ({ body, read }) => {
  const prompt = (headers: IncomingHttpHeaders, ...said: Said[]) => read(body(said), headers).prompt

  // The shapes that the clients of these versions send around the words `Say hello.`
  test.each<[string, IncomingHttpHeaders, Said[]]>([
    ['Claude Code 2.1.332', claude, [user('<system-reminder>\nx\n</system-reminder>\n', 'Say hello.')]],
    [
      'Claude Code with notes of its editor',
      claude,
      [user('<ide_opened_file>a.ts</ide_opened_file>', 'Say hello.', '<ide_selection>b</ide_selection>')],
    ],
    [
      'Claude Code after an interruption',
      claude,
      [user('[Request interrupted by user for tool use]'), user('Say hello.')],
    ],
    [
      'Codex 0.171.0',
      codex,
      [
        user('# AGENTS.md instructions for /w\n\n<INSTRUCTIONS>\nx\n</INSTRUCTIONS>'),
        user('<environment_context>\n  <cwd>/w</cwd>\n</environment_context>'),
        user('Say hello.'),
      ],
    ],
    [
      'Codex with its context behind the words',
      codex,
      [user('Say hello.'), user('<environment_context>\n<cwd>/w</cwd>\n</environment_context>')],
    ],
    ['Codex with a picture', codex, [user('Say hello.', '<image name=[Image #1]>', '</image>')]],
    [
      'OpenCode 1.18.33, plan',
      { 'user-agent': 'opencode/1.18.33' },
      [user('Say hello.', '<system-reminder>\nx\n</system-reminder>')],
    ],
    [
      'Kilo 7.7.7',
      { 'user-agent': 'Kilo-Code/7.7.7' },
      [user('Say hello.', '\n\n<environment_details>\nx\n</environment_details>')],
    ],
    [
      'Copilot CLI 1.0.102',
      { 'user-agent': 'OpenAI/JS 5.20.1', 'x-initiator': 'user' },
      [user('<current_datetime>2026-11-30T06:28:20.761+00:00</current_datetime>\n\nSay hello.')],
    ],
    [
      'Copilot CLI with reminders',
      { 'user-agent': 'OpenAI/JS 5.20.1', 'x-initiator': 'user' },
      [
        user(
          '<current_datetime>x</current_datetime>\n\nSay hello.\n\n<system_reminder>\nx\n</system_reminder>\n<system_notification>y</system_notification>\n',
        ),
      ],
    ],
    [
      'Qwen Code 0.24.4',
      { 'user-agent': 'QwenCode/0.24.4 (linux; x64)' },
      [user('<system-reminder>\na\n</system-reminder>', '<system-reminder>\nb\n</system-reminder>', 'Say hello.')],
    ],
    [
      'goose 1.52.0',
      { 'agent-session-id': 's' },
      [user('Say hello.', '<turn-context>\n<current-time>x</current-time>\n</turn-context>')],
    ],
    ['pi 1.6.0', { 'user-agent': 'pi/1.6.0' }, [user('Say hello.')]],
    [
      'droid 0.215.0',
      { 'user-agent': 'factory-cli/0.215.0' },
      [user('<system-reminder>\na\n</system-reminder>', '<system-reminder>b</system-reminder>'), user('Say hello.')],
    ],
    ['Crush', { 'user-agent': 'Charm-Crush/0.9' }, [user('Say hello.', '<system_reminder>x</system_reminder>')]],
    [
      'Gemini CLI',
      { 'user-agent': 'GeminiCLI/0.20.0' },
      [user('<session_context>\nx\n</session_context>'), user('Say hello.')],
    ],
    [
      'Cline',
      cline,
      [user('<task>\nSay hello.\n</task>', '\n# Progress\n\nx', '<environment_details>\nx\n</environment_details>')],
    ],
    [
      'Roo Code',
      { 'user-agent': 'RooCode/3.30.0' },
      [user('<user_message>\nSay hello.\n</user_message>', '<environment_details>\nx\n</environment_details>')],
    ],
    [
      'Copilot in VS Code',
      vscode,
      [
        user('<environment_info>\nx\n</environment_info>\n<workspace_info>\ny\n</workspace_info>'),
        user(
          '<context>\nx\n</context>\n<reminderInstructions>\ny\n</reminderInstructions>\n<userRequest>\nSay hello.\n</userRequest>\n',
        ),
      ],
    ],
    [
      'Cursor',
      { 'x-cursor-client-version': '1' },
      [user('<additional_data>\nx\n</additional_data>\n<user_query>\nSay hello.\n</user_query>')],
    ],
    ['Zed', { 'user-agent': 'Zed/0.200.0' }, [user('Say hello.\n<context>\nx\n</context>')]],
    ['an SDK', {}, [user('Say hello.')]],
  ])('the words are the prompt of %s', (_, headers, said) => {
    expect(prompt(headers, ...said)).toBe('Say hello.')
    expect(prompt(headers, model('Welcome.'), ...said, { by: 'developer', texts: ['Be brief.'] })).toBe('Say hello.')
  })

  test.each<[string, IncomingHttpHeaders, Said[], string | undefined]>([
    ['XML of an SDK', {}, [user('<task>a</task>')], '<task>a</task>'],
    ['XML behind other XML of an SDK', {}, [user('<data>a</data>', '<task>b</task>')], '<task>b</task>'],
    ['XML alone of a recognised client', claude, [user('<task>a</task>')], '<task>a</task>'],
    ['words beside XML of a recognised client', claude, [user('a', '<plan>b</plan>')], 'a'],
    ['words around XML of a recognised client', claude, [user('a <plan>b</plan>')], 'a <plan>b</plan>'],
    ['two elements of a recognised client', claude, [user('<a>x</a> and <a>y</a>')], '<a>x</a> and <a>y</a>'],
    ['a reminder alone', {}, [user('<system-reminder>a</system-reminder>')], '<system-reminder>a</system-reminder>'],
    [
      'a tag inside the words',
      {},
      [user('why <system-reminder>a</system-reminder> here?')],
      'why <system-reminder>a</system-reminder> here?',
    ],
    ['an unclosed reminder', {}, [user('<system-reminder>a')], '<system-reminder>a'],
    ['an unopened reminder', {}, [user('a</system-reminder>')], 'a</system-reminder>'],
    [
      'a reminder that quotes its tag',
      {},
      [user('<system-reminder>a <system-reminder> b</system-reminder>\n\nc')],
      'c',
    ],
    ['a reminder in capitals', {}, [user('<SYSTEM-REMINDER>a</SYSTEM-REMINDER>b')], 'b'],
    ['a reminder with attributes', {}, [user('<system-reminder kind="x">a</system-reminder>b')], 'b'],
    ['blanks at its ends', {}, [user(' a\n')], ' a\n'],
    ['blanks alone', {}, [user('a', ' \n')], 'a'],
    ['several texts', {}, [user('a', 'b')], 'b'],
    ['several messages', {}, [user('a'), user('b')], 'b'],
    ['the last word of the model', {}, [user('a'), model('b')], undefined],
    ['nobody', {}, [], undefined],
    [
      'the summary of a compaction',
      claude,
      [user('This session is being continued from a previous conversation that ran out of context. Summary: x')],
      undefined,
    ],
    [
      'the summary of a compaction behind the messages that it keeps',
      codex,
      [
        user('a'),
        user('b'),
        user('Another language model started to solve this problem and produced a summary of its'),
      ],
      undefined,
    ],
    [
      'words behind the summary of a compaction',
      codex,
      [user('Another language model started to solve this problem and produced a summary of its work'), user('b')],
      'b',
    ],
  ])('the prompt of %s', (_, headers, said, expected) => {
    expect(prompt(headers, ...said)).toBe(expected)
  })
})

test('a text of many tags is read in linear time, and too many are no elements', () => {
  const read = (text: string, headers: IncomingHttpHeaders) =>
    readAnthropicRequest({ messages: [{ role: 'user', content: text }] }, headers).prompt
  const [open, close] = ['<system-reminder>', '</system-reminder>']
  const nested = `${open.repeat(4_000)}x${close.repeat(4_000)}`
  expect(read(`${nested}a${nested.slice(0, 2_000)}`, {})).toBe(`a${nested.slice(0, 2_000)}`)
  expect(read(`${(open + close).repeat(2_000)}a${(open + close).repeat(2_000)}`, {})).toBe('a')
  const hostile = [
    open.repeat(500_000),
    close.repeat(500_000),
    (open + close).repeat(300_000),
    (open + open + close).repeat(200_000),
    '<a>'.repeat(1_000_000),
    `<a>${'<a></a>'.repeat(500_000)}</a>`,
    '<'.repeat(5_000_000),
    `<a ${' '.repeat(5_000_000)}>`,
    `${'<a '.repeat(1_000_000)}>`,
  ]
  // Each takes milliseconds; reading them in quadratic time would take hours.
  const texts = Array.from({ length: 300_000 }, () => ({ type: 'text', text: '<a>b</a>' }))
  expect(readAnthropicRequest({ messages: [{ role: 'user', content: texts }] }, claude).prompt).toBe('<a>b</a>')
  // Of a longer text the part is kept that a record can hold.
  const kept = recordLimits.maxContentBytes
  for (const text of hostile) {
    for (const headers of [claude, cline, {}]) expect(read(text, headers) === text.slice(0, kept)).toBe(true)
  }
})

test('of a prompt that no record can hold the beginning and the size are kept', () => {
  const content = `é${'x'.repeat(recordLimits.maxContentBytes)}`
  const { prompt, promptBytes } = readAnthropicRequest({ messages: [{ role: 'user', content }] }, {})
  expect(content.startsWith(prompt ?? '-')).toBe(true)
  expect([prompt?.length, promptBytes]).toEqual([recordLimits.maxContentBytes, Buffer.byteLength(content)])
})

describe('results of tools', () => {
  const result = { type: 'tool_result', tool_use_id: 't', content: [{ type: 'text', text: 'x' }] }
  const text = (text: string) => ({ type: 'text', text })
  const messages = (...content: JsonValue[]): JsonObject => ({ messages: [{ role: 'user', content }] })

  test.each<[string, JsonObject, string | undefined, IncomingHttpHeaders]>([
    ['alone', messages(result), undefined, claude],
    ['with a reminder', messages(result, text('<system-reminder>x</system-reminder>')), undefined, claude],
    [
      "with goose's context",
      messages(result, text('<turn-context>x</turn-context>')),
      undefined,
      { 'agent-session-id': 's' },
    ],
    ['with words', messages(result, text('Stop.')), 'Stop.', claude],
    [
      'with words and a reminder',
      messages(result, text('Stop.'), text('<system-reminder>x</system-reminder>')),
      'Stop.',
      claude,
    ],
  ])('the prompt of results %s', (_, body, expected, headers) => {
    expect(readAnthropicRequest(body, headers)).toMatchObject({ prompt: expected, correlatingToolCallId: 't' })
    expect(readChatRequest(body, headers).prompt).toBe(expected)
  })

  test('words in front of the results of tools are those of an earlier request', () => {
    const said = { role: 'user', content: 'a' }
    const input = [said, { type: 'function_call_output', call_id: 't', output: 'x' }]
    expect(readResponsesRequest({ input }, {})).toMatchObject({ prompt: undefined, correlatingToolCallId: 't' })
    const chat = [said, { role: 'tool', tool_call_id: 't', content: 'x' }]
    expect(readChatRequest({ messages: chat }, {})).toMatchObject({ prompt: undefined, correlatingToolCallId: 't' })
  })

  test.each<[JsonObject, string]>([
    [{ type: 'function_call_output', call_id: 't' }, 't'],
    [{ type: 'custom_tool_call_output', call_id: 't' }, 't'],
    [{ type: 'computer_call_output', call_id: 't' }, 't'],
    [{ type: 'shell_call_output', call_id: 't' }, 't'],
    [{ type: 'apply_patch_call_output', call_id: 't' }, 't'],
    [{ type: 'tool_search_output', call_id: 't', execution: 'client' }, 't'],
    [{ type: 'local_shell_call_output', id: 't' }, 't'],
    [{ type: 'mcp_approval_response', approval_request_id: 't', approve: true }, 't'],
  ])('the item %j continues a call', (item, call) => {
    const input = [{ role: 'user', content: 'a' }, item, { type: 'configuration_update' }]
    expect(readResponsesRequest({ input }, {})).toMatchObject({ prompt: undefined, correlatingToolCallId: call })
  })

  test('of parallel results the last one with an id counts', () => {
    const input = [
      { type: 'function_call_output', call_id: 'a' },
      { type: 'tool_search_output', call_id: null },
    ]
    expect(readResponsesRequest({ input }, {}).correlatingToolCallId).toBe('a')
  })
})

test.each(['configuration_update', 'compaction_trigger', 'additional_tools', 'a_setting_of_next_year'])(
  'an item without speech does not hide the prompt: %s',
  type => {
    const input = [{ role: 'user', content: 'a' }, { type }, { type, role: 'developer' }]
    expect(readResponsesRequest({ input }, {}).prompt).toBe('a')
  },
)

test.each(['reasoning', 'item_reference', 'compaction', 'function_call', 'web_search_call', 'mcp_approval_request'])(
  "an item behind the user's words ends their turn: %s",
  type => {
    const input = [
      { role: 'user', content: 'a' },
      { type, content: [], call_id: 't' },
    ]
    expect(readResponsesRequest({ input }, {}).prompt).toBeUndefined()
  },
)

test('a body of Responses on the route of Chat Completions gives its prompt', () => {
  const input = [{ role: 'user', content: [{ type: 'input_text', text: '<user_query>\na\n</user_query>' }] }]
  expect(readChatRequest({ model: 'm', input }, { 'x-cursor-client-version': '1' }).prompt).toBe('a')
  expect(readChatRequest({ model: 'm', input: 'a' }, {}).prompt).toBe('a')
})

// Written from the vendors' pages, without the tables of the code:
// https://code.claude.com/docs/en/hooks (system-reminder), https://developers.openai.com/codex (environment_context),
// https://docs.github.com/en/copilot (current_datetime), https://block.github.io/goose (turn-context),
// https://kilocode.ai/docs and https://docs.cline.bot (environment_details).
const tag = fc.constantFrom(
  'system-reminder',
  'system_reminder',
  'environment_context',
  'environment_details',
  'current_datetime',
  'turn-context',
)
const inner = fc.stringMatching(/^[a-z0-9 :,.\n]{0,20}$/)
const blank = fc.stringMatching(/^[ \n]{0,3}$/)
/** An element with elements in it, up to three levels. */
const element: fc.Arbitrary<string> = fc.letrec<{ element: string; content: string }>(tie => ({
  element: fc.tuple(tag, tie('content')).map(([name, content]) => `<${name}>${content}</${name}>`),
  content: fc.oneof(
    { maxDepth: 3 },
    inner,
    fc.tuple(inner, tie('element'), inner).map(parts => parts.join('')),
  ),
})).element
const words = fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9 ]{0,20}[a-z?.]$/)
const elements = fc.array(
  fc.tuple(element, blank).map(parts => parts.join('')),
  { maxLength: 3 },
)

describe.each(apis)('$api: any order, any nesting', ({ api, body, read }) => {
  test('elements around the words, in the same text, message or in others, leave the prompt as it is', () => {
    const before = fc.array(element, { maxLength: 3 })
    fc.assert(
      fc.property(
        words,
        elements,
        elements,
        before,
        before,
        fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }),
        (prompt, leading, trailing, earlier, later, splits) => {
          const texts = [...earlier, `${leading.join('')}${prompt}${trailing.join('')}`, ...later]
          // A split begins another message.
          const said: Said[] = [user()]
          for (const [at, text] of texts.entries()) {
            if (splits[at]) said.push(user())
            said.at(-1)?.texts.push(text)
          }
          const spoken = said.filter(({ texts }) => texts.length > 0)
          expect(read(body([user('older'), model('done'), ...spoken]), {}).prompt).toBe(prompt)
        },
      ),
    )
  })

  test('items without speech between and behind the words leave the prompt as it is', () => {
    const silent = fc.constantFrom<JsonObject>(
      ...(api === 'Responses'
        ? [
            { type: 'configuration_update', reasoning: { effort: 'low' } },
            { type: 'additional_tools', role: 'developer', tools: [] },
            { type: 'message', role: 'developer', content: [{ type: 'input_text', text: 'Be brief.' }] },
          ]
        : [
            { role: 'system', content: 'Be brief.' },
            { role: 'developer', content: [{ type: 'text', text: 'Be brief.' }] },
          ]),
    )
    fc.assert(
      fc.property(
        words,
        fc.array(silent, { maxLength: 3 }),
        fc.array(silent, { maxLength: 3 }),
        (prompt, some, more) => {
          const whole = body([model('done'), user(prompt)])
          const name = api === 'Responses' ? 'input' : 'messages'
          const items = whole[name]
          const [first = null, last = null] = Array.isArray(items) ? items : []
          expect(read({ ...whole, [name]: [first, ...some, last, ...more] }, {}).prompt).toBe(prompt)
        },
      ),
    )
  })

  test('any JSON is read without an error', () => {
    fc.assert(
      fc.property(fc.jsonValue(), json => {
        const value = json as JsonValue // made for JSON
        read(isPlainObject(value) ? (value as JsonObject) : { messages: value, input: value, system: value }, {})
        read(body([user('a')]), {})
      }),
    )
  })
})
