/** Tools in requests to Anthropic Messages (https://docs.anthropic.com/en/docs/agents-and-tools/tool-use). */
import { isPlainObject, type JsonObject, type JsonValue } from '../../../shared/values/text.js'
import type { InjectedTool, ToolResult } from '../mcp/injected-tool.js'
import { jsonTextOf, objectsOf, textOf } from '../providers/reading.js'
import { unframe } from '../providers/requests/client-elements.js'
import { textsOf } from '../providers/requests/content.js'
import { anthropicMessages } from '../providers/responses/anthropic-messages.js'
import { arrayText, buffersOf, JsonEdits } from '../wire/json-edit.js'
import { JsonNode } from '../wire/json-node.js'
import { digest } from './anchors.js'
import { assistantMessage, messageAnchors, readHistory, reinsert, userMessage } from './anthropic/history.js'
import { AnthropicResponse } from './anthropic/response.js'
import { callsOf, type Round } from './anthropic/round.js'
import { toolResultText } from './anthropic/tool-result.js'
import { hasSpoken } from './has-spoken.js'
import { HiddenNames } from './hidden-names.js'
import type {
  HiddenCall,
  HiddenTurn,
  InjectedRequest,
  InjectionApi,
  InjectionInput,
  RoundMerger,
} from './injection-api.js'
import type { ProviderError } from './provider-error.js'
import { mergeRound } from './round-bytes.js'
import type { StoredItem, StoredRound } from './stored-round.js'

/** Anthropic Messages: tools stand before the client's, and one message holds the results of a round. */
export const anthropicInjection: InjectionApi = {
  name: anthropicMessages.name,
  mayInject: ({ messages, tools }) => Array.isArray(messages) && Array.isArray(tools ?? []),
  clientToolNames: json => new Set(objectsOf(json.tools).flatMap(({ name }) => textOf(name) ?? [])),
  openingOf,
  isContinued: ({ messages }) => hasSpoken(messages),

  open: input => new AnthropicRequest(input),
}

/** Returns the words of the first message of the user, and digests of its other parts. */
function openingOf({ messages }: JsonObject): string | undefined {
  const first = objectsOf(messages).find(({ role }) => role === 'user')
  if (!first) return undefined
  const texts = textsOf(first.content)
  const words = texts.map(text => unframe(text, undefined).words).filter(text => text.trim() !== '')
  const others = objectsOf(first.content).filter(({ type }) => type !== 'text')
  const parts = others.map(({ cache_control: _, ...part }) => digest(jsonTextOf(part)))
  return [...(words.length > 0 ? words : texts), ...parts].join('\n').replace(/\s+/g, ' ').trim()
}

class AnthropicRequest implements InjectedRequest {
  readonly #messages: JsonNode
  readonly #json: JsonObject
  /** all changes but the choice of tools, which is another one in later rounds */
  readonly #edits: JsonEdits
  readonly #response: AnthropicResponse
  readonly #hasTools: boolean

