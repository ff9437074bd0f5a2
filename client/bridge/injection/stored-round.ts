/** The rounds of a stored turn, in the shape that all APIs share, and their way back into a history. */
import { isPlainObject, type JsonObject } from '../../../shared/values/text.js'

/**
 * One item of a round, in the order of the provider's response: a visible one by its anchor (`''` for one without), or
 * a hidden call as JSON text. Text, because a database reorders the members of JSON, and a provider's cache holds the
 * order.
 */
export type StoredItem = { visible: string } | { hidden: string }

/** One round. */
export type StoredRound = {
  items: StoredItem[]
  /** the results of the hidden calls, in order, as JSON text in the API's shape; empty if no call was run */
  results: string[]
}

/** Reads the rounds of a stored turn; undefined if another version of this program wrote them in another shape. */
export function readRounds(rounds: readonly JsonObject[]): readonly StoredRound[] | undefined {
  return rounds.length > 0 && rounds.every(isRound) ? rounds : undefined
}

function isRound(round: JsonObject): round is StoredRound {
  const { items, results } = round
  return Array.isArray(items) && items.every(isItem) && Array.isArray(results) && results.every(isText)
}

function isItem(item: unknown): boolean {
  return isPlainObject(item) && (isText(item.hidden) || isText(item.visible))
}

function isText(value: unknown): boolean {
  return typeof value === 'string'
}

/** An item of a round that is put together again: a visible part by its index, or a hidden call as JSON text. */
export type ArrangedItem = { part: number } | { hidden: string }

/**
 * Assigns the visible parts of a turn in a history to its rounds, with the hidden calls at their places. A part goes to
 * the item with its anchor; one without an item of its own follows the part before. The first parts without an item
 * stand before everything, or, if they hold the text of several rounds, behind everything.
 * @param parts the anchor of each visible part, in order; `''` for one without
 * @returns the items of each round; every part is in exactly one
 */
export function arrange(parts: readonly string[], rounds: readonly StoredRound[]): ArrangedItem[][] {
  const slots = rounds.map(({ items }) => items.map((): number[] => []))
  const places = rounds.flatMap(({ items }, round) => items.map((item, at) => ({ item, round, at })))
  const isTaken = new Set<unknown>()
  const own = parts.map(anchor => {
    const place = anchor === '' ? undefined : places.find(p => !isTaken.has(p) && anchorOf(p.item) === anchor)
    if (place) isTaken.add(place)
    return place
  })
  const leading: number[] = []
  let last: (typeof places)[number] | undefined
  for (const [part, place] of own.entries()) {
    last = place ?? last
    if (last) slots[last.round]?.[last.at]?.push(part)
    else leading.push(part)
  }
  const arranged = rounds.map(({ items }, round) =>
    items.flatMap((item, at): ArrangedItem[] => {
      const visible = (slots[round]?.[at] ?? []).map(part => ({ part }))
      return 'hidden' in item ? [{ hidden: item.hidden }, ...visible] : visible
    }),
  )
  const moved = leading.map(part => ({ part }))
  if (last) arranged[0]?.unshift(...moved)
  else arranged.at(-1)?.push(...moved)
  return arranged
}

function anchorOf(item: StoredItem): string | undefined {
  return 'visible' in item ? item.visible : undefined
}
