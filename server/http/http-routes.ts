/** Routes an HTTP request to the part of the process that serves the path. */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { isIPv4 } from 'node:net'
import type { Logger } from '../../shared/values/log.js'

/** A bridge daemon as mounted by a server, at `/bridge/…` and `/mcp/…`; each request arrives with its whole path. */
export interface MountedBridge {
  handler: (request: IncomingMessage, response: ServerResponse) => void
  /** whether the bridge can serve */
  ready: () => boolean
  /** the bridge's metrics, in Prometheus' text format */
  metrics?: () => Promise<string>
}

/** Options of {@link createRoutes}. */
export interface RoutesOptions {
  /** path prefix, ending with a slash → handler */
  mounts: Readonly<Record<string, RequestListener>>
  /** Returns each part's state by name; a process is ready if every state is `ok` or `none`. */
  readiness: () => Promise<Readonly<Record<string, string>>>
  /** texts of `/metrics`, concatenated, each in Prometheus' text format; undefined: no such path */
  metrics?: readonly (() => Promise<string>)[]
  /** handler of `/acp`; undefined: no such path */
  acp?: RequestListener
  /** handler of `/`; undefined: no such path */
  home?: RequestListener
  isClosing: () => boolean
  logger: Logger
}

/** The path of the RPC's WebSockets. */
export const rpcPath = '/rpc'

/** The path of the WebSockets of agents. */
export const agentPath = '/agent'

/** The path of clients of the Agent Client Protocol. */
export const acpPath = '/acp'

/** The path of the WebSockets of other servers. */
export const peerPath = '/peer'

const webSocketPaths: readonly string[] = [rpcPath, agentPath, peerPath]

/**
 * Creates the listener of a process.
 *
 * | path | response |
 * | --- | --- |
 * | `/` | the first steps, on a control plane |
 * | `/healthz` | 200 while the process lives |
 * | `/readyz` | 200 when every part is ready, else 503 with each part's state |
 * | `/metrics` | metrics, without authentication: numbers, names of providers, models and procedures; no user and no secret |
 * | `/acp` | the Agent Client Protocol, on a control plane |
 * | `/rpc`, `/agent`, `/peer` | 426 for requests without an upgrade |
 * | below a mount | the mounted handler's |
 */
export function createRoutes(options: RoutesOptions): RequestListener {
  const { mounts, metrics, home, acp, isClosing, logger } = options

  const route: RequestListener = (request, response) => {
    const path = pathOf(request)
    if (isClosing()) response.setHeader('connection', 'close')
    if (path === '/' && home) return home(request, response)
    if (path === acpPath && acp) return acp(request, response)
    if (path === '/healthz') return sendJson(response, 200, { status: 'ok' })
    if (path === '/readyz') return void sendReadiness(response, options)
    if (path === '/metrics' && metrics) return void sendMetrics(response, metrics, logger)
    if (webSocketPaths.includes(path)) {
      response.setHeader('upgrade', 'websocket')
      return sendJson(response, 426, { message: `${path} takes WebSockets only` })
    }
    // Clients join a base URL that ends with a slash to paths that begin with one.
    const mounted = path.replace(/^\/{2,}/, '/')
    for (const [prefix, listener] of Object.entries(mounts)) {
      if (mounted.startsWith(prefix)) return listener(request, response)
    }
    return sendJson(response, 404, { message: `not found: ${request.method} ${path}`, reason: 'not_found' })
  }

  return (request, response) => {
    // A client may leave at any moment; a later write then finds the stream destroyed.
    response.on('error', error => logger.debug({ err: error }, 'a response could not be written'))
    try {
      route(request, response)
    } catch (error) {
      logger.error({ err: error, path: pathOf(request) }, 'a request failed')
      if (response.headersSent) response.destroy()
      else sendJson(response, 500, { message: 'internal server error' })
    }
  }
}

/** Returns a listener for peers on this machine. Other peers get a 403. */
export function forThisMachine(listener: RequestListener, rejection: string): RequestListener {
  return (request, response) => {
    if (isThisMachine(request.socket.remoteAddress, request.socket.localAddress)) return listener(request, response)
    sendJson(response, 403, { message: rejection })
  }
}

function pathOf({ url = '/' }: IncomingMessage): string {
  const query = url.indexOf('?')
  return query < 0 ? url : url.slice(0, query)
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  const headers = { 'content-type': 'application/json', 'cache-control': 'no-store' }
  response.writeHead(status, status === 503 ? { ...headers, 'retry-after': '1' } : headers)
  response.end(JSON.stringify(body))
}

async function sendMetrics(
  response: ServerResponse,
  metrics: readonly (() => Promise<string>)[],
  logger: Logger,
): Promise<void> {
  try {
    const texts = await Promise.all(metrics.map(text => text()))
    // https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
    response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8', 'cache-control': 'no-store' })
    response.end(texts.join(''))
  } catch (error) {
    logger.error({ err: error }, 'the metrics could not be read')
    sendJson(response, 500, { message: 'internal server error' })
  }
}

async function sendReadiness(response: ServerResponse, { readiness, isClosing }: RoutesOptions): Promise<void> {
  const parts = await readiness()
  const draining = isClosing()
  const ready = !draining && Object.values(parts).every(state => state === 'ok' || state === 'none')
  sendJson(response, ready ? 200 : 503, { ready, ...parts, draining })
}

/**
 * Returns whether a peer's address, as given by a socket that was accepted at `local`, is an address of this machine:
 * loopback, or the very address that the peer called, which a TCP handshake proves.
 */
export function isThisMachine(peer: string | undefined, local: string | undefined): boolean {
  if (peer === undefined) return false
  const [from, to] = [peer, local].map(address => address?.replace(/^::ffff:/i, ''))
  return from === '::1' || (from !== undefined && isIPv4(from) && from.startsWith('127.')) || from === to
}
