/** This project's link, in memory and over a WebSocket. */
import { createServer } from 'node:http'
import { createTRPCClient } from '@trpc/client'
import { createDuplexClient } from '../../client/rpc/client.js'
import { type Connection, connect } from '../../client/rpc/connection.js'
import { duplexLink } from '../../client/rpc/link.js'
import { webSocketDial } from '../../client/rpc/websocket.js'
import { serveDuplex } from '../../server/rpc/connection.js'
import { ConnectionGroup } from '../../server/rpc/connection-group.js'
import { serveWebSockets } from '../../server/rpc/upgrade/websocket-listener.js'
import { transformer } from '../../shared/rpc/json/transformer.js'
import { memoryDuplexPair } from '../../shared/rpc/links/memory-duplex.js'
import { listening } from './listening.js'
import { type BenchRouter, callsOf, routerOf, streamOf } from './router.js'
import { type Ends, type OpenRow, openBoth, overLoopback, type Row } from './row.js'
import type { Service } from './service.js'

function inMemory(service: Service): Connection {
  const [serverEnd, clientEnd] = memoryDuplexPair()
  serveDuplex({ duplex: serverEnd, router: routerOf(service) })
  return connect({ dial: () => clientEnd })
}

function duplexClient(connection: Connection): OpenRow {
  const client = createDuplexClient<BenchRouter>({ connection, transformer })
  return { ...callsOf(client), ...streamOf(client), close: () => connection.close() }
}

/** Has the stream of {@link duplexClient}, so only calls are measured. */
function trpcClient(connection: Connection): OpenRow {
  const client = createTRPCClient<BenchRouter>({ links: [duplexLink({ connection, transformer })] })
  return { ...callsOf(client), close: () => connection.close() }
}

const serve: Ends['serve'] = async service => {
  const server = createServer()
  const group = new ConnectionGroup()
  serveWebSockets({ server, path: '/rpc', router: routerOf(service), group })
  const url = `${await listening(server)}/rpc`
  return {
    url,
    async close() {
      await group.close()
      server.close()
    },
  }
}

const dialled = (url: string): Connection => connect({ dial: webSocketDial({ url }) })

export const aibridgeRows: readonly Row[] = [
  {
    name: 'aibridge memory',
    does: 'createDuplexClient and serveDuplex, in memory; the values are copied as the wire would deliver them',
    isConnection: true,
    open: async service => duplexClient(inMemory(service)),
  },
  {
    name: 'aibridge memory createTRPCClient',
    does: 'the same with createTRPCClient and duplexLink',
    open: async service => trpcClient(inMemory(service)),
  },
  overLoopback({
    name: 'aibridge websocket',
    does: 'createDuplexClient and serveWebSockets, over a WebSocket',
    ends: { serve, connect: url => duplexClient(dialled(url)) },
  }),
  {
    name: 'aibridge websocket createTRPCClient',
    does: 'the same with createTRPCClient and duplexLink',
    // Its server is the one of the row above, so idle connections are not measured again.
    open: service => openBoth({ serve, connect: url => trpcClient(dialled(url)) }, service),
  },
]
