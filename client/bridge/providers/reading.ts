/** Functions that readers of provider JSON share. They expect no shape and never throw. */
import { isPlainObject } from '../../../shared/values/text.js'

/** Returns the value if it is text and not empty. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** Returns the objects of an array; none for any other value. */
export function objectsOf(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isPlainObject) : []
}

/** Returns the JSON text of a value from JSON.parse; empty for a value that is nested too deeply for JSON.stringify. */
export function jsonTextOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? ''
  } catch {
    return '' // a RangeError: thousands of levels, more than any tool's input has
  }
}

/** Returns the value of JSON text; undefined for other text, which passes to the client and leaves no record. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
