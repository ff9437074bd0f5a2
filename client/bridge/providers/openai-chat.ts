/** OpenAI Chat Completions (https://platform.openai.com/docs/api-reference/chat and …/chat-streaming). */
import { isPlainObject, type JsonObject } from '../../../shared/text.js'
import { recogniseSession } from '../client-recognition.js'
import type { Failure } from '../error-type.js'
import { GrowingText } from '../growing-text.js'
import { setMember } from '../json-patch.js'
import type { SseEvent } from '../sse.js'
import { openaiFailure } from './openai-errors.js'
import { OpenaiUsage } from './openai-usage.js'
import type { Adaptation, AnswerFacts, AnswerReader, BridgedRoute } from './provider-api.js'
import { lastSpoken, objectsOf, parsed, textOf } from './reading.js'

export const openaiChat: BridgedRoute = {
  readRequest(body, headers) {
    const messages = objectsOf(body.messages)
    const last = lastSpoken(messages)
    const answered = lastSpoken(messages.filter(({ role }) => role !== 'user'))
    return {
      model: textOf(body.model) ?? '',
      prompt: last?.role === 'user' ? promptOf(last.content) : undefined,
      correlatingToolCallId: answered?.role === 'tool' ? textOf(answered.tool_call_id) : undefined,
      sessionId: recogniseSession(headers),
    }
  },
  adapt: askForUsage,
  createAnswerReader: () => new ChatReader(),
}

function promptOf(content: unknown): string | undefined {
  if (typeof content === 'string') return content || undefined
  return textOf(objectsOf(content).findLast(part => part.type === 'text')?.text)
}

/** A stream tells its usage only to those who ask, in a chunk of its own, which a client that has not asked does not expect. */
function askForUsage(json: JsonObject, body: Buffer): Adaptation | undefined {
  const options = json.stream_options ?? {}
  // A request that is wrong is the provider's to refuse.
  if (json.stream !== true || !isPlainObject(options) || options.include_usage === true) return undefined
  return { body: setMember(body, ['stream_options', 'include_usage'], true), hides: isUsageAlone }
}

function isUsageAlone({ data }: SseEvent): boolean {
  if (!data.includes('"usage"')) return false
  const json = parsed(data)
  return isPlainObject(json) && Array.isArray(json.choices) && json.choices.length === 0 && isPlainObject(json.usage)
}

interface Call {
  callId: string
  tool: string
  input: GrowingText
  at: Date
}

class ChatReader implements AnswerReader {
  complete = false
  #msgId: string | undefined
  #error: Failure | undefined
  readonly #usage = new OpenaiUsage({
    input: 'prompt_tokens',
    inputDetails: 'prompt_tokens_details',
    output: 'completion_tokens',
  })
  readonly #calls: Call[] = []
  /** the newest call at each place of the answer */
  readonly #open = new Map<string, Call>()
  readonly #unfinished = new Set<unknown>()
  #finished = false

  /** Some providers leave `[DONE]` out, and no client misses it. */
  get mayEnd(): boolean {
    return this.complete || (this.#finished && this.#unfinished.size === 0)
  }

  event({ data }: SseEvent): void {
    if (this.complete) return
    if (data.trim() === '[DONE]') {
      this.complete = true
      return
    }
    const json = parsed(data)
    if (!isPlainObject(json)) return
    this.#read(json, 'delta')
    if (this.#error) this.complete = true
  }

  body(json: unknown): void {
    if (isPlainObject(json)) this.#read(json, 'message')
  }

  facts(): AnswerFacts {
    const tools = this.#calls.map(({ input, ...call }) => ({ ...call, input: input.kept() }))
    return { msgId: this.#msgId, usage: this.#usage.counts(), tools, thoughts: [], error: this.#error }
  }

  #read(json: Record<string, unknown>, part: 'delta' | 'message'): void {
    if (json.error) this.#error = openaiFailure(json.error)
    this.#msgId ??= textOf(json.id)
    this.#usage.add(json.usage)
    for (const [position, choice] of objectsOf(json.choices).entries()) {
      const index = choice.index ?? position
      if (textOf(choice.finish_reason) === undefined) this.#unfinished.add(index)
      else {
        this.#unfinished.delete(index)
        this.#finished = true
      }
      const message = choice[part]
      if (!isPlainObject(message)) continue
      for (const [place, call] of objectsOf(message.tool_calls).entries()) {
        // A custom tool's input is free text.
        this.#call(
          `${index} ${call.index ?? place}`,
          call.id,
          call.type === 'custom' ? call.custom : (call.function ?? call.custom),
        )
      }
      // The form that was used before there were several calls.
      if (isPlainObject(message.function_call)) this.#call(`${index} -`, undefined, message.function_call)
    }
  }

  #call(place: string, id: unknown, selected: unknown): void {
    const { name, arguments: text, input } = isPlainObject(selected) ? selected : {}
    const callId = textOf(id)
    let call = this.#open.get(place)
    // Some providers give all parallel calls the same index.
    if (!call || (callId !== undefined && call.callId !== '' && call.callId !== callId)) {
      call = { callId: callId ?? '', tool: '', input: new GrowingText(), at: new Date() }
      this.#calls.push(call)
      this.#open.set(place, call)
    }
    call.callId ||= callId ?? ''
    call.tool ||= textOf(name) ?? ''
    call.input.append(textOf(text) ?? textOf(input) ?? '')
  }
}
