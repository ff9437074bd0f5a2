import { jsonShape } from './json-shape.js'

/** Memory of one empty object or array and of the place that points to it, in bytes: measured 40 to 64. */
export const containerBytes = 56

/** The same of a string, a number or a key, beside its characters. */
export const leafBytes = 16

/**
 * Estimates the memory that a value from `JSON.parse` takes, in bytes: within a factor of two for small items, and
 * close for text. Stops above `maxBytes`.
 */
export function heapBytes(value: unknown, maxBytes = Number.POSITIVE_INFINITY): number {
  let bytes = 0
  const rest: unknown[] = [value]
  while (rest.length > 0 && bytes <= maxBytes) {
    const item = rest.pop()
    if (typeof item === 'string') bytes += leafBytes + item.length
    else if (typeof item !== 'object' || item === null) bytes += leafBytes
    else if (Array.isArray(item)) {
      bytes += containerBytes
      for (const part of item) rest.push(part)
    } else {
      bytes += containerBytes
      for (const key of Object.keys(item)) {
        bytes += leafBytes
        rest.push((item as Record<string, unknown>)[key]) // one of its own keys
      }
    }
  }
  return bytes
}

/** Estimates the same of JSON text, before the text is parsed. */
export function heapBytesOfText(text: string): number {
  const { containers, separators } = jsonShape(text)
  return text.length + containers * containerBytes + separators * leafBytes
}
