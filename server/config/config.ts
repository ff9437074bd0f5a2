/**
 * The settings of a command, from its flags, its environment and its configuration file, made into one checked value.
 *
 * Each setting is declared once, below. An error names where the value came from and, unless the setting is a secret, the value.
 */
import { readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { z } from 'zod'
import { httpUrl, providerKey } from '../../shared/contract/admin.js'
import { providerTypes } from '../../shared/contract/provider-configurator.js'
import { RpcError } from '../../shared/rpc/errors.js'
import { times } from '../../shared/rpc/limits.js'
import { isPlainObject } from '../../shared/values/text.js'
import type { ProviderSeed } from '../services/admin/provider-seeds.js'

/** The environment that settings are read from; `process.env` is one. */
export type Environment = Readonly<Record<string, string | undefined>>
/** The flags of a command by their names in camel case, as the command line gives them. */
export type Flags = Readonly<Record<string, unknown>>

/** Where a server is, or is to be: what every command takes. */
export interface Address {
  /** absolute path */
  dataDir: string
  host: string
  /** 0: any free port, for `serve` only */
  port: number
}

/** All that `serve` can be told. */
export interface ServeConfig extends Address {
  logLevel: LogLevel
  /** how long requests in flight may run on after a signal */
  graceMs: number
  /** each record is also a log line */
  structuredLogging: boolean
  /** whether the bridge records prompts, inputs of tools and thoughts */
  recordContent: boolean
  /** of a PostgreSQL database, with its password; undefined: the embedded store in the data directory */
  databaseUrl: string | undefined
  /** connections to that database */
  databasePool: number
  /** age in days from which interceptions are erased; 0: never */
  retentionDays: number
  /** `ANTHROPIC_API_KEY` and the like: the providers of a new database */
  seeds: ProviderSeed[]
  /** undefined: the file in the data directory */
  adminToken: string | undefined
  /** the first one seals; undefined: the file in the data directory */
  encryptionKeys: Uint8Array[] | undefined
}

/** All that `daemon` can be told. */
export interface DaemonConfig extends Pick<Address, 'host' | 'port'> {
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

const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const
type LogLevel = (typeof logLevels)[number]

/** Where a server is unless the settings say otherwise. */
export const defaultAddress: Address = { dataDir: join(homedir(), '.aibridge'), host: '127.0.0.1', port: 4100 }

/** One setting: what it may be, and which variables name it, the first before the others. Its key is its flag, and its name in the file. */
interface Setting<S extends z.ZodType = z.ZodType> {
  schema: S
  variables: readonly string[]
  /** its value is never shown; or only once it was found good, where somebody may put a secret into it by mistake */
  secret?: true | 'unchecked'
}
type Settings = Readonly<Record<string, Setting>>
type Values<S extends Settings> = { [K in keyof S]: z.output<S[K]['schema']> }

const wholeNumber = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,10}$/, `must be a whole number from ${min} to ${max}`)
    .transform(Number)
    .refine(value => value >= min && value <= max, `must be a whole number from ${min} to ${max}`)
const path = z.string().min(1, 'must not be empty').transform(absolutePath)

const data = { schema: path.default(defaultAddress.dataDir), variables: ['BRIDGE_DATA'] }
const host = {
  schema: z
    .string()
    .regex(/^[A-Za-z0-9.:_-]{1,255}$/, 'must be a host name or an IP address')
    .default(defaultAddress.host),
  variables: ['BRIDGE_HOST'],
}
const port = (min: number, preset: number) => ({
  schema: wholeNumber(min, 65_535).default(preset),
  variables: ['BRIDGE_PORT'],
})
const logLevel = {
  schema: z.enum(logLevels, `must be one of ${logLevels.join(', ')}`).default('info'),
  variables: ['BRIDGE_LOG_LEVEL'],
}
const trueOrFalse = (preset: 'true' | 'false') => z.enum(['true', 'false'], 'must be true or false').default(preset)
const content = { schema: trueOrFalse('true'), variables: ['BRIDGE_CONTENT'] }
const graceMs = {
  schema: wholeNumber(0, times.maxCallTimeoutMs).default(times.graceMs),
  variables: ['BRIDGE_GRACE_MS'],
}
const databaseUrl = {
  schema: z
    .string()
    .refine(
      url => /^postgres(ql)?:\/\//.test(url) && URL.canParse(url),
      'must be postgres://USER:PASSWORD@HOST:PORT/DATABASE',
    )
    .optional(),
  // The second is what platforms set.
  variables: ['BRIDGE_DATABASE_URL', 'DATABASE_URL'],
  secret: true,
} as const
const adminToken = {
  schema: z.string().superRefine(refuse(adminTokenProblem)).optional(),
  variables: ['BRIDGE_ADMIN_TOKEN'],
  secret: true,
} as const

