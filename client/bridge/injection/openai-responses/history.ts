/** Hidden calls of earlier turns in a request of Responses: where they belong. */
import { isPlainObject, type JsonObject, type JsonValue } from '../../../../shared/values/text.js'
import { objectsOf, parsed, textOf } from '../../providers/reading.js'
import { lastTurnOf } from '../../providers/requests/prompt.js'
import { itemSpeechOf } from '../../providers/requests/responses-request.js'
import { idAnchor, matchTurns, placedAnchors, type TextContext, wordsDigest } from '../anchors.js'
import type { HiddenTurn } from '../injection-api.js'
import { arrange, readRounds, type StoredItem, type StoredRound } from '../stored-round.js'
import { itemAnchors, type ResponsesRound, type RoundItem, withoutId } from './items.js'

/** A stored round. A visible item has one entry for each of its anchors. */
type StoredResponsesRound = StoredRound & {
  /** for each item of reasoning its anchors */
  reasoning: string[][]
}

/** Returns a turn to be stored; undefined if no call was hidden, or nothing of the turn can be found again. */
export function storedTurn(
  api: string,
  input: JsonValue | undefined,
  rounds: readonly ResponsesRound[],
): HiddenTurn | undefined {
  const whole = rounds.map(withResultsOnly)
  if (!whole.some(({ results }) => results.length > 0)) return undefined
  const visible = whole.flatMap(({ items }) => items).filter(({ hidden }) => !hidden)
  const context = contextsOf(itemsOf(input)).at(-1)
  const anchors = [
    ...new Set(
      placed(
        visible.flatMap(item => item.anchors),
        context,
      ),
    ),
  ]
  return anchors.length === 0 ? undefined : { api, anchors, rounds: whole.map(stored) }
}

/** Leaves out hidden calls that were not run to their end: a provider rejects calls without results. */
function withResultsOnly(round: ResponsesRound): ResponsesRound {
  const visible = round.items.filter(({ hidden }) => !hidden)
  return round.items.length - visible.length === round.results.length
    ? round
    : { ...round, items: visible, results: [] }
}

function stored({ items, results }: ResponsesRound): StoredResponsesRound {
  return {
    items: items.flatMap(({ json, hidden, anchors }: RoundItem): StoredItem[] =>
      hidden ? [{ hidden: JSON.stringify(json) }] : anchors.map(visible => ({ visible })),
    ),
    results: results.map(result => JSON.stringify(result)),
    reasoning: items.filter(({ json }) => json.type === 'reasoning').map(({ anchors }) => anchors),
  }
}

function readResponsesRounds(rounds: readonly JsonObject[]): readonly StoredResponsesRound[] | undefined {
  const isOwn = ({ reasoning }: Partial<StoredResponsesRound>) =>
    Array.isArray(reasoning) && reasoning.every(Array.isArray)
  return readRounds(rounds)?.every(isOwn) ? (rounds as readonly StoredResponsesRound[]) : undefined // just checked
}

/** Returns the items of an input, as in the text: a string is one message. */
export function itemsOf(input: JsonValue | undefined): readonly JsonValue[] {
  if (typeof input === 'string') return [{ role: 'user', content: input }]
  return Array.isArray(input) ? input : []
}

/** Consecutive items of the model: the indexes of its items. */
type Place = { index: number; item: JsonObject }[]

/** Returns the turns of the model in an input, and the surroundings of each and of the next one. */
function placesOf(items: readonly JsonValue[]): { places: Place[]; contexts: TextContext[] } {
  const places: Place[] = []
  const contexts: TextContext[] = []
  let others: JsonObject[] = []
  let place: Place = []
  const context = () => ({ after: wordsDigest(lastTurnOf(others, itemSpeechOf)), place: contexts.length })
  for (const [index, value] of items.entries()) {
    if (!isPlainObject(value)) continue
    const item = value as JsonObject // an element of JSON
    const speech = itemSpeechOf(item)
    if (speech === 'silent') continue
    if (speech !== 'model') {
      if (place.length > 0) others = []
      place = []
      others.push(item)
      continue
    }
    if (place.length === 0) {
      contexts.push(context())
      places.push(place)
    }
    place.push({ index, item })
  }
  if (place.length > 0) others = []
  return { places, contexts: [...contexts, context()] }
}

