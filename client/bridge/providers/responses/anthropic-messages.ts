/** Anthropic Messages (https://docs.anthropic.com/en/api/messages and …/messages-streaming). */
import { isPlainObject, type JsonValue, setOwn } from '../../../../shared/values/text.js'
import { compactJson } from '../../wire/compact-json.js'
import type { SseEvent } from '../../wire/sse.js'
import type { Failure } from '../error-type.js'
import type { BridgedRoute, Outcome, ResponseFacts, ResponseReader, Thought, ToolCall } from '../provider-api.js'
import { errorIn, errorInstead, unnamedError } from '../provider-errors.js'
import {
  idOf,
  jsonTextOf,
  metadataOf,
  objectsOf,
  parsed,
  qualified,
  serverUrls,
  textOf,
  typeNameOf,
} from '../reading.js'
import { readAnthropicRequest } from '../requests/anthropic-request.js'
import { AnthropicUsage } from './anthropic-usage.js'
import { GrowingText } from './growing-text.js'
import { countOf } from './token-names.js'

/** The route `POST /v1/messages`. */
export const anthropicMessages: BridgedRoute = {
  name: 'anthropic/messages',
  readRequest: readAnthropicRequest,
  createResponseReader: request => new MessageReader(serverUrls(request?.mcp_servers, 'name', 'url')),
}

/** A block of the response that leaves a record: a call, or thoughts. */
interface Block {
  call: Omit<ToolCall, 'input' | 'at' | 'invocationError'> | undefined
  /** the whole input of a call, if `content_block_start` held it */
  input: JsonValue | undefined
  text: GrowingText
  invocationError: string | undefined
  at: Date | undefined
}

/** Types of blocks that leave no record, apart from results of the provider's own tools (`…_tool_result`). */
const blocksWithoutRecord = new Set([
  'text',
  'redacted_thinking',
  'server_tool_use',
  'compaction',
  'container_upload',
  'mcp_tool_listing',
])

class MessageReader implements ResponseReader {
  complete = false
  #msgId: string | undefined
  #error: Failure | undefined
  #stopDetails: unknown
  #relayedCharacters = 0
  #unknownBlocks = 0
  readonly #usage = new AnthropicUsage()
  readonly #outcome: Outcome = {}
  readonly #blocks: Block[] = []
  readonly #open = new Map<unknown, Block>()
  readonly #serverUrls: ReadonlyMap<string, string>

  constructor(serverUrls: ReadonlyMap<string, string>) {
    this.#serverUrls = serverUrls
  }

  /** True after the reason for the end too: a stream may end there without its last event. */
  get mayEnd(): boolean {
    return this.complete || this.#outcome.stop_reason !== undefined
  }

  event({ event, data }: SseEvent): void {
    if (this.complete) return
    const json = parsed(data)
    if (event === 'error') {
      this.#error = errorIn(json ?? data) ?? unnamedError
      this.complete = true
      return
    }
    if (!isPlainObject(json)) return
    switch (textOf(json.type) ?? event) {
      case 'message_start':
        if (isPlainObject(json.message)) this.#message(json.message, false)
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
        this.#usage.add(json.usage, true)
        this.#ending(json)
        if (isPlainObject(json.delta)) this.#ending(json.delta)
        break
      case 'message_stop':
        this.complete = true
        break
      case 'error':
        this.#fail(errorIn(json) ?? unnamedError)
        break
      case 'ping':
        break
      default: {
        // Servers between send errors without the API's type.
        const error = json.error ? (errorIn(json.error) ?? unnamedError) : errorInstead(json)
        if (error) this.#fail(error)
      }
    }
  }

  body(json: unknown): boolean {
    if (!isPlainObject(json)) return false
    if (json.type === 'error' || json.error) {
      this.#error = errorIn(json) ?? unnamedError
      return true
    }
    const hasContent = json.type === 'message' || Array.isArray(json.content)
    this.#error = hasContent ? undefined : errorInstead(json)
    if (this.#error) return true
    if (!hasContent && !isPlainObject(json.usage)) return false
    this.#message(json, true)
    for (const [index, block] of objectsOf(json.content).entries()) {
      this.#blockStart(index, block)
      this.#blockStop(index)
    }
    return true
  }

  facts(): ResponseFacts {
    const tools: ToolCall[] = []
    const thoughts: Thought[] = []
    for (const block of this.#blocks) {
      const at = block.at ?? new Date()
      const { call, invocationError } = block
      if (call)
        tools.push({ ...call, input: inputOf(block), ...(invocationError !== undefined && { invocationError }), at })
      else if (!block.text.empty) thoughts.push({ content: block.text.kept(), at })
    }
    return {
      msgId: this.#msgId,
      usage: this.#usage.counts(),
      usageIsFinal: this.#usage.isFinal,
      billedBeside: this.#usage.billedBeside(),
      usageMismatch: this.#usage.isMismatched,
      outcome: this.#outcome,
      relayedCharacters: this.#relayedCharacters,
      unknownItems: this.#unknownBlocks + this.#usage.unknownIterations,
      tools,
      thoughts,
      error: this.#error ?? this.#refusal(),
    }
  }

  #fail(error: Failure): void {
    this.#error = error
    this.complete = true
  }

  #refusal(): Failure | undefined {
    if (this.#outcome.stop_reason !== 'refusal') return undefined
    const explanation = isPlainObject(this.#stopDetails) ? textOf(this.#stopDetails.explanation) : undefined
    return explanation === undefined
      ? { type: 'refused', message: 'the model refused' }
      : { type: 'refused', message: explanation, isQuoted: true }
  }

  #message(message: Record<string, unknown>, isWhole: boolean): void {
    this.#msgId ??= textOf(message.id)
    this.#outcome.served_model = textOf(message.model) ?? this.#outcome.served_model
    this.#usage.add(message.usage, isWhole)
    this.#ending(message)
  }

