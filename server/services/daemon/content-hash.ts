import { hash } from 'node:crypto'

/**
 * Returns the SHA-256 of a value's content: the same for every order of keys, with `undefined` fields left out and
 * dates in ISO 8601.
 * @param value plain objects, arrays, JSON's scalars and Date
 */
export function contentHash(value: object): Buffer {
  return hash('sha256', canonicalJson(value), 'buffer')
}

/** Returns JSON text without white space, keys sorted by UTF-16 code units, which no locale changes. */
export function canonicalJson(value: unknown): string {
  if (typeof value !== 'object' || value === null || value instanceof Date) return JSON.stringify(value) ?? 'null'
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  const fields = value as Record<string, unknown> // an object, and each field is unknown
  let text = ''
  for (const key of sorted(Object.keys(fields))) {
    const field = fields[key]
    if (field === undefined) continue
    text += `${text === '' ? '' : ','}${isPlain.test(key) ? `"${key}"` : JSON.stringify(key)}:${canonicalJson(field)}`
  }
  return `{${text}}`
}

/** Matches the keys that JSON does not escape. */
const isPlain = /^\w*$/

/**
 * Sorts the keys of a record where they stand, by insertion: they are few and nearly in order. `sort()` copies them
 * twice.
 */
function sorted(keys: string[]): string[] {
  if (keys.length > maxInsertions) return keys.sort()
  for (let next = 1; next < keys.length; next++) {
    const key = keys[next] ?? ''
    let place = next
    for (; place > 0 && (keys[place - 1] ?? '') > key; place--) keys[place] = keys[place - 1] ?? ''
    keys[place] = key
  }
  return keys
}

/** Insertions take the square of the number of keys, which a peer chooses. */
const maxInsertions = 32
