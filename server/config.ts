/** The flags and environment variables of a command, made into one checked value. An error names the setting and, unless it is a secret, its value. */
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { z } from 'zod'
import { httpUrl, providerKey } from '../shared/admin.js'
import { RpcError } from '../shared/errors.js'
import { times } from '../shared/limits.js'
import { providerTypes } from '../shared/provider-configurator.js'
import type { ProviderSeed } from './services/provider-seeds.js'

/** The environment that settings are read from; `process.env` is one. */
export type Environment = Readonly<Record<string, string | undefined>>

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
  logLevel: (typeof logLevels)[number]
  /** how long requests in flight may run on after a signal */
  graceMs: number
  /** each record is also a log line */
  structuredLogging: boolean
  /** of a PostgreSQL database, with its password; undefined: the embedded store in the data directory */
  databaseUrl: string | undefined
  /** connections to that database */
  databasePool: number
  /** `ANTHROPIC_API_KEY` and the like: the providers of a new database */
  seeds: ProviderSeed[]
  /** `BRIDGE_ADMIN_TOKEN`; undefined: the file in the data directory */
  adminToken: string | undefined
  /** `BRIDGE_ENCRYPTION_KEY`, the first one seals; undefined: the file in the data directory */
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
  logLevel: (typeof logLevels)[number]
  /** how long requests in flight may run on after a signal */
  graceMs: number
}

const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const
const adminTokenPattern = /^[\x21-\x7e]{16,512}$/

/** Where a server is unless the flags say otherwise. */
export const defaultAddress: Address = { dataDir: join(homedir(), '.aibridge'), host: '127.0.0.1', port: 4100 }

const data = z.string().min(1, 'must not be empty').default(defaultAddress.dataDir).transform(absolutePath)
const host = z
  .string()
  .regex(/^[A-Za-z0-9.:_-]{1,255}$/, 'must be a host name or an IP address')
  .default(defaultAddress.host)
const wholeNumber = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,10}$/, `must be a whole number from ${min} to ${max}`)
    .transform(Number)
    .refine(value => value >= min && value <= max, `must be a whole number from ${min} to ${max}`)

/** It holds a password, so a message never shows it. */
const databaseUrl = z
  .string()
  .refine(
    url => /^postgres(ql)?:\/\//.test(url) && URL.canParse(url),
    'must be postgres://USER:PASSWORD@HOST:PORT/DATABASE',
  )

const clientSettings = z.object({ data, host, port: wholeNumber(1, 65_535).default(defaultAddress.port) })
const serveSettings = clientSettings.extend({
  port: wholeNumber(0, 65_535).default(defaultAddress.port),
  logLevel: z.enum(logLevels, `must be one of ${logLevels.join(', ')}`).default('info'),
  graceMs: wholeNumber(0, times.maxCallTimeoutMs).default(times.graceMs),
  structuredLogging: z
    .union([z.boolean(), z.enum(['true', 'false']).transform(value => value === 'true')], 'must be true or false')
    .default(false),
  databaseUrl: databaseUrl.optional(),
  databasePool: wholeNumber(1, 200).default(10),
})

const daemonSettings = z.object({
  url: z.string().optional(),
  ca: z.string().min(1, 'must not be empty').transform(absolutePath).optional(),
  host,
  port: wholeNumber(0, 65_535).default(4101),
  logLevel: serveSettings.shape.logLevel,
  graceMs: serveSettings.shape.graceMs,
})

/**
 * The address that a command other than `serve` calls.
 * @throws RpcError `BAD_REQUEST` (config_invalid)
 */
export function clientAddress(flags: Readonly<Record<string, unknown>>): Address {
  const { data: dataDir, host, port } = check(clientSettings, flags, {})
  return { dataDir, host, port }
}

/**
 * The configuration of `serve`. A flag goes before its environment variable.
 * @throws RpcError `BAD_REQUEST` (config_invalid)
 */
export function serveConfig(flags: Readonly<Record<string, unknown>>, environment: Environment): ServeConfig {
  const {
    data: dataDir,
    databaseUrl,
    ...rest
  } = check(serveSettings, flags, {
    logLevel: ['BRIDGE_LOG_LEVEL', environment.BRIDGE_LOG_LEVEL],
    structuredLogging: ['BRIDGE_STRUCTURED_LOGGING', environment.BRIDGE_STRUCTURED_LOGGING],
    databaseUrl: databaseUrlVariable(environment),
    databasePool: ['BRIDGE_DATABASE_POOL', environment.BRIDGE_DATABASE_POOL],
  })
  return {
    dataDir,
    ...rest,
    databaseUrl,
    seeds: seedsFrom(environment),
    adminToken: adminTokenFrom(environment),
    encryptionKeys: environment.BRIDGE_ENCRYPTION_KEY
      ? parseEncryptionKeys(environment.BRIDGE_ENCRYPTION_KEY, 'BRIDGE_ENCRYPTION_KEY')
      : undefined,
  }
}

/** The variable that names the database, of two: the second is what platforms set. */
function databaseUrlVariable(environment: Environment): Variables[string] {
  const { BRIDGE_DATABASE_URL, DATABASE_URL } = environment
  return BRIDGE_DATABASE_URL ? ['BRIDGE_DATABASE_URL', BRIDGE_DATABASE_URL] : ['DATABASE_URL', DATABASE_URL]
}

