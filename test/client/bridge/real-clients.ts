/**
 * Requests of real AI clients in their smallest form, as a table: headers and the shape of the body are the client's,
 * texts and ids are made up.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** One client in one version. */
export interface RealClient {
  client: string
  steps: ClientStep[]
}

/** A request, the provider's response, and the facts that are recorded of both. */
export interface ClientStep {
  /** path at the provider; Messages begin with `/v1/messages` */
  route: string
  headers?: Record<string, string>
  body: object
  answer: object
  expect: ExpectedRecord
}

/** The facts that a record must have; absent fields are not checked, a null is. */
export interface ExpectedRecord {
  client?: string | null
  clientSessionId?: string | null
  prompt?: string | null
  /** tool and call id */
  tools?: [string, string][]
  metadata?: Record<string, unknown>
  correlatingToolCallId?: string | null
  /** index of the step that this one continues; null for none */
  parentStep?: number | null
}

const messages = '/v1/messages'
const chat = '/v1/chat/completions'
const responses = '/v1/responses'

let answers = 0
const messageAnswer = (...content: object[]) => ({
  id: `msg_${++answers}`,
  type: 'message',
  role: 'assistant',
  model: 'm',
  content: content.length > 0 ? content : [{ type: 'text', text: 'Done.' }],
  stop_reason: content.length > 0 ? 'tool_use' : 'end_turn',
  usage: { input_tokens: 3, output_tokens: 2 },
})
const chatAnswer = () => ({
  id: `chat_${++answers}`,
  object: 'chat.completion',
  model: 'm',
  choices: [{ index: 0, message: { role: 'assistant', content: 'Done.' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
})
const responseAnswer = (id = `resp_${++answers}`, ...output: object[]) => ({
  id,
  object: 'response',
  status: 'completed',
  error: null,
  model: 'm',
  output,
  usage: { input_tokens: 3, output_tokens: 2, total_tokens: 5 },
})

const text = (text: string) => ({ type: 'text', text })
const inputText = (text: string) => ({ type: 'input_text', text })
const user = (...content: object[]) => ({ role: 'user', content })
const reminder = (words: string) => `<system-reminder>\n${words}\n</system-reminder>`

const claudeHeaders = {
  'user-agent': 'claude-cli/2.1.332 (external, sdk-cli)',
  'x-claude-code-session-id': 'claude-session',
  'x-app': 'cli',
}
const codexHeaders = {
  'user-agent': 'codex_exec/0.171.0 (Debian 12.0.0; x86_64) dumb (codex_exec; 0.171.0)',
  originator: 'codex_exec',
  'session-id': 'codex-session',
  'thread-id': 'codex-session',
}
const turn = (fields: object) => ({ 'x-codex-turn-metadata': JSON.stringify(fields) })

/** The clients, in the order of their first row. */
export const realClients: RealClient[] = [
  {
    client: 'Claude Code 2.1.332, a tool loop with hints for gateways',
    steps: [
      {
        route: messages,
        headers: { ...claudeHeaders, 'x-claude-code-request-class': 'main', 'x-claude-code-prompt-id': 'prompt-1' },
        body: {
          model: 'claude-sonnet-5',
          max_tokens: 9,
          messages: [
            user(text(reminder('Who wrote what.')), text('Read the note.')),
            { role: 'system', content: reminder('Where you are.') },
          ],
        },
        answer: messageAnswer({ type: 'tool_use', id: 'toolu_1', name: 'Read', input: { path: 'note' } }),
        expect: {
          client: 'Claude Code',
          clientSessionId: 'claude-session',
          prompt: 'Read the note.',
          tools: [['Read', 'toolu_1']],
          metadata: { request_kind: 'main', prompt_id: 'prompt-1' },
        },
      },
      {
        route: messages,
        headers: {
          ...claudeHeaders,
          'x-claude-code-request-class': 'main',
          'x-claude-code-prompt-id': 'prompt-1',
          'x-claude-code-prev-tool-durations': 'Read=9',
        },
        body: {
          model: 'claude-sonnet-5',
          max_tokens: 9,
          messages: [
            user(text('Read the note.')),
            { role: 'assistant', content: [{ type: 'tool_use', id: 'toolu_1', name: 'Read', input: {} }] },
            user({ type: 'tool_result', tool_use_id: 'toolu_1', content: 'The note.' }, text(reminder('Tokens left.'))),
            { role: 'system', content: [text(reminder('More tokens left.'))] },
          ],
        },
        answer: messageAnswer(),
        expect: {
          prompt: null,
          correlatingToolCallId: 'toolu_1',
          parentStep: 0,
          metadata: { tool_durations: [{ tool: 'Read', ms: 9 }] },
        },
      },
    ],
  },
  {
    client: 'Claude Code 2.1.332, a sub-agent',
    steps: [
      {
        route: messages,
        headers: { ...claudeHeaders, 'x-claude-code-agent-id': 'a1', 'x-claude-code-parent-agent-id': 'a0' },
        body: { model: 'claude-sonnet-5', max_tokens: 9, messages: [user(text('Look for notes.'))] },
        answer: messageAnswer(),
        expect: {
          prompt: 'Look for notes.',
          metadata: { agent_id: 'a1', parent_agent_id: 'a0', request_kind: 'subagent' },
        },
      },
    ],
  },
  {
    client: 'Messages with a thread of the provider',
    steps: [
      {
        route: messages,
        body: { model: 'm', max_tokens: 9, thread: { type: 'create' }, messages: [user(text('One.'))] },
        answer: { ...messageAnswer(), id: 'msg_thread_1' },
        expect: { prompt: 'One.', parentStep: null },
      },
      {
        route: messages,
        body: {
          model: 'm',
          max_tokens: 9,
          thread: { type: 'continue', previous_message_id: 'msg_thread_1' },
          messages: [user(text('Two.'))],
        },
        answer: messageAnswer(),
        expect: { prompt: 'Two.', parentStep: 0 },
      },
    ],
  },
  {
    client: 'Codex 0.171.0, settings behind the prompt',
    steps: [
      {
        route: responses,
        headers: { ...codexHeaders, ...turn({ turn_id: 't1', root_turn_id: 't1', request_kind: 'turn' }) },
        body: {
          model: 'gpt-5.5',
          prompt_cache_key: 'codex-session',
          input: [
            { type: 'additional_tools', role: 'developer', tools: [{ type: 'namespace', name: 'functions' }] },
            { type: 'message', role: 'developer', content: [inputText('You are Codex.')] },
            { type: 'message', ...user(inputText('<environment_context>\n  <cwd>/w</cwd>\n</environment_context>')) },
            { type: 'message', ...user(inputText('Read the note.')) },
            { type: 'configuration_update', reasoning: { effort: 'low' } },
          ],
        },
        answer: responseAnswer(),
        expect: {
          client: 'Codex',
          clientSessionId: 'codex-session',
          prompt: 'Read the note.',
          metadata: { prompt_id: 't1', request_kind: 'turn' },
        },
      },
    ],
  },
  {
    client: 'Codex 0.171.0, a thread of another thread',
    steps: [
      {
        route: responses,
        headers: {
          ...codexHeaders,
          'x-codex-parent-thread-id': 'codex-session',
          'x-openai-subagent': 'collab_spawn',
          ...turn({ thread_id: 'child', turn_id: 't2', root_turn_id: 't1', request_kind: 'turn' }),
        },
        body: { model: 'gpt-5.5', input: [{ type: 'message', ...user(inputText('Look for notes.')) }] },
        answer: responseAnswer(),
        expect: {
          metadata: {
            agent_id: 'child',
            parent_agent_id: 'codex-session',
            prompt_id: 't1',
            agent_type: 'collab_spawn',
            request_kind: 'subagent',
          },
        },
      },
    ],
  },
  {
    client: 'Codex 0.171.0, a search for tools that the client runs',
    steps: [
      {
        route: responses,
        headers: codexHeaders,
        body: {
          model: 'gpt-5.5',
          tools: [{ type: 'tool_search', execution: 'client' }],
          input: [{ type: 'message', ...user(inputText('Read the note.')) }],
        },
        answer: responseAnswer(undefined, {
          type: 'tool_search_call',
          id: 'tsc_1',
          call_id: 'call_search',
          execution: 'client',
          arguments: { query: 'notes' },
        }),
        expect: { prompt: 'Read the note.', tools: [['tool_search', 'call_search']] },
      },
      {
        route: responses,
        headers: codexHeaders,
        body: {
          model: 'gpt-5.5',
          input: [
            { type: 'message', ...user(inputText('Read the note.')) },
            { type: 'tool_search_call', id: 'tsc_1', call_id: 'call_search', execution: 'client', arguments: {} },
            { type: 'tool_search_output', id: 'tso_1', call_id: 'call_search', execution: 'client', tools: [] },
          ],
        },
        answer: responseAnswer(),
        expect: { prompt: null, correlatingToolCallId: 'call_search', parentStep: 0 },
      },
      {
        route: '/v1/responses/compact',
        headers: codexHeaders,
        body: { model: 'gpt-5.5', input: [{ type: 'message', ...user(inputText('Read the note.')) }] },
        answer: { ...responseAnswer(), object: 'response.compaction' },
        expect: { prompt: null, metadata: { request_kind: 'compaction' } },
      },
    ],
  },
  {
    client: 'openai 7.59.0, the approval of a call on an MCP server',
    steps: [
      {
        route: responses,
        body: {
          model: 'm',
          tools: [{ type: 'mcp', server_label: 'wiki', server_url: 'https://x.test' }],
          input: 'One.',
        },
        answer: responseAnswer(undefined, {
          type: 'mcp_approval_request',
          id: 'mcpr_1',
          server_label: 'wiki',
          name: 'read',
          arguments: '{}',
        }),
        expect: { prompt: 'One.', tools: [['read', 'mcpr_1']] },
      },
      {
        route: responses,
        body: { model: 'm', input: [{ type: 'mcp_approval_response', approval_request_id: 'mcpr_1', approve: true }] },
        answer: responseAnswer(),
        expect: { prompt: null, correlatingToolCallId: 'mcpr_1', parentStep: 0 },
      },
    ],
  },
  {
    client: 'OpenCode 1.18.33, title and plan',
    steps: [
      {
        route: messages,
        headers: { 'user-agent': 'opencode/1.18.33 ai-sdk/provider-utils/4.0.46', 'x-session-id': 'open-session' },
        body: {
          model: 'claude-haiku-4-5',
          max_tokens: 9,
          system: [text('You are a title generator. You output ONLY a thread title. Nothing else.')],
          messages: [user(text('Generate a title for this conversation:\n'), text('Plan this.'))],
        },
        answer: messageAnswer(),
        expect: { client: 'OpenCode', clientSessionId: 'open-session', metadata: { request_kind: 'title' } },
      },
      {
        route: messages,
        headers: { 'user-agent': 'opencode/1.18.33 ai-sdk/provider-utils/4.0.46', 'x-session-id': 'open-session' },
        body: {
          model: 'claude-sonnet-5',
          max_tokens: 9,
          messages: [user(text('Plan this.'), text(reminder('Only plan.')))],
        },
        answer: messageAnswer(),
        expect: { client: 'OpenCode', prompt: 'Plan this.', parentStep: null },
      },
    ],
  },
  {
    client: 'Kilo 7.7.7',
    steps: [
      {
        route: chat,
        headers: { 'user-agent': 'Kilo-Code/7.7.7 ai-sdk/provider-utils/4.0.27', 'x-session-id': 'kilo-session' },
        body: {
          model: 'gpt-5',
          messages: [
            { role: 'system', content: 'You are Kilo.' },
            user(text('Read the note.'), text('\n\n<environment_details>\nTime.\n</environment_details>')),
          ],
        },
        answer: chatAnswer(),
        expect: { client: 'Kilo Code', clientSessionId: 'kilo-session', prompt: 'Read the note.' },
      },
    ],
  },
  {
    client: 'Copilot CLI 1.0.102 with a provider of its own',
    steps: [
      {
        route: responses,
        headers: { 'user-agent': 'OpenAI/JS 5.20.1', 'x-initiator': 'user', 'x-interaction-type': 'conversation-user' },
        body: {
          model: 'gpt-5.5',
          prompt_cache_key: 'one-for-all',
          instructions: 'You are the GitHub Copilot CLI.',
          input: [
            { type: 'message', ...user(inputText('<current_datetime>now</current_datetime>\n\nRead the note.')) },
          ],
        },
        answer: responseAnswer(),
        expect: {
          client: 'GitHub Copilot (CLI)',
          clientSessionId: null,
          prompt: 'Read the note.',
          metadata: { request_kind: 'user' },
        },
      },
    ],
  },
  {
    client: 'Qwen Code 0.24.4, Responses',
    steps: [
      {
        route: responses,
        headers: { 'user-agent': 'QwenCode/0.24.4 (linux; x64)' },
        body: {
          model: 'gpt-5.5',
          prompt_cache_key: 'qwen-code:qwen-session',
          input: [
            {
              type: 'message',
              ...user(inputText(reminder('Skills.')), inputText(reminder('Date.')), inputText('Read the note.')),
            },
          ],
        },
        answer: responseAnswer(),
        expect: { client: 'Qwen Code', clientSessionId: 'qwen-session', prompt: 'Read the note.' },
      },
    ],
  },
  {
    client: 'Qwen Code 0.24.4, Messages',
    steps: [
      {
        route: messages,
        headers: {
          'user-agent': 'claude-cli/0.24.4 (external, cli)',
          'x-app': 'cli',
          'anthropic-beta': 'interleaved-thinking-2025-05-14',
        },
        body: {
          model: 'claude-sonnet-5',
          max_tokens: 9,
          messages: [user(text(reminder('Skills.')), text('Read the note.'))],
        },
        answer: messageAnswer(),
        expect: { client: 'Qwen Code', prompt: 'Read the note.' },
      },
    ],
  },
  {
    client: 'goose 1.52.0',
    steps: [
      {
        route: messages,
        headers: { 'agent-session-id': '20261130_1' },
        body: {
          model: 'claude-sonnet-5',
          max_tokens: 9,
          messages: [
            user(text('Read the note.'), text('<turn-context>\n<current-time>now</current-time>\n</turn-context>')),
          ],
        },
        answer: messageAnswer(),
        expect: { client: 'goose', clientSessionId: '20261130_1', prompt: 'Read the note.' },
      },
    ],
  },
  {
    client: 'pi 1.6.0',
    steps: [
      {
        route: responses,
        headers: { 'user-agent': 'pi/1.6.0 (linux; node/v22.23.3; x64)' },
        body: { model: 'gpt-5.5', prompt_cache_key: 'pi-session', input: [user(inputText('Read the note.'))] },
        answer: responseAnswer(),
        expect: { client: 'pi', clientSessionId: 'pi-session', prompt: 'Read the note.' },
      },
    ],
  },
  {
    client: 'droid 0.215.0',
    steps: [
      {
        route: responses,
        headers: { 'user-agent': 'factory-cli/0.215.0' },
        body: {
          model: 'gpt-5.5',
          prompt_cache_key: 'droid-session',
          input: [
            user(inputText(reminder('Tools.')), inputText('<system-reminder>Date.</system-reminder>')),
            user(inputText('Read the note.')),
          ],
        },
        answer: responseAnswer(),
        expect: { client: 'droid', clientSessionId: 'droid-session', prompt: 'Read the note.' },
      },
    ],
  },
  {
    client: 'Cursor, a body of Responses on the route of Chat Completions',
    steps: [
      {
        route: chat,
        headers: { 'x-cursor-client-version': '2.1' },
        body: {
          model: 'gpt-5.5',
          user: 'someone',
          input: [
            { role: 'system', content: 'You are an agent in Cursor.' },
            user(inputText('<additional_data>\nFiles.\n</additional_data>')),
            user(inputText('<user_query>\nRead the note.\n</user_query>')),
          ],
        },
        answer: chatAnswer(),
        expect: { client: 'Cursor', prompt: 'Read the note.' },
      },
    ],
  },
  {
    client: 'openai 7.59.0, previous_response_id',
    steps: [
      {
        route: responses,
        body: { model: 'm', input: 'One.' },
        answer: responseAnswer('resp_previous_1'),
        expect: { client: null, prompt: 'One.', parentStep: null },
      },
      {
        route: responses,
        body: { model: 'm', previous_response_id: 'resp_previous_1', input: 'Two.' },
        answer: responseAnswer('resp_previous_2'),
        expect: { prompt: 'Two.', parentStep: 0 },
      },
      {
        route: responses,
        body: { model: 'm', previous_response_id: 'resp_previous_1', input: 'Two again.' },
        answer: responseAnswer(),
        expect: { parentStep: 0 },
      },
      {
        route: responses,
        body: { model: 'm', previous_response_id: 'resp_previous_2', input: 'Three.' },
        answer: responseAnswer(),
        expect: { parentStep: 1 },
      },
    ],
  },
  {
    client: 'openai 7.59.0, a conversation',
    steps: [
      {
        route: responses,
        body: { model: 'm', conversation: 'conv_1', input: 'One.' },
        answer: responseAnswer(),
        expect: { parentStep: null },
      },
      {
        route: responses,
        body: { model: 'm', conversation: { id: 'conv_1' }, input: 'Two.' },
        answer: responseAnswer(),
        expect: { parentStep: 0 },
      },
    ],
  },
]

/** Returns the clients in the files beside the project, if there are any; each file is one client. */
export function clientsBesideProject(): RealClient[] {
  const folder = join(import.meta.dirname, '../../../../shared/fixtures/clients')
  if (!existsSync(folder)) return []
  const files = readdirSync(folder).filter(name => name.endsWith('.json'))
  return files.map((name): RealClient => JSON.parse(readFileSync(join(folder, name), 'utf8')))
}
