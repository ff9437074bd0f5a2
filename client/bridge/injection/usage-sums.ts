/** Sums of the usage of several responses. */
import { isPlainObject, type JsonObject, type JsonValue, setOwn } from '../../../shared/values/text.js'

/**
 * Returns a usage with the numbers of another one added, in groups too, and with lists joined. Of other values, and of
 * fields that only one of them has, the value stays; of two the newer one.
 */
export function sumOfUsage(older: JsonObject | undefined, newer: JsonObject): JsonObject {
  const sum: JsonObject = {}
  for (const [name, value] of Object.entries(newer)) setOwn(sum, name, value)
  if (!older) return sum
  for (const [name, value] of Object.entries(older)) setOwn(sum, name, plus(value, own(newer, name)))
  return sum
}

/** Returns a usage with the fields of a newer count of the same response in place of its own. */
export function newestUsage(older: JsonObject | undefined, newer: JsonObject): JsonObject {
  const merged: JsonObject = {}
  for (const usage of [older ?? {}, newer]) {
    for (const [name, value] of Object.entries(usage)) {
      const known = own(merged, name)
      if (value === null && known !== undefined) continue
      setOwn(merged, name, isObject(value) && isObject(known) ? newestUsage(known, value) : value)
    }
  }
  return merged
}

function plus(older: JsonValue, newer: JsonValue | undefined): JsonValue {
  if (typeof older === 'number' && typeof newer === 'number') return older + newer
  if (isObject(older) && isObject(newer)) return sumOfUsage(older, newer)
  if (Array.isArray(older) && Array.isArray(newer)) return [...older, ...newer]
  return newer ?? older
}

function own(object: JsonObject, name: string): JsonValue | undefined {
  return Object.hasOwn(object, name) ? object[name] : undefined
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return isPlainObject(value)
}
