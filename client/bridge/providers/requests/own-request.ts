/** Recognises the requests that clients make for themselves: titles, suggestions, compactions, probes. */
import type { JsonObject } from '../../../../shared/values/text.js'

/** Beginning of system instructions → the kind of request, as the clients of the comments write it. */
const instructionKinds: readonly (readonly [string, string])[] = [
  // OpenCode, Kilo Code
  ['You are a title generator', 'title'],
  ['You are an anchored context summarization', 'compaction'],
  ['Summarize what was done in this conversation', 'auxiliary'],
  // Claude Code, Qwen Code
  ['Generate a concise, sentence-case title', 'title'],
  ['Analyze if this message indicates a new conversation topic', 'title'],
  ['You are a helpful AI assistant tasked with summarizing conversations', 'compaction'],
  // Crush
  ['you will generate a short title based on the first message', 'title'],
  // Gemini CLI, Qwen Code
  ['You are the component that summarizes internal chat history', 'compaction'],
  // pi
  ['You are a context summarization assistant', 'compaction'],
  // Copilot in VS Code
  ['You are an expert in crafting pithy titles', 'title'],
  ['You are an expert in crafting ultra-compact titles', 'title'],
  ['You are an expert in writing short, catchy, and encouraging progress messages', 'auxiliary'],
]

/** The same for messages in the user's role: long enough that no user writes them. */
const messageKinds: readonly (readonly [string, string])[] = [
  // Claude Code, Qwen Code
  ['[SUGGESTION MODE', 'suggestion'],
  ['Your task is to create a detailed summary of the conversation so far', 'compaction'],
  ['CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.', 'compaction'],
  ['Please write a 5-10 word title for the following conversation', 'title'],
  // Codex
  ['You are performing a CONTEXT CHECKPOINT COMPACTION', 'compaction'],
  // Crush, OpenCode, Kilo Code
  ['Provide a detailed summary of our conversation above', 'compaction'],
  ['Provide a detailed prompt for continuing our conversation above', 'compaction'],
  ['Create a new anchored summary from the conversation history', 'compaction'],
  ['Update the anchored summary', 'compaction'],
  // Zed
  ['Generate a concise 3-7 word title for this conversation', 'title'],
]

/**
 * Returns the kind of a request that a recognised client makes for itself; undefined for the user's requests. Other
 * programs are not recognised: a title generator may be all that they are.
 * @param instructions texts of system and developer messages
 * @param texts the texts of the user's turn
 */
export function ownKindOf(
  client: string | undefined,
  body: JsonObject,
  instructions: readonly string[],
  texts: readonly string[],
): string | undefined {
  if (client === undefined) return undefined
  // Claude Code finds out the account's quota with the shortest request that there is.
  if (body.max_tokens === 1 && texts.length === 1 && texts[0] === 'quota') return 'quota'
  return kindOf(instructions, instructionKinds) ?? kindOf(texts, messageKinds)
}

function kindOf(texts: readonly string[], kinds: readonly (readonly [string, string])[]): string | undefined {
  for (const text of texts) {
    // A list begins with a dash, and Crush's instructions are one.
    const start = text.slice(0, 1024).replace(/^[\s-]+/, '')
    const known = kinds.find(([beginning]) => start.startsWith(beginning))
    if (known) return known[1]
  }
  return undefined
}
