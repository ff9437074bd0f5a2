/** The bridge's own answers: what a client, the log and the record are told of an error. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ProviderRegistry } from '../control-plane/provider-registry.js'
import { errorBodyForPath } from '../providers/apis.js'
import type { Failure } from '../providers/error-type.js'
import { UpstreamError } from '../relay/upstream-error.js'
import { Refusal, retryAfterSeconds } from '../wire/refusal.js'
import { ExchangeAborted } from './exchange.js'
import { type Mount, parseMount } from './mount.js'

/** Answers a request that cannot be served, in the error shape of the provider it is for. */
export function refuseExchange(
  providers: ProviderRegistry,
  request: IncomingMessage,
  response: ServerResponse,
  refusal: Refusal,
): void {
  refuse(response, errorBody(providers, parseMount(request.url ?? '')), refusal)
}

export function refuse(response: ServerResponse, errorBody: ErrorBody, refusal: Refusal): void {
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

type ErrorBody = (status: number, message: string) => string

export function errorBody(providers: ProviderRegistry, { providerName, path }: Mount): ErrorBody {
  const api = providers.peek(providerName)?.api
  return api ? api.errorBody : (status, message) => errorBodyForPath(path, status, message)
}

export function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error
  if (error instanceof ExchangeAborted) return new Refusal(503, error.message, { retryAfterSeconds, cause: error })
  if (!(error instanceof UpstreamError))
    return new Refusal(500, 'internal error of the bridge; its log has the cause', { cause: error })
  if (error.failure === 'aborted') return new Refusal(503, error.message, { retryAfterSeconds, cause: error })
  return new Refusal(error.timedOut ? 504 : 502, error.message, { cause: error })
}

/** What the log is told: the words of what networks and clients do, and of any other error where it comes from. */
export function describeError(error: unknown): object {
  const isExpected = error instanceof UpstreamError || error instanceof ExchangeAborted || error instanceof Refusal
  if (!isExpected) return { err: error }
  const { message, cause } = error
  return cause instanceof Error ? { reason: message, cause: cause.message } : { reason: message }
}

export function failureOf(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error)
  return { type: error instanceof UpstreamError && error.timedOut ? 'timeout' : 'unknown', message }
}
