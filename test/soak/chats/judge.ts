/** The comparison of the accounts of a round. */
import type { ChatMessage } from '../../../shared/contract/chats.js'
import type { Accounts, ChatAccount, StoredChat, WatchAccount } from './accounts.js'
import { ofUsers, repeated, textOf } from './judge-users.js'
import type { Offence, OffenceKind } from './offence.js'
import type { ModelCall } from './provider.js'

/** Compares the accounts and returns every breach. */
export function offencesOf(accounts: Accounts): Offence[] {
  const calls = new Map(accounts.calls.map(call => [call.number, call]))
  return [
    ...repeated(accounts.runs).map((id): Offence => ({ kind: 'twice', tag: id, detail: 'the command ran twice' })),
    ...ofRunning(accounts),
    ...ofCalls(accounts),
    ...accounts.chats.flatMap(chat => {
      const stored = accounts.stored.get(chat.id)
      if (!stored) return [{ kind: 'missing', tag: chat.tag, detail: 'the chat' } as const]
      return [
        ...ofUsers(chat, stored),
        ...ofResponses(chat, stored, calls, accounts),
        ...ofState(chat, stored, accounts),
        ...accounts.watches
          .filter(({ chatId }) => chatId === chat.id)
          .flatMap(watch => ofWatcher(chat, stored, watch, calls)),
      ]
    }),
  ]
}

/** A server that was killed ends no commands of an agent that it did not reach; half a minute it would have tried. */
const killMemoryMs = 40_000

function ofRunning({ running, chats, kills }: Accounts): Offence[] {
  return running.flatMap(({ id, scope }): Offence[] => {
    const chat = chats.find(chat => chat.id === scope)
    const isExplained = chat?.cuts.some(cut => kills.some(at => at > cut - 5_000 && at < cut + killMemoryMs))
    return isExplained ? [] : [{ kind: 'orphan', tag: chat?.tag ?? scope, detail: `the process ${id} runs on` }]
  })
}

/** A busy machine may lose a lease without a strike, once. */
const spareCalls = 1

function ofCalls({ calls, strikes }: Accounts): Offence[] {
  const groups = new Map<string, ModelCall[]>()
  for (const call of calls) {
    const history = JSON.stringify([call.tag, call.history])
    groups.set(history, [...(groups.get(history) ?? []), call])
  }
  return [...groups.values()].flatMap((same): Offence[] => {
    const [first, last] = [same[0]?.at ?? 0, same.at(-1)?.at ?? 0]
    // A lease outlasts its server: a strike before the first call may lead to the second one.
    const struck = strikes.filter(at => at > first - strikeMemoryMs && at < last).length
    const explained = 1 + struck + same.filter(({ isCut }) => isCut).length + spareCalls
    if (same.length <= explained) return []
    const detail = `${same.length} calls with one history (#${same[0]?.number}), ${explained} are explained`
    return [{ kind: 'repeated', tag: same[0]?.tag ?? '', detail }]
  })
}

const strikeMemoryMs = 10_000

function ofResponses(
  chat: ChatAccount,
  { messages }: StoredChat,
  calls: ReadonlyMap<number, ModelCall>,
  { interceptions }: Accounts,
): Offence[] {
  const offence = (kind: OffenceKind, detail: string): Offence => ({ kind, tag: chat.tag, detail })
  const responses = messages.filter(({ role }) => role === 'assistant')
  const numbers = responses.flatMap(({ parts }) => numberIn(textOf(parts)) ?? [])
  return [
    ...repeated(numbers).map(number => offence('twice', `the response #${number}`)),
    ...responses.flatMap(message => {
      const text = textOf(message.parts)
      const number = numberIn(text)
      const call = number === undefined ? undefined : calls.get(number)
      // An interrupt may come before the number.
      if (!call)
        return message.interrupted && 'answer #'.startsWith(text.slice(0, 8)) ? [] : [offence('invented', text)]
      const toolCallIds = message.parts.flatMap(part => (part.type === 'tool-call' ? [part.toolCallId] : []))
      const isWhole = text === call.text && String(toolCallIds) === String(call.toolCallIds)
      const before = messages.slice(0, messages.indexOf(message)).flatMap(atomsOfStored)
      return [
        ...(call.tag === chat.tag ? [] : [offence('invented', `a response of ${call.tag}`)]),
        ...(isWhole || (message.interrupted && call.text.startsWith(text)) ? [] : [offence('truncated', text)]),
        ...(String(before) === String(call.history)
          ? []
          : [offence('history', `#${number}: ${difference(before, call.history)}`)]),
        ...(message.interrupted
          ? []
          : ofUsage(message, call, interceptions).map(detail => offence('uncounted', detail))),
      ]
    }),
  ]
}

