/** OpenAI Responses (https://platform.openai.com/docs/api-reference/responses and …/responses-streaming). */
import { isPlainObject } from '../../../../shared/values/text.js'
import type { SseEvent } from '../../wire/sse.js'
import type { Failure } from '../error-type.js'
import type { BridgedRoute, Outcome, ResponseFacts, ResponseReader, Thought, ToolCall } from '../provider-api.js'
import { errorIn, errorInstead, unnamedError } from '../provider-errors.js'
import { objectsOf, parsed, serverUrls, textOf } from '../reading.js'
import { readCompactionRequest, readResponsesRequest } from '../requests/responses-request.js'
import {
  append,
  callOf,
  charactersOf,
  hasText,
  type Item,
  inputOf,
  isCall,
  isThought,
  isUnknown,
  reasoningPart,
  replaceInput,
  runsElsewhere,
  sumOf,
  thoughtsOf,
  wholeText,
} from './openai-items.js'
import { OpenaiUsage } from './openai-usage.js'
import { countOf } from './token-names.js'

/** The route `POST /responses`. */
export const openaiResponses: BridgedRoute = {
  name: 'openai/responses',
  readRequest: readResponsesRequest,
  createResponseReader: request => new ResponsesReader(serverUrls(request?.tools, 'server_label', 'server_url')),
}

/** The route `POST /responses/compact`: a model call that shortens a conversation. */
export const openaiCompaction: BridgedRoute = {
  ...openaiResponses,
  name: 'openai/responses/compact',
  readRequest: readCompactionRequest,
}

class ResponsesReader implements ResponseReader {
  complete = false
  #msgId: string | undefined
  #error: Failure | undefined
  #deltaCharacters = 0
  /** place → characters of a whole item */
  readonly #characters = new Map<unknown, number>()
  readonly #outcome: Outcome = {}
  readonly #usage = new OpenaiUsage()
  readonly #serverUrls: ReadonlyMap<string, string>
  /** place → type of every item */
  readonly #types = new Map<unknown, string>()
  /** by a key that stays the same from event to event; with some proxies the id of an item does not */
  readonly #items = new Map<string, Item>()
  /** the newest item at each place of the response */
  readonly #open = new Map<unknown, Item>()

  constructor(serverUrls: ReadonlyMap<string, string>) {
    this.#serverUrls = serverUrls
  }

  get mayEnd(): boolean {
    return this.complete
  }

  event({ event, data }: SseEvent): void {
    if (this.complete) return
    const json = parsed(data)
    // The data is the bare error, or the API's own event `error`.
    if (event === 'error' && !(isPlainObject(json) && json.type === 'error')) {
      this.#error = errorIn(json ?? data) ?? unnamedError
      this.complete = true
      return
    }
    if (!isPlainObject(json)) return
    const place = json.output_index ?? json.item_id
    const item = this.#open.get(place)
    const [call, thought] = item?.call ? [item, undefined] : [undefined, item]
    const type = textOf(json.type) ?? (event || (json.error ? 'error' : ''))
    if (type.endsWith('.delta')) this.#deltaCharacters += textOf(json.delta)?.length ?? 0
    switch (type) {
      case 'response.output_item.added':
        // Some proxies give every item the same place: later events are of the new item, even if it leaves no record.
        this.#open.delete(place)
        this.#item(json.output_index, json.item)
        break
      case 'response.output_item.done':
        this.#item(json.output_index, json.item)
        break
      case 'response.function_call_arguments.delta':
      case 'response.custom_tool_call_input.delta':
      case 'response.mcp_call_arguments.delta':
        append(call, undefined, json.delta)
        break
      case 'response.function_call_arguments.done':
      case 'response.mcp_call_arguments.done':
        replaceInput(call, json.arguments)
        break
      case 'response.custom_tool_call_input.done':
        replaceInput(call, json.input)
        break
      case 'response.reasoning_summary_text.delta':
        append(thought, json.summary_index, json.delta)
        break
      case 'response.reasoning_text.delta':
        append(thought, reasoningPart(json.content_index), json.delta)
        break
      case 'response.output_text.delta':
        append(thought, 0, json.delta)
        break
      case 'response.completed':
      case 'response.done':
      case 'response.incomplete':
        this.#usage.add(json.usage)
        this.#response(json.response)
        this.complete = true
        break
      case 'response.failed':
        this.#response(json.response)
        this.#error ??= errorIn(json.error) ?? unnamedError
        this.complete = true
        break
      case 'response.cancelled':
        this.#response(json.response)
        this.#error ??= cancelled
        this.complete = true
        break
      case 'error':
        this.#error =
          errorIn(json.error || { ...json, type: json.type === 'error' ? undefined : json.type }) ?? unnamedError
        this.complete = true
        break
      default:
        if (isPlainObject(json.response)) this.#head(json.response)
        else {
          const flat = type.endsWith('.error') ? { ...json, type: undefined } : json
          const error = json.error ? (errorIn(json.error) ?? unnamedError) : errorInstead(flat)
          if (!error) break
          this.#error = error
          this.complete = true
        }
    }
  }

