import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import { ConnectionGroup } from '../../server/rpc/connection-group.js'
import type { ServeWebSocketsOptions, WebSocketListener } from '../../server/rpc/upgrade/listener-options.js'
import { serveWebSockets } from '../../server/rpc/upgrade/websocket-listener.js'
import type { RpcError } from '../../shared/rpc/errors.js'
import { html, policy } from './pages.js'
import { makeRouter, type Router } from './router.js'

/** Serves a page with a program, and the router of a test at `/rpc`, until the end of the test. */
export async function servePage(code: string, options: Partial<ServeWebSocketsOptions<Router, string>> = {}) {
  const parts = makeRouter()
  const server = createServer(pageOf(code))
  const sockets = new Set<Socket>()
  const rejected: RpcError<string>[] = []
  const groups: ConnectionGroup[] = []
  let upgrades = 0
  server.on('connection', socket => sockets.add(socket))
  server.on('upgrade', () => upgrades++)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo // it listens on TCP
  const origin = `http://127.0.0.1:${port}`

  const listen = (): { group: ConnectionGroup; listener: WebSocketListener } => {
    const group = new ConnectionGroup()
    groups.push(group)
    const listener = serveWebSockets<Router, string>({
      server,
      path: '/rpc',
      router: parts.router,
      group,
      allowedOrigins: [origin],
      createContext: ({ identity }) => ({ who: identity ?? 'nobody' }),
      onRejected: error => rejected.push(error),
      ...options,
    })
    return { group, listener }
  }
  const first = listen()
  onTestFinished(async () => {
    for (const group of groups) await group.close({ graceMs: 0 })
    const closed = new Promise(resolve => server.close(resolve))
    server.closeAllConnections()
    await closed
  })
  return {
    ...parts,
    ...first,
    /** Serves the path with another group, as a server that takes over does. */
    replace() {
      first.listener.stop()
      return listen()
    },
    origin,
    url: `ws://127.0.0.1:${port}/rpc`,
    rejected,
    upgrades: () => upgrades,
    /** Cuts all connections as a lost network would. */
    cut() {
      for (const socket of sockets) socket.destroy()
    },
  }
}

function pageOf(code: string): RequestListener {
  return ({ url }, response) => {
    const isProgram = url === '/page.js'
    response.writeHead(url === '/page' || isProgram ? 200 : 404, {
      'content-type': isProgram ? 'text/javascript' : 'text/html',
      'content-security-policy': policy,
    })
    response.end(isProgram ? code : html)
  }
}
