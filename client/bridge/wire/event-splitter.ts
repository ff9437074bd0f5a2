/**
 * Finds the lines of an event stream
 * (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream).
 */

/** The byte of CR. */
export const carriageReturn = 13
const lineFeed = 10

/**
 * One piece of a chunk. The pieces of a chunk follow each other without a gap.
 * - `part`: a line, or the rest of one, that goes on in the next chunk
 * - `line`: a line, or the rest of one, with its line end
 * - `blank`: an empty line, which ends an event
 * - `lineFeed`: the second half of a CRLF whose first half ended the previous chunk
 */
export interface Piece {
  readonly type: 'part' | 'line' | 'blank' | 'lineFeed'
  /** whether the line begins with this piece */
  readonly beginsLine: boolean
  readonly start: number
  /** where the content of the line ends and the line end begins */
  readonly contentEnd: number
  readonly end: number
}

/**
 * Splits an event stream into lines that end with CR, LF or CRLF. Keeps no bytes: a piece is a range of the given
 * chunk. A byte order mark counts as content of the first line.
 */
export class EventSplitter {
  /** between two chunks: at the beginning of a line, inside a line, or behind a CR whose LF may still follow */
  #state: 'beginning' | 'inside' | 'after CR' = 'beginning'

  /** Returns the pieces of the next chunk, in order. */
  split(chunk: Buffer): Piece[] {
    const pieces: Piece[] = []
    if (chunk.length === 0) return pieces
    let start = 0
    if (this.#state === 'after CR' && chunk[0] === lineFeed) {
      pieces.push({ type: 'lineFeed', beginsLine: false, start: 0, contentEnd: 0, end: 1 })
      start = 1
    }
    let isInside = this.#state === 'inside'
    let nextCarriageReturn = indexOf(chunk, carriageReturn, start)
    let nextLineFeed = indexOf(chunk, lineFeed, start)
    for (;;) {
      const contentEnd = Math.min(nextCarriageReturn, nextLineFeed)
      if (contentEnd === nowhere) break
      const isPair = nextLineFeed === nextCarriageReturn + 1
      const end = contentEnd + (isPair ? 2 : 1)
      const isBlank = !isInside && contentEnd === start
      pieces.push({ type: isBlank ? 'blank' : 'line', beginsLine: !isInside, start, contentEnd, end })
      start = end
      isInside = false
      if (nextCarriageReturn < end) nextCarriageReturn = indexOf(chunk, carriageReturn, end)
      if (nextLineFeed < end) nextLineFeed = indexOf(chunk, lineFeed, end)
    }
    if (start < chunk.length) {
      pieces.push({ type: 'part', beginsLine: !isInside, start, contentEnd: chunk.length, end: chunk.length })
      this.#state = 'inside'
    } else this.#state = chunk[chunk.length - 1] === carriageReturn ? 'after CR' : 'beginning'
    return pieces
  }
}

const nowhere = Number.POSITIVE_INFINITY

function indexOf(chunk: Buffer, byte: number, from: number): number {
  const index = chunk.indexOf(byte, from)
  return index < 0 ? nowhere : index
}
