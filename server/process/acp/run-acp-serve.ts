/** Serves a command that is an agent to clients elsewhere, until a signal. */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { acpServerLimits } from '../../../shared/acp/limits.js'
import { type AcpListener, serveAcp } from '../../acp/serve-acp.js'
import { acpServeConfig } from '../../config/config.js'
import { fileWarning } from '../../config/shown-config.js'
import type { Environment, Flags } from '../../config/sources.js'
import { openHttpFront } from '../../http/http-front.js'
import { ConnectionGroup } from '../../rpc/connection-group.js'
import { splitUrl } from '../../rpc/upgrade/upgrade-paths.js'
import { createLogger } from '../logger.js'
import { print, printJson } from '../output.js'
import { faultGraceMs, watchStopSignals } from '../stop-signals.js'
import { acpAuthenticator, readAcpKey } from './acp-key.js'
import { ChildAgents } from './child-agent.js'

const path = '/acp'

/**
 * Serves until the first SIGINT or SIGTERM, and returns the exit code: 0, or 1 after an uncaught exception. Every
 * connection has a child of its own, and each child has ended before this returns.
 * @throws RpcError if the server cannot start
 */
export async function runAcpServe(words: readonly string[], flags: Flags, environment: Environment): Promise<number> {
  const [command = '', ...args] = words
  const config = acpServeConfig(flags, environment)
  const given = await readAcpKey(config)
  const key = given ?? randomBytes(24).toString('base64url')
  const logger = createLogger({ level: config.logLevel, secrets: [key] })
  const warning = fileWarning(flags, environment)
  if (warning !== undefined) logger.warn({}, warning)
  const stop = watchStopSignals(logger)
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('BRIDGE_')))
  const children = new ChildAgents({ command, args, env, logger, maxChildren })
  const group = new ConnectionGroup()
  let acp: AcpListener | undefined
  const front = await openHttpFront({
    host: config.host,
    port: config.port,
    webSocketPaths: [path],
    listener(request, response) {
      if (splitUrl(request).path === path && acp) acp.handle(request, response)
      else sendNotFound(request, response)
    },
    logger,
  })
  acp = serveAcp({
    server: front.server,
    path,
    requests: 'leave',
    otherUpgrades: 'leave',
    // Bytes of HTTP/2 would bypass the connections that the front counts.
    http2: false,
    group,
    admit() {
      children.checkFree()
      return () => {}
    },
    agent: () => children.start(),
    authenticate: acpAuthenticator(key, logger),
    // One operator's server: all clients are one user.
    limits: { maxConnections: maxChildren, maxConnectionsPerUser: maxChildren },
    allowedOrigins: config.allowedOrigins,
    logger,
  })
  const url = `${front.url}${path}`
  if (flags.json) printJson({ url, ...(given === undefined && { key }) })
  else print(`aibridge acp listening at ${url}, key ${given === undefined ? key : 'as configured'}`)

  const cause = await stop.requested
  logger.info({ cause: cause.name, graceMs: config.graceMs }, 'stopping: open turns may end')
  const graceMs = cause.kind === 'fault' ? Math.min(config.graceMs, faultGraceMs) : config.graceMs
  await Promise.all([group.close({ graceMs }), front.close(graceMs)])
  await children.ended()
  logger.info({}, 'stopped')
  return cause.kind === 'fault' ? 1 : 0
}

/** Each connection is a process of 100 MiB and more. */
const maxChildren = acpServerLimits.maxConnectionsPerUser

function sendNotFound(_request: IncomingMessage, response: ServerResponse): void {
  const body = JSON.stringify({ message: `agents are served at ${path}`, reason: 'not_found' })
  response.writeHead(404, { 'content-type': 'application/json' }).end(body)
}
