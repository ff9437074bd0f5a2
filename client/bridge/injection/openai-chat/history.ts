/** Hidden calls of earlier turns in a request of Chat Completions: where they belong, and the messages with them. */
import { isPlainObject, type JsonObject, type JsonValue } from '../../../../shared/values/text.js'
import { objectsOf, parsed, textOf } from '../../providers/reading.js'
import { chatSpeechOf } from '../../providers/requests/chat-request.js'
import { lastTurnOf } from '../../providers/requests/prompt.js'
import { idAnchor, matchTurns, placedAnchors, type TextContext, textAnchor, wordsDigest } from '../anchors.js'
import type { HiddenTurn } from '../injection-api.js'
import { arrange, readRounds, type StoredRound } from '../stored-round.js'
import { type ChatRound, type ChatTexts, modelMessage, type TextMember, textMembers } from './round.js'
import { cutText, isTextPiece, pieceOf, type TextPiece } from './text-pieces.js'

/** A stored round; a client sees the texts of all rounds as one. */
type StoredChatRound = StoredRound & {
  texts: Partial<Record<TextMember, TextPiece>>
  /** the reasoning blocks as JSON text of an array; empty without any */
  details: string
}

/** Returns a turn to be stored; undefined if no call was hidden, or nothing of the turn can be found again. */
export function storedTurn(
  api: string,
  messages: readonly JsonValue[],
  rounds: readonly ChatRound[],
): HiddenTurn | undefined {
  const whole = rounds.map(withResultsOnly)
  const calls = whole.flatMap(round => round.calls)
  if (!calls.some(call => 'hidden' in call)) return undefined
  const ids = calls.flatMap(call => ('visibleId' in call ? call.visibleId : []))
  const text = rounds.map(({ texts }) => texts.content ?? '').join('')
  const anchors = anchorsOf(text, ids, contextsOf(messages).at(-1))
  return anchors.length === 0 ? undefined : { api, anchors, rounds: whole.map(stored) }
}

/** Leaves out hidden calls that were not run to their end: a provider rejects calls without results. */
function withResultsOnly(round: ChatRound): ChatRound {
  const visible = round.calls.filter(call => 'visibleId' in call)
  return round.calls.length - visible.length === round.results.length
    ? round
    : { ...round, calls: visible, results: [] }
}

function stored({ texts, details, calls, results }: ChatRound): StoredChatRound {
  const pieces: StoredChatRound['texts'] = {}
  for (const member of textMembers) {
    const text = texts[member]
    if (text !== undefined) pieces[member] = pieceOf(text)
  }
  return {
    items: calls.map(call =>
      'hidden' in call ? { hidden: JSON.stringify(call.json) } : { visible: callAnchor(call.visibleId) },
    ),
    results: results.map(result => JSON.stringify(result)),
    texts: pieces,
    details: details.length === 0 ? '' : JSON.stringify(details),
  }
}

function readChatRounds(rounds: readonly JsonObject[]): readonly StoredChatRound[] | undefined {
  return readRounds(rounds)?.every(isChatRound) ? (rounds as readonly StoredChatRound[]) : undefined // just checked
}

function isChatRound(round: StoredRound): round is StoredChatRound {
  const { texts, details } = round as Partial<StoredChatRound> // checked here
  return typeof details === 'string' && isPlainObject(texts) && Object.values(texts).every(isTextPiece)
}

function callAnchor(id: string): string {
  return id === '' ? '' : idAnchor('call', id)
}

function anchorsOf(text: string, callIds: readonly string[], context: TextContext | undefined): string[] {
  const own = textAnchor(text)
  const ids = callIds.map(callAnchor).filter(anchor => anchor !== '')
  return own === undefined || !context ? ids : [...ids, ...placedAnchors(own, context)]
}

/** Returns the surroundings of each message of the model, and of the one that comes next. */
function contextsOf(messages: readonly JsonValue[]): TextContext[] {
  const contexts: TextContext[] = []
  let others: JsonValue[] = []
  const add = () => {
    contexts.push({ after: wordsDigest(lastTurnOf(objectsOf(others), chatSpeechOf)), place: contexts.length })
    others = []
  }
  for (const message of messages) {
    if (isModelMessage(message)) add()
    else others.push(message)
  }
  add()
  return contexts
}

