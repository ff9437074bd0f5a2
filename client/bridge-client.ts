import type { AppRouter } from '../server/routers/app.js'
import { finalCloseCodes } from '../shared/contract/close-codes.js'
import { errorReasons } from '../shared/contract/error-reasons.js'
import { apiVersion } from '../shared/contract/version.js'
import type { CloseReason } from '../shared/rpc/duplex.js'
import { RpcError } from '../shared/rpc/errors.js'
import { transformer } from '../shared/rpc/transformer.js'
import { formatVersion } from '../shared/rpc/version.js'
import type { CallEnd } from './rpc/call-end.js'
import { createDuplexClient } from './rpc/client.js'
import { type Connection, type ConnectOptions, connect } from './rpc/connection.js'
import type { TRPCClient } from './rpc/trpc-internals.js'
import { type WebSocketDialOptions, webSocketDial } from './rpc/websocket.js'

/** Options of a client on either link. */
export interface ClientOptions {
  /** deadline of a call that names none; default 30 s */
  callTimeoutMs?: number
  onError?: (error: Error) => void
  /** Hears of each call when it has ended. */
  onCallEnd?: (end: CallEnd) => void
}

/** A control plane in this process. */
export interface LocalControlPlane extends ClientOptions {
  /** a fresh duplex to the control plane each time, for instance `() => server.connectInMemory({ identity })` */
  dial: ConnectOptions['dial']
}

/** A control plane elsewhere. */
export interface RemoteControlPlane extends ClientOptions {
  /** where it is, `http://` or `https://`; its path, if it has one, comes before `/rpc` */
  url: string
  /** a daemon key, or the admin token */
  key: string
  tls?: WebSocketDialOptions['tls']
  /** of the program that connects; the control plane shows it beside the key */
  buildVersion?: string
}

/** A control plane in this process, or one elsewhere. */
export type BridgeClientOptions = LocalControlPlane | RemoteControlPlane

/** The control plane's routers, typed, on one connection. */
export type BridgeClient = Pick<
  TRPCClient<AppRouter>,
  'recorder' | 'authorizer' | 'mcpConfigurator' | 'providerConfigurator' | 'admin'
> & {
  readonly connection: Connection
  /** Resolves with the cause once the connection is closed for good. */
  readonly closed: Promise<CloseReason>
  close(): Promise<CloseReason>
}

/** The routers whose procedures are all idempotent, so that a call whose answer was lost may be repeated. */
const idempotent = /^(recorder|authorizer|mcpConfigurator|providerConfigurator)\./

/**
 * Connects to a control plane. Calls in flight when the connection is lost are sent again, but for those of `admin`.
 * @throws RpcError `BAD_REQUEST` (config_invalid) for a URL or a key that cannot be one
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

/** This service's path, version and headers on a WebSocket. */
export function dialRemote({
  url,
  key,
  tls,
  buildVersion,
}: Pick<RemoteControlPlane, 'url' | 'key' | 'tls' | 'buildVersion'>): ConnectOptions['dial'] {
  const target = URL.canParse(url) ? new URL(url) : undefined
  if (target?.protocol !== 'http:' && target?.protocol !== 'https:') {
    throw invalid('the URL of the control plane must begin with http:// or https://')
  }
  // What a header can carry; a longer or stranger key is none.
  if (!/^[\x21-\x7e]{1,512}$/.test(key)) throw invalid('the key must be printable ASCII without spaces')
  target.protocol = target.protocol === 'https:' ? 'wss:' : 'ws:'
  target.pathname = `${target.pathname.replace(/\/$/, '')}/rpc`
  target.searchParams.set('version', formatVersion(apiVersion))
  return webSocketDial({
    url: target,
    headers: {
      authorization: `Bearer ${key}`,
      ...(buildVersion !== undefined && { 'x-bridge-build-version': buildVersion }),
    },
    ...(tls && { tls }),
    reasons: errorReasons,
  })
}

function invalid(message: string): RpcError {
  return new RpcError('BAD_REQUEST', message, { reason: 'config_invalid' })
}
