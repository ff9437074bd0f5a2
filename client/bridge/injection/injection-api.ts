/**
 * The interface between the loop of rounds, which knows no AI API, and the APIs that can take injected tools. A request
 * of a client becomes one or more *rounds*, each a call to the provider. Calls of injected tools are *hidden*: the
 * bridge runs them, the client sees neither call nor result, and all rounds look like one response.
 */
import type { HiddenTurn } from '../../../shared/contract/conversations.js'
import type { JsonObject } from '../../../shared/values/text.js'
import type { InjectedTool, ToolResult } from '../mcp/injected-tool.js'
import type { ProviderError } from './provider-error.js'

export type { HiddenTurn }

/** A call of an injected tool that the bridge runs. */
export interface HiddenCall {
  callId: string
  /** undefined for a name that looks injected and is not in the list: the model gets an error */
  tool: InjectedTool | undefined
  /** the name that the model wrote */
  name: string
  /** the provider's JSON text */
  input: string
  /** undefined if the text is no JSON object: the call is not run, and the model gets an error */
  arguments: JsonObject | undefined
}

/** Bytes for the client. */
export interface MergedBytes {
  bytes: Buffer
  /** whether the bytes hold the end of the client's response */
  isLast: boolean
}

/** The end of a round. */
export interface RoundEnd {
  /** the hidden calls, in order; empty for most responses */
  calls: readonly HiddenCall[]
  /**
   * whether the client's response ends with this round: there are no hidden calls, or the model called a tool of the
   * client too
   */
  isFinal: boolean
  /** bytes that wait for the results of the calls; `isLast` if the client's response ends with them */
  held: MergedBytes
}

/** Merges the response of one round into the client's response. No method throws, for any bytes of a provider. */
export interface RoundMerger {
  /** Takes a chunk of a successful, decoded response; the first byte decides between stream and body. */
  push(chunk: Buffer): MergedBytes
  /** Ends the round: the provider's response is whole, or ended early. */
  end(): RoundEnd
}

/** One request of a client, over all its rounds. */
export interface InjectedRequest {
  /** Returns the body of the current round, in pieces that share the memory of the client's body where they can. */
  body(): readonly Buffer[]
  /** Begins to merge the response of the current round. */
  beginRound(): RoundMerger
  /** Takes the results of the hidden calls of the round that ended; `body()` is then the body of the next round. */
  addResults(results: readonly { call: HiddenCall; result: ToolResult }[]): void
  /**
   * Returns the id of the provider's thread that the client's next request can continue, once the end of the response
   * is known; undefined where clients send the whole history. A client whose request continued no thread (see
   * {@link InjectionApi.threadOf}) may go on either way: its turn belongs to the thread and to the opening.
   */
  threadId?(): string | undefined
  /**
   * Returns the turn as far as it went, undefined without results of hidden calls. It is to be kept before the client
   * sees the end, and also when the client leaves: its history may hold a part of the turn.
   */
  turn(): HiddenTurn | undefined
  /** whether the client's response is a stream: pings and error events may be written into it */
  readonly isStream: boolean
  /** whether the request asks for its usage, although the client's does not: the provider may reject that */
  readonly asksForUsage?: boolean
  /** Returns an event that says nothing, for a client that waits. */
  ping(): Buffer
  /**
   * Returns the error event that ends a stream, in the API's shape.
   * @param error the provider's error, whose own words go before the message
   */
  errorEvent(message: string, error?: ProviderError): Buffer
}

/** The inputs of a request that tools are injected into. */
export interface InjectionInput {
  /** the parsed body */
  json: JsonObject
  /** its bytes */
  body: Buffer
  /** sorted by full name; pinned for the conversation */
  tools: readonly InjectedTool[]
  /** the stored turns of the conversation, in order of creation */
  turns: readonly HiddenTurn[]
  /** whether a stream that does not ask for its usage may be made to; its usage stays hidden then */
  mayAskForUsage: boolean
}

/** The part of an AI API that takes injected tools. */
export interface InjectionApi {
  /** the API's name, as in metrics */
  readonly name: string
  /** Returns whether tools can be injected into a request of this shape. Never throws. */
  mayInject(json: JsonObject): boolean
  /** Returns the names of the client's own tools, which injected names must not take. */
  clientToolNames(json: JsonObject): ReadonlySet<string>
  /**
   * Returns text that all requests of one conversation share and few others do: the first message of the user, without
   * what clients change from request to request. Undefined without such a message.
   */
  openingOf(json: JsonObject): string | undefined
  /** Returns whether the model has spoken before in the conversation: its tools must not change any more. */
  isContinued(json: JsonObject): boolean
  /**
   * Returns the id of the provider's thread that a request continues: then the thread is the conversation. Absent for
   * an API whose clients send the whole history.
   */
  threadOf?(json: JsonObject): string | undefined
  /** Prepares a request: tools and hidden turns are in its first body. */
  open(input: InjectionInput): InjectedRequest
}
