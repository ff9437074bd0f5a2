/**
 * Starts the parts of a remote daemon, runs the daemon until a signal or a final rejection by the control plane, and
 * stops the parts.
 */
import { randomUUID } from 'node:crypto'
import type { Logger as PinoLogger } from 'pino'
import type { BridgeDaemon } from '../../client/bridge/daemon.js'
import { createBridgeMetrics, type PrometheusBridgeMetrics } from '../../client/bridge/metrics/prometheus.js'
import type { OutboxRest } from '../../client/bridge/outbox/outbox.js'
import { type BridgeClient, createBridgeClient } from '../../client/bridge-client.js'
import { DialError } from '../../shared/rpc/dial-error.js'
import type { CloseReason } from '../../shared/rpc/duplex.js'
import { type ErrorCode, RpcError } from '../../shared/rpc/errors.js'
import { readCaFile } from '../config/ca-file.js'
import { type DaemonConfig, daemonConfig } from '../config/config.js'
import { fileWarning } from '../config/shown-config.js'
import type { Environment, Flags } from '../config/sources.js'
import { type HttpFront, openHttpFront } from '../http/http-front.js'
import { createRoutes } from '../http/http-routes.js'
import { createProcessMetrics } from '../metrics/prometheus.js'
import { buildVersion } from './build-version.js'
import { dialProblem } from './dial-problem.js'
import { createLogger } from './logger.js'
import { openDaemon } from './open-daemon.js'
import { hasLost } from './open-outbox.js'
import { print, printJson } from './output.js'
import { faultGraceMs, watchStopSignals } from './stop-signals.js'

/**
 * Runs a bridge until the first SIGINT or SIGTERM, and returns the exit code: 0, or 1 after an uncaught exception or if
 * records were lost: neither handed over nor kept in the outbox.
 * @throws RpcError if the daemon cannot start; `UNAUTHORIZED` or `FORBIDDEN` with the control plane's reason if the
 *   control plane rejects or revokes the key, after the requests in flight have ended
 */
export async function runDaemon(flags: Flags, environment: Environment): Promise<number> {
  const config = daemonConfig(flags, environment)
  const logger = createLogger({ level: config.logLevel })
  const warning = fileWarning(flags, environment)
  if (warning !== undefined) logger.warn({}, warning)
  const stop = watchStopSignals(logger)
  const metrics = createBridgeMetrics({ version: buildVersion() })
  const daemonInstance = randomUUID()
  const client = await createClient(config, daemonInstance, logger, metrics)
  let daemon: BridgeDaemon
  try {
    daemon = await openDaemon(config, { client, daemonInstance, logger, metrics })
  } catch (error) {
    await client.close()
    throw error
  }
  let front: HttpFront | undefined
  const close = async (graceMs: number): Promise<OutboxRest> => {
    const [rest] = await Promise.all([daemon.close({ graceMs }), front?.close(graceMs)])
    await client.close()
    return rest
  }
  try {
    front = await openHttpFront({
      host: config.host,
      port: config.port,
      listener: createRoutes({
        mounts: { '/bridge/': daemon.handler, '/mcp/': daemon.handler },
        metrics: [createProcessMetrics().text, metrics.text],
        readiness: () => readinessOf(client, daemon),
        isClosing: () => stop.cause !== undefined || client.connection.state === 'closed',
        logger,
      }),
      logger,
    })
  } catch (error) {
    await close(0)
    throw error
  }
  if (flags.json) printJson({ url: front.url, controlPlane: config.url })
  else print(`aibridge daemon listening at ${front.url}, control plane ${config.url}`)

  const cause = await Promise.race([stop.requested, client.closed])
  if ('code' in cause) {
    logger.error(
      { reason: cause.reason, code: cause.code },
      `stopping: the control plane rejects this daemon: ${cause.message}`,
    )
    await close(Math.min(config.graceMs, faultGraceMs))
    throw rejectedBy(cause)
  }
  logger.info({ cause: cause.name, graceMs: config.graceMs }, 'stopping: requests in flight may end')
  const rest = await close(cause.kind === 'fault' ? Math.min(config.graceMs, faultGraceMs) : config.graceMs)
  logger.info({ left: rest.left, kept: rest.kept }, 'stopped')
  return cause.kind === 'fault' || hasLost(rest) ? 1 : 0
}

/** A slower control plane counts as not responding. */
const readyTimeoutMs = 5_000

/** Returns the states of a daemon's parts. A daemon is ready where its requests can be recorded. */
export async function readinessOf(
  { connection, recorder }: Pick<BridgeClient, 'connection' | 'recorder'>,
  daemon: Pick<BridgeDaemon, 'ready'>,
): Promise<{ controlPlane: string; store: string; bridge: string }> {
  const { state } = connection
  return {
    controlPlane: state === 'open' ? 'ok' : state,
    store: state === 'open' && (await isStoreWritable(recorder)) ? 'ok' : 'does not answer',
    bridge: daemon.ready() ? 'ok' : 'not ready',
  }
}

async function isStoreWritable(recorder: BridgeClient['recorder']): Promise<boolean> {
  try {
    return (await recorder.ready.query(undefined, { signal: AbortSignal.timeout(readyTimeoutMs) })).isWritable
  } catch {
    return false // the state says enough, and the link to the control plane is logged
  }
}

async function createClient(
  { url, key, caFile }: DaemonConfig,
  daemonInstance: string,
  logger: PinoLogger,
  metrics: PrometheusBridgeMetrics,
): Promise<BridgeClient> {
  const tls = await readCaFile(caFile)
  let lastProblem = ''
  const client = createBridgeClient({
    url,
    key,
    buildVersion: buildVersion(),
    daemonInstance,
    onCallEnd: metrics.callEnded,
    ...(tls && { tls }),
    onError(error) {
      // The daemon stops, and says so once.
      if (error instanceof DialError && error.fatal) return
      const problem = error instanceof DialError ? dialProblem(error, url, 'the daemon dials again') : error.message
      // A control plane that is away for an hour is one line, not thousands.
      const level = problem === lastProblem ? 'debug' : 'warn'
      logger[level]({ err: error, problem }, 'the link to the control plane failed')
      lastProblem = problem
    },
  })
  metrics.watchConnection(client.connection)
  client.connection.onStateChange(state => {
    if (state === 'open') {
      lastProblem = ''
      logger.info({ url }, 'connected to the control plane')
    }
  })
  return client
}

const codesOfReasons: Readonly<Record<string, ErrorCode>> = {
  key_missing: 'UNAUTHORIZED',
  key_invalid: 'UNAUTHORIZED',
  key_expired: 'UNAUTHORIZED',
  key_revoked: 'FORBIDDEN',
}

function rejectedBy({ message, reason }: CloseReason): RpcError<string> {
  const code = codesOfReasons[reason ?? ''] ?? 'PRECONDITION_FAILED'
  return new RpcError<string>(code, `the control plane rejects this daemon: ${message}`, { reason })
}
