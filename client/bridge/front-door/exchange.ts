/** The state that the steps of the front door share: the parts of the daemon, and the facts of one request. */
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

/** The parts of a daemon that serve a request. */
export interface FrontDoorParts {
  authorizations: AuthorizationCache
  providers: ProviderRegistry
  recorder: Recorder
  upstream: Upstream
  limits: BridgeLimits
  logger: Logger
  metrics: BridgeMetrics
}

/**
 * The reason of an exchange that is ended from outside. The message is recorded, and shown to the client if no response
 * has begun.
 */
export class ExchangeAborted extends Error {}

/** An admitted request: its key, provider and route are known. */
export interface Exchange {
  parts: FrontDoorParts
  request: IncomingMessage
  response: ServerResponse
  signal: AbortSignal
  /** path and query behind the provider's base URL */
  path: string
  credentials: Credentials
  owner: Authorization
  target: Target
  startedAt: Date
  /** the same time on the clock of `performance` */
  arrivedAt: number
}