const clientSettings = { data, host, port: port(1, defaultAddress.port) }

const serveSettings = {
  data,
  host,
  port: port(0, defaultAddress.port),
  logLevel,
  structuredLogging: { schema: trueOrFalse('false'), variables: ['BRIDGE_STRUCTURED_LOGGING'] },
  content,
  graceMs,
  databaseUrl,
  databasePool: { schema: wholeNumber(1, 200).default(10), variables: ['BRIDGE_DATABASE_POOL'] },
  retentionDays: { schema: wholeNumber(0, 36_500).default(0), variables: ['BRIDGE_RETENTION_DAYS'] },
  adminToken,
  encryptionKey: {
    schema: z.string().superRefine(refuse(encryptionKeysProblem)).optional(),
    variables: ['BRIDGE_ENCRYPTION_KEY'],
    secret: true,
  },
} as const satisfies Settings

const daemonSettings = {
  url: {
    schema: z
      .string('is missing; it says where the control plane is, for instance https://bridge.example.com')
      .refine(
        url => /^https?:\/\/[^\s@?#]{1,2000}$/.test(url) && URL.canParse(url),
        'must begin with http:// or https:// and have no credentials, query or fragment',
      ),
    variables: ['BRIDGE_URL'],
    // People put credentials into URLs, and this one may have none.
    secret: 'unchecked',
  },
  key: {
    schema: z
      .string('is missing; make one with: daemon-keys create')
      .regex(/^[A-Za-z0-9]{10}-[A-Za-z0-9]{22}$/, 'is not a daemon key; make one with: daemon-keys create'),
    variables: ['BRIDGE_DAEMON_KEY'],
    secret: true,
  },
  ca: { schema: path.optional(), variables: ['BRIDGE_CA'] },
  host,
  port: port(0, 4101),
  logLevel,
  graceMs,
  content,
} as const satisfies Settings

/**
 * The address that a command other than `serve` calls.
 * @throws RpcError `BAD_REQUEST` (config_invalid)
 */
export function clientAddress(flags: Flags, environment: Environment = {}): Address {
  const { data: dataDir, host, port } = check(clientSettings, { flags, environment }).values
  return { dataDir, host, port }
}

/**
 * The configuration of `serve`. A flag goes before its variable, and that before the file that `--config` or `BRIDGE_CONFIG` names.
 * @throws RpcError `BAD_REQUEST` (config_invalid) with every problem there is, without a secret
 */
export function serveConfig(flags: Flags, environment: Environment): ServeConfig {
  const { values } = check(serveSettings, withFile(flags, environment))
  const { data: dataDir, structuredLogging, content, encryptionKey, databaseUrl, adminToken, ...rest } = values
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
    databaseUrl,
    adminToken,
    encryptionKeys: encryptionKey === undefined ? undefined : parseEncryptionKeys(encryptionKey, 'encryptionKey'),
    seeds: seedsFrom(environment),
  }
}

/**
 * The configuration of `daemon`, found as that of `serve`.
 * @throws RpcError `BAD_REQUEST` (config_invalid) with every problem there is, without a secret
 */
export function daemonConfig(flags: Flags, environment: Environment): DaemonConfig {
  const { ca, content, ...rest } = check(daemonSettings, withFile(flags, environment)).values
  return { ...rest, caFile: ca, recordContent: content === 'true' }
}

/**
 * The database of a command that uses one itself.
 * @throws RpcError `BAD_REQUEST` (config_invalid), without the URL in its message
 */
export function databaseUrlFrom(flags: Flags, environment: Environment): string {
  const { databaseUrl: url } = check({ databaseUrl }, withFile(flags, environment)).values
  if (url !== undefined) return url
  throw invalid('--database-url: is missing, and neither BRIDGE_DATABASE_URL nor DATABASE_URL is set')
}

