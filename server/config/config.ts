/** The configuration of each command, made from its settings. */
import { join } from 'node:path'
import type { ProviderSeed } from '../services/admin/providers/provider-seeds.js'
import { checkSettings } from './check.js'
import { invalid } from './config-error.js'
import { parseEncryptionKeys } from './keys.js'
import { seedsFrom } from './provider-seeds.js'
import {
  type Address,
  acpConnectSettings,
  acpServeSettings,
  agentSettings,
  clientSettings,
  daemonSettings,
  databaseSettings,
  defaultAddress,
  type logLevels,
  serveSettings,
  userSettings,
} from './settings.js'
import { type Environment, type Flags, readSources } from './sources.js'

type LogLevel = (typeof logLevels)[number]

/** The configuration of the front door of a bridge. */
export interface DoorConfig {
  /** from the request until the provider's status line; 0: no limit */
  firstByteTimeoutMs: number
  /** silence inside a response; 0: no limit */
  idleTimeoutMs: number
  /** body of one request */
  maxBodyBytes: number
  /** bodies of all requests in flight */
  maxTotalBodyBytes: number
  /** for each further 16 KiB of a request; 0: no limit */
  bodyTimeoutMs: number
  /** without progress of a client that has a response to take */
  clientTimeoutMs: number
  /** one call of an injected tool */
  mcpCallTimeoutMs: number
  /** names of request headers that reach no provider; `*` at the end stands for any end */
  withheldHeaders: readonly string[]
  /** origins of web pages that may call */
  allowedOrigins: readonly string[]
  /** addresses and networks of proxies whose forwarding headers count */
  trustedProxies: readonly string[]
}

/** The configuration of a bridge's outbox. */
export interface OutboxConfig {
  /** absolute path; undefined: in memory */
  outboxFolder: string | undefined
  /** when records are synced to the disk */
  outboxFsync: 'always' | 'interval' | 'never'
}

/** The configuration of `serve`. */
export interface ServeConfig extends Address, DoorConfig, OutboxConfig {
  logLevel: LogLevel
  /** how long requests in flight may run on after a signal */
  graceMs: number
  /** each record is also a log line */
  structuredLogging: boolean
  /** whether the bridge records prompts, inputs of tools and thoughts */
  recordContent: boolean
  /** a PostgreSQL database, with its password; undefined: the embedded store in the data directory */
  databaseUrl: string | undefined
  /** connections to that database */
  databasePool: number
  /** base URL at which the other servers of the database reach this one; undefined: they do not */
  advertiseUrl: string | undefined
  /** absolute path of the file of the authority that signs the other servers' certificates; undefined: the system's */
  peerCaFile: string | undefined
  /** provider and model of sessions of the Agent Client Protocol whose client names none */
  acpProvider: string
  acpModel: string
  /** age in days from which interceptions are erased; 0: never */
  retentionDays: number
  /** `ANTHROPIC_API_KEY` and the like: the providers of a new database */
  seeds: ProviderSeed[]
  /** undefined: the file in the data directory */
  adminToken: string | undefined
  /** 32 bytes each; the first one seals; undefined: the file in the data directory */
  encryptionKeys: Uint8Array[] | undefined
}

/** The configuration of `daemon`. */
export interface DaemonConfig extends Pick<Address, 'host' | 'port'>, DoorConfig, OutboxConfig {
  /** base URL of the control plane */
  url: string
  /** the daemon key */
  key: string
  /** absolute path of a certificate authority's file, PEM; undefined: the system's authorities */
  caFile: string | undefined
  logLevel: LogLevel
  /** how long requests in flight may run on after a signal */
  graceMs: number
  /** whether prompts, inputs of tools and thoughts are recorded */
  recordContent: boolean
}

/** The configuration of `agent`. */
export interface AgentConfig {
  /** base URL of the control plane */
  url: string
  /** the key, or `-` for stdin; undefined: that of `keyFile` */
  key: string | undefined
  /** absolute path */
  keyFile: string | undefined
  /** absolute path of the directory of commands that name none */
  dir: string
  /** absolute path of a certificate authority's file, PEM; undefined: the system's authorities */
  caFile: string | undefined
  logLevel: LogLevel
  graceMs: number
}

/** How a command reaches a running server. */
export interface ClientConfig extends Address {
  /** base URL of the server */
  url: string
  /** true: `url` is a setting; false: made of host and port */
  isUrlGiven: boolean
  /** absolute path of a certificate authority's file, PEM; undefined: the system's authorities */
  caFile: string | undefined
  /** undefined: the file in the data directory */
  adminToken: string | undefined
}

