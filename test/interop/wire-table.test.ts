/**
 * The places where tRPC's own WebSocket ends fall short (reproduced with 11.25), one test each where this project's
 * contract tests do not hold the very case already. Those that do, on every link:
 *
 * - the signal of a query or mutation, cancelling one, a lost mutation, a malformed item of a batch:
 *   test/server/rpc/calls.test.ts
 * - backpressure, error and then stopped: test/server/rpc/subscriptions.test.ts
 * - draining: test/server/rpc/connection-group.test.ts; deadlines while the server is down, full jitter, rejections
 *   that are final: test/client/rpc/reconnecting.test.ts
 * - keepalive and slow uploads, a frame that is too large: test/shared/rpc/links/websocket-duplex.test.ts
 * - no timer tick per call: `npm run bench`, and below
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createTcpServer, connect as dialTcp, type Socket } from 'node:net'
import { initTRPC, tracked } from '@trpc/server'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { WebSocket } from 'ws'
import { z } from 'zod'
import { createDuplexClient } from '../../client/rpc/client.js'
import { connect } from '../../client/rpc/connection.js'
import { webSocketDial } from '../../client/rpc/websocket.js'
import { lastEventIdOf } from '../../server/rpc/call.js'
import { serveDuplex } from '../../server/rpc/connection.js'
import { ConnectionGroup } from '../../server/rpc/connection-group.js'
import { serveWebSockets } from '../../server/rpc/upgrade/websocket-listener.js'
import { memoryDuplexPair } from '../../shared/rpc/links/memory-duplex.js'
import { leavesNothing, opened } from '../fixtures/leaves-nothing.js'
import { links } from '../fixtures/links.js'
import { listening } from '../fixtures/listening.js'
import { gate, peer } from '../fixtures/peer.js'

const t = initTRPC.context<object>().create()

const failure = (promise: Promise<unknown>): Promise<{ message: string; data: unknown }> =>
  promise.then(
    value => expect.fail(`resolved with ${String(value)}`),
    error => error,
  )

describe.each(links)('where stock falls short, $name', ({ link, dialRaw }) => {
  leavesNothing()
  afterEach(() => void vi.restoreAllMocks())

  it('of 20,000 calls in one frame maxInFlight run, and all others are rejected', async () => {
    const release = gate()
    let running = 0
    const router = t.router({
      wait: t.procedure.query(async () => {
        running++
        await release.passed
        return 'done'
      }),
    })
    const { duplex } = await dialRaw(router)
    const { send, until } = peer(duplex)
    send(Array.from({ length: 20_000 }, (_, id) => ({ id, method: 'query', params: { path: 'wait' } })))
    const rejected = await until(20_000 - 1_024)
    await expect.poll(() => running).toBe(1_024)
    for (const answer of rejected) {
      expect(answer).toMatchObject({ error: { data: { code: 'TOO_MANY_REQUESTS', reason: 'too_many_calls' } } })
    }
    release.open()
    await until(20_000)
  })

  it('a duplicate subscription id is rejected, and the live subscription goes on', async () => {
    const next = gate()
    const router = t.router({
      events: t.procedure.subscription(async function* () {
        yield 1
        await next.passed
        yield 2
      }),
    })
    const { duplex } = await dialRaw(router)
    const { send, until } = peer(duplex)
    const subscribe = { id: 7, method: 'subscription', params: { path: 'events' } }
    send(subscribe)
    await until(2)
    send(subscribe)
    expect((await until(3))[2]).toMatchObject({ id: 7, error: { data: { code: 'CONFLICT', reason: 'duplicate_id' } } })
    next.open()
    expect((await until(5)).slice(3)).toEqual([
      { id: 7, result: { type: 'data', data: 2 } },
      { id: 7, result: { type: 'stopped' } },
    ])
  })

  it('lastEventId reaches a subscription whose input is a string or an array, also at a resume', async () => {
    const from: unknown[] = []
    const router = t.router({
      events: t.procedure.input(z.union([z.string(), z.array(z.number())])).subscription(async function* ({
        input,
        signal,
      }) {
        from.push([input, lastEventIdOf(signal)])
        for (let id = Number(lastEventIdOf(signal) ?? 0) + 1; id <= 4; id++) {
          // The first run ends with the cut; the rest comes from the second.
          if (from.length === 1 && id === 3) {
            await new Promise(resolve => signal?.addEventListener('abort', resolve, { once: true }))
          }
          yield tracked(String(id), id)
        }
      }),
    })
    const { connection, sever } = link(router)
    const client = createDuplexClient<typeof router>({ connection })
    for (const input of ['text', [1, 2]]) {
      from.length = 0
      const observed: number[] = []
      for await (const { data } of client.events.subscribe(input)) {
        observed.push(data)
        if (data === 2) sever()
      }
      expect(observed).toEqual([1, 2, 3, 4])
      expect(from[0]).toEqual([input, undefined])
      expect(from[1]).toEqual([input, '2'])
    }
  })

  it('an untracked event does not erase the point to resume from', async () => {
    const from: (string | undefined)[] = []
    const router = t.router({
      events: t.procedure.subscription(async function* ({ signal }) {
        from.push(lastEventIdOf(signal))
        if (from.length > 1) return
        yield tracked('a', 'with an id')
        yield 'without one'
        await new Promise(resolve => signal?.addEventListener('abort', resolve, { once: true }))
      }),
    })
    const { connection, sever } = link(router)
    const client = createDuplexClient<typeof router>({ connection })
    for await (const event of client.events.subscribe()) if (event === 'without one') sever()
    expect(from).toEqual([undefined, 'a'])
  })

  it('a failing subscription runs once, and fails once', async () => {
    let runs = 0
    const router = t.router({
      fails: t.procedure.subscription(async function* () {
        runs++
        yield 1
        throw new Error('no')
      }),
    })
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection })
    const errors: { cause?: unknown; message: string }[] = []
    await new Promise<void>(resolve => {
      client.fails.subscribe(undefined, {
        onError: error => {
          errors.push(error)
          resolve()
        },
      })
    })
    for (let turn = 0; turn < 50; turn++) await new Promise(resolve => setImmediate(resolve))
    expect({ runs, failures: errors.length }).toEqual({ runs: 1, failures: 1 })
    expect(errors[0]).toMatchObject({ message: 'internal server error' })
    expect(errors[0]?.cause).toBeUndefined()
  })

  it('onError gets the error of an onData that throws; the subscription, the connection and the process go on', async () => {
    const reported: string[] = []
    const router = t.router({
      events: t.procedure.subscription(async function* () {
        yield* [1, 2, 3]
      }),
      ping: t.procedure.query(() => 'pong'),
    })
    const { connection } = link(router, { client: { onError: error => reported.push(error.message) } })
    const client = createDuplexClient<typeof router>({ connection })
    const observed: number[] = []
    await new Promise<void>(resolve => {
      client.events.subscribe(undefined, {
        onData(event) {
          observed.push(event)
          throw new Error(`made up at ${event}`)
        },
        onComplete: resolve,
      })
    })
    expect(observed).toEqual([1, 2, 3])
    expect(reported).toEqual(['made up at 1', 'made up at 2', 'made up at 3'])
    expect(await client.ping.query()).toBe('pong')
  })

  it('an input that cannot be encoded fails its own call only', async () => {
    const router = t.router({ echo: t.procedure.input(z.unknown()).query(({ input }) => input) })
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection })
    const cycle: { self?: unknown } = {}
    cycle.self = cycle
    const [first, bad, last] = await Promise.allSettled([
      client.echo.query(1),
      client.echo.query(cycle),
      client.echo.query(3),
    ])
    expect([first, last]).toEqual([
      { status: 'fulfilled', value: 1 },
      { status: 'fulfilled', value: 3 },
    ])
    expect(bad).toMatchObject({ reason: { data: { code: 'BAD_REQUEST', reason: 'not_encodable', mayHaveRun: false } } })
  })

  it('a call after the first sets no timer, on either side', async () => {
    const router = t.router({ ping: t.procedure.query(() => 'pong') })
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection })
    await client.ping.query()
    const [timeouts, immediates] = [vi.spyOn(globalThis, 'setTimeout'), vi.spyOn(globalThis, 'setImmediate')]
    for (let call = 0; call < 20; call++) await client.ping.query()
    expect([timeouts.mock.calls.length, immediates.mock.calls.length]).toEqual([0, 0])
  })

  it('close() resolves while a query is pending, and a later call opens nothing', async () => {
    const started = gate()
    const router = t.router({
      hang: t.procedure.query(({ signal }) => {
        started.open()
        return new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
      }),
    })
    const { connection, served } = link(router)
    const client = createDuplexClient<typeof router>({ connection })
    const pending = failure(client.hang.query())
    await started.passed
    await connection.close()
    expect((await pending).data).toMatchObject({ reason: 'connection_closed', mayHaveRun: true })
    expect((await failure(client.hang.query())).data).toMatchObject({ reason: 'connection_closed', mayHaveRun: false })
    expect(served.length).toBe(1)
  })
})

describe('where stock falls short, on sockets', () => {
  leavesNothing()

  const router = t.router({ ping: t.procedure.query(() => 'pong') })

  async function serve(options: { handshakeTimeoutMs?: number } = {}) {
    const server = createServer()
    const group = new ConnectionGroup()
    serveWebSockets({ server, path: '/trpc', router, group, ...options })
    const port = await listening(server, { groups: [group] })
    return { group, port }
  }

  it('?connectionParams=1 with no first frame is closed after handshakeTimeoutMs', async () => {
    const { port } = await serve({ handshakeTimeoutMs: 30 })
    const socket = new WebSocket(`ws://127.0.0.1:${port}/trpc?connectionParams=1`)
    const frames: unknown[] = []
    socket.on('message', data => frames.push(JSON.parse(data.toString())))
    const [code] = await once(socket, 'close')
    expect(code).toBe(1011)
    expect(frames).toMatchObject([{ id: null, error: { data: { code: 'TIMEOUT', reason: 'handshake_timeout' } } }])
  })

  it.each(['/trpcEVIL', '/trp', '/trpc/', '/', '//trpc', '/trpc%20'])('%s is 404 before the upgrade', async path => {
    const { port, group } = await serve()
    const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`)
    socket.on('error', () => {})
    const [, response] = await once(socket, 'unexpected-response')
    expect(response.statusCode).toBe(404)
    let body = ''
    for await (const chunk of response) body += chunk
    expect(JSON.parse(body)).toMatchObject({ reason: 'not_found' })
    expect(group.connections).toBe(0)
    socket.terminate()
  })

  it('a frame of 90 MiB is rejected with 1009 and the limit once its length has come', async () => {
    const { port } = await serve()
    const socket = new WebSocket(`ws://127.0.0.1:${port}/trpc`)
    socket.on('error', () => {})
    const [[response]] = await Promise.all([once(socket, 'upgrade'), once(socket, 'open')])
    // Text, masked, with a length of 8 bytes. The first MiB is under way too.
    const head = Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    head.writeUInt32BE(90 * 1024 * 1024, 6)
    response.socket.write(Buffer.concat([head, Buffer.alloc(1024 * 1024, ' ')]))
    const [code, text] = await once(socket, 'close')
    expect([code, String(text)]).toEqual([1009, 'message is larger than maxMessageBytes 4,194,304'])
  })

  it('a dial to a server that accepts and never responds ends after connectTimeoutMs', async () => {
    const sockets: Socket[] = []
    const silent = createTcpServer(socket => sockets.push(socket))
    const port = await listening(silent)
    const errors: string[] = []
    const second = gate()
    const connection = connect({
      dial: webSocketDial({ url: `ws://127.0.0.1:${port}/`, connectTimeoutMs: 20 }),
      onError(error) {
        errors.push(error.message)
        if (errors.length === 2) second.open()
      },
    })
    const waiting = failure(createDuplexClient<typeof router>({ connection }).ping.query())
    await second.passed
    expect(errors).toEqual(Array(2).fill('no response within connectTimeoutMs 20'))
    await connection.close()
    expect((await waiting).data).toMatchObject({ mayHaveRun: false })
    for (const socket of sockets) socket.destroy()
  })

  it('a vanished peer is abandoned at once, and the next dial starts', async () => {
    const { port } = await serve()
    // The proxy forwards until `swallow` drops everything; it closes nothing.
    let swallow = false
    const sockets: Socket[] = []
    const proxy = createTcpServer(near => {
      const far = dialTcp(port, '127.0.0.1')
      sockets.push(near, far)
      const swallowed = (): boolean => swallow && sockets.indexOf(near) === 0
      near.on('data', chunk => swallowed() || far.write(chunk))
      far.on('data', chunk => swallowed() || near.write(chunk))
      for (const socket of [near, far]) socket.on('error', () => {})
    })
    const proxyPort = await listening(proxy)
    const errors: string[] = []
    const connection = connect({
      dial: webSocketDial({ url: `ws://127.0.0.1:${proxyPort}/trpc`, pingIntervalMs: 15, pongTimeoutMs: 15 }),
      onError: error => errors.push(error.message),
    })
    const client = createDuplexClient<typeof router>({ connection })
    await client.ping.query()
    swallow = true
    expect(await client.ping.query()).toBe('pong') // in flight on the dead connection, sent again on the next
    expect(errors).toEqual(['the connection was lost: no response to a ping within 15 ms (1006)'])
    await connection.close()
    for (const socket of sockets) socket.destroy()
  })

  it('a malformed message from a server closes the connection, onError gets the error, and the client dials again', async () => {
    const errors: string[] = []
    let dials = 0
    const connection = connect({
      dial() {
        const [serverEnd, clientEnd] = memoryDuplexPair()
        if (++dials > 1) serveDuplex({ duplex: serverEnd, router })
        else {
          serverEnd.open({ onMessage() {}, onDrain() {}, onClose() {} })
          serverEnd.send({ id: 1, result: 'nonsense' })
        }
        return clientEnd
      },
      onError: error => errors.push(error.message),
    })
    opened.add({ groups: [], close: () => connection.close() })
    expect(await createDuplexClient<typeof router>({ connection }).ping.query()).toBe('pong')
    expect(errors[0]).toBe('the server sent no valid message: result must be an object')
  })

  it('an error of the connection above 16 KiB is an invalid message, which no call in flight copies', async () => {
    const errors: string[] = []
    const [serverEnd, clientEnd] = memoryDuplexPair()
    const ends = [clientEnd]
    const connection = connect({
      dial: () => ends.pop() ?? new Promise(() => {}),
      onError: error => errors.push(error.message),
    })
    opened.add({ groups: [], close: () => connection.close() })
    const { until, send, closed } = peer(serverEnd)
    const decodeError = vi.fn(() => new Error('made up'))
    const outcome = new Promise(resolve => {
      const observer = { onData() {}, onError: resolve, decodeError }
      connection.call({ type: 'mutation', path: 'x', input: 1 }, observer)
    })
    await until(1)
    send({ id: null, error: Array.from({ length: 300 }, () => ({})) })
    expect(await closed).toMatchObject({ code: 1002 })
    expect(await outcome).toMatchObject({ local: { reason: 'connection_lost' } })
    expect(decodeError).not.toHaveBeenCalled()
    expect(errors[0]).toBe('the server sent no valid message: the error of the connection is too large')
  })

  it.each([
    ['invalid messages', { id: 1 }, /^the server sent no valid message/],
    ['errors of the connection', { id: null, error: 'made up' }, /^the server rejected the connection/],
  ])('a frame of 1,000 %s is one report', async (_name, item, text) => {
    const errors: string[] = []
    const [serverEnd, clientEnd] = memoryDuplexPair()
    const ends = [clientEnd]
    const connection = connect({
      dial: () => ends.pop() ?? new Promise(() => {}),
      onError: error => errors.push(error.message),
    })
    opened.add({ groups: [], close: () => connection.close() })
    const { received, until, send, closed } = peer(serverEnd)
    const call = failure(createDuplexClient<typeof router>({ connection }).ping.query())
    await until(1)
    expect(received).toHaveLength(1)
    send(Array.from({ length: 1_000 }, () => item))
    serverEnd.close({ code: 1001, message: 'the end' })
    await closed
    await connection.close()
    await call
    expect(errors.filter(error => text.test(error))).toHaveLength(1)
  })
})