  constructor({ json, body, tools, turns }: InjectionInput) {
    const root = JsonNode.of(body)
    this.#json = json
    this.#edits = new JsonEdits(root)
    this.#messages = root.member('messages') ?? root
    this.#response = new AnthropicResponse(new HiddenNames(tools, anthropicInjection.clientToolNames(json)))
    this.#hasTools = tools.length > 0
    if (this.#hasTools) addTools(this.#edits, root, tools)
    const own = turns.filter(({ api }) => api === anthropicInjection.name)
    const messages = messagesOf(json)
    if (own.length > 0) reinsert(this.#edits, this.#messages, messages, readHistory(messages), own)
  }

  get isStream(): boolean {
    const { kind } = this.#response
    return kind === undefined ? this.#json.stream === true : kind === 'stream'
  }

  body(): readonly Buffer[] {
    const edits = this.#edits.copy()
    const called = this.#response.earlier.flatMap(callsOf).map(call => call.name)
    if (this.#hasTools) setChoice(edits, this.#json, called)
    return edits.pieces()
  }

  beginRound(): RoundMerger {
    this.#response.begin()
    return mergeRound(this.#response)
  }

  addResults(results: readonly { call: HiddenCall; result: ToolResult }[]): void {
    const { round, earlier } = this.#response
    const calls = callsOf(round)
    if (calls.length === 0) return
    // A call without a result would make the next request invalid.
    round.results = calls.map(call =>
      toolResultText(call.callId, results.find(given => given.call === call)?.result ?? notRun),
    )
    earlier.push(round)
    const blocks = round.blocks.flatMap(({ text }) => (text ? [text] : []))
    const { length } = this.#messages.elements
    this.#edits.insert(this.#messages, length, assistantMessage(blocks), userMessage(round.results))
  }

  turn(): HiddenTurn | undefined {
    this.#response.settle()
    const rounds = [...new Set([...this.#response.earlier, this.#response.round])]
    if (rounds.every(({ results }) => results === undefined)) return undefined
    const visible = rounds.flatMap(({ blocks }) => blocks.filter(({ call }) => !call))
    const { next } = readHistory(messagesOf(this.#json))
    const text = visible.map(({ words }) => words).join('')
    return {
      api: anthropicInjection.name,
      anchors: messageAnchors(
        visible.map(({ anchor }) => anchor),
        text,
        next,
      ),
      rounds: rounds.map(storedRound),
    }
  }

  ping(): Buffer {
    return Buffer.from('event: ping\ndata: {"type": "ping"}\n\n')
  }

  errorEvent(message: string, error?: ProviderError): Buffer {
    return this.#response.error('stream', message, error)
  }
}

const notRun: ToolResult = {
  isError: true,
  parts: [{ type: 'text', text: 'The tool was not run.' }],
  durationMs: 0,
}

/** Adds tools before the client's. */
function addTools(edits: JsonEdits, root: JsonNode, tools: readonly InjectedTool[]): void {
  const texts = tools.map(({ fullName, description, inputSchema }) =>
    JSON.stringify({ name: fullName, ...(description !== '' && { description }), input_schema: inputSchema }),
  )
  const known = root.member('tools')
  if (known?.isArray) edits.insert(known, 0, ...texts)
  else edits.set(['tools'], arrayText(texts))
}

/**
 * Switches parallel calls off: each result may change the next call. A demand for a call that a hidden call has met is
 * taken back: it is for the next response, and with it in every round a model that picks an injected tool could never
 * finish. A demand for a tool of the client stays, for no hidden call can meet it.
 * @param called names of the hidden calls so far
 */
function setChoice(edits: JsonEdits, json: JsonObject, called: readonly string[]): void {
  const choice = json.tool_choice ?? undefined
  const choices: unknown[] = ['auto', 'any', 'tool']
  if (choice === undefined) edits.set(['tool_choice'], freeChoice)
  else if (isPlainObject(choice) && choices.includes(choice.type)) {
    const meets = (name: string) => choice.type === 'any' || (choice.type === 'tool' && choice.name === name)
    if (called.some(meets)) edits.set(['tool_choice'], freeChoice)
    else edits.set(['tool_choice', 'disable_parallel_tool_use'], 'true')
  }
}

const freeChoice = '{"type":"auto","disable_parallel_tool_use":true}'

/** A hidden call that was not run never happened. */
function storedRound({ blocks, results }: Round): StoredRound {
  const items = blocks.flatMap(({ anchor, text, call }): StoredItem[] => {
    if (!call) return [{ visible: anchor }]
    return results && text ? [{ hidden: buffersOf(text).join('') }] : []
  })
  return { items, results: results ?? [] }
}

function messagesOf({ messages }: JsonObject): readonly JsonValue[] {
  return Array.isArray(messages) ? messages : []
}
