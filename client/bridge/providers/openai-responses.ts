/** OpenAI Responses (https://platform.openai.com/docs/api-reference/responses and …/responses-streaming). */
import { isPlainObject } from '../../../shared/text.js'
import { recogniseSession } from '../client-recognition.js'
import type { Failure } from '../error-type.js'
import { GrowingText } from '../growing-text.js'
import type { SseEvent } from '../sse.js'
import { openaiFailure } from './openai-errors.js'
import { OpenaiUsage } from './openai-usage.js'
import type { AnswerFacts, AnswerReader, BridgedRoute, Thought, ToolCall } from './provider-api.js'
import { lastSpoken, objectsOf, parsed, textOf } from './reading.js'

export const openaiResponses: BridgedRoute = {
  readRequest({ model, input }, headers) {
    const items = objectsOf(input)
    const answered = lastSpoken(items.filter(({ role }) => role !== 'user'))
    const isToolResult = textOf(answered?.type)?.endsWith('_output') ?? false
    return {
      model: textOf(model) ?? '',
      prompt: textOf(input) ?? promptOf(lastSpoken(items)),
      correlatingToolCallId: isToolResult ? textOf(answered?.call_id) : undefined,
      sessionId: recogniseSession(headers),
    }
  },
  createAnswerReader: () => new ResponseReader(),
}

function promptOf(item: Record<string, unknown> | undefined): string | undefined {
  if (item?.role !== 'user') return undefined
  const texts = objectsOf(item.content).flatMap(part => (part.type === 'input_text' ? (textOf(part.text) ?? []) : []))
  return textOf(item.content) ?? textOf(texts.join('\n'))
}

/** Calls that the client is to run, and the field with what it is to do; the provider itself runs all others. */
const clientCalls: Readonly<Record<string, string>> = {
  function_call: 'arguments',
  custom_tool_call: 'input',
  local_shell_call: 'action',
  shell_call: 'action',
  computer_call: 'action',
  apply_patch_call: 'operation',
}

/** A part of the answer that leaves a record. */
interface Item {
  call: Omit<ToolCall, 'input'> | undefined
  /** a call's input; or thoughts, by their place in the item */
  texts: Map<unknown, GrowingText>
  at: Date
}

class ResponseReader implements AnswerReader {
  complete = false
  #msgId: string | undefined
  #error: Failure | undefined
  readonly #usage = new OpenaiUsage({
    input: 'input_tokens',
    inputDetails: 'input_tokens_details',
    output: 'output_tokens',
  })
  /** by their place in the answer: proxies are known to give an item another id in each event */
  readonly #items = new Map<unknown, Item>()

  get mayEnd(): boolean {
    return this.complete
  }

  event({ event, data }: SseEvent): void {
    if (this.complete) return
    const json = parsed(data)
    if (!isPlainObject(json)) return
    const place = json.output_index ?? json.item_id
    switch (textOf(json.type) ?? event) {
      case 'response.output_item.added':
      case 'response.output_item.done':
        this.#item(json.output_index, json.item)
        break
      case 'response.function_call_arguments.delta':
      case 'response.custom_tool_call_input.delta':
        this.#append(place, undefined, json.delta)
        break
      case 'response.reasoning_summary_text.delta':
        this.#append(place, json.summary_index, json.delta)
        break
      case 'response.output_text.delta':
        this.#append(place, 0, json.delta)
        break
      case 'response.completed':
      case 'response.incomplete':
      case 'response.failed':
      case 'response.cancelled':
        this.#response(json.response)
        this.complete = true
        break
      case 'error':
        this.#error = openaiFailure(isPlainObject(json.error) ? json.error : { ...json, type: undefined })
        this.complete = true
        break
      default:
        if (isPlainObject(json.response)) this.#msgId ??= textOf(json.response.id)
    }
  }

  body(json: unknown): void {
    this.#response(json)
  }

  facts(): AnswerFacts {
    const tools: ToolCall[] = []
    const thoughts: Thought[] = []
    for (const { call, texts, at } of this.#items.values()) {
      const contents = [...texts.values()].filter(text => !text.empty).map(text => text.kept())
      if (call) tools.push({ ...call, input: contents[0] ?? { text: '', bytes: 0 } })
      else thoughts.push(...contents.map(content => ({ content, at })))
    }
    return { msgId: this.#msgId, usage: this.#usage.counts(), tools, thoughts, error: this.#error }
  }

  #response(response: unknown): void {
    if (!isPlainObject(response)) return
    this.#msgId ??= textOf(response.id)
    this.#usage.add(response.usage)
    if (response.error || response.status === 'failed') this.#error = openaiFailure(response.error)
    for (const [place, item] of objectsOf(response.output).entries()) {
      if (!this.#items.has(place)) this.#item(place, item)
    }
  }

  /** What an item says of itself replaces what its deltas said. */
  #item(outputIndex: unknown, json: unknown): void {
    if (!isPlainObject(json)) return
    const type = textOf(json.type) ?? ''
    const place = outputIndex ?? json.id
    const at = this.#items.get(place)?.at ?? new Date()
    const inputField = Object.hasOwn(clientCalls, type) ? clientCalls[type] : undefined
    if (inputField !== undefined) {
      const call = {
        callId: textOf(json.call_id) ?? '',
        itemId: textOf(json.id),
        tool: textOf(json.name) ?? type.replace(/_call$/, ''),
        at,
      }
      this.#items.set(place, { call, texts: new Map([[undefined, wholeText(json[inputField])]]), at })
    } else if (type === 'reasoning') {
      const parts = objectsOf(json.summary).map(({ text }, index) => [index, wholeText(text)] as const)
      this.#items.set(place, { call: undefined, texts: new Map(parts), at })
    } else if (type === 'message' && json.phase === 'commentary') {
      const text = objectsOf(json.content).map(part => textOf(part.text) ?? '')
      // One message is one thought, whatever it is made of.
      this.#items.set(place, { call: undefined, texts: new Map([[0, wholeText(text.join(''))]]), at })
    }
  }

  #append(place: unknown, part: unknown, delta: unknown): void {
    const item = this.#items.get(place)
    if (!item || typeof delta !== 'string') return
    const text = item.texts.get(part) ?? new GrowingText()
    text.append(delta)
    item.texts.set(part, text)
  }
}

/** Text as it is; anything else as JSON. */
function wholeText(value: unknown): GrowingText {
  const text = new GrowingText()
  if (value !== undefined && value !== null) text.append(typeof value === 'string' ? value : JSON.stringify(value))
  return text
}
