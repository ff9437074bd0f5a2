/** One round of Chat Completions as the next request repeats it: the model's message and the results of its calls. */
import type { JsonObject, JsonValue } from '../../../../shared/values/text.js'
import { isPlainObject, setOwn } from '../../../../shared/values/text.js'
import { objectsOf, textOf } from '../../providers/reading.js'
import { GrowingCall, type Selection } from '../../providers/responses/chat-calls.js'
import type { HiddenNames } from '../hidden-names.js'
import type { HiddenCall } from '../injection-api.js'

/** Members of a message that hold text of the model, in the order in which they are sent back. */
export const textMembers = ['content', 'reasoning_content', 'reasoning'] as const
/** One of {@link textMembers}. */
export type TextMember = (typeof textMembers)[number]
/** The texts of a message; of members that the model left out there is none. */
export type ChatTexts = Partial<Record<TextMember, string>>

/** A longer text of the model is cut: no message is so long. */
const maxCharacters = 32 * 1024 * 1024

/** A call of the client's tools, by its id, or a hidden one as the next request repeats it. */
export type ChatCall = { visibleId: string } | { hidden: HiddenCall; json: JsonObject }

/** A round that has ended. */
export interface ChatRound {
  texts: ChatTexts
  /** OpenRouter's blocks of reasoning, some of them signed or encrypted */
  details: JsonValue[]
  calls: ChatCall[]
  /** the messages with the results of the hidden calls */
  results: JsonObject[]
}

/** Reasons for an end that cuts calls off: no call of such a round is run. */
export const cutReasons = /length|max_tokens|filter|error|sensitive|safety|insufficient/i

/** Collects the texts of a round. */
export class RoundTexts {
  readonly texts: ChatTexts = {}
  readonly details: JsonValue[] = []

  /** Adds a message, or a part of one. */
  add(message: Record<string, unknown>): void {
    for (const member of textMembers) {
      const value = message[member]
      const text =
        typeof value === 'string'
          ? value
          : objectsOf(value)
              .map(part => textOf(part.text) ?? '')
              .join('')
      const known = this.texts[member] ?? ''
      if (text !== '' && known.length < maxCharacters) this.texts[member] = known + text
    }
    for (const detail of objectsOf(message.reasoning_details)) addDetail(this.details, detail as JsonObject) // out of JSON.parse
  }
}

/** Adds a block, or joins it to the last one if the stream has cut the block in two. */
function addDetail(details: JsonValue[], detail: JsonObject): void {
  const last = details.at(-1)
  if (!isPlainObject(last) || last.type !== detail.type || last.index !== detail.index || detail.index === undefined) {
    details.push({ ...detail })
    return
  }
  for (const [name, value] of Object.entries(detail)) {
    const known = last[name]
    const isGrowing = growingFields.has(name) && typeof known === 'string' && typeof value === 'string'
    if (isGrowing) setOwn(last, name, known + value)
    else if (value !== null) setOwn(last, name, value)
  }
}

const growingFields: ReadonlySet<string> = new Set(['text', 'summary', 'data'])

/** A call of a response, of which it shows with its name whether it is hidden. */
export class SortedCall extends GrowingCall {
  /** parts of the client's response that wait for the name */
  waiting: JsonObject[] = []
  /** index in the client's response; undefined if the client has not seen the call yet */
  index: number | undefined
  #input = ''
  /** members beside the selection, such as a provider's signature */
  readonly #more: JsonObject = {}
  readonly #names: HiddenNames

  constructor(names: HiddenNames) {
    super()
    this.#names = names
  }

  override append(selection: Selection): void {
    super.append(selection)
    if (this.#input.length < maxCharacters) this.#input += selection.input
  }

  /** Keeps the members of a part that the next request repeats. */
  keep(part: JsonObject): void {
    for (const [name, value] of Object.entries(part)) if (!ownMembers.has(name)) setOwn(this.#more, name, value)
  }

  /** `unnamed` until the name is received */
  get kind(): 'hidden' | 'visible' | 'unnamed' {
    if (this.tool === '') return 'unnamed'
    return this.#names.has(this.tool) ? 'hidden' : 'visible'
  }

  /**
   * Returns the call for the record of the round.
   * @param callId an id that no other call of the round has
   */
  finished(callId: string): ChatCall {
    if (this.kind !== 'hidden') return { visibleId: this.callId }
    const hidden = this.#names.callOf(callId, this.tool, this.#input)
    // Servers that read the arguments of earlier calls reject text that is no JSON object.
    const text = hidden.arguments === undefined || this.#input.trim() === '' ? '{}' : this.#input
    const json = { id: callId, type: 'function', function: { name: this.tool, arguments: text }, ...this.#more }
    return { hidden, json }
  }
}

const ownMembers: ReadonlySet<string> = new Set(['index', 'id', 'type', 'function', 'custom'])

/**
 * Returns the calls of a round for its record. Hidden calls without an id, or with the id of another call, get one,
 * since their results are told apart by it.
 */
export function finishedCalls(calls: readonly SortedCall[]): ChatCall[] {
  const taken = new Set(calls.filter(call => call.kind !== 'hidden').map(call => call.callId))
  return calls.map((call, place) => {
    const isOwn = call.callId !== '' && !taken.has(call.callId)
    const id = isOwn ? call.callId : `${call.callId || 'call'}_${place}`
    taken.add(id)
    return call.finished(id)
  })
}

/** Returns the message of the model for a history; `calls` are those of the message, in order. */
export function modelMessage(texts: ChatTexts, details: readonly JsonValue[], calls: readonly JsonValue[]): JsonObject {
  const message: JsonObject = { role: 'assistant', content: texts.content ?? null }
  for (const member of textMembers) {
    const text = texts[member]
    if (member !== 'content' && text !== undefined) message[member] = text
  }
  if (details.length > 0) message.reasoning_details = [...details]
  if (calls.length > 0) message.tool_calls = [...calls]
  return message
}
