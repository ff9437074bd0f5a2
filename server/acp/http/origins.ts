/** Web pages that may call a server of agents: those of origins that its operator allows. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { acpError } from '../../../shared/acp/errors.js'
import type { ServeAcpOptions } from '../options.js'
import { connectionHeader } from './headers.js'

/**
 * Throws the rejection of a page of another origin; programs send no origin.
 * @throws RpcError `FORBIDDEN` (origin_not_allowed)
 */
export function checkOrigin(
  request: IncomingMessage,
  allowed: ServeAcpOptions['allowedOrigins'] = [],
): string | undefined {
  const { origin } = request.headers
  if (origin === undefined) return undefined
  const isAllowed = typeof allowed === 'function' ? allowed(origin, request) : allowed.includes(origin)
  if (!isAllowed) throw acpError('origin_not_allowed', 'web pages of this origin may not call the agent')
  return origin
}

/** Lets an allowed page read the response (https://fetch.spec.whatwg.org/#http-cors-protocol). */
export function allowOrigin(response: ServerResponse, origin: string): void {
  response.setHeader('access-control-allow-origin', origin)
  response.setHeader('access-control-allow-credentials', 'true')
  response.setHeader('access-control-expose-headers', connectionHeader)
  response.setHeader('vary', 'origin')
}

/** Responds to the question of a browser that precedes a page's request. */
export function sendPreflight(response: ServerResponse): void {
  response.setHeader('access-control-allow-methods', 'POST, GET, DELETE')
  response.setHeader(
    'access-control-allow-headers',
    'authorization, content-type, acp-connection-id, acp-session-id, acp-protocol-version, last-event-id',
  )
  response.setHeader('access-control-max-age', '7200')
  response.writeHead(204)
  response.end()
}
