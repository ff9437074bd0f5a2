/** This project's server and client. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAcpClient } from '../../client/acp/acp-client.js'
import { serveAcp } from '../../server/acp/serve-acp.js'
import { ConnectionGroup } from '../../server/rpc/connection-group.js'
import type { Duplex, Message } from '../../shared/rpc/duplex.js'
import { memoryDuplexPair } from '../../shared/rpc/links/memory-duplex.js'
import {
  type AcpRow,
  initializeMessage,
  newSessionMessage,
  promptOf,
  Received,
  type RowMessage,
  responseOf,
  updateOf,
  updatesOf,
} from './row.js'

/** An agent that awaits its writes, as that of the official row does. */
function connectAgent(): Duplex {
  const [serverEnd, agentEnd] = memoryDuplexPair()
  let goOn = (): void => {}
  const write = async (message: RowMessage): Promise<void> => {
    agentEnd.send(message)
    if (agentEnd.full) await new Promise<void>(resolve => (goOn = resolve))
  }
  const stream = async (request: RowMessage): Promise<void> => {
    const { sessionId, updates } = updatesOf(request)
    for (let index = 0; index < updates; index++) await write(updateOf(sessionId, index))
    await write({ jsonrpc: '2.0', id: request.id ?? 0, result: { stopReason: 'end_turn' } })
  }
  agentEnd.open({
    onMessage(message) {
      const request = message as RowMessage // the server checks messages
      if (request.method === 'session/prompt') void stream(request)
      else agentEnd.send(responseOf(request))
    },
    onDrain: () => goOn(),
    onClose: () => goOn(),
  })
  return serverEnd
}

async function startServer(): Promise<{ url: string; close(): Promise<void> }> {
  const group = new ConnectionGroup()
  const server = createServer()
  const limits = { maxConnections: 10_000, maxConnectionsPerUser: 10_000 }
  serveAcp({ server, group, agent: connectAgent, limits })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo // listens on TCP
  return {
    url: `http://127.0.0.1:${port}/acp`,
    async close() {
      await group.close({ graceMs: 1_000 })
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

async function connect(url: string): Promise<{ client: ReturnType<typeof createAcpClient>; received: Received }> {
  const client = createAcpClient({ url })
  const received = new Received()
  client.open({ onMessage: message => received.take(message as RowMessage), onDrain() {}, onClose() {} })
  await received.response(0, () => client.send(initializeMessage))
  return { client, received }
}

function row(name: string, transport: AcpRow['transport'], urlOf: (url: string) => string): AcpRow {
  return {
    name,
    transport,
    async open() {
      const server = await startServer()
      const { client, received } = await connect(urlOf(server.url))
      await received.response(1, () => client.send(newSessionMessage))
      let id = 1
      return {
        prompt: updates => received.response(++id, () => client.send(promptOf(id, updates) as Message)),
        async close() {
          await client.close()
          await server.close()
        },
      }
    },
    async openIdle() {
      const server = await startServer()
      return {
        async connect() {
          const { client } = await connect(urlOf(server.url))
          return async () => void (await client.close())
        },
        close: () => server.close(),
      }
    },
  }
}

/** Over SSE and over WebSocket. */
export const aibridgeAcpRows = [
  row('aibridge sse', 'sse', url => url),
  row('aibridge websocket', 'websocket', url => url.replace('http', 'ws')),
]
