/** The call of memory-call.ts over a WebSocket on loopback, both ends in this process, beside tRPC's own link and a bare echo. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createTRPCClient, createWSClient, wsLink } from '@trpc/client'
import { applyWSSHandler } from '@trpc/server/adapters/ws'
import { SuperJSON } from 'superjson'
import { WebSocket, WebSocketServer } from 'ws'
import { createDuplexClient } from '../client/rpc/client.js'
import { connect } from '../client/rpc/connection.js'
import { duplexLink } from '../client/rpc/link.js'
import { webSocketDial } from '../client/rpc/websocket.js'
import { ConnectionGroup } from '../server/rpc/connection-group.js'
import { serveWebSockets } from '../server/rpc/websocket-listener.js'
import { transformer } from '../shared/transformer.js'
import { measure, print } from './harness.js'
import { record, router } from './the-call.js'

/** Our WebSocket link beside `wsLink`, and below both the transport that they use. */
export async function benchWebSocketCall(): Promise<void> {
  const ours = await startOurs()
  const stock = await startStock()
  const echo = await startEcho()
  const duplexClient = createDuplexClient<typeof router>({ connection: ours.connection, transformer })
  const linkClient = createTRPCClient<typeof router>({
    links: [duplexLink({ connection: ours.connection, transformer })],
  })
  const stockClient = createTRPCClient<typeof router>({ links: [wsLink({ client: stock.client, transformer })] })
  const text = JSON.stringify({
    id: 1,
    method: 'mutation',
    params: { path: 'recorder.recordTokenUsage', input: new SuperJSON().serialize(record) },
  })

  const base = 'bare ws echo of the same text'
  const rows = [
    { name: base, call: () => echo.call(text) },
    { name: 'createDuplexClient', call: () => duplexClient.recorder.recordTokenUsage.mutate(record) },
    { name: 'createTRPCClient + duplexLink', call: () => linkClient.recorder.recordTokenUsage.mutate(record) },
    {
      name: 'tRPC wsLink + applyWSSHandler',
      call: () => stockClient.recorder.recordTokenUsage.mutate(record),
      sequentialCalls: 200,
    },
  ]
  for (const inFlight of [64, 1024]) print('WebSocket call', await measure(rows, { inFlight }), base)
  await Promise.all([ours.close(), stock.close(), echo.close()])
}

async function startOurs() {
  const server = createServer()
  const group = new ConnectionGroup()
  serveWebSockets({ server, path: '/rpc', router, group })
  const url = await listening(server)
  const connection = connect({ dial: webSocketDial({ url: `${url}/rpc` }) })
  const close = async (): Promise<void> => {
    await connection.close()
    await group.close()
    server.close()
  }
  return { connection, close }
}

async function startStock() {
  const server = createServer()
  const wss = new WebSocketServer({ server, perMessageDeflate: false })
  applyWSSHandler({ wss, router })
  const url = await listening(server)
  const client = createWSClient({ url, WebSocket: WebSocket as never }) // ws's class for the browser's
  const close = async (): Promise<void> => {
    await client.close()
    wss.close()
    server.close()
  }
  return { client, close }
}

async function startEcho() {
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

function listening(server: ReturnType<typeof createServer>): Promise<string> {
  return new Promise(resolve => {
    server.listen(0, '127.0.0.1', () => resolve(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`)) // a TCP server's
  })
}
