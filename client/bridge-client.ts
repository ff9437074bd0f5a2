import { errorReasons } from '../shared/contract/error-reasons.js'
import {
  type BridgeClient,
  bearer,
  type ClientOptions,
  connectBridgeClient,
  controlPlaneUrl,
  type LocalControlPlane,
} from './bridge-stubs.js'
import type { ConnectOptions } from './rpc/connection.js'
import { type WebSocketDialOptions, webSocketDial } from './rpc/websocket.js'

export type { BridgeClient, ClientOptions, LocalControlPlane } from './bridge-stubs.js'

/** Options of a client whose control plane is reached over a WebSocket. */
export interface RemoteControlPlane extends ClientOptions {
  /** base URL of the control plane, `http://` or `https://`; a path is kept before `/rpc` */
  url: string
  /** a daemon key, the admin token, or a user's API key */
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
 * Connects to a control plane, and reconnects whenever the connection is lost. Calls in flight are then sent again,
 * except for writes of `admin`.
 * @throws RpcError `BAD_REQUEST` (config_invalid) for an invalid URL or key
 */
export function createBridgeClient(options: BridgeClientOptions): BridgeClient {
  return connectBridgeClient('dial' in options ? options.dial : dialRemote(options), options)
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
  const authorization = bearer(key)
  return webSocketDial({
    url: controlPlaneUrl(url),
    headers: {
      authorization,
      ...(buildVersion !== undefined && { 'x-bridge-build-version': buildVersion }),
      ...(daemonInstance !== undefined && { 'x-bridge-daemon-instance': daemonInstance }),
    },
    ...(tls && { tls }),
    reasons: errorReasons,
  })
}
