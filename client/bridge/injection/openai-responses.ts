/** OpenAI Responses (https://platform.openai.com/docs/api-reference/responses). */
import type { JsonObject, JsonValue } from '../../../shared/values/text.js'
import type { InjectedTool, ToolResult } from '../mcp/injected-tool.js'
import { openaiErrorBody } from '../providers/openai-error-body.js'
import { idOf, jsonTextOf, objectsOf, textOf } from '../providers/reading.js'
import { arrayText, JsonEdits } from '../wire/json-edit.js'
import { JsonNode } from '../wire/json-node.js'
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
import { resultOutput } from './openai/results.js'
import { freeChoice } from './openai/tool-choice.js'
import { mergeBody } from './openai-responses/body.js'
import { type Insertion, itemsOf, missingResults, restoredItems, storedTurn } from './openai-responses/history.js'
import { repeatedItems } from './openai-responses/items.js'
import { ResponsesResponse } from './openai-responses/response.js'
import { ResponsesStreamRound } from './openai-responses/stream.js'
import type { ProviderError } from './provider-error.js'
import { type MergedResponse, mergeRound } from './round-bytes.js'

const name = 'openai/responses'

/** Injection into Responses. A response in the background has no client to wait for the rounds. */
export const openaiResponsesInjection: InjectionApi = {
  name,

  mayInject({ background, input, tools }) {
    return background !== true && mayTakeTools(tools) && (typeof input === 'string' || Array.isArray(input))
  },

  clientToolNames({ tools }) {
    return new Set(objectsOf(tools).flatMap(tool => textOf(tool.name) ?? []))
  },

  openingOf: ({ input }) => openingOfMessages([...itemsOf(input)]),

  threadOf: ({ conversation, previous_response_id: previous }) => idOf(conversation) ?? textOf(previous),

  isContinued: ({ input, previous_response_id: previous }) =>
    textOf(previous) !== undefined || objectsOf(itemsOf(input).slice()).some(isOfModel),

  open: input => new ResponsesRequest(input),
}

/** Returns whether an item was written by the model, or responds to one. */
function isOfModel({ type, role }: Record<string, unknown>): boolean {
  return role === 'assistant' || (type !== undefined && type !== 'message')
}

class ResponsesRequest implements InjectedRequest {
  readonly #input: InjectionInput
  readonly #root: JsonNode
  readonly #items: readonly JsonValue[]
  readonly #insertions: readonly Insertion[]
  readonly #response: ResponsesResponse
  readonly #merged: MergedResponse
  /** names of the hidden calls so far */
  readonly #called = new Set<string>()

  constructor(input: InjectionInput) {
    const { json, body, tools, turns } = input
    this.#input = input
    this.#root = JsonNode.of(body)
    this.#items = itemsOf(json.input)
    const own = turns.filter(turn => turn.api === name)
    const isThread = openaiResponsesInjection.threadOf?.(json) !== undefined
    // Items of the model in the input are those that the thread does not hold yet.
    this.#insertions = [...restoredItems(this.#items, own), ...(isThread ? missingResults(this.#items, own) : [])]
    const names = new HiddenNames(tools, openaiResponsesInjection.clientToolNames(json))
    const response = new ResponsesResponse(names, json.store !== false)
    this.#response = response
    this.#merged = {
      kind: undefined,
      stream: out => new ResponsesStreamRound(response, out),
      body: (bytes, out) => mergeBody(response, bytes, out),
      error: (kind, message) =>
        kind === 'stream' ? this.errorEvent(message) : Buffer.from(openaiErrorBody(502, message)),
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
    this.#editInput(edits)
    return edits.pieces()
  }

  #editInput(edits: JsonEdits): void {
    const list = this.#root.member('input')
    const rounds = this.#response.rounds
    const last = rounds.at(-1)
    if (!list || (!last && this.#insertions.length === 0)) return
    // A conversation has the client's input and every round already.
    if (last && idOf(this.#input.json.conversation) !== undefined) {
      edits.replace(list, arrayText(last.results.map(result => JSON.stringify(result))))
      return
    }
    const own = rounds.flatMap(repeatedItems).map(item => JSON.stringify(item))
    if (!list.isArray) {
      edits.replace(list, arrayText([...this.#items.map(item => JSON.stringify(item)), ...own]))
      return
    }
    for (const { index, texts } of this.#insertions) edits.insert(list, index, ...texts)
    edits.insert(list, list.elements.length, ...own)
  }

  beginRound(): RoundMerger {
    return mergeRound(this.#merged)
  }

  addResults(results: readonly { call: HiddenCall; result: ToolResult }[]): void {
    const round = this.#response.rounds.at(-1)
    if (!round) return
    for (const { call, result } of results) {
      this.#called.add(call.name)
      round.results.push({ type: 'function_call_output', call_id: call.callId, output: resultOutput(result) })
    }
  }

  turn(): HiddenTurn | undefined {
    return storedTurn(name, this.#input.json.input, this.#response.rounds)
  }

  threadId(): string | undefined {
    return this.#response.isStored ? (idOf(this.#input.json.conversation) ?? this.#response.lastId) : undefined
  }

  ping(): Buffer {
    return Buffer.from(': ping\n\n')
  }

  errorEvent(message: string, provider?: ProviderError): Buffer {
    const number = this.#response.nextNumber
    // An error that is nested too deeply to be written again gives way to the message.
    const data = eventData(errorText(message, provider), number) || eventData(errorText(message), number)
    return Buffer.from(`event: error\ndata: ${data}\n\n`)
  }
}

/** Returns the JSON text of an error event. The documented one is flat; the official SDK throws only at `error`. */
function eventData(text: string, number: number): string {
  const { error } = JSON.parse(text) as { error: JsonObject } // made by errorText
  const { code, type, message = '', param = null } = error
  return jsonTextOf({ type: 'error', code: code ?? type ?? null, message, param, sequence_number: number, error })
}

function offered({ fullName, description, inputSchema }: InjectedTool): JsonObject {
  const text = description === '' ? {} : { description }
  // Without the flag the API would require strict schemas.
  return { type: 'function', name: fullName, ...text, parameters: inputSchema, strict: false }
}
