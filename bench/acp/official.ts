/** The official SDK's server and client. The agent and the client's user work on its streams of messages. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { AnyMessage, Stream } from '@agentclientprotocol/sdk'
import { createHttpStream } from '@agentclientprotocol/sdk/experimental/http-client'
import { createNodeHttpHandler, createNodeWebSocketUpgradeHandler } from '@agentclientprotocol/sdk/experimental/node'
import { AcpServer } from '@agentclientprotocol/sdk/experimental/server'
import { createWebSocketStream } from '@agentclientprotocol/sdk/experimental/ws-client'
import { WebSocket, WebSocketServer } from 'ws'
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

/** An agent that awaits its writes, as the SDK's own connection does. */
async function runAgent({ readable, writable }: Stream): Promise<void> {
  const writer = writable.getWriter()
  const write = (message: RowMessage): Promise<void> => writer.write(message as AnyMessage)
  try {
    for await (const message of readable as unknown as AsyncIterable<RowMessage>) {
      if (message.method !== 'session/prompt') await write(responseOf(message))
      else {
        const { sessionId, updates } = updatesOf(message)
        for (let index = 0; index < updates; index++) await write(updateOf(sessionId, index))
        await write({ jsonrpc: '2.0', id: message.id ?? 0, result: { stopReason: 'end_turn' } })
      }
    }
  } catch {
    // The connection was closed.
  }
}

async function startServer(): Promise<{ url: string; close(): Promise<void> }> {
  const acp = new AcpServer({
    createAgent: () =>
      ({
        connect(stream: Stream) {
          const closed = runAgent(stream)
          return { closed, close() {} }
        },
      }) as never, // an agent without the SDK's connection: its checks of messages are no part of the transport
  })
  const server = createServer(createNodeHttpHandler(acp))
  const webSockets = new WebSocketServer({ noServer: true })
  server.on('upgrade', createNodeWebSocketUpgradeHandler(acp, webSockets as never)) // the server of `ws` has its form
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo // listens on TCP
  return {
    url: `http://127.0.0.1:${port}/acp`,
    async close() {
      await acp.close()
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

async function connect(
  stream: Stream,
): Promise<{ send(message: object): Promise<void>; received: Received; close(): Promise<void> }> {
  const received = new Received()
  const writer = stream.writable.getWriter()
  const reader = stream.readable.getReader()
  const read = async (): Promise<void> => {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      received.take(value as RowMessage)
    }
  }
  const reading = read().catch(() => {})
  const send = (message: object): Promise<void> => writer.write(message as AnyMessage)
  await received.response(0, () => send(initializeMessage))
  return {
    send,
    received,
    async close() {
      await writer.close()
      await reading
    },
  }
}

function row(name: string, transport: AcpRow['transport'], streamOf: (url: string) => Stream): AcpRow {
  return {
    name,
    transport,
    async open() {
      const server = await startServer()
      const { send, received, close } = await connect(streamOf(server.url))
      await received.response(1, () => send(newSessionMessage))
      let id = 1
      return {
        prompt: updates => received.response(++id, () => send(promptOf(id, updates))),
        async close() {
          await close()
          await server.close()
        },
      }
    },
    async openIdle() {
      const server = await startServer()
      return {
        async connect() {
          const { close } = await connect(streamOf(server.url))
          return close
        },
        close: () => server.close(),
      }
    },
  }
}

/** Over SSE and over WebSocket. */
export const officialAcpRows = [
  row('official sdk sse', 'sse', url => createHttpStream(url)),
  row('official sdk websocket', 'websocket', url =>
    // A class of `ws` in place of a browser's.
    createWebSocketStream(url.replace('http', 'ws'), { WebSocket: WebSocket as never }),
  ),
]
