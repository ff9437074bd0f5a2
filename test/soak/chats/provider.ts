/** A stand-in for the provider of chats: it makes up responses, fails now and then, and notes what it was asked. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Choice } from '../transport/choice.js'

/** One call of the model, as the provider saw it. */
export interface ModelCall {
  /** from 1; stands in the text of the response */
  number: number
  /** the chat's tag, from its system prompt */
  tag: string
  /** the history of the request: see {@link atomsOf} */
  history: string[]
  /** the whole text of the planned response */
  text: string
  /** ids of the tool calls of the planned response */
  toolCallIds: string[]
  /** the commands end only with the turn */
  isLong: boolean
  /** the provider breaks the response off */
  isCut: boolean
  /** when the call came, in ms of `performance.now()` */
  at: number
}

/** Options of {@link ChatProvider.start}. */
export interface ChatProviderOptions {
  choice: Choice
  /** called before each event of a response */
  onEvent(call: ModelCall): void
  /** the file to which commands append the id of their tool call */
  runsFile: string
}

/** The running stand-in. */
export class ChatProvider {
  readonly calls: ModelCall[] = []
  /** tags of the chats of calls that were rejected for good */
  readonly rejections: string[] = []
  readonly url: string
  readonly #server: ReturnType<typeof createServer>
  readonly #options: ChatProviderOptions

  private constructor(options: ChatProviderOptions, server: ReturnType<typeof createServer>) {
    this.#options = options
    this.#server = server
    const { port } = server.address() as AddressInfo // it listens on TCP
    this.url = `http://127.0.0.1:${port}`
  }

  static async start(options: ChatProviderOptions): Promise<ChatProvider> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const provider = new ChatProvider(options, server)
    server.on('request', (request, response) => void provider.#respond(request, response).catch(() => {}))
    return provider
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  async #respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { choice, onEvent } = this.#options
    let text = ''
    for await (const chunk of request) text += chunk
    const body: AnthropicRequest = JSON.parse(text) // sent by the official SDK
    const fate = choice.next()
    if (fate < 0.05) return respondWithError(response, 529, 'overloaded_error', {})
    if (fate < 0.08) return respondWithError(response, 429, 'rate_limit_error', { 'retry-after': '1' })
    if (fate < 0.1) {
      this.rejections.push(tagOf(body))
      return respondWithError(response, 400, 'invalid_request_error', {})
    }
    const call = this.#plan(body)
    const events = [...eventsOf(call, this.#options.runsFile)]
    const cutAt = fate < 0.15 ? choice.below(events.length) : Number.POSITIVE_INFINITY
    call.isCut = Number.isFinite(cutAt)
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const [index, event] of events.entries()) {
      onEvent(call)
      if (index >= cutAt) return void response.destroy()
      await pause(choice.below(index === 0 ? 60 : 30))
      if (response.destroyed) return
      response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
    }
    response.end()
  }

  #plan(body: AnthropicRequest): ModelCall {
    const { choice } = this.#options
    const history = atomsOf(body.messages)
    const number = this.calls.length + 1
    const words = Array.from({ length: 2 + choice.below(14) }, (_, index) => `w${index}`)
    const sinceUser = history.length - history.findLastIndex(atom => atom.startsWith('user:'))
    const mayCall = (body.tools ?? []).length > 0 && sinceUser < 8
    const isLong = mayCall && sinceUser === 1 && history.at(-1)?.endsWith(longMark) === true
    const tools = isLong || (mayCall && choice.chance(0.5)) ? 1 + choice.below(2) : 0
    const call: ModelCall = {
      number,
      tag: tagOf(body),
      history,
      text: `answer #${number} ${words.join(' ')} .`,
      toolCallIds: Array.from({ length: tools }, (_, index) => `toolu_${number}_${index}`),
      isLong,
      isCut: false,
      at: performance.now(),
    }
    this.calls.push(call)
    return call
  }
}

/** The end of a message whose commands end only with the turn. */
export const longMark = ' (long)'

function tagOf({ system }: AnthropicRequest): string {
  return /chat-\d+/.exec(JSON.stringify(system ?? ''))?.[0] ?? ''
}

/** What this stand-in reads of a request of the Messages API. */
interface AnthropicRequest {
  system?: unknown
  tools?: unknown[]
  messages: { role: string; content: string | AnthropicBlock[] }[]
}

interface AnthropicBlock {
  type: string
  text?: string
  id?: string
  tool_use_id?: string
}

/**
 * Returns a history as a list of atoms, which does not depend on how parts are grouped into messages: `user:TEXT`,
 * `assistant:TEXT`, `call:ID` and `result:ID`.
 */
export function atomsOf(messages: AnthropicRequest['messages']): string[] {
  return messages.flatMap(({ role, content }) => {
    const blocks = typeof content === 'string' ? [{ type: 'text', text: content }] : content
    return blocks.flatMap((block: AnthropicBlock) => {
      if (block.type === 'text') return [`${role}:${block.text}`]
      if (block.type === 'tool_use') return [`call:${block.id}`]
      return block.type === 'tool_result' ? [`result:${block.tool_use_id}`] : []
    })
  })
}

/** longer than any round */
const longSeconds = 3_600

function* eventsOf(call: ModelCall, runsFile: string): Generator<{ type: string; [key: string]: unknown }> {
  const usage = { input_tokens: 10 + call.history.length, output_tokens: 1 }
  const message = { id: `msg_${call.number}`, type: 'message', role: 'assistant', model: 'stand-in', content: [] }
  yield { type: 'message_start', message: { ...message, stop_reason: null, stop_sequence: null, usage } }
  yield { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }
  for (const text of call.text.split(/(?<= )/)) {
    yield { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } }
  }
  yield { type: 'content_block_stop', index: 0 }
  for (const [index, id] of call.toolCallIds.entries()) {
    const seconds = call.isLong ? longSeconds : `0.${index + 1}`
    const command = `echo ${id} >> ${runsFile}; sleep ${seconds}; echo out ${id}`
    yield {
      type: 'content_block_start',
      index: index + 1,
      content_block: { type: 'tool_use', id, name: 'execute', input: {} },
    }
    const json = JSON.stringify({ command, ...(call.isLong && { timeout: longSeconds }) })
    for (const partial of [json.slice(0, 9), json.slice(9)]) {
      const delta = { type: 'input_json_delta', partial_json: partial }
      yield { type: 'content_block_delta', index: index + 1, delta }
    }
    yield { type: 'content_block_stop', index: index + 1 }
  }
  const reason = call.toolCallIds.length > 0 ? 'tool_use' : 'end_turn'
  yield {
    type: 'message_delta',
    delta: { stop_reason: reason, stop_sequence: null },
    usage: { output_tokens: call.number },
  }
  yield { type: 'message_stop' }
}

function respondWithError(
  response: ServerResponse,
  status: number,
  type: string,
  headers: Record<string, string>,
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(JSON.stringify({ type: 'error', error: { type, message: 'the stand-in rejects this call' } }))
}

function pause(ms: number): Promise<void> {
  return ms === 0 ? Promise.resolve() : new Promise(resolve => setTimeout(resolve, ms))
}
