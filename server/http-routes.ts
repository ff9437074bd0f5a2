/** Which part of the server answers an HTTP request. */
import { createHash, randomUUID, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { isIPv4 } from 'node:net'
import { nodeHTTPRequestHandler } from '@trpc/server/adapters/node-http'
import { RpcError } from '../shared/errors.js'
import { messageTooLarge } from '../shared/json-copy.js'
import { connectionLimits } from '../shared/limits.js'
import type { Logger } from '../shared/log.js'
import { createDemoProvider } from './demo-provider.js'
import { appRouter } from './routers/app.js'
import type { Context } from './routers/trpc.js'
import type { ErrorReport } from './rpc/answers.js'
import { errorShape, toTrpcError } from './rpc/error-shape.js'
import type { Services } from './services/services.js'

/** A bridge daemon as the server mounts it, at `/bridge/…`; it gets each request with its whole path. */
export interface MountedBridge {
  handler: (request: IncomingMessage, response: ServerResponse) => void
  /** whether it can serve */
  ready: () => boolean
}

export interface RoutesOptions {
  services: Services
  adminToken: string
  bridge: MountedBridge | undefined
  /** rejects when the store does not answer */
  ping: () => Promise<void>
  isClosing: () => boolean
  onError: (report: ErrorReport) => void
  logger: Logger
}

/** The base URL of the provider `demo`, on this server. */
export const demoMount = '/demo'

/**
 * | path | |
 * | --- | --- |
 * | `/healthz` | 200 while the process lives |
 * | `/readyz` | 200 when the store answers and the bridge is ready, else 503 with what is not |
 * | `/rpc/PROCEDURE` | tRPC's HTTP protocol, with the admin token |
 * | `/bridge/…` | the bridge |
 * | `/demo/…` | the demo provider, for this machine only |
 */
export function createRoutes(options: RoutesOptions): RequestListener {
  const { bridge, isClosing, logger } = options
  const demo = createDemoProvider(demoMount)
  const isAdminToken = secretComparer(options.adminToken)

  const route: RequestListener = (request, response) => {
    const path = pathOf(request)
    if (isClosing()) response.setHeader('connection', 'close')
    if (path === '/healthz') return sendJson(response, 200, { status: 'ok' })
    if (path === '/readyz') return sendReadiness(response, options)
    if (path.startsWith('/rpc/')) return serveRpc(request, response, path.slice('/rpc/'.length), isAdminToken, options)
    if (path.startsWith(`${demoMount}/`)) {
      if (isThisMachine(request.socket.remoteAddress, request.socket.localAddress)) return demo(request, response)
      return sendJson(response, 403, { message: 'the demo provider answers this machine only' })
    }
    if (bridge && path.startsWith('/bridge/')) return bridge.handler(request, response)
    return sendJson(response, 404, { message: `not found: ${request.method} ${path}`, reason: 'not_found' })
  }

  return (request, response) => {
    // A client may leave at any moment; whoever writes then sees the stream destroyed.
    response.on('error', error => logger.debug({ err: error }, 'an answer could not be written'))
    try {
      route(request, response)
    } catch (error) {
      logger.error({ err: error, path: pathOf(request) }, 'a request failed')
      if (response.headersSent) response.destroy()
      else sendJson(response, 500, { message: 'internal server error' })
    }
  }
}

function pathOf({ url = '/' }: IncomingMessage): string {
  const query = url.indexOf('?')
  return query < 0 ? url : url.slice(0, query)
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
  response.end(JSON.stringify(body))
}

// ── readiness ──

/** A database that takes longer does not count as answering. */
const pingTimeoutMs = 5_000

function sendReadiness(response: ServerResponse, { ping, bridge, isClosing, logger }: RoutesOptions): void {
  const bridgeState = !bridge ? 'none' : bridge.ready() ? 'ok' : 'not ready'
  const send = (store: 'ok' | 'does not answer') => {
    const draining = isClosing()
    const ready = store === 'ok' && bridgeState !== 'not ready' && !draining
    sendJson(response, ready ? 200 : 503, { ready, store, bridge: bridgeState, draining })
  }
  within(pingTimeoutMs, ping()).then(
    () => send('ok'),
    (error: unknown) => {
      logger.warn({ err: error }, 'the store does not answer')
      send('does not answer')
    },
  )
}

async function within(timeoutMs: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
  })
  try {
    await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

// ── RPC over HTTP, for admins ──

function serveRpc(
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  isAdminToken: (token: string) => boolean,
  { services, onError }: RoutesOptions,
): void {
  const requestId = randomUUID()
  const context: Context = { identity: { role: 'admin', name: 'admin' }, services, requestId }
  const refused = refusal(request, isAdminToken)
  if (refused) {
    const error = toTrpcError(refused)
    const shape = errorShape(appRouter, error, context, undefined, requestId)
    const { transformer } = appRouter._def._config
    onError({ error, requestId, type: 'unknown', path })
    sendJson(response, statusOf(shape), { error: transformer.output.serialize(shape) })
    return
  }
  // Its promise never rejects, and does not resolve when the client leaves; nobody waits for it.
  void nodeHTTPRequestHandler({
    router: appRouter,
    req: request,
    res: response,
    path,
    createContext: async () => context,
    maxBodySize: connectionLimits.maxMessageBytes,
    onError: ({ error, type, path }) => onError({ error: toTrpcError(error), requestId, type, path }),
  })
}

/** Why a request is not let in; undefined if it is. */
function refusal({ headers }: IncomingMessage, isAdminToken: (token: string) => boolean): RpcError | undefined {
  // Browsers name the page that makes a request; none has a reason to call this.
  if (headers.origin !== undefined) {
    return new RpcError('FORBIDDEN', 'requests with an Origin header are not accepted', {
      reason: 'origin_not_allowed',
    })
  }
  if (headers.authorization === undefined) {
    return new RpcError('UNAUTHORIZED', 'the header Authorization: Bearer ADMIN_TOKEN is missing', {
      reason: 'key_missing',
    })
  }
  const [, token] = /^Bearer +(\S+)$/i.exec(headers.authorization) ?? []
  if (token === undefined || !isAdminToken(token)) {
    return new RpcError('UNAUTHORIZED', 'the admin token is not valid', { reason: 'key_invalid' })
  }
  const bytes = Number(headers['content-length'] ?? 0)
  const { maxMessageBytes } = connectionLimits
  return bytes > maxMessageBytes ? messageTooLarge(bytes, maxMessageBytes) : undefined
}

function statusOf(shape: unknown): number {
  const data: unknown = Reflect.get(Object(shape), 'data')
  const status: unknown = Reflect.get(Object(data), 'httpStatus')
  return typeof status === 'number' ? status : 500
}

/** Compares hashes, which have one length: the time tells nothing about the secret, nor about its length. */
function secretComparer(secret: string): (given: string) => boolean {
  const expected = sha256(secret)
  return given => timingSafeEqual(sha256(given), expected)
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

// ── the demo provider's peers ──

/**
 * Whether a peer's address, as a socket that was accepted at `local` gives it, is one of this machine: loopback, or the very address that it has
 * called, which a TCP handshake proves.
 */
export function isThisMachine(peer: string | undefined, local: string | undefined): boolean {
  if (peer === undefined) return false
  const [from, to] = [peer, local].map(address => address?.replace(/^::ffff:/i, ''))
  return from === '::1' || (from !== undefined && isIPv4(from) && from.startsWith('127.')) || from === to
}
