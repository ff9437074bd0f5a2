/** Changes members and elements of JSON in its text. Every other byte stays as it was written. */
import type { JsonValue } from '../../../shared/values/text.js'
import { JsonNode } from './json-node.js'

/** JSON text of one value, whole or in pieces. */
export type JsonText = string | Buffer | readonly (string | Buffer)[]

interface Edit {
  start: number
  end: number
  text: (string | Buffer)[]
}

/**
 * Collects changes of one JSON text. Each is given by nodes of the text as it was; the changed ranges must not overlap.
 */
export class JsonEdits {
  readonly #root: JsonNode
  readonly #edits: Edit[] = []
  /** objects and arrays that were empty and have got content */
  readonly #filled = new Set<number>()

  /** @param root the outermost value of the text */
  constructor(root: JsonNode) {
    this.#root = root
  }

  /** Returns the same changes, to which others can be added. */
  copy(): JsonEdits {
    const copy = new JsonEdits(this.#root)
    copy.#edits.push(...this.#edits)
    for (const place of this.#filled) copy.#filled.add(place)
    return copy
  }

  /**
   * Sets a member of the outermost object, or of one inside of it. Objects on the path are made where they are missing
   * or where another value stands; two calls do not share an object that is missing.
   * @param path names of members, from the outermost object inwards
   */
  set(path: readonly [string, ...string[]], value: JsonText): void {
    let object = this.#root
    for (const [depth, name] of path.entries()) {
      const found = object.member(name)
      const deeper = path.slice(depth + 1)
      if (found?.isObject && deeper.length > 0) {
        object = found
        continue
      }
      const text = deeper.reduceRight<JsonText>(
        (inner, key) => [`{${JSON.stringify(key)}:`, ...piecesOf(inner), '}'],
        value,
      )
      if (found) this.replace(found, text)
      else this.#addMember(object, [`${JSON.stringify(name)}:`, ...piecesOf(text)])
      return
    }
  }

  /** Replaces an element of an array by one or more values, or any other value by one. */
  replace(node: JsonNode, first: JsonText, ...more: JsonText[]): void {
    this.#edits.push({ start: node.start, end: node.end, text: joined([first, ...more]) })
  }

  /**
   * Inserts values into an array; several insertions at one place keep the order of the calls.
   * @param index index of the element that stands behind them; the length of the array, or more, to append
   */
  insert(array: JsonNode, index: number, ...values: JsonText[]): void {
    if (values.length === 0) return
    const next = array.elements[index]
    if (next) this.#put(next.start, [...joined(values), ','])
    else this.#append(array, joined(values), array.elements.at(-1))
  }

  /** Returns the changed text in pieces: those of the text share its memory, so that it is not copied. */
  pieces(): Buffer[] {
    const { text } = this.#root
    const pieces: Buffer[] = []
    let at = 0
    // Sorting is stable; an insertion in front of a value stands before the value's replacement.
    for (const edit of this.#edits.toSorted((a, b) => a.start - b.start || a.end - b.end)) {
      if (edit.start > at) pieces.push(text.subarray(at, edit.start))
      pieces.push(...buffersOf(edit.text))
      at = edit.end
    }
    if (at < text.length) pieces.push(text.subarray(at))
    return pieces
  }

  #addMember(object: JsonNode, text: (string | Buffer)[]): void {
    this.#append(object, text, object.lastMember)
  }

  #append(container: JsonNode, text: (string | Buffer)[], last: JsonNode | undefined): void {
    const isFirst = !last && !this.#filled.has(container.start)
    this.#filled.add(container.start)
    this.#put(last?.end ?? container.start + 1, isFirst ? text : [',', ...text])
  }

  #put(at: number, text: (string | Buffer)[]): void {
    this.#edits.push({ start: at, end: at, text })
  }
}

/**
 * Returns the body with one member set, in pieces: those of the body share its memory, so that nothing is copied.
 * Objects on the path are made where they are missing or where another value stands. Of several members with one name
 * the last counts, as for `JSON.parse`.
 * @param body JSON text of an object, which `JSON.parse` has accepted
 * @param path names of members, from the outermost object inwards
 */
export function setMember(body: Buffer, path: readonly [string, ...string[]], value: JsonValue): Buffer[] {
  const edits = new JsonEdits(JsonNode.of(body))
  edits.set(path, JSON.stringify(value))
  return edits.pieces()
}

/** Returns the text of an array of values. */
export function arrayText(values: readonly JsonText[]): (string | Buffer)[] {
  return ['[', ...joined(values), ']']
}

/** Returns one buffer for neighbouring strings, and the given buffers. */
export function buffersOf(text: JsonText): Buffer[] {
  const buffers: Buffer[] = []
  let strings = ''
  for (const piece of piecesOf(text)) {
    if (typeof piece === 'string') strings += piece
    else {
      if (strings !== '') buffers.push(Buffer.from(strings))
      strings = ''
      buffers.push(piece)
    }
  }
  if (strings !== '') buffers.push(Buffer.from(strings))
  return buffers
}

/** Returns the texts of several values with commas between them. */
function joined(values: readonly JsonText[]): (string | Buffer)[] {
  return values.flatMap((value, index) => (index === 0 ? piecesOf(value) : [',', ...piecesOf(value)]))
}

function piecesOf(text: JsonText): readonly (string | Buffer)[] {
  return typeof text === 'string' || Buffer.isBuffer(text) ? [text] : text
}
