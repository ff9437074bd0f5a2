/**
 * The call of a provider with one body: the only place that knows where a request goes and with which key. Attempts
 * follow each other until one is taken: with the next key if the provider limits or rejects a key, at the next base URL
 * if no connection is made. Nothing of a failed attempt reaches the client, and no request is sent again that the
 * provider may have begun to serve.
 */
import { credentialHint } from '../../../shared/values/credential-hint.js'
import type { Endpoint, ProviderKey, Target } from '../control-plane/provider-registry.js'
import { Attempt, mayRejectField } from '../relay/attempt.js'
import { maskKeys } from '../relay/key-masking.js'
import type { OutgoingBody } from '../relay/outgoing-body.js'
import type { ResponseRecording } from '../relay/response-recording.js'
import type { UpstreamRequest } from '../relay/upstream.js'
import type { ResponseReceiver, UpstreamLimits } from '../relay/upstream-call.js'
import { abortedBy, UpstreamError } from '../relay/upstream-error.js'
import { type BreakerPass, maxFailures } from '../upstreams/breakers.js'
import { coolingMs, wholeSeconds, withoutKey } from '../upstreams/key-limits.js'
import type { KeyChoice, KeyRing } from '../upstreams/key-ring.js'
import { findHeader, type ResponseHead, requestHeaders, withoutHeaders } from '../wire/headers.js'
import { maxRetryAfterSeconds, Rejection } from '../wire/rejection.js'
import { shownKey } from './credentials.js'
import type { Exchange } from './exchange.js'
import { timeBehindClient } from './time-behind-client.js'

/** The body of a call, which is sent once for each attempt. */
export interface AttemptBody {
  /** Returns the body for an attempt that another may follow. */
  forAttempt(): OutgoingBody
  /** Returns the body for the last attempt. */
  forLastAttempt(): OutgoingBody
  /** Notes that the attempt under way is the last one: its response has begun. */
  release(): void
}

/** Options of {@link callProvider}. */
export interface ProviderCallOptions {
  /** the model of the request and its conversation; none of a request that is passed through */
  bridged?: BridgedCall | undefined
  /** the record of the response */
  recorded?: ResponseRecording | undefined
  /** whether a response that may reject a field of the request is dropped at its head; default: no */
  mayReject?: boolean
  /** whether the body was written anew, without the encoding of the client's; default: no */
  isRewritten?: boolean
}

/** The facts of a bridged request that choose its key. */
export interface BridgedCall {
  model: string
  /** the same for all requests of a conversation; undefined if the provider has one key, or nothing names it */
  conversation: string | undefined
}

/**
 * Calls the provider of an exchange with a body: within the provider's limit of parallel requests, with a key that
 * works, at an endpoint that works. Resolves when the receiver has taken the whole response.
 * @returns whether the response was dropped because it may reject a field of the request
 * @throws Rejection if the provider cannot be called: 429 or 502 for its keys, 503 for its breaker or its limit
 * @throws UpstreamError if the call fails, or the exchange is aborted
 */
export async function callProvider(
  exchange: Exchange,
  body: AttemptBody,
  receiver: ResponseReceiver,
  options: ProviderCallOptions = {},
): Promise<boolean> {
  const { credentials, target } = exchange
  const leave = await enter(exchange)
  const masking = maskKeys(receiver, credentials.kind === 'byok' ? noKeys : target.provider.keys)
  const attempts = new Attempts(exchange, body, masking, options)
  try {
    for (;;) {
      const verdict = await attempts.next()
      if (verdict !== 'again') return verdict === 'field'
    }
  } finally {
    leave()
    await masking.flush()
  }
}

const noKeys: readonly string[] = []

/** Returns the hint of the key with which a call begins; undefined without a key of the operator. */
export function firstHint(exchange: Exchange, { model, conversation }: BridgedCall): string | undefined {
  const { target, credentials, parts } = exchange
  if (credentials.kind === 'byok' || target.keys.length === 0) return undefined
  const { upstreams } = parts
  const preferred = conversation === undefined ? undefined : upstreams.conversations.keyOf(conversation)
  const { key = target.keys[0] } = upstreams.ringOf(target).choose({ scope: model, preferred, tried: new Set() })
  return key && credentialHint(key.text)
}

/** Takes a place among the parallel requests of the provider. */
async function enter({ parts, target, signal }: Exchange): Promise<() => void> {
  try {
    return await parts.upstreams.enter(target, signal)
  } catch (error) {
    throw signal.aborted ? abortedBy(signal) : error
  }
}