  /** Reads the facts in a message, in `message_delta` or in its `delta`; the newest value of each counts. */
  #ending(json: Record<string, unknown>): void {
    const { usage, container, stop_details: stop, context_management: management, diagnostics } = json
    const outcome = this.#outcome
    outcome.stop_reason = textOf(json.stop_reason) ?? outcome.stop_reason
    outcome.container = idOf(container) ?? outcome.container
    if (isPlainObject(stop)) {
      this.#stopDetails = stop
      outcome.refusal_category = textOf(stop.category) ?? outcome.refusal_category
    }
    if (isPlainObject(management))
      outcome.context_edits = countByType(management.applied_edits) ?? outcome.context_edits
    if (isPlainObject(diagnostics)) {
      outcome.cache_miss_reason = typeNameOf(diagnostics.cache_miss_reason) ?? outcome.cache_miss_reason
    }
    if (!isPlainObject(usage)) return
    outcome.service_tier = textOf(usage.service_tier) ?? outcome.service_tier
    outcome.speed = textOf(usage.speed) ?? outcome.speed
    outcome.searches = requestsOf(usage.server_tool_use) ?? outcome.searches
  }

  #blockStart(index: unknown, block: unknown): void {
    if (!isPlainObject(block)) return
    const type = textOf(block.type) ?? ''
    const text = new GrowingText()
    const common = { text, invocationError: undefined, at: undefined }
    if (type === 'tool_use' || type === 'mcp_tool_use') {
      const input = block.input as JsonValue | undefined // came out of JSON.parse
      if (isPlainObject(input) && Object.keys(input).length > 0) this.#relayedCharacters += jsonTextOf(input).length
      this.#add(index, { call: this.#callOf(block), input, ...common })
    } else if (type === 'thinking') {
      this.#relayedCharacters += textOf(block.thinking)?.length ?? 0
      text.append(textOf(block.thinking) ?? '')
      this.#add(index, { call: undefined, input: undefined, ...common })
    } else if (type === 'mcp_tool_result') this.#mcpResult(block)
    else if (type === 'fallback') this.#outcome.served_model = modelOf(block.to) ?? this.#outcome.served_model
    else if (blocksWithoutRecord.has(type)) this.#relayedCharacters += textOf(block.text)?.length ?? 0
    else if (!type.endsWith('_tool_result')) this.#unknownBlocks++
  }

  #callOf(block: Record<string, unknown>): NonNullable<Block['call']> {
    const { id, name, toolset_name: toolset, server_name: server, caller } = block
    const serverUrl = this.#serverUrls.get(textOf(server) ?? '')
    const metadata = metadataOf({ toolset: textOf(toolset), mcp_server: textOf(server), caller: callerOf(caller) })
    return {
      callId: textOf(id) ?? '',
      tool: qualified(textOf(toolset), textOf(name)),
      ...(serverUrl !== undefined && { serverUrl }),
      ...(metadata && { metadata }),
    }
  }

  #mcpResult({ tool_use_id: id, is_error: isError, content }: Record<string, unknown>): void {
    const block = this.#blocks.find(({ call }) => call?.callId === id)
    if (isError !== true || !block) return
    const texts = objectsOf(content).map(({ text }) => textOf(text) ?? '')
    block.invocationError = textOf(content) ?? (texts.join('\n') || 'the call failed')
  }

  #add(index: unknown, block: Block): void {
    this.#blocks.push(block)
    this.#open.set(index, block)
  }

  #blockDelta(index: unknown, delta: unknown): void {
    if (!isPlainObject(delta)) return
    const block = this.#open.get(index)
    const part = textOf(delta.partial_json) ?? textOf(delta.thinking) ?? textOf(delta.text) ?? ''
    this.#relayedCharacters += part.length
    const isInput = block?.call !== undefined && delta.type === 'input_json_delta'
    const isThought = block?.call === undefined && delta.type === 'thinking_delta'
    if (isInput || isThought) block?.text.append(part)
  }

  #blockStop(index: unknown): void {
    const block = this.#open.get(index)
    if (!block) return
    block.at = new Date()
    this.#open.delete(index)
  }
}

/** Returns the number of edits by type; undefined without any. */
function countByType(edits: unknown): Record<string, number> | undefined {
  const counts: Record<string, number> = {}
  for (const { type } of objectsOf(edits)) {
    const name = textOf(type) ?? 'unknown'
    setOwn(counts, name, (Object.hasOwn(counts, name) ? (counts[name] ?? 0) : 0) + 1)
  }
  return Object.keys(counts).length === 0 ? undefined : counts
}

/** Returns the number of all requests that the provider's tools made: searches and fetches. */
function requestsOf(serverTools: unknown): number | undefined {
  if (!isPlainObject(serverTools)) return undefined
  const counts = Object.entries(serverTools).flatMap(([name, value]) =>
    name.startsWith('web_') ? (countOf(value) ?? []) : [],
  )
  return counts.length === 0 ? undefined : counts.reduce((sum, count) => sum + count, 0)
}

/** Returns the model of a side of a fallback. */
function modelOf(side: unknown): string | undefined {
  return isPlainObject(side) ? textOf(side.model) : undefined
}

/** Returns the caller of a tool that acts on the model's behalf; undefined for the model itself. */
function callerOf(caller: unknown): string | undefined {
  const type = typeNameOf(caller)
  return type === 'direct' ? undefined : type
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
