/** The call of a provider with one body: the only place that knows where a request goes and with which key. */
import type { Target } from '../control-plane/provider-registry.js'
import { FirstAttempt } from '../relay/first-attempt.js'
import { maskKeys } from '../relay/key-masking.js'
import type { ResponseRecording } from '../relay/response-recording.js'
import type { UpstreamRequest } from '../relay/upstream.js'
import type { ResponseReceiver, UpstreamLimits } from '../relay/upstream-call.js'
import { requestHeaders } from '../wire/headers.js'
import type { HeldBody } from './body/held-body.js'
import { shownKey } from './credentials.js'
import type { Exchange } from './exchange.js'
import { timeBehindClient } from './time-behind-client.js'

/** Options of {@link callProvider}. */
export interface ProviderCallOptions {
  /** the record of the response; none of a request that is passed through */
  recorded?: ResponseRecording | undefined
  /** whether a response that may reject a field of the request is dropped at its head; default: no */
  mayReject?: boolean
}

/** Returns the newest key; older keys are kept only until requests in flight have ended. */
export function firstKeyOf({ provider }: Target): string | undefined {
  return provider.keys.at(-1)
}

/**
 * Calls the provider of an exchange with a body. Resolves when the receiver has taken the whole response.
 * @returns whether the response was dropped because it may reject a field of the request
 * @throws UpstreamError if the call fails, or the exchange is aborted
 */
export async function callProvider(
  exchange: Exchange,
  body: HeldBody,
  receiver: ResponseReceiver,
  { recorded, mayReject = false }: ProviderCallOptions = {},
): Promise<boolean> {
  const { parts, signal, credentials, target } = exchange
  const masking = maskKeys(receiver, credentials.kind === 'byok' ? noKeys : target.provider.keys)
  const attempt = mayReject ? new FirstAttempt(masking, () => body.release()) : undefined
  const lingerMs = () => timeBehindClient(signal, parts.limits.drainMs, recorded?.isWhole ?? false)
  try {
    const content = attempt ? body.forFirstAttempt() : body.forLastAttempt()
    await parts.upstream.send(upstreamRequest(exchange, content, lingerMs), attempt ?? masking, signal)
    return false
  } catch (error) {
    if (attempt?.isRejected && !signal.aborted) return true
    throw error
  } finally {
    await masking.flush()
  }
}

const noKeys: readonly string[] = []

function upstreamRequest(
  exchange: Exchange,
  body: UpstreamRequest['body'],
  lingerMs: UpstreamRequest['lingerMs'],
): UpstreamRequest {
  const { parts, request, credentials, target, path } = exchange
  const key = firstKeyOf(target)
  const passed = requestHeaders(request.rawHeaders, {
    credential: credentials.kind === 'byok' ? undefined : [],
    withheld: parts.withheldHeaders,
    key: shownKey(credentials),
  })
  // A header of the client counts for the credential only if it passes.
  const isOurs = credentials.kind !== 'byok' && key !== undefined
  const credential = isOurs ? target.api.credentialHeaders(key, passed) : []
  return {
    origin: target.origin,
    path: target.basePath + path,
    method: request.method ?? 'GET',
    headers: [...passed, ...credential],
    body,
    limits: limitsOf(target),
    lingerMs,
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