function contextsOf(items: readonly JsonValue[]): TextContext[] {
  return placesOf(items).contexts
}

/** Returns the anchors by which items are found in a history: texts by their surroundings too. */
function placed(anchors: readonly string[], context: TextContext | undefined): string[] {
  return anchors.flatMap(anchor => (anchor.startsWith('id:') || !context ? anchor : placedAnchors(anchor, context)))
}

/** JSON texts that are inserted in front of the item with the index. */
export interface Insertion {
  index: number
  texts: string[]
}

/** Returns the hidden calls and results that belong into an input that holds the whole history. */
export function restoredItems(items: readonly JsonValue[], turns: readonly HiddenTurn[]): Insertion[] {
  const readable = readableTurns(turns)
  if (readable.length === 0) return []
  const { places, contexts } = placesOf(items)
  const anchors = places.map((place, at) =>
    placed(
      place.flatMap(({ item }) => itemAnchors(item)),
      contexts[at],
    ),
  )
  const taken = new Set<number>()
  const insertions: Insertion[] = []
  for (const [{ rounds }, at] of matchTurns(anchors, readable)) {
    const place = places[at]
    if (!place || taken.has(at)) continue
    taken.add(at)
    insertions.push(...insertionsInto(place, rounds))
  }
  return insertions
}

function readableTurns(turns: readonly HiddenTurn[]): { anchors: string[]; rounds: readonly StoredResponsesRound[] }[] {
  return turns.flatMap(({ anchors, rounds }) => {
    const readable = readResponsesRounds(rounds)
    return readable ? [{ anchors, rounds: readable }] : []
  })
}

function insertionsInto(place: Place, rounds: readonly StoredResponsesRound[]): Insertion[] {
  const stored = new Set(rounds.flatMap(({ items }) => items.flatMap(item => ('visible' in item ? item.visible : []))))
  const known = place.map(({ item }) => itemAnchors(item))
  const parts = known.map(anchors => anchors.find(anchor => stored.has(anchor)) ?? '')
  const sent = new Set(known.flat())
  const hasIds = place.some(({ item }) => textOf(item.id) !== undefined)
  let next = place[0]?.index ?? 0
  const insertions: Insertion[] = []
  for (const [at, items] of arrange(parts, rounds).entries()) {
    const { reasoning, results } = rounds[at] ?? { reasoning: [], results: [] }
    // A provider that finds a call by its id wants the reasoning before it.
    const keepsIds = hasIds && reasoning.every(anchors => anchors.some(anchor => sent.has(anchor)))
    for (const item of items) {
      if ('hidden' in item)
        insertions.push({ index: next, texts: [keepsIds ? item.hidden : textWithoutId(item.hidden)] })
      else next = Math.max(next, (place[item.part]?.index ?? 0) + 1)
    }
    insertions.push({ index: next, texts: results })
  }
  return insertions
}

function textWithoutId(text: string): string {
  const json = parsed(text)
  return isPlainObject(json) ? JSON.stringify(withoutId(json as JsonObject)) : text // came out of JSON.parse
}

/**
 * Returns the results that belong into an input behind a stored response: those of hidden calls beside a call of the
 * client that the input responds to.
 */
export function missingResults(items: readonly JsonValue[], turns: readonly HiddenTurn[]): Insertion[] {
  const insertions: Insertion[] = []
  const readable = readableTurns(turns)
  const open = new Set(readable)
  const called = new Set(
    objectsOf(items)
      .filter(({ type }) => `${type}`.endsWith('_call'))
      .map(({ call_id: id }) => id),
  )
  for (const [index, item] of items.entries()) {
    const callId = isPlainObject(item) && `${item.type}`.endsWith('_output') ? textOf(item.call_id) : undefined
    if (callId === undefined || called.has(callId)) continue
    const anchor = idAnchor('call', callId)
    const turn = readable.find(own => open.has(own) && isInLastRound(own.rounds, anchor))
    if (!turn) continue
    open.delete(turn)
    insertions.push({ index, texts: turn.rounds.at(-1)?.results ?? [] })
  }
  return insertions
}

function isInLastRound(rounds: readonly StoredResponsesRound[], anchor: string): boolean {
  return rounds.at(-1)?.items.some(item => 'visible' in item && item.visible === anchor) ?? false
}
