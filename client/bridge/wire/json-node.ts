/** Finds values in JSON text by their positions, so that parts of it can be copied and replaced unchanged. */

const quote = 0x22
const comma = 0x2c
const openBracket = 0x5b
const backslash = 0x5c
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d
const spaces = new Set(Buffer.from(' \t\n\r'))
const scalarEnds = new Set(Buffer.from(' \t\n\r,]}'))

/**
 * A value in JSON text that `JSON.parse` has accepted; of other text it may name wrong positions. Members and elements
 * are found at the first question and then kept. Nesting costs no stack.
 */
export class JsonNode {
  /** the whole text; not a copy */
  readonly text: Buffer
  readonly start: number
  readonly end: number
  #members: Map<string, JsonNode> | undefined
  #elements: JsonNode[] | undefined

  private constructor(text: Buffer, start: number, end: number) {
    this.text = text
    this.start = start
    this.end = end
  }

  /** Returns the outermost value of a text. */
  static of(text: Buffer): JsonNode {
    const start = skipSpaces(text, 0)
    return new JsonNode(text, start, endOfValue(text, start))
  }

  get isObject(): boolean {
    return this.text[this.start] === openBrace
  }

  get isArray(): boolean {
    return this.text[this.start] === openBracket
  }

  /** Returns the value's bytes, which share the memory of the text. */
  get bytes(): Buffer {
    return this.text.subarray(this.start, this.end)
  }

  /**
   * Returns the value of a member; undefined without one, and for a value that is no object. Of several members with
   * one name the last counts, as for `JSON.parse`.
   */
  member(name: string): JsonNode | undefined {
    return this.members.get(name)
  }

  /** Follows names of members inwards. */
  at(...path: string[]): JsonNode | undefined {
    return path.reduce<JsonNode | undefined>((node, name) => node?.member(name), this)
  }

  /** The members of an object in the order of their first appearance; empty for other values. */
  get members(): ReadonlyMap<string, JsonNode> {
    this.#members ??= new Map(this.isObject ? this.#readMembers() : [])
    return this.#members
  }

  /** The names of an object's members in the order of the text, repeated ones too; empty for other values. */
  get memberNames(): string[] {
    return this.isObject ? [...this.#readMembers()].map(([name]) => name) : []
  }

  /** The value of the member that stands last in the text. */
  get lastMember(): JsonNode | undefined {
    let last: JsonNode | undefined
    for (const node of this.members.values()) if (!last || node.end > last.end) last = node
    return last
  }

  /** The elements of an array; empty for other values. */
  get elements(): readonly JsonNode[] {
    this.#elements ??= this.isArray ? [...this.#readElements()] : []
    return this.#elements
  }

  *#readMembers(): Generator<[string, JsonNode]> {
    for (let at = this.#first(); at < this.end - 1; at = this.#next(at)) {
      const keyEnd = endOfString(this.text, at)
      const key = this.text.toString('utf8', at + 1, keyEnd - 1)
      const start = skipSpaces(this.text, skipSpaces(this.text, keyEnd) + 1) // behind the colon
      const end = endOfValue(this.text, start)
      yield [key.includes('\\') ? JSON.parse(`"${key}"`) : key, new JsonNode(this.text, start, end)]
      at = end
    }
  }

  *#readElements(): Generator<JsonNode> {
    for (let at = this.#first(); at < this.end - 1; at = this.#next(at)) {
      const end = endOfValue(this.text, at)
      yield new JsonNode(this.text, at, end)
      at = end
    }
  }

  #first(): number {
    return skipSpaces(this.text, this.start + 1)
  }

  /** @param end where a member or an element ends */
  #next(end: number): number {
    const at = skipSpaces(this.text, end)
    return this.text[at] === comma ? skipSpaces(this.text, at + 1) : at
  }
}

function skipSpaces(text: Buffer, at: number): number {
  while (spaces.has(text[at] ?? quote)) at++
  return at
}

/** Bytes that are looked at one by one before the native search is called again, which costs as much as some tens. */
const nearBytes = 48

/** @param start position of the opening quote */
function endOfString(text: Buffer, start: number): number {
  for (let at = start + 1; at < text.length; ) {
    for (const stop = at + nearBytes; at < stop; ) {
      const byte = text[at]
      if (byte === quote) return at + 1
      at += byte === backslash ? 2 : 1
    }
    const next = text.indexOf(quote, at)
    if (next < 0) break
    let escapes = 0
    while (text[next - 1 - escapes] === backslash) escapes++
    if (escapes % 2 === 0) return next + 1
    at = next + 1
  }
  return text.length
}

function endOfValue(text: Buffer, start: number): number {
  const first = text[start] ?? 0
  if (first === quote) return endOfString(text, start)
  let at = start + 1
  if (first !== openBrace && first !== openBracket) {
    // A number or a word.
    while (at < text.length && !scalarEnds.has(text[at] ?? 0)) at++
    return at
  }
  for (let depth = 1; depth > 0 && at < text.length; ) {
    const byte = text[at] ?? 0
    if (byte === quote) at = endOfString(text, at)
    else {
      if (byte === openBrace || byte === openBracket) depth++
      else if (byte === closeBrace || byte === closeBracket) depth--
      at++
    }
  }
  return at
}
