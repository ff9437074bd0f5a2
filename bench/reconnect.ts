/**
 * 300 clients whose server goes away and comes back on the same port: how many dial at once, and when the last one is
 * back.
 */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { createTRPCClient, createWSClient, wsLink } from '@trpc/client'
import { initTRPC } from '@trpc/server'
import { applyWSSHandler } from '@trpc/server/adapters/ws'
import { WebSocket, WebSocketServer } from 'ws'
import { createDuplexClient } from '../client/rpc/client.js'
import { connect } from '../client/rpc/connection.js'
import { webSocketDial } from '../client/rpc/websocket.js'
import { ConnectionGroup } from '../server/rpc/connection-group.js'
import { serveWebSockets } from '../server/rpc/upgrade/websocket-listener.js'

const clients = 300
const outagesMs = [1_400, 4_300]

const t = initTRPC.create()
const router = t.router({ ping: t.procedure.query(() => 'pong') })

/** The callbacks of a client: before each dial, and at each open connection. */
interface Watch {
  dialled(): void
  opened(): void
}

interface Kind {
  name: string
  serve(server: Server): void
  /** Resolves after a first call, which makes the connection one of use. */
  connect(port: number, watch: Watch): Promise<{ close(): unknown }>
}

const ours: Kind = {
  name: 'connect() + webSocketDial',
  serve(server) {
    serveWebSockets({ server, path: '/', router, group: new ConnectionGroup() })
  },
  async connect(port, { dialled, opened }) {
    const dial = webSocketDial({ url: `ws://127.0.0.1:${port}/` })
    const connection = connect({
      dial(info) {
        dialled()
        return dial(info)
      },
    })
    connection.onStateChange(state => state === 'open' && opened())
    await createDuplexClient<typeof router>({ connection }).ping.query()
    return connection
  },
}

const stock: Kind = {
  name: 'tRPC wsLink',
  serve(server) {
    applyWSSHandler({ wss: new WebSocketServer({ server }), router })
  },
  async connect(port, { dialled, opened }) {
    class Counted extends WebSocket {
      constructor(url: string | URL) {
        dialled()
        super(url)
        this.on('error', () => {})
      }
    }
    const client = createWSClient({ url: `ws://127.0.0.1:${port}`, WebSocket: Counted as never, onOpen: opened }) // ws's class for the browser's
    await createTRPCClient<typeof router>({ links: [wsLink({ client })] }).ping.query()
    return client
  },
}

/** Prints dials and returns of both kinds of clients, for each outage. */
export async function benchReconnect(): Promise<void> {
  console.log(`\n${clients} clients lose their server (Node ${process.versions.node})`)
  console.log(
    `${''.padEnd(28)}${'outage'.padStart(8)}${'first 100 ms'.padStart(14)}${'busiest 100 ms'.padStart(16)}${'dials in all'.padStart(14)}${'last one back'.padStart(16)}`,
  )
  for (const outageMs of outagesMs) {
    for (const kind of [ours, stock]) {
      const { dials, lastBackMs } = await outage(kind, outageMs)
      const columns = [
        `${outageMs / 1000} s`.padStart(8),
        String(dialsFrom(0, dials)).padStart(14),
        String(Math.max(...dials.map((_, index) => dialsFrom(index, dials)))).padStart(16),
        String(dials.length).padStart(14),
        `${(lastBackMs / 1000).toFixed(2)} s`.padStart(16),
      ]
      console.log(kind.name.padEnd(28) + columns.join(''))
    }
  }
}

/** Returns the number of dials in the 100 ms that begin with a dial. */
function dialsFrom(index: number, dials: readonly number[]): number {
  const from = dials[index] ?? Number.POSITIVE_INFINITY
  return dials.filter(at => at >= from && at < from + 100).length
}

/** Returns the times of the dials after the loss of the server, and the last client's return after the server's. */
async function outage(kind: Kind, outageMs: number): Promise<{ dials: number[]; lastBackMs: number }> {
  const dials: number[] = []
  let open = 0
  let allOpen = deferred()
  const watch: Watch = {
    dialled: () => dials.push(performance.now()),
    opened: () => ++open === clients && allOpen.resolve(),
  }
  const before = await start(kind, 0)
  const connections = await Promise.all(Array.from({ length: clients }, () => kind.connect(before.port, watch)))
  await allOpen.promise
  dials.length = open = 0
  allOpen = deferred()
  before.stop()
  await wait(outageMs)
  const after = await start(kind, before.port)
  const backAt = performance.now()
  await allOpen.promise
  const lastBackMs = performance.now() - backAt
  await Promise.all(connections.map(connection => connection.close()))
  after.stop()
  return { dials, lastBackMs }
}

/** Starts a server; `stop` cuts all its connections, as a crash would. */
async function start(kind: Kind, port: number): Promise<{ port: number; stop(): void }> {
  const server = createServer()
  const sockets = new Set<Socket>()
  server.on('connection', socket => sockets.add(socket))
  kind.serve(server)
  await once(server.listen(port, '127.0.0.1'), 'listening')
  return {
    port: (server.address() as AddressInfo).port, // it listens on TCP
    stop() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

function deferred(): { promise: Promise<void>; resolve(): void } {
  let resolve = (): void => {}
  const promise = new Promise<void>(done => {
    resolve = done
  })
  return { promise, resolve: () => resolve() }
}
