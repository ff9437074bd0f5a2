import { isPlainObject, type JsonObject, type JsonValue } from '../../../../shared/values/text.js'
import { objectsOf, parsed, textOf } from '../../providers/reading.js'
import { GrowingCalls } from '../../providers/responses/chat-calls.js'
import type { EventFrame } from '../../wire/event-frames.js'
import type { SseEvent } from '../../wire/sse.js'
import { type ClientBytes, finalRound, type StreamRound, type Verdict } from '../round-bytes.js'
import { newestUsage } from '../usage-sums.js'
import type { ChatResponse } from './response.js'
import { cutReasons, finishedCalls, RoundTexts, SortedCall } from './round.js'

/**
 * Reads the streamed response of one round of Chat Completions. Chunks pass as they came until something of them is
 * hidden. Then the end (finish reason, usage, `[DONE]`) waits for the end of the round: it belongs to the client only
 * if the round is the last one, and some providers send no `[DONE]`.
 */
export class ChatStreamRound implements StreamRound {
  readonly #response: ChatResponse
  readonly #out: ClientBytes
  readonly #calls: GrowingCalls<SortedCall>
  readonly #texts = new RoundTexts()
  #usage: JsonObject | undefined
  #finishReason: string | undefined
  /** whether the older form of a call, which is always the client's, was received */
  #hasOldCall = false
  #visibleCalls = 0
  #head: JsonObject = {}
  /** the end of the round, for the client */
  #held: (Buffer | string)[] = []
  #state: 'open' | 'failed' | 'done' = 'open'
  /** undefined until the round is recorded */
  #verdict: Verdict | undefined

  constructor(response: ChatResponse, out: ClientBytes) {
    this.#response = response
    this.#out = out
    this.#calls = new GrowingCalls(() => new SortedCall(response.names))
  }

  frame({ event, bytes }: EventFrame): void {
    if (!event) this.#out.write(bytes)
    else if (this.#verdict) this.#late(bytes)
    else if (event.data.trim() === '[DONE]') this.#done(bytes)
    else {
      const json = parsed(event.data)
      if (event.event === 'error' || isErrorAlone(json)) this.#fail(bytes)
      else if (isPlainObject(json))
        this.#chunk(json as JsonObject, event, bytes) // came out of JSON.parse
      else this.#out.write(bytes)
    }
  }

  end(): Verdict {
    const verdict = this.#record()
    if (verdict.isFinal && this.#state !== 'failed') this.#release()
    return verdict
  }

  #done(bytes: Buffer): void {
    this.#state = 'done'
    const { calls, isFinal } = this.#record()
    if (!isFinal) return
    if (calls.length > 0) {
      this.#held.push(bytes)
      return
    }
    this.#release()
    this.#out.end(bytes)
  }

  #fail(bytes: Buffer): void {
    this.#state = 'failed'
    this.#record()
    this.#held = []
    this.#out.end(bytes)
  }

  /** Takes bytes behind the end. */
  #late(bytes: Buffer): void {
    if (this.#verdict === finalRound) this.#out.write(bytes)
  }

  #release(): void {
    const waiting = this.#calls.all.flatMap(call => this.#seen(call))
    if (waiting.length > 0) {
      this.#out.write(
        eventOf({ ...this.#head, choices: [{ index: 0, delta: { tool_calls: waiting }, finish_reason: null }] }),
      )
    }
    for (const bytes of this.#held.splice(0)) this.#out.write(bytes)
  }

  #record(): Verdict {
    if (this.#verdict) return this.#verdict
    const all = this.#calls.all
    const isWhole = this.#state === 'done' || (this.#state === 'open' && this.#finishReason !== undefined)
    const runs = isWhole && !cutReasons.test(this.#finishReason ?? '')
    const calls = finishedCalls(runs ? all : all.filter(call => call.kind !== 'hidden'))
    const hidden = calls.flatMap(call => ('hidden' in call ? call.hidden : []))
    this.#response.ended({ texts: this.#texts.texts, details: this.#texts.details, calls, results: [] }, this.#usage)
    const isMixed = hidden.length < calls.length || this.#hasOldCall
    this.#verdict = hidden.length === 0 ? finalRound : { calls: hidden, isFinal: isMixed }
    return this.#verdict
  }

  /** whether a call is hidden, or may turn out to be */
  get #hides(): boolean {
    return this.#calls.all.some(call => call.kind !== 'visible')
  }

  /** whether the end waits: it may belong to a hidden round, and the turn is stored before the client sees the end */
  get #holds(): boolean {
    return this.#hides || this.#response.rounds.length > 0
  }

