/** Connecting, beyond websocket-listener.test.ts: the time after the upgrade, and keys in odd places. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import { initTRPC, tracked } from '@trpc/server'
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { z } from 'zod'
import { createDuplexClient } from '../../../client/rpc/client.js'
import { type Connection, type ConnectOptions, connect } from '../../../client/rpc/connection.js'
import { type WebSocketDialOptions, webSocketDial } from '../../../client/rpc/websocket.js'
import { ConnectionGroup } from '../../../server/rpc/connection-group.js'
import type { ErrorReport } from '../../../server/rpc/responses.js'
import type { Credentials, ServeWebSocketsOptions } from '../../../server/rpc/upgrade/listener-options.js'
import { serveWebSockets } from '../../../server/rpc/upgrade/websocket-listener.js'
import { DialError } from '../../../shared/rpc/dial-error.js'
import { leavesNothing, opened } from '../../fixtures/leaves-nothing.js'
import { listening } from '../../fixtures/listening.js'
import { ownError, ownReasons } from '../../fixtures/own-reasons.js'
import { gate } from '../../fixtures/peer.js'

const t = initTRPC.context<{ who: unknown }>().create()
const router = t.router({ whoami: t.procedure.query(({ ctx }) => ctx.who) })

async function serve(options: Partial<ServeWebSocketsOptions<typeof router, unknown>> = {}) {
  const server = createServer()
  const group = new ConnectionGroup()
  const reports: ErrorReport[] = []
  serveWebSockets<typeof router, unknown>({
    server,
    path: '/rpc',
    router,
    group,
    createContext: ({ identity }) => ({ who: identity }),
    onError: report => reports.push(report),
    ...options,
  })
  return { group, reports, url: `ws://127.0.0.1:${await listening(server, { groups: [group] })}/rpc` }
}

function dial(options: WebSocketDialOptions, rest: Omit<ConnectOptions, 'dial'> = {}): Connection {
  const connection = connect({ ...rest, dial: webSocketDial({ reasons: ownReasons, ...options }) })
  opened.add({ groups: [], close: () => connection.close() })
  return connection
}

/** Knows one key. */
function authenticate({ authorization }: Credentials): string {
  if (authorization === undefined) throw ownError('ticket_missing', 'a key is missing')
  if (authorization === 'Bearer EXPIRED') throw ownError('ticket_expired', 'too late')
  if (authorization === 'Bearer REVOKED') throw ownError('ticket_revoked', 'not any more')
  if (authorization !== 'Bearer GOOD') throw ownError('ticket_invalid', 'no such key')
  return 'ann'
}

