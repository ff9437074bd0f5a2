/**
 * Peers that send anything. The server responds to each message under its id or closes the connection, and serves the
 * next peer.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect as dialTcp } from 'node:net'
import { initTRPC } from '@trpc/server'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { ConnectionGroup } from '../../../server/rpc/connection-group.js'
import { serveWebSockets } from '../../../server/rpc/upgrade/websocket-listener.js'
import { leavesNothing } from '../../fixtures/leaves-nothing.js'
import { links } from '../../fixtures/links.js'
import { listening } from '../../fixtures/listening.js'
import { peer } from '../../fixtures/peer.js'
import { fc } from '../../fixtures/random.js'

const t = initTRPC.context<object>().create()
const router = t.router({
  echo: t.procedure.input(z.unknown()).query(({ input }) => input),
  strict: t.procedure.input(z.object({ n: z.number() })).mutation(({ input }) => input.n),
  events: t.procedure.subscription(async function* () {
    yield 1
  }),
})

const json = fc.jsonValue({ maxDepth: 4 })
const anyOf = (...known: unknown[]): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...known) }, { weight: 1, arbitrary: json })
const message = fc.oneof(
  json,
  fc.record(
    {
      id: anyOf(1, 2, 'a', null, -1, 0.5),
      jsonrpc: anyOf('2.0', '1.0'),
      method: anyOf('query', 'mutation', 'subscription', 'subscription.stop', 'connectionParams', 'toString'),
      params: fc.oneof(
        json,
        fc.record(
          {
            path: anyOf('echo', 'strict', 'events', '__proto__', 'constructor', 'echo.constructor', ''),
            input: json,
            lastEventId: anyOf('1', 1),
            timeoutMs: anyOf(0, 1, -1, 1e300, 0.5),
            traceparent: anyOf('00-x'),
          },
          { requiredKeys: [] },
        ),
      ),
      result: json,
      error: json,
    },
    { requiredKeys: [] },
  ),
)
const frame = fc.oneof({ weight: 5, arbitrary: message }, { weight: 1, arbitrary: fc.array(message, { maxLength: 5 }) })
const runs = process.env.SOAK === undefined ? 150 : 5_000

describe.each(links)('any message, $name', ({ dialRaw }) => {
  leavesNothing()

  it('any message gets a response under its id, or closes the connection with 1002; the next peer is served', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { minLength: 1, maxLength: 8 }), async frames => {
        const { duplex, served } = await dialRaw(router)
        const { send, received, closed } = peer(duplex)
        // Only objects and arrays are messages of a duplex; bare values are in websocket-duplex.test.ts.
        for (const one of frames) send(typeof one === 'object' && one !== null ? one : [one])
        send({ id: 'the last', method: 'query', params: { path: 'echo', input: 'alive' } })
        const isDone = (): boolean => received.some(response => Reflect.get(Object(response), 'id') === 'the last')
        let reason: { code: number } | undefined
        void closed.then(cause => {
          reason = cause
        })
        while (!isDone() && !reason) await new Promise(resolve => setImmediate(resolve))
        if (!isDone()) expect(reason?.code).toBe(1002)
        for (const response of received) expect(response).toHaveProperty('id')
        duplex.close({ code: 1000, message: 'the next one' })
        await served.closed
      }),
      { numRuns: runs },
    )
    expect(Reflect.ownKeys(Object.prototype)).toHaveLength(12)
  })
})

describe('any bytes on a socket', () => {
  leavesNothing()

  it('any bytes end their own connection at most', async () => {
    const server = createServer()
    const group = new ConnectionGroup()
    serveWebSockets({ server, path: '/rpc', router, group, handshakeTimeoutMs: 1_000 })
    const port = await listening(server, { groups: [group], cut: true })
    const upgrade =
      'GET /rpc HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
    await fc.assert(
      fc.asyncProperty(
        fc.boolean(),
        fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }),
        async (upgraded, chunks) => {
          const socket = dialTcp(port, '127.0.0.1')
          socket.on('error', () => {})
          socket.resume()
          if (upgraded) socket.write(upgrade)
          for (const chunk of chunks) if (chunk.length > 0) socket.write(chunk)
          socket.end()
          await once(socket, 'close')
        },
      ),
      { numRuns: runs },
    )
    await expect.poll(() => group.connections).toBe(0)
  })
})
