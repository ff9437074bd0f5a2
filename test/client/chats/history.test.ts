/** Histories as the providers get them: the requests that reach a stand-in, through a real bridge. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createChatModels } from '../../../client/chats/chat-models.js'
import { fileBlock } from '../../../client/chats/user-text.js'
import type { HistoryMessage, ModelRequest } from '../../../server/services/chats/model.js'
import { leavesNothing } from '../../fixtures/leaves-nothing.js'
import { eventStream, json, type StandInProvider, startProvider } from '../../fixtures/provider.js'
import { anthropicProvider, openaiProvider, type RunningBridge, startBridge } from '../bridge/running-bridge.js'
import { scriptedControlPlane } from '../bridge/scripted-control-plane.js'
import { type ModelRow, modelRows, requestFor } from './model-rows.js'

const [anthropic, responses, chat] = modelRows as [ModelRow, ModelRow, ModelRow] // the three rows of the table

const file = { type: 'file-reference', name: 'a "b".md', startLine: 3, endLine: 4, content: '```js\nx\n```' } as const
const block = 'File "a \\"b\\".md", lines 3-4:\n````\n```js\nx\n```\n````'
const execute = {
  name: 'execute',
  description: 'runs',
  inputSchema: { type: 'object' as const, properties: { command: { type: 'string' } } },
}

describe('the history of a chat', () => {
  leavesNothing()
  let provider: StandInProvider
  let bridge: RunningBridge

  beforeEach(async () => {
    provider = await startProvider()
    bridge = await startBridge(
      scriptedControlPlane([
        anthropicProvider(provider.url),
        openaiProvider(provider.url),
        openaiProvider(provider.url, { name: 'other' }),
      ]),
      { outboxFlushMs: 50 },
    )
  })
  afterEach(async () => {
    await bridge.close()
    await provider.close()
    expect(provider.unexpected).toBe(0)
  })

  function call(row: ModelRow, changes: Partial<ModelRequest>) {
    return createChatModels({ daemon: bridge.daemon }).call(requestFor(row, changes), {
      signal: new AbortController().signal,
      onPart: () => {},
      onInterception: () => {},
    })
  }

  /** Returns the body of the newest request at the provider. */
  const sent = (): Record<string, unknown> => JSON.parse(provider.calls.at(-1)?.body.toString() ?? '')

  /** Returns the body of a request with a history. */
  async function bodyOf(row: ModelRow, changes: Partial<ModelRequest>) {
    provider.respondWith(eventStream(row.stream('short')))
    await call(row, changes)
    return sent()
  }

  /** A turn with a thought of the provider itself, made by the provider's own response. */
  async function turnOf(row: ModelRow): Promise<HistoryMessage[]> {
    provider.respondWith(eventStream(row.stream('everything')))
    const { parts } = await call(row, {})
    const results = parts.flatMap(part =>
      part.type === 'tool-call'
        ? [
            {
              type: 'tool-result' as const,
              toolCallId: part.toolCallId,
              toolName: part.toolName,
              output: `of ${part.toolCallId}`,
              isError: part.toolName === 'Status',
            },
          ]
        : [],
    )
    return [
      { role: 'user', parts: [{ type: 'text', text: 'look' }, file] },
      { role: 'assistant', parts },
      { role: 'tool', parts: results },
    ]
  }

  test('Anthropic gets the signed thoughts, the calls and the results as they were', async () => {
    const messages = await turnOf(anthropic)
    expect(await bodyOf(anthropic, { messages, system: 'Be brief.', tools: [execute] })).toEqual({
      model: 'model-1',
      max_tokens: 32_000,
      stream: true,
      system: 'Be brief.',
      tools: [{ name: 'execute', description: 'runs', input_schema: execute.inputSchema }],
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'look' },
            { type: 'text', text: block },
          ],
        },
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: 'Zwei Dateien → zwei Aufrufe', signature: 'c2ln' },
            { type: 'redacted_thinking', data: 'c2VjcmV0' },
            { type: 'tool_use', id: 'toolu_a', name: 'Read', input: { path: '/tmp/a b"c', id: 12345678901234567000 } },
            { type: 'tool_use', id: 'toolu_b', name: 'Status', input: {} },
          ],
        },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 'toolu_a', content: 'of toolu_a', is_error: false },
            {
              type: 'tool_result',
              tool_use_id: 'toolu_b',
              content: 'of toolu_b',
              is_error: true,
              cache_control: { type: 'ephemeral' },
            },
          ],
        },
      ],
    })
  })

  test('Responses gets the encrypted thoughts, the phases, the calls and the results as they were', async () => {
    const messages = await turnOf(responses)
    const body = await bodyOf(responses, { messages, system: 'Be brief.', tools: [execute] })
    expect(body).toMatchObject({
      instructions: 'Be brief.',
      store: false,
      include: ['reasoning.encrypted_content'],
      tools: [
        { type: 'function', name: 'execute', description: 'runs', parameters: execute.inputSchema, strict: false },
      ],
    })
    expect(body.input).toEqual([
      {
        type: 'message',
        role: 'user',
        content: [
          { type: 'input_text', text: 'look' },
          { type: 'input_text', text: block },
        ],
      },
      {
        type: 'reasoning',
        id: 'rs_1',
        summary: [
          { type: 'summary_text', text: '**First** → think' },
          { type: 'summary_text', text: 'Then act' },
        ],
        encrypted_content: 'AAAA',
      },
      {
        type: 'message',
        role: 'assistant',
        content: [{ type: 'output_text', text: 'I will look.' }],
        phase: 'commentary',
      },
      {
        type: 'function_call',
        call_id: 'call_a',
        name: 'weather',
        arguments: '{"city": "Zürich \\"x\\"","n":12345678901234567890}',
      },
      { type: 'function_call', call_id: 'call_b', name: 'weather', arguments: '{"city":"東京"}' },
      { type: 'function_call', call_id: 'call_c', name: 'patch', arguments: '*** Begin\n+ "quoted"\n*** End' },
      { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'Done.' }], phase: 'final_answer' },
      ...['call_a', 'call_b', 'call_c'].map(id => ({ type: 'function_call_output', call_id: id, output: `of ${id}` })),
    ])
  })

  test('Chat Completions gets the calls and the results as they were', async () => {
    const messages = await turnOf(chat)
    const { messages: sentMessages, ...body } = await bodyOf(chat, { messages, system: 'Be brief.', tools: [execute] })
    expect(body).toEqual({
      model: 'model-1',
      stream: true,
      stream_options: { include_usage: true },
      tools: [
        { type: 'function', function: { name: 'execute', description: 'runs', parameters: execute.inputSchema } },
      ],
    })
    expect(sentMessages).toMatchObject([
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: `look\n\n${block}` },
      { role: 'assistant', content: null, tool_calls: [{ id: 'call_a' }, { id: 'call_b' }, { id: 'call_c' }] },
      { role: 'tool', tool_call_id: 'call_a', content: 'of call_a' },
      { role: 'tool', tool_call_id: 'call_b' },
      { role: 'tool', tool_call_id: 'call_c' },
    ])
  })

  test("thoughts of Chat Completions go back within their turn, with Google's signature of a call", async () => {
    const extra = { google: { thought_signature: 'c2ln' } }
    const call_ = { index: 0, id: 'call_1', function: { name: 'execute', arguments: '{}' }, extra_content: extra }
    const deltas = [{ reasoning_content: 'Hm' }, { reasoning_content: 'm.' }, { tool_calls: [call_] }]
    const chunks = [
      ...deltas.map(delta => ({ choices: [{ index: 0, delta }] })),
      { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] },
    ]
    provider.respondWith(eventStream(chunks.map(chunk => `data: ${JSON.stringify(chunk)}\n\n`).join('')))
    const { parts, finishReason } = await call(chat, {})
    expect(finishReason).toBe('tool_calls')
    expect(parts).toMatchObject([{ type: 'reasoning', text: 'Hmm.' }, { type: 'tool-call' }])
    const user: HistoryMessage = { role: 'user', parts: [{ type: 'text', text: 'x' }] }
    const turn: HistoryMessage[] = [user, { role: 'assistant', parts }]
    const inTurn = await bodyOf(chat, { messages: turn })
    expect(inTurn.messages).toMatchObject([{}, { reasoning_content: 'Hmm.', tool_calls: [{ extra_content: extra }] }])
    const later = await bodyOf(chat, { messages: [...turn, user] })
    expect(JSON.stringify(later)).not.toContain('Hmm.')
    expect(later.messages).toMatchObject([{}, { tool_calls: [{ extra_content: extra }] }, {}])
  })

  test.each(modelRows)("another provider or API gets nothing of $api's internal text", async from => {
    const messages = await turnOf(from)
    for (const to of modelRows) {
      const provider = to === from ? 'other' : to.provider
      if (provider === 'other' && from === anthropic) continue
      const body = JSON.stringify(await bodyOf({ ...to, provider: provider as ModelRow['provider'] }, { messages }))
      expect(body).not.toMatch(/c2ln|c2VjcmV0|AAAA|commentary|internal/)
      expect(body).toContain('look')
    }
  })

  test('internal text that is no JSON is dropped', async () => {
    const parts = [
      { type: 'reasoning' as const, text: 'Hm', internal: '{' },
      { type: 'text' as const, text: 'Yes' },
    ]
    const messages: HistoryMessage[] = [
      { role: 'user', parts: [{ type: 'text', text: 'x' }] },
      { role: 'assistant', parts },
    ]
    for (const row of modelRows) expect(JSON.stringify(await bodyOf(row, { messages }))).not.toContain('Hm')
  })

  test('a thought without its signature, and a message of thoughts alone, are no message of Anthropic', async () => {
    const user: HistoryMessage = { role: 'user', parts: [{ type: 'text', text: 'x' }] }
    const thought: HistoryMessage = { role: 'assistant', parts: [{ type: 'reasoning', text: 'Hm' }] }
    const { messages } = await bodyOf(anthropic, { messages: [user, thought, user] })
    expect(messages).toMatchObject([{ role: 'user', content: [{ text: 'x' }, { text: 'x' }] }])
  })

  test('a call whose input is no JSON object is shown to Anthropic as it is', async () => {
    const parts = [{ type: 'tool-call' as const, toolCallId: 't1', toolName: 'execute', input: '{"comm' }]
    const { messages } = await bodyOf(anthropic, { messages: [{ role: 'assistant', parts }] })
    expect(messages).toMatchObject([{ content: [{ type: 'tool_use', input: { invalid_json: '{"comm' } }] }])
  })

  const rejectionOf = (param: string) =>
    json({ error: { message: 'not supported', type: 'invalid_request_error', param, code: null } }, 400)
  const observers = { signal: new AbortController().signal, onPart: () => {}, onInterception: () => {} }

  test('a provider that rejects the question for thoughts gets requests without the question', async () => {
    const models = createChatModels({ daemon: bridge.daemon })
    provider.respondWith(rejectionOf('include'))
    for (let times = 0; times < 2; times++) {
      provider.respondWith(eventStream(responses.stream('short')))
      expect((await models.call(requestFor(responses), observers)).parts).toMatchObject([{ text: 'Hello there' }])
      expect(sent()).not.toHaveProperty('include')
    }
    expect(provider.calls).toHaveLength(3)
    // A second rejection is the caller's.
    provider.respondWith(rejectionOf('include'))
    await expect(models.call(requestFor(responses), observers)).rejects.toMatchObject({ kind: 'final' })
  })

  test('a provider that rejects the question for usage gets requests without the question', async () => {
    const models = createChatModels({ daemon: bridge.daemon })
    // The bridge asks too, once.
    provider.respondWith(rejectionOf('stream_options'), rejectionOf('stream_options'))
    for (let times = 0; times < 2; times++) {
      provider.respondWith(eventStream(chat.stream('short')))
      expect((await models.call(requestFor(chat), observers)).parts).toMatchObject([{ text: 'Hello there' }])
      expect(sent()).not.toHaveProperty('stream_options')
    }
    expect(provider.calls).toHaveLength(4)
  })
})

describe('the block of a file reference', () => {
  test.each([
    ['', '```'],
    ['`', '```'],
    ['a\n```\nb', '````'],
    ['`````', '``````'],
    ['```'.repeat(200_000), '`'.repeat(600_001)],
  ])('the fence is longer than any in the content', (content, fence) => {
    const text = fileBlock({ type: 'file-reference', name: 'a', startLine: 7, endLine: 7, content })
    expect(text.startsWith(`File "a", line 7:\n${fence}\n${content}`)).toBe(true)
    expect(text.endsWith(`\n${fence}`)).toBe(true)
  })
})
