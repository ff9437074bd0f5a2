/** An API of providers, with the parts of a stream. */
export interface Api {
  name: string
  path: string
  body: object
  first: string
  event: string
  last: string
}

const data = (json: object) => `data: ${JSON.stringify(json)}\n\n`
const text = 'a few words of an answer, as a model writes them'
export const apis: readonly Api[] = [
  {
    name: 'Anthropic Messages',
    path: '/anthropic/v1/messages',
    body: { messages: [{ role: 'user', content: 'hello' }] },
    first: data({ type: 'message_start', message: { id: 'm', usage: { input_tokens: 5, output_tokens: 1 } } }),
    event: data({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } }),
    last: data({ type: 'message_stop' }),
  },
  {
    name: 'OpenAI Chat Completions',
    path: '/openai/v1/chat/completions',
    body: { messages: [{ role: 'user', content: 'hello' }] },
    first: data({ id: 'c', choices: [{ index: 0, delta: { role: 'assistant' } }] }),
    event: data({ id: 'c', choices: [{ index: 0, delta: { content: text }, finish_reason: null }], usage: null }),
    last: `${data({ choices: [], usage: { prompt_tokens: 5, completion_tokens: 1 } })}data: [DONE]\n\n`,
  },
  {
    name: 'OpenAI Responses',
    path: '/openai/v1/responses',
    body: { input: 'hello' },
    first: data({ type: 'response.created', response: { id: 'r' } }),
    event: data({ type: 'response.output_text.delta', output_index: 0, content_index: 0, delta: text }),
    last: data({ type: 'response.completed', response: { usage: { input_tokens: 5, output_tokens: 1 } } }),
  },
]
