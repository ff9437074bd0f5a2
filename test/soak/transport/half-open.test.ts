/**
 * Peers that stop in the middle: after any byte of a request, of an upgrade's response, of a frame's head or of a
 * frame.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createTcpServer, connect as dialTcp, type Socket } from 'node:net'
import { initTRPC } from '@trpc/server'
import { describe, expect, it } from 'vitest'
import { createDuplexClient } from '../../../client/rpc/client.js'
import { connect } from '../../../client/rpc/connection.js'
import { webSocketDial } from '../../../client/rpc/websocket.js'
import { ConnectionGroup } from '../../../server/rpc/connection-group.js'
import { serveWebSockets } from '../../../server/rpc/upgrade/websocket-listener.js'
import { leavesNothing, opened } from '../../fixtures/leaves-nothing.js'
import { listening } from '../../fixtures/listening.js'
import { textFrame } from './frames.js'
import { upgradeResponse } from './upgrade.js'

const t = initTRPC.context<object>().create()
const router = t.router({ ping: t.procedure.query(() => 'pong') })

/** Each place of the bytes; in a sample, each eleventh. */
const step = process.env.SOAK === undefined ? 11 : 1
const placesIn = (bytes: Buffer): number[] => Array.from({ length: Math.ceil(bytes.length / step) }, (_, n) => n * step)

const patienceMs = 150
const times = { pingIntervalMs: patienceMs, pongTimeoutMs: patienceMs }

const request = Buffer.from(
  'GET /rpc HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
)
const call = textFrame(`{"id":1,"method":"query","params":{"path":"ping","input":"${'x'.repeat(200)}"}}`, true)
const response = textFrame(`{"id":1,"result":{"type":"data","data":"${'x'.repeat(200)}"}}`, false)

/** Ends a socket that its peer may have left half-open. */
function endAfterTest(socket: Socket): Socket {
  opened.add({ groups: [], close: async () => socket.destroy() })
  return socket.on('error', () => {})
}

describe('peers that stop', () => {
  leavesNothing()

  it('a server gives up each half-open client, and responds to a good one meanwhile', async () => {
    const server = createServer({
      connectionsCheckingInterval: 50,
      headersTimeout: patienceMs,
      requestTimeout: patienceMs,
    })
    const group = new ConnectionGroup()
    let open = 0
    server.on('connection', socket => {
      open++
      socket.once('close', () => open--)
    })
    serveWebSockets({ server, path: '/rpc', router, group, ...times })
    const port = await listening(server, { groups: [group], cut: true })
    const connection = connect({ dial: webSocketDial({ url: `ws://127.0.0.1:${port}/rpc`, ...times }) })
    opened.add({ groups: [], close: () => connection.close() })
    const client = createDuplexClient<typeof router>({ connection })
    await client.ping.query()
    const frames = Buffer.concat([call, call])
    const beginnings = [
      ...placesIn(request).map(place => request.subarray(0, place)),
      ...placesIn(frames).map(place => Buffer.concat([request, frames.subarray(0, place)])),
    ]
    for (const beginning of beginnings) {
      const socket = endAfterTest(dialTcp({ port, host: '127.0.0.1', allowHalfOpen: true })).resume()
      socket.write(beginning)
      expect(await client.ping.query()).toBe('pong')
    }
    await expect.poll(() => open).toBe(1)
    expect(await client.ping.query()).toBe('pong')
    expect(connection.state).toBe('open')
  })

  it('a client gives up each half-open server, and its calls end', async () => {
    const beginnings: Buffer[] = []
    let dialled = 0
    const server = createTcpServer(socket => {
      endAfterTest(socket)
      const beginning = beginnings[dialled++] ?? Buffer.alloc(0)
      void once(socket, 'data').then(([bytes = Buffer.alloc(0)]: Buffer[]) => {
        const whole = Buffer.concat([upgradeResponse(bytes), response])
        socket.resume().write(whole.subarray(0, beginning.length))
      })
    })
    const port = await listening(server)
    const length = upgradeResponse(request).length + response.length
    beginnings.push(...placesIn(Buffer.alloc(length)).map(place => Buffer.alloc(place)))
    const outcomes = await Promise.all(
      beginnings.map(async () => {
        const dial = webSocketDial({ url: `ws://127.0.0.1:${port}/`, connectTimeoutMs: patienceMs, ...times })
        const lost: string[] = []
        const connection = connect({ dial, random: () => 1, onError: error => lost.push(error.message) })
        const outcome = createDuplexClient<typeof router>({ connection })
          .ping.query(undefined, { context: { timeoutMs: 600 } })
          .catch(error => error.data.code)
        const code = await outcome
        await connection.close()
        return { code, lost: lost.length > 0 }
      }),
    )
    expect(new Set(outcomes.map(({ code }) => code))).toEqual(new Set(['TIMEOUT']))
    expect(outcomes.every(({ lost }) => lost)).toBe(true)
  })
})
