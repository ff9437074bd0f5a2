/** Puts the hidden calls of stored turns back into the history that a client sends. */
import { isPlainObject, type JsonValue } from '../../../../shared/values/text.js'
import { textOf } from '../../providers/reading.js'
import { isInstruction, turnOf } from '../../providers/requests/content.js'
import type { Turn } from '../../providers/requests/prompt.js'
import { arrayText, type JsonEdits, type JsonText } from '../../wire/json-edit.js'
import type { JsonNode } from '../../wire/json-node.js'
import { matchTurns, placedAnchors, type TextContext, textAnchor, wordsDigest } from '../anchors.js'
import type { HiddenTurn } from '../injection-api.js'
import { arrange, readRounds, type StoredRound } from '../stored-round.js'
import { anchorOf } from './blocks.js'

/** A message of the model in a history. */
interface ModelMessage {
  /** its index among all messages */
  index: number
  /** the anchor of each block */
  own: string[]
  context: TextContext
}

interface History {
  model: ModelMessage[]
  /** the surroundings of the response that is asked for */
  next: TextContext
}

/** Reads the messages of a request. */
export function readHistory(messages: readonly JsonValue[]): History {
  const model: ModelMessage[] = []
  let user: Turn = { texts: [], results: [] }
  const context = () => ({ after: wordsDigest(user), place: model.length })
  for (const [index, message] of messages.entries()) {
    if (!isPlainObject(message) || isInstruction(message)) continue
    if (message.role === 'assistant') {
      model.push({ index, own: ownAnchors(message.content), context: context() })
      user = { texts: [], results: [] }
      continue
    }
    const { texts, results } = turnOf(message.content)
    user = { texts: [...user.texts, ...texts], results: [...user.results, ...results] }
  }
  return { model, next: context() }
}

function ownAnchors(content: JsonValue | undefined): string[] {
  if (typeof content === 'string') return [textAnchor(content) ?? '']
  return Array.isArray(content) ? content.map(block => (isPlainObject(block) ? anchorOf(block) : '')) : []
}

/**
 * Returns the anchors by which a message of the model is found.
 * @param own the anchor of each visible block
 * @param text all text of the message: some clients keep that alone, as one block
 */
export function messageAnchors(own: readonly string[], text: string, context: TextContext): string[] {
  const joined = textAnchor(text) ?? ''
  const anchors = [...own, joined].flatMap(anchor => {
    if (anchor === '') return []
    return anchor.startsWith('id:') ? [anchor] : placedAnchors(anchor, context)
  })
  return [...new Set(anchors)]
}

/**
 * Inserts the hidden calls and results of stored turns into the messages. A message of the model is split into the
 * rounds that it was made of. The results of hidden calls beside calls of the client stand in front of the client's.
 * @param messages the node of the messages
 */
export function reinsert(
  edits: JsonEdits,
  messages: JsonNode,
  json: readonly JsonValue[],
  history: History,
  turns: readonly HiddenTurn[],
): void {
  const stored = turns.map(({ anchors, rounds }) => ({ anchors, rounds: readRounds(rounds) ?? [] }))
  const texts = history.model.map(({ index }) => allText(contentOf(json[index])))
  const places = history.model.map(({ own, context }, at) => messageAnchors(own, texts[at] ?? '', context))
  const byPlace = new Map<number, StoredRound[]>()
  for (const [{ rounds }, place] of matchTurns(places, stored)) {
    if (rounds.length > 0) byPlace.set(place, [...(byPlace.get(place) ?? []), ...rounds])
  }
  for (const [place, rounds] of byPlace) {
    const message = history.model[place]
    const node = message && messages.elements[message.index]
    if (!message || !node) continue
    const behind = json[message.index + 1]
    const next = isPlainObject(behind) && behind.role === 'user' ? messages.elements[message.index + 1] : undefined
    const split = splitMessage(node, message.own, rounds)
    const left = rounds.at(-1)?.results ?? []
    if (left.length > 0 && next) addResults(edits, next, left)
    else if (left.length > 0) split.push(userMessage(left))
    const [first, ...more] = split
    if (first) edits.replace(node, first, ...more)
  }
}

/** Returns the messages of the rounds; the last one is the client's own, with the hidden calls in it. */
function splitMessage(node: JsonNode, own: readonly string[], rounds: readonly StoredRound[]): JsonText[] {
  const content = node.member('content')
  const blocks = content?.isArray ? content.elements.map(block => block.bytes) : content ? [textBlock(content)] : []
  return arrange(own, rounds).flatMap((items, round): JsonText[] => {
    const texts = items.map(item => ('part' in item ? (blocks[item.part] ?? '') : item.hidden)).filter(t => t !== '')
    const isLast = round === rounds.length - 1
    const results = isLast ? [] : (rounds[round]?.results ?? [])
    const message = texts.length === 0 ? [] : [isLast ? withContent(node, texts) : assistantMessage(texts)]
    return results.length === 0 ? message : [...message, userMessage(results)]
  })
}

/** Returns the message with other content; everything else in it stays, and content that is the same. */
function withContent(node: JsonNode, blocks: JsonText[]): JsonText {
  const content = node.member('content')
  if (!content) return assistantMessage(blocks)
  const { text, start, end } = node
  const isSame = !content.isArray && blocks.length === 1 && Array.isArray(blocks[0])
  if (isSame) return node.bytes
  return [text.subarray(start, content.start), ...arrayText(blocks), text.subarray(content.end, end)]
}

/** Inserts results in front of the blocks of a user's message. */
function addResults(edits: JsonEdits, message: JsonNode, results: readonly string[]): void {
  const content = message.member('content')
  if (content?.isArray) edits.insert(content, 0, ...results)
  else if (content) {
    const isBlank = /^"(?:\s|\\[nrt])*"$/.test(content.bytes.toString('latin1', 0, 64))
    edits.replace(content, arrayText(isBlank ? results : [...results, textBlock(content)]))
  }
}

function textBlock(text: JsonNode): JsonText {
  return ['{"type":"text","text":', text.bytes, '}']
}

/** Returns a message of the model. */
export function assistantMessage(blocks: readonly JsonText[]): JsonText {
  return ['{"role":"assistant","content":', ...arrayText(blocks), '}']
}

/** Returns a message of the user with results of tools. */
export function userMessage(results: readonly string[]): JsonText {
  return ['{"role":"user","content":', ...arrayText(results), '}']
}

/** Returns the text of all text blocks. */
function allText(content: JsonValue | undefined): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content
    .map(block => (isPlainObject(block) && block.type === 'text' ? (textOf(block.text) ?? '') : ''))
    .join('')
}

function contentOf(message: JsonValue | undefined): JsonValue | undefined {
  return isPlainObject(message) ? message.content : undefined
}
