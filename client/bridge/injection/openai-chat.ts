/** OpenAI Chat Completions (https://platform.openai.com/docs/api-reference/chat). */
import { isPlainObject, type JsonObject, type JsonValue } from '../../../shared/values/text.js'
import type { InjectedTool, ToolResult } from '../mcp/injected-tool.js'
import { openaiErrorBody } from '../providers/openai-error-body.js'
import { objectsOf, textOf } from '../providers/reading.js'
import { JsonEdits } from '../wire/json-edit.js'
import { JsonNode } from '../wire/json-node.js'
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
import { addTools, errorText, mayTakeTools, openingOfMessages } from './openai/requests.js'
import { resultText } from './openai/results.js'
import { freeChoice } from './openai/tool-choice.js'
import { mergeBody } from './openai-chat/body.js'
import { restoredMessages, storedTurn } from './openai-chat/history.js'
import { ChatResponse } from './openai-chat/response.js'
import { modelMessage } from './openai-chat/round.js'
import { ChatStreamRound } from './openai-chat/stream.js'
import type { ProviderError } from './provider-error.js'
import { type MergedResponse, mergeRound } from './round-bytes.js'

const name = 'openai/chat/completions'

/** Injection into Chat Completions. Several choices are not merged; the older form `functions` excludes tools. */
export const openaiChatInjection: InjectionApi = {
  name,

  mayInject({ messages, n, functions, tools }) {
    const isOne = (n ?? 1) === 1
    return (
      isOne && (functions ?? null) === null && mayTakeTools(tools) && Array.isArray(messages) && messages.length > 0
    )
  },

  clientToolNames({ tools }) {
    return new Set(objectsOf(tools).flatMap(tool => [tool.function, tool.custom].flatMap(nameIn)))
  },

  openingOf: ({ messages }) => openingOfMessages(messages),

  isContinued: ({ messages }) => hasSpoken(messages),

  open: input => new ChatRequest(input),
}

function nameIn(tool: unknown): string[] {
  const own = isPlainObject(tool) ? textOf(tool.name) : undefined
  return own === undefined ? [] : [own]
}

class ChatRequest implements InjectedRequest {
  readonly #input: InjectionInput
  readonly #root: JsonNode
  readonly #messages: readonly JsonValue[]
  readonly #restored: ReadonlyMap<number, string[]>
  readonly #response: ChatResponse
  readonly #merged: MergedResponse
  /** names of the hidden calls so far */
  readonly #called = new Set<string>()
  readonly asksForUsage: boolean

  constructor(input: InjectionInput) {
    const { json, body, tools, turns } = input
    this.#input = input
    this.#root = JsonNode.of(body)
    this.#messages = Array.isArray(json.messages) ? json.messages : []
    this.#restored = restoredMessages(
      this.#messages,
      turns.filter(turn => turn.api === name),
    )
    this.asksForUsage = input.mayAskForUsage && lacksUsage(json)
    const names = new HiddenNames(tools, openaiChatInjection.clientToolNames(json))
    const response = new ChatResponse(names, this.asksForUsage)
    this.#response = response
    this.#merged = {
      kind: undefined,
      stream: out => new ChatStreamRound(response, out),
      body: (bytes, out) => mergeBody(response, bytes, out),
      error: (kind, message) =>
        kind === 'stream' ? chatErrorEvent(message) : Buffer.from(openaiErrorBody(502, message)),
    }
  }

  get isStream(): boolean {
    return this.#merged.kind === undefined ? this.#input.json.stream === true : this.#merged.kind === 'stream'
  }

  body(): readonly Buffer[] {
    const { json, tools } = this.#input
    const edits = new JsonEdits(this.#root)
    addTools(edits, this.#root, tools.map(offered), json.parallel_tool_calls)
    freeChoice(edits, json.tool_choice, this.#called)
    if (this.asksForUsage) edits.set(['stream_options', 'include_usage'], 'true')
    this.#editMessages(edits)
    return edits.pieces()
  }

  #editMessages(edits: JsonEdits): void {
    const list = this.#root.member('messages')
    if (!list) return
    for (const [index, [first, ...more]] of this.#restored) {
      const node = list.elements[index]
      if (node && first !== undefined) edits.replace(node, first, ...more)
    }
    const own = this.#response.rounds.flatMap(({ texts, details, calls, results }) => [
      modelMessage(
        texts,
        details,
        calls.flatMap(call => ('hidden' in call ? call.json : [])),
      ),
      ...results,
    ])
    edits.insert(list, list.elements.length, ...own.map(message => JSON.stringify(message)))
  }

  beginRound(): RoundMerger {
    return mergeRound(this.#merged)
  }

  addResults(results: readonly { call: HiddenCall; result: ToolResult }[]): void {
    const round = this.#response.rounds.at(-1)
    if (!round) return
    for (const { call, result } of results) {
      this.#called.add(call.name)
      round.results.push({ role: 'tool', tool_call_id: call.callId, content: resultText(result) })
    }
  }

  turn(): HiddenTurn | undefined {
    return storedTurn(name, this.#messages, this.#response.rounds)
  }

  ping(): Buffer {
    return Buffer.from(': ping\n\n')
  }

  errorEvent(message: string, error?: ProviderError): Buffer {
    return chatErrorEvent(message, error)
  }
}

function chatErrorEvent(message: string, error?: ProviderError): Buffer {
  return Buffer.from(`data: ${errorText(message, error)}\n\n`)
}

function offered({ fullName, description, inputSchema }: InjectedTool): JsonObject {
  const text = description === '' ? {} : { description }
  return { type: 'function', function: { name: fullName, ...text, parameters: inputSchema } }
}

/** Returns whether a stream neither asks for its usage nor says anything about it that the provider rejects. */
function lacksUsage({ stream, stream_options: options }: JsonObject): boolean {
  if (stream !== true || !isPlainObject(options ?? {})) return false
  return ((isPlainObject(options) ? options.include_usage : undefined) ?? false) === false
}