/** A setting as `config check` shows it. */
export interface ShownSetting {
  name: string
  /** `set` for a secret that is there; null: nothing is set, and there is no default */
  value: string | number | boolean | null
  /** for instance `--port`, `BRIDGE_PORT`, `port in FILE`, `default` */
  source: string
}

/**
 * What a command would run with.
 * @throws as the command itself
 */
export function shownConfig(command: 'serve' | 'daemon', flags: Flags, environment: Environment): ShownSetting[] {
  if (command === 'serve') serveConfig(flags, environment)
  const settings: Settings = command === 'serve' ? serveSettings : daemonSettings
  const { values, sources } = check(settings, withFile(flags, environment))
  return Object.entries(settings).map(([name, { secret }]) => {
    const value = values[name]
    const shown = value === undefined ? null : secret === true ? 'set' : shownValue(value)
    return { name, value: shown, source: sources[name] ?? (value === undefined ? 'not set' : 'default') }
  })
}

function shownValue(value: unknown): string | number | boolean {
  if (value === 'true' || value === 'false') return value === 'true'
  return typeof value === 'number' ? value : String(value)
}

/**
 * Warns of a configuration file with secrets that other users of the machine may read; undefined if there is none.
 */
export function fileWarning(flags: Flags, environment: Environment): string | undefined {
  const file = configFile(flags, environment)
  if (!file) return undefined
  const secrets = Object.entries({ ...serveSettings, ...daemonSettings }).flatMap(([name, setting]) =>
    'secret' in setting && name in file.values ? [name] : [],
  )
  const mode = statSync(file.path).mode & 0o777
  if (secrets.length === 0 || (mode & 0o077) === 0) return undefined
  return `${file.path} holds ${secrets.join(', ')} and other users may read it (mode ${mode.toString(8)}): chmod 600 ${file.path}`
}

/**
 * Providers whose key the environment holds under the name that the vendor's own tools use.
 * @throws RpcError `BAD_REQUEST` (config_invalid), without the key in its message
 */
function seedsFrom(environment: Environment): ProviderSeed[] {
  return providerTypes.flatMap(type => {
    const [keyVariable, urlVariable] = [`${type.toUpperCase()}_API_KEY`, `${type.toUpperCase()}_BASE_URL`]
    const key = environment[keyVariable]?.trim()
    if (!key) return []
    if (!providerKey.safeParse(key).success) throw invalid(`${keyVariable}: must be printable ASCII without spaces`)
    const baseUrl = environment[urlVariable]?.trim() || undefined
    if (baseUrl !== undefined && !httpUrl.safeParse(baseUrl).success) {
      throw invalid(`${urlVariable}: must begin with http:// or https:// and have no credentials, query or fragment`)
    }
    return [{ type, key, baseUrl }]
  })
}

/**
 * `BRIDGE_ADMIN_TOKEN`; undefined if it is not set.
 * @throws RpcError `BAD_REQUEST` (config_invalid), without the token in its message
 */
export function adminTokenFrom(environment: Environment): string | undefined {
  return check({ adminToken }, { flags: {}, environment }).values.adminToken
}

/** Checks a token that came from `source`: it has to fit into a header and to be hard to guess. */
export function checkAdminToken(token: string, source: string): string {
  const problem = adminTokenProblem(token)
  if (problem === undefined) return token
  throw invalid(`${source}: ${problem}`)
}

function adminTokenProblem(token: string): string | undefined {
  if (/^[\x21-\x7e]{16,512}$/.test(token)) return undefined
  return `must be 16 to 512 printable ASCII characters without spaces; this one has ${token.length} characters`
}

/**
 * One or two keys of 32 bytes, each in hex or base64, with a comma between them. The first seals; both open, so that a key can be replaced.
 * @throws RpcError `BAD_REQUEST` (config_invalid), without the keys in its message
 */
export function parseEncryptionKeys(text: string, source: string): Uint8Array[] {
  const problem = encryptionKeysProblem(text)
  if (problem !== undefined) throw invalid(`${source}: ${problem}`)
  return splitKeys(text).map(key => new Uint8Array(keyBytes(key)))
}

