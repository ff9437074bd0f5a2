import type { AppRouter } from '../server/routers/app.js'
import { finalCloseCodes } from '../shared/contract/close-codes.js'
import { errorReasons } from '../shared/contract/error-reasons.js'
import { apiVersion } from '../shared/contract/version.js'
import type { CallEnd } from '../shared/rpc/call-end.js'
import type { CloseReason } from '../shared/rpc/duplex.js'
import { RpcError } from '../shared/rpc/errors.js'
import { transformer } from '../shared/rpc/transformer.js'
import { formatVersion } from '../shared/rpc/version.js'
import { createDuplexClient } from './rpc/client.js'
import { type Connection, type ConnectOptions, connect } from './rpc/connection.js'
import type { TRPCClient } from './rpc/trpc-internals.js'
import { type WebSocketDialOptions, webSocketDial } from './rpc/websocket.js'

/** Options of a client, wherever the control plane is. */
export interface ClientOptions {
  /** default deadline of a call, in milliseconds; default 30 s */
  callTimeoutMs?: number
  /** takes errors that belong to no call, such as failed dials; dropped by default */
  onError?: (error: Error) => void
  /** takes each call when it has ended, for metrics: `createBridgeMetrics().callEnded` fits */
  onCallEnd?: (end: CallEnd) => void
}

/** Options of a client whose control plane is in this process. */
export interface LocalControlPlane extends ClientOptions {
  /**
   * returns a fresh duplex for each dial, for instance `() => server.connectInMemory({ identity })`
   */
  dial: ConnectOptions['dial']
}

/** Options of a client whose control plane is reached over a WebSocket. */
export interface RemoteControlPlane extends ClientOptions {
  /** base URL of the control plane, `http://` or `https://`; a path is kept before `/rpc` */
  url: string
  /** a daemon key, or the admin token */
  key: string
  /** certificates for `https://`: a certificate authority of one's own, a client certificate */
  tls?: WebSocketDialOptions['tls']
  /** version of the program that connects; the control plane shows it beside the daemon key */
  buildVersion?: string
  /** a UUID that a daemon's process makes at its start: the control plane notes the process in the rows it records */
  daemonInstance?: string
}

/** Options of {@link createBridgeClient}. */
export type BridgeClientOptions = LocalControlPlane | RemoteControlPlane

/**
 * A client of the control plane: the typed stubs of the routers on one connection. Procedures are called as those of
 * `createTRPCClient`: `client.recorder.recordTokenUsage.mutate(record)`. A failed call rejects
 * with a TRPCClientError whose `data` holds `code`, `reason` and `mayHaveRun`.
 */
export type BridgeClient = Pick<
  TRPCClient<AppRouter>,
  'recorder' | 'authorizer' | 'mcpConfigurator' | 'providerConfigurator' | 'admin'
> & {
  /** the connection below the stubs */
  readonly connection: Connection
  /** Resolves with the reason when the connection is closed for good. */
  readonly closed: Promise<CloseReason>
  /**
   * Closes the connection for good: calls in flight fail with `connection_closed`. Resolves when the duplex is closed.
   */
  close(): Promise<CloseReason>
}

/** Routers with idempotent procedures only: a call without a response may be sent again. */
const idempotent = /^(recorder|authorizer|mcpConfigurator|providerConfigurator)\./

/**
 * Connects to a control plane, and reconnects whenever the connection is lost. Calls in flight are then sent again,
 * except for writes of `admin`.
 * @throws RpcError `BAD_REQUEST` (config_invalid) for an invalid URL or key
 */
export function createBridgeClient(options: BridgeClientOptions): BridgeClient {
  const { callTimeoutMs, onError, onCallEnd } = options
  const connection = connect({
    dial: 'dial' in options ? options.dial : dialRemote(options),
    ...(callTimeoutMs !== undefined && { callTimeoutMs }),
    ...(onError && { onError }),
    ...(onCallEnd && { onCallEnd }),
    finalCloseCodes,
    resend: call => call.type === 'query' || idempotent.test(call.path),
  })
  const { recorder, authorizer, mcpConfigurator, providerConfigurator, admin } = createDuplexClient<AppRouter>({
    connection,
    transformer,
  })
  return {
    recorder,
    authorizer,
    mcpConfigurator,
    providerConfigurator,
    admin,
    connection,
    closed: connection.closed,
    close: () => connection.close(),
  }
}

/**
 * Makes a dial to a control plane, with this service's path, version and headers.
 * @throws RpcError `BAD_REQUEST` (config_invalid) for an invalid URL or key
 */
export function dialRemote({
  url,
  key,
  tls,
  buildVersion,
  daemonInstance,
}: Pick<RemoteControlPlane, 'url' | 'key' | 'tls' | 'buildVersion' | 'daemonInstance'>): ConnectOptions['dial'] {
  const target = URL.canParse(url) ? new URL(url) : undefined
  if (target?.protocol !== 'http:' && target?.protocol !== 'https:') {
    throw invalid('the URL of the control plane must begin with http:// or https://')
  }
  // A header can carry no other characters.
  if (!/^[\x21-\x7e]{1,512}$/.test(key)) throw invalid('the key must be printable ASCII without spaces')
  target.protocol = target.protocol === 'https:' ? 'wss:' : 'ws:'
  target.pathname = `${target.pathname.replace(/\/$/, '')}/rpc`
  target.searchParams.set('version', formatVersion(apiVersion))
  return webSocketDial({
    url: target,
    headers: {
      authorization: `Bearer ${key}`,
      ...(buildVersion !== undefined && { 'x-bridge-build-version': buildVersion }),
      ...(daemonInstance !== undefined && { 'x-bridge-daemon-instance': daemonInstance }),
    },
    ...(tls && { tls }),
    reasons: errorReasons,
  })
}

function invalid(message: string): RpcError {
  return new RpcError('BAD_REQUEST', message, { reason: 'config_invalid' })
}
