/**
 * Returns a number of bytes that the JSON text of a value does not exceed; infinite for a value that is not simple. It
 * costs an eighth of the text (0.26 µs for a token usage), which is needed only near a limit.
 */
export function jsonBytesAtMost(value: unknown, depth = 0): number {
  if (typeof value === 'string') return textBytesAtMost(value)
  if (typeof value !== 'object' || value === null) return typeof value === 'bigint' ? Infinity : maxScalarBytes
  if (depth > maxDepth) return Infinity
  // Brackets, and a comma for each member.
  let bytes = 2
  if (Array.isArray(value)) {
    for (const item of value) bytes += 1 + jsonBytesAtMost(item, depth + 1)
    return bytes
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === Date.prototype) return maxScalarBytes
  if (prototype !== Object.prototype && prototype !== null) return Infinity
  for (const key of Object.keys(value)) {
    const member: unknown = Reflect.get(value, key)
    // A method `toJSON` would decide about the text.
    if (typeof member === 'function') return Infinity
    bytes += 2 + textBytesAtMost(key) + jsonBytesAtMost(member, depth + 1)
  }
  return bytes
}

/** `"+275760-09-13T00:00:00.000Z"`; numbers, `false` and `null` are shorter. */
const maxScalarBytes = 32
/** records of honest daemons are less deep */
const maxDepth = 32

/** An escape takes six bytes for a code unit, which is more than UTF-8 does. */
function textBytesAtMost(text: string): number {
  return 2 + 6 * text.length
}
