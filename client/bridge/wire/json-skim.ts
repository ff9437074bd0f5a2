/**
 * Reads JSON that is too large to keep: the structure and short texts stay, long texts become empty, and of lists that
 * are longer than the bound the rest is dropped. The facts of a large response that a record needs (counts, names, a
 * status) stands beside its large parts (images, embeddings), not in them.
 */

/** a longer string is left out, in bytes */
const maxStringBytes = 64 * 1024
/** a list that has not ended when so much is kept is cut, in bytes */
const listBudgetBytes = 2 * 1024 * 1024
/** nothing is read of JSON of which more would have to be kept */
const maxKeptBytes = 8 * 1024 * 1024
const maxDepth = 1_000

const quote = 0x22
const comma = 0x2c
const openBracket = 0x5b
const backslash = 0x5c
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d

/** Takes JSON in chunks; the places of the cuts make no difference. Holds at most 8 MiB. */
export class JsonSkim {
  readonly #kept: Buffer[] = []
  #keptBytes = 0
  #gaveUp = false
  /** the open containers, true for a list */
  readonly #open: boolean[] = []
  /** depth of the list whose rest is dropped */
  #dropping: number | undefined
  /** the open string as far as it is kept; undefined outside of strings */
  #string: Buffer[] | undefined
  #stringBytes = 0
  #escaped = false

  /** Takes the next chunk. */
  push(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length && !this.#gaveUp) at = this.#string ? this.#inString(chunk, at) : this.#outside(chunk, at)
  }

  /** Returns the shortened JSON text; undefined if too much of it would have to be kept. */
  end(): string | undefined {
    return this.#gaveUp ? undefined : Buffer.concat(this.#kept).toString()
  }

  /** Reads to the next string that is long or goes on in the next chunk, else to the end. Returns the place behind. */
  #outside(chunk: Buffer, from: number): number {
    let start = from
    for (let at = from; at < chunk.length; at++) {
      const byte = chunk[at]
      if (byte === quote) {
        const end = endOfString(chunk, at + 1)
        if (end !== undefined && end - at <= maxStringBytes) {
          at = end
          continue
        }
        this.#keep(chunk.subarray(start, at))
        this.#string = []
        this.#stringBytes = 0
        return at + 1
      }
      if (byte === openBrace || byte === openBracket) {
        this.#open.push(byte === openBracket)
        if (this.#open.length > maxDepth) this.#gaveUp = true
      } else if (byte === closeBrace || byte === closeBracket) {
        if (this.#dropping === this.#open.length) {
          this.#dropping = undefined
          start = at
        }
        this.#open.pop()
      } else if (
        byte === comma &&
        this.#dropping === undefined &&
        this.#open.at(-1) &&
        this.#keptBytes > listBudgetBytes
      ) {
        this.#keep(chunk.subarray(start, at))
        this.#dropping = this.#open.length
      }
    }
    this.#keep(chunk.subarray(start))
    return chunk.length
  }

  /** Reads to the end of the open string, or of the chunk. Returns the place behind. */
  #inString(chunk: Buffer, from: number): number {
    let at = from
    if (this.#escaped) {
      this.#escaped = false
      at++
    }
    let end = chunk.indexOf(quote, at)
    let escapeAt = chunk.indexOf(backslash, at)
    while (escapeAt >= 0 && (end < 0 || escapeAt < end)) {
      at = escapeAt + 2
      if (at > chunk.length) this.#escaped = true
      if (end >= 0 && end < at) end = chunk.indexOf(quote, at)
      escapeAt = chunk.indexOf(backslash, at)
    }
    const stop = end < 0 ? chunk.length : end
    this.#stringBytes += stop - from
    if (this.#stringBytes <= maxStringBytes) this.#string?.push(Buffer.from(chunk.subarray(from, stop)))
    else this.#string = []
    if (end < 0) return chunk.length
    this.#keep(Buffer.concat([quoteMark, ...(this.#string ?? []), quoteMark]))
    this.#string = undefined
    return end + 1
  }

  #keep(bytes: Buffer): void {
    if (this.#dropping !== undefined || bytes.length === 0) return
    this.#kept.push(Buffer.from(bytes))
    this.#keptBytes += bytes.length
    if (this.#keptBytes > maxKeptBytes) this.#gaveUp = true
  }
}

const quoteMark = Buffer.from('"')

/** Returns the place of the quote that ends a string; undefined if the string goes on in the next chunk. */
function endOfString(chunk: Buffer, from: number): number | undefined {
  for (let at = chunk.indexOf(quote, from); at >= 0; at = chunk.indexOf(quote, at + 1)) {
    let backslashes = 0
    while (at - backslashes > from && chunk[at - backslashes - 1] === backslash) backslashes++
    if (backslashes % 2 === 0) return at
  }
  return undefined
}
