/**
 * The same transport over a WebSocket: authentication before the upgrade, a context, a client without headers, and
 * tRPC's own client on the same server.
 *
 * Prints `hello Ada` three times, then the rejection of a client without a token.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createTRPCClient, createWSClient, wsLink } from '@trpc/client'
import { initTRPC } from '@trpc/server'
import { connect, createDuplexClient, webSocketDial } from 'aibridge/client'
import { ConnectionGroup, serveWebSockets } from 'aibridge/server'
import { errorFactory, type ReasonTable } from 'aibridge/shared'
import { WebSocket } from 'ws'

// #region router
const t = initTRPC.context<{ user: string }>().create()
const router = t.router({ greet: t.procedure.query(({ ctx }) => `hello ${ctx.user}`) })
// #endregion

// #region websocket
// The reasons of this service, beside the transport's own; a misspelt one does not compile.
const reasons = {
  token_invalid: { code: 'UNAUTHORIZED', meaning: 'no user has this token' },
} as const satisfies ReasonTable
const greeterError = errorFactory(reasons)

const group = new ConnectionGroup()
const server = createServer().listen(0, '127.0.0.1')
await once(server, 'listening')

serveWebSockets({
  server,
  path: '/rpc',
  router,
  group,
  authenticate({ authorization }) {
    if (authorization === 'Bearer secret of Ada') return { user: 'Ada' }
    throw greeterError('token_invalid', 'the token is not valid')
  },
  createContext: ({ identity }) => identity,
})

const { port } = server.address() as AddressInfo // a server that listens on TCP
const url = `ws://127.0.0.1:${port}/rpc`
const connection = connect({ dial: webSocketDial({ url, headers: { authorization: 'Bearer secret of Ada' } }) })
const client = createDuplexClient<typeof router>({ connection })
console.log(await client.greet.query())
// #endregion

// #region browser
// In a browser or in Node: the token goes into the first frame, since a page sends no headers.
const page = connect({ dial: webSocketDial({ url, connectionParams: { authorization: 'Bearer secret of Ada' } }) })
console.log(await createDuplexClient<typeof router>({ connection: page }).greet.query())
// #endregion

// tRPC's own client talks to the same server. It has no headers, so it sends the token as a connection parameter.
const wsClient = createWSClient({
  url,
  connectionParams: { authorization: 'Bearer secret of Ada' },
  WebSocket: WebSocket as unknown as typeof globalThis.WebSocket, // Node 20 has none of its own
})
const stock = createTRPCClient<typeof router>({ links: [wsLink({ client: wsClient })] })
console.log(await stock.greet.query())

// A rejection with a known reason is final: `closed` resolves with it instead of dialling again.
const unauthenticated = connect({ dial: webSocketDial({ url, reasons }) })
const { reason } = await unauthenticated.closed
console.log(`rejected: ${reason}`)

await Promise.all([connection.close(), page.close(), wsClient.close()])
await group.close({ graceMs: 5_000 })
server.close()
