import {
  type BridgeClient,
  bearer,
  type ClientOptions,
  connectBridgeClient,
  controlPlaneUrl,
  invalid,
  type LocalControlPlane,
} from '../bridge-stubs.js'
import { webSocketDial } from '../rpc/browser/websocket.js'
import type { ConnectOptions } from '../rpc/connection.js'

/** Options of a client in a browser. */
export interface RemoteControlPlane extends ClientOptions {
  /**
   * base URL of the control plane, `http://` or `https://`; a path is kept before `/rpc`. A control plane accepts pages
   * of its own origin.
   */
  url: string
  /** the admin token, a daemon key, or a user's API key; sent in the first frame */
  key: string
}

/** Options of {@link createBridgeClient}. */
export type BridgeClientOptions = LocalControlPlane | RemoteControlPlane

/**
 * Connects a web page to a control plane, and reconnects whenever the connection is lost. Calls in flight are then sent
 * again, except for writes of `admin`.
 * @throws RpcError `BAD_REQUEST` (config_invalid) for an invalid URL or key, and for options that need headers or
 *   certificates
 */
export function createBridgeClient(options: BridgeClientOptions): BridgeClient {
  return connectBridgeClient('dial' in options ? options.dial : dialRemote(options), options)
}

function dialRemote(options: RemoteControlPlane): ConnectOptions['dial'] {
  // Types for Node allow these options too.
  for (const name of ['tls', 'buildVersion', 'daemonInstance']) {
    if (Reflect.get(options, name) !== undefined) throw invalid(`${name}: a browser takes none`)
  }
  const { url, key } = options
  return webSocketDial({ url: controlPlaneUrl(url), connectionParams: { authorization: bearer(key) } })
}
