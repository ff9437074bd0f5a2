/** Anthropic Messages (https://docs.anthropic.com/en/api/messages and …/messages-streaming). */
import type { ErrorType } from '../../../shared/contract/recorder.js'
import { isPlainObject, type JsonValue, setOwn } from '../../../shared/values/text.js'
import { compactJson } from '../wire/compact-json.js'
import type { SseEvent } from '../wire/sse.js'
import type { Failure } from './error-type.js'
import { GrowingText } from './growing-text.js'
import type { BridgedRoute, ResponseFacts, ResponseReader, Thought, ToolCall } from './provider-api.js'
import { jsonTextOf, objectsOf, parsed, textOf } from './reading.js'
import { readAnthropicRequest } from './requests/anthropic-request.js'

/** The route `POST /v1/messages`. */
export const anthropicMessages: BridgedRoute = {
  readRequest: readAnthropicRequest,
  createResponseReader: () => new MessageReader(),
}

interface Block {
  kind: 'tool' | 'thought'
  callId: string
  tool: string
  /** the whole input, if `content_block_start` held it */
  input: JsonValue | undefined
  text: GrowingText
  at: Date | undefined
}

/** The four counts of Anthropic's usage. */
const counts = {
  input_tokens: 'input',
  output_tokens: 'output',
  cache_read_input_tokens: 'cacheRead',
  cache_creation_input_tokens: 'cacheWrite',
} as const

class MessageReader implements ResponseReader {
  complete = false
  #msgId: string | undefined
  #usage: ResponseFacts['usage']
  #error: Failure | undefined
  readonly #blocks: Block[] = []
  readonly #open = new Map<unknown, Block>()

  get mayEnd(): boolean {
    return this.complete
  }

  event({ event, data }: SseEvent): void {
    if (this.complete) return
    const json = parsed(data)
    if (!isPlainObject(json)) return
    switch (textOf(json.type) ?? event) {
      case 'message_start':
        if (isPlainObject(json.message)) this.#message(json.message)
        break
      case 'content_block_start':
        this.#blockStart(json.index, json.content_block)
        break
      case 'content_block_delta':
        this.#blockDelta(json.index, json.delta)
        break
      case 'content_block_stop':
        this.#blockStop(json.index)
        break
      case 'message_delta':
        this.#addUsage(json.usage)
        break
      case 'message_stop':
        this.complete = true
        break
      case 'error':
        this.#fail(json.error)
        this.complete = true
        break
    }
  }

  body(json: unknown): void {
    if (!isPlainObject(json)) return
    if (json.type === 'error' || isPlainObject(json.error)) return this.#fail(json.error)
    this.#message(json)
    for (const [index, block] of objectsOf(json.content).entries()) {
      this.#blockStart(index, block)
      this.#blockStop(index)
    }
  }

  facts(): ResponseFacts {
    const tools: ToolCall[] = []
    const thoughts: Thought[] = []
    for (const block of this.#blocks) {
      const at = block.at ?? new Date()
      if (block.kind === 'tool') tools.push({ callId: block.callId, tool: block.tool, input: inputOf(block), at })
      else if (!block.text.empty) thoughts.push({ content: block.text.kept(), at })
    }
    return { msgId: this.#msgId, usage: this.#usage, tools, thoughts, error: this.#error }
  }

  #message(message: Record<string, unknown>): void {
    this.#msgId ??= textOf(message.id)
    this.#addUsage(message.usage)
  }

  /** Adds a usage object. Usage is cumulative: a field replaces its earlier value, unless it is absent or null. */
  #addUsage(usage: unknown): void {
    if (!isPlainObject(usage)) return
    for (const [name, value] of Object.entries(usage)) {
      const count = Object.hasOwn(counts, name) ? counts[name as keyof typeof counts] : undefined // just checked
      if (value === null || (count && typeof value !== 'number')) continue
      this.#usage ??= { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, details: {} }
      if (count && typeof value === 'number') this.#usage[count] = value
      else setOwn(this.#usage.details, name, value as JsonValue) // came out of JSON.parse
    }
  }

  #blockStart(index: unknown, block: unknown): void {
    if (!isPlainObject(block)) return
    const text = new GrowingText()
    const common = { text, at: undefined }
    if (block.type === 'tool_use') {
      const input = block.input as JsonValue | undefined // came out of JSON.parse
      this.#add(index, {
        kind: 'tool',
        callId: textOf(block.id) ?? '',
        tool: textOf(block.name) ?? '',
        input,
        ...common,
      })
    } else if (block.type === 'thinking') {
      text.append(textOf(block.thinking) ?? '')
      this.#add(index, { kind: 'thought', callId: '', tool: '', input: undefined, ...common })
    }
  }

  #add(index: unknown, block: Block): void {
    this.#blocks.push(block)
    this.#open.set(index, block)
  }

  #blockDelta(index: unknown, delta: unknown): void {
    const block = this.#open.get(index)
    if (!block || !isPlainObject(delta)) return
    if (block.kind === 'tool' && delta.type === 'input_json_delta') block.text.append(textOf(delta.partial_json) ?? '')
    if (block.kind === 'thought' && delta.type === 'thinking_delta') block.text.append(textOf(delta.thinking) ?? '')
  }

  #blockStop(index: unknown): void {
    const block = this.#open.get(index)
    if (!block) return
    block.at = new Date()
    this.#open.delete(index)
  }

  #fail(error: unknown): void {
    const { type, message } = isPlainObject(error) ? error : {}
    const name = textOf(type)
    this.#error = {
      type: (name !== undefined && Object.hasOwn(errorTypes, name) ? errorTypes[name] : undefined) ?? 'unknown',
      message: textOf(message) ?? name ?? 'the provider reported an error without a message',
      isQuoted: true,
    }
  }
}

/** Returns the JSON text of a tool's input. A tool without arguments gets `{}` and no delta. */
function inputOf(block: Block): ToolCall['input'] {
  if (!block.text.empty) {
    const { text, bytes } = block.text.kept()
    const compact = compactJson(text)
    return compact === text ? { text, bytes } : { text: compact, bytes: Buffer.byteLength(compact) }
  }
  const text = new GrowingText()
  text.append(jsonTextOf(block.input ?? {}))
  return text.kept()
}

/** Type of error → the recorded type, for an error inside a response of status 200. */
const errorTypes: Record<string, ErrorType> = {
  invalid_request_error: 'bad_request',
  not_found_error: 'bad_request',
  request_too_large: 'bad_request',
  authentication_error: 'unauthorized',
  permission_error: 'unauthorized',
  rate_limit_error: 'rate_limited',
  overloaded_error: 'overloaded',
  api_error: 'server_error',
  timeout_error: 'timeout',
}
