/** The items of one round of Responses: which of them are hidden, and what the next round repeats. */
import type { JsonObject } from '../../../../shared/values/text.js'
import { objectsOf, textOf } from '../../providers/reading.js'
import { idAnchor, textAnchor } from '../anchors.js'
import type { HiddenNames } from '../hidden-names.js'
import type { HiddenCall } from '../injection-api.js'

/** An item of a round. */
export interface RoundItem {
  json: JsonObject
  /** undefined for a visible item */
  hidden: HiddenCall | undefined
  /** anchors of the item, in the forms in which a client may send it back */
  anchors: string[]
}

/** A round that has ended. */
export interface ResponsesRound {
  items: RoundItem[]
  /** the items with the results of the hidden calls */
  results: JsonObject[]
  /** whether the provider finds items again by their ids */
  isStored: boolean
}

/** Returns the name of a call that may be one of an injected tool; undefined for all other items. */
export function functionNameOf({ type, name, namespace }: Record<string, unknown>): string | undefined {
  return type === 'function_call' && textOf(namespace) === undefined ? (textOf(name) ?? '') : undefined
}

/**
 * Makes the items of a round.
 * @param output items of the whole response
 * @param streamed the same items as their own events had them: encrypted parts may differ
 * @param runs whether hidden calls are run; otherwise they are left out
 */
export function roundItems(
  output: readonly JsonObject[],
  streamed: readonly JsonObject[],
  names: HiddenNames,
  runs: boolean,
): RoundItem[] {
  const taken = new Set<string>()
  return output.flatMap((json, place): RoundItem[] => {
    const name = functionNameOf(json)
    if (name === undefined || !names.has(name)) {
      const twins = streamed.filter(({ id }) => id === json.id && textOf(id) !== undefined)
      return [{ json, hidden: undefined, anchors: [...new Set([json, ...twins].flatMap(itemAnchors))] }]
    }
    if (!runs) return []
    const own = textOf(json.call_id)
    const callId = own !== undefined && !taken.has(own) ? own : `${own ?? 'call'}_${place}`
    taken.add(callId)
    const hidden = names.callOf(callId, name, textOf(json.arguments) ?? '')
    const input = hidden.arguments === undefined || hidden.input.trim() === '' ? '{}' : hidden.input
    return [{ json: { ...json, call_id: callId, arguments: input }, hidden, anchors: [] }]
  })
}

/**
 * Returns the anchors of an item that a client sends back, the strongest first: its call, its own id (references to an
 * item have it too), its encrypted content, its text.
 */
export function itemAnchors(item: Record<string, unknown>): string[] {
  const { call_id: callId, id, encrypted_content: encrypted, type, content } = item
  const ids = [['call', callId] as const, ['item', id] as const, ['encrypted', encrypted] as const]
  const isMessage = type === 'message' || (type === undefined && item.role === 'assistant')
  const text = isMessage ? textAnchor(messageText(content)) : undefined
  const anchors = ids.flatMap(([kind, own]) => (textOf(own) === undefined ? [] : idAnchor(kind, `${own}`)))
  return text === undefined ? anchors : [...anchors, text]
}

/** Returns the text of a message's content. */
export function messageText(content: unknown): string {
  if (typeof content === 'string') return content
  return objectsOf(content)
    .map(({ text }) => textOf(text) ?? '')
    .join('')
}

/**
 * Returns the items of a round for the input of the next one. A provider that does not store items rejects reasoning
 * that is not encrypted, and then, by its id, everything that followed from it.
 */
export function repeatedItems({ items, results, isStored }: ResponsesRound): JsonObject[] {
  const isLost = ({ json }: RoundItem) =>
    !isStored && json.type === 'reasoning' && textOf(json.encrypted_content) === undefined
  const hasLost = items.some(isLost)
  const kept = items.filter(item => !isLost(item)).map(({ json }) => (hasLost ? withoutId(json) : json))
  return [...kept, ...results]
}

/** Returns an item without its id. */
export function withoutId({ id, ...item }: JsonObject): JsonObject {
  return item
}
