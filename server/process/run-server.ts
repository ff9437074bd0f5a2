/**
 * Starts the parts of a server, runs the server until a signal, and stops the parts in the order that loses no record.
 */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { Logger as PinoLogger } from 'pino'
import { connectAgent } from '../../client/agent-connection.js'
import { createBridgeMetrics } from '../../client/bridge/metrics/prometheus.js'
import type { OutboxRest } from '../../client/bridge/outbox/outbox.js'
import { createBridgeClient } from '../../client/bridge-client.js'
import { createChatModels } from '../../client/chats/chat-models.js'
import { connectPeer } from '../../client/peer-connection.js'
import { readCaFile } from '../config/ca-file.js'
import { type ServeConfig, serveConfig } from '../config/config.js'
import { secretFiles } from '../config/keys.js'
import { fileWarning } from '../config/shown-config.js'
import type { Environment, Flags } from '../config/sources.js'
import { createBridgeServer } from '../control-plane/server.js'
import { listen } from '../http/listen.js'
import { createServerMetrics } from '../metrics/prometheus.js'
import { openStore } from '../store/open/open-store.js'
import { buildVersion } from './build-version.js'
import { commandFor, firstSteps } from './first-steps.js'
import { createLogger } from './logger.js'
import { openDaemon } from './open-daemon.js'
import { hasLost } from './open-outbox.js'
import { print, printJson } from './output.js'
import { ensureSecrets, hasDatabase } from './secrets.js'
import { faultGraceMs, type StopSignal, watchStopSignals } from './stop-signals.js'

/**
 * Runs a server until the first SIGINT or SIGTERM, and returns the exit code: 0, or 1 after an uncaught exception. Such
 * an exception is an error of this program, after which the state of the process is unknown: the server logs the
 * exception, rejects new requests, hands over its records, and ends. The exit code is also 1 if the embedded database
 * has ended by itself, and if records were lost: neither handed over nor kept in the outbox.
 * @throws RpcError if the server cannot start; the parts that were opened until then are closed again
 */
export async function runServer(flags: Flags, environment: Environment): Promise<number> {
  const config = serveConfig(flags, environment)
  const logger = createLogger({ level: config.logLevel, secrets: secretsOf(config) })
  const warning = fileWarning(flags, environment)
  if (warning !== undefined) logger.warn({}, warning)
  const stop = watchStopSignals(logger)
  const server = await start(config, logger, stop, step => reportStep(step, flags, logger))
  if (!stop.cause) announce(server, config, flags)
  const { kind, name } = await stop.requested
  logger.info({ cause: name, graceMs: config.graceMs }, 'stopping: requests in flight may end')
  const rest = await server.close(kind === 'fault' ? Math.min(config.graceMs, faultGraceMs) : config.graceMs)
  logger.info({ left: rest.left, kept: rest.kept }, 'stopped')
  return kind === 'fault' || hasLost(rest) ? 1 : 0
}

/**
 * Reports a step that takes seconds, so that the start shows life at once: as text on a terminal, as a log line for
 * programs.
 */
function reportStep(step: string, flags: Flags, logger: PinoLogger): void {
  if (process.stderr.isTTY && !flags.json) process.stderr.write(`${step} …\n`)
  else logger.info({}, `starting: ${step}`)
}

function stepOf({ dataDir, databaseUrl }: ServeConfig): string {
  if (databaseUrl !== undefined) return 'connecting to the PostgreSQL database'
  return hasDatabase(dataDir)
    ? `opening the database in ${dataDir}`
    : `making a database in ${dataDir}, which takes some seconds`
}

/**
 * Returns the secrets of the configuration. The secrets of the data directory are read later, and the log never
 * receives them.
 */
function secretsOf({ adminToken, databaseUrl, seeds }: ServeConfig): (string | undefined)[] {
  const password = databaseUrl === undefined ? undefined : new URL(databaseUrl).password
  return [adminToken, password, ...seeds.map(({ key }) => key)]
}

interface RunningServer {
  url: string
  isFirstStart: boolean
  /** Resolves with the records that the bridge did not hand over. */
  close(graceMs: number): Promise<OutboxRest>
}

