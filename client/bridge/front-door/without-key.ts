/**
 * Requests that are served without a key, and without a provider. They disclose nothing, not even names of providers.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { loopHeader } from '../wire/headers.js'
import { loopRejection, Rejection } from '../wire/rejection.js'
import { dropRest } from './body/request-body.js'
import { allowPreflight, isPreflight } from './cors.js'
import { apiPath, type Mount } from './mount.js'

/**
 * Serves a request that needs no key: a preflight, a probe by which Claude Code warms up its connection (`HEAD /`,
 * `HEAD /api/hello`), or its own telemetry, which is not sent on. Returns whether the request was one of these.
 * @param cors the headers for an allowed origin, as `corsHeaders` returns them
 * @throws Rejection 508 for a request of a bridge, 426 for an upgrade to a WebSocket
 */
export function serveWithoutKey(
  request: IncomingMessage,
  response: ServerResponse,
  mount: Mount,
  cors: string[],
  maxBodyBytes: number,
): boolean {
  rejectLoop(request)
  rejectUpgrade(request)
  if (isPreflight(request) && cors.length > 0) {
    allowPreflight(request, response, cors)
    return true
  }
  if (mount.providerName === '') return false
  const path = apiPath(mount.path, '/v1')
  if (request.method === 'HEAD' && (path === '' || path === '/api/hello')) {
    response.writeHead(200, cors).end()
    return true
  }
  if (request.method === 'POST' && path.startsWith('/api/event_logging/')) {
    dropRest(request, maxBodyBytes)
    response.writeHead(200, [...cors, 'content-type', 'application/json', 'content-length', '2']).end('{}')
    return true
  }
  return false
}

/** A provider whose base URL leads back to a bridge would be called again and again. */
function rejectLoop({ headers }: IncomingMessage): void {
  if (headers[loopHeader] === undefined) return
  throw loopRejection('this request comes from an aibridge')
}

/** Codex asks for a WebSocket first, and falls back to HTTP at once on 426 only. */
function rejectUpgrade({ headers }: IncomingMessage): void {
  if (headers.upgrade?.toLowerCase() !== 'websocket') return
  throw new Rejection(426, 'websocket', 'WebSockets are not supported: send the request over HTTP')
}
