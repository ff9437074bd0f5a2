import type { JsonValue } from '../../../shared/values/text.js'
import { objectsOf } from '../providers/reading.js'

/** Returns whether a message of the model is followed by another one; a last one is the beginning of its response. */
export function hasSpoken(messages: JsonValue | undefined): boolean {
  return objectsOf(messages)
    .slice(0, -1)
    .some(({ role }) => role === 'assistant')
}
