/** Cross-origin requests of web pages (https://fetch.spec.whatwg.org/#http-cors-protocol). */
import type { IncomingMessage, ServerResponse } from 'node:http'

/**
 * Returns the headers of every response to a page of an allowed origin, names and values alternating; none for other
 * requests. Keys travel in headers that a page sets itself, so credentials of the browser are not allowed.
 */
export function corsHeaders({ headers: { origin } }: IncomingMessage, allowedOrigins: ReadonlySet<string>): string[] {
  if (origin === undefined || !allowedOrigins.has(origin)) return []
  return ['access-control-allow-origin', origin, 'access-control-expose-headers', '*', 'vary', 'Origin']
}

/** Returns whether a request is a preflight, by which a browser asks for permission, without a key. */
export function isPreflight({ method, headers }: IncomingMessage): boolean {
  return method === 'OPTIONS' && headers['access-control-request-method'] !== undefined
}

/** How long browsers may remember the response to a preflight, in seconds: two hours, Chromium's own limit. */
const maxAgeSeconds = 7_200

/** Responds to a preflight of an allowed origin: every method and header may be sent. */
export function allowPreflight({ headers }: IncomingMessage, response: ServerResponse, cors: string[]): void {
  const requested = headers['access-control-request-headers']
  response.writeHead(204, [
    ...cors,
    'access-control-allow-methods',
    'GET, HEAD, POST, DELETE',
    ...(requested === undefined ? [] : ['access-control-allow-headers', String(requested)]),
    'access-control-max-age',
    String(maxAgeSeconds),
  ])
  response.end()
}
