/** OpenAI Chat Completions (https://platform.openai.com/docs/api-reference/chat and …/chat-streaming). */
import { isPlainObject, type JsonObject } from '../../../../shared/values/text.js'
import { setMember } from '../../wire/json-edit.js'
import type { SseEvent } from '../../wire/sse.js'
import type { Failure } from '../error-type.js'
import type { Adaptation, BridgedRoute, Outcome, ResponseFacts, ResponseReader, Thought } from '../provider-api.js'
import { errorIn, errorInstead, unnamedError } from '../provider-errors.js'
import { objectsOf, parsed, textOf } from '../reading.js'
import { readChatRequest } from '../requests/chat-request.js'
import { GrowingCall, GrowingCalls, type Selection, selectionOf } from './chat-calls.js'
import { GrowingText } from './growing-text.js'
import { OpenaiUsage } from './openai-usage.js'
import { countOf } from './token-names.js'

/** The route `POST /chat/completions`. */
export const openaiChat: BridgedRoute = {
  name: 'openai/chat/completions',
  readRequest: readChatRequest,
  adapt: askForUsage,
  createResponseReader: () => new ChatReader(),
}

/**
 * Asks for the usage of a stream, which a provider sends only on request. The usage comes in a chunk of its own, which
 * is hidden: a client that did not ask for the chunk does not expect it.
 */
function askForUsage(json: JsonObject, body: Buffer): Adaptation | undefined {
  const options = json.stream_options ?? {}
  if (json.stream !== true || !isPlainObject(options)) return undefined
  // Any other value is the client's own wish, or an error that the provider rejects.
  if ((options.include_usage ?? false) !== false) return undefined
  const patched = setMember(body, ['stream_options', 'include_usage'], true)
  return { body: patched, marker: '"usage"', hides: isUsageAlone }
}

function isUsageAlone({ data }: SseEvent): boolean {
  const json = parsed(data)
  if (!isPlainObject(json) || json.error || !isPlainObject(json.usage)) return false
  const choices = json.choices ?? []
  return Array.isArray(choices) && choices.length === 0
}

/** A call as it is recorded. */
class RecordedCall extends GrowingCall {
  readonly input = new GrowingText()
  readonly at = new Date()

  override append(selection: Selection): void {
    super.append(selection)
    this.input.append(selection.input)
  }
}

class ChatReader implements ResponseReader {
  complete = false
  #msgId: string | undefined
  #error: Failure | undefined
  #relayedCharacters = 0
  #unknownCalls = 0
  /** characters that were received when the newest usage came */
  #charactersAtUsage = 0
  #usageIsLast = false
  readonly #outcome: Outcome = {}
  readonly #usage = new OpenaiUsage()
  readonly #calls = new GrowingCalls(() => new RecordedCall())
  /** index of a choice → whether the choice has finished */
  readonly #choices = new Map<unknown, boolean>()
  /** index of a choice → the reasoning before its text */
  readonly #thoughts = new Map<unknown, { text: GrowingText; at: Date }>()

  /** True without `[DONE]` too: some providers leave it out, and no client misses it. `[DONE]` alone is no response. */
  get mayEnd(): boolean {
    if (this.complete) return this.#choices.size > 0 || this.#error !== undefined || this.#usage.counts() !== undefined
    return this.#isFinished
  }

