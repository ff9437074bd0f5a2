import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { initTRPC } from '@trpc/server'
import { describe, expect, it } from 'vitest'
import { type ClientOptions, WebSocket } from 'ws'
import { createDuplexClient } from '../../../../client/rpc/client.js'
import { type Connection, connect } from '../../../../client/rpc/connection.js'
import { type WebSocketDialOptions, webSocketDial } from '../../../../client/rpc/websocket.js'
import { ConnectionGroup } from '../../../../server/rpc/connection-group.js'
import type { ErrorReport } from '../../../../server/rpc/responses.js'
import type { ServeWebSocketsOptions } from '../../../../server/rpc/upgrade/listener-options.js'
import { serveWebSockets } from '../../../../server/rpc/upgrade/websocket-listener.js'
import { DialError } from '../../../../shared/rpc/dial-error.js'
import { eventually } from '../../../fixtures/eventually.js'
import { leavesNothing, opened } from '../../../fixtures/leaves-nothing.js'
import { listening } from '../../../fixtures/listening.js'
import { ownError, ownReasons } from '../../../fixtures/own-reasons.js'
import { gate } from '../../../fixtures/peer.js'

const t = initTRPC.context<{ who?: unknown; params?: unknown }>().create()
const router = t.router({
  whoami: t.procedure.query(({ ctx }) => ctx.who),
  params: t.procedure.query(({ ctx }) => ctx.params),
})
type Options = Partial<ServeWebSocketsOptions<typeof router, unknown>>

/** A listener at `/rpc` on a server of its own, closed after the test. */
async function serve(options: Options = {}, server: Server = createServer()) {
  const group = options.group ?? new ConnectionGroup()
  const reports: ErrorReport[] = []
  const listener = serveWebSockets<typeof router, unknown>({
    server,
    path: '/rpc',
    router,
    group,
    createContext: ({ identity, connectionParams }) => ({ who: identity, params: connectionParams }),
    onError: report => reports.push(report),
    ...options,
  })
  if (!server.listening) await listening(server, { groups: [group] })
  const { port } = server.address() as AddressInfo // it listens on TCP
  return { group, server, listener, reports, port, url: `ws://127.0.0.1:${port}/rpc` }
}

function dial(options: WebSocketDialOptions): Connection {
  const connection = connect({
    dial: webSocketDial({ reasons: ownReasons, ...options }),
    finalCloseCodes: { 4001: 'ticket_revoked' },
  })
  opened.add({ groups: [], close: () => connection.close() })
  return connection
}

interface Rejected {
  status: number | undefined
  headers: IncomingMessage['headers']
  body: Record<string, unknown>
}

/** Returns the rejection of an upgrade. */
async function rejected(url: string, options: ClientOptions = {}): Promise<Rejected> {
  const socket = new WebSocket(url, options)
  socket.on('error', () => {})
  const [, response]: [unknown, IncomingMessage] = (await once(socket, 'unexpected-response')) as [
    unknown,
    IncomingMessage,
  ] // ws documents these
  let text = ''
  for await (const chunk of response) text += chunk
  socket.terminate()
  return { status: response.statusCode, headers: response.headers, body: JSON.parse(text) }
}

const throwing = (error: unknown) => () => Promise.reject(error)

const fault = (): never => {
  throw new Error('MARKED')
}
const unreadable = new Proxy({}, { get: fault, getPrototypeOf: fault })

