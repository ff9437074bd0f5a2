/** Anthropic Messages (https://docs.anthropic.com/en/api/messages-streaming) as an API of chats. */
import type { ModelRequest, ModelResponse } from '../../server/services/chats/model.js'
import type { FinishReason } from '../../shared/contract/chats.js'
import { chatLimits } from '../../shared/contract/limits.js'
import { cleanText, isPlainObject } from '../../shared/values/text.js'
import { jsonTextOf, textOf } from '../bridge/providers/reading.js'
import { AnthropicUsage } from '../bridge/providers/responses/anthropic-usage.js'
import { countsOf } from '../bridge/recording/token-facts.js'
import { anthropicMessagesOf, systemOf } from './anthropic-history.js'
import type { ApiCall } from './api-call.js'
import { internalOf } from './internal-text.js'
import { brokenStream } from './model-errors.js'
import { readStream } from './read-stream.js'
import type { ResponseParts } from './response-parts.js'

/** Calls a model by Anthropic Messages. */
export async function callAnthropicMessages(
  request: ModelRequest,
  { fetch, signal, parts }: ApiCall,
): Promise<Omit<ModelResponse, 'parts'>> {
  const { Anthropic: Sdk } = await import('@anthropic-ai/sdk')
  // Everything that the SDK would read from the environment of the server is given.
  const sdk = new Sdk({ apiKey: 'unused', baseURL: 'https://api.anthropic.com', fetch, maxRetries: 0, logLevel: 'off' })
  const system = systemOf(request)
  const stream = await sdk.messages.create(
    {
      model: request.model,
      max_tokens: chatLimits.maxOutputTokens,
      ...(system !== undefined && { system }),
      messages: anthropicMessagesOf(request),
      ...(request.tools.length > 0 && {
        tools: request.tools.map(({ name, description, inputSchema }) => ({
          name,
          description,
          input_schema: inputSchema,
        })),
      }),
      stream: true,
    },
    { signal },
  )
  const reader = new MessageReader(request, parts)
  await readStream(stream, signal, event => reader.read(event))
  return reader.response()
}

/** Reason for the end of a message → the reason of a chat; all others are `end`. */
const finishReasons: Readonly<Record<string, FinishReason>> = {
  max_tokens: 'max_tokens',
  model_context_window_exceeded: 'max_tokens',
  refusal: 'refusal',
}

/** A block that has begun. */
type Block =
  | { type: 'text' }
  | { type: 'thinking'; thinking: string; signature: string }
  | { type: 'tool_use'; id: string; name: string; input: string }
  /** a block that a chat does not keep */
  | { type: 'other' }

/** Reads the events of one message. Events come from outside, whatever their type says. */
class MessageReader {
  readonly #request: ModelRequest
  readonly #parts: ResponseParts
  readonly #usage = new AnthropicUsage()
  readonly #open = new Map<number, Block>()
  #stopReason: string | undefined

  constructor(request: ModelRequest, parts: ResponseParts) {
    this.#request = request
    this.#parts = parts
  }

