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
  /** Reads a request. Never throws, for any JSON. */
  readRequest(body: JsonObject, headers: IncomingHttpHeaders): RequestFacts
  /** Returns the change that a request needs; undefined, as for most requests, if it needs none. Never throws. */
  adapt?(json: JsonObject, body: Buffer): Adaptation | undefined
  /** Makes a reader for one response. */
  createResponseReader(): ResponseReader
}

/** A change to a request on its way to the provider, which is undone in the response. */
export interface Adaptation {
  /** the body that the provider receives in place of the client's */
  body: Buffer
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
  /** Reads the parsed body of a blocking response. Error bodies too. */
  body(json: unknown): void
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
  /** the calls that the client is to run, in the order of the response */
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

/** A tool call that the model selected. */
export interface ToolCall {
  callId: string
  /** the provider's id of the item with the call, if it differs from the call's id */
  itemId?: string | undefined
  tool: string
  input: KeptText
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
