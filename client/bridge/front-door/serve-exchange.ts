/** The front door: from a client's request to the provider's response, or to the bridge's own error response. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { admit } from './admission.js'
import type { InProcessCaller } from './credentials.js'
import { describeError, errorBody, rejectionOf, sendRejection } from './error-response.js'
import type { FrontDoorParts } from './exchange.js'
import { bridge, passThrough } from './forwarding.js'
import { parseMount } from './mount.js'

/**
 * Serves one request. Resolves when the client's connection has taken the response, or is closed, and all records are
 * in the outbox. Never rejects.
 * @param signal aborts the exchange; the caller also aborts it when the client disconnects
 * @param caller the caller in this process; without one the request's headers name the key
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
    const rejection = rejectionOf(error)
    const fields = { ...describeError(error), provider: mount.providerName, status: rejection.status }
    if (response.destroyed) parts.logger.info(fields, 'the client disconnected before the response began')
    else if (rejection.status >= 500) parts.logger.error(fields, 'a request failed')
    // The unread rest of a request body must not keep the connection busy.
    if (signal.aborted && !response.headersSent) response.setHeader('connection', 'close')
    sendRejection(response, errorBody(parts.providers, mount), rejection)
  }
}
