/**
 * Cuts a text that a client sends back as one into the texts of the rounds that it was joined from. Blanks do not
 * count, for clients trim texts; those at the ends of a round's text are restored.
 */
import { isPlainObject, type JsonObject } from '../../../../shared/values/text.js'
import { digest } from '../anchors.js'

/** The text of one round as it is stored. */
export type TextPiece = {
  /** number of characters that are no blanks */
  characters: number
  /** {@link digest} of these characters */
  digest: string
  /** blanks at the beginning, or the whole text if there is nothing else in it */
  before: string
  /** blanks at the end */
  after: string
}

/** Describes the text of a round. */
export function pieceOf(text: string): TextPiece {
  const bare = withoutBlanks(text)
  const before = text.slice(0, text.length - text.trimStart().length)
  const after = bare === '' ? '' : text.slice(text.trimEnd().length)
  return { characters: bare.length, digest: digest(bare), before, after }
}

/** Returns whether a stored value is a piece. */
export function isTextPiece(value: unknown): value is TextPiece {
  if (!isPlainObject(value)) return false
  const { characters, digest: own, before, after } = value as JsonObject // a piece is JSON
  return typeof characters === 'number' && [own, before, after].every(text => typeof text === 'string')
}

/**
 * Cuts a text into the pieces. The last one gets all the rest, as the client wrote it.
 * @param pieces undefined for a round without text
 * @returns undefined if the text does not begin with the pieces
 */
export function cutText(text: string, pieces: readonly (TextPiece | undefined)[]): (string | undefined)[] | undefined {
  const texts: (string | undefined)[] = []
  let at = 0
  for (const piece of pieces.slice(0, -1)) {
    const start = at + blanksAt(text, at)
    const end = piece ? endOfCharacters(text, start, piece.characters) : at
    if (end === undefined) return undefined
    const core = text.slice(start, end)
    if (piece && digest(withoutBlanks(core)) !== piece.digest) return undefined
    texts.push(piece && `${piece.before}${core}${piece.after}`)
    if (piece && piece.characters > 0) at = end
  }
  return [...texts, restOf(text, at, pieces)]
}

/** Returns the last piece. Blanks at a cut belong to the pieces beside it; all others are the client's. */
function restOf(text: string, at: number, pieces: readonly (TextPiece | undefined)[]): string | undefined {
  const last = pieces.at(-1)
  if (!pieces.slice(0, -1).some(piece => piece)) return text === '' && !last ? undefined : text
  const start = at + blanksAt(text, at)
  if (start < text.length) return `${last?.before ?? ''}${text.slice(start)}`
  return last && (last.characters === 0 ? last.before : '')
}

/** Returns the place behind so many characters that are no blanks; undefined if there are fewer. */
function endOfCharacters(text: string, start: number, characters: number): number | undefined {
  let at = start
  for (let left = characters; left > 0; left--) {
    at += blanksAt(text, at) + 1
    if (at > text.length) return undefined
  }
  return characters === 0 ? start : at
}

/** Returns the number of blanks at a place. */
function blanksAt(text: string, at: number): number {
  let end = at
  while (end < text.length && blank.test(text[end] ?? '')) end++
  return end - at
}

const blank = /\s/

function withoutBlanks(text: string): string {
  return text.replace(/\s+/g, '')
}
