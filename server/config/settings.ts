/**
 * Every setting of every command, declared once. `npm run docs:configuration` makes docs/configuration.md from this
 * file.
 */

import { isIP } from 'node:net'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { bridgeLimits, maxClientTimeoutMs } from '../../shared/contract/limits.js'
import type { ProviderType } from '../../shared/contract/provider-configurator.js'
import { maxBodyLimitBytes, maxTimeLimitMs } from '../../shared/contract/provider-settings.js'
import { times } from '../../shared/rpc/limits.js'
import { adminTokenProblem, encryptionKeysProblem } from './keys.js'
import {
  listOf,
  oneOf,
  optional,
  path,
  pathOrNone,
  preset,
  type Setting,
  type Settings,
  secretText,
  text,
  wholeNumber,
} from './setting.js'

/** The address of a server, and the place of its data. */
export interface Address {
  /** absolute path */
  dataDir: string
  host: string
  /** 0: any free port, for `serve` only */
  port: number
}

/** The address of a server without any settings. */
export const defaultAddress: Address = { dataDir: join(homedir(), '.aibridge'), host: '127.0.0.1', port: 4100 }

/** Levels of the log, the most talkative one first. */
export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const

const trueOrFalse = oneOf(['true', 'false'])

/** The setting that names the configuration file. The file itself cannot hold this setting. */
export const configSetting = {
  ...optional(path),
  variables: ['BRIDGE_CONFIG'],
  flag: { value: 'file' },
  help: 'a file of settings: a JSON object, by the names of the flags in camel case',
} as const satisfies Setting

const data = {
  ...preset(path, defaultAddress.dataDir),
  variables: ['BRIDGE_DATA'],
  flag: { value: 'dir' },
  help: 'data directory of the server',
} as const satisfies Setting

const host = {
  ...preset(
    text('a host name or an IP address', value => /^[A-Za-z0-9.:_-]{1,255}$/.test(value)),
    defaultAddress.host,
  ),
  variables: ['BRIDGE_HOST'],
  flag: { value: 'host' },
  help: 'address to listen on',
} as const satisfies Setting

const port = (value: number) =>
  ({
    ...preset(wholeNumber(0, 65_535), value),
    variables: ['BRIDGE_PORT'],
    flag: { value: 'port' },
    help: 'port to listen on; 0 takes a free port, which the command prints',
  }) as const satisfies Setting

