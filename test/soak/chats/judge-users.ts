/** The comparison of a user's messages with the stored ones. */
import type { ChatMessage } from '../../../shared/contract/chats.js'
import type { ChatAccount, SentAccount, StoredChat } from './accounts.js'
import type { Offence, OffenceKind } from './offence.js'

/** Returns the breaches in the messages of a chat's user. */
export function ofUsers(chat: ChatAccount, { messages }: StoredChat): Offence[] {
  const offence = (kind: OffenceKind, detail: string): Offence => ({ kind, tag: chat.tag, detail })
  const sent = new Map(chat.sent.map(message => [message.id, message]))
  const own = messages.filter(({ role }) => role === 'user')
  const there = new Set(own.map(({ id }) => id))
  return [
    ...repeated(messages.map(({ id }) => id)).map(id => offence('twice', `message ${id}`)),
    ...chat.sent
      .filter(({ id, state }) => state === 'acknowledged' && !there.has(id))
      .map(({ text }) => offence('missing', `"${text}" was acknowledged`)),
    ...own.flatMap(({ id, parts }) => {
      const message = sent.get(id)
      if (!message) return [offence('invented', `message ${id}`)]
      if (message.state === 'gone') return [offence('invented', `"${message.text}" was taken back`)]
      if (message.said.includes('dequeued')) return [offence('invented', `"${message.text}" was said to be taken back`)]
      return textOf(parts) === message.text ? [] : [offence('invented', `another text in "${message.text}"`)]
    }),
    ...chat.sent
      .filter(({ outlivedClear }) => outlivedClear)
      .map(({ text }) => offence('invented', `"${text}" waited in a queue that was emptied`)),
    ...chat.sent.flatMap(message => placesOf(message).map(detail => offence('missing', detail))),
    ...orderOf(chat, own).map(problem => offence('history', problem)),
  ]
}

/** What responses said of a message: what is in the history stays there, and what waits does not wait for ever. */
function placesOf({ text, said, state, isEdited }: SentAccount): string[] {
  const stored = said.indexOf('stored')
  return [
    ...(!isEdited && stored >= 0 && said.slice(stored).some(place => place !== 'stored')
      ? [`"${text}" was stored, and then it was not: ${said.join(', ')}`]
      : []),
    ...(state === 'gone' && !isEdited && said.at(-1) !== 'dequeued'
      ? [`"${text}" was taken back, and is said to be ${said.at(-1)}`]
      : []),
  ]
}

/** Messages in an order that is neither that of their sending nor that of a promotion. */
function orderOf(chat: ChatAccount, own: readonly ChatMessage[]): string[] {
  const places = new Map(own.map(({ id }, index) => [id, index]))
  return chat.sent.flatMap((later, index) => {
    const place = places.get(later.id)
    if (place === undefined) return []
    const isBefore = ({ id }: { id: string }) => place < (places.get(id) ?? -1)
    const passed = chat.sent.slice(0, index).filter(earlier => isBefore(earlier))
    return [
      ...passed
        .filter(({ id }) => !later.mayPrecede?.includes(id))
        .map(({ text }) => `"${later.text}" stands before "${text}", which was sent earlier`),
      ...(later.mustPrecede ?? [])
        .filter(id => places.has(id) && !isBefore({ id }))
        .map(id => `"${later.text}" was promoted, and stands behind message ${id}`),
    ]
  })
}

/** Returns the text of a message. */
export function textOf(parts: ChatMessage['parts']): string {
  return parts.map(part => (part.type === 'text' ? part.text : '')).join('')
}

/** Returns the values that are there more than once. */
export function repeated<T>(values: readonly T[]): T[] {
  return [...new Set(values.filter((value, index) => values.indexOf(value) !== index))]
}
