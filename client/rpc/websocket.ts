/** Dials a WebSocket, and says of a rejection whether another dial makes sense. */
import type { ConnectionOptions } from 'node:tls'
import type { ClientOptions } from 'ws'
import { DialError } from '../../shared/rpc/dial-error.js'
import type { Duplex } from '../../shared/rpc/duplex.js'
import { type ReasonTable, transportReasons } from '../../shared/rpc/errors.js'
import { times } from '../../shared/rpc/limits.js'
import { webSocketDuplex } from '../../shared/rpc/links/websocket-duplex.js'
import {
  type WebSocketDuplexOptions,
  webSocketSettings,
  webSocketTimes,
} from '../../shared/rpc/links/websocket-settings.js'
import type { ConnectionParams } from '../../shared/rpc/messages.js'
import { timeoutOf } from '../../shared/rpc/timeouts.js'
import { dialSocket, UpgradeRejected, UpgradeTimeout } from './dial-socket.js'
import { dialUrl } from './websocket-url.js'

/** A WebSocket server and how to connect. Times are in milliseconds, sizes in bytes. */
export interface WebSocketDialOptions extends Omit<WebSocketDuplexOptions, 'batch'> {
  /** `ws://` or `wss://`, without credentials: URLs end up in logs */
  url: string | URL
  /** sent with the upgrade, for instance `authorization` */
  headers?: Readonly<Record<string, string>>
  /** for `wss://`: a private certificate authority, a client certificate */
  tls?: Pick<ConnectionOptions, 'ca' | 'cert' | 'key' | 'passphrase' | 'servername' | 'minVersion'>
  /** tRPC's first frame, for servers that take credentials in that frame */
  connectionParams?: ConnectionParams
  /**
   * Reasons that this user's server may give for a rejected upgrade, beside the transport's. A rejection with another
   * reason is not final, since a proxy or a newer server may have sent the reason: the client dials again.
   */
  reasons?: ReasonTable
  /** until the response to the upgrade; default 10 s */
  connectTimeoutMs?: number
}

/**
 * Creates a `dial` for {@link connect}: each call opens one WebSocket, or rejects with a {@link DialError}: fatal for
 * 400, 401, 403 and a 404 with a reason, as a server of this project sends them, and for options that make no valid
 * request; another dial may follow any other error.
 * @throws RpcError `BAD_REQUEST` (config_invalid) at once, for an invalid URL or time
 */
export function webSocketDial(options: WebSocketDialOptions): (info: { signal: AbortSignal }) => Promise<Duplex> {
  const { url, headers, tls, connectionParams, connectTimeoutMs = times.connectTimeoutMs, ...rest } = options
  const { reasons: ownReasons, ...duplexOptions } = rest
  const reasons: ReasonTable = { ...transportReasons, ...ownReasons }
  const patienceMs = timeoutOf('connectTimeoutMs', connectTimeoutMs)
  webSocketTimes(duplexOptions)
  const target = dialUrl(url, connectionParams !== undefined)

  return async ({ signal }) => {
    const settings: ClientOptions = {
      ...tls,
      ...webSocketSettings(duplexOptions),
      ...(headers && { headers: { ...headers } }),
    }
    let dialled: Promise<Duplex>
    try {
      dialled = dialSocket(target, settings, { timeoutMs: patienceMs, signal }, (socket, raw) => {
        const duplex = webSocketDuplex(socket, raw, { ...duplexOptions, batch: true })
        if (connectionParams !== undefined) duplex.send({ method: 'connectionParams', data: connectionParams })
        return duplex
      })
    } catch (cause) {
      throw unusable(cause)
    }
    try {
      return await dialled
    } catch (error) {
      if (signal.aborted) throw failure('the dial was cancelled', error)
      if (error instanceof UpgradeTimeout) {
        throw failure(`no response within connectTimeoutMs ${connectTimeoutMs.toLocaleString('en')}`)
      }
      if (error instanceof UpgradeRejected) throw rejectionOf(error, reasons)
      const message = error instanceof Error ? error.message : ''
      throw failure(message || String(Reflect.get(Object(error), 'code')), error)
    }
  }
}

/** Returns the error for an option that Node rejects before any request: a header that no request can hold. */
function unusable(cause: unknown): DialError {
  // Node's message names a header at most, never its value.
  const problem = cause instanceof Error ? cause.message : String(cause)
  return new DialError(`no request can be made of the options: ${problem}`, {
    fatal: true,
    reason: 'config_invalid',
    cause,
  })
}

function failure(message: string, cause?: unknown): DialError {
  return new DialError(message, { fatal: false, cause })
}

const finalStatuses = new Set([400, 401, 403, 404])

function rejectionOf({ status, headers, text }: UpgradeRejected, reasons: ReasonTable): DialError {
  const { message, reason } = parseRejection(text, reasons)
  // A response without a known reason comes from a proxy, perhaps for a short time only.
  const fatal = reason !== undefined && finalStatuses.has(status)
  const retryAfter = /^\d{1,9}$/.exec(headers['retry-after'] ?? '')
  return new DialError(`the server responded with ${status}${message === undefined ? '' : `: ${message}`}`, {
    fatal,
    status,
    ...(reason !== undefined && { reason }),
    ...(retryAfter && { retryAfterMs: Number(retryAfter[0]) * 1000 }),
  })
}

function parseRejection(text: string, reasons: ReasonTable): { message?: string; reason?: string } {
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    return {}
  }
  const message: unknown = Reflect.get(Object(body), 'message')
  const reason: unknown = Reflect.get(Object(body), 'reason')
  return {
    ...(typeof message === 'string' && { message }),
    ...(typeof reason === 'string' && Object.hasOwn(reasons, reason) && { reason }),
  }
}
