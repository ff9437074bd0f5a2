/**
 * A router that the dialling side serves: a worker behind a firewall dials, and the server that it dials calls.
 *
 * Prints `hello Ada` twice: for a call that waited for the worker, and for one behind the restart of the worker; then
 * the result of the shutdown.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { initTRPC } from '@trpc/server'
import { connect, createDuplexClient, ParkedDial, webSocketDial } from 'aibridge/client'
import { ConnectionGroup, serveDial, serveWebSockets } from 'aibridge/server'
import { RpcError } from 'aibridge/shared'
import { z } from 'zod'

const t = initTRPC.create()
const router = t.router({ greet: t.procedure.input(z.string()).query(({ input }) => `hello ${input}`) })

const server = createServer().listen(0, '127.0.0.1')
await once(server, 'listening')

// #region caller
const group = new ConnectionGroup()
const worker = new ParkedDial({ group })

serveWebSockets({
  server,
  path: '/worker',
  group,
  authenticate({ authorization }) {
    if (authorization !== 'Bearer secret of the worker') throw new RpcError('UNAUTHORIZED', 'the token is not valid')
  },
  onDuplex: duplex => worker.bring(duplex),
})

// The worker spreads its dials, so this side waits for nothing else.
const connection = connect({ dial: worker.dial, random: () => 0 })
const client = createDuplexClient<typeof router>({ connection })
const greeting = client.greet.query('Ada') // waits for the worker, at most 30 s
// #endregion

const { port } = server.address() as AddressInfo // a server that listens on TCP
const url = `ws://127.0.0.1:${port}/worker`

// #region worker
const dial = webSocketDial({ url, headers: { authorization: 'Bearer secret of the worker' } })
const service = serveDial({ dial, router })
// #endregion
console.log(await greeting)

await service.close()
const next = serveDial({ dial, router })
console.log(await client.greet.query('Ada'))

console.log(await group.close({ graceMs: 5_000 }))
await next.close()
server.close()
