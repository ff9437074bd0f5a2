/** The messages of the demo provider: their inputs, their text and their counts, in Anthropic's shapes. */
import { randomUUID } from 'node:crypto'
import { z } from 'zod'

const block = z.looseObject({ type: z.string(), text: z.string().optional() })
const content = z.union([z.string(), z.array(block)], 'must be a string or an array of content blocks')

/** The body of `POST /v1/messages/count_tokens`, as far as the demo provider reads it. */
export const countInput = z.looseObject({
  model: z.string().min(1),
  messages: z.array(z.looseObject({ role: z.enum(['user', 'assistant']), content })).min(1),
  system: content.optional(),
})
type CountInput = z.output<typeof countInput>

/** The body of `POST /v1/messages`, as far as the demo provider reads it. */
export const messagesInput = countInput.extend({ max_tokens: z.number().int().min(1), stream: z.boolean().optional() })
/** A checked {@link messagesInput}. */
export type MessagesInput = z.output<typeof messagesInput>

/** The only model, as `GET /v1/models` lists it. */
export const demoModel = { type: 'model', id: 'demo', display_name: 'Demo', created_at: '2026-01-01T00:00:00Z' }

/** A message that responds to one input: the text, its tokens, and why it ends. */
export interface DemoMessage {
  text: string
  outputTokens: number
  stopReason: 'end_turn' | 'max_tokens'
}

const quotedCharacters = 300

/**
 * Writes the message that responds to an input. A `max_tokens` below the length of the text cuts the text, as the real
 * API does.
 * @param listCommand the command that shows the recorded request; undefined: the text names none
 */
export function messageFor(input: MessagesInput, listCommand: string | undefined): DemoMessage {
  const prompt = textOf(input.messages.at(-1)?.content).trim()
  const quoted = prompt.length > quotedCharacters ? `${prompt.slice(0, quotedCharacters).toWellFormed()}…` : prompt
  const words = prompt === '' ? 0 : prompt.split(/\s+/).length
  const text =
    `This is the demo provider: no model has read your message, and nothing has left this machine. ` +
    `You wrote ${words} ${words === 1 ? 'word' : 'words'}: “${quoted}” ` +
    `The request was recorded${listCommand === undefined ? '.' : `; this command shows it: ${listCommand}`}`
  const full = tokensOf(text)
  if (full <= input.max_tokens) return { text, outputTokens: full, stopReason: 'end_turn' }
  const cut = text.slice(0, input.max_tokens * charactersPerToken).toWellFormed()
  return { text: cut, outputTokens: input.max_tokens, stopReason: 'max_tokens' }
}

/** The body of a blocking response. */
export function messageBody(input: MessagesInput, { text, outputTokens, stopReason }: DemoMessage): object {
  return {
    ...messageStart(input),
    content: [{ type: 'text', text }],
    stop_reason: stopReason,
    usage: usageOf(input, outputTokens),
  }
}

/** The message without content, as `message_start` of a stream brings it. */
export function messageStart(input: MessagesInput): object {
  return {
    id: `msg_demo_${randomUUID().replaceAll('-', '')}`,
    type: 'message',
    role: 'assistant',
    model: input.model,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: usageOf(input, 1),
  }
}

/** Counts the tokens of the messages and of the system prompt. */
export function inputTokensOf({ messages, system }: CountInput): number {
  const ofSystem = system === undefined ? 0 : tokensOf(textOf(system))
  return messages.reduce((sum, message) => sum + 4 + tokensOf(textOf(message.content)), ofSystem)
}

function usageOf(input: MessagesInput, outputTokens: number) {
  return {
    input_tokens: inputTokensOf(input),
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: 0,
    output_tokens: outputTokens,
    service_tier: 'standard',
  }
}

function textOf(value: z.output<typeof content> | undefined): string {
  if (typeof value === 'string') return value
  return (value ?? []).flatMap(({ type, text }) => (type === 'text' && text !== undefined ? [text] : [])).join('\n')
}

/** English text has about four characters a token; each message has a few tokens more for its role. */
const charactersPerToken = 4

function tokensOf(text: string): number {
  return Math.max(1, Math.ceil(text.length / charactersPerToken))
}
