/**
 * A small provider in this process that speaks Anthropic's Messages API, for the first steps and for tests: without a
 * key, without cost, and with a response that quotes the request. The bridge reaches the demo over HTTP by its base
 * URL, like any other provider.
 */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { z } from 'zod'
import { bridgeLimits } from '../../shared/contract/limits.js'
import {
  countInput,
  type DemoMessage,
  demoModel,
  inputTokensOf,
  type MessagesInput,
  messageBody,
  messageFor,
  messageStart,
  messagesInput,
} from './demo-message.js'

/** Settings of {@link createDemoProvider}. */
export interface DemoProviderOptions {
  /**
   * pause before each chunk of a stream; default 15 ms: visible as streaming, and a short response still takes less
   * than a second
   */
  chunkDelayMs?: number
  /**
   * Returns the command that shows the recorded request, which every response names. Called for each response; default:
   * none is named.
   */
  listCommand?: () => string | undefined
}

/**
 * Serves `POST /v1/messages` (blocking and streaming), `POST /v1/messages/count_tokens` and `GET /v1/models[/ID]` below
 * `mount`. Errors have Anthropic's shape. A `max_tokens` below the length of the response cuts the response, as the
 * real API does.
 * @param mount the path before `/v1`, for instance `/demo`
 */
export function createDemoProvider(mount: string, options: DemoProviderOptions = {}): RequestListener {
  return (request, response) => {
    response.setHeader('request-id', `req_demo_${randomUUID()}`)
    respond(request, response, mount, options).catch((error: unknown) => {
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

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  mount: string,
  { chunkDelayMs = 15, listCommand }: DemoProviderOptions,
): Promise<void> {
  const path = (request.url ?? '').slice(mount.length).replace(/\?.*$/s, '')
  switch (`${request.method} ${path}`) {
    case 'POST /v1/messages': {
      const input = await readJson(request, messagesInput)
      const message = messageFor(input, listCommand?.())
      if (!input.stream) return sendJson(response, 200, messageBody(input, message))
      return sendStream(response, input, message, chunkDelayMs)
    }
    case 'POST /v1/messages/count_tokens':
      return sendJson(response, 200, { input_tokens: inputTokensOf(await readJson(request, countInput)) })
    case 'GET /v1/models': {
      const { id } = demoModel
      return sendJson(response, 200, { data: [demoModel], has_more: false, first_id: id, last_id: id })
    }
    case `GET /v1/models/${demoModel.id}`:
      return sendJson(response, 200, demoModel)
    default:
      throw new DemoError(404, 'not_found_error', `not found: ${request.method} ${path}`)
  }
}

async function sendStream(
  response: ServerResponse,
  input: MessagesInput,
  { text, outputTokens, stopReason }: DemoMessage,
  chunkDelayMs: number,
): Promise<void> {
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
  const send = (type: string, fields: object) =>
    response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`)
  try {
    send('message_start', { message: messageStart(input) })
    send('content_block_start', { index: 0, content_block: { type: 'text', text: '' } })
    send('ping', {})
    for (const piece of piecesOf(text)) {
      await sleep(chunkDelayMs, undefined, { signal: gone.signal })
      send('content_block_delta', { index: 0, delta: { type: 'text_delta', text: piece } })
    }
    send('content_block_stop', { index: 0 })
    const delta = { stop_reason: stopReason, stop_sequence: null }
    send('message_delta', { delta, usage: { output_tokens: outputTokens } })
    send('message_stop', {})
    response.end()
  } catch (error) {
    // A client that left in the middle gets no error.
    if (!gone.signal.aborted) throw error
  }
}

/** Cuts a text into pieces of three words and at most 200 characters a word: a stream of about twenty chunks. */
function piecesOf(text: string): string[] {
  return text.match(/(?:\s*\S{1,200}){1,3}\s*/gu) ?? [text]
}

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
