/** Runs a workspace agent until a signal or a final rejection by the control plane. */
import { statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import type { Logger as PinoLogger } from 'pino'
import { ProcessTable } from '../../client/agent/process-table.js'
import { agentDial } from '../../client/agent-dial.js'
import { finalCloseCodes } from '../../shared/contract/close-codes.js'
import { DialError } from '../../shared/rpc/dial-error.js'
import type { CloseReason } from '../../shared/rpc/duplex.js'
import { type ErrorCode, RpcError } from '../../shared/rpc/errors.js'
import { readCaFile } from '../config/ca-file.js'
import { type AgentConfig, agentConfig, agentKeyProblem, isAgentKey } from '../config/config.js'
import { invalid } from '../config/config-error.js'
import { fileWarning } from '../config/shown-config.js'
import type { Environment, Flags } from '../config/sources.js'
import { processRouter } from '../routers/process.js'
import { serveDial } from '../rpc/serve-dial.js'
import { buildVersion } from './build-version.js'
import { dialProblem } from './dial-problem.js'
import { createLogger } from './logger.js'
import { print, printJson } from './output.js'
import { faultGraceMs, watchStopSignals } from './stop-signals.js'

/**
 * Runs an agent until the first SIGINT or SIGTERM, and returns the exit code: 0, or 1 after an uncaught exception. Its
 * commands end with it.
 * @throws RpcError if the agent cannot start; with the control plane's reason if that rejects or revokes the key, or
 *   another process uses it
 */
export async function runAgent(flags: Flags, environment: Environment): Promise<number> {
  const config = agentConfig(flags, environment)
  const key = await readKey(config)
  const tls = await readCaFile(config.caFile)
  const logger = createLogger({ level: config.logLevel, secrets: [key] })
  const warning = fileWarning(flags, environment)
  if (warning !== undefined) logger.warn({}, warning)
  if (!statSync(config.dir, { throwIfNoEntry: false })?.isDirectory())
    throw invalid(`dir: ${config.dir} is no directory`)
  const stop = watchStopSignals(logger)
  const table = new ProcessTable({ dir: config.dir, env: process.env, buildVersion: buildVersion() })
  const { instanceId: instance } = await table.info()
  const service = serveDial({
    dial: agentDial({ url: config.url, key, instance, buildVersion: buildVersion(), ...(tls && { tls }) }),
    router: processRouter(table),
    finalCloseCodes,
    onDialError: reporterOf(config.url, logger),
  })
  service.onStateChange(state => {
    if (state === 'open') logger.info({ url: config.url }, 'connected to the control plane')
  })
  // The ends of commands are the responses of the calls that wait for them.
  const close = async (graceMs: number) => void (await Promise.all([table.close(), service.close({ graceMs })]))
  if (flags.json) printJson({ controlPlane: config.url, instance, dir: config.dir })
  else print(`aibridge agent ready at ${config.dir}, control plane ${config.url}`)

  const cause = await Promise.race([stop.requested, service.closed])
  if ('code' in cause) {
    const { reason, code, message } = cause
    logger.error({ reason, code }, `stopping: the control plane rejects this agent: ${message}`)
    await close(faultGraceMs)
    throw rejectedBy(cause)
  }
  logger.info({ cause: cause.name, graceMs: config.graceMs }, 'stopping: the commands are ended')
  await close(cause.kind === 'fault' ? Math.min(config.graceMs, faultGraceMs) : config.graceMs)
  return cause.kind === 'fault' ? 1 : 0
}

/** Reads the key from where the configuration says: itself, a file, or stdin. */
async function readKey({ key, keyFile }: AgentConfig): Promise<string> {
  if (key !== undefined && key !== '-') return key
  const source = keyFile ?? 'stdin'
  const given =
    keyFile === undefined ? await text(process.stdin) : await readFile(keyFile, 'utf8').catch(() => undefined)
  if (given === undefined) throw invalid(`keyFile: ${keyFile} cannot be read`)
  const found = given.trim()
  if (!isAgentKey(found)) throw invalid(`the key of ${source} ${agentKeyProblem}`)
  return found
}

function reporterOf(url: string, logger: PinoLogger): (error: Error) => void {
  let lastProblem = ''
  return error => {
    // The agent stops, and says so once.
    if (error instanceof DialError && error.fatal) return
    const problem = error instanceof DialError ? dialProblem(error, url, 'the agent dials again') : error.message
    // A control plane that is away for an hour is one line, not thousands.
    logger[problem === lastProblem ? 'debug' : 'warn']({ err: error, problem }, 'the link to the control plane failed')
    lastProblem = problem
  }
}

const codesOfReasons: Readonly<Record<string, ErrorCode>> = {
  key_missing: 'UNAUTHORIZED',
  key_invalid: 'UNAUTHORIZED',
  key_expired: 'UNAUTHORIZED',
  key_revoked: 'FORBIDDEN',
  replaced: 'FORBIDDEN',
}

function rejectedBy({ message, reason }: CloseReason): RpcError<string> {
  const code = codesOfReasons[reason ?? ''] ?? 'PRECONDITION_FAILED'
  return new RpcError<string>(code, `the control plane rejects this agent: ${message}`, { reason })
}