  get #isFinished(): boolean {
    return this.#choices.size > 0 && [...this.#choices.values()].every(finished => finished)
  }

  event({ event, data }: SseEvent): void {
    if (this.complete) return
    if (data.trim() === '[DONE]') {
      this.complete = true
      return
    }
    const json = parsed(data)
    // An event `error` holds the bare error; the official SDK throws at it.
    if (event === 'error') {
      this.#error = errorIn(json ?? data) ?? unnamedError
      this.complete = true
      return
    }
    if (!isPlainObject(json)) return
    const choices = objectsOf(json.choices)
    const hasUsage = this.#read(json, choices)
    if (this.#error && choices.length === 0) this.complete = true
    for (const [position, choice] of choices.entries()) {
      const index = choice.index ?? position
      if (isPlainObject(choice.delta)) this.#addDelta(index, choice.delta)
      this.#choices.set(index, this.#choices.get(index) || textOf(choice.finish_reason) !== undefined)
    }
    if (!hasUsage) return
    this.#charactersAtUsage = this.#relayedCharacters
    this.#usageIsLast = this.#isFinished
  }

  body(json: unknown): boolean {
    // Google's compatible API wraps an error in an array.
    const response: unknown = Array.isArray(json) ? json[0] : json
    if (!isPlainObject(response)) return false
    const choices = objectsOf(response.choices)
    this.#read(response, choices)
    for (const [index, { message }] of choices.entries()) {
      if (!isPlainObject(message)) continue
      const { tool_calls: calls, function_call: call } = message
      this.#addText(index, message)
      for (const whole of objectsOf(calls)) {
        this.#countUnknown(whole)
        this.#addCall(whole)
      }
      if (isPlainObject(call)) this.#addCall({ function: call })
    }
    this.#usageIsLast = true
    return this.#error !== undefined || Array.isArray(response.choices) || isPlainObject(response.usage)
  }

  facts(): ResponseFacts {
    const tools = this.#calls.all.map(({ callId, tool, input, at }) => ({ callId, tool, input: input.kept(), at }))
    const thoughts: Thought[] = [...this.#thoughts.values()].map(({ text, at }) => ({ content: text.kept(), at }))
    const usage = this.#usage.counts()
    return {
      msgId: this.#msgId,
      usage,
      // A stream that broke may have counted a beginning only.
      usageIsFinal: usage !== undefined && (this.#usageIsLast || this.#charactersAtUsage === this.#relayedCharacters),
      usageMismatch: this.#usage.isMismatched,
      outcome: this.#outcome,
      relayedCharacters: this.#relayedCharacters,
      unknownItems: this.#unknownCalls,
      tools,
      thoughts,
      error: this.#error,
    }
  }

  /** Reads the fields beside the choices, and the ends of the choices. Returns whether it holds a usage. */
  #read(json: Record<string, unknown>, choices: readonly Record<string, unknown>[]): boolean {
    if (choices.length === 0) this.#error ??= json.error ? (errorIn(json.error) ?? unnamedError) : errorInstead(json)
    else if (json.error) this.#error ??= errorIn(json.error)
    let hasUsage = isPlainObject(json.usage)
    this.#msgId ??= textOf(json.id)
    const outcome = this.#outcome
    outcome.served_model = textOf(json.model) ?? outcome.served_model
    outcome.service_tier = textOf(json.service_tier) ?? outcome.service_tier
    this.#addUsage(json.usage)
    // Groq puts usage into `x_groq`, Moonshot into a choice.
    if (isPlainObject(json.x_groq)) {
      this.#addUsage(json.x_groq.usage)
      hasUsage ||= isPlainObject(json.x_groq.usage)
    }
    for (const choice of choices) {
      this.#addUsage(choice.usage)
      hasUsage ||= isPlainObject(choice.usage)
      outcome.stop_reason ??= textOf(choice.finish_reason)
      // A proxy reports an error of the provider behind it in a choice, or in the message inside.
      const error = choice.error || errorField(choice.delta) || errorField(choice.message)
      if (error || choice.finish_reason === 'error') this.#error ??= errorIn(error) ?? unnamedError
    }
    return hasUsage
  }

  #addUsage(usage: unknown): void {
    if (!isPlainObject(usage)) return
    this.#usage.add(usage)
    this.#outcome.searches = searchesOf(usage) ?? this.#outcome.searches
  }

  #addDelta(index: unknown, delta: Record<string, unknown>): void {
    const { tool_calls: calls, function_call: call } = delta
    this.#addText(index, delta)
    for (const [place, part] of objectsOf(calls).entries()) this.#addPart(index, part.index ?? place, part)
    // The older form, for a single call.
    if (isPlainObject(call)) this.#addPart(index, 'function_call', { function: call })
  }

  /** Adds the text and the reasoning of a message or a part of one. */
  #addText(
    index: unknown,
    { content, refusal, reasoning_content: own, reasoning, images }: Record<string, unknown>,
  ): void {
    const thought = textOf(own) ?? textOf(reasoning)
    for (const text of [content, refusal, thought]) this.#relayedCharacters += textOf(text)?.length ?? 0
    for (const { text } of objectsOf(content)) this.#relayedCharacters += textOf(text)?.length ?? 0
    if (Array.isArray(images) && images.length > 0) this.#outcome.images = (this.#outcome.images ?? 0) + images.length
    if (thought === undefined) return
    const known = this.#thoughts.get(index) ?? { text: new GrowingText(), at: new Date() }
    known.text.append(thought)
    this.#thoughts.set(index, known)
  }

  #addPart(choice: unknown, place: unknown, part: Record<string, unknown>): void {
    this.#countUnknown(part)
    if (this.#calls.addPart(choice, place, part)) this.#relayedCharacters += selectionOf(part).input.length
  }

  #countUnknown({ type }: Record<string, unknown>): void {
    if (typeof type === 'string' && type !== '' && type !== 'function' && type !== 'custom') this.#unknownCalls++
  }

  /** Adds a whole call. */
  #addCall(whole: Record<string, unknown>): void {
    const selection = selectionOf(whole)
    if (this.#calls.add(selection)) this.#relayedCharacters += selection.input.length
  }
}

/** Returns the searches that a provider counts in its usage: xAI, Perplexity, OpenRouter. */
function searchesOf(usage: Record<string, unknown>): number | undefined {
  const { server_tool_use: tools, num_sources_used: sources, num_search_queries: queries } = usage
  const requests = isPlainObject(tools) ? countOf(tools.web_search_requests) : undefined
  return countOf(sources) ?? countOf(queries) ?? requests
}

function errorField(value: unknown): unknown {
  return isPlainObject(value) ? value.error : undefined
}
