/** The settings of a client of agents, and their checks. */
import type { ConnectionOptions } from 'node:tls'
import { type AcpClientLimits, type AcpClientTimes, acpClientLimits, acpClientTimes } from '../../shared/acp/limits.js'
import type { AcpRequest } from '../../shared/acp/messages.js'
import { type RpcError, transportError } from '../../shared/rpc/errors.js'
import { timeoutOf } from '../../shared/rpc/timeouts.js'

/** A server of agents and how to connect. */
export interface AcpClientOptions {
  /** `http://`, `https://`, `ws://` or `wss://`, without credentials: URLs end up in logs */
  url: string | URL
  /** sent with every request, for instance `authorization`; headers of the protocol itself are the client's */
  headers?: Readonly<Record<string, string>>
  /** for `https://` and `wss://`: a private certificate authority, a client certificate */
  tls?: AcpTls
  /** Default: {@link acpClientLimits}. */
  limits?: Partial<AcpClientLimits>
  /** Default: {@link acpClientTimes}. */
  times?: Partial<AcpClientTimes>
  /**
   * Returns the deadline of a request, in milliseconds from `send` to its response; a request that passes it fails with
   * deadline_passed. Default: none, because a turn may run for hours; `initialize` has `initializeTimeoutMs`.
   */
  deadlineMs?: (request: AcpRequest) => number | undefined
  /**
   * Gets each error of a message that was not delivered, or may not have been, and the error that ends the connection:
   * with code, reason and cause. Requests get a response with the error too.
   */
  onError?: (error: RpcError<string>) => void
  /** for tests: a number from 0 to 1, by default `Math.random` */
  random?: () => number
}

/** The options of TLS that a client takes. */
export type AcpTls = Pick<ConnectionOptions, 'ca' | 'cert' | 'key' | 'passphrase' | 'servername' | 'minVersion'>

/** The options with all defaults filled in. */
export interface AcpClientSettings {
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly tls: AcpTls | undefined
  readonly limits: AcpClientLimits
  readonly times: AcpClientTimes
  readonly deadlineMs: (request: AcpRequest) => number | undefined
  readonly onError: (error: RpcError<string>) => void
  readonly random: () => number
}

/** Headers that the client sets itself, or that belong to the connection. */
const ownHeaders = new Set([
  'accept',
  'acp-connection-id',
  'acp-session-id',
  'connection',
  'content-length',
  'content-type',
  'cookie',
  'host',
  'last-event-id',
  'transfer-encoding',
  'upgrade',
])

/**
 * Checks the options and fills in the defaults.
 * @throws RpcError `BAD_REQUEST` (config_invalid), without the URL and the values of headers
 */
export function settingsOf(options: AcpClientOptions): AcpClientSettings {
  const { tls, deadlineMs = () => undefined, onError = () => {}, random = Math.random } = options
  const times = { ...acpClientTimes, ...options.times }
  for (const [name, ms] of Object.entries(times)) timeoutOf(name, ms, 1)
  const limits = { ...acpClientLimits, ...options.limits }
  for (const [name, limit] of Object.entries(limits)) {
    if (!(limit >= 1)) throw invalid(`${name} must be a number from 1 on, and is ${limit}`)
  }
  return {
    url: checkUrl(options.url),
    headers: checkHeaders(options.headers),
    tls,
    limits,
    times,
    deadlineMs,
    onError,
    random,
  }
}

function checkUrl(given: string | URL): URL {
  if (!URL.canParse(String(given))) throw invalid('url cannot be parsed')
  const url = new URL(given)
  if (!/^(https?|wss?):$/.test(url.protocol)) throw invalid('url must begin with http://, https://, ws:// or wss://')
  if (url.username !== '' || url.password !== '') throw invalid('url has credentials, which belong into a header')
  if (url.hash !== '') throw invalid('url has a fragment')
  return url
}

function checkHeaders(headers: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  for (const [name, value] of Object.entries(headers)) {
    if (ownHeaders.has(name.toLowerCase())) throw invalid(`the header ${name} is the client's own`)
    try {
      new Headers([[name, value]])
    } catch {
      // The message of the platform would repeat the value.
      throw invalid(`the header ${JSON.stringify(name)} has a name or a value that no request can hold`)
    }
  }
  return { ...headers }
}

function invalid(problem: string): RpcError {
  return transportError('config_invalid', problem)
}