function encryptionKeysProblem(text: string): string | undefined {
  const keys = splitKeys(text)
  if (keys.length > 2) return `must be one key or two with a comma between them, not ${keys.length}`
  const wrong = keys.findIndex(key => keyBytes(key).length !== 32 || !/^[0-9A-Za-z+/_=-]+$/.test(key))
  const length = keyBytes(keys[wrong] ?? '').length
  return wrong < 0 ? undefined : `key ${wrong + 1} must be 32 bytes as 64 hex digits or as base64; it holds ${length}`
}

function splitKeys(text: string): string[] {
  return text.split(',').map(part => part.trim())
}

function keyBytes(key: string): Buffer {
  return /^[0-9a-fA-F]{64}$/.test(key) ? Buffer.from(key, 'hex') : Buffer.from(key, 'base64')
}

/** An error about a setting. */
export function invalid(message: string, cause?: unknown): RpcError {
  return new RpcError('BAD_REQUEST', message, { reason: 'config_invalid', cause })
}

interface Sources {
  flags: Flags
  environment: Environment
  file?: ConfigFile | undefined
}
interface ConfigFile {
  path: string
  values: Readonly<Record<string, unknown>>
}

function withFile(flags: Flags, environment: Environment): Sources {
  return { flags, environment, file: configFile(flags, environment) }
}

function configFile(flags: Flags, environment: Environment): ConfigFile | undefined {
  const given = flags.config ?? (environment.BRIDGE_CONFIG || undefined)
  if (given === undefined) return undefined
  const source = flags.config === undefined ? 'BRIDGE_CONFIG' : '--config'
  const path = absolutePath(String(given))
  let values: unknown
  try {
    values = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    // Not JSON.parse's own words, which quote the text: it may hold secrets.
    const words =
      error instanceof SyntaxError ? 'it is no JSON' : error instanceof Error ? error.message : String(error)
    throw invalid(`${source} ${JSON.stringify(given)}: cannot be read: ${words}`, error)
  }
  if (isPlainObject(values)) return { path, values }
  throw invalid(`${source} ${JSON.stringify(given)}: must hold a JSON object of settings`)
}

/** Finds each setting's value and checks it; all problems are told at once. */
function check<S extends Settings>(
  settings: S,
  sources: Sources,
): { values: Values<S>; sources: Record<string, string | undefined> } {
  const values: Record<string, unknown> = {}
  const found: Record<string, string | undefined> = {}
  const problems: string[] = []
  for (const [name, setting] of Object.entries(settings)) {
    const { value, source } = find(name, setting, sources)
    found[name] = source
    const result = setting.schema.safeParse(value)
    if (result.success) values[name] = result.data
    else {
      const shown = setting.secret || value === undefined ? '' : ` ${JSON.stringify(value)}`
      problems.push(
        `${source ?? flagOf(name)}${shown}: ${result.error.issues.map(({ message }) => message).join(', ')}`,
      )
    }
  }
  const known: Settings = { ...settings, ...(Object.hasOwn(settings, 'databaseUrl') ? serveSettings : {}) }
  const unknown = Object.keys(sources.file?.values ?? {}).filter(name => !Object.hasOwn(known, name))
  if (unknown.length > 0) {
    problems.push(
      `${unknown.join(', ')} in ${sources.file?.path}: no such setting; there are ${Object.keys(known).join(', ')}`,
    )
  }
  if (problems.length > 0) throw invalid(problems.join('; '))
  return { values: values as Values<S>, sources: found } // each value came out of its setting's schema
}

/** The first of flag, variables and file that has the setting; an empty variable is an unset one. */
function find(
  name: string,
  { variables }: Setting,
  { flags, environment, file }: Sources,
): { value?: string; source?: string } {
  if (flags[name] !== undefined) return { value: String(flags[name]), source: flagOf(name) }
  const variable = variables.find(variable => environment[variable])
  if (variable !== undefined) return { value: environment[variable] ?? '', source: variable }
  if (!file || !Object.hasOwn(file.values, name)) return {}
  const value = file.values[name]
  const isScalar = ['string', 'number', 'boolean'].includes(typeof value)
  return { value: isScalar ? String(value) : JSON.stringify(value), source: `${name} in ${file.path}` }
}

function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`
}

function refuse(problemOf: (value: string) => string | undefined) {
  return (value: string, context: z.RefinementCtx) => {
    const problem = problemOf(value)
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
  }
}

function absolutePath(path: string): string {
  // A shell leaves the tilde of `--data=~/x` alone.
  return path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : resolve(path)
}
