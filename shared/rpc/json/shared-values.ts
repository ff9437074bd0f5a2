import { isPlainObject, setOwn } from '../../values/text.js'
import { maxDepth } from '../limits.js'
import { containerBytes, leafBytes } from './heap-bytes.js'

/** Memory of a value that references may always make, in bytes, whatever the size of the message. */
const freeBytes = 1024 * 1024

/** The keys and values of a map, or the items of a set, by row: a path names rows. */
type Rows = unknown[][]

/**
 * Puts the shared objects of a value in place: superjson's referential equalities, each a path to an object and the
 * other paths to the same object. The value with all shared objects written out may be twice as large as the message's,
 * or 1 MiB: 800 bytes of references could stand for terabytes, which a procedure, or the encoder of its output, would
 * walk through. A cycle counts once: a recursion over the cycle fails by itself.
 */
export class SharedValues {
  readonly #root: { json: unknown }
  readonly #split: (path: string) => readonly string[]
  /** of the maps and sets on paths; superjson looks for each row from the first one */
  readonly #rows = new Map<object, Rows>()

  constructor(root: { json: unknown }, split: (path: string) => readonly string[]) {
    this.#root = root
    this.#split = split
  }

  /** @throws Error for references that no serializer makes, or whose value is too large */
  apply(equalities: unknown): void {
    const maxBytes = Math.max(freeBytes, 2 * new WrittenOut().bytesOf(this.#root.json))
    const [ofRoot, others] = Array.isArray(equalities) ? equalities : [[], equalities]
    this.#share(this.#root.json, ofRoot)
    if (others !== undefined) {
      if (!isPlainObject(others)) throw malformed()
      for (const path of Object.keys(others)) this.#share(this.#valueAt(this.#split(path)), others[path])
    }
    this.#writeRows()
    if (new WrittenOut().bytesOf(this.#root.json) > maxBytes)
      throw new Error('superjson: the shared objects stand for more than twice the message')
  }

  #share(value: unknown, paths: unknown): void {
    if (!Array.isArray(paths)) throw malformed()
    for (const path of paths) {
      if (typeof path !== 'string') throw malformed()
      this.#setAt(this.#split(path), value)
    }
  }

  /** Returns undefined for a path without a value: a repeated function is no JSON, and has paths all the same. */
  #valueAt(keys: readonly string[]): unknown {
    let value = this.#root.json
    for (let index = 0; index < keys.length; index++) {
      const rows = this.#rowsOf(value)
      // A row of a map is two keys: the row, and 0 for its key or 1 for its value.
      if (rows) value = rows[Number(keys[index])]?.[value instanceof Map ? Number(keys[++index]) : 0]
      else value = ownValue(value, keys[index] ?? '')
    }
    return value
  }

  #setAt(keys: readonly string[], value: unknown): void {
    const last = keys.at(-1) ?? ''
    const before = this.#valueAt(keys.slice(0, -1))
    const set = this.#rowsOf(before)
    if (before instanceof Set && set) return setCell(set[Number(last)], 0, value)
    const map = keys.length < 2 ? undefined : this.#valueAt(keys.slice(0, -2))
    if (map instanceof Map) return setCell(this.#rowsOf(map)?.[Number(keys.at(-2))], Number(last), value)
    if (!mayHold(before, last)) throw malformed()
    setOwn(before, last, value)
  }

  #rowsOf(value: unknown): Rows | undefined {
    if (!(value instanceof Map || value instanceof Set)) return undefined
    let rows = this.#rows.get(value)
    if (!rows) {
      rows = value instanceof Map ? [...value] : Array.from(value, item => [item])
      this.#rows.set(value, rows)
    }
    return rows
  }

  #writeRows(): void {
    for (const [collection, rows] of this.#rows) {
      if (collection instanceof Map) {
        collection.clear()
        for (const [key, item] of rows) collection.set(key, item)
      } else if (collection instanceof Set) {
        collection.clear()
        for (const [item] of rows) collection.add(item)
      }
    }
  }
}

function ownValue(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
  return (value as Record<string, unknown>)[key] // its own
}

/** An object may lack the key: a repeated function is no JSON. */
function mayHold(value: unknown, key: string): value is Record<string, unknown> {
  if (Array.isArray(value)) return key !== 'length' && Object.hasOwn(value, key)
  return isPlainObject(value) || (value instanceof Error && Object.hasOwn(value, key))
}

function setCell(row: unknown[] | undefined, column: number, value: unknown): void {
  if (!row || !(column in row)) throw malformed()
  row[column] = value
}

function malformed(): Error {
  return new Error('superjson: malformed referential equalities')
}

/** Measures a value whose shared objects are written out at each place, without writing them. */
class WrittenOut {
  /** undefined: the object is being measured, so the reference is a cycle */
  readonly #sizes = new Map<object, { bytes: number; levels: number } | undefined>()
  #levels = 0

  /** @throws Error for a value nested deeper than a message may be */
  bytesOf(value: unknown, depth = 0): number {
    this.#levels = 0
    if (typeof value === 'string') return leafBytes + value.length
    if (typeof value !== 'object' || value === null) return leafBytes
    if (ArrayBuffer.isView(value)) return containerBytes + value.byteLength
    const known = this.#sizes.get(value)
    if (!known && this.#sizes.has(value)) return leafBytes
    if (depth + (known?.levels ?? 0) > maxDepth) throw new Error('superjson: shared objects are nested too deeply')
    if (known) {
      this.#levels = known.levels
      return known.bytes
    }
    this.#sizes.set(value, undefined)
    let bytes = containerBytes
    let levels = 0
    for (const item of partsOf(value)) {
      bytes += this.bytesOf(item, depth + 1)
      levels = Math.max(levels, this.#levels)
    }
    this.#levels = levels + 1
    this.#sizes.set(value, { bytes, levels: this.#levels })
    return bytes
  }
}

function partsOf(value: object): Iterable<unknown> {
  if (Array.isArray(value) || value instanceof Set) return value
  if (value instanceof Map) return [...value.keys(), ...value.values()]
  const parts: unknown[] = Object.keys(value)
  for (const key of Object.getOwnPropertyNames(value)) parts.push((value as Record<string, unknown>)[key]) // its own
  return parts
}
