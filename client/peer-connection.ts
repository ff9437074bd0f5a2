/** The connection of a server to another server of its database. */
import type { PeerConnection, PeerDial } from '../server/control-plane/peers/peer-links.js'
import type { PeerRouter } from '../server/routers/peer.js'
import { errorReasons } from '../shared/contract/error-reasons.js'
import { peerLimits } from '../shared/contract/limits.js'
import { peerVersion } from '../shared/contract/peers.js'
import { transformer } from '../shared/rpc/json/transformer.js'
import { formatVersion } from '../shared/rpc/version.js'
import { bearer, controlPlaneUrl } from './bridge-stubs.js'
import { converted, optionsOf, waitInSlices } from './process-calls.js'
import { createDuplexClient } from './rpc/client.js'
import { connect } from './rpc/connection.js'
import { type WebSocketDialOptions, webSocketDial } from './rpc/websocket.js'

/** Options of {@link connectPeer}: the server's, and those of its configuration. */
export interface PeerConnectionOptions extends PeerDial {
  /** certificates for `https://` */
  tls?: WebSocketDialOptions['tls'] | undefined
}

/**
 * Connects to another server, and reconnects whenever the connection is lost. Calls wait for the connection, and are
 * sent again on the next one: every procedure of a peer is idempotent.
 * @throws RpcError `BAD_REQUEST` (config_invalid) for an invalid URL
 */
export function connectPeer({ url, token, tls, onError, onCallEnd }: PeerConnectionOptions): PeerConnection {
  const target = controlPlaneUrl(url, '/peer')
  target.searchParams.set('version', formatVersion(peerVersion))
  const connection = connect({
    // A token is good for one dial.
    dial: info =>
      webSocketDial({
        url: target,
        headers: { authorization: bearer(token()) },
        ...(tls && { tls }),
        reasons: errorReasons,
      })(info),
    resend: () => true,
    maxInFlight: peerLimits.maxInFlight,
    onError,
    onCallEnd,
  })
  const { agents, chats } = createDuplexClient<PeerRouter>({ connection, transformer })
  return {
    agent: (agentId, instanceId) => {
      const agent = { agentId, instanceId }
      return {
        info: call => converted(agents.info.query(agent, optionsOf(call))),
        start: (input, call) => converted(agents.start.mutate({ ...agent, input }, optionsOf(call))),
        output: (input, call) =>
          waitInSlices(input.waitMs, waitMs =>
            converted(agents.output.query({ ...agent, input: { ...input, waitMs } }, optionsOf(call, waitMs))),
          ),
        list: (input, call) => converted(agents.list.query({ ...agent, input }, optionsOf(call))),
        signal: (input, call) => converted(agents.signal.mutate({ ...agent, input }, optionsOf(call))),
        cancel: (input, call) =>
          waitInSlices(input.waitMs, waitMs =>
            converted(agents.cancel.mutate({ ...agent, input: { ...input, waitMs } }, optionsOf(call, waitMs))),
          ),
      }
    },
    async *followParts({ chatId, historyVersion, attempt }, signal) {
      const episode = { chatId, historyVersion, attempt }
      for await (const { data } of await chats.followParts.subscribe(episode, { signal })) yield data
    },
    isOpen: () => connection.state === 'open',
    onStateChange: listener => connection.onStateChange(() => listener()),
    closed: connection.closed,
    close: async () => void (await connection.close()),
  }
}
