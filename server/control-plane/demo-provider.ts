/**
 * A small provider in this process that speaks Anthropic's Messages API, for the first steps and for tests: it needs no key, costs nothing
 * and answers with what it was asked. To the bridge it is a provider like any other, reached over HTTP by its base URL.
 */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { bridgeLimits } from '../../shared/rpc/limits.js'

export interface DemoProviderOptions {
  /** pause before each chunk of a stream; default 15 ms: seen as streaming, and a short answer still takes less than a second */
  chunkDelayMs?: number
}

/**
 * Answers `POST /v1/messages` (blocking and streaming), `POST /v1/messages/count_tokens` and `GET /v1/models[/ID]`, below whatever path it is
 * mounted at; errors have Anthropic's shape. A `max_tokens` below the answer's length cuts it, as with the real one.
 * @param mount the path before `/v1`, for instance `/demo`
 */
export function createDemoProvider(mount: string, { chunkDelayMs = 15 }: DemoProviderOptions = {}): RequestListener {
  return (request, response) => {
    response.setHeader('request-id', `req_demo_${randomUUID()}`)
    answer(request, response, mount, chunkDelayMs).catch((error: unknown) => {
      if (response.headersSent) response.destroy()
      else if (error instanceof DemoError) sendError(response, error)
      else sendError(response, new DemoError(500, 'api_error', 'the demo provider failed'))
    })
  }
}

class DemoError extends Error {
  readonly status: number
  readonly type: string

  constructor(status: number, type: string, message: string) {
    super(message)
    this.status = status
    this.type = type
  }
}

const block = z.looseObject({ type: z.string(), text: z.string().optional() })
const content = z.union([z.string(), z.array(block)], 'must be a string or an array of content blocks')
const countInput = z.looseObject({
  model: z.string().min(1),
  messages: z.array(z.looseObject({ role: z.enum(['user', 'assistant']), content })).min(1),
  system: content.optional(),
})
const messagesInput = countInput.extend({ max_tokens: z.number().int().min(1), stream: z.boolean().optional() })
type CountInput = z.output<typeof countInput>
type MessagesInput = z.output<typeof messagesInput>

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  mount: string,
  chunkDelayMs: number,
): Promise<void> {
  const path = (request.url ?? '').slice(mount.length).replace(/\?.*$/s, '')
  switch (`${request.method} ${path}`) {
    case 'POST /v1/messages': {
      const input = await readJson(request, messagesInput)
      return input.stream ? sendStream(response, input, chunkDelayMs) : sendJson(response, 200, messageOf(input))
    }
    case 'POST /v1/messages/count_tokens':
      return sendJson(response, 200, { input_tokens: inputTokensOf(await readJson(request, countInput)) })
    case 'GET /v1/models':
      return sendJson(response, 200, { data: [model], has_more: false, first_id: model.id, last_id: model.id })
    case `GET /v1/models/${model.id}`:
      return sendJson(response, 200, model)
    default:
      throw new DemoError(404, 'not_found_error', `not found: ${request.method} ${path}`)
  }
}

const model = { type: 'model', id: 'demo', display_name: 'Demo', created_at: '2026-01-01T00:00:00Z' }

// ── the answer ──

function messageOf(input: MessagesInput): object {
  const { text, outputTokens, stopReason } = answerTo(input)
  return {
    ...messageStart(input),
    content: [{ type: 'text', text }],
    stop_reason: stopReason,
    usage: usageOf(input, outputTokens),
  }
}

function messageStart(input: MessagesInput) {
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

function usageOf(input: MessagesInput, outputTokens: number) {
  return {
    input_tokens: inputTokensOf(input),
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: 0,
    output_tokens: outputTokens,
    service_tier: 'standard',
  }
}

const quotedCharacters = 300

function answerTo(input: MessagesInput) {
  const prompt = textOf(input.messages.at(-1)?.content).trim()
  const quoted = prompt.length > quotedCharacters ? `${prompt.slice(0, quotedCharacters).toWellFormed()}…` : prompt
  const words = prompt === '' ? 0 : prompt.split(/\s+/).length
  const text =
    `This is the demo provider: no model has read your message, and nothing has left this machine. ` +
    `You wrote ${words} ${words === 1 ? 'word' : 'words'}: “${quoted}” ` +
    `The request was recorded; \`aibridge interceptions list\` shows it.`
  const full = tokensOf(text)
  if (full <= input.max_tokens) return { text, outputTokens: full, stopReason: 'end_turn' }
  const cut = text.slice(0, input.max_tokens * charactersPerToken).toWellFormed()
  return { text: cut, outputTokens: input.max_tokens, stopReason: 'max_tokens' }
}

function textOf(value: z.output<typeof content> | undefined): string {
  if (typeof value === 'string') return value
  return (value ?? []).flatMap(({ type, text }) => (type === 'text' && text !== undefined ? [text] : [])).join('\n')
}

/** English text has about four characters a token; each message a few more for its role. */
const charactersPerToken = 4

function tokensOf(text: string): number {
  return Math.max(1, Math.ceil(text.length / charactersPerToken))
}

function inputTokensOf({ messages, system }: CountInput): number {
  const system_ = system === undefined ? 0 : tokensOf(textOf(system))
  return messages.reduce((sum, message) => sum + 4 + tokensOf(textOf(message.content)), system_)
}

// ── the stream ──

async function sendStream(response: ServerResponse, input: MessagesInput, chunkDelayMs: number): Promise<void> {
  const { text, outputTokens, stopReason } = answerTo(input)
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
  const send = (event: { type: string }) => response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
  try {
    send(event('message_start', { message: messageStart(input) }))
    send(event('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }))
    send(event('ping', {}))
    for (const piece of piecesOf(text)) {
      await sleep(chunkDelayMs, undefined, { signal: gone.signal })
      send(event('content_block_delta', { index: 0, delta: { type: 'text_delta', text: piece } }))
    }
    send(event('content_block_stop', { index: 0 }))
    const delta = { stop_reason: stopReason, stop_sequence: null }
    send(event('message_delta', { delta, usage: { output_tokens: outputTokens } }))
    send(event('message_stop', {}))
    response.end()
  } catch (error) {
    // The client left in the middle: there is nobody to tell.
    if (!gone.signal.aborted) throw error
  }
}

function event(type: string, fields: object): { type: string } {
  return { type, ...fields }
}

/** Three words each, at most 200 characters: a stream of about twenty chunks. */
function piecesOf(text: string): string[] {
  return text.match(/(?:\s*\S{1,200}){1,3}\s*/gu) ?? [text]
}

// ── HTTP ──

async function readJson<S extends z.ZodType>(request: IncomingMessage, schema: S): Promise<z.output<S>> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    // a request without setEncoding gives buffers
    bytes += chunk.length
    if (bytes > bridgeLimits.maxBodyBytes) {
      throw new DemoError(413, 'request_too_large', `the request is larger than ${bridgeLimits.maxBodyBytes} bytes`)
    }
    chunks.push(chunk)
  }
  let body: unknown
  try {
    body = JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch {
    throw new DemoError(400, 'invalid_request_error', 'the request body is not valid JSON')
  }
  const result = schema.safeParse(body)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw new DemoError(400, 'invalid_request_error', `${issue?.path.join('.') || 'body'}: ${issue?.message}`)
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

function sendError(response: ServerResponse, { status, type, message }: DemoError): void {
  sendJson(response, status, { type: 'error', error: { type, message }, request_id: response.getHeader('request-id') })
}
