/** The observations of a bridge, for metrics. */
import type { ErrorType } from '../../../shared/contract/recorder.js'
import type { Outbox } from '../outbox/outbox.js'
import type { RejectionReason } from '../wire/rejection.js'

/**
 * Takes the observations of a bridge. Its functions may be called unbound, return at once and never throw. Times are in
 * seconds.
 */
export interface BridgeMetrics {
  /** Notes that an interception was recorded. Returns a function that takes the end of the interception, once. */
  readonly interceptionStarted: () => (end: InterceptionEnd) => void
  /** Takes the time from the call to a provider until its status line. */
  readonly firstByte: (provider: string, seconds: number) => void
  /** Counts a request that was passed through without an interception, by the status that the client got. */
  readonly passedThrough: (passed: PassedThrough) => void
  /** Counts a request that the bridge itself rejected. The reason is one of a closed list. */
  readonly rejected: (reason: RejectionReason) => void
  /** Counts items of a response whose type no reader knows. `api` names the API, as `anthropic/messages`. */
  readonly unknownItems: (api: string, count: number) => void
  /** Counts a response whose counts of tokens do not add up to the provider's total. `api` names the API. */
  readonly usageMismatch: (api: string) => void
  /**
   * Takes the bridge's own time before the call to the provider (key, provider, record), without the client's time to
   * send its body.
   */
  readonly overhead: (seconds: number) => void
  /** Counts a request that was sent again, or elsewhere. */
  readonly failedOver: (provider: string, cause: FailoverCause) => void
  /** Takes the number of providers that are served with their last good configuration. */
  readonly providersOutdated: (providers: number) => void
  /** Names the keys and breakers whose states are read at each scrape. */
  readonly watchUpstreams: (upstreams: WatchedUpstreams) => void
  /** Counts a request to an MCP server. */
  readonly mcpRequest: (request: McpRequestEnd) => void
  /** Takes the end of a call of a tool through the endpoint for MCP clients. */
  readonly mcpCall: (call: McpCallEnd) => void
  /** Names the MCP sessions whose number is read at each scrape. */
  readonly watchSessions: (sessions: { readonly size: number }) => void
  /** Names the outbox whose numbers are read at each scrape. */
  readonly watchOutbox: (outbox: Pick<Outbox, 'size' | 'oldestMs' | 'deadLetters'>) => void
}

/**
 * Why a request was sent again, or elsewhere: the provider limits or rejects the key, no connection to the base URL was
 * made, or the breaker of the base URL is open.
 */
export type FailoverCause = 'key' | 'unreachable' | 'breaker_open'

/** The keys and breakers of a bridge, as they are shown. */
export interface WatchedUpstreams {
  /** Returns all keys of all providers, by id. */
  keyStates(): readonly { provider: string; id: string; state: 'usable' | 'cooling' | 'out' }[]
  /** Returns the endpoints, which are numbered, and models that have failed. */
  breakerStates(): readonly {
    provider: string
    endpoint: string
    model: string
    state: 'closed' | 'open' | 'half-open'
  }[]
}

/** A request that was passed through, as it is counted. */
export interface PassedThrough {
  /** name of the provider */
  provider: string
  /** the route without ids: `/v1/models`, not `/v1/models/claude-x` */
  route: string
  /** the status of the response; 0 without one */
  status: number
}

/** A request to an MCP server, as it is counted. */
export interface McpRequestEnd {
  /** name of the MCP server */
  server: string
  /** GET, DELETE, or the method of the message; one of a closed list */
  method: string
  /** the status of the response; 0 without one */
  status: number
}

/** The end of a call of a tool, as it is counted. */
export interface McpCallEnd {
  /** name of the MCP server */
  server: string
  /** `tool_error`: an error that the tool itself reports */
  outcome: 'completed' | 'tool_error' | ErrorType
  /** time since the call was sent */
  seconds: number
}

/** The end of an interception, as it is counted. */
export interface InterceptionEnd {
  /** name of the provider */
  provider: string
  /** the model as the client named it */
  model: string
  /** undefined for an unknown client */
  client: string | undefined
  status: 'completed' | ErrorType
  /** time since the interception was recorded */
  seconds: number
  /** the provider's counts, by billed model; none if the provider sent no count */
  tokens: readonly { model: string; input: number; output: number; cacheRead: number; cacheWrite: number }[]
  /** number of tools that the model selected for the client to run */
  toolCalls: number
  /** number of calls that the bridge ran */
  injectedCalls: number
}

/** Metrics that count nothing. */
export const noMetrics: BridgeMetrics = {
  interceptionStarted: () => () => {},
  firstByte: () => {},
  passedThrough: () => {},
  rejected: () => {},
  unknownItems: () => {},
  usageMismatch: () => {},
  overhead: () => {},
  failedOver: () => {},
  providersOutdated: () => {},
  watchUpstreams: () => {},
  mcpRequest: () => {},
  mcpCall: () => {},
  watchSessions: () => {},
  watchOutbox: () => {},
}
