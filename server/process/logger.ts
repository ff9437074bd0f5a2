/** The log of a process: pino's lines of JSON on stderr, without a secret. */
import { type DestinationStream, destination, type Logger as PinoLogger, pino } from 'pino'
import { DialError } from '../../shared/rpc/dial-error.js'
import { maskSecrets } from '../../shared/values/mask-secrets.js'
import type { ServeConfig } from '../config/config.js'
import { networkCodeOf } from './dial-problem.js'

/** Options of {@link createLogger}. */
export interface LoggerOptions {
  level: ServeConfig['logLevel']
  /** masked at every place: the secrets of the process's own configuration. */
  secrets?: readonly (string | undefined)[]
  /** receives the lines instead of stderr */
  write?: (line: string) => void
}

/**
 * Creates the log. Three rules keep secrets out: fields with the name of a secret are replaced, only the
 * {@link errorFields} of an error are written, and known or apparent secrets are masked in each whole line.
 */
export function createLogger({ level, secrets = [], write }: LoggerOptions): PinoLogger {
  // As in JSON, where a quote and a backslash are escaped.
  const known = secrets.flatMap(secret => (secret === undefined ? [] : [JSON.stringify(secret).slice(1, -1)]))
  const target: DestinationStream = write ? { write } : stderr()
  return pino(
    {
      level,
      redact: { paths: secretPaths, censor: '[secret]' },
      serializers: { err: errorFields, error: errorFields },
    },
    { write: line => target.write(maskSecrets(line, known)) },
  )
}

/** Written synchronously: the last lines before the end of the process matter most. */
const stderr = () => destination({ fd: 2, sync: true })

const secretNames = [
  'key',
  'keys',
  'apiKey',
  'adminToken',
  'encryptionKey',
  'encryptionKeys',
  'databaseUrl',
  'token',
  'accessToken',
  'refreshToken',
  'secret',
  'password',
  'authorization',
  'Authorization',
  'cookie',
  'x-api-key',
  'x-bridge-token',
  'headers',
  'rawHeaders',
  'rawPacket',
]

/** Each name at the top of a line and one and two levels deeper. */
const secretPaths = secretNames.flatMap(name => [`["${name}"]`, `*["${name}"]`, `*.*["${name}"]`])

/** The logged form of an error. */
export interface ErrorFields {
  type: string
  message: string
  stack?: string | undefined
  code?: string | number | undefined
  cause?: ErrorFields | undefined
  errors?: ErrorFields[] | undefined
}

/** greatest number of written causes of causes, and of errors of one aggregate */
const maxDepth = 8
const maxErrors = 8

/**
 * Returns type, message, stack, code, causes and the errors of an `AggregateError`. Other fields of an error are left
 * out, because libraries attach rows and requests to their errors. A failure of the network has no stack and no causes:
 * the code is all that an operator can use.
 */
export function errorFields(thrown: unknown, depth = 1): ErrorFields {
  if (!(thrown instanceof Error)) return { type: typeof thrown, message: textOf(thrown) }
  const code = codeOf(thrown)
  const { cause } = thrown
  const deeper = depth < maxDepth
  const fields = {
    type: thrown.constructor.name || thrown.name,
    message: maskSecrets(thrown.message),
    ...(code !== undefined && { code }),
  }
  if (isNetworkFailure(thrown)) return fields
  return {
    ...fields,
    ...(thrown.stack !== undefined && { stack: maskSecrets(thrown.stack) }),
    ...(cause !== undefined && deeper && { cause: errorFields(cause, depth + 1) }),
    ...(thrown instanceof AggregateError &&
      deeper && { errors: thrown.errors.slice(0, maxErrors).map(error => errorFields(error, depth + 1)) }),
  }
}

/** A dial has the code of the cause, which is the error of the socket. */
function codeOf(error: Error): string | number | undefined {
  const code: unknown = Reflect.get(error, 'code') ?? (error instanceof DialError ? networkCodeOf(error) : undefined)
  return typeof code === 'string' || typeof code === 'number' ? code : undefined
}

function isNetworkFailure(error: Error): boolean {
  if (error instanceof DialError) return true
  const code: unknown = Reflect.get(error, 'code')
  return typeof code === 'string' && networkCodes.has(code)
}

/** Codes of Node's sockets and of name look-ups. */
const networkCodes = new Set([
  'EAI_AGAIN',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
])

function textOf(thrown: unknown): string {
  return typeof thrown === 'object' || typeof thrown === 'function'
    ? 'no error was thrown'
    : maskSecrets(String(thrown))
}
