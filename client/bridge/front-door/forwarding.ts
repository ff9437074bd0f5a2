/** Forwarding: sends an admitted request to its provider and relays the response to the client. */
import { abortable } from '../../../shared/values/abortable.js'
import { credentialHint } from '../../../shared/values/credential-hint.js'
import type { Target } from '../control-plane/provider-registry.js'
import type { BridgedRoute } from '../providers/provider-api.js'
import { Relay } from '../relay/relay.js'
import { ResponseRecording } from '../relay/response-recording.js'
import type { UpstreamRequest } from '../relay/upstream.js'
import { UpstreamError } from '../relay/upstream-error.js'
import { EventFilter } from '../wire/event-filter.js'
import { requestHeaders } from '../wire/headers.js'
import { clientKey, secretsOf } from './credentials.js'
import { describeError, failureOf } from './error-response.js'
import type { Exchange } from './exchange.js'
import { parseJsonBody, readBody } from './request-body.js'

/** Passes a request on without a record. */
export async function passThrough(exchange: Exchange): Promise<void> {
  const { parts, request, response, signal } = exchange
  const body = await abortable(readBody(request, parts.limits.maxBodyBytes), signal)
  const relay = new Relay(response)
  try {
    await parts.upstream.send(upstreamRequest(exchange, body), relay, signal)
    await relay.end(signal)
  } catch (error) {
    await fail(exchange, relay, error)
  }
}

/** Records an interception, calls the provider and records its response. */
export async function bridge(exchange: Exchange, route: BridgedRoute): Promise<void> {
  const { parts, request, response, signal, target, owner, credentials, startedAt, arrivedAt } = exchange
  const { limits, logger, metrics } = parts
  const readingAt = performance.now()
  const body = await abortable(readBody(request, limits.maxBodyBytes), signal)
  const readingMs = performance.now() - readingAt
  const json = parseJsonBody(body, request.headers['content-encoding'])
  const facts = route.readRequest(json, request.headers)
  const adaptation = route.adapt?.(json, body)
  const { type, name } = target.provider
  const usedKey = credentials.kind === 'byok' ? clientKey(request.headers) : keyOf(target)
  const recording = await parts.recorder.begin(
    {
      owner,
      provider: { type, name },
      request: facts,
      credentialKind: credentials.kind,
      credentialHint: usedKey === undefined ? undefined : credentialHint(usedKey),
      secrets: [...secretsOf(credentials, request.headers), ...(usedKey === undefined ? [] : [usedKey])],
      client: facts.client,
      userAgent: request.headers['user-agent'],
      startedAt,
    },
    signal,
  )
  metrics.overhead((performance.now() - arrivedAt - readingMs) / 1000)
  const recorded = new ResponseRecording({
    recording,
    route,
    maxBytes: limits.maxInspectedBytes,
    logger,
    metrics,
    provider: name,
  })
  const relay = new Relay(response, recorded, adaptation && new EventFilter(adaptation))
  try {
    await parts.upstream.send(upstreamRequest(exchange, adaptation?.body ?? body), relay, signal)
    await relay.end(signal)
  } catch (error) {
    await recorded.finish(failureOf(error))
    await fail(exchange, relay, error)
  }
}

/** Returns the newest key; older keys are kept only until requests in flight have ended. */
function keyOf({ provider }: Target): string | undefined {
  return provider.keys.at(-1)
}

function upstreamRequest({ request, path, credentials, target }: Exchange, body: Buffer): UpstreamRequest {
  const key = keyOf(target)
  const credential =
    credentials.kind === 'byok' ? undefined : { add: key === undefined ? undefined : target.api.credentialHeader(key) }
  return {
    origin: target.origin,
    path: target.basePath + path,
    method: request.method ?? 'GET',
    headers: requestHeaders(request.rawHeaders, credential),
    body,
  }
}

/**
 * Handles an error after the call to the provider: rethrows it if no response has begun, else cuts off the client's
 * connection.
 */
async function fail(exchange: Exchange, relay: Relay, error: unknown): Promise<void> {
  const { parts, response, signal, target } = exchange
  if (!response.headersSent && !response.destroyed) throw error
  const aborted = error instanceof UpstreamError && error.failure === 'aborted'
  const fields = { ...describeError(error), provider: target.provider.name }
  if (aborted) parts.logger.info(fields, 'a response was cut off')
  else parts.logger.warn(fields, 'a response was cut off')
  await relay.cutOff(signal)
}
