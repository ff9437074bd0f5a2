/** OpenAI Chat Completions (https://platform.openai.com/docs/api-reference/chat and …/chat-streaming). */
import { isPlainObject, type JsonObject } from '../../../shared/values/text.js'
import { setMember } from '../wire/json-patch.js'
import type { SseEvent } from '../wire/sse.js'
import { recogniseSession } from './client-recognition.js'
import type { Failure } from './error-type.js'
import { GrowingText } from './growing-text.js'
import { ObjectEnd } from './object-end.js'
import { openaiFailure } from './openai-errors.js'
import { OpenaiUsage } from './openai-usage.js'
import type { Adaptation, BridgedRoute, ResponseFacts, ResponseReader } from './provider-api.js'
import { jsonTextOf, lastSpoken, objectsOf, parsed, textOf } from './reading.js'

export const openaiChat: BridgedRoute = {
  readRequest(body, headers) {
    const messages = objectsOf(body.messages)
    const last = lastSpoken(messages)
    const lastOfOthers = lastSpoken(messages.filter(({ role }) => role !== 'user'))
    return {
      model: textOf(body.model) ?? '',
      prompt: last?.role === 'user' ? promptOf(last.content) : undefined,
      correlatingToolCallId: lastOfOthers?.role === 'tool' ? textOf(lastOfOthers.tool_call_id) : undefined,
      sessionId: recogniseSession(headers),
    }
  },
  adapt: askForUsage,
  createResponseReader: () => new ChatReader(),
}

function promptOf(content: unknown): string | undefined {
  if (typeof content === 'string') return content || undefined
  return textOf(objectsOf(content).findLast(part => part.type === 'text')?.text)
}

/** A stream tells its usage only to those who ask, in a chunk of its own, which a client that has not asked does not expect. */
function askForUsage(json: JsonObject, body: Buffer): Adaptation | undefined {
  const options = json.stream_options ?? {}
  if (json.stream !== true || !isPlainObject(options)) return undefined
  // Whatever else stands there is the client's wish, or the provider's to refuse.
  if ((options.include_usage ?? false) !== false) return undefined
  const patched = setMember(body, ['stream_options', 'include_usage'], true)
  return { body: patched, marker: '"usage"', hides: isUsageAlone }
}

function isUsageAlone({ data }: SseEvent): boolean {
  const json = parsed(data)
  if (!isPlainObject(json) || json.error || !isPlainObject(json.usage)) return false
  return Array.isArray(json.choices) && json.choices.length === 0
}

interface Call {
  callId: string
  tool: string
  input: GrowingText
  end: ObjectEnd
  at: Date
}

class ChatReader implements ResponseReader {
  complete = false
  #msgId: string | undefined
  #error: Failure | undefined
  readonly #usage = new OpenaiUsage({
    input: 'prompt_tokens',
    inputDetails: 'prompt_tokens_details',
    output: 'completion_tokens',
  })
  readonly #calls: Call[] = []
  readonly #byId = new Map<string, Call>()
  /** the newest call at each place of the answer */
  readonly #open = new Map<string, Call>()
  /** of each choice, whether it has finished */
  readonly #choices = new Map<unknown, boolean>()

  /** Some providers leave `[DONE]` out, and no client misses it. */
  get mayEnd(): boolean {
    return this.complete || (this.#choices.size > 0 && [...this.#choices.values()].every(finished => finished))
  }

  event({ data }: SseEvent): void {
    if (this.complete) return
    if (data.trim() === '[DONE]') {
      this.complete = true
      return
    }
    const json = parsed(data)
    if (!isPlainObject(json)) return
    if (json.error) this.complete = true
    this.#read(json)
    for (const [position, choice] of objectsOf(json.choices).entries()) {
      const index = choice.index ?? position
      const { tool_calls: calls, function_call: call } = isPlainObject(choice.delta) ? choice.delta : {}
      for (const [place, part] of objectsOf(calls).entries()) this.#addPart(index, part.index ?? place, part)
      // The form that was used before there were several calls.
      if (isPlainObject(call)) this.#addPart(index, 'function_call', { function: call })
      this.#choices.set(index, this.#choices.get(index) || textOf(choice.finish_reason) !== undefined)
    }
  }

  body(json: unknown): void {
    // Google's compatible API puts an error into an array.
    const response: unknown = Array.isArray(json) ? json[0] : json
    if (!isPlainObject(response)) return
    this.#read(response)
    for (const { message } of objectsOf(response.choices)) {
      const { tool_calls: calls, function_call: call } = isPlainObject(message) ? message : {}
      for (const whole of objectsOf(calls)) this.#addCall(selectionOf(whole))
      if (isPlainObject(call)) this.#addCall(selectionOf({ function: call }))
    }
  }

  facts(): ResponseFacts {
    const tools = this.#calls.map(({ callId, tool, input, at }) => ({ callId, tool, input: input.kept(), at }))
    return { msgId: this.#msgId, usage: this.#usage.counts(), tools, thoughts: [], error: this.#error }
  }

  #read(json: Record<string, unknown>): void {
    if (json.error) this.#error = openaiFailure(json.error)
    this.#msgId ??= textOf(json.id)
    this.#usage.add(json.usage)
    // Groq's and Moonshot's places for it.
    if (isPlainObject(json.x_groq)) this.#usage.add(json.x_groq.usage)
    for (const choice of objectsOf(json.choices)) {
      this.#usage.add(choice.usage)
      // OpenRouter's place for an error of the provider behind it.
      if (choice.error || choice.finish_reason === 'error') this.#error ??= openaiFailure(choice.error)
    }
  }

  #addPart(choice: unknown, place: unknown, part: Record<string, unknown>): void {
    const selection = selectionOf(part)
    const slot = `${choice} ${place}`
    const open = this.#open.get(slot)
    // Some providers give every call of a function the same id; then the index, where there is one, keeps them apart.
    const idIn = (id: string) => `${choice} ${part.index} ${id}`
    const known = selection.callId === '' ? undefined : this.#byId.get(idIn(selection.callId))
    const call = this.#addCall(selection, known ?? (open && continues(open, selection) ? open : undefined))
    if (!call) return
    if (call.callId !== '') this.#byId.set(idIn(call.callId), call)
    this.#open.set(slot, call)
  }

  /** Adds to a call, or a new one; a new one that says nothing is none. */
  #addCall({ callId, tool, input }: Selection, known?: Call): Call | undefined {
    if (!known && callId === '' && tool === '' && input === '') return undefined
    const call = known ?? { callId, tool, input: new GrowingText(), end: new ObjectEnd(), at: new Date() }
    if (!known) this.#calls.push(call)
    call.callId ||= callId
    call.tool ||= tool
    call.input.append(input)
    call.end.append(input)
    return call
  }
}

/** A call, or a part of one; what is not there is empty. */
interface Selection {
  callId: string
  tool: string
  input: string
}

/** Of a function (`arguments`, JSON) or a custom tool (`input`, free text). */
function selectionOf(call: Record<string, unknown>): Selection {
  const selected = isPlainObject(call.function) ? call.function : isPlainObject(call.custom) ? call.custom : {}
  const input = selected.arguments ?? selected.input ?? ''
  return {
    callId: textOf(call.id) ?? '',
    tool: textOf(selected.name) ?? '',
    input: typeof input === 'string' ? input : jsonTextOf(input),
  }
}

/** Some providers give all calls the same place, and no id: then a name behind a whole input begins another call. */
function continues({ callId, tool, end }: Call, next: Selection): boolean {
  if (next.tool === '') return true
  if (tool === '') return callId === '' || next.callId === ''
  return next.callId === '' && !end.reached
}