const url = {
  schema: z
    .string('is missing; it says where the control plane is, for instance https://bridge.example.com')
    .refine(
      value => /^https?:\/\/[^\s@?#]{1,2000}$/.test(value) && URL.canParse(value),
      'must begin with http:// or https:// and have no credentials, query or fragment',
    ),
  accepts: 'an http:// or https:// URL, with the path under which a proxy serves aibridge, if any',
  variables: ['BRIDGE_URL'],
  flag: { value: 'base' },
  help: 'base URL of the control plane, for instance https://bridge.example.com',
  // People put credentials into URLs, which the check rejects.
  secret: 'unchecked',
} as const satisfies Setting

const ca = {
  ...optional(path),
  variables: ['BRIDGE_CA'],
  flag: { value: 'file' },
  help: 'certificate authority of an https:// control plane, PEM',
  unset: "the system's authorities",
} as const satisfies Setting

const logLevel = {
  ...preset(oneOf(logLevels), 'info'),
  variables: ['BRIDGE_LOG_LEVEL'],
  flag: { value: 'level' },
  help: 'least severe lines of the log, which is lines of JSON on stderr',
} as const satisfies Setting

const content = {
  ...preset(trueOrFalse, 'true'),
  variables: ['BRIDGE_CONTENT'],
  flag: 'negated',
  help: 'record no prompts, tool inputs, thoughts and error messages of providers, only their sizes',
} as const satisfies Setting

const graceMs = {
  ...preset(wholeNumber(0, times.maxCallTimeoutMs), times.graceMs),
  variables: ['BRIDGE_GRACE_MS'],
  flag: { value: 'ms' },
  help: 'how long requests in flight may run on after a signal, in milliseconds',
} as const satisfies Setting

const databaseUrl = {
  ...optional(
    text(
      'postgres://USER:PASSWORD@HOST:PORT/DATABASE',
      value => /^postgres(ql)?:\/\//.test(value) && URL.canParse(value),
    ),
  ),
  // Hosting platforms set the second variable.
  variables: ['BRIDGE_DATABASE_URL', 'DATABASE_URL'],
  flag: { value: 'url' },
  help: 'a PostgreSQL database; prefer the variable, because other users of the machine can read the command line',
  secret: true,
} as const satisfies Setting

const adminToken = {
  ...optional(secretText('16 to 512 printable ASCII characters without spaces', adminTokenProblem)),
  variables: ['BRIDGE_ADMIN_TOKEN'],
  flag: 'none',
  help: "the operator's secret, which commands send to the server",
  unset: 'the file DATA/admin-token',
  secret: true,
} as const satisfies Setting

/**
 * Settings of the front door of a bridge, in `serve` and in `daemon`. A provider may have time and body limits of its
 * own.
 */
const doorSettings = {
  firstByteTimeoutMs: {
    ...preset(wholeNumber(0, maxTimeLimitMs), bridgeLimits.upstreamHeadersTimeoutMs),
    variables: ['BRIDGE_FIRST_BYTE_TIMEOUT_MS'],
    flag: { value: 'ms' },
    help: 'how long a provider may take until it begins to respond, in milliseconds; 0: for ever',
  },
  idleTimeoutMs: {
    ...preset(wholeNumber(0, maxTimeLimitMs), bridgeLimits.upstreamIdleTimeoutMs),
    variables: ['BRIDGE_IDLE_TIMEOUT_MS'],
    flag: { value: 'ms' },
    help: 'how long a provider may be silent inside a response, in milliseconds; 0: for ever',
  },
  maxBodyBytes: {
    ...preset(wholeNumber(1, maxBodyLimitBytes), bridgeLimits.maxBodyBytes),
    variables: ['BRIDGE_MAX_BODY_BYTES'],
    flag: { value: 'bytes' },
    help: 'largest body of one AI request',
  },
  maxTotalBodyBytes: {
    ...preset(wholeNumber(1, 9_999_999_999), bridgeLimits.maxTotalBodyBytes),
    variables: ['BRIDGE_MAX_TOTAL_BODY_BYTES'],
    flag: { value: 'bytes' },
    help: 'bodies of all AI requests in flight; further requests get a 503',
  },
  bodyTimeoutMs: {
    ...preset(wholeNumber(0, maxTimeLimitMs), bridgeLimits.bodyTimeoutMs),
    variables: ['BRIDGE_BODY_TIMEOUT_MS'],
    flag: { value: 'ms' },
    help: 'how long a client may take for each further 16 KiB of its request, in milliseconds; 0: for ever',
  },
  clientTimeoutMs: {
    ...preset(wholeNumber(1, maxClientTimeoutMs), bridgeLimits.clientTimeoutMs),
    variables: ['BRIDGE_CLIENT_TIMEOUT_MS'],
    flag: { value: 'ms' },
    help: 'how long a client may take nothing of a response that waits for it, in milliseconds',
  },
  mcpCallTimeoutMs: {
    ...preset(wholeNumber(1, bridgeLimits.injectedTotalMs), bridgeLimits.mcpCallTimeoutMs),
    variables: ['BRIDGE_MCP_CALL_TIMEOUT_MS'],
    flag: { value: 'ms' },
    help: 'how long one call of an injected tool may take, in milliseconds',
  },
  withheldHeaders: {
    ...preset(
      listOf('the name of a header, or the beginning of one before a *', value =>
        /^[A-Za-z0-9!#$%&'+.^_`|~-]+\*?$/.test(value),
      ),
      [],
    ),
    variables: ['BRIDGE_WITHHELD_HEADERS'],
    flag: { value: 'names' },
    help: 'request headers that reach no provider, beside those of proxies and sign-ins: x-team,x-corp-*',
    unset: 'none',
  },
  allowedOrigins: {
    ...preset(
      listOf(
        'an origin such as https://app.example.com',
        value => URL.canParse(value) && new URL(value).origin === value,
      ),
      [],
    ),
    variables: ['BRIDGE_ALLOWED_ORIGINS'],
    flag: { value: 'origins' },
    help: 'web pages that may call the bridge from a browser',
    unset: 'none',
  },
  trustedProxies: {
    ...preset(listOf('an address, or a network such as 10.0.0.0/8', isNetwork), []),
    variables: ['BRIDGE_TRUSTED_PROXIES'],
    flag: { value: 'networks' },
    help: "proxies whose X-Forwarded-For counts for the client's address, in the log and against guessed keys",
    unset: 'none',
  },
} as const satisfies Settings

/** When the outbox syncs its records to the disk; see {@link FsyncMode} of the journal. */
const fsyncModes = ['always', 'interval', 'never'] as const

/** Settings of a bridge's outbox, in `serve` and in `daemon`. */
const outboxSettings = {
  outbox: {
    ...optional(pathOrNone),
    variables: ['BRIDGE_OUTBOX'],
    flag: { value: 'dir' },
    help: 'folder of the records that wait for the control plane; none keeps them in memory, and a killed process loses them',
  },
  outboxFsync: {
    ...preset(oneOf(fsyncModes), 'interval'),
    variables: ['BRIDGE_OUTBOX_FSYNC'],
    flag: { value: 'mode' },
    help: 'when the outbox is synced to the disk, for power cuts: always before the last bytes of a response, at an interval of 200 ms, never',
  },
} as const satisfies Settings

/** Returns whether a text is an address, or a network in the form `ADDRESS/BITS`. */
function isNetwork(text: string): boolean {
  const [address = '', bits, ...more] = text.split('/')
  const family = isIP(address)
  if (family === 0 || more.length > 0) return false
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 6 ? 128 : 32))
}