  body(json: unknown): boolean {
    if (!isPlainObject(json)) return false
    this.#response(json)
    return Boolean(json.error) || Array.isArray(json.output) || isPlainObject(json.usage) || json.object === 'response'
  }

  facts(): ResponseFacts {
    const tools: ToolCall[] = []
    const thoughts: Thought[] = []
    for (const { call, texts, at } of this.#items.values()) {
      const contents = [...texts.values()].filter(text => !text.empty).map(text => text.kept())
      if (call) tools.push({ ...call, input: contents[0] ?? { text: '', bytes: 0 }, at })
      else thoughts.push(...contents.map(content => ({ content, at })))
    }
    const usage = this.#usage.counts()
    return {
      msgId: this.#msgId,
      usage,
      usageIsFinal: usage !== undefined,
      usageMismatch: this.#usage.isMismatched,
      outcome: { ...this.#counted(), ...this.#outcome },
      relayedCharacters: Math.max(this.#deltaCharacters, sumOf(this.#characters.values())),
      unknownItems: [...this.#types.values()].filter(isUnknown).length,
      tools,
      thoughts,
      error: this.#error,
    }
  }

  /** Counts images and searches by the types of the items; the provider's own counts go before. */
  #counted(): Outcome {
    const types = [...this.#types.values()]
    const [images, searches] = ['image_generation_call', 'web_search_call'].map(
      type => types.filter(other => other === type).length || undefined,
    )
    return { images, searches }
  }

  /** Reads what every snapshot of the response says. */
  #head(response: Record<string, unknown>): void {
    this.#msgId ??= textOf(response.id)
    this.#outcome.served_model = textOf(response.model) ?? this.#outcome.served_model
    this.#outcome.service_tier = textOf(response.service_tier) ?? this.#outcome.service_tier
  }

  #response(response: unknown): void {
    if (!isPlainObject(response)) return
    this.#head(response)
    this.#usage.add(response.usage)
    this.#toolUsage(response.tool_usage)
    const { incomplete_details: incomplete } = response
    if (isPlainObject(incomplete)) this.#outcome.incomplete_reason = textOf(incomplete.reason)
    if (response.error || response.status === 'failed') this.#error = errorIn(response.error) ?? unnamedError
    else if (response.status === 'cancelled') this.#error = cancelled
    const output = objectsOf(response.output)
    // Places in the whole output may differ from those of the stream; only calls have an id of their own.
    const times: Date[] = []
    if (output.some(item => isThought(item) && hasText(thoughtsOf(item)))) {
      for (const [key, { call, at }] of this.#items) {
        if (call) continue
        times.push(at)
        this.#items.delete(key)
      }
    }
    if (output.length > 0) {
      this.#types.clear()
      this.#characters.clear()
    }
    let thoughts = 0
    for (const [place, item] of output.entries())
      this.#item(place, item, isThought(item) ? times[thoughts++] : undefined)
  }

  /** Reads the usage of the provider's tools, which stands beside the usage of the model. */
  #toolUsage(usage: unknown): void {
    this.#usage.addDetail('tool_usage', usage)
    const search = isPlainObject(usage) ? usage.web_search : undefined
    if (isPlainObject(search)) this.#outcome.searches = countOf(search.num_requests) ?? this.#outcome.searches
  }

  /** Reads a whole item, which replaces the parts that were received before. */
  #item(place: unknown, json: unknown, at?: Date): void {
    if (!isPlainObject(json)) return
    const type = textOf(json.type) ?? ''
    this.#types.set(place ?? json.id, type)
    this.#characters.set(place ?? json.id, charactersOf(json))
    if (isCall(type)) {
      if (runsElsewhere(json)) return
      const call = callOf(type, json, this.#serverUrls)
      const texts = new Map([[undefined, wholeText(inputOf(json))]])
      const key = textOf(json.call_id) === undefined ? `place ${place ?? json.id}` : `call ${call.callId}`
      this.#set(key, place ?? json.id, { call, texts })
    } else if (isThought(json)) {
      this.#set(`thought ${place ?? json.id}`, place ?? json.id, { call: undefined, texts: thoughtsOf(json) }, at)
    }
  }

  #set(key: string, place: unknown, { call, texts }: Omit<Item, 'at'>, at = new Date()): void {
    const known = this.#items.get(key)
    // A whole item without its input keeps the input that was received in parts.
    const item = { call, texts: known && !hasText(texts) ? known.texts : texts, at: known?.at ?? at }
    this.#items.set(key, item)
    this.#open.set(place, item)
  }
}

const cancelled: Failure = { type: 'unknown', message: 'the response was cancelled' }
