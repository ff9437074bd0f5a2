/** Reads the content of messages, in the forms of all three APIs: some clients send one API the messages of another. */
import { objectsOf, textOf } from '../reading.js'
import type { Turn } from './prompt.js'

/** Returns the texts of a content: a string, or the text parts of an array. */
export function textsOf(content: unknown): string[] {
  if (typeof content === 'string') return content === '' ? [] : [content]
  const isText = ({ type }: Record<string, unknown>) => type === 'text' || type === 'input_text'
  return objectsOf(content).flatMap(part => (isText(part) ? (textOf(part.text) ?? []) : []))
}

/** Returns the texts of a user's message and the results of tools in it. */
export function turnOf(content: unknown): Turn {
  const results = objectsOf(content).filter(({ type }) => type === 'tool_result')
  return { texts: textsOf(content), results: results.map(result => textOf(result.tool_use_id) ?? '') }
}

/** Returns the texts of the system's and the developer's messages. */
export function instructionsOf(messages: readonly Record<string, unknown>[]): string[] {
  return messages.filter(isInstruction).flatMap(({ content }) => textsOf(content))
}

/** Returns whether a message holds instructions, which are no speech. */
export function isInstruction({ role }: Record<string, unknown>): boolean {
  return role === 'system' || role === 'developer'
}
