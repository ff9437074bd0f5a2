/**
 * Anchors: digests of visible parts of a model's turn, by which a stored turn is found again in the history that a
 * client sends. Clients move cache marks, trim texts, leave out thinking and cut the beginning of a history off.
 */
import { createHash } from 'node:crypto'
import { unframe } from '../providers/requests/client-elements.js'
import type { Turn } from '../providers/requests/prompt.js'

/**
 * Kinds of anchors that find a turn, strongest first; each is the beginning of its anchors.
 * - `id:` something unique: a call's id, a signature, encrypted reasoning
 * - `at:` a text, the user's words before it and its place in the conversation
 * - `in:` a text and the user's words before it
 * - `long:` a text that is long enough to be unique
 */
const kinds = ['id:', 'at:', 'in:', 'long:'] as const

/** A text without blanks that is at least so long is found without the user's words before it. */
const minLongText = 64

/** The surroundings of a text. */
export interface TextContext {
  /** {@link wordsDigest} of the user's turn before it */
  after: string
  /** number of turns of the model before it */
  place: number
}

/** Returns the anchor of a part with an id of its own. */
export function idAnchor(kind: string, id: string): string {
  return `id:${digest(kind, id)}`
}

/**
 * Returns the anchor of a text among the parts of its own turn; undefined for blanks. Blanks do not count: clients trim
 * texts and join them.
 */
export function textAnchor(text: string): string | undefined {
  const bare = withoutBlanks(text)
  return bare === '' ? undefined : `${bare.length < minLongText ? 'text:' : 'long:'}${digest(bare)}`
}

/**
 * Returns the anchors by which a text is found in a history.
 * @param own the text's {@link textAnchor}
 */
export function placedAnchors(own: string, { after, place }: TextContext): string[] {
  return [`at:${digest(own, after, String(place))}`, `in:${digest(own, after)}`, own]
}

/** Returns the digest of a user's turn: the calls that it responds to, else the words outside of client elements. */
export function wordsDigest({ texts, results }: Turn): string {
  if (results.length > 0) return digest('results', ...results)
  // Blanks inside count: these texts may be megabytes, and every request has all of them.
  return digest('words', ...texts.map(text => unframe(text, undefined).words.trim()).filter(text => text !== ''))
}

/** Returns a digest of a list of texts, of 128 bits. */
export function digest(...texts: readonly string[]): string {
  const hash = createHash('sha256')
  // The lengths keep lists of other cuts apart.
  for (const text of texts) hash.update(`${text.length}:`).update(text)
  return hash.digest('base64url').slice(0, 22)
}

function withoutBlanks(text: string): string {
  return text.replace(/\s+/g, '')
}

/**
 * Finds stored turns in a history. An `id:` decides alone. Without one, a place with ids of its own belongs to no turn,
 * since a turn's ids are all stored. Of turns with the same text at the same place the newest counts: the others were
 * repeated. Turns and places that share weaker anchors are paired in order, from the end: the beginning of a history is
 * the part that gets lost.
 * @param places the anchors of each turn of the model in the history, in order
 * @param turns in order of creation
 * @returns the place of each turn that was found, in order of creation
 */
export function matchTurns<T extends { readonly anchors: readonly string[] }>(
  places: readonly (readonly string[])[],
  turns: readonly T[],
): Map<T, number> {
  const found = new Map<T, number>()
  const open = new Set(turns)
  const claimed = new Set<number>()
  const claim = (turn: T, place: number) => {
    found.set(turn, place)
    open.delete(turn)
    claimed.add(place)
  }
  for (const kind of kinds) {
    const holders = byAnchor([...open], turn => turn.anchors, kind)
    const spots = byAnchor([...places.keys()], place => places[place] ?? [], kind)
    for (const [anchor, at] of spots) {
      const candidates = (holders.get(anchor) ?? []).filter(turn => open.has(turn))
      const free = kind === 'id:' ? at : at.filter(place => !claimed.has(place) && !hasId(places[place]))
      if (kind === 'in:' || kind === 'long:') {
        for (const place of free.toReversed()) {
          const turn = candidates.pop()
          if (turn) claim(turn, place)
        }
        continue
      }
      const [newest, place] = [candidates.pop(), free[0]]
      if (newest === undefined || place === undefined) continue
      claim(newest, place)
      for (const repeated of candidates) open.delete(repeated)
    }
  }
  return new Map(turns.flatMap(turn => (found.has(turn) ? [[turn, found.get(turn) ?? 0] as const] : [])))
}

function hasId(anchors: readonly string[] = []): boolean {
  return anchors.some(anchor => anchor.startsWith('id:'))
}

/** Returns the items that have each anchor of a kind, in order. */
function byAnchor<T>(items: readonly T[], anchorsOf: (item: T) => readonly string[], kind: string): Map<string, T[]> {
  const all = new Map<string, T[]>()
  for (const item of items) {
    for (const anchor of new Set(anchorsOf(item))) {
      if (!anchor.startsWith(kind)) continue
      const known = all.get(anchor)
      if (known) known.push(item)
      else all.set(anchor, [item])
    }
  }
  return all
}