async function start(
  config: ServeConfig,
  logger: PinoLogger,
  stop: StopSignal,
  report: (step: string) => void,
): Promise<RunningServer> {
  const { dataDir, host, port, structuredLogging, databaseUrl } = config
  const isFirstStart = databaseUrl === undefined && !hasDatabase(dataDir)
  // Creating a database takes seconds and would waste the first start, so a busy port is found before.
  if (isFirstStart) await checkPort(config)
  const opened: ((graceMs: number) => Promise<unknown>)[] = []
  let rest: OutboxRest = { left: 0, kept: 0 }
  const close = async (graceMs: number): Promise<OutboxRest> => {
    const deadline = Date.now() + graceMs
    for (const closeOne of opened.splice(0).reverse()) await closeOne(Math.max(0, deadline - Date.now()))
    return rest
  }
  try {
    const peerTls = await readCaFile(config.peerCaFile, '--peer-ca')
    const secrets = await ensureSecrets({ ...config, logger })
    report(stepOf(config))
    // A new process opens an ended database again as after kill -9, or reports the cause.
    const onLost = (cause: Error) =>
      stop.fault('database', 'the embedded database has ended, and the server ends with it; start it again', cause)
    const store = await openStore(
      databaseUrl === undefined
        ? { dataDir, logger, onLost }
        : { databaseUrl, maxConnections: config.databasePool, logger },
    )
    opened.push(() => store.close())
    const { seeds, retentionDays } = config
    const server = await createBridgeServer({
      store,
      config: {
        ...secrets,
        encryptionKeysSource: config.encryptionKeys
          ? 'BRIDGE_ENCRYPTION_KEY'
          : join(dataDir, secretFiles.encryptionKey),
        structuredLogging,
        recordsContent: config.recordContent,
        acpDefaults: { provider: config.acpProvider, model: config.acpModel },
        allowedOrigins: config.allowedOrigins,
        buildVersion: buildVersion(),
        seeds,
        retentionDays,
        advertiseUrl: config.advertiseUrl,
        trustedProxies: config.trustedProxies,
        listCommand: url => commandFor('interceptions list', url, dataDir),
      },
      logger,
      metrics: createServerMetrics(),
      connectAgent,
      connectPeer: dial => connectPeer({ ...dial, tls: peerTls }),
    })
    opened.push(graceMs => server.close({ graceMs }))
    const daemonInstance = randomUUID()
    const identity = { role: 'daemon', name: 'embedded', delegate: true, daemonInstance } as const
    const metrics = createBridgeMetrics({ version: buildVersion() })
    const client = createBridgeClient({
      dial: () => server.connectInMemory({ identity }),
      onCallEnd: metrics.callEnded,
    })
    metrics.watchConnection(client.connection)
    opened.push(() => client.close())
    const daemon = await openDaemon(config, { client, daemonInstance, logger, metrics })
    const chats = server.runChats({ models: createChatModels({ daemon }) })
    // Last in, first out: the daemon hands over its records while the server still accepts them. The calls of chats in
    // flight end with the daemon's requests, in the same grace.
    opened.push(async graceMs => {
      const [, left] = await Promise.all([chats.close({ graceMs }), daemon.close({ graceMs })])
      rest = left
    })
    if (stop.cause) return { url: '', isFirstStart, close }
    const bridge = { handler: daemon.handler, ready: daemon.ready, metrics: metrics.text }
    const { url } = await server.listen({ host, port, bridge })
    return { url, isFirstStart, close }
  } catch (error) {
    await close(0).catch((cause: unknown) => logger.error({ err: cause }, 'closing after a failed start failed too'))
    throw error
  }
}

function announce(server: RunningServer, config: ServeConfig, flags: Flags): void {
  const { url, isFirstStart } = server
  const place = config.databaseUrl === undefined ? `data in ${config.dataDir}` : 'data in PostgreSQL'
  if (flags.json) printJson({ url, dataDir: config.dataDir })
  else if (isFirstStart) {
    const { dataDir, seeds, adminToken } = config
    const seeded = seeds.map(({ type }) => type)
    print(firstSteps({ url, dataDir, seeded, isTokenInEnvironment: adminToken !== undefined }))
  } else print(`aibridge ready at ${url}, ${place}`)
}

async function checkPort({ host, port }: ServeConfig): Promise<void> {
  const probe = createServer()
  await listen(probe, { host, port })
  await new Promise(resolve => probe.close(resolve))
}
