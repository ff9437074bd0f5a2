/** The three APIs of the stand-in: how a request is read, and how a response is written, whole and as a stream. */
import { isPlainObject, type JsonObject, type JsonValue } from '../../shared/values/text.js'
import type { Call, Tool } from './tool-call.js'

export interface ProviderApi {
  idPrefix: string
  callIdPrefix: string
  /** whether its usage counts cache writes */
  billsCacheWrites: boolean
  read(body: JsonObject): Read
  write(response: Response): { whole: JsonObject; events: string }
}

/** Billed tokens. `input` excludes cached tokens. */
export interface Usage {
  input: number
  output: number
  cacheRead: number
  cacheWrite: number
}

interface Read {
  tools: Tool[]
  /** text of the tool result that ends the conversation so far; undefined if something else ends it */
  result: string | undefined
  /** whether the conversation holds a tool result at all */
  hasResult: boolean
}

interface Response {
  id: string
  model: string
  usage: Usage
  text?: string
  call?: Call & { callId: string }
}

/** https://docs.claude.com/en/api/messages */
export const messages: ProviderApi = {
  idPrefix: 'msg_',
  callIdPrefix: 'toolu_',
  billsCacheWrites: true,

  read({ tools, messages }) {
    const isResult = ({ type }: JsonObject) => type === 'tool_result'
    const turns = objects(messages).filter(({ role }) => role === 'user' || role === 'assistant')
    const results = objects(turns.at(-1)?.content).filter(isResult)
    return {
      tools: objects(tools).map(({ name, input_schema }) => ({ name: text(name), schema: object(input_schema) })),
      result: results.length > 0 ? JSON.stringify(results) : undefined,
      hasResult: turns.some(({ content }) => objects(content).some(isResult)),
    }
  },

  write({ id, model, usage, text, call }) {
    const block: JsonObject = call
      ? { type: 'tool_use', id: call.callId, name: call.name, input: call.input }
      : { type: 'text', text: text ?? '' }
    const stop_reason = call ? 'tool_use' : 'end_turn'
    const billed = {
      input_tokens: usage.input,
      cache_read_input_tokens: usage.cacheRead,
      cache_creation_input_tokens: usage.cacheWrite,
    }
    const whole = {
      id,
      type: 'message',
      role: 'assistant',
      model,
      content: [block],
      stop_reason,
      stop_sequence: null,
      usage: { ...billed, output_tokens: usage.output },
    }
    const start = { ...whole, content: [], stop_reason: null, usage: { ...billed, output_tokens: 1 } }
    const delta = call
      ? { type: 'input_json_delta', partial_json: JSON.stringify(call.input) }
      : { type: 'text_delta', text: text ?? '' }
    const empty = call ? { ...block, input: {} } : { ...block, text: '' }
    return {
      whole,
      events: namedEvents([
        { type: 'message_start', message: start },
        { type: 'content_block_start', index: 0, content_block: empty },
        { type: 'content_block_delta', index: 0, delta },
        { type: 'content_block_stop', index: 0 },
        { type: 'message_delta', delta: { stop_reason, stop_sequence: null }, usage: { output_tokens: usage.output } },
        { type: 'message_stop' },
      ]),
    }
  },
}

/** https://platform.openai.com/docs/api-reference/chat */
export const chat: ProviderApi = {
  idPrefix: 'chatcmpl-',
  callIdPrefix: 'call_',
  billsCacheWrites: false,

  read({ tools, messages }) {
    const turns = objects(messages)
    const last = turns.at(-1)
    return {
      tools: objects(tools).map(tool => {
        const { name, parameters } = object(tool.function)
        return { name: text(name), schema: object(parameters) }
      }),
      result: last?.role === 'tool' ? JSON.stringify(last) : undefined,
      hasResult: turns.some(({ role }) => role === 'tool'),
    }
  },

  write({ id, model, usage, text, call }) {
    const calls: JsonObject[] = call
      ? [{ id: call.callId, type: 'function', function: { name: call.name, arguments: JSON.stringify(call.input) } }]
      : []
    const content = text ?? null
    const finish_reason = call ? 'tool_calls' : 'stop'
    const toolCalls = call && { tool_calls: calls }
    const counts = {
      prompt_tokens: usage.input + usage.cacheRead,
      completion_tokens: usage.output,
      total_tokens: usage.input + usage.cacheRead + usage.output,
      prompt_tokens_details: { cached_tokens: usage.cacheRead },
      completion_tokens_details: { reasoning_tokens: 0 },
    }
    const common = { id, created: 1_764_500_000, model }
    const message = { role: 'assistant', content, ...toolCalls }
    const chunk = (delta: JsonObject, finish_reason: string | null) => ({
      ...common,
      object: 'chat.completion.chunk',
      choices: [{ index: 0, delta, finish_reason }],
    })
    const delta = {
      role: 'assistant',
      content,
      ...(call && { tool_calls: calls.map(call => ({ index: 0, ...call })) }),
    }
    const usageChunk = { ...common, object: 'chat.completion.chunk', choices: [], usage: counts }
    return {
      whole: {
        ...common,
        object: 'chat.completion',
        choices: [{ index: 0, message, finish_reason }],
        usage: counts,
      },
      events: [chunk(delta, null), chunk({}, finish_reason), usageChunk]
        .map(data => `data: ${JSON.stringify(data)}\n\n`)
        .concat('data: [DONE]\n\n')
        .join(''),
    }
  },
}

