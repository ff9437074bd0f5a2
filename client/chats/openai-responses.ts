/** OpenAI Responses (https://platform.openai.com/docs/api-reference/responses-streaming) as an API of chats. */
import type { ModelRequest, ModelResponse } from '../../server/services/chats/model.js'
import type { FinishReason } from '../../shared/contract/chats.js'
import { isPlainObject } from '../../shared/values/text.js'
import { objectsOf, textOf } from '../bridge/providers/reading.js'
import { OpenaiUsage } from '../bridge/providers/responses/openai-usage.js'
import { countsOf } from '../bridge/recording/token-facts.js'
import type { ApiCall } from './api-call.js'
import { internalOf } from './internal-text.js'
import { brokenStream, streamError } from './model-errors.js'
import { withOpenai } from './openai-client.js'
import { responseItemsOf } from './openai-responses-history.js'
import { readStream } from './read-stream.js'
import type { ResponseParts } from './response-parts.js'

/**
 * Calls a model by Responses. Nothing is stored at the provider, so thoughts travel encrypted; models without thoughts
 * reject the question for them (`include`).
 */
export async function callOpenaiResponses(request: ModelRequest, call: ApiCall): Promise<Omit<ModelResponse, 'parts'>> {
  const { signal, parts } = call
  const stream = await withOpenai(request, call, ['include'], (sdk, may) =>
    sdk.responses.create(
      {
        model: request.model,
        ...(request.system !== null && { instructions: request.system }),
        input: responseItemsOf(request),
        store: false,
        ...(may('include') && { include: ['reasoning.encrypted_content' as const] }),
        ...(request.tools.length > 0 && {
          tools: request.tools.map(({ name, description, inputSchema }) => ({
            type: 'function' as const,
            name,
            description,
            parameters: inputSchema,
            strict: false,
          })),
        }),
        stream: true,
      },
      { signal },
    ),
  )
  const reader = new EventReader(request, parts)
  await readStream(stream, signal, event => reader.read(event))
  return reader.response()
}

/** Reason for an incomplete response → the reason of a chat; all others are `end`. */
const incompleteReasons: Readonly<Record<string, FinishReason>> = {
  max_output_tokens: 'max_tokens',
  content_filter: 'refusal',
}

/** Reads the events of one response. Events come from outside, whatever their type says. */
class EventReader {
  readonly #request: ModelRequest
  readonly #parts: ResponseParts
  readonly #usage = new OpenaiUsage()
  /** keys of items that are whole */
  readonly #done = new Set<string>()
  #incomplete: string | undefined
  #isRefused = false

  constructor(request: ModelRequest, parts: ResponseParts) {
    this.#request = request
    this.#parts = parts
  }

  /** Returns whether the event is the last one. */
  read(event: unknown): boolean {
    if (!isPlainObject(event)) throw brokenStream('an event of the provider is no JSON object')
    switch (event.type) {
      case 'response.output_item.added':
        this.#parts.reserve(keyOf(event))
        break
      case 'response.output_text.delta':
        this.#parts.append(textKeyOf(event), 'text', pieceOf(event.delta))
        break
      case 'response.refusal.delta':
        this.#isRefused = true
        this.#parts.append(textKeyOf(event), 'text', pieceOf(event.delta))
        break
      case 'response.reasoning_summary_part.added':
        if (typeof event.summary_index === 'number' && event.summary_index > 0) {
          this.#parts.append(keyOf(event), 'reasoning', '\n\n')
        }
        break
      case 'response.reasoning_summary_text.delta':
      case 'response.reasoning_text.delta':
        this.#parts.append(keyOf(event), 'reasoning', pieceOf(event.delta))
        break
      case 'response.output_item.done':
        this.#item(keyOf(event), event.item)
        break
      case 'response.completed':
      case 'response.incomplete':
        this.#end(event.response)
        return true
      case 'response.failed':
        throw streamError(isPlainObject(event.response) ? event.response.error : undefined)
      case 'error':
        throw streamError(event)
    }
    return false // an event of an unknown type may be a newer one
  }

  /** Returns the response behind its last event. */
  response(): Omit<ModelResponse, 'parts'> {
    const usage = this.#usage.counts()
    const reason = (this.#incomplete !== undefined && incompleteReasons[this.#incomplete]) || undefined
    const whole = this.#parts.hasCalls ? 'tool_calls' : 'end'
    return { usage: usage ? countsOf(usage) : null, finishReason: reason ?? (this.#isRefused ? 'refusal' : whole) }
  }

  /** Items that were not done before the end, such as a call that was cut short, are in the last event. */
  #end(response: unknown): void {
    if (!isPlainObject(response)) throw brokenStream('the last event has no response')
    for (const [index, item] of objectsOf(response.output).entries()) this.#item(`${index}`, item)
    this.#usage.add(response.usage)
    const { incomplete_details: details } = response
    this.#incomplete = isPlainObject(details) ? textOf(details.reason) : undefined
  }

  #item(key: string, item: unknown): void {
    if (!isPlainObject(item)) throw brokenStream('an item of the response is no JSON object')
    if (this.#done.has(key)) return
    this.#parts.reserve(key)
    this.#done.add(key)
    switch (item.type) {
      case 'message':
        this.#message(key, item)
        break
      case 'reasoning':
        this.#reasoning(key, item)
        break
      case 'function_call':
      case 'custom_tool_call': {
        const { call_id: id, name } = item
        const input = item.type === 'function_call' ? item.arguments : item.input
        if (typeof id !== 'string' || typeof name !== 'string' || typeof input !== 'string') {
          throw brokenStream('a call of a tool has no name or no input')
        }
        this.#parts.call(key, { id, name, input })
      }
    }
  }

  /** The text has streamed, as a rule; servers that send no pieces have the text here. */
  #message(key: string, { content, phase }: Record<string, unknown>): void {
    for (const [index, part] of objectsOf(content).entries()) {
      const textKey = `${key}.${index}`
      const text = part.type === 'refusal' ? part.refusal : part.text
      if (!this.#parts.has(textKey) && typeof text === 'string') this.#parts.append(textKey, 'text', text)
      if (part.type === 'refusal') this.#isRefused = true
      if (textOf(phase) !== undefined && text !== '') {
        this.#parts.setInternal(textKey, 'text', internalOf(this.#request, { phase }))
      }
      for (const { url, title } of objectsOf(part.annotations)) {
        if (typeof url === 'string' && url !== '') this.#parts.source(url, textOf(title))
      }
    }
  }

  #reasoning(key: string, item: Record<string, unknown>): void {
    const { id, summary, encrypted_content: encrypted } = item
    if (!this.#parts.hasText(key)) {
      const texts = objectsOf(summary).flatMap(({ text }) => textOf(text) ?? [])
      if (texts.length > 0) this.#parts.append(key, 'reasoning', texts.join('\n\n'))
    }
    if (typeof encrypted !== 'string') return
    const kept = { type: 'reasoning', id, summary: Array.isArray(summary) ? summary : [], encrypted_content: encrypted }
    this.#parts.setInternal(key, 'reasoning', internalOf(this.#request, { item: kept }))
  }
}

function keyOf({ output_index: index }: Record<string, unknown>): string {
  if (typeof index !== 'number') throw brokenStream('an event of an item has no number')
  return `${index}`
}

function textKeyOf(event: Record<string, unknown>): string {
  return `${keyOf(event)}.${typeof event.content_index === 'number' ? event.content_index : 0}`
}

function pieceOf(value: unknown): string {
  if (typeof value !== 'string') throw brokenStream('a piece of the response is no text')
  return value
}
