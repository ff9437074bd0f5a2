/** OpenAI Responses (https://platform.openai.com/docs/api-reference/responses and …/responses-streaming). */
import { isPlainObject } from '../../../shared/values/text.js'
import type { SseEvent } from '../wire/sse.js'
import type { Failure } from './error-type.js'
import { GrowingText } from './growing-text.js'
import { openaiFailure } from './openai-errors.js'
import { OpenaiUsage } from './openai-usage.js'
import type { BridgedRoute, ResponseFacts, ResponseReader, Thought, ToolCall } from './provider-api.js'
import { jsonTextOf, objectsOf, parsed, textOf } from './reading.js'
import { readResponsesRequest } from './requests/responses-request.js'

/** The route `POST /responses`. */
export const openaiResponses: BridgedRoute = {
  readRequest: readResponsesRequest,
  createResponseReader: () => new ResponsesReader(),
}

/** Type of call that the client runs → the field with its input. The provider itself runs all other calls. */
const clientCalls: Readonly<Record<string, string>> = {
  function_call: 'arguments',
  custom_tool_call: 'input',
  local_shell_call: 'action',
  shell_call: 'action',
  computer_call: 'action',
  apply_patch_call: 'operation',
}

/** An item of the response that leaves a record: a call, or thoughts. */
interface Item {
  call: Omit<ToolCall, 'input' | 'at'> | undefined
  /** the input of a call; or thoughts, by their place in the item */
  texts: Map<unknown, GrowingText>
  at: Date
}

class ResponsesReader implements ResponseReader {
  complete = false
  #msgId: string | undefined
  #error: Failure | undefined
  readonly #usage = new OpenaiUsage({
    input: 'input_tokens',
    inputDetails: 'input_tokens_details',
    output: 'output_tokens',
  })
  /** by a key that stays the same from event to event; with some proxies the id of an item does not */
  readonly #items = new Map<string, Item>()
  /** the newest item at each place of the response */
  readonly #open = new Map<unknown, Item>()

  get mayEnd(): boolean {
    return this.complete
  }

  event({ event, data }: SseEvent): void {
    if (this.complete) return
    const json = parsed(data)
    if (!isPlainObject(json)) return
    const place = json.output_index ?? json.item_id
    const item = this.#open.get(place)
    const [call, thought] = item?.call ? [item, undefined] : [undefined, item]
    switch (textOf(json.type) ?? (event || (json.error ? 'error' : ''))) {
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
        append(call, undefined, json.delta)
        break
      case 'response.function_call_arguments.done':
        replaceInput(call, json.arguments)
        break
      case 'response.custom_tool_call_input.done':
        replaceInput(call, json.input)
        break
      case 'response.reasoning_summary_text.delta':
        append(thought, json.summary_index, json.delta)
        break
      case 'response.output_text.delta':
        append(thought, 0, json.delta)
        break
      case 'response.completed':
      case 'response.done':
      case 'response.incomplete':
        this.#response(json.response)
        this.complete = true
        break
      case 'response.failed':
        this.#response(json.response)
        this.#error ??= openaiFailure(json.error)
        this.complete = true
        break
      case 'response.cancelled':
        this.#response(json.response)
        this.#error ??= cancelled
        this.complete = true
        break
      case 'error':
        this.#error = openaiFailure(json.error || { ...json, type: undefined })
        this.complete = true
        break
      default:
        if (isPlainObject(json.response)) this.#msgId ??= textOf(json.response.id)
    }
  }

  body(json: unknown): void {
    this.#response(json)
  }

  facts(): ResponseFacts {
    const tools: ToolCall[] = []
    const thoughts: Thought[] = []
    for (const { call, texts, at } of this.#items.values()) {
      const contents = [...texts.values()].filter(text => !text.empty).map(text => text.kept())
      if (call) tools.push({ ...call, input: contents[0] ?? { text: '', bytes: 0 }, at })
      else thoughts.push(...contents.map(content => ({ content, at })))
    }
    return { msgId: this.#msgId, usage: this.#usage.counts(), tools, thoughts, error: this.#error }
  }

  #response(response: unknown): void {
    if (!isPlainObject(response)) return
    this.#msgId ??= textOf(response.id)
    this.#usage.add(response.usage)
    if (response.error || response.status === 'failed') this.#error = openaiFailure(response.error)
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
    let thoughts = 0
    for (const [place, item] of output.entries())
      this.#item(place, item, isThought(item) ? times[thoughts++] : undefined)
  }

  /** Reads a whole item, which replaces the parts that were received before. */
  #item(place: unknown, json: unknown, at?: Date): void {
    if (!isPlainObject(json)) return
    const type = textOf(json.type) ?? ''
    const callId = textOf(json.call_id) ?? ''
    if (Object.hasOwn(clientCalls, type)) {
      if (runsElsewhere(json)) return
      const call = { callId, itemId: textOf(json.id), tool: textOf(json.name) ?? type.replace(/_call$/, '') }
      const texts = new Map([[undefined, wholeText(json[clientCalls[type] ?? ''])]])
      this.#set(callId === '' ? `place ${place ?? json.id}` : `call ${callId}`, place ?? json.id, { call, texts })
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

/** Returns whether OpenAI runs a shell call in its own container, as the request may ask. */
function runsElsewhere({ environment }: Record<string, unknown>): boolean {
  return isPlainObject(environment) && textOf(environment.type)?.startsWith('container') === true
}

function isThought({ type, phase }: Record<string, unknown>): boolean {
  return type === 'reasoning' || (type === 'message' && phase === 'commentary')
}

/** Returns the thoughts of an item: each part of a summary is one, and a message of any number of parts is one. */
function thoughtsOf({ type, summary, content }: Record<string, unknown>): Item['texts'] {
  if (type === 'reasoning') return new Map(objectsOf(summary).map(({ text }, index) => [index, wholeText(text)]))
  const texts = objectsOf(content).map(({ text }) => textOf(text) ?? '')
  return new Map([[0, wholeText(texts.join(''))]])
}

function hasText(texts: Item['texts']): boolean {
  return [...texts.values()].some(text => !text.empty)
}

/** Replaces the input that was received in parts, unless the whole input is empty. */
function replaceInput(call: Item | undefined, input: unknown): void {
  const text = wholeText(input)
  if (!text.empty) call?.texts.set(undefined, text)
}

function append(item: Item | undefined, part: unknown, delta: unknown): void {
  if (!item || typeof delta !== 'string') return
  const text = item.texts.get(part) ?? new GrowingText()
  text.append(delta)
  item.texts.set(part, text)
}

/** Returns text as it is, and any other value as JSON. */
function wholeText(value: unknown): GrowingText {
  const text = new GrowingText()
  if (value !== undefined && value !== null) text.append(typeof value === 'string' ? value : jsonTextOf(value))
  return text
}
