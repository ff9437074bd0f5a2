/**
 * The interface of an AI API. Each API is one file in this folder; no other folder knows an API.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { ProviderType } from '../../../shared/contract/provider-configurator.js'
import type { JsonObject } from '../../../shared/values/text.js'
import type { SseEvent } from '../wire/sse.js'
import type { Failure } from './error-type.js'

/** The API of one type of provider. */
export interface ProviderApi {
  readonly type: ProviderType
  /**
   * path between `/bridge/<name>` and the paths of the API, empty or `/…`: clients write it, and the base URL ends with
   * it
   */
  readonly mountPath: string
  /**
   * Returns the route of a request; undefined if it is not supported.
   * @param path path below the mount, as the client wrote it, without query
   */
  route(method: string, path: string): Route | undefined
  /**
   * Returns the headers that authenticate with the provider; names and values alternate.
   * @param request the client's headers, in the same form
   */
  credentialHeaders(key: string, request: readonly string[]): string[]
  /** Returns the JSON text of an error of the bridge itself. */
  errorBody(status: number, message: string): string
}

/** How a request is served: passed on without a record, or bridged. */
export type Route = 'passthrough' | BridgedRoute

/** A route whose requests are recorded. */
export interface BridgedRoute {
  /** the API's name in metrics */
  readonly name: string
  /** Reads a request. Never throws, for any JSON. */
  readRequest(body: JsonObject, headers: IncomingHttpHeaders): RequestFacts
  /** Returns the change that a request needs; undefined, as for most requests, if it needs none. Never throws. */
  adapt?(json: JsonObject, body: Buffer): Adaptation | undefined
  /**
   * Makes a reader for the response to a request.
   * @param request the parsed body; the reader keeps the names of servers only
   */
  createResponseReader(request?: JsonObject): ResponseReader
}

/** A change to a request on its way to the provider, which is undone in the response. */
export interface Adaptation {
  /** the body that the provider receives in place of the client's, in pieces that share the memory of the client's */
  body: readonly Buffer[]
  /** text in every event that is hidden from the client, so that others need not be read */
  marker: string
  /** Returns whether an event of a streamed response is hidden from the client. Never throws. */
  hides(event: SseEvent): boolean
}

/** The facts of a request that are recorded. */
export interface RequestFacts {
  model: string
  /** the recognised client */
  client?: string | undefined
  /** the user's words in this request; undefined if the user did not speak last */
  prompt?: string | undefined
  /** size of the whole prompt, if only its beginning is kept */
  promptBytes?: number | undefined
  /** the tool call whose result the request carries */
  correlatingToolCallId?: string | undefined
  /** the provider's id of the response that the request continues */
  previousMsgId?: string | undefined
  /** the provider's conversation that the request continues */
  conversationId?: string | undefined
  sessionId?: string | undefined
  /** on whose behalf the client sent the request: ids, names and numbers, never words of a person */
  metadata?: JsonObject | undefined
}

/** Reads one response. No method throws, for any bytes of a provider. */
export interface ResponseReader {
  /** Reads one event of a streamed response. */
  event(event: SseEvent): void
  /**
   * Reads the parsed body of a blocking response. Error bodies too. Returns whether the body has the shape of a
   * response or an error of the API.
   */
  body(json: unknown): boolean
  /** whether a streamed response has sent its last event; later events do not count */
  readonly complete: boolean
  /** whether a streamed response that ends now is whole */
  readonly mayEnd: boolean
  /** Returns the facts so far, also of a broken stream. */
  facts(): ResponseFacts
}

/** The facts of a response that are recorded. */
export interface ResponseFacts {
  /** the provider's id of the response */
  msgId?: string | undefined
  /** undefined if the provider sent no count */
  usage?: TokenCounts | undefined
  /** whether `usage` counts the whole response: a stream that broke may have counted a beginning only */
  usageIsFinal?: boolean | undefined
  /** parts that are billed beside `usage`, in the provider's order */
  billedBeside?: readonly BilledPart[] | undefined
  /** whether the counts do not add up to the provider's total */
  usageMismatch?: boolean | undefined
  /** facts beside usage */
  outcome?: Outcome | undefined
  /** characters of text, reasoning and inputs of tools that the response holds */
  relayedCharacters?: number | undefined
  /** whether missing counts are estimated: the response succeeded at first, and no error of the provider ended it */
  mayBeEstimated?: boolean | undefined
  /** number of items whose type no reader knows */
  unknownItems?: number | undefined
  /** the calls that the client is to run and those of the provider on MCP servers, in the order of the response */
  tools: ToolCall[]
  thoughts: Thought[]
  /** an error that the response itself reports */
  error?: Failure | undefined
}

/** Counts of tokens. Any number that the provider sent is possible; the recorder fits them to the limits. */
export interface TokenCounts {
  input: number
  output: number
  cacheRead: number
  cacheWrite: number
  /** further fields of the provider's usage */
  details: JsonObject
}

/** A part of a response that is billed by itself. */
export interface BilledPart extends TokenCounts {
  /** the billed model, if it is not the model of the response */
  model: string | undefined
}

/** Facts of a response beside usage. Every value is a name or a count of the provider, never content. */
export interface Outcome {
  /** the model that served the request, as the provider names it */
  served_model?: string | undefined
  service_tier?: string | undefined
  speed?: string | undefined
  /** the reason for the end: of the first choice, if there are several */
  stop_reason?: string | undefined
  refusal_category?: string | undefined
  /** why a response is incomplete */
  incomplete_reason?: string | undefined
  /** the provider's id of the container in which code ran */
  container?: string | undefined
  /** why no cached prefix was used */
  cache_miss_reason?: string | undefined
  /** edits of the context that the provider made, by type */
  context_edits?: Record<string, number> | undefined
  /** generated images */
  images?: number | undefined
  /** web searches and fetches that the provider made */
  searches?: number | undefined
}

/** A tool call that the model selected. */
export interface ToolCall {
  callId: string
  /** the provider's id of the item with the call, if it differs from the call's id */
  itemId?: string | undefined
  tool: string
  input: KeptText
  /** URL of the MCP server on which the provider, or the bridge, ran the call */
  serverUrl?: string | undefined
  /** whether the bridge ran the call, for a tool that it had added to the request */
  injected?: boolean | undefined
  /** why a call that the provider, or the bridge, ran failed */
  invocationError?: string | undefined
  /** names that say more of the call: its namespace, its caller, its MCP server */
  metadata?: JsonObject | undefined
  at: Date
}

/** One block of the model's reasoning. */
export interface Thought {
  content: KeptText
  at: Date
}

/** Text of a response, of which only the beginning may have been kept. */
export interface KeptText {
  text: string
  /** size of the whole text in bytes of UTF-8 */
  bytes: number
}
