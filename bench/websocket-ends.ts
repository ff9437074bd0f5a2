/** The ends that the WebSocket benchmarks compare, each with server and client in this process. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createWSClient, type TRPCWebSocketClient } from '@trpc/client'
import { applyWSSHandler } from '@trpc/server/adapters/ws'
import { WebSocket, WebSocketServer } from 'ws'
import { type Connection, connect } from '../client/rpc/connection.js'
import { webSocketDial } from '../client/rpc/websocket.js'
import { ConnectionGroup } from '../server/rpc/connection-group.js'
import type { AnyRouter } from '../server/rpc/trpc-internals.js'
import { serveWebSockets } from '../server/rpc/upgrade/websocket-listener.js'

/** This project's. `connect()` opens one more connection. */
export async function startOurs(router: AnyRouter): Promise<{ connect(): Connection; close(): Promise<void> }> {
  const server = createServer()
  const group = new ConnectionGroup()
  serveWebSockets({ server, path: '/rpc', router, group })
  const url = await listening(server)
  const connections: Connection[] = []
  return {
    connect() {
      const connection = connect({ dial: webSocketDial({ url: `${url}/rpc` }) })
      connections.push(connection)
      return connection
    },
    async close() {
      await Promise.all(connections.map(connection => connection.close()))
      await group.close()
      server.close()
    },
  }
}

/** tRPC's. */
export async function startStock(
  router: AnyRouter,
): Promise<{ connect(): TRPCWebSocketClient; close(): Promise<void> }> {
  const server = createServer()
  const wss = new WebSocketServer({ server, perMessageDeflate: false })
  applyWSSHandler({ wss, router })
  const url = await listening(server)
  const clients: TRPCWebSocketClient[] = []
  return {
    connect() {
      const client = createWSClient({ url, WebSocket: WebSocket as never }) // ws's class for the browser's
      clients.push(client)
      return client
    },
    async close() {
      await Promise.all(clients.map(client => client.close()))
      wss.close()
      server.close()
    },
  }
}

/** A bare WebSocket whose server sends each frame back. */
export async function startEcho(): Promise<{ call(text: string): Promise<string>; close(): Promise<void> }> {
  const server = createServer()
  const wss = new WebSocketServer({ server, perMessageDeflate: false })
  wss.on('connection', socket => socket.on('message', data => socket.send(data.toString())))
  const socket = new WebSocket(await listening(server), { perMessageDeflate: false })
  await new Promise(resolve => socket.once('open', resolve))
  const waiting: ((text: string) => void)[] = []
  socket.on('message', data => waiting.shift()?.(data.toString()))
  const call = (text: string): Promise<string> => {
    socket.send(text)
    return new Promise(resolve => waiting.push(resolve))
  }
  const close = async (): Promise<void> => {
    socket.terminate()
    wss.close()
    server.close()
  }
  return { call, close }
}

function listening(server: Server): Promise<string> {
  return new Promise(resolve => {
    server.listen(0, '127.0.0.1', () => resolve(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`)) // a TCP server's
  })
}
