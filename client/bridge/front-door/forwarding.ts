/** Forwarding: sends an admitted request to its provider and relays the response to the client. */
import { abortable } from '../../../shared/values/abortable.js'
import { credentialHint } from '../../../shared/values/credential-hint.js'
import { withinDeadline } from '../control-plane/deadline.js'
import type { Injection } from '../injection/injector.js'
import { RoundFailed } from '../injection/rounds.js'
import type { BridgedRoute, RequestFacts } from '../providers/provider-api.js'
import type { Recording } from '../recording/recorder.js'
import { mayRejectField } from '../relay/attempt.js'
import { Relay } from '../relay/relay.js'
import { ResponseRecording } from '../relay/response-recording.js'
import { UpstreamError } from '../relay/upstream-error.js'
import type { BodyShare } from './body/body-memory.js'
import { HeldBody } from './body/held-body.js'
import { type BridgedCall, callProvider, firstHint, type ProviderCallOptions } from './call-provider.js'
import { noteResponse } from './conversation.js'
import { clientKey, secretsOf } from './credentials.js'
import { describeError, failureOf } from './error-response.js'
import type { Exchange } from './exchange.js'
import { prepareInjection, RoundsObserver, sendRounds } from './injected-exchange.js'
import { readRequest, readWithin } from './read-request.js'

/** Passes a request on without a record. */
export async function passThrough(exchange: Exchange): Promise<void> {
  const { parts, response, cors, target } = exchange
  await withBodyShare(exchange, async share => {
    const body = new HeldBody(share, await readWithin(exchange, share))
    const relay = new Relay(response, { added: cors, clientTimeoutMs: parts.limits.clientTimeoutMs })
    try {
      await send(exchange, body, relay)
    } catch (error) {
      await fail(exchange, relay, error)
    } finally {
      const status = response.headersSent ? response.statusCode : 0
      parts.metrics.passedThrough({ provider: target.provider.name, route: routeLabel(exchange), status })
    }
  })
}

/** Records an interception, calls the provider and records its response. */
export async function bridge(exchange: Exchange, route: BridgedRoute): Promise<void> {
  const { parts, response, cors, target, owner, arrivedAt } = exchange
  const { limits, logger, metrics } = parts
  await withBodyShare(exchange, async share => {
    const found = parts.injector?.apiFor(route.name, owner.ownerId)
    const injects = found instanceof Promise ? await found : found
    const { facts, filter, body, reader, conversation, content, readingMs } = await readRequest(
      exchange,
      route,
      share,
      injects !== undefined,
    )
    const bridged = { model: facts.model, conversation }
    const recording = await begin(exchange, facts, bridged, body.length)
    metrics.overhead((performance.now() - arrivedAt - readingMs) / 1000)
    let injection: Injection | undefined
    const recorded = new ResponseRecording({
      recording,
      apiName: route.name,
      reader,
      recordedCall: call => injection?.recordedCall(call) ?? call,
      maxBytes: limits.maxInspectedBytes,
      logger,
      metrics,
      provider: target.provider.name,
    })
    let relay = new Relay(response, {
      observer: recorded,
      filter,
      added: cors,
      clientTimeoutMs: limits.clientTimeoutMs,
    })
    try {
      injection = injects && content && (await prepareInjection(exchange, injects, facts, content))
      if (injection) {
        const rounds = new RoundsObserver(recorded)
        relay = new Relay(response, { observer: rounds, added: cors, clientTimeoutMs: limits.clientTimeoutMs })
        await sendRounds({ exchange, route, bridged, injection, relay, rounds, recorded })
      } else if (body.isAdapted) await sendAdapted(exchange, body, bridged, relay, recorded)
      else await send(exchange, body, relay, { bridged, recorded })
    } catch (error) {
      const { kept } = await recorded.finish(failureOf(error))
      // The client sees an error of the bridge, too, when its record is kept.
      await abortable(kept, exchange.signal).catch(() => {}) // a client that leaves is not waited for
      await fail(exchange, relay, error)
    } finally {
      // The client may be gone before the records are made.
      await recorded.finish(undefined)
      noteResponse(exchange, facts, conversation, injection?.request.threadId?.() ?? reader.facts().msgId)
    }
  })
}

