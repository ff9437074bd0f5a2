/** OpenAI Chat Completions (https://platform.openai.com/docs/api-reference/chat) as an API of chats. */
import { randomUUID } from 'node:crypto'
import type { ModelRequest, ModelResponse } from '../../server/services/chats/model.js'
import type { FinishReason } from '../../shared/contract/chats.js'
import { isPlainObject } from '../../shared/values/text.js'
import { jsonTextOf, objectsOf, textOf } from '../bridge/providers/reading.js'
import { OpenaiUsage } from '../bridge/providers/responses/openai-usage.js'
import { countsOf } from '../bridge/recording/token-facts.js'
import type { ApiCall } from './api-call.js'
import { internalOf } from './internal-text.js'
import { brokenStream, streamError } from './model-errors.js'
import { chatMessagesOf, reasoningFields } from './openai-chat-history.js'
import { withOpenai } from './openai-client.js'
import { readStream } from './read-stream.js'
import type { ResponseParts } from './response-parts.js'

/** Calls a model by Chat Completions. */
export async function callOpenaiChat(request: ModelRequest, call: ApiCall): Promise<Omit<ModelResponse, 'parts'>> {
  const { signal, parts } = call
  const stream = await withOpenai(request, call, ['stream_options'], (sdk, may) =>
    sdk.chat.completions.create(
      {
        model: request.model,
        messages: chatMessagesOf(request),
        ...(request.tools.length > 0 && {
          tools: request.tools.map(({ name, description, inputSchema }) => ({
            type: 'function' as const,
            function: { name, description, parameters: inputSchema },
          })),
        }),
        stream: true,
        ...(may('stream_options') && { stream_options: { include_usage: true } }),
      },
      { signal },
    ),
  )
  const reader = new ChunkReader(request, parts)
  await readStream(
    stream,
    signal,
    chunk => reader.read(chunk),
    chunk => reader.readRest(chunk),
  )
  return reader.response()
}

/** Reason for the end of a choice → the reason of a chat; all others are `end`. */
const finishReasons: Readonly<Record<string, FinishReason>> = { length: 'max_tokens', content_filter: 'refusal' }

/** A call whose input grows. */
interface GrowingCall {
  key: string
  id: string
  name: string
  input: string
  /** a field of the provider that goes back to it with the call, such as Google's signature of a thought */
  extra: unknown
}

/** Reads the chunks of one response. */
class ChunkReader {
  readonly #request: ModelRequest
  readonly #parts: ResponseParts
  readonly #usage = new OpenaiUsage()
  readonly #calls = new Map<unknown, GrowingCall>()
  #finishReason: string | undefined
  #isRefused = false

  constructor(request: ModelRequest, parts: ResponseParts) {
    this.#request = request
    this.#parts = parts
  }

  /** Returns whether the chunk is the last one of the content. */
  read(chunk: unknown): boolean {
    if (!isPlainObject(chunk)) throw brokenStream('a chunk of the provider is no JSON object')
    if (isPlainObject(chunk.error)) throw streamError(chunk.error)
    this.#usage.add(chunk.usage)
    const [choice] = objectsOf(chunk.choices)
    if (choice && isPlainObject(choice.delta)) this.#delta(choice.delta)
    this.#finishReason = textOf(choice?.finish_reason)
    return this.#finishReason !== undefined
  }

  /** Reads a chunk behind the content: the usage comes there, if it comes. */
  readRest(chunk: unknown): void {
    if (isPlainObject(chunk)) this.#usage.add(chunk.usage)
  }

  /** Returns the response behind its last chunk. */
  response(): Omit<ModelResponse, 'parts'> {
    for (const { key, id, name, input, extra } of this.#calls.values()) {
      const internal = isPlainObject(extra) ? internalOf(this.#request, { extra }) : undefined
      this.#parts.call(
        key,
        { id: id === '' ? `call_${randomUUID()}` : id, name, input: input === '' ? '{}' : input },
        internal,
      )
    }
    const usage = this.#usage.counts()
    const reason = (this.#finishReason !== undefined && finishReasons[this.#finishReason]) || undefined
    const whole = this.#parts.hasCalls ? 'tool_calls' : 'end'
    return { usage: usage ? countsOf(usage) : null, finishReason: reason ?? (this.#isRefused ? 'refusal' : whole) }
  }

  #delta(delta: Record<string, unknown>): void {
    for (const field of reasoningFields) {
      const thought = delta[field]
      if (typeof thought !== 'string' || thought === '') continue
      if (!this.#parts.has('reasoning')) {
        this.#parts.setInternal('reasoning', 'reasoning', internalOf(this.#request, { field }))
      }
      this.#parts.append('reasoning', 'reasoning', thought)
      break // the same thought under a second name
    }
    for (const piece of textsOf(delta.content)) this.#parts.append('text', 'text', piece)
    if (typeof delta.refusal === 'string' && delta.refusal !== '') {
      this.#isRefused = true
      this.#parts.append('text', 'text', delta.refusal)
    }
    for (const call of objectsOf(delta.tool_calls)) this.#call(call)
    for (const { url_citation: citation } of objectsOf(delta.annotations)) {
      const url = isPlainObject(citation) ? textOf(citation.url) : undefined
      if (isPlainObject(citation) && url !== undefined) this.#parts.source(url, textOf(citation.title))
    }
  }

  /** Pieces of a call have its number; servers that send whole calls leave it out. */
  #call(json: Record<string, unknown>): void {
    const tool = isPlainObject(json.custom) ? json.custom : json.function
    if (!isPlainObject(tool)) return
    const place = json.index ?? textOf(json.id) ?? this.#calls.size
    const call = this.#calls.get(place) ?? this.#begin(place)
    call.id ||= textOf(json.id) ?? ''
    call.name ||= textOf(tool.name) ?? ''
    call.extra ??= json.extra_content
    const piece = tool.arguments ?? tool.input ?? ''
    const text = typeof piece === 'string' ? piece : jsonTextOf(piece)
    this.#parts.pending(text)
    call.input += text
  }

  #begin(place: unknown): GrowingCall {
    const key = `call ${this.#calls.size}`
    this.#parts.reserve(key)
    const call = { key, id: '', name: '', input: '', extra: undefined }
    this.#calls.set(place, call)
    return call
  }
}

/** Returns the pieces of text in a content: a text, or Mistral's list of chunks. */
function textsOf(content: unknown): string[] {
  if (typeof content === 'string') return content === '' ? [] : [content]
  return objectsOf(content).flatMap(({ type, text }) => (type === 'text' && typeof text === 'string' ? [text] : []))
}
