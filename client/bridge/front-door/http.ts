/** The front door: from a client's request to the provider's answer, or to the bridge's own where it refuses. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Authorization } from '../../../shared/contract/authorizer.js'
import { errorReasonOf } from '../../../shared/contract/error-reasons.js'
import type { BridgeLimits } from '../../../shared/contract/limits.js'
import { type ErrorCode, errorCodeOf } from '../../../shared/rpc/errors.js'
import { abortable } from '../../../shared/values/abortable.js'
import { credentialHint } from '../../../shared/values/credential-hint.js'
import type { Logger } from '../../../shared/values/log.js'
import { isPlainObject, type JsonObject } from '../../../shared/values/text.js'
import type { AuthorizationCache } from '../control-plane/authorization-cache.js'
import type { ProviderRegistry, Target } from '../control-plane/provider-registry.js'
import type { BridgeMetrics } from '../metrics/metrics.js'
import { errorBodyForPath } from '../providers/apis.js'
import { recogniseClient } from '../providers/client-recognition.js'
import type { Failure } from '../providers/error-type.js'
import type { BridgedRoute, Route } from '../providers/provider-api.js'
import type { Recorder } from '../recording/recorder.js'
import { AnswerRecording } from '../relay/answer-recording.js'
import { Relay } from '../relay/relay.js'
import { type Upstream, UpstreamError, type UpstreamRequest } from '../relay/upstream.js'
import { EventFilter } from '../wire/event-filter.js'
import { requestHeaders } from '../wire/headers.js'
import { notAsked, Refusal, retryAfterSeconds } from '../wire/refusal.js'
import {
  type Credentials,
  clientKey,
  type InProcessCaller,
  publicIdOf,
  readCredentials,
  secretsOf,
} from './credentials.js'
import { hasDotSegments, type Mount, parseMount, pathBelow } from './mount.js'
import { readBody } from './request-body.js'

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

/** A request that was let in. */
interface Exchange {
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

/**
 * Serves one request. Resolves when the answer was handed to the client's connection, or that connection is gone, and everything that is
 * to be recorded is in the outbox. Never rejects.
 * @param signal aborts the exchange; the caller also aborts it when the client leaves
 * @param caller who asks, where that is not told by the request's headers
 */
export async function serveExchange(
  parts: FrontDoorParts,
  request: IncomingMessage,
  response: ServerResponse,
  signal: AbortSignal,
  caller?: InProcessCaller,
): Promise<void> {
  const mount = parseMount(request.url ?? '')
  try {
    const { exchange, route } = await admit(parts, request, response, signal, mount, caller)
    if (route === 'passthrough') await passThrough(exchange)
    else await bridge(exchange, route)
  } catch (error) {
    const refusal = refusalOf(error)
    const fields = { ...describe(error), provider: mount.providerName, status: refusal.status }
    if (response.destroyed) parts.logger.info(fields, 'the client left before it was answered')
    else if (refusal.status >= 500) parts.logger.error(fields, 'a request failed')
    // The rest of a body that nobody waits for must not keep the connection busy.
    if (signal.aborted && !response.headersSent) response.setHeader('connection', 'close')
    refuse(response, errorBody(parts, mount), refusal)
  }
}

/** Answers a request that cannot be served, in the error shape of the provider it is for. */
export function refuseExchange(
  providers: ProviderRegistry,
  request: IncomingMessage,
  response: ServerResponse,
  refusal: Refusal,
): void {
  refuse(response, errorBody({ providers }, parseMount(request.url ?? '')), refusal)
}

/** @throws Refusal in the order of the checks: unauthenticated clients learn nothing about providers and routes */
async function admit(
  parts: FrontDoorParts,
  request: IncomingMessage,
  response: ServerResponse,
  signal: AbortSignal,
  mount: Mount,
  caller: InProcessCaller | undefined,
): Promise<{ exchange: Exchange; route: Route }> {
  const startedAt = new Date()
  const arrivedAt = performance.now()
  const credentials = readCredentials(request.headers, caller)
  if (!credentials) {
    throw new Refusal(401, 'no key was given: send it as X-Bridge-Token, Authorization: Bearer or X-Api-Key')
  }
  const owner = await abortable(authorize(parts, credentials), signal)
  const target = await abortable(findTarget(parts, mount), signal)
  const method = request.method ?? ''
  const unsupported = new Refusal(404, `route not supported: ${method} ${(request.url ?? '').replace(/\?.*$/s, '')}`)
  if (!target) {
    if (mount.providerName === '') throw unsupported
    throw new Refusal(404, `no provider is named ${JSON.stringify(mount.providerName)}`)
  }
  const path = pathBelow(mount.path, target.api.mountPath)
  const route = path === undefined || hasDotSegments(path) ? undefined : target.api.route(method, path)
  if (path === undefined || !route) throw unsupported
  if (!target.provider.enabled) throw new Refusal(503, `the provider ${JSON.stringify(mount.providerName)} is disabled`)
  const pathAndQuery = path + mount.query
  return {
    exchange: {
      parts,
      request,
      response,
      signal,
      path: pathAndQuery,
      credentials,
      owner,
      target,
      startedAt,
      arrivedAt,
    },
    route,
  }
}

/** Codes that speak of the key; any other means that nobody knows. */
const deniedCodes: readonly (ErrorCode | undefined)[] = ['UNAUTHORIZED', 'BAD_REQUEST', 'FORBIDDEN']

async function authorize({ authorizations, logger }: FrontDoorParts, credentials: Credentials): Promise<Authorization> {
  try {
    return await authorizations.authorize(credentials.identification)
  } catch (error) {
    const code = errorCodeOf(error)
    if (!deniedCodes.includes(code)) throw notAsked(error)
    logger.info({ code, reason: errorReasonOf(error), apiKeyId: publicIdOf(credentials) }, 'a key was not authorized')
    throw new Refusal(403, 'the key is not authorized', { cause: error })
  }
}

async function findTarget({ providers }: FrontDoorParts, { providerName }: Mount): Promise<Target | undefined> {
  if (providerName === '') return undefined
  try {
    return await providers.find(providerName)
  } catch (error) {
    throw notAsked(error)
  }
}

async function passThrough(exchange: Exchange): Promise<void> {
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

async function bridge(exchange: Exchange, route: BridgedRoute): Promise<void> {
  const { parts, request, response, signal, target, owner, credentials, startedAt, arrivedAt } = exchange
  const { limits, logger, metrics } = parts
  const readingAt = performance.now()
  const body = await abortable(readBody(request, limits.maxBodyBytes), signal)
  const readingMs = performance.now() - readingAt
  const json = parseJson(body, request)
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
      client: recogniseClient(request.headers),
      userAgent: request.headers['user-agent'],
      startedAt,
    },
    signal,
  )
  metrics.overhead((performance.now() - arrivedAt - readingMs) / 1000)
  const answer = new AnswerRecording({ recording, route, maxBytes: limits.maxInspectedBytes, logger, metrics })
  const relay = new Relay(response, answer, adaptation && new EventFilter(adaptation))
  try {
    await parts.upstream.send(upstreamRequest(exchange, adaptation?.body ?? body), relay, signal)
    await relay.end(signal)
  } catch (error) {
    await answer.finish(failureOf(error))
    await fail(exchange, relay, error)
  }
}

