import { isPlainObject, type JsonObject } from '../../../../shared/values/text.js'

/** characters of an opening that count */
const maxCharacters = 16_384

/**
 * Returns the text with which the user opened a conversation: it is the same in all requests of the conversation, of
 * any API. Markers beside the text, such as those of a prompt cache, move from request to request and do not count.
 * Never throws, for any JSON.
 */
export function openingOf({ messages, input }: JsonObject): string | undefined {
  const turns = messages ?? input
  if (typeof turns === 'string') return cut(turns)
  if (!Array.isArray(turns)) return undefined
  const first = turns.find(turn => isPlainObject(turn) && turn.role === 'user')
  return isPlainObject(first) ? cut(textIn(first.content)) : undefined
}

function textIn(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content.map(part => (isPlainObject(part) && typeof part.text === 'string' ? part.text : '')).join('')
}

function cut(text: string): string | undefined {
  return text === '' ? undefined : text.slice(0, maxCharacters)
}
