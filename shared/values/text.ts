/** Fits text and JSON from outside to PostgreSQL and to the limits. Valid values stay unchanged. */

/** Replaces U+0000 and lone surrogates by U+FFFD: PostgreSQL's text and jsonb take neither. */
export function cleanText(text: string): string {
  const wellFormed = text.isWellFormed() ? text : text.toWellFormed()
  return wellFormed.includes('\0') ? wellFormed.replaceAll('\0', '\uFFFD') : wellFormed
}

/** Cuts well-formed text to at most `maxBytes` of UTF-8, never inside a character. */
export function cutToBytes(text: string, maxBytes: number): string {
  // A UTF-16 code unit takes at most 3 bytes of UTF-8, so most text is short enough without an encoding.
  if (text.length * 3 <= maxBytes) return text
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(maxBytes))
  return read === text.length ? text : text.slice(0, read)
}

/** Returns the bytes of a text in UTF-8; a lone surrogate counts as U+FFFD. */
export function utf8Bytes(text: string): number {
  let bytes = text.length
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    if (unit < 0x80) continue
    if (unit < 0x800) bytes++
    else {
      bytes += 2
      // A pair is two units and four bytes.
      if (unit >= 0xd800 && unit <= 0xdbff && isLowSurrogate(text.charCodeAt(index + 1))) index++
    }
  }
  return bytes
}

function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff
}

/** Cuts text to at most `maxLength` UTF-16 code units, never inside a surrogate pair. */
export function cutToLength(text: string, maxLength: number): string {
  if (text.length <= maxLength) return text
  const last = text.charCodeAt(maxLength - 1)
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? maxLength - 1 : maxLength)
}

/** A value that JSON has. */
export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject

/** A JSON object: names to JSON values. */
export interface JsonObject {
  [key: string]: JsonValue
}

/** The reason of {@link cleanJsonObject} for a rejection. */
export class JsonRejected extends Error {}

/**
 * Copies a JSON object: text cleaned, keys too, `undefined` fields left out, keys such as `__proto__` as own
 * properties.
 * @throws JsonRejected if it is no plain JSON, larger than `maxBytes` (as JSON text in UTF-8) or nested deeper than
 *   `maxDepth`
 */
export function cleanJsonObject(value: unknown, maxBytes: number, maxDepth: number): JsonObject {
  if (!isPlainObject(value)) throw new JsonRejected('is not a JSON object')
  const budget = { bytes: maxBytes, maxBytes, maxDepth }
  return copyObject(value, budget, 1)
}

interface Budget {
  bytes: number
  readonly maxBytes: number
  readonly maxDepth: number
}

function copyValue(value: unknown, budget: Budget, depth: number): JsonValue {
  switch (typeof value) {
    case 'string':
      return copyString(value, budget)
    case 'number':
      if (!Number.isFinite(value)) throw new JsonRejected(`holds ${value}, which is not JSON`)
      spend(budget, String(value).length)
      return value
    case 'boolean':
      spend(budget, value ? 4 : 5)
      return value
    case 'object':
      if (value === null) {
        spend(budget, 4)
        return null
      }
      if (depth >= budget.maxDepth) throw new JsonRejected(`is nested deeper than ${budget.maxDepth}`)
      if (Array.isArray(value)) {
        spend(budget, 2 + Math.max(0, value.length - 1))
        return Array.from(value, item => copyValue(item === undefined ? null : item, budget, depth + 1))
      }
      if (isPlainObject(value)) return copyObject(value, budget, depth + 1)
      throw new JsonRejected('holds an object that is neither plain nor an array')
    default:
      throw new JsonRejected(`holds a ${typeof value}, which is not JSON`)
  }
}

function copyObject(source: Record<string, unknown>, budget: Budget, depth: number): JsonObject {
  const copy: JsonObject = {}
  // The braces, then a colon for each field, and a comma for each but the first.
  spend(budget, 2)
  let separators = 1
  for (const key of Object.keys(source)) {
    const value = source[key]
    if (value === undefined) continue
    spend(budget, separators)
    separators = 2
    setOwn(copy, copyString(key, budget), copyValue(value, budget, depth))
  }
  return copy
}

function copyString(text: string, budget: Budget): string {
  const clean = cleanText(text)
  spend(budget, needsEscape.test(clean) ? utf8Bytes(JSON.stringify(clean)) : utf8Bytes(clean) + 2)
  return clean
}

/** Matches the characters that JSON text escapes, which take more bytes than the character. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const needsEscape = /["\\\u0000-\u001f]/

function spend(budget: Budget, bytes: number): void {
  budget.bytes -= bytes
  if (budget.bytes < 0) throw new JsonRejected(`is larger than ${budget.maxBytes.toLocaleString('en')} bytes`)
}

/**
 * Sets a property as the object's own, whatever the name: plain assignment of `__proto__` would change the prototype.
 */
export function setOwn<T>(target: Record<string, T>, key: string, value: T): void {
  if (key === '__proto__')
    Object.defineProperty(target, key, { value, enumerable: true, writable: true, configurable: true })
  else target[key] = value
}

/** Returns whether a value is an object literal or an object without prototype, as JSON.parse makes them. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