describe('accepting WebSockets', () => {
  leavesNothing()

  it.each<[string, Options, string, number, string | undefined]>([
    ['no key', { authenticate: throwing(ownError('ticket_missing', 'who is it?')) }, '', 401, 'ticket_missing'],
    [
      'a revoked key',
      { authenticate: throwing(ownError('ticket_revoked', 'not any more')) },
      '',
      403,
      'ticket_revoked',
    ],
    ['a store that is away', { authenticate: throwing(new Error('MARKED')) }, '', 500, undefined],
    ['a proxy that throws when it is looked at', { authenticate: throwing(unreadable) }, '', 500, undefined],
    ['too many connections', { maxConnections: 0 }, '', 503, 'too_many_connections'],
    ['another major version', { version: { major: 2, minor: 1 } }, '?version=1.0', 400, 'version_unsupported'],
    ['a newer minor version', { version: { major: 2, minor: 1 } }, '?version=2.2', 409, 'server_older'],
    ['a version that is none', { version: { major: 2, minor: 1 } }, '?version=2', 400, 'version_malformed'],
    ['no version against 2.1', { version: { major: 2, minor: 1 } }, '', 400, 'version_unsupported'],
  ])('%s gets a status before the upgrade', async (_name, options, query, status, reason) => {
    const { url, group, reports } = await serve(options)
    const answer = await rejected(url + query)
    expect({ status: answer.status, reason: answer.body.reason }).toEqual({ status, reason })
    expect(answer.body.message).toEqual(expect.any(String))
    expect(JSON.stringify(answer)).not.toContain('MARKED')
    expect(answer.headers).toMatchObject({ 'content-type': 'application/json', connection: 'close' })
    expect(answer.headers['retry-after']).toBe(status === 503 ? '1' : undefined)
    if (status === 500) expect(reports).toMatchObject([{ requestId: answer.body.requestId }])
    await expect.poll(() => group.connections).toBe(0)
  })

  it('a version mismatch names both versions', async () => {
    const { url } = await serve({ version: { major: 1, minor: 3 } })
    expect((await rejected(`${url}?version=1.4`)).body).toMatchObject({ clientVersion: '1.4', serverVersion: '1.3' })
    await createDuplexClient<typeof router>({ connection: dial({ url: `${url}?version=1.2` }) }).whoami.query()
  })

  it('what is no WebSocket handshake is 400 as JSON', async () => {
    const { port } = await serve()
    const headers = { connection: 'upgrade', upgrade: 'websocket', 'sec-websocket-version': '7' }
    const { request } = await import('node:http')
    const sent = request({ port, host: '127.0.0.1', path: '/rpc', headers }).end()
    const [response] = (await once(sent, 'response')) as [IncomingMessage] // node documents it
    let text = ''
    for await (const chunk of response) text += chunk
    expect({ status: response.statusCode, body: JSON.parse(text) }).toMatchObject({
      status: 400,
      body: { message: expect.stringContaining('Sec-WebSocket') },
    })
  })

  it.each([
    ['is listed', ['https://ops.example.com']],
    [
      'pleases a function',
      (origin: string, { url }: IncomingMessage) => origin === 'https://ops.example.com' && url === '/rpc',
    ],
  ])('a web page is rejected, unless its origin %s', async (_name, allowedOrigins) => {
    const { url } = await serve({ allowedOrigins })
    for (const origin of ['https://evil.example.com', 'null', 'https://ops.example.com.evil.com']) {
      expect(await rejected(url, { headers: { origin } })).toMatchObject({
        status: 403,
        body: { reason: 'origin_not_allowed' },
      })
    }
    const socket = new WebSocket(url, { headers: { origin: 'https://ops.example.com' } })
    await once(socket, 'open')
    socket.close()
  })

  it('the identity of the header reaches the context', async () => {
    const { url } = await serve({ authenticate: ({ authorization }) => ({ key: authorization }) })
    const connection = dial({ url, headers: { authorization: 'Bearer x' } })
    expect(await createDuplexClient<typeof router>({ connection }).whoami.query()).toEqual({ key: 'Bearer x' })
  })

  it('without a header, connectionParams are checked after the upgrade and before any call', async () => {
    const asked: unknown[] = []
    const { url } = await serve({
      authenticate({ authorization, connectionParams }) {
        asked.push(connectionParams)
        if (authorization !== 'Bearer y') throw ownError('ticket_revoked', 'not any more')
        return 'eve'
      },
    })
    const good = dial({ url, connectionParams: { authorization: 'Bearer y', lang: 'fr' } })
    const client = createDuplexClient<typeof router>({ connection: good })
    expect(await client.whoami.query()).toBe('eve')
    expect(await client.params.query()).toEqual({ authorization: 'Bearer y', lang: 'fr' })
    const bad = dial({ url, connectionParams: { authorization: 'Bearer z' } })
    expect(await bad.closed).toMatchObject({ code: 4403 })
    expect(asked.length).toBe(2)
  })

  it('an authenticate that hangs is 503 after handshakeTimeoutMs, and its signal aborts', async () => {
    const aborted = gate<unknown>()
    const hangs = gate<string>()
    const { url, listener } = await serve({
      handshakeTimeoutMs: 20,
      authenticate({ signal }) {
        signal.addEventListener('abort', () => aborted.open(signal.reason))
        return hangs.passed
      },
    })
    expect(await rejected(url)).toMatchObject({ status: 503, body: { reason: 'handshake_timeout' } })
    expect(await aborted.passed).toMatchObject({ reason: 'handshake_timeout' })
    await expect.poll(() => listener.connections).toBe(0)
    hangs.open('too late')
  })

  it('infinite times are the longest possible; a value that is no time is rejected', async () => {
    const forEver = Number.POSITIVE_INFINITY
    const { url } = await serve({
      handshakeTimeoutMs: forEver,
      pingIntervalMs: forEver,
      pongTimeoutMs: forEver,
      // A timer that overflows is one of 1 ms, and fires before this one.
      authenticate: () => new Promise(resolve => setTimeout(resolve, 1, 'ada')),
    })
    const times = {
      connectTimeoutMs: forEver,
      pingIntervalMs: forEver,
      pongTimeoutMs: forEver,
      closeTimeoutMs: forEver,
    }
    const client = createDuplexClient<typeof router>({ connection: dial({ url, ...times }) })
    expect(await client.whoami.query()).toBe('ada')
    const invalid = expect.objectContaining({ code: 'BAD_REQUEST', reason: 'config_invalid' })
    for (const ms of [Number.NaN, -1]) {
      for (const name of ['handshakeTimeoutMs', 'pingIntervalMs', 'pongTimeoutMs']) {
        await expect(serve({ [name]: ms })).rejects.toEqual(invalid)
      }
      for (const name of Object.keys(times)) expect(() => webSocketDial({ url, [name]: ms })).toThrow(invalid)
    }
    await expect(serve({ pingIntervalMs: 0 })).rejects.toEqual(invalid)
  })

  it('a draining server rejects a pending upgrade, and every later one, with 503', async () => {
    const asked = gate()
    const decide = gate<string>()
    const { url, group, listener } = await serve({
      authenticate: () => {
        asked.open()
        return decide.passed
      },
    })
    const undecided = rejected(url)
    await asked.passed
    expect(group.connections).toBe(1)
    const closing = group.close({ graceMs: 60_000 })
    expect(await undecided).toMatchObject({
      status: 503,
      headers: { 'retry-after': '1' },
      body: { reason: 'draining' },
    })
    expect(await closing).toEqual({ drained: 0, aborted: 0 })
    decide.open('too late')
    expect(await rejected(url)).toMatchObject({ status: 503, body: { reason: 'draining' } })
    await expect.poll(() => listener.connections).toBe(0)
  })

  it('a client that leaves during the decision leaves nothing', async () => {
    const asked = gate<AbortSignal>()
    const decide = gate<string>()
    const { url, group, listener } = await serve({
      authenticate: ({ signal }) => {
        asked.open(signal)
        return decide.passed
      },
    })
    const socket = new WebSocket(url)
    socket.on('error', () => {})
    await asked.passed
    socket.terminate()
    // The socket is not read until it is upgraded, so it is found out then.
    decide.open('nobody')
    await expect.poll(() => [group.connections, listener.connections]).toEqual([0, 0])
  })

  it('connections are accepted up to maxConnections, and another one after a close', async () => {
    const { url, listener } = await serve({ maxConnections: 2 })
    const sockets = [new WebSocket(url), new WebSocket(url)]
    await Promise.all(sockets.map(socket => once(socket, 'open')))
    expect(listener.connections).toBe(2)
    expect(await rejected(url)).toMatchObject({
      status: 503,
      body: { message: expect.stringContaining('2 connections') },
    })
    sockets[0]?.close()
    await expect.poll(() => listener.connections).toBe(1)
    const next = new WebSocket(url)
    await once(next, 'open')
    for (const socket of [...sockets, next]) socket.terminate()
  })

  it('unauthenticated clients take at most a tenth of maxConnections; a client with a key is accepted', async () => {
    const { url, listener } = await serve({
      maxConnections: 20,
      authenticate: ({ authorization }) => authorization,
      addressOf: ({ socket }) => String(socket.remotePort),
    })
    const stranger = async (): Promise<WebSocket> => {
      const socket = new WebSocket(`${url}?connectionParams=1`)
      await once(socket, 'open')
      return socket
    }
    const strangers = [await stranger(), await stranger()]
    expect(await rejected(`${url}?connectionParams=1`)).toMatchObject({
      status: 503,
      headers: { 'retry-after': '1' },
      body: { reason: 'too_many_connections', message: '2 connections wait for connectionParams, as many as may' },
    })
    const known = dial({ url, headers: { authorization: 'Bearer key' } })
    expect(await createDuplexClient<typeof router>({ connection: known }).whoami.query()).toBe('Bearer key')
    // One is authenticated, another leaves: two places are free.
    strangers[0]?.send(JSON.stringify({ method: 'connectionParams', data: { authorization: 'Bearer other' } }))
    strangers[0]?.send(JSON.stringify({ id: 1, method: 'query', params: { path: 'whoami' } }))
    await once(strangers[0] as WebSocket, 'message') // opened above
    strangers[1]?.close()
    await expect.poll(() => listener.connections).toBe(2)
    strangers.push(await stranger(), await stranger())
    expect(listener.connections).toBe(4)
    for (const socket of strangers) socket.terminate()
  })

  it('one address holds at most half of the places of unauthenticated clients, and frees them', async () => {
    const { url } = await serve({
      maxConnections: 80,
      authenticate: ({ authorization }) => authorization,
      addressOf: request => request.headers['x-address']?.toString(),
    })
    const wait = async (address: string): Promise<WebSocket> => {
      const socket = new WebSocket(`${url}?connectionParams=1`, { headers: { 'x-address': address } })
      await once(socket, 'open')
      return socket
    }
    const sockets = [await wait('a'), await wait('a'), await wait('a'), await wait('a')]
    await expect(wait('a')).rejects.toThrow('503')
    sockets.push(await wait('b'), await wait('b'))
    await expect(wait('b')).rejects.toThrow('503')
    sockets.push(await wait('c'))
    sockets.shift()?.terminate()
    sockets[0]?.send(JSON.stringify({ method: 'connectionParams', data: { authorization: 'Bearer key' } }))
    sockets[0]?.send(JSON.stringify({ id: 1, method: 'query', params: { path: 'whoami' } }))
    await once(sockets[0] as WebSocket, 'message') // opened above
    await eventually(async () => sockets.push(await wait('a')))
    for (const socket of sockets) socket.terminate()
  })

  it('a client that announces parameters is limited until they come, also where nobody asks who it is', async () => {
    const { url, listener } = await serve({ createContext: undefined } as object)
    const socket = new WebSocket(`${url}?connectionParams=1`)
    await once(socket, 'open')
    for (let ping = 0; ping <= 1_024; ping++) socket.ping()
    const [code, text] = await once(socket, 'close')
    expect([code, String(text)]).toEqual([1008, 'more than 1,024 pings before authentication'])
    await expect.poll(() => listener.connections).toBe(0)
  })

  it('several paths share a server; one that is stopped is 404; a path is served once', async () => {
    const { server, port, group, listener } = await serve()
    await serve({ path: '/other', group, authenticate: () => 'from the other' }, server)
    const other = dial({ url: `ws://127.0.0.1:${port}/other` })
    expect(await createDuplexClient<typeof router>({ connection: other }).whoami.query()).toBe('from the other')
    expect(() => serveWebSockets({ server, path: '/rpc', router, group })).toThrow(/served already/)
    listener.stop()
    expect(await rejected(`ws://127.0.0.1:${port}/rpc`)).toMatchObject({ status: 404, body: { reason: 'not_found' } })
  })

  it('other paths are left to other listeners if the option says so', async () => {
    const { server, port, url, listener, group } = await serve({ otherUpgrades: 'leave' })
    server.on('upgrade', (request, socket) => {
      if (request.url === '/theirs') socket.end('HTTP/1.1 418 Teapot\r\ncontent-length: 2\r\n\r\n{}')
    })
    expect((await rejected(`ws://127.0.0.1:${port}/theirs`)).status).toBe(418)
    await createDuplexClient<typeof router>({ connection: dial({ url }) }).whoami.query()
    listener.stop()
    listener.stop()
    expect((await rejected(`ws://127.0.0.1:${port}/theirs`)).status).toBe(418)
    await serve({ otherUpgrades: 'leave', group }, server)
    listener.stop() // the path's present listener goes on
    await createDuplexClient<typeof router>({ connection: dial({ url }) }).whoami.query()
  })

  it.each([42, 999, 1005, 1015, 1016, 2_999, 5_000, 3_000.5])(
    'a close code that nobody may send is sent as 1011: %d',
    async code => {
      const { url, group } = await serve({ createContext: ({ close }) => close({ code, message: 'made up' }) ?? {} })
      const socket = new WebSocket(url)
      const [sent, text] = await once(socket, 'close')
      expect([sent, String(text)]).toEqual([1011, 'made up'])
      await expect.poll(() => group.connections).toBe(0)
    },
  )

  it('a factory of contexts can close its connection', async () => {
    const { url } = await serve({
      createContext: ({ close }) => {
        close({ code: 4001, message: 'on second thoughts' })
        return {}
      },
    })
    expect(await dial({ url }).closed).toEqual({ code: 4001, message: 'on second thoughts', reason: 'ticket_revoked' })
  })

  it('keys are in no error, no report and no response', async () => {
    const { url, reports } = await serve({
      authenticate({ authorization }) {
        if (authorization === 'Bearer MARKED-crash') throw new Error('the store is away')
        throw ownError('ticket_invalid', 'who is it?')
      },
    })
    for (const key of ['MARKED-wrong', 'MARKED-crash']) {
      const error: unknown = await webSocketDial({ url, headers: { authorization: `Bearer ${key}` } })({
        signal: new AbortController().signal,
      }).catch(thrown => thrown)
      expect(error).toBeInstanceOf(DialError)
      expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('MARKED')
    }
    expect(inspect(reports, { depth: 9 })).not.toContain('MARKED')
  })
})

