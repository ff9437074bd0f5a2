/** The rule for the prompt of a request, one for all APIs. */
import { isOneElement, unframe } from './client-elements.js'

/** One message or item of a request. */
export type Speech =
  /** instructions and settings: no speech */
  | 'silent'
  /** the model's speech, or an item behind which the user has not spoken yet */
  | 'model'
  | Turn

/** Texts and tool results of the user's side, between two speeches of the model. */
export interface Turn {
  /** texts of the user's messages, in order */
  texts: string[]
  /** ids of the tool calls whose results the turn carries, in order; empty text for a result without an id */
  results: string[]
}

/** Reads the user's turn at the end of a conversation: no text and no result if the model spoke last. */
export function lastTurnOf<T>(items: readonly T[], read: (item: T) => Speech): Turn {
  const parts: Turn[] = []
  let hasResults = false
  for (const item of items.toReversed()) {
    const speech = read(item)
    if (speech === 'silent') continue
    // Words in front of a tool's result were said before the tool ran.
    if (speech === 'model' || (hasResults && speech.texts.length > 0)) break
    parts.push(speech)
    hasResults ||= speech.results.length > 0
  }
  parts.reverse()
  return { texts: parts.flatMap(part => part.texts), results: parts.flatMap(part => part.results) }
}

/** Returns the tool call that a turn continues: the last one whose result has an id. */
export function continuedCall({ results }: Turn): string | undefined {
  return results.findLast(id => id !== '')
}

/**
 * Returns the prompt of a turn: the last text with words of the user, without the client's elements around them.
 *
 * The summary of a compacted conversation is no prompt, and neither is anything in front of it. Texts of client
 * elements alone are skipped, and so are the notes that clients write without an element. A recognised client's text
 * that is one element of any tag is skipped too; an unrecognised program may write its prompts in XML. If nothing else
 * is left, the last text is the prompt, unless the turn carries results of tools.
 * @param client the recognised client
 */
export function promptOf({ texts, results }: Turn, client: string | undefined): string | undefined {
  // Codex keeps the user's messages in front of the summary: they were prompts before.
  const afterSummary = texts.slice(texts.findLastIndex(isSummary) + 1)
  const spoken = afterSummary.slice(-maxTexts).filter(text => text.trim() !== '')
  /** words in an element of another tag: the user's if there are no better ones */
  let inElement: string | undefined
  let found: string | undefined
  for (const text of spoken.toReversed()) {
    const { words, isMarked } = unframe(text, client)
    if (isMarked && words !== '') return words
    if (words === '' || isNote(words)) continue
    if (client !== undefined && isOneElement(words)) inElement ??= words
    else found ??= words
  }
  if (found !== undefined || results.length > 0) return found
  return inElement ?? spoken.at(-1)
}

/** Texts of one turn that are read, from its end: clients send less than a hundred. */
const maxTexts = 200

/**
 * Beginnings of the messages that stand for a conversation after its compaction: Claude Code and Qwen Code, Codex, pi,
 * droid, Gemini CLI, OpenCode and Kilo Code.
 */
const summaries = [
  'This session is being continued from a previous conversation',
  'Another language model started to solve this problem and produced a summary',
  'The conversation history before this point was compacted into',
  'The following is a summary of a branch that this conversation came back from',
  'A previous instance of Droid has summarized the conversation',
  '<state_snapshot>',
  '<conversation-summary>',
  'Continue if you have next steps, or stop and ask for clarification',
]

function isSummary(text: string): boolean {
  const start = text.trimStart()
  return summaries.some(beginning => start.startsWith(beginning))
}

/**
 * Returns whether a text is the client's although no element says so: instructions, marks of pictures and of breaks.
 */
function isNote(words: string): boolean {
  return words.startsWith('# AGENTS.md instructions for ') || notes.some(note => note.test(words))
}

/** Each reads a bounded number of characters. */
const notes = [/^<\/?image(?:\s[^<>]{0,512})?>$/, /^\[Request interrupted by user(?: for tool use)?\]$/]
