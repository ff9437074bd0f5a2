/** Connects to agents by the Agent Client Protocol, over streamable HTTP or WebSocket. Knows no agent. */
import { type AcpClient, ClientConnection } from './client-connection.js'
import { type AcpClientOptions, settingsOf } from './options.js'

export type { AcpClient } from './client-connection.js'

/**
 * Returns a connection to the agent of a server. Nothing is sent before the first message, which must be `initialize`;
 * a connection that has ended stays ended.
 *
 * Messages keep their order in each session. A stream that breaks off is opened again where it stopped. A request that
 * gets no response of the agent gets one with an error: `data.reason` is a reason of `acpReasons`, and
 * `data.mayHaveRun` says whether the agent may have seen the request. When the connection ends, all open requests get
 * one, and then `onClose` is called.
 *
 * `send` throws an RpcError for a message that breaks a rule of the protocol: not_initialized, already_initialized,
 * invalid_request, duplicate_id, too_many_requests, message_too_large, not_encodable. The connection goes on.
 * @throws RpcError `BAD_REQUEST` (config_invalid) for an option that is not valid
 */
export function createAcpClient(options: AcpClientOptions): AcpClient {
  return new ClientConnection(settingsOf(options))
}
