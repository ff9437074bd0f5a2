/**
 * A client of an agent, over HTTP or WebSocket, without an SDK: messages are JSON-RPC objects.
 *
 * Prints the protocol version of the agent that this program serves itself, over both transports.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAcpClient } from 'aibridge/client'
import { ConnectionGroup, serveAcp } from 'aibridge/server'
import { type AcpResponse, memoryDuplexPair } from 'aibridge/shared'

const group = new ConnectionGroup()
const server = createServer().listen(0, '127.0.0.1')
await once(server, 'listening')
serveAcp({
  server,
  group,
  agent() {
    const [serverEnd, agentEnd] = memoryDuplexPair()
    agentEnd.open({
      onMessage: message => {
        const id: unknown = Reflect.get(Object(message), 'id')
        agentEnd.send({ jsonrpc: '2.0', id, result: { protocolVersion: 1, agentCapabilities: {} } })
      },
      onDrain() {},
      onClose() {},
    })
    return serverEnd
  },
})
const { port } = server.address() as AddressInfo // a server that listens on TCP

// #region client
async function versionOf(url: string): Promise<unknown> {
  const client = createAcpClient({ url, headers: { authorization: 'Bearer secret of Ada' } })
  const response = new Promise<AcpResponse>((resolve, reject) => {
    client.open({
      onMessage: message => resolve(message as AcpResponse), // the first message is the response
      onDrain() {},
      onClose: ({ message, reason }) => reject(new Error(`${message} (${reason})`)),
    })
  })
  client.send({ jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: 1 } })
  const { result, error } = await response
  await client.close()
  return error ?? Reflect.get(Object(result), 'protocolVersion')
}
// #endregion

console.log('over HTTP:', await versionOf(`http://127.0.0.1:${port}/acp`))
console.log('over a WebSocket:', await versionOf(`ws://127.0.0.1:${port}/acp`))
await group.close({ graceMs: 5_000 })
server.close()
server.closeAllConnections()
