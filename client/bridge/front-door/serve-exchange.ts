/** The front door: from a client's request to the provider's response, or to the bridge's own error response. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { ExchangeAborted } from '../wire/exchange-aborted.js'
import { Rejection, type RejectionReason } from '../wire/rejection.js'
import { admit } from './admission.js'
import { corsHeaders } from './cors.js'
import type { InProcessCaller } from './credentials.js'
import { describeError, errorBody, rejectionOf, rpcErrorBody, sendRejection } from './error-response.js'
import type { Arrival, FrontDoorParts } from './exchange.js'
import { bridge, passThrough } from './forwarding.js'
import { serveMcp } from './mcp-forwarding.js'
import { parseMcpMount, parseMount } from './mount.js'
import { serveWithoutKey } from './without-key.js'

/**
 * Serves one request. Resolves when the client's connection has taken the response, or is closed, and all records are
 * in the outbox. Never rejects.
 * @param abort ends the exchange; the caller uses it when the client disconnects
 * @param caller the caller in this process; without one the request's headers name the key
 */
export async function serveExchange(
  parts: FrontDoorParts,
  request: IncomingMessage,
  response: ServerResponse,
  abort: AbortController,
  caller?: InProcessCaller,
): Promise<void> {
  const arrival: Arrival = {
    parts,
    request,
    response,
    abort,
    signal: abort.signal,
    caller,
    mount: parseMount(request.url ?? ''),
    mcpServer: parseMcpMount(request.url ?? ''),
    address: caller ? undefined : parts.readAddress(request),
    cors: corsHeaders(request, parts.allowedOrigins),
    startedAt: new Date(),
    arrivedAt: performance.now(),
  }
  try {
    if (serveWithoutKey(request, response, arrival.mount, arrival.cors, parts.limits.maxBodyBytes)) return
    if (arrival.mcpServer !== undefined) return await serveMcp(arrival)
    const { exchange, route } = await admit(arrival)
    if (route === 'passthrough') await passThrough(exchange)
    else await bridge(exchange, route)
  } catch (error) {
    reject(arrival, error)
  }
}

/** Reasons of requests that anybody can send. */
const needsNoKey: ReadonlySet<RejectionReason> = new Set(['no_key', 'too_many_guesses', 'websocket', 'loop'])

function reject(arrival: Arrival, error: unknown): void {
  const { parts, response, signal, mount, mcpServer, address, cors } = arrival
  const rejection = rejectionOf(error)
  const { status, reason } = rejection
  arrival.caller?.onRejection?.(reason)
  const place = mcpServer === undefined ? { provider: mount.providerName } : { server: mcpServer }
  const fields = { ...describeError(error), ...place, status, rejection: reason, address }
  // Failures of a provider belong to an interception, which counts them, and a client that left was not rejected.
  const isGone = error instanceof ExchangeAborted && error.by === 'client'
  if (reason !== 'provider_failed' && !isGone) parts.metrics.rejected(reason)
  const isLogged = !needsNoKey.has(reason) || parts.rejectionLog.admits(address)
  if (response.destroyed) parts.logger.info(fields, 'the client disconnected before the response began')
  else if (status >= 500 && isLogged) parts.logger.error(fields, 'a request failed')
  // The rejection of a key has its cause, and was logged with it.
  else if (error instanceof Rejection && error.cause === undefined && isLogged) {
    parts.logger.info(fields, 'a request was rejected')
  }
  // The unread rest of a request body must not keep the connection busy.
  const isCut = signal.reason instanceof ExchangeAborted
  if ((isCut || status === 408) && !response.headersSent) response.setHeader('connection', 'close')
  const body = mcpServer === undefined ? errorBody(parts.providers, mount) : rpcErrorBody(reason)
  sendRejection(response, body, rejection, cors)
}
