/** The front door: from a client's request to the provider's answer, or to the bridge's own where it refuses. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { admit } from './admission.js'
import type { InProcessCaller } from './credentials.js'
import { describeError, errorBody, rejectionOf, sendRejection } from './error-response.js'
import type { FrontDoorParts } from './exchange.js'
import { bridge, passThrough } from './forwarding.js'
import { parseMount } from './mount.js'

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
    const rejection = rejectionOf(error)
    const fields = { ...describeError(error), provider: mount.providerName, status: rejection.status }
    if (response.destroyed) parts.logger.info(fields, 'the client disconnected before the response began')
    else if (rejection.status >= 500) parts.logger.error(fields, 'a request failed')
    // The rest of a body that nobody waits for must not keep the connection busy.
    if (signal.aborted && !response.headersSent) response.setHeader('connection', 'close')
    sendRejection(response, errorBody(parts.providers, mount), rejection)
  }
}