describe('logging in on a WebSocket', () => {
  leavesNothing()

  it.each([
    ['EXPIRED', 'ticket_expired', 4401],
    ['REVOKED', 'ticket_revoked', 4403],
    ['UNKNOWN', 'ticket_invalid', 4401],
  ])(
    'a key %s stops the client, in the header with its reason, as a parameter with the code',
    async (key, reason, code) => {
      const { url, reports } = await serve({ authenticate })
      const authorization = `Bearer ${key}`
      const observed: unknown[] = [reports]
      const onError = (error: Error): unknown => observed.push(error)
      const byHeader = await dial({ url, headers: { authorization } }, { onError }).closed
      expect(byHeader).toMatchObject({ code: 1006, reason })
      const byParameter = await dial({ url, connectionParams: { authorization } }, { onError }).closed
      expect(byParameter).toMatchObject({ code })
      expect(inspect([observed, byHeader, byParameter], { depth: 12, showHidden: true })).not.toContain(key)
    },
  )

  it('a rejection after the upgrade is {id: null, error} with its reason, and then the close', async () => {
    const { url } = await serve({ authenticate })
    const socket = new WebSocket(`${url}?connectionParams=1`)
    const frames: unknown[] = []
    socket.on('message', data => frames.push(JSON.parse(data.toString())))
    await once(socket, 'open')
    socket.send('{"method":"connectionParams","data":null}')
    const [code] = await once(socket, 'close')
    expect(code).toBe(4401)
    expect(frames).toMatchObject([
      { id: null, error: { message: 'a key is missing', data: { code: 'UNAUTHORIZED', reason: 'ticket_missing' } } },
    ])
  })

  it('a header is checked before the upgrade, also with announced parameters, and its identity counts', async () => {
    const asked: unknown[] = []
    const { url } = await serve({
      authenticate(credentials) {
        asked.push(credentials.connectionParams)
        return authenticate(credentials)
      },
    })
    const both = dial({
      url,
      headers: { authorization: 'Bearer GOOD' },
      connectionParams: { authorization: 'Bearer UNKNOWN' },
    })
    expect(await createDuplexClient<typeof router>({ connection: both }).whoami.query()).toBe('ann')
    expect(asked).toEqual([null])
  })

  it('no call runs or gets a response before the parameters have arrived', async () => {
    const { url } = await serve({ authenticate })
    const socket = new WebSocket(`${url}?connectionParams=1`)
    const frames: string[] = []
    socket.on('message', data => frames.push(data.toString()))
    await once(socket, 'open')
    const call = JSON.stringify({ id: 1, method: 'query', params: { path: 'whoami' } })
    socket.send('PING')
    await once(socket, 'message')
    socket.send('{"method":"connectionParams","data":{"authorization":"Bearer GOOD"}}')
    socket.send(call)
    await once(socket, 'message')
    expect(frames.map(frame => (frame === 'PONG' ? frame : JSON.parse(frame)))).toEqual([
      'PONG',
      { id: 1, result: { type: 'data', data: 'ann' } },
    ])
    socket.close()
    const early = new WebSocket(`${url}?connectionParams=1`)
    await once(early, 'open')
    early.send(call)
    expect((await once(early, 'close'))[0]).toBe(1002)
  })

  it('an authenticate that hangs after the upgrade is closed after handshakeTimeoutMs, and its signal aborts', async () => {
    const aborted = gate()
    const hangs = gate<string>()
    const { url } = await serve({
      handshakeTimeoutMs: 20,
      authenticate({ signal }) {
        signal.addEventListener('abort', () => aborted.open())
        return hangs.passed
      },
    })
    const errors: string[] = []
    const retried = gate()
    dial(
      { url, connectionParams: { authorization: 'Bearer GOOD' } },
      {
        onError({ message }) {
          errors.push(message)
          if (errors.length === 2) retried.open()
        },
      },
    )
    await Promise.all([aborted.passed, retried.passed])
    expect(errors).toEqual([
      'the server rejected the connection',
      expect.stringContaining('handshakeTimeoutMs 20 (1011)'),
    ])
    hangs.open('too late')
  })

  it('a server that drains while parameters are awaited closes with 1001 at once', async () => {
    const { url, group } = await serve({ authenticate })
    const socket = new WebSocket(`${url}?connectionParams=1`)
    await once(socket, 'open')
    const closed = once(socket, 'close')
    expect(await group.close({ graceMs: 60_000 })).toEqual({ drained: 0, aborted: 0 })
    expect((await closed)[0]).toBe(1001)
  })

  it('a failed dial names no key: neither a key that no header can hold, nor a key for an absent server', async () => {
    const { url, group } = await serve({ authenticate })
    const nobody = createServer().listen(0, '127.0.0.1')
    await once(nobody, 'listening')
    const { port } = nobody.address() as AddressInfo // it listens on TCP
    nobody.close()
    const dials: WebSocketDialOptions[] = [
      { url, headers: { authorization: 'Bearer MARKED\nKEY' } },
      { url: `ws://127.0.0.1:${port}/`, headers: { authorization: 'Bearer MARKED' } },
      { url: `ws://127.0.0.1:${port}/`, connectionParams: { authorization: 'Bearer MARKED' } },
    ]
    for (const options of dials) {
      const failed: unknown = await webSocketDial(options)({ signal: new AbortController().signal }).catch(
        error => error,
      )
      expect(failed).toBeInstanceOf(DialError)
      expect(inspect(failed, { depth: 9, showHidden: true })).not.toContain('MARKED')
    }
    expect(group.connections).toBe(0)
  })

  it.each([
    ['a key with a line break', { authorization: 'Bearer MARKED\n' }],
    ['a header whose name is none', { 'not a name': 'MARKED' }],
  ])('%s is dialled with once: the connection closes with config_invalid', async (_what, headers) => {
    const errors: Error[] = []
    const connection = dial({ url: 'ws://127.0.0.1:1/', headers }, { onError: error => errors.push(error) })
    const closed = await connection.closed
    expect(closed).toMatchObject({ code: 1006, reason: 'config_invalid' })
    expect(errors).toMatchObject([{ name: 'DialError', fatal: true }])
    expect(inspect([closed, errors], { depth: 9, showHidden: true })).not.toContain('MARKED')
  })

  it('keys are in no report and no error of calls, deadlines, lost connections and closes', async () => {
    const { url, reports, group } = await serve({ authenticate, limits: { maxInFlight: 1 } })
    const observed: unknown[] = []
    const options = [
      { url, headers: { authorization: 'Bearer GOOD' } },
      { url, connectionParams: { authorization: 'Bearer GOOD' } },
    ]
    for (const option of options) {
      const connection = dial(option, { onError: error => observed.push(error) })
      const client = createDuplexClient<typeof router>({ connection })
      const absent = Reflect.get(client, 'absent') as { query(): Promise<unknown> } // not in the type
      observed.push(...(await Promise.allSettled([absent.query(), client.whoami.query(), client.whoami.query()])))
    }
    await group.close()
    for (const entry of [...opened]) if (entry.groups.length === 0) observed.push(await entry.close())
    expect(reports.length).toBeGreaterThan(0)
    expect(inspect([observed, reports], { depth: 12, showHidden: true })).not.toContain('GOOD')
  })
})