function isModelMessage(message: JsonValue | undefined): message is JsonObject {
  return isPlainObject(message) && message.role === 'assistant'
}

/** Returns the messages that replace a message of the model: index → JSON texts, in order of the index. */
export function restoredMessages(messages: readonly JsonValue[], turns: readonly HiddenTurn[]): Map<number, string[]> {
  const readable = turns.flatMap(turn => {
    const rounds = readChatRounds(turn.rounds)
    return rounds ? { anchors: turn.anchors, rounds } : []
  })
  if (readable.length === 0) return new Map()
  const places = messages.flatMap((message, index) => (isModelMessage(message) ? { index, message } : []))
  const contexts = contextsOf(messages)
  const anchors = places.map(({ message }, place) =>
    anchorsOf(contentText(message.content), callIdsOf(message), contexts[place]),
  )
  const restored = new Map<number, string[]>()
  for (const [{ rounds }, place] of matchTurns(anchors, readable)) {
    const found = places[place]
    if (found && !restored.has(found.index)) restored.set(found.index, restore(found.message, rounds))
  }
  return restored
}

function callIdsOf({ tool_calls: calls }: JsonObject): string[] {
  return objectsOf(calls).map(call => textOf(call.id) ?? '')
}

/** Cuts a message into the messages of the rounds, with the hidden calls at their places and the results behind. */
function restore(message: JsonObject, rounds: readonly StoredChatRound[]): string[] {
  const last = rounds.length - 1
  const texts = rounds.map((): ChatTexts => ({}))
  for (const member of textMembers) {
    const whole = contentText(message[member])
    const pieces = cutText(
      whole,
      rounds.map(round => round.texts[member]),
    )
    for (const [index, text] of (pieces ?? []).entries()) {
      const own = texts[index]
      if (own && text !== undefined && whole !== '') own[member] = text
    }
    const own = texts[last]
    if (own && !pieces && whole !== '') own[member] = whole
  }
  const calls = callIdsOf(message)
  const arranged = arrange(calls.map(callAnchor), rounds)
  return rounds.flatMap((round, index) => {
    const json = (arranged[index] ?? []).map(item =>
      'hidden' in item ? item.hidden : JSON.stringify(objectsOf(message.tool_calls)[item.part]),
    )
    const own = texts[index] ?? {}
    const shown = index === last ? lastMessage(message, own) : earlierMessage(message, own, round)
    return [withCalls(shown, json), ...round.results]
  })
}

function earlierMessage(message: JsonObject, texts: ChatTexts, { details }: StoredChatRound): JsonObject {
  // A client that leaves the reasoning out gets a history without it.
  const blocks = message.reasoning_details === undefined || details === '' ? [] : parsed(details)
  return modelMessage(texts, Array.isArray(blocks) ? blocks : [], [])
}

/** Returns the client's message with the texts of the last round in place of all texts. */
function lastMessage(message: JsonObject, texts: ChatTexts): JsonObject {
  const { tool_calls: calls, ...own } = message
  for (const member of textMembers) {
    const value = own[member]
    const text = texts[member] ?? ''
    if (Array.isArray(value)) own[member] = withoutBeginning(value, contentText(value).length - text.trimStart().length)
    else if (typeof value === 'string' && value !== text) own[member] = text === '' && calls !== undefined ? null : text
  }
  return own
}

/** Returns the text of a content: a string, or the texts of its parts. */
function contentText(content: JsonValue | undefined): string {
  if (typeof content === 'string') return content
  return objectsOf(content)
    .map(({ text }) => textOf(text) ?? '')
    .join('')
}

/** Returns the parts of a content without so many characters at the beginning. */
function withoutBeginning(parts: readonly JsonValue[], characters: number): JsonValue[] {
  let left = characters
  return parts.flatMap(part => {
    const text = isPlainObject(part) ? textOf(part.text) : undefined
    if (left === 0 || !isPlainObject(part) || text === undefined) return [part]
    const cut = Math.min(left, text.length)
    left -= cut
    return cut === text.length ? [] : [{ ...(part as JsonObject), text: text.slice(cut) }] // a part is JSON
  })
}

function withCalls(message: JsonObject, calls: readonly string[]): string {
  if (calls.length === 0) return JSON.stringify(message)
  const text = JSON.stringify(message)
  return `${text.slice(0, -1)},"tool_calls":[${calls.join(',')}]}`
}