async function withBodyShare<T>(exchange: Exchange, serve: (share: BodyShare) => Promise<T>): Promise<T> {
  const share = exchange.parts.bodyMemory.share(exchange.owner.ownerId)
  try {
    return await serve(share)
  } finally {
    share.release()
  }
}

async function begin(
  exchange: Exchange,
  facts: RequestFacts,
  bridged: BridgedCall,
  requestBytes: number,
): Promise<Recording> {
  const { parts, request, abort, signal, target, owner, credentials, caller, startedAt, arrivedAt } = exchange
  const { type, name } = target.provider
  const ownKey = credentials.kind === 'byok' ? clientKey(request.headers) : undefined
  const ownHint = ownKey === undefined ? undefined : credentialHint(ownKey)
  const start = {
    owner,
    provider: { type, name },
    request: facts,
    credentialKind: credentials.kind,
    credentialHint: ownHint ?? firstHint(exchange, bridged),
    secrets: [...secretsOf(credentials, request.headers), ...target.provider.keys],
    client: facts.client,
    userAgent: request.headers['user-agent'],
    requestBytes,
    startedAt,
    arrivedAt,
  }
  const recording = await withinDeadline(parts.limits.controlPlaneDeadlineMs, abort, () =>
    parts.recorder.begin(start, signal),
  )
  caller?.onInterception?.(recording.id)
  return recording
}

/**
 * Sends a request that asks for more than the client did. A provider that rejects it gets the client's own request,
 * once: the rejection may concern the addition.
 */
async function sendAdapted(
  exchange: Exchange,
  body: HeldBody,
  bridged: BridgedCall,
  relay: Relay,
  observer: ResponseRecording,
): Promise<void> {
  const { parts, target, signal } = exchange
  const isRejected = await callProvider(exchange, body, relay, { bridged, recorded: observer, mayReject: true })
  if (!isRejected) return relay.end(signal)
  parts.logger.info(
    { provider: target.provider.name, model: bridged.model },
    'a request for usage was rejected; sent again without it',
  )
  body.restore()
  await send(exchange, body, relay, { bridged, recorded: observer })
  const { status } = observer
  if (status !== undefined && !mayRejectField(status)) {
    parts.usageRequests.rejected(target.provider.name, bridged.model)
  }
}

/** Sends a request as received, and relays the response until its end. */
async function send(exchange: Exchange, body: HeldBody, relay: Relay, options?: ProviderCallOptions): Promise<void> {
  await callProvider(exchange, body, relay, options)
  await relay.end(exchange.signal)
}

/** Routes whose next segment is an id. */
const collections = new Set(['models', 'conversations', 'responses'])

/** Returns the route of a request that was passed through, without the ids in its path. */
function routeLabel({ path }: Exchange): string {
  const [, first = '', second] = path
    .replace(/\?.*$/s, '')
    .replace(/^\/v1(?=\/)/, '')
    .split('/')
  if (second === undefined) return `/v1/${first}`
  return `/v1/${first}/${collections.has(first) ? '…' : second}`
}

/**
 * Handles an error after the call to the provider: rethrows it if no response has begun, else cuts off the client's
 * connection.
 */
async function fail(exchange: Exchange, relay: Relay, error: unknown): Promise<void> {
  const { parts, response, signal, target } = exchange
  if (error instanceof RoundFailed) {
    parts.logger.warn({ ...describeError(error.cause), provider: target.provider.name }, 'tools could not be used')
    return relay.end(signal)
  }
  if (!response.headersSent && !response.destroyed) throw error
  const aborted = error instanceof UpstreamError && error.failure === 'aborted'
  const fields = { ...describeError(error), provider: target.provider.name }
  if (aborted) parts.logger.info(fields, 'a response was cut off')
  else parts.logger.warn(fields, 'a response was cut off')
  await relay.cutOff(signal)
}
