/**
 * Stock keepalive cuts a slow upload while bytes flow (docs/transport.md); here a network that the test controls is
 * slow.
 */
import { EventEmitter, once } from 'node:events'
import { createServer } from 'node:http'
import type { Socket } from 'node:net'
import { initTRPC } from '@trpc/server'
import { describe, expect, it, vi } from 'vitest'
import { WebSocket } from 'ws'
import { z } from 'zod'
import { createDuplexClient } from '../../client/rpc/client.js'
import { type Connection, connect } from '../../client/rpc/connection.js'
import { webSocketDial } from '../../client/rpc/websocket.js'
import { ConnectionGroup } from '../../server/rpc/connection-group.js'
import { serveWebSockets } from '../../server/rpc/upgrade/websocket-listener.js'
import { Heartbeat } from '../../shared/rpc/links/heartbeat.js'
import { leavesNothing, opened } from '../fixtures/leaves-nothing.js'
import { listening } from '../fixtures/listening.js'
import { tcpProxy } from './tcp-proxy.js'

interface Times {
  pingIntervalMs?: number
  pongTimeoutMs?: number
}
const quick = { pingIntervalMs: 60, pongTimeoutMs: 400 }
const mib = 1024 * 1024

const t = initTRPC.context<object>().create()
const router = t.router({
  ping: t.procedure.query(() => 'pong'),
  size: t.procedure.input(z.string()).mutation(({ input }) => input.length),
  big: t.procedure.input(z.number()).mutation(({ input }) => 'x'.repeat(input)),
})

/** A server, a client, and a network between them. */
async function through(
  network: { up?: number; down?: number },
  times: { server?: Times; client?: Times & { closeTimeoutMs?: number } },
) {
  const server = createServer()
  const group = new ConnectionGroup()
  serveWebSockets({ server, path: '/rpc', router, group, ...times.server })
  const errors: string[] = []
  const connections: Connection[] = []
  opened.add({ groups: [], close: () => Promise.all(connections.map(connection => connection.close())) })
  const port = await listening(server, { groups: [group] })
  const proxy = await tcpProxy(port, network)
  const url = `ws://127.0.0.1:${proxy.port}/rpc`
  const connection = connect({
    dial: webSocketDial({ url, ...times.client }),
    onError: error => errors.push(error.message),
  })
  connections.push(connection)
  return { api: createDuplexClient<typeof router>({ connection }), errors, proxy, group }
}

describe('a slow network', () => {
  leavesNothing()

  it('an upload of 1 MiB that takes many times the server’s ping times is not cut', async () => {
    const { api, errors, proxy } = await through({ up: 25 }, { server: quick })
    expect(await api.size.mutate('x'.repeat(mib))).toBe(mib)
    expect([errors, proxy.accepted()]).toEqual([[], 1])
  })

  it('a response of 1 MiB that takes many times the client’s ping times is not cut', async () => {
    const { api, errors, proxy } = await through({ down: 25 }, { client: quick })
    expect((await api.big.mutate(mib)).length).toBe(mib)
    expect([errors, proxy.accepted()]).toEqual([[], 1])
  })

  it('an upload of 1 MiB that takes many times the client’s own ping times is not cut', async () => {
    const { api, errors, proxy } = await through({ up: 25 }, { client: quick, server: quick })
    expect(await api.size.mutate('x'.repeat(mib))).toBe(mib)
    expect([errors, proxy.accepted()]).toEqual([[], 1])
  })

  it('no old pong timer closes a healthy connection, busy or silent', async () => {
    const pinged = new EventEmitter()
    const { ping } = WebSocket.prototype
    const pings = vi.spyOn(WebSocket.prototype, 'ping').mockImplementation(function (this: WebSocket, ...args) {
      pinged.emit('ping')
      ping.apply(this, args as never) // as it was called
    })
    // Both ends and the network share this thread, which may stand still for a while on a busy machine.
    const pongTimeoutMs = 500
    const { api, errors, proxy } = await through(
      {},
      { server: { pingIntervalMs: 2, pongTimeoutMs }, client: { pingIntervalMs: 3, pongTimeoutMs } },
    )
    // Each takes twice the timeout: silence, and then calls between the pings.
    for (const call of [async () => 'pong', () => api.ping.query()]) {
      const begun = performance.now()
      while (performance.now() - begun < 2 * pongTimeoutMs) {
        expect(await call()).toBe('pong')
        // The network is silent for long enough for a ping.
        await once(pinged, 'ping')
      }
    }
    expect([errors, proxy.accepted()]).toEqual([[], 1])
    pings.mockRestore()
  })

  it('a server notices a vanished client, and closes its connection', async () => {
    const { api, proxy, group } = await through({}, { server: quick, client: { closeTimeoutMs: 10 } })
    await api.ping.query()
    expect(group.connections).toBe(1)
    proxy.swallow()
    await expect.poll(() => group.connections).toBe(0)
  })

  it('a ping is sent when pingIntervalMs have passed in silence, whenever the silence began', () => {
    vi.useFakeTimers()
    let pingedAt: number | undefined
    const socket = { bytesRead: 0, bytesWritten: 0, writableLength: 0 }
    const heartbeat = new Heartbeat(socket as Socket, {
      intervalMs: 30_000,
      timeoutMs: 10_000,
      isPaused: false,
      ping: () => {
        pingedAt ??= Date.now()
      },
      pong() {},
      onSilence() {},
    })
    vi.advanceTimersByTime(1_000)
    socket.bytesRead++
    const lastByteAt = Date.now()
    vi.advanceTimersByTime(60_000)
    heartbeat.stop()
    vi.useRealTimers()
    // Load balancers cut a connection after 60 s of silence.
    expect((pingedAt ?? Infinity) - lastByteAt).toBeLessThanOrEqual(30_000)
  })
})
