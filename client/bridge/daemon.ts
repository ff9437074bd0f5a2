import type { IncomingMessage, ServerResponse } from 'node:http'
import { type BridgeLimits, bridgeLimits } from '../../shared/contract/limits.js'
import { createAddressReader } from '../../shared/values/client-address.js'
import { guessDelayMs, KeyGuesses } from '../../shared/values/key-guesses.js'
import { type Logger, withFields } from '../../shared/values/log.js'
import { RejectionLog } from '../../shared/values/rejection-log.js'
import { AuthorizationCache } from './control-plane/authorization-cache.js'
import type { ControlPlane } from './control-plane/control-plane.js'
import { KeyReports } from './control-plane/key-reports.js'
import { ProviderRegistry } from './control-plane/provider-registry.js'
import { watchProviders } from './control-plane/provider-watch.js'
import { BodyMemory } from './front-door/body/body-memory.js'
import { Turns } from './front-door/body/turns.js'
import { corsHeaders } from './front-door/cors.js'
import type { InProcessCaller } from './front-door/credentials.js'
import { rejectExchange } from './front-door/error-response.js'
import type { FrontDoorParts } from './front-door/exchange.js'
import { serveExchange } from './front-door/serve-exchange.js'
import { UsageRequests } from './front-door/usage-requests.js'
import { Conversations } from './injection/conversations.js'
import { Injector } from './injection/injector.js'
import { McpEndpoint } from './mcp/endpoint.js'
import { createServerDirectory } from './mcp/server-directory.js'
import { createToolClient } from './mcp/tool-client.js'
import { type BridgeMetrics, noMetrics } from './metrics/metrics.js'
import { watchErasures } from './outbox/erasures.js'
import { createMemoryOutbox } from './outbox/memory-outbox.js'
import type { Outbox, OutboxRest } from './outbox/outbox.js'
import { createRecordSender } from './outbox/record-sender.js'
import { createRecorder } from './recording/recorder.js'
import { Upstream } from './relay/upstream.js'
import { UpstreamStates } from './upstreams/upstream-states.js'
import { ExchangeAborted } from './wire/exchange-aborted.js'
import { headerTest } from './wire/headers.js'
import { Rejection } from './wire/rejection.js'

/** Options of {@link createBridgeDaemon}. */
export interface BridgeDaemonOptions {
  /** client of the control plane, made by `createBridgeClient`; the caller closes it after the daemon */
  client: ControlPlane
  logger: Logger
  /** see {@link bridgeLimits} for units and defaults */
  limits?: Partial<BridgeLimits>
  /** keeps records until the control plane has them, by default in memory; the daemon closes the outbox */
  outbox?: Outbox
  /**
   * false: prompts, tool inputs, thoughts and error messages of providers are not recorded, only their presence and
   * sizes; default true
   */
  recordContent?: boolean
  /** names of request headers that stay here, in lower case; a name that ends with `*` stands for its beginning */
  withheldHeaders?: readonly string[]
  /** origins of web pages that may call, such as `https://app.example.com`; default: none */
  allowedOrigins?: readonly string[]
  /**
   * addresses and networks of proxies whose `X-Forwarded-For` counts for the client's address. Default: none; every
   * client behind a proxy then has the proxy's address, and the rejection of a wrong key is delayed by a second at most
   */
  trustedProxies?: readonly string[]
  /** takes the observations of the daemon, see {@link createBridgeMetrics}; by default none are made */
  metrics?: BridgeMetrics
}

/** A running bridge: an HTTP handler for `/bridge/<provider>/…` and `/mcp/<server>`. All may be called unbound. */
export interface BridgeDaemon {
  /** Serves one request of a `node:http` server. Never throws. */
  readonly handler: (request: IncomingMessage, response: ServerResponse) => void
  /**
   * Serves one request of a caller in this process. The caller names an API key by id, without its secret; {@link
   * createBridgeFetch} uses this function. Resolves when the exchange has ended, never rejects.
   */
  readonly serve: (request: IncomingMessage, response: ServerResponse, caller: InProcessCaller) => Promise<void>
  /** Returns whether requests can be served: providers are loaded and the daemon is not closing. */
  readonly ready: () => boolean
  /**
   * Rejects new requests with 503, lets requests in flight end, aborts them after `graceMs` milliseconds, and hands all
   * records to the control plane until `graceMs` have passed, for `outboxFlushMs` at least. When the promise resolves,
   * no timer, socket or call is left. Resolves with the records that the control plane did not get. A second call gets
   * the same promise.
   */
  readonly close: (options: { graceMs: number }) => Promise<OutboxRest>
}

/**
 * Starts a bridge that serves requests of AI clients and records them through `client`. Until `close()` it follows the
 * changes of providers, which it loads at once, and removes the records of erased users from its outbox.
 */