/** Settings of `serve`. */
export const serveSettings = {
  data,
  host,
  port: port(defaultAddress.port),
  logLevel,
  structuredLogging: {
    ...preset(trueOrFalse, 'false'),
    variables: ['BRIDGE_STRUCTURED_LOGGING'],
    flag: 'switch',
    help: 'log each record as one line too',
  },
  content,
  graceMs,
  ...doorSettings,
  outbox: { ...outboxSettings.outbox, unset: 'DATA/outbox/local' },
  outboxFsync: outboxSettings.outboxFsync,
  databaseUrl: { ...databaseUrl, unset: 'the embedded database in the data directory' },
  databasePool: {
    ...preset(wholeNumber(1, 200), 10),
    variables: ['BRIDGE_DATABASE_POOL'],
    flag: { value: 'n' },
    help: 'connections to the PostgreSQL database; one more listens for changes',
  },
  advertiseUrl: {
    ...url,
    ...optional(url),
    variables: ['BRIDGE_ADVERTISE_URL'],
    help: 'base URL at which the other servers of the database reach this one, for instance http://10.0.0.1:4100; every server has its own',
    unset: 'the other servers do not reach this one',
  },
  peerCa: {
    ...optional(path),
    variables: ['BRIDGE_PEER_CA'],
    flag: { value: 'file' },
    help: 'certificate authority of the other servers, if they advertise an https:// URL, PEM',
    unset: "the system's authorities",
  },
  acpProvider: {
    ...preset(
      text("a provider's name: 1 to 32 characters of [a-z0-9-]", value => /^[a-z0-9-]{1,32}$/.test(value)),
      'demo',
    ),
    variables: ['BRIDGE_ACP_PROVIDER'],
    flag: { value: 'name' },
    help: 'provider of the sessions that clients of the Agent Client Protocol begin without naming one',
  },
  acpModel: {
    ...preset(
      text('1 to 256 characters', value => value.length > 0 && value.length <= 256),
      'demo',
    ),
    variables: ['BRIDGE_ACP_MODEL'],
    flag: { value: 'model' },
    help: 'model of those sessions, as the provider names it',
  },
  retentionDays: {
    ...preset(wholeNumber(0, 36_500), 0),
    variables: ['BRIDGE_RETENTION_DAYS'],
    flag: { value: 'days' },
    help: 'erase interceptions that are older, with all their records; 0 keeps them for ever',
  },
  adminToken: { ...adminToken, unset: 'the file DATA/admin-token, made at the first start' },
  encryptionKey: {
    ...optional(secretText('32 bytes in hex or base64, or two such keys as NEW,OLD', encryptionKeysProblem)),
    variables: ['BRIDGE_ENCRYPTION_KEY'],
    flag: 'none',
    help: "seals the providers' keys in the database; with NEW,OLD both keys open and the first one seals",
    unset: 'the file DATA/encryption-key, made at the first start; required with a PostgreSQL database',
    secret: true,
  },
} as const satisfies Settings

/** Settings of `daemon`. */
export const daemonSettings = {
  url,
  key: {
    schema: z
      .string('is missing; make one on the server with: aibridge daemon-keys create')
      .regex(
        /^[A-Za-z0-9]{10}-[A-Za-z0-9]{22}$/,
        'is not a daemon key; make one on the server with: aibridge daemon-keys create',
      ),
    accepts: 'a daemon key, as daemon-keys create prints it',
    variables: ['BRIDGE_DAEMON_KEY'],
    flag: { value: 'key' },
    help: 'the daemon key; prefer the variable, because other users of the machine can read the command line',
    secret: true,
  },
  ca,
  host,
  port: port(4101),
  logLevel,
  content,
  graceMs,
  ...doorSettings,
  data: { ...data, help: 'data directory of the daemon, which holds its outbox' },
  outbox: { ...outboxSettings.outbox, unset: 'DATA/outbox/ID, by the id of the daemon key' },
  outboxFsync: outboxSettings.outboxFsync,
} as const satisfies Settings

