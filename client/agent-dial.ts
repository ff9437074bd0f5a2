/** The dial with which an agent comes to a control plane. */
import { errorReasons } from '../shared/contract/error-reasons.js'
import { bearer, controlPlaneUrl } from './bridge-stubs.js'
import type { ConnectOptions } from './rpc/connection.js'
import { type WebSocketDialOptions, webSocketDial } from './rpc/websocket.js'

/** Options of {@link agentDial}. */
export interface AgentDialOptions {
  /** base URL of the control plane, `http://` or `https://`; a path is kept before `/agent` */
  url: string
  /** the agent's key */
  key: string
  /** the id of the agent's process, see `AgentInfo` */
  instance: string
  buildVersion: string
  /** certificates for `https://` */
  tls?: WebSocketDialOptions['tls']
}

/**
 * Makes the dial of an agent, for `serveDial`.
 * @throws RpcError `BAD_REQUEST` (config_invalid) for an invalid URL or key
 */
export function agentDial({ url, key, instance, buildVersion, tls }: AgentDialOptions): ConnectOptions['dial'] {
  return webSocketDial({
    url: controlPlaneUrl(url, '/agent'),
    headers: {
      authorization: bearer(key),
      'x-bridge-build-version': buildVersion,
      'x-bridge-agent-instance': instance,
    },
    ...(tls && { tls }),
    reasons: errorReasons,
  })
}