describe('dialling a WebSocket', () => {
  leavesNothing()

  /** A server that responds to every upgrade so. */
  async function responding(status: number, body: string, headers: Record<string, string> = {}): Promise<string> {
    const server = createServer()
    server.on('upgrade', (_request, socket) => {
      const lines = Object.entries({ connection: 'close', 'content-length': Buffer.byteLength(body), ...headers })
      socket.on('error', () => {}) // a client that does not read a long response to its end
      socket.end(`HTTP/1.1 ${status} X\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`)
    })
    return `ws://127.0.0.1:${await listening(server, { cut: true })}/`
  }

  const errorOf = async (url: string): Promise<unknown> =>
    webSocketDial({ url, reasons: ownReasons })({ signal: new AbortController().signal }).then(
      () => expect.fail('it was let in'),
      error => error,
    )

  it.each<[number, string | undefined, boolean]>([
    [400, 'version_unsupported', true],
    [401, 'ticket_invalid', true],
    [403, 'ticket_revoked', true],
    [404, 'not_found', true],
    [404, undefined, false],
    [401, undefined, false],
    [401, 'made_up', false],
    [409, 'server_older', false],
    [429, undefined, false],
    [500, undefined, false],
    [502, undefined, false],
    [503, 'draining', false],
    [301, undefined, false],
  ])('%d with reason %s: fatal is %s', async (status, reason, fatal) => {
    const url = await responding(status, JSON.stringify({ message: 'made up', reason }))
    expect(await errorOf(url)).toMatchObject({
      name: 'DialError',
      fatal,
      status,
      message: `the server responded with ${status}: made up`,
      reason: reason === 'made_up' ? undefined : reason,
    })
  })

  it('Retry-After is kept if it is a number of seconds', async () => {
    expect(await errorOf(await responding(503, '{}', { 'retry-after': '7' }))).toMatchObject({ retryAfterMs: 7_000 })
    const date = 'Wed, 21 Oct 2015 07:28:00 GMT'
    expect(await errorOf(await responding(503, '{}', { 'retry-after': date }))).toMatchObject({
      retryAfterMs: undefined,
    })
  })

  it.each([
    ['<html>404</html>', 404],
    ['x'.repeat(1_000_000), 500],
    ['null', 403],
  ])('a response of another program is not final', async (body, status) => {
    expect(await errorOf(await responding(status, body))).toMatchObject({ fatal: false, status })
  })

  it('a dial to a closed port is not final', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo // it listens on TCP
    server.close()
    await once(server, 'close')
    expect(await errorOf(`ws://127.0.0.1:${port}/`)).toMatchObject({
      fatal: false,
      message: expect.stringContaining('ECONNREFUSED'),
    })
  })

  it('a dial that is cancelled ends at once', async () => {
    const silent = createServer()
    const sockets: { destroy(): void }[] = []
    silent.on('upgrade', (_request, socket) => sockets.push(socket))
    silent.listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const controller = new AbortController()
    const url = `ws://127.0.0.1:${(silent.address() as AddressInfo).port}/` // it listens on TCP
    const dialling = webSocketDial({ url })({ signal: controller.signal })
    const upgrade = once(silent, 'upgrade')
    await upgrade
    controller.abort()
    await expect(dialling).rejects.toMatchObject({ fatal: false, message: 'the dial was cancelled' })
    await expect(webSocketDial({ url })({ signal: controller.signal })).rejects.toMatchObject({ fatal: false })
    for (const socket of sockets) socket.destroy()
    silent.close()
    await once(silent, 'close')
  })

  it.each(['http://a', 'ws//a', 'ws://user:MARKED@a', 'wss://a/#x', ''])('%s is rejected as a URL, unquoted', url => {
    expect(() => webSocketDial({ url })).toThrow(
      expect.objectContaining({ code: 'BAD_REQUEST', reason: 'config_invalid' }),
    )
    expect(() => webSocketDial({ url })).not.toThrow(/MARKED/)
  })

  it('wss:// trusts the given authority, and no other', async () => {
    const file = (name: string): Buffer => readFileSync(join(import.meta.dirname, '../../../fixtures/tls', name))
    const tlsServer = createTlsServer({ key: file('server.key'), cert: file('server.pem') })
    const { port, group } = await serve({}, tlsServer)
    const url = `wss://127.0.0.1:${port}/rpc`
    expect(await errorOf(url)).toMatchObject({ fatal: false, message: expect.stringMatching(/certificate|issuer/) })
    expect(group.connections).toBe(0)
    const connection = dial({ url, tls: { ca: file('ca.pem') } })
    expect(await createDuplexClient<typeof router>({ connection }).whoami.query()).toBeUndefined()
    await connection.close()
  })
})
