/**
 * This project's ends and tRPC's own, made the same way, so that one test can run against both. All are closed after
 * the test.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { createWSClient, type TRPCWebSocketClient } from '@trpc/client'
import type { AnyTRPCRouter, inferRouterContext, TRPCError } from '@trpc/server'
import { applyWSSHandler } from '@trpc/server/adapters/ws'
import { WebSocket, WebSocketServer } from 'ws'
import { ConnectionGroup } from '../../server/rpc/connection-group.js'
import { serveWebSockets } from '../../server/rpc/upgrade/websocket-listener.js'
import { opened } from '../fixtures/leaves-nothing.js'

export interface ServedOptions<R extends AnyTRPCRouter> {
  /** default: an empty one */
  createContext?: (connectionParams: ConnectionParams) => MaybePromise<inferRouterContext<R>>
  onError?: (report: { error: TRPCError; path: string | undefined }) => void
  /** tRPC's own server sends `PING` after this silence, as text; this project's a ping of the WebSocket */
  pingMs?: number
}
type ConnectionParams = Readonly<Record<string, string | undefined>> | null
type MaybePromise<T> = T | Promise<T>

export interface Served {
  url: string
  /** sockets that are open */
  connections(): number
  /** connections that there were */
  accepted(): number
  /** Tells every client to move, as before a deploy. */
  move(): void
  /** Cuts every connection as a lost network would. */
  cut(): void
}

/** A kind of server. */
export interface ServerKind {
  name: string
  serve<R extends AnyTRPCRouter>(router: R, options?: ServedOptions<R>): Promise<Served>
}

const clients = new Set<{ close(): Promise<unknown> }>()

/** A client that is closed before any server is: it would look for it otherwise. */
export function closedAfterTest<T extends { close(): Promise<unknown> }>(client: T): T {
  clients.add(client)
  opened.add({ groups: [], close: closeClients })
  return client
}

async function closeClients(): Promise<void> {
  const open = [...clients]
  clients.clear()
  await Promise.all(open.map(client => client.close()))
}

/** An HTTP server that both kinds stand on. */
async function listening(group: ConnectionGroup | undefined, close: () => void) {
  const server = createServer()
  const sockets = new Set<Socket>()
  let accepted = 0
  server.on('connection', (socket: Socket) => {
    accepted++
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  opened.add({
    groups: group ? [group] : [],
    close: closeClients,
    closeServers: async () => {
      close()
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // it listens on TCP
  return {
    server,
    url: `ws://127.0.0.1:${port}/rpc`,
    connections: () => sockets.size,
    accepted: () => accepted,
    cut: () => {
      for (const socket of sockets) socket.destroy()
    },
  }
}

export const ours: ServerKind = {
  name: 'of this project',
  async serve(router, { createContext, onError, pingMs } = {}) {
    const group = new ConnectionGroup()
    const { server, ...rest } = await listening(group, () => {})
    serveWebSockets({
      server,
      path: '/rpc',
      router,
      group,
      createContext: ({ connectionParams }) => createContext?.(connectionParams) ?? {},
      ...(onError && { onError }),
      ...(pingMs !== undefined && { pingIntervalMs: pingMs }),
    })
    return { ...rest, move: () => void group.close({ graceMs: 60_000 }) }
  },
}

/** tRPC's own server, each frame that it gets, and how many pings of the WebSocket. */
export const stock = {
  name: 'of tRPC',
  async serve<R extends AnyTRPCRouter>(
    router: R,
    { createContext, onError, pingMs }: ServedOptions<R> = {},
  ): Promise<Served & { frames: string[]; pings(): number }> {
    const frames: string[] = []
    const wss = new WebSocketServer({ noServer: true })
    const { server, ...rest } = await listening(undefined, () => wss.close())
    server.on('upgrade', (request, socket, head) => {
      wss.handleUpgrade(request, socket, head, webSocket => wss.emit('connection', webSocket, request))
    })
    let pings = 0
    wss.on('connection', socket => {
      socket.on('message', data => frames.push(data.toString()))
      socket.on('ping', () => pings++)
    })
    const handler = applyWSSHandler({
      wss,
      router,
      createContext: ({ info }) => createContext?.(info.connectionParams) ?? {},
      ...(onError && { onError: ({ error, path }) => onError({ error, path }) }),
      ...(pingMs !== undefined && { keepAlive: { enabled: true, pingMs, pongWaitMs: 5_000 } }),
    } as Parameters<typeof applyWSSHandler>[0]) // its type asks whether the context of a router, unknown here, may be left out
    return { ...rest, frames, pings: () => pings, move: () => handler.broadcastReconnectNotification() }
  },
} satisfies ServerKind

export const servers: readonly ServerKind[] = [ours, stock]

/** tRPC's own client, and each frame that it sends and gets. */
export function stockClient(options: Omit<Parameters<typeof createWSClient>[0], 'WebSocket'>): {
  client: TRPCWebSocketClient
  sent: string[]
  received: string[]
} {
  const sent: string[] = []
  const received: string[] = []
  const sockets: WebSocket[] = []
  class RecordingWebSocket extends WebSocket {
    constructor(url: string) {
      super(url)
      sockets.push(this)
      this.on('message', data => received.push(data.toString()))
      const send = this.send.bind(this)
      this.send = (data: unknown) => {
        sent.push(String(data))
        send(String(data))
      }
    }
  }
  // `ws` has the class that a browser has, with types of its own.
  const client = createWSClient({ retryDelayMs: () => 1, ...options, WebSocket: RecordingWebSocket as never })
  closedAfterTest({
    async close() {
      await client.close()
      // It does not wait for its sockets.
      const open = sockets.filter(socket => socket.readyState !== WebSocket.CLOSED)
      await Promise.all(
        open.map(async socket => {
          socket.on('error', () => {}) // to be terminated while it connects is one
          socket.terminate()
          await once(socket, 'close')
        }),
      )
      // Nor for its own delays, which are of 1 ms here: timers of the same delay fire in the order in which they were
      // set.
      await new Promise(resolve => setTimeout(resolve, 1))
    },
  })
  return { client, sent, received }
}

/** Frames without PING and PONG, parsed; those of a batch one by one. */
export function messagesOf(frames: readonly string[]): unknown[] {
  return frames.filter(frame => frame !== 'PING' && frame !== 'PONG').flatMap(frame => JSON.parse(frame))
}