export function createBridgeDaemon(options: BridgeDaemonOptions): BridgeDaemon {
  const { client, logger, recordContent = true, metrics = noMetrics } = options
  const limits: BridgeLimits = { ...bridgeLimits, ...options.limits }
  const outbox = options.outbox ?? createMemoryOutbox({ send: createRecordSender(client), logger, limits })
  const upstreams = new UpstreamStates(({ provider, endpoint, model }) => {
    logger.warn(
      { provider, endpoint, model },
      'an endpoint is left alone for a while: it has failed several times in a row',
    )
  })
  const keyReports = new KeyReports(client, logger)
  const providers = new ProviderRegistry({
    onSnapshot(targets) {
      upstreams.update(targets)
      keyReports.retry()
    },
    onOutdated: metrics.providersOutdated,
    load: signal => client.providerConfigurator.getProviders.query(undefined, { signal }),
    logger,
    ttlMs: limits.providerTtlMs,
  })
  const authorizations = new AuthorizationCache({
    lookUp: identification => client.authorizer.isAuthorized.query(identification),
    ttlMs: limits.authCacheTtlMs,
    maxEntries: limits.authCacheEntries,
  })
  const upstream = new Upstream(limits)
  const directory = createServerDirectory({ client, logger, limits })
  const mcp = new McpEndpoint({ directory, upstream, logger, limits })
  const tools = createToolClient({ directory, logger, mcpCallTimeoutMs: limits.mcpCallTimeoutMs })
  const conversations = new Conversations(client)
  const { withheldHeaders = [], allowedOrigins = [], trustedProxies = [] } = options
  const door = {
    upstreams,
    keyReports,
    keyGuesses: new KeyGuesses({ maxDelayMs: guessDelayMs(trustedProxies) }),
    rejectionLog: new RejectionLog(logger),
    usageRequests: new UsageRequests(),
    mcp,
    // The results of hidden calls are stored, and they are content.
    injector: recordContent ? new Injector({ directory, tools, conversations, logger }) : undefined,
    bodyMemory: new BodyMemory(limits.maxTotalBodyBytes),
    decodings: new Turns(maxDecodings),
    readAddress: createAddressReader(trustedProxies),
    withheldHeaders: headerTest(withheldHeaders),
    allowedOrigins: new Set(allowedOrigins),
  }
  metrics.watchOutbox(outbox)
  metrics.watchUpstreams(upstreams)
  metrics.watchSessions(mcp.sessions)
  const partsFor = (logger: Logger): FrontDoorParts => {
    const recorder = createRecorder({ client, outbox, recordContent, logger, metrics })
    return { authorizations, providers, recorder, upstream, limits, logger, metrics, ...door }
  }
  const parts = partsFor(logger)
  const exchanges = new Map<Promise<void>, AbortController>()
  let closed: Promise<OutboxRest> | undefined
  providers.refresh()
  const stopWatching = watchProviders(client, () => providers.changed(), logger)
  const erasures = watchErasures({ client, outbox, logger, limits })

  const serve = async (request: IncomingMessage, response: ServerResponse, caller?: InProcessCaller): Promise<void> => {
    // A client may disconnect at any moment; the writer sees `destroyed` and the signal.
    response.on('error', () => {})
    request.on('error', () => {})
    if (closed) {
      response.setHeader('connection', 'close')
      const rejection = new Rejection(503, 'shutting_down', 'the bridge is shutting down')
      metrics.rejected(rejection.reason)
      caller?.onRejection?.(rejection.reason)
      rejectExchange(providers, request, response, rejection, corsHeaders(request, door.allowedOrigins))
      return
    }
    const abort = new AbortController()
    response.once('close', () => {
      if (response.writableFinished) return
      const { errored } = response
      abort.abort(
        errored instanceof ExchangeAborted ? errored : new ExchangeAborted('client', 'the client disconnected'),
      )
    })
    const own = caller ? partsFor(withFields(logger, { source: caller.source })) : parts
    const exchange = serveExchange(own, request, response, abort, caller)
      .catch((error: unknown) => {
        own.logger.error({ err: error }, 'a request ended in an unexpected error')
        response.destroy()
      })
      .finally(() => exchanges.delete(exchange))
    exchanges.set(exchange, abort)
    await exchange
  }

  const close = async (graceMs: number): Promise<OutboxRest> => {
    const deadline = performance.now() + graceMs
    stopWatching()
    mcp.endStreams()
    await drain(exchanges, graceMs)
    providers.close()
    const watched = erasures.stop()
    const rest = await outbox.close({ timeoutMs: Math.max(limits.outboxFlushMs, deadline - performance.now()) })
    await watched
    await Promise.all([erasures.retire(), mcp.close(), tools.close()])
    await upstream.close()
    return rest
  }

  return {
    handler: (request, response) => void serve(request, response),
    serve,
    ready: () => closed === undefined && providers.loaded,
    close({ graceMs }) {
      closed ??= close(graceMs)
      return closed
    },
  }
}

/** Decodings of request bodies at once: a body of some kilobytes may take the memory of `maxBodyBytes` and more. */
const maxDecodings = 2

/** Waits for all exchanges, and aborts the running ones after `graceMs`. */
async function drain(exchanges: ReadonlyMap<Promise<void>, AbortController>, graceMs: number): Promise<void> {
  const timer = setTimeout(() => {
    for (const abort of exchanges.values()) abort.abort(new ExchangeAborted('bridge', 'the bridge is shutting down'))
  }, graceMs)
  while (exchanges.size > 0) await Promise.all(exchanges.keys())
  clearTimeout(timer)
}
