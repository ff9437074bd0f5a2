/** What the bridge has to know of an AI API. One file in this folder per API; nothing outside this folder knows any of them. */
import type { IncomingHttpHeaders } from 'node:http'
import type { ProviderType } from '../../../shared/contract/provider-configurator.js'
import type { JsonObject } from '../../../shared/values/text.js'
import type { SseEvent } from '../wire/sse.js'
import type { Failure } from './error-type.js'

export interface ProviderApi {
  readonly type: ProviderType
  /** what stands between `/bridge/<name>` and the API's paths, because clients write it and the base URL ends with it; empty or `/…` */
  readonly mountPath: string
  /**
   * What to do with a request; undefined: the route is not supported.
   * @param path below the mount, as the client wrote it, without query
   */
  route(method: string, path: string): Route | undefined
  /** The header that authenticates with the provider. */
  credentialHeader(key: string): readonly [name: string, value: string]
  /** The JSON text of an error that the bridge itself answers. */
  errorBody(status: number, message: string): string
}

/** Passed on without being recorded, or bridged. */
export type Route = 'passthrough' | BridgedRoute

export interface BridgedRoute {
  /** Reads a request; never throws, whatever the JSON holds. */
  readRequest(body: JsonObject, headers: IncomingHttpHeaders): RequestFacts
  /** What has to be different from what the client sent and expects; undefined, as mostly: nothing. Never throws. */
  adapt?(json: JsonObject, body: Buffer): Adaptation | undefined
  createResponseReader(): ResponseReader
}

/** A change that is made on the way to the provider and undone on the way back. */
export interface Adaptation {
  /** reaches the provider in place of the client's body */
  body: Buffer
  /** text that stands in every event that is kept from the client, so that others need not be read */
  marker: string
  /** Whether an event of a streamed answer is kept from the client. Never throws. */
  hides(event: SseEvent): boolean
}

export interface RequestFacts {
  model: string
  /** what the user asked with this request; undefined if the last message is not the user's or holds no text */
  prompt?: string | undefined
  /** the tool call whose result the request carries */
  correlatingToolCallId?: string | undefined
  sessionId?: string | undefined
}

/** Reads one answer. Neither method throws, whatever the provider sent. */
export interface ResponseReader {
  /** One event of a streamed answer. */
  event(event: SseEvent): void
  /** The body of a blocking answer, parsed. Error bodies too. */
  body(json: unknown): void
  /** Whether a streamed answer has said that it is over; what comes after does not count. */
  readonly complete: boolean
  /** Whether a streamed answer that is over now is whole. */
  readonly mayEnd: boolean
  /** What is known so far; of a stream that breaks, too. */
  facts(): ResponseFacts
}

export interface ResponseFacts {
  /** the provider's id of the answer */
  msgId?: string | undefined
  /** undefined if the provider gave no count */
  usage?: TokenCounts | undefined
  /** the calls that the client is to run, in the order of the answer */
  tools: ToolCall[]
  thoughts: Thought[]
  /** an error that the answer itself reports */
  error?: Failure | undefined
}

/** Any number as the provider gave it; the recorder makes it fit. */
export interface TokenCounts {
  input: number
  output: number
  cacheRead: number
  cacheWrite: number
  /** further fields of the provider's usage */
  details: JsonObject
}

export interface ToolCall {
  callId: string
  /** the provider's id of the part of the answer, where that is another than the call's */
  itemId?: string | undefined
  tool: string
  input: KeptText
  at: Date
}

export interface Thought {
  content: KeptText
  at: Date
}

/** Text that a stream brought, of which only the beginning may have been kept. */
export interface KeptText {
  text: string
  /** size of the whole text in bytes of UTF-8 */
  bytes: number
}