  /** Returns whether the event is the last one. */
  read(event: unknown): boolean {
    if (!isPlainObject(event)) throw brokenStream('an event of the provider is no JSON object')
    switch (event.type) {
      case 'message_start':
        if (isPlainObject(event.message)) this.#usage.add(event.message.usage, false)
        break
      case 'content_block_start':
        this.#start(indexOf(event), event.content_block)
        break
      case 'content_block_delta':
        this.#grow(indexOf(event), event.delta)
        break
      case 'content_block_stop':
        this.#stop(indexOf(event))
        break
      case 'message_delta':
        if (isPlainObject(event.delta)) this.#stopReason = textOf(event.delta.stop_reason) ?? this.#stopReason
        this.#usage.add(event.usage, true)
        break
      case 'message_stop':
        if (this.#open.size > 0) throw brokenStream('the message ended inside a block')
        return true
    }
    return false // an event of an unknown type may be a newer one
  }

  /** Returns the response behind its last event. */
  response(): Omit<ModelResponse, 'parts'> {
    const usage = this.#usage.counts()
    const reason = (this.#stopReason !== undefined && finishReasons[this.#stopReason]) || undefined
    return {
      usage: usage ? countsOf(usage) : null,
      finishReason: reason ?? (this.#parts.hasCalls ? 'tool_calls' : 'end'),
    }
  }

  #start(index: number, block: unknown): void {
    if (this.#open.has(index) || !isPlainObject(block)) throw brokenStream(`block ${index} has begun twice`)
    switch (block.type) {
      case 'text':
        this.#open.set(index, { type: 'text' })
        this.#parts.append(`${index}`, 'text', textOf(block.text) ?? '')
        break
      case 'thinking':
        this.#open.set(index, { type: 'thinking', thinking: '', signature: textOf(block.signature) ?? '' })
        this.#think(index, textOf(block.thinking) ?? '')
        break
      case 'redacted_thinking':
        this.#open.set(index, { type: 'other' })
        this.#parts.setInternal(`${index}`, 'reasoning', internalOf(this.#request, { data: block.data }))
        break
      case 'tool_use': {
        const { id, name, input } = block
        if (typeof id !== 'string' || typeof name !== 'string') throw brokenStream('a call of a tool has no name')
        // The beginning of a call has an empty object, and the input follows; some servers send it at once.
        const whole = isPlainObject(input) && Object.keys(input).length > 0 ? jsonTextOf(input) : ''
        this.#open.set(index, { type: 'tool_use', id, name, input: whole })
        this.#parts.reserve(`${index}`)
        break
      }
      default:
        this.#open.set(index, { type: 'other' })
        this.#parts.reserve(`${index}`)
    }
  }

  #grow(index: number, delta: unknown): void {
    const block = this.#open.get(index)
    if (!block || !isPlainObject(delta)) throw brokenStream(`a piece belongs to block ${index}, which has not begun`)
    switch (delta.type) {
      case 'text_delta':
        if (block.type === 'text') this.#parts.append(`${index}`, 'text', pieceOf(delta.text))
        break
      case 'citations_delta': {
        const { citation } = delta
        const url = isPlainObject(citation) ? textOf(citation.url) : undefined
        if (isPlainObject(citation) && url !== undefined) this.#parts.source(url, textOf(citation.title))
        break
      }
      case 'thinking_delta':
        if (block.type === 'thinking') this.#think(index, pieceOf(delta.thinking))
        break
      case 'signature_delta':
        if (block.type === 'thinking') block.signature = pieceOf(delta.signature)
        break
      case 'input_json_delta':
        if (block.type === 'tool_use') {
          const piece = pieceOf(delta.partial_json)
          this.#parts.pending(piece)
          block.input += piece
        }
        break
    }
  }

  #think(index: number, piece: string): void {
    const block = this.#open.get(index)
    if (block?.type !== 'thinking') return
    this.#parts.append(`${index}`, 'reasoning', piece)
    block.thinking += piece
  }

  #stop(index: number): void {
    const block = this.#open.get(index)
    if (!block) throw brokenStream(`block ${index} ends, which has not begun`)
    this.#open.delete(index)
    if (block.type === 'thinking' && block.signature !== '') {
      const { thinking, signature } = block
      // The signature covers the text as the provider has sent it.
      const value = cleanText(thinking) === thinking ? { signature } : { signature, thinking }
      this.#parts.setInternal(`${index}`, 'reasoning', internalOf(this.#request, value))
    }
    if (block.type === 'tool_use') {
      this.#parts.call(`${index}`, { id: block.id, name: block.name, input: block.input === '' ? '{}' : block.input })
    }
  }
}

function indexOf({ index }: Record<string, unknown>): number {
  if (typeof index !== 'number') throw brokenStream('an event of a block has no number')
  return index
}

function pieceOf(value: unknown): string {
  if (typeof value !== 'string') throw brokenStream('a piece of the response is no text')
  return value
}
