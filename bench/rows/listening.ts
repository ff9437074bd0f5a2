import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocket, WebSocketServer } from 'ws'

/** Starts `server` on a free port of loopback and returns its WebSocket URL. */
export function listening(server: Server): Promise<string> {
  return new Promise(resolve => {
    server.listen(0, '127.0.0.1', () => resolve(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`)) // a TCP server's
  })
}

/** Serves bare WebSockets of `ws`, for the rows that bring no listener of their own. */
export async function serveBare(
  attach: (wss: WebSocketServer) => void,
): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer()
  const wss = new WebSocketServer({ server, perMessageDeflate: false })
  attach(wss)
  return {
    url: await listening(server),
    async close() {
      for (const socket of wss.clients) socket.terminate()
      wss.close()
      server.close()
    },
  }
}

/** Resolves with an open WebSocket. */
export async function openBare(url: string): Promise<WebSocket> {
  const socket = new WebSocket(url, { perMessageDeflate: false })
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
  return socket
}
