import { hash } from 'node:crypto'

/**
 * SHA-256 of a value's content: the same for every order of keys, with `undefined` fields left out and dates in ISO 8601.
 * @param value plain objects, arrays, JSON's scalars and Date
 */
export function contentHash(value: object): Buffer {
  return hash('sha256', canonicalJson(value), 'buffer')
}

/** JSON text with sorted keys and no white space. */
export function canonicalJson(value: unknown): string {
  if (typeof value !== 'object' || value === null || value instanceof Date) return JSON.stringify(value) ?? 'null'
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  let text = ''
  for (const [key, field] of Object.entries(value).sort(byKey)) {
    if (field === undefined) continue
    text += `${text === '' ? '' : ','}${JSON.stringify(key)}:${canonicalJson(field)}`
  }
  return `{${text}}`
}

/** By UTF-16 code units, which no locale changes. */
function byKey([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0
}