/** The newest key: an older one is kept only until nothing uses it any more. */
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

function parseJson(body: Buffer, request: IncomingMessage): JsonObject {
  const encoding = request.headers['content-encoding']
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    throw new Refusal(
      400,
      `request bodies in the encoding ${JSON.stringify(encoding)} are not supported: send plain JSON`,
    )
  }
  let json: unknown
  try {
    json = JSON.parse(body.toString())
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Refusal(400, `the request body of ${body.length.toLocaleString('en')} bytes is not JSON: ${reason}`)
  }
  if (!isPlainObject(json)) throw new Refusal(400, 'the request body is JSON, but not an object')
  return json as JsonObject // came out of JSON.parse
}

/** After the provider was called: an answer of our own if none has begun, else the client's connection is cut. */
async function fail(exchange: Exchange, relay: Relay, error: unknown): Promise<void> {
  const { parts, response, signal, target } = exchange
  if (!response.headersSent && !response.destroyed) throw error
  const aborted = error instanceof UpstreamError && error.failure === 'aborted'
  const fields = { ...describe(error), provider: target.provider.name }
  if (aborted) parts.logger.info(fields, 'an answer was cut off')
  else parts.logger.warn(fields, 'an answer was cut off')
  await relay.cutOff(signal)
}

/** What the log is told: the words of what networks and clients do, and of any other error where it comes from. */
function describe(error: unknown): object {
  const isExpected = error instanceof UpstreamError || error instanceof ExchangeAborted || error instanceof Refusal
  if (!isExpected) return { err: error }
  const { message, cause } = error
  return cause instanceof Error ? { reason: message, cause: cause.message } : { reason: message }
}

function failureOf(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error)
  return { type: error instanceof UpstreamError && error.timedOut ? 'timeout' : 'unknown', message }
}

function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error
  if (error instanceof ExchangeAborted) return new Refusal(503, error.message, { retryAfterSeconds, cause: error })
  if (!(error instanceof UpstreamError))
    return new Refusal(500, 'internal error of the bridge; its log has the cause', { cause: error })
  if (error.failure === 'aborted') return new Refusal(503, error.message, { retryAfterSeconds, cause: error })
  return new Refusal(error.timedOut ? 504 : 502, error.message, { cause: error })
}

type ErrorBody = (status: number, message: string) => string

function errorBody({ providers }: Pick<FrontDoorParts, 'providers'>, { providerName, path }: Mount): ErrorBody {
  const api = providers.peek(providerName)?.api
  return api ? api.errorBody : (status, message) => errorBodyForPath(path, status, message)
}

function refuse(response: ServerResponse, errorBody: ErrorBody, refusal: Refusal): void {
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  const body = Buffer.from(errorBody(refusal.status, refusal.message))
  const { retryAfterSeconds: seconds } = refusal
  response.writeHead(refusal.status, {
    'content-type': 'application/json',
    'content-length': body.length,
    ...(seconds === undefined ? {} : { 'retry-after': String(seconds) }),
  })
  response.end(body)
}
