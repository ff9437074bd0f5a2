/**
 * A scripted provider on loopback that speaks Anthropic Messages, OpenAI Chat Completions and OpenAI Responses and
 * carries out a tool loop: the first request with a suitable tool gets a call that reads the note, the request with its
 * result gets the last words, which repeat the secret of the note. All other requests of a client (titles, suggestions)
 * get a short text.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { isPlainObject, type JsonObject, type JsonValue } from '../../shared/values/text.js'
import { type Listening, listen } from './loopback.js'
import { chat, messages, type ProviderApi, responses, type Usage } from './stand-in-apis.js'
import { callFor, notePathIn } from './tool-call.js'

/** A response that the stand-in has given, as its record must show it. */
export interface Given {
  id: string
  model: string
  role: 'call' | 'last words' | 'other'
  /** name and id of the requested tool call */
  tool?: { name: string; callId: string }
  usage: Usage
}

/** A request as the stand-in has received it. */
export interface Received {
  method: string
  path: string
  headers: IncomingMessage['headers']
  body: JsonObject
}

export interface StandIn extends Listening {
  /** in the order of arrival */
  received: Received[]
  given: Given[]
}

/** Matches the secret of a note. */
export const secretPattern = /note-[0-9a-f]{12}/

const routes: Record<string, ProviderApi> = {
  '/v1/messages': messages,
  '/v1/chat/completions': chat,
  '/v1/responses': responses,
}

/** Starts the stand-in on a free port. */
export async function startStandIn(): Promise<StandIn> {
  const received: Received[] = []
  const given: Given[] = []
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method = '', url = '', headers } = request
    const path = url.replace(/\?.*$/s, '')
    const body = await bodyOf(request)
    received.push({ method, path, headers, body })
    const api = method === 'POST' ? routes[path] : undefined
    if (api) send(response, api, body, given)
    else if (path === '/v1/messages/count_tokens') sendJson(response, { input_tokens: 100 })
    else if (path === '/v1/models') sendJson(response, models)
    else response.writeHead(404).end('{"error":{"type":"not_found_error","message":"not served by the stand-in"}}')
  }
  const server = createServer((request, response) => {
    serve(request, response).catch((error: unknown) => {
      response.destroy(error instanceof Error ? error : undefined)
    })
  })
  return { ...(await listen(server)), received, given }
}

const models = {
  object: 'list',
  data: [
    {
      id: 'claude-sonnet-5',
      object: 'model',
      type: 'model',
      display_name: 'Stand-in',
      created_at: '2026-01-01T00:00:00Z',
    },
    { id: 'gpt-5.5', object: 'model', type: 'model', display_name: 'Stand-in', created: 1, owned_by: 'stand-in' },
  ],
  has_more: false,
}

function send(response: ServerResponse, api: ProviderApi, body: JsonObject, given: Given[]): void {
  const number = given.length + 1
  // Every response has counts of its own, so that a record of another response cannot pass for it.
  const usage: Usage = { input: 100 + number, output: 20 + number, cacheRead: 1000 + number, cacheWrite: 0 }
  if (api.billsCacheWrites) usage.cacheWrite = 300 + number
  const { tools, result, hasResult } = api.read(body)
  const notePath = notePathIn(body)
  const call = hasResult || notePath === undefined ? undefined : callFor(tools, notePath)
  const role = result !== undefined ? 'last words' : call ? 'call' : 'other'
  const secret = secretPattern.exec(result ?? '')?.[0]
  const text = role === 'last words' ? `The note says ${secret ?? 'nothing'}. Last words.` : 'Done.'
  const id = `${api.idPrefix}standin${number}`
  const callId = `${api.callIdPrefix}standin${number}`
  const model = typeof body.model === 'string' ? body.model : ''
  const tool = call && { name: call.name, callId }
  given.push({ id, model, role, usage, ...(tool && { tool }) })
  const output = call ? { call: { ...call, callId } } : { text }
  const { whole, events } = api.write({ id, model, usage, ...output })
  if (body.stream !== true) return sendJson(response, whole)
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
  response.end(events)
}

function sendJson(response: ServerResponse, body: JsonValue): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

async function bodyOf(request: IncomingMessage): Promise<JsonObject> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  const text = Buffer.concat(chunks).toString()
  const json: unknown = text === '' ? {} : JSON.parse(text)
  if (!isPlainObject(json)) throw new Error(`the body of ${request.url} is no object`)
  return json as JsonObject // came out of JSON.parse
}