/** Settings of `agent`. */
export const agentSettings = {
  url,
  key: {
    ...optional(
      text(
        'a key of an agent, as agents create prints it, or - for stdin',
        value => value === '-' || /^[A-Za-z0-9]{10}-[A-Za-z0-9]{22}$/.test(value),
        'is not the key of an agent; make one on the server with: aibridge agents create',
      ),
    ),
    variables: ['BRIDGE_AGENT_KEY'],
    flag: { value: 'key' },
    help: 'the key of the agent, or - for stdin; other users of the machine can read the command line',
    unset: 'that of keyFile',
    secret: true,
  },
  keyFile: {
    ...optional(path),
    variables: ['BRIDGE_AGENT_KEY_FILE'],
    flag: { value: 'file' },
    help: 'a file with the key of the agent',
  },
  dir: {
    ...optional(path),
    variables: ['BRIDGE_AGENT_DIR'],
    flag: { value: 'dir' },
    help: 'where commands run that name no directory',
    unset: 'the current directory',
  },
  ca,
  logLevel,
  graceMs: { ...graceMs, help: 'how long the last responses may take after a signal, in milliseconds' },
} as const satisfies Settings

/** The key of the door of `acp serve`, at both ends. */
const acpKey = {
  key: {
    ...optional(secretText('16 to 512 printable ASCII characters without spaces', adminTokenProblem)),
    variables: ['BRIDGE_ACP_KEY'],
    flag: { value: 'key' },
    help: 'the bearer key of clients; prefer the variable, because other users of the machine can read the command line',
    unset: 'that of keyFile, or else a random one, which the command prints',
    secret: true,
  },
  keyFile: {
    ...optional(path),
    variables: ['BRIDGE_ACP_KEY_FILE'],
    flag: { value: 'file' },
    help: 'a file with the key',
  },
} as const satisfies Settings

/** Settings of `acp serve`. */
export const acpServeSettings = {
  host,
  port: port(4102),
  ...acpKey,
  allowedOrigins: { ...doorSettings.allowedOrigins, help: 'web pages that may connect, such as those of editors' },
  logLevel,
  graceMs: { ...graceMs, help: 'how long open turns may run on after a signal, in milliseconds' },
} as const satisfies Settings

/** Settings of `acp connect`. */
export const acpConnectSettings = {
  key: {
    ...acpKey.key,
    help: acpKey.key.help.replace('of clients', 'of the server'),
    unset: 'that of keyFile, or none',
  },
  keyFile: acpKey.keyFile,
  ca: { ...ca, help: 'certificate authority of an https:// or wss:// server, PEM' },
  logLevel: { ...logLevel, ...preset(oneOf(logLevels), 'warn') },
} as const satisfies Settings

/** Settings of every command that calls a running server. */
export const clientSettings = {
  data: { ...data, help: 'data directory of a server on this machine, which holds the admin token' },
  host: { ...host, help: 'address of the server' },
  port: {
    ...port(defaultAddress.port),
    ...preset(wholeNumber(1, 65_535), defaultAddress.port),
    help: 'port of the server',
  },
  url: {
    ...url,
    ...optional(url),
    help: 'base URL of the server, in place of host and port, for instance https://bridge.example.com',
    unset: 'http://HOST:PORT',
  },
  ca: { ...ca, help: 'certificate authority of an https:// server, PEM' },
  adminToken,
} as const satisfies Settings

/** Settings of every command that calls a running server for a user. */
export const userSettings = {
  key: {
    ...optional(
      text(
        'an API key, as keys create prints it, or - for stdin',
        value => value === '-' || /^[A-Za-z0-9]{10}-[A-Za-z0-9]{22}$/.test(value),
        'is not an API key; an operator makes one with: aibridge keys create',
      ),
    ),
    variables: ['AIBRIDGE_KEY'],
    flag: { value: 'key' },
    help: 'an API key of yours, or - for stdin; other users of the machine can read the command line',
    unset: 'that of keyFile',
    secret: true,
  },
  keyFile: {
    ...optional(path),
    variables: ['AIBRIDGE_KEY_FILE'],
    flag: { value: 'file' },
    help: 'a file with the API key',
  },
  host: clientSettings.host,
  port: clientSettings.port,
  url: clientSettings.url,
  ca: clientSettings.ca,
} as const satisfies Settings

/** Settings of `outbox`, which works on the files of bridges on this machine. */
export const outboxCommandSettings = {
  data: { ...data, help: 'data directory of a server or a daemon on this machine' },
  outbox: {
    ...optional(path),
    variables: [],
    flag: { value: 'dir' },
    help: 'folder of one outbox',
    unset: 'all in DATA/outbox',
  },
} as const satisfies Settings

/** Settings of `import` and `migrate`, which work on a database without a server. */
export const databaseSettings = { databaseUrl } as const satisfies Settings

/** Returns the variables of a provider's key and base URL. The vendors' own tools use the same names. */
export function seedVariables(type: ProviderType): { key: string; baseUrl: string } {
  return { key: `${type.toUpperCase()}_API_KEY`, baseUrl: `${type.toUpperCase()}_BASE_URL` }
}