function ofUsage(message: ChatMessage, call: ModelCall, interceptions: ReadonlyMap<string, number>): string[] {
  const { interceptionId, usage } = message
  const recorded = interceptionId === null ? undefined : interceptions.get(interceptionId)
  if (recorded === undefined) return [`#${call.number} has no recorded interception (${interceptionId})`]
  if (recorded !== call.number) return [`#${call.number}: ${recorded} output tokens are recorded`]
  return usage?.outputTokens === call.number
    ? []
    : [`#${call.number}: ${usage?.outputTokens} output tokens in the message`]
}

function ofState(
  chat: ChatAccount,
  { status, lastError, queueLength, messages }: StoredChat,
  { rejections }: Accounts,
): Offence[] {
  const offence = (kind: OffenceKind, detail: string): Offence => ({ kind, tag: chat.tag, detail })
  const toolCalls = messages.flatMap(({ parts }) =>
    parts.flatMap(part => (part.type === 'tool-call' ? [part.toolCallId] : [])),
  )
  const results = messages.flatMap(({ parts }) =>
    parts.flatMap(part => (part.type === 'tool-result' ? [part.toolCallId] : [])),
  )
  const open = toolCalls.filter(id => !results.includes(id))
  const unanswered = messages.filter(({ role }, index) => {
    const next = messages[index + 1]
    return role === 'user' && (!next || next.role === 'user')
  })
  // A message may follow a failed turn, which then stays without a response.
  const failed = rejections.filter(tag => tag === chat.tag).length
  return [
    ...(status === 'waiting' ? [] : [offence('unended', `status ${status}: ${lastError}`)]),
    ...(queueLength === 0 ? [] : [offence('unended', `${queueLength} messages wait`)]),
    ...open.map(id => offence('unended', `tool call ${id} has no result`)),
    ...repeated(results).map(id => offence('twice', `the result of ${id}`)),
    ...(chat.wasInterrupted || unanswered.length <= failed
      ? []
      : unanswered.map(({ parts }) => offence('missing', `a response to "${textOf(parts)}"`))),
  ]
}

function ofWatcher(
  chat: ChatAccount,
  stored: StoredChat,
  { events }: WatchAccount,
  calls: ReadonlyMap<number, ModelCall>,
): Offence[] {
  const offences: Offence[] = []
  const note = (kind: OffenceKind, detail: string) => offences.push({ kind, tag: chat.tag, detail })
  let seen: ChatMessage[] = []
  let preview = { key: '', seq: 0, text: '' }
  for (const { event } of events) {
    switch (event.kind) {
      case 'history_reset':
        seen = []
        break
      case 'preview_reset':
        preview = { key: `${event.historyVersion}.${event.attempt}`, seq: 0, text: '' }
        break
      case 'message_part': {
        const key = `${event.historyVersion}.${event.attempt}`
        if (key !== preview.key) note('stale', `a part of ${key} in the preview of ${preview.key}`)
        if (event.seq !== preview.seq + 1) note('stale', `part ${event.seq} behind part ${preview.seq}`)
        preview.seq = event.seq
        if (event.role === 'assistant' && event.part.type === 'text') preview.text += event.part.text
        const number = numberIn(preview.text)
        if (number !== undefined && calls.get(number)?.text.startsWith(preview.text) === false)
          note('stale', `the preview "${preview.text}" is no beginning of #${number}`)
        break
      }
      case 'message': {
        const { message } = event
        const last = seen.at(-1)
        if (last && last.seq >= message.seq) note('unseen', `message ${message.seq} behind message ${last.seq}`)
        seen.push(message)
        const number = numberIn(preview.text)
        const text = textOf(message.parts)
        if (
          message.role === 'assistant' &&
          number !== undefined &&
          number === numberIn(text) &&
          !text.startsWith(preview.text)
        )
          note('stale', `the preview "${preview.text}" became "${text}"`)
        break
      }
    }
  }
  const ids = (messages: readonly ChatMessage[]) => messages.map(({ id, seq }) => `${seq} ${id}`)
  if (String(ids(seen)) !== String(ids(stored.messages))) note('unseen', difference(ids(seen), ids(stored.messages)))
  return offences
}

/** The atoms of a stored message, as `atomsOf` makes them of a request. */
function atomsOfStored({ role, parts }: ChatMessage): string[] {
  return parts.flatMap(part => {
    if (part.type === 'text') return [`${role}:${part.text}`]
    if (part.type === 'tool-call') return [`call:${part.toolCallId}`]
    return part.type === 'tool-result' ? [`result:${part.toolCallId}`] : []
  })
}

function numberIn(text: string): number | undefined {
  const [, number] = /^answer #(\d+) /.exec(text) ?? []
  return number === undefined ? undefined : Number(number)
}

function difference(here: readonly string[], there: readonly string[]): string {
  const index = here.findIndex((value, place) => value !== there[place])
  const place = index < 0 ? here.length : index
  return `at ${place} of ${here.length} and ${there.length}: ${JSON.stringify(here[place])} and ${JSON.stringify(there[place])}`
}
