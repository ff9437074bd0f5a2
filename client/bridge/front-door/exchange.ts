/** The state that the steps of the front door share: the parts of the daemon, and the facts of one request. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Authorization } from '../../../shared/contract/authorizer.js'
import type { BridgeLimits } from '../../../shared/contract/limits.js'
import type { AddressReader } from '../../../shared/values/client-address.js'
import type { KeyGuesses } from '../../../shared/values/key-guesses.js'
import type { Logger } from '../../../shared/values/log.js'
import type { RejectionLog } from '../../../shared/values/rejection-log.js'
import type { AuthorizationCache } from '../control-plane/authorization-cache.js'
import type { KeyReports } from '../control-plane/key-reports.js'
import type { ProviderRegistry, Target } from '../control-plane/provider-registry.js'
import type { Injector } from '../injection/injector.js'
import type { McpEndpoint } from '../mcp/endpoint.js'
import type { BridgeMetrics } from '../metrics/metrics.js'
import type { Recorder } from '../recording/recorder.js'
import type { Upstream } from '../relay/upstream.js'
import type { UpstreamStates } from '../upstreams/upstream-states.js'
import type { HeaderTest } from '../wire/headers.js'
import type { BodyMemory } from './body/body-memory.js'
import type { Turns } from './body/turns.js'
import type { Credentials, InProcessCaller } from './credentials.js'
import type { Mount } from './mount.js'
import type { UsageRequests } from './usage-requests.js'

/** The parts of a daemon that serve a request. */
export interface FrontDoorParts {
  authorizations: AuthorizationCache
  providers: ProviderRegistry
  recorder: Recorder
  /** undefined if no content is recorded: hidden calls have to be stored */
  injector: Injector | undefined
  upstream: Upstream
  /** which keys and endpoints work */
  upstreams: UpstreamStates
  keyReports: KeyReports
  limits: BridgeLimits
  logger: Logger
  metrics: BridgeMetrics
  usageRequests: UsageRequests
  keyGuesses: KeyGuesses
  /** of requests without a good key, which anybody can send */
  rejectionLog: RejectionLog
  bodyMemory: BodyMemory
  mcp: McpEndpoint
  /** decodings of encoded bodies, whose memory is not known before */
  decodings: Turns
  readAddress: AddressReader
  /** request headers that stay here by the operator's wish */
  withheldHeaders: HeaderTest
  /** origins of the web pages that may call */
  allowedOrigins: ReadonlySet<string>
}

/** A request as it arrived. */
export interface Arrival {
  parts: FrontDoorParts
  request: IncomingMessage
  response: ServerResponse
  /** ends the exchange */
  abort: AbortController
  /** of `abort` */
  signal: AbortSignal
  mount: Mount
  /** the MCP server that the path names, empty for an unusable name; undefined for a path elsewhere */
  mcpServer: string | undefined
  /** the caller in this process; without one the request's headers name the key */
  caller: InProcessCaller | undefined
  /** the client's address; undefined for a caller in this process */
  address: string | undefined
  /** headers for a web page of an allowed origin; names and values alternate */
  cors: string[]
  startedAt: Date
  /** the same time on the clock of `performance` */
  arrivedAt: number
}

/** An admitted request: its key, provider and route are known. */
export interface Exchange extends Arrival {
  /** path and query behind the provider's base URL */
  path: string
  credentials: Credentials
  owner: Authorization
  target: Target
}
