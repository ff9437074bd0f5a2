/** What readers of provider JSON have in common: nothing is expected, nothing throws. */
import { isPlainObject } from '../../../shared/values/text.js'

/** Text that is there; an empty one is not. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** The objects of an array; none if it is none. */
export function objectsOf(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isPlainObject) : []
}

/** JSON text of what came out of JSON.parse, which reads what is nested too deeply to be written again: that is empty. */
export function jsonTextOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? ''
  } catch {
    return '' // a RangeError; whoever nests a tool's input thousands of levels deep is not understood anyway
  }
}

/** The last message that somebody said: clients put instructions of their own behind what the user wrote. */
export function lastSpoken(messages: Record<string, unknown>[]): Record<string, unknown> | undefined {
  return messages.findLast(({ role }) => role !== 'system' && role !== 'developer')
}

/** The value of JSON text; undefined if it is none: what a provider sends is not ours to refuse, it is passed on and not recorded. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