/** https://platform.openai.com/docs/api-reference/responses */
export const responses: ProviderApi = {
  idPrefix: 'resp_',
  callIdPrefix: 'call_',
  billsCacheWrites: false,

  read({ tools, input }) {
    const items = objects(input)
    const isResult = ({ type }: JsonObject) => /_output$/.test(text(type))
    const last = items.findLast(item => isResult(item) || item.role === 'user' || item.role === 'assistant')
    return {
      tools: objects(tools)
        .filter(({ type }) => type === 'function')
        .map(({ name, parameters }) => ({ name: text(name), schema: object(parameters) })),
      result: last && isResult(last) ? JSON.stringify(last) : undefined,
      hasResult: items.some(isResult),
    }
  },

  write({ id, model, usage, text, call }) {
    const item: JsonObject = call
      ? {
          type: 'function_call',
          id: `fc_${call.callId}`,
          call_id: call.callId,
          name: call.name,
          arguments: JSON.stringify(call.input),
          status: 'completed',
        }
      : {
          type: 'message',
          id: `item_${id}`,
          role: 'assistant',
          status: 'completed',
          content: [{ type: 'output_text', text: text ?? '', annotations: [] }],
        }
    const common = { id, object: 'response', created_at: 1_764_500_000, model, error: null, incomplete_details: null }
    const whole = {
      ...common,
      status: 'completed',
      output: [item],
      usage: {
        input_tokens: usage.input + usage.cacheRead,
        input_tokens_details: { cached_tokens: usage.cacheRead },
        output_tokens: usage.output,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: usage.input + usage.cacheRead + usage.output,
      },
    }
    const begun = { ...item, status: 'in_progress', ...(call ? { arguments: '' } : { content: [] }) }
    const at = { output_index: 0, item_id: item.id ?? null }
    const part = { ...at, content_index: 0 }
    const between: JsonObject[] = call
      ? [
          { type: 'response.function_call_arguments.delta', ...at, delta: item.arguments ?? '' },
          { type: 'response.function_call_arguments.done', ...at, arguments: item.arguments ?? '' },
        ]
      : [
          { type: 'response.content_part.added', ...part, part: { type: 'output_text', text: '', annotations: [] } },
          { type: 'response.output_text.delta', ...part, delta: text ?? '' },
          { type: 'response.output_text.done', ...part, text: text ?? '' },
          {
            type: 'response.content_part.done',
            ...part,
            part: { type: 'output_text', text: text ?? '', annotations: [] },
          },
        ]
    const events: JsonObject[] = [
      { type: 'response.created', response: { ...common, status: 'in_progress', output: [] } },
      { type: 'response.output_item.added', output_index: 0, item: begun },
      ...between,
      { type: 'response.output_item.done', output_index: 0, item },
      { type: 'response.completed', response: whole },
    ]
    return { whole, events: namedEvents(events.map((event, index) => ({ ...event, sequence_number: index }))) }
  },
}

function namedEvents(events: readonly JsonObject[]): string {
  return events.map(event => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join('')
}

function objects(value: unknown): JsonObject[] {
  return Array.isArray(value) ? value.filter(isPlainObject).map(object) : []
}

function object(value: unknown): JsonObject {
  return isPlainObject(value) ? (value as JsonObject) : {} // came out of JSON.parse
}

function text(value: JsonValue | undefined): string {
  return typeof value === 'string' ? value : ''
}