/** The result of an attempt: done, rejected for a field of the request, or another attempt follows. */
type Verdict = 'done' | 'field' | 'again'

/** The attempts of one call. */
class Attempts {
  readonly #exchange: Exchange
  readonly #body: AttemptBody
  readonly #receiver: ResponseReceiver
  readonly #options: ProviderCallOptions
  readonly #ring: KeyRing
  /** ids of keys */
  readonly #tried = new Set<string>()
  readonly #unreachable = new Set<Endpoint>()
  /** the failure of the endpoint that was tried last */
  #failure: UpstreamError | undefined
  /** whether the body is gone */
  #isLast = false

  constructor(exchange: Exchange, body: AttemptBody, receiver: ResponseReceiver, options: ProviderCallOptions) {
    this.#exchange = exchange
    this.#body = body
    this.#receiver = receiver
    this.#options = options
    this.#ring = exchange.parts.upstreams.ringOf(exchange.target)
  }

  /** Makes one attempt. */
  async next(): Promise<Verdict> {
    const key = this.#key()
    const { endpoint, pass } = this.#endpoint()
    const { parts, signal } = this.#exchange
    const { recorded, mayReject = false } = this.#options
    this.#isLast = !mayReject && !this.#hasOtherKey(key) && !this.#hasOtherEndpoint(endpoint)
    if (key) recorded?.usesKey(credentialHint(key.text))
    let verdict: Verdict = 'done'
    let status = 0
    const decide = (head: ResponseHead): boolean => {
      status = head.status
      if (status >= 500) pass.failed()
      else if (status !== 429) pass.responded()
      if (mayReject && mayRejectField(status)) verdict = 'field'
      else if (key && this.#isKeyDropped(key, head)) verdict = 'again'
      return verdict !== 'done'
    }
    const onTaken = () => {
      const { bridged } = this.#options
      if (!this.#isLast) this.#body.release()
      if (key && bridged?.conversation !== undefined) parts.upstreams.conversations.used(bridged.conversation, key.id)
    }
    const attempt = new Attempt(this.#receiver, decide, onTaken)
    try {
      await parts.upstream.send(this.#request(endpoint, key), attempt, signal)
      if (status < 500 && status !== 429) pass.succeeded()
    } catch (error) {
      if (attempt.isDropped && !signal.aborted) return this.#dropped(verdict, key)
      if (error instanceof UpstreamError && error.timedOut && status < 500) pass.failed()
      else if (error instanceof UpstreamError && status === 0 && !signal.aborted) pass.lost()
      if (!this.#isOtherEndpointNext(endpoint, error)) throw error
      return 'again'
    } finally {
      pass.released()
    }
    return verdict
  }

  /** Returns the key of the next attempt; undefined for a request without a key of the operator. */
  #key(): ProviderKey | undefined {
    const { credentials, target } = this.#exchange
    if (credentials.kind === 'byok' || this.#ring.size === 0) return undefined
    // With one key no other can do better, so the provider decides about each request.
    if (this.#ring.size === 1) return target.keys[0]
    const choice = this.#choice()
    if (choice.key) return choice.key
    throw withoutKey(choice)
  }

  #choice(): KeyChoice {
    const { bridged } = this.#options
    const { conversations } = this.#exchange.parts.upstreams
    const preferred = bridged?.conversation === undefined ? undefined : conversations.keyOf(bridged.conversation)
    return this.#ring.choose({ scope: bridged?.model ?? '', preferred, tried: this.#tried })
  }

  /** Returns the first endpoint that was not found unreachable, and whose breaker lets the call through. */
  #endpoint(): { endpoint: Endpoint; pass: BreakerPass } {
    const { parts, target } = this.#exchange
    const provider = target.provider.name
    const model = this.#options.bridged?.model ?? ''
    let waitMs = Number.POSITIVE_INFINITY
    for (const endpoint of target.endpoints) {
      if (this.#unreachable.has(endpoint)) continue
      const place = { provider, endpoint: endpoint.origin + endpoint.basePath, model }
      const pass = parts.upstreams.breakers.enter(place)
      if (!('waitMs' in pass)) {
        if (Number.isFinite(waitMs)) parts.metrics.failedOver(provider, 'breaker_open')
        return { endpoint, pass }
      }
      waitMs = Math.min(waitMs, pass.waitMs)
    }
    if (this.#failure) throw this.#failure
    const retryAfterSeconds = Math.min(maxRetryAfterSeconds, wholeSeconds(waitMs))
    const message = `the provider has failed ${maxFailures} times in a row; try again in ${retryAfterSeconds} s`
    throw new Rejection(503, 'breaker_open', message, { retryAfterSeconds })
  }

  #hasOtherKey(key: ProviderKey | undefined): boolean {
    if (!key || this.#ring.size === 1) return false
    const tried = new Set([...this.#tried, key.id])
    return this.#ring.choose({ scope: this.#options.bridged?.model ?? '', tried }).key !== undefined
  }

  #hasOtherEndpoint(endpoint: Endpoint): boolean {
    return this.#exchange.target.endpoints.some(other => other !== endpoint && !this.#unreachable.has(other))
  }

  /**
   * Notes the state of the key that a response reveals. Returns whether the response is dropped: another key follows,
   * or none is left for any request. A request that is passed through is not counted: it may have limits and
   * permissions of its own.
   */
  #isKeyDropped(key: ProviderKey, { status, headers }: ResponseHead): boolean {
    if (this.#ring.size === 1 || (status !== 429 && status !== 401 && status !== 403)) return false
    const { bridged } = this.#options
    if (!bridged) return this.#hasOtherKey(key)
    const { parts, target } = this.#exchange
    const fields = { provider: target.provider.name, keyId: key.id, status, model: bridged.model }
    if (status === 429) {
      const forMs = coolingMs(findHeader(headers, 'retry-after'))
      const isNew = this.#ring.cool(key.id, bridged.model, forMs)
      if (isNew) parts.logger.info({ ...fields, forMs }, 'a key is limited by its provider')
      return true
    }
    // The provider rejects the key itself, or what is asked for.
    const isNew = this.#ring.takeOut(key.id, status === 401 ? undefined : bridged.model)
    if (isNew) {
      parts.logger.warn(fields, 'a key was taken out: its provider rejects it')
      parts.keyReports.report({ target, keyId: key.id, status, model: bridged.model })
    }
    return true
  }

  /** Goes on behind an attempt whose response was dropped. */
  #dropped(verdict: Verdict, key: ProviderKey | undefined): Verdict {
    if (verdict !== 'again' || !key) return verdict
    this.#tried.add(key.id)
    const choice = this.#choice()
    if (this.#isLast || !choice.key) throw withoutKey(choice)
    this.#exchange.parts.metrics.failedOver(this.#exchange.target.provider.name, 'key')
    return 'again'
  }

  /** Returns whether the request goes to another endpoint: no connection was made, so this one has not got it. */
  #isOtherEndpointNext(endpoint: Endpoint, error: unknown): boolean {
    if (!(error instanceof UpstreamError) || this.#isLast) return false
    if (error.failure !== 'unreachable' && error.failure !== 'connect_timeout') return false
    this.#unreachable.add(endpoint)
    this.#failure = error
    if (!this.#hasOtherEndpoint(endpoint)) return false
    const { parts, target } = this.#exchange
    const { origin, basePath } = endpoint
    parts.logger.warn(
      { provider: target.provider.name, endpoint: origin + basePath, reason: error.message },
      'a base URL cannot be reached; the next one is used',
    )
    parts.metrics.failedOver(target.provider.name, 'unreachable')
    return true
  }

  #request({ origin, basePath }: Endpoint, key: ProviderKey | undefined): UpstreamRequest {
    const { parts, request, credentials, target, path, signal } = this.#exchange
    const { recorded, isRewritten = false } = this.#options
    const raw = isRewritten ? withoutHeaders(request.rawHeaders, ['content-encoding']) : request.rawHeaders
    const passed = requestHeaders(raw, {
      credential: credentials.kind === 'byok' ? undefined : [],
      withheld: parts.withheldHeaders,
      key: shownKey(credentials),
    })
    // A header of the client counts for the credential only if it passes.
    const credential = key ? target.api.credentialHeaders(key.text, passed) : []
    return {
      origin,
      path: basePath + path,
      method: request.method ?? 'GET',
      headers: [...passed, ...credential],
      body: this.#isLast ? this.#body.forLastAttempt() : this.#body.forAttempt(),
      limits: limitsOf(target),
      lingerMs: () => timeBehindClient(signal, parts.limits.drainMs, recorded?.isWhole ?? false),
    }
  }
}

function limitsOf({ settings }: Target): Partial<UpstreamLimits> | undefined {
  const { firstByteTimeoutMs, idleTimeoutMs } = settings
  if (firstByteTimeoutMs === undefined && idleTimeoutMs === undefined) return undefined
  return {
    ...(firstByteTimeoutMs !== undefined && { upstreamHeadersTimeoutMs: firstByteTimeoutMs }),
    ...(idleTimeoutMs !== undefined && { upstreamIdleTimeoutMs: idleTimeoutMs }),
  }
}
