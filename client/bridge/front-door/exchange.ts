/** What the steps of the front door share: the parts of the daemon that they use, and what is known of one request. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Authorization } from '../../../shared/contract/authorizer.js'
import type { BridgeLimits } from '../../../shared/contract/limits.js'
import type { Logger } from '../../../shared/values/log.js'
import type { AuthorizationCache } from '../control-plane/authorization-cache.js'
import type { ProviderRegistry, Target } from '../control-plane/provider-registry.js'
import type { BridgeMetrics } from '../metrics/metrics.js'
import type { Recorder } from '../recording/recorder.js'
import type { Upstream } from '../relay/upstream.js'
import type { Credentials } from './credentials.js'

export interface FrontDoorParts {
  authorizations: AuthorizationCache
  providers: ProviderRegistry
  recorder: Recorder
  upstream: Upstream
  limits: BridgeLimits
  logger: Logger
  metrics: BridgeMetrics
}

/** Why an exchange is ended from outside. Its message is recorded and, where there is still a way, shown to the client. */
export class ExchangeAborted extends Error {}

/** A request that was admitted. */
export interface Exchange {
  parts: FrontDoorParts
  request: IncomingMessage
  response: ServerResponse
  signal: AbortSignal
  /** path and query that the provider is to see behind its base URL */
  path: string
  credentials: Credentials
  owner: Authorization
  target: Target
  startedAt: Date
  /** the same on the clock of `performance` */
  arrivedAt: number
}
