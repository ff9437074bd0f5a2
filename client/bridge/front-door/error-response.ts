/** The bridge's own answers: what a client, the log and the record are told of an error. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ProviderRegistry } from '../control-plane/provider-registry.js'
import { errorBodyForPath } from '../providers/apis.js'
import type { Failure } from '../providers/error-type.js'
import { UpstreamError } from '../relay/upstream-error.js'
import { Rejection, retryAfterSeconds } from '../wire/rejection.js'
import { ExchangeAborted } from './exchange.js'
import { type Mount, parseMount } from './mount.js'

/** Answers a request that cannot be served, in the error shape of the provider it is for. */
export function rejectExchange(
  providers: ProviderRegistry,
  request: IncomingMessage,
  response: ServerResponse,
  rejection: Rejection,
): void {
  sendRejection(response, errorBody(providers, parseMount(request.url ?? '')), rejection)
}

export function sendRejection(response: ServerResponse, errorBody: ErrorBody, rejection: Rejection): void {
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  const body = Buffer.from(errorBody(rejection.status, rejection.message))
  const { retryAfterSeconds: seconds } = rejection
  response.writeHead(rejection.status, {
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

export function rejectionOf(error: unknown): Rejection {
  if (error instanceof Rejection) return error
  if (error instanceof ExchangeAborted) return new Rejection(503, error.message, { retryAfterSeconds, cause: error })
  if (!(error instanceof UpstreamError))
    return new Rejection(500, 'internal error of the bridge; its log has the cause', { cause: error })
  if (error.failure === 'aborted') return new Rejection(503, error.message, { retryAfterSeconds, cause: error })
  return new Rejection(error.timedOut ? 504 : 502, error.message, { cause: error })
}

/** What the log is told: the words of what networks and clients do, and of any other error where it comes from. */
export function describeError(error: unknown): object {
  const isExpected = error instanceof UpstreamError || error instanceof ExchangeAborted || error instanceof Rejection
  if (!isExpected) return { err: error }
  const { message, cause } = error
  return cause instanceof Error ? { reason: message, cause: cause.message } : { reason: message }
}

export function failureOf(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error)
  return { type: error instanceof UpstreamError && error.timedOut ? 'timeout' : 'unknown', message }
}