  #chunk(json: JsonObject, { event }: SseEvent, bytes: Buffer): void {
    const choices = objectsOf(json.choices) as readonly JsonObject[] // out of JSON.parse
    const isUsageAlone = choices.length === 0 && isPlainObject(json.usage)
    const rewritten = this.#rewriteUsage(json, choices)
    if (isUsageAlone && this.#response.hidesUsage) return
    let isChanged = this.#response.rewriteHead(json) || rewritten
    this.#head = headOf(json)
    let isEmptied = false
    for (const [position, choice] of choices.entries()) {
      const change = this.#choice(choice, choice.index ?? position)
      isChanged ||= change !== 'none'
      isEmptied ||= change === 'emptied'
    }
    const isEnd = choices.some(choice => textOf(choice.finish_reason) !== undefined)
    if (this.#holds && (isEnd || isUsageAlone)) this.#hold(json, choices, event)
    else if (!isEmptied || isEnd || hasUsage(json) || choices.some(hasContent)) {
      this.#out.write(isChanged ? eventOf(json, event) : bytes)
    }
  }

  /** Holds the end back, and writes the content that stands beside the end. */
  #hold(json: JsonObject, choices: readonly JsonObject[], event: string): void {
    if (choices.some(hasContent)) {
      const { usage, ...rest } = json
      this.#out.write(eventOf({ ...rest, choices: choices.map(choice => ({ ...choice, finish_reason: null })) }, event))
    }
    this.#held.push(
      eventOf({ ...json, choices: choices.map(choice => ({ ...choice, delta: {}, logprobs: null })) }, event),
    )
  }

  #choice(choice: JsonObject, index: JsonValue): 'none' | 'some' | 'emptied' {
    this.#finishReason = textOf(choice.finish_reason) ?? this.#finishReason
    const { delta } = choice
    if (!isPlainObject(delta)) return 'none'
    this.#texts.add(delta)
    this.#hasOldCall ||= isPlainObject(delta.function_call)
    const roleIsLeftOut = this.#response.leaveRoleOut(delta)
    const calls = this.#toolCalls(delta, index)
    if (roleIsLeftOut || calls === 'emptied') return 'emptied'
    return calls
  }

  /** Leaves hidden calls out of a delta; their neighbours get contiguous indexes. */
  #toolCalls(delta: Record<string, unknown>, index: JsonValue): 'none' | 'some' | 'emptied' {
    const parts = objectsOf(delta.tool_calls) as readonly JsonObject[] // out of JSON.parse
    if (parts.length === 0) return 'none'
    const shown: JsonObject[] = []
    let isChanged = false
    for (const [place, part] of parts.entries()) {
      const call = this.#calls.addPart(index, part.index ?? place, part)
      if (!call) shown.push(part)
      else {
        call.keep(part)
        isChanged ||= call.waiting.length > 0
        call.waiting.push(part)
        if (call.kind === 'visible') shown.push(...this.#seen(call))
        else if (call.kind === 'hidden') call.waiting = []
      }
    }
    if (!isChanged && !this.#hides) return 'none'
    delta.tool_calls = shown
    if (shown.length > 0) return 'some'
    delete delta.tool_calls
    return 'emptied'
  }

  /** Returns the waiting parts of a call that the client is to see. */
  #seen(call: SortedCall): JsonObject[] {
    const parts = call.waiting
    call.waiting = []
    if (parts.length === 0) return []
    call.index ??= this.#visibleCalls++
    // Without a hidden call the provider's own indexes are right, or as wrong as the client knows them.
    if (this.#hides) for (const part of parts) part.index = call.index
    return parts
  }

  /** Adds the usage of earlier rounds to that of a chunk. Groq puts usage into `x_groq`, Moonshot into a choice. */
  #rewriteUsage(json: JsonObject, choices: readonly JsonObject[]): boolean {
    let isChanged = false
    for (const place of [json, json.x_groq, ...choices]) {
      if (!isPlainObject(place) || !isPlainObject(place.usage)) continue
      const usage = place.usage as JsonObject // came out of JSON.parse
      this.#usage = newestUsage(this.#usage, usage)
      const sum = this.#response.summed(usage)
      isChanged ||= sum !== usage
      place.usage = sum
    }
    return isChanged
  }
}

/** Returns the bytes of an event. */
export function eventOf(json: JsonValue, event = ''): string {
  return `${event === '' ? '' : `event: ${event}\n`}data: ${JSON.stringify(json)}\n\n`
}

function headOf({ id, object, created, model }: JsonObject): JsonObject {
  const head: JsonObject = {}
  for (const [name, value] of Object.entries({ id, object, created, model }))
    if (value !== undefined) head[name] = value
  return head
}

function isErrorAlone(json: unknown): boolean {
  return isPlainObject(json) && Boolean(json.error) && objectsOf(json.choices).length === 0
}

function hasUsage(json: JsonObject): boolean {
  return isPlainObject(json.usage)
}

/** Returns whether a choice holds more than an end. */
function hasContent({ delta, logprobs }: JsonObject): boolean {
  const isFilled = (value: unknown) => value !== null && value !== '' && !(Array.isArray(value) && value.length === 0)
  return isPlainObject(logprobs) || (isPlainObject(delta) && Object.values(delta).some(isFilled))
}