/** How a command of a user reaches a running server. */
export interface UserConfig extends Omit<ClientConfig, 'adminToken'> {
  /** the key, or `-` for stdin; undefined: that of `keyFile` */
  key: string | undefined
  /** absolute path */
  keyFile: string | undefined
}

/**
 * Returns the configuration of a command that calls a server. A URL takes the place of host and port. Flags win over
 * variables: `--port` wins over `BRIDGE_URL`.
 * @throws RpcError `BAD_REQUEST` (config_invalid) with every problem at once, without a secret; also if `--url` stands
 *   beside `--host` or `--port`
 */
export function clientConfig(flags: Flags, environment: Environment): ClientConfig {
  const { values, sources } = checkSettings(clientSettings, { flags, environment })
  const { data: dataDir, ca: caFile, adminToken } = values
  return { dataDir, ...placeOf(values, sources), caFile, adminToken }
}

/**
 * Returns the configuration of a command that calls a server for a user, found as that of {@link clientConfig}.
 * @throws RpcError `BAD_REQUEST` (config_invalid) with every problem at once, without a secret; also without a key
 */
export function userConfig(flags: Flags, environment: Environment): UserConfig {
  const { values, sources } = checkSettings(userSettings, { flags, environment })
  const { ca: caFile, key, keyFile } = values
  if (key === undefined && keyFile === undefined) {
    throw invalid('AIBRIDGE_KEY: is missing; an operator makes an API key with: aibridge keys create')
  }
  const address = { dataDir: defaultAddress.dataDir, ...placeOf(values, sources) }
  return { ...address, caFile, ...oneKey({ key, keyFile }, flags) }
}

/** The place of a server on the network: a URL, or a host and a port. */
function placeOf(
  { host, port, url }: { host: string; port: number; url?: string | undefined },
  sources: Readonly<Record<'host' | 'port' | 'url', string | undefined>>,
): Pick<ClientConfig, 'host' | 'port' | 'url' | 'isUrlGiven'> {
  const placeFlags = [sources.host, sources.port].filter(source => source?.startsWith('--'))
  if (sources.url === '--url' && placeFlags.length > 0) {
    throw invalid(`--url and ${placeFlags.join(' and ')}: both say where the server is; leave one of them out`)
  }
  const isUrlGiven = url !== undefined && placeFlags.length === 0
  return { host, port, url: isUrlGiven ? url : urlOf({ host, port }), isUrlGiven }
}

/** Returns the base URL of a server on this host and port. */
export function urlOf({ host, port }: Pick<Address, 'host' | 'port'>): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}

/**
 * Returns the configuration of `serve`. A flag wins over its variable, and the variable over the file that `--config`
 * or `BRIDGE_CONFIG` names.
 * @throws RpcError `BAD_REQUEST` (config_invalid) with every problem at once, without a secret
 */
export function serveConfig(flags: Flags, environment: Environment): ServeConfig {
  const { values } = checkSettings(serveSettings, readSources(flags, environment))
  const {
    data: dataDir,
    structuredLogging,
    content,
    encryptionKey,
    databaseUrl,
    adminToken,
    outbox,
    peerCa,
    ...rest
  } = values
  if (databaseUrl !== undefined && encryptionKey === undefined) {
    throw invalid(
      'BRIDGE_ENCRYPTION_KEY: is missing; with an external database every server must be given the same key, for instance one from: openssl rand -base64 32',
    )
  }
  return {
    dataDir,
    ...rest,
    structuredLogging: structuredLogging === 'true',
    recordContent: content === 'true',
    outboxFolder: outboxFolder(outbox, dataDir, 'local'),
    peerCaFile: peerCa,
    databaseUrl,
    adminToken,
    encryptionKeys: encryptionKey === undefined ? undefined : parseEncryptionKeys(encryptionKey, 'encryptionKey'),
    seeds: seedsFrom(environment),
  }
}

/**
 * Returns the configuration of `daemon`, found as that of `serve`.
 * @throws RpcError `BAD_REQUEST` (config_invalid) with every problem at once, without a secret
 */
export function daemonConfig(flags: Flags, environment: Environment): DaemonConfig {
  const { values } = checkSettings(daemonSettings, readSources(flags, environment))
  const { ca, content, data, outbox, ...rest } = values
  const [keyId = ''] = rest.key.split('-')
  return {
    ...rest,
    caFile: ca,
    recordContent: content === 'true',
    outboxFolder: outboxFolder(outbox, data, keyId),
  }
}