/**
 * The database of a command that uses one itself.
 * @throws RpcError `BAD_REQUEST` (config_invalid), without the URL in its message
 */
export function databaseUrlFrom(flags: Readonly<Record<string, unknown>>, environment: Environment): string {
  const schema = z.object({ databaseUrl: databaseUrl.optional() })
  const { databaseUrl: url } = check(schema, flags, { databaseUrl: databaseUrlVariable(environment) })
  if (url === undefined)
    throw invalid('--database-url: is missing, and neither BRIDGE_DATABASE_URL nor DATABASE_URL is set')
  return url
}

/**
 * The configuration of `daemon`. A flag goes before its environment variable.
 * @throws RpcError `BAD_REQUEST` (config_invalid), without the key in its message
 */
export function daemonConfig(flags: Readonly<Record<string, unknown>>, environment: Environment): DaemonConfig {
  const { ca, url, ...rest } = check(daemonSettings, flags, {
    url: ['BRIDGE_URL', environment.BRIDGE_URL],
    logLevel: ['BRIDGE_LOG_LEVEL', environment.BRIDGE_LOG_LEVEL],
  })
  if (!url)
    throw invalid('--url: is missing; it says where the control plane is, for instance https://bridge.example.com')
  // It is not repeated: people put credentials into URLs.
  if (!/^https?:\/\/[^\s@?#]{1,2000}$/.test(url) || !URL.canParse(url)) {
    const source = flags.url === undefined ? 'BRIDGE_URL' : '--url'
    throw invalid(`${source}: must begin with http:// or https:// and have no credentials, query or fragment`)
  }
  const key = flags.key ?? environment.BRIDGE_DAEMON_KEY
  const source = flags.key === undefined ? 'BRIDGE_DAEMON_KEY' : '--key'
  if (typeof key !== 'string' || key === '') throw invalid('--key: is missing; make one with: daemon-keys create')
  if (!/^[A-Za-z0-9]{10}-[A-Za-z0-9]{22}$/.test(key)) {
    throw invalid(`${source}: is not a daemon key; make one with: daemon-keys create`)
  }
  return { ...rest, url, key, caFile: ca }
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
  return environment.BRIDGE_ADMIN_TOKEN
    ? checkAdminToken(environment.BRIDGE_ADMIN_TOKEN, 'BRIDGE_ADMIN_TOKEN')
    : undefined
}

/** Checks a token that came from `source`: it has to fit into a header and to be hard to guess. */
export function checkAdminToken(token: string, source: string): string {
  if (adminTokenPattern.test(token)) return token
  throw invalid(
    `${source}: must be 16 to 512 printable ASCII characters without spaces; this one has ${token.length} characters`,
  )
}

/**
 * One or two keys of 32 bytes, each in hex or base64, with a comma between them. The first seals; both open, so that a key can be replaced.
 * @throws RpcError `BAD_REQUEST` (config_invalid), without the keys in its message
 */
export function parseEncryptionKeys(text: string, source: string): Uint8Array[] {
  const keys = text.split(',').map(part => part.trim())
  if (keys.length > 2) throw invalid(`${source}: must be one key or two with a comma between them, not ${keys.length}`)
  return keys.map((key, index) => {
    const bytes = /^[0-9a-fA-F]{64}$/.test(key) ? Buffer.from(key, 'hex') : Buffer.from(key, 'base64')
    if (bytes.length === 32 && /^[0-9A-Za-z+/_=-]+$/.test(key)) return new Uint8Array(bytes)
    throw invalid(
      `${source}: key ${index + 1} must be 32 bytes as 64 hex digits or as base64; it holds ${bytes.length}`,
    )
  })
}

/** An error about a setting. */
export function invalid(message: string, cause?: unknown): RpcError {
  return new RpcError('BAD_REQUEST', message, { reason: 'config_invalid', cause })
}

const secretSettings: ReadonlySet<string> = new Set(['databaseUrl'])

type Variables = Readonly<Record<string, readonly [variable: string, value: string | undefined]>>

function check<S extends z.ZodObject>(
  schema: S,
  flags: Readonly<Record<string, unknown>>,
  variables: Variables,
): z.output<S> {
  const values = Object.fromEntries(
    Object.keys(schema.shape).map(key => [key, flags[key] ?? (variables[key]?.[1] || undefined)]),
  )
  const result = schema.safeParse(values)
  if (result.success) return result.data
  const problems = result.error.issues.map(({ path, message }) => {
    const key = String(path[0])
    const source = flags[key] === undefined ? variables[key]?.[0] : undefined
    const shown = secretSettings.has(key) ? '' : ` ${JSON.stringify(values[key])}`
    return `${source ?? flagOf(key)}${shown}: ${message}`
  })
  throw invalid(problems.join('; '))
}

function flagOf(key: string): string {
  return `--${key.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`
}

function absolutePath(path: string): string {
  // A shell leaves the tilde of `--data=~/x` alone.
  return path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : resolve(path)
}