describe('a message that is too large for the other end', () => {
  leavesNothing()

  it('a message above the default is accepted if maxMessageBytes of both ends allows it', async () => {
    const limits = { maxMessageBytes: 16 * 1024 * 1024 }
    const plain = t.router({ echo: t.procedure.input(z.string()).mutation(({ input }) => input) })
    const server = createServer()
    const group = new ConnectionGroup()
    serveWebSockets({ server, path: '/rpc', router: plain, group, limits, createContext: () => ({ who: 'anybody' }) })
    const url = `ws://127.0.0.1:${await listening(server, { groups: [group] })}/rpc`
    const client = createDuplexClient<typeof plain>({ connection: dial({ url, ...limits }) })
    expect((await client.echo.mutate('x'.repeat(5_000_000))).length).toBe(5_000_000)
    const error = await client.echo.mutate('x'.repeat(17_000_000)).catch(thrown => thrown)
    expect(error.data).toMatchObject({ code: 'PAYLOAD_TOO_LARGE', reason: 'message_too_large', mayHaveRun: false })
    expect(error.message).toContain('larger than maxMessageBytes 16,777,216')
  })

  it('an event above this client’s maxMessageBytes fails its subscription, and the subscription is not sent again', async () => {
    let runs = 0
    const large = t.router({
      events: t.procedure.subscription(async function* () {
        runs++
        yield tracked('1', 'x'.repeat(200_000))
      }),
      ping: t.procedure.query(() => 'pong'),
    })
    const server = createServer()
    const group = new ConnectionGroup()
    serveWebSockets({ server, path: '/rpc', router: large, group, createContext: () => ({ who: 'anybody' }) })
    const url = `ws://127.0.0.1:${await listening(server, { groups: [group] })}/rpc`
    const client = createDuplexClient<typeof large>({ connection: dial({ url, maxMessageBytes: 100_000 }) })
    const ended = gate<unknown>()
    client.events.subscribe(undefined, { onError: ended.open, onComplete: () => ended.open('complete') })
    expect(await ended.passed).toMatchObject({
      message: expect.stringContaining('larger than maxMessageBytes 100,000'),
      data: { code: 'PAYLOAD_TOO_LARGE', reason: 'message_too_large' },
    })
    expect(await client.ping.query()).toBe('pong')
    expect(runs).toBe(1)
  })

  it('a query above the server’s maxMessageBytes costs one connection, and its neighbours are sent again', async () => {
    const release = gate()
    let runs = 0
    const strict = t.router({
      length: t.procedure.input(z.string()).query(({ input }) => input.length),
      slow: t.procedure.input(z.string()).query(async ({ input, signal }) => {
        runs++
        await Promise.race([release.passed, new Promise(resolve => signal?.addEventListener('abort', resolve))])
        return input.length
      }),
    })
    const server = createServer()
    const group = new ConnectionGroup()
    const limits = { maxMessageBytes: 64 * 1024 }
    serveWebSockets({ server, path: '/rpc', router: strict, group, limits, createContext: () => ({ who: 'anybody' }) })
    const url = `ws://127.0.0.1:${await listening(server, { groups: [group] })}/rpc`
    const lost: string[] = []
    const connection = dial({ url }, { onError: error => lost.push(error.message) })
    const client = createDuplexClient<typeof strict>({ connection })
    const neighbours = [1, 1_000].map(length => client.slow.query('x'.repeat(length)))
    await expect.poll(() => runs).toBe(2)
    const error = await client.length.query('x'.repeat(100_000)).catch(thrown => thrown)
    expect(error.data).toMatchObject({ code: 'PAYLOAD_TOO_LARGE', reason: 'message_too_large', mayHaveRun: true })
    expect(error.message).toMatch(/^length .*larger than maxMessageBytes 65,536$/)
    release.open()
    expect(await Promise.all(neighbours)).toEqual([1, 1_000])
    expect(lost).toEqual([expect.stringContaining('(1009)')])
  })
})
