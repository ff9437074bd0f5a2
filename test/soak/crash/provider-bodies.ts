/** Responses of the three APIs, as a provider would send them. */

/** An API that bridges record. */
export type Api = 'anthropic' | 'chat' | 'responses'

/** What a response says. */
export interface ResponseText {
  msgId: string
  /** the words of the response, one event each */
  words: readonly string[]
  inputTokens: number
  outputTokens: number
}

/** One response: its events, or its only text. */
export interface ProviderBody {
  contentType: string
  /** the texts in order */
  texts: readonly string[]
  /** the text that holds nothing but the usage of a stream, if there is one */
  usageOnly?: string
}

/** Returns the response of an API, as a stream of events or in one piece. */
export function bodyOf(api: Api, isStream: boolean, text: ResponseText): ProviderBody {
  if (!isStream) return { contentType: 'application/json', texts: [JSON.stringify(whole[api](text))] }
  return { contentType: 'text/event-stream', ...streams[api](text) }
}

/** The path of an API below the base URL of a bridge. */
export const paths: Readonly<Record<Api, string>> = {
  anthropic: '/bridge/anthropic-stand-in/v1/messages',
  chat: '/bridge/openai-stand-in/v1/chat/completions',
  responses: '/bridge/openai-stand-in/v1/responses',
}

/** Returns the body of a request that asks with these words. */
export function requestBody(api: Api, isStream: boolean, prompt: string, asksForUsage: boolean): object {
  const stream = isStream && { stream: true }
  const messages = [{ role: 'user', content: prompt }]
  if (api === 'anthropic') return { model: 'claude-stand-in', max_tokens: 99, messages, ...stream }
  if (api === 'responses') return { model: 'gpt-stand-in', input: prompt, ...stream }
  const options = isStream && asksForUsage && { stream_options: { include_usage: true } }
  return { model: 'gpt-stand-in', messages, ...stream, ...options }
}

const whole: Record<Api, (text: ResponseText) => object> = {
  anthropic: text => ({
    ...anthropicMessage(text),
    content: [{ type: 'text', text: text.words.join('') }],
    stop_reason: 'end_turn',
    usage: anthropicUsage(text.inputTokens, text.outputTokens),
  }),
  chat: text => ({
    ...chatHead(text, 'chat.completion'),
    choices: [
      { index: 0, message: { role: 'assistant', content: text.words.join('') }, finish_reason: 'stop', logprobs: null },
    ],
    usage: chatUsage(text),
  }),
  responses: text => responsesObject(text, true),
}

const streams: Record<Api, (text: ResponseText) => Omit<ProviderBody, 'contentType'>> = {
  anthropic: text => ({
    texts: [
      typed({
        type: 'message_start',
        message: { ...anthropicMessage(text), content: [], usage: anthropicUsage(text.inputTokens, 1) },
      }),
      typed({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }),
      ...text.words.map(word =>
        typed({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: word } }),
      ),
      typed({ type: 'content_block_stop', index: 0 }),
      typed({
        type: 'message_delta',
        delta: { stop_reason: 'end_turn', stop_sequence: null },
        usage: { output_tokens: text.outputTokens },
      }),
      typed({ type: 'message_stop' }),
    ],
  }),
  chat(text) {
    const chunk = (choices: object[], usage: object | null = null) =>
      `data: ${JSON.stringify({ ...chatHead(text, 'chat.completion.chunk'), choices, usage })}\n\n`
    const usageOnly = chunk([], chatUsage(text))
    return {
      usageOnly,
      texts: [
        ...text.words.map(content => chunk([{ index: 0, delta: { role: 'assistant', content }, finish_reason: null }])),
        chunk([{ index: 0, delta: {}, finish_reason: 'stop' }]),
        usageOnly,
        'data: [DONE]\n\n',
      ],
    }
  },
  responses: text => ({
    texts: [
      typed({ type: 'response.created', response: responsesObject(text, false) }),
      ...text.words.map(delta =>
        typed({
          type: 'response.output_text.delta',
          item_id: `item_${text.msgId}`,
          output_index: 0,
          content_index: 0,
          delta,
        }),
      ),
      typed({ type: 'response.completed', response: responsesObject(text, true) }),
    ],
  }),
}

function typed(event: { type: string; [field: string]: unknown }): string {
  return `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
}

function anthropicMessage({ msgId }: ResponseText) {
  return {
    id: msgId,
    type: 'message',
    role: 'assistant',
    model: 'claude-stand-in',
    stop_reason: null,
    stop_sequence: null,
  }
}

function anthropicUsage(inputTokens: number, outputTokens: number) {
  return {
    input_tokens: inputTokens,
    output_tokens: outputTokens,
    cache_read_input_tokens: 0,
    cache_creation_input_tokens: 0,
  }
}

function chatHead({ msgId }: ResponseText, object: string) {
  return { id: msgId, object, created: 1_700_000_000, model: 'gpt-stand-in' }
}

function chatUsage({ inputTokens, outputTokens }: ResponseText) {
  return { prompt_tokens: inputTokens, completion_tokens: outputTokens, total_tokens: inputTokens + outputTokens }
}

function responsesObject({ msgId, words, inputTokens, outputTokens }: ResponseText, isWhole: boolean) {
  const content = [{ type: 'output_text', text: words.join(''), annotations: [] }]
  const item = { id: `item_${msgId}`, type: 'message', role: 'assistant', status: 'completed', content }
  return {
    id: msgId,
    object: 'response',
    created_at: 1_700_000_000,
    model: 'gpt-stand-in',
    status: isWhole ? 'completed' : 'in_progress',
    output: isWhole ? [item] : [],
    usage: isWhole
      ? { input_tokens: inputTokens, output_tokens: outputTokens, total_tokens: inputTokens + outputTokens }
      : null,
  }
}