/**
 * Returns the configuration of `agent`, found as that of `serve`.
 * @throws RpcError `BAD_REQUEST` (config_invalid) with every problem at once, without a secret; also without a key
 */
export function agentConfig(flags: Flags, environment: Environment): AgentConfig {
  const { values } = checkSettings(agentSettings, readSources(flags, environment))
  const { ca, dir = process.cwd(), key, keyFile, ...rest } = values
  if (key === undefined && keyFile === undefined) {
    throw invalid('BRIDGE_AGENT_KEY: is missing; make a key on the server with: aibridge agents create')
  }
  return { ...rest, caFile: ca, dir, ...oneKey({ key, keyFile }, flags) }
}

/** The configuration of `acp serve`. */
export interface AcpServeConfig {
  host: string
  port: number
  key: string | undefined
  /** absolute path */
  keyFile: string | undefined
  allowedOrigins: string[]
  logLevel: LogLevel
  graceMs: number
}

/**
 * Returns the configuration of `acp serve`, found as that of `serve`.
 * @throws RpcError `BAD_REQUEST` (config_invalid) with every problem at once, without a secret
 */
export function acpServeConfig(flags: Flags, environment: Environment): AcpServeConfig {
  const { values } = checkSettings(acpServeSettings, readSources(flags, environment))
  return { ...values, ...oneKey(values, flags) }
}

/** The configuration of `acp connect`. */
export interface AcpConnectConfig {
  key: string | undefined
  /** absolute path */
  keyFile: string | undefined
  /** absolute path of a certificate authority's file, PEM; undefined: the system's authorities */
  caFile: string | undefined
  logLevel: LogLevel
}

/**
 * Returns the configuration of `acp connect`. Flags win over variables.
 * @throws RpcError `BAD_REQUEST` (config_invalid) with every problem at once, without a secret
 */
export function acpConnectConfig(flags: Flags, environment: Environment): AcpConnectConfig {
  const { values } = checkSettings(acpConnectSettings, { flags, environment })
  const { ca: caFile, logLevel } = values
  return { caFile, logLevel, ...oneKey(values, flags) }
}

/** A variable with a key does not come in the way of a file on the command line, or the reverse. */
function oneKey(
  { key, keyFile }: { key?: string | undefined; keyFile?: string | undefined },
  flags: Flags,
): { key: string | undefined; keyFile: string | undefined } {
  if (key === undefined || keyFile === undefined) return { key, keyFile }
  if (flags.key !== undefined && flags.keyFile !== undefined) throw invalid('--key and --key-file: give one')
  return flags.keyFile === undefined ? { key, keyFile: undefined } : { key: undefined, keyFile }
}

/** Whether a text has the form of a key. */
export function isAgentKey(text: string): boolean {
  return text !== '-' && agentSettings.key.schema.safeParse(text).success
}

/** The rule of {@link isAgentKey}, behind the name of a source. */
export const agentKeyProblem = 'is not the key of an agent; make one on the server with: aibridge agents create'

/** Whether a text has the form of an API key. */
export function isApiKey(text: string): boolean {
  return text !== '-' && userSettings.key.schema.safeParse(text).success
}

/** The rule of {@link isApiKey}, behind the name of a source. */
export const userKeyProblem = 'is not an API key; an operator makes one with: aibridge keys create'

/** Returns the folder of an outbox; undefined for one in memory. */
function outboxFolder(setting: string | undefined, dataDir: string, name: string): string | undefined {
  return setting === 'none' ? undefined : (setting ?? join(outboxesIn(dataDir), name))
}

/** Returns the folder in which the outboxes of a data directory stand. */
export function outboxesIn(dataDir: string): string {
  return join(dataDir, 'outbox')
}

/**
 * Returns the database of `import` and `migrate`. The configuration file may be the file of `serve`.
 * @throws RpcError `BAD_REQUEST` (config_invalid), without the URL in its message
 */
export function databaseUrlFrom(flags: Flags, environment: Environment): string {
  const { values } = checkSettings(databaseSettings, readSources(flags, environment), serveSettings)
  if (values.databaseUrl !== undefined) return values.databaseUrl
  throw invalid(
    '--database-url: is missing, and neither BRIDGE_DATABASE_URL nor DATABASE_URL is set; give postgres://USER:PASSWORD@HOST:PORT/DATABASE in one of them',
  )
}
