/**
 * Copies a value as `JSON.parse(JSON.stringify(value))` does, without the text, for the in-memory link. `toJSON` is
 * applied, functions, symbols and undefined are left out (null in arrays), numbers outside JSON become null, -0 becomes
 * 0.
 */

import { setOwn } from '../../values/text.js'
import { RpcError, transportError } from '../errors.js'
import { maxContainers, maxDepth } from '../limits.js'
import { nestedTooDeeply, tooManyContainers } from './json-shape.js'
import { OwnedJson } from './owned-json.js'

/**
 * Estimated bytes of the JSON text of the last copy, to be read right after {@link copyJson}. Kept apart so that a copy
 * allocates nothing else.
 */
export let copiedBytes = 0
/** Objects and arrays of the last copy. */
export let copiedContainers = 0
let limitBytes = 0
/** levels above the value that is copied now */
let depth = 0

/**
 * Copies a message and estimates the size on the way: exact for ASCII without escapes, else a little below the UTF-8
 * text.
 * @throws RpcError `PAYLOAD_TOO_LARGE` above `maxBytes`; `BAD_REQUEST` (not_encodable) for a cycle, more than
 *   {@link maxDepth} levels or {@link maxContainers}, a bigint, or a `toJSON` or getter that throws
 */
export function copyJson(message: object, maxBytes: number): object {
  const copy = copyJsonValue(message, maxBytes)
  if (typeof copy === 'object' && copy !== null) return copy
  throw notEncodable('a message is an object')
}

/** Copies any value; returns undefined for a value that JSON leaves out. */
export function copyJsonValue(value: unknown, maxBytes: number): unknown {
  copiedBytes = 0
  copiedContainers = 0
  limitBytes = maxBytes
  depth = 0
  try {
    return copyValue(value, '')
  } catch (error) {
    if (error instanceof RpcError) throw error
    throw notEncodable(error instanceof Error ? error.message : String(error), error)
  }
}

/** Creates the error for a value outside JSON, with the same words on every link. */
export function notEncodable(problem: string, cause?: unknown): RpcError {
  return transportError('not_encodable', `the value cannot be sent as JSON: ${problem}`, { cause })
}

/** Creates the error for a message above the limit, with the same words on every link. */
export function messageTooLarge(bytes: number, maxBytes: number): RpcError {
  const size = bytes.toLocaleString('en')
  return transportError(
    'message_too_large',
    `message of ${size} bytes is larger than maxMessageBytes ${maxBytes.toLocaleString('en')}`,
  )
}

function count(bytes: number): void {
  copiedBytes += bytes
  if (copiedBytes > limitBytes) throw messageTooLarge(copiedBytes, limitBytes)
}

/** Undefined means "left out", as in JSON.stringify. */
function copyValue(value: unknown, key: string | number): unknown {
  switch (typeof value) {
    case 'string':
      count(value.length + 2)
      return value
    case 'number':
      count(8)
      return Number.isFinite(value) ? value + 0 : null // -0 + 0 is 0
    case 'boolean':
      count(5)
      return value
    case 'object':
      if (value === null) {
        count(4)
        return null
      }
      return copyObject(value, key)
    case 'bigint':
      return copyBigInt(value, key)
    default:
      return undefined
  }
}

function copyObject(value: object, key: string | number): unknown {
  const toJson: unknown = (value as { toJSON?: unknown }).toJSON // any object may have one
  if (typeof toJson === 'function') {
    const replaced: unknown = toJson.call(value, String(key))
    // The result of toJSON is copied without a second toJSON.
    return typeof replaced === 'object' && replaced !== null ? copyLevel(replaced) : copyValue(replaced, key)
  }
  return copyLevel(value)
}

function copyLevel(value: object): unknown {
  // A cycle ends here too.
  if (depth === maxDepth) throw new TypeError(nestedTooDeeply)
  countContainers(1)
  depth++
  const copy = copyPlain(value)
  depth--
  return copy
}

function copyPlain(value: object): unknown {
  if (Array.isArray(value)) {
    count(2 + value.length)
    const copy = new Array<unknown>(value.length)
    for (let index = 0; index < value.length; index++) copy[index] = copyValue(value[index], index) ?? null
    return copy
  }
  if (Object.getPrototypeOf(value) !== Object.prototype) {
    if (value instanceof OwnedJson && value.giveUp()) return handOver(value)
    if (isWrapper(value)) return copyValue(value.valueOf(), '')
  }
  const copy: Record<string, unknown> = {}
  count(2)
  for (const key in value) {
    if (!Object.hasOwn(value, key)) continue
    const field = copyValue((value as Record<string, unknown>)[key], key) // one of its own keys
    if (field === undefined) continue
    count(key.length + 4)
    setOwn(copy, key, field)
  }
  return copy
}

/** Returns the fields of the copy, with the owner's `json` itself. */
function handOver({ json, meta, bytes, containers, levels }: OwnedJson): object {
  if (depth + levels > maxDepth) throw new TypeError(nestedTooDeeply)
  countContainers(containers)
  count(2 + 'json'.length + 4 + bytes)
  if (!meta) return { json }
  count('meta'.length + 4)
  return { json, meta: copyValue(meta, 'meta') }
}

function countContainers(number: number): void {
  copiedContainers += number
  if (copiedContainers > maxContainers) throw new TypeError(tooManyContainers)
}

function isWrapper(value: object): boolean {
  return value instanceof Number || value instanceof String || value instanceof Boolean || value instanceof BigInt
}

function copyBigInt(value: bigint, key: string | number): unknown {
  const toJson: unknown = Reflect.get(BigInt.prototype, 'toJSON')
  if (typeof toJson === 'function') return copyValue(toJson.call(value, String(key)), key)
  throw new TypeError('a bigint needs a transformer')
}
