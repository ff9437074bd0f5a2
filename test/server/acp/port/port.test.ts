/** HTTP/1.1 and HTTP/2 on one port. */
import { type EventEmitter, once } from 'node:events'
import { createServer } from 'node:http'
import { connect as connect2 } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { Duplex, PassThrough } from 'node:stream'
import { afterEach, expect, onTestFinished, test, vi } from 'vitest'
import { serveAcp } from '../../../../server/acp/serve-acp.js'
import { ConnectionGroup } from '../../../../server/rpc/connection-group.js'
import { startAcp } from '../../../fixtures/acp/acp-server.js'
import { ask, http1, http2, type Send, TestClient } from '../../../fixtures/acp/http-client.js'
import { ScriptAgents } from '../../../fixtures/acp/script-agent.js'
import { duplexOf, sdkAgent } from '../../../fixtures/acp/sdk-agent.js'
import { leavesNothing } from '../../../fixtures/leaves-nothing.js'
import { listening } from '../../../fixtures/listening.js'

leavesNothing()
afterEach(() => {
  vi.useRealTimers()
})

function dial(port: number): Socket {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  onTestFinished(() => void socket.destroy())
  return socket
}

/** Waits for the end of a socket or a session, with or without an error. */
function closeOf(emitter: EventEmitter): Promise<void> {
  return new Promise(resolve => emitter.once('close', () => resolve()))
}

test('A26, B9: a conversation with an agent of the SDK runs over HTTP/2 beside one over HTTP/1.1', async () => {
  const { port } = await startAcp({ agent: () => duplexOf(sdkAgent()) })
  for (const send of [http2(port), http1(port)]) {
    const client = await TestClient.open(send)
    const own = await client.open()
    await client.post({ id: 1, method: 'session/new', params: { cwd: '/', mcpServers: [] } })
    const sessionId = String(Reflect.get(Object((await own.next()).data.result), 'sessionId'))
    const stream = await client.open(sessionId)
    const prompt = { sessionId, prompt: [{ type: 'text', text: 'wait' }] }
    await client.postTo(sessionId, { id: 2, method: 'session/prompt', params: prompt })
    expect(await stream.next()).toMatchObject({ id: 1, data: { method: 'session/update' } })
    await client.postTo(sessionId, { method: 'session/cancel', params: { sessionId } })
    expect(await stream.next()).toMatchObject({ id: 2, data: { id: 2, result: { stopReason: 'cancelled' } } })
    const load = { sessionId, cwd: '/', mcpServers: [] }
    await client.postTo(sessionId, { id: 3, method: 'session/load', params: load })
    expect(await stream.next()).toMatchObject({ id: 3, data: { method: 'session/update' } })
    expect(await own.next()).toMatchObject({ id: 2, data: { id: 3, result: {} } })
    expect(await client.delete()).toBe(202)
    expect([await own.end(), await stream.end()]).toEqual(['clean', 'clean'])
  }
})

test('B9: HTTP/2 serves the path of the agent alone', async () => {
  const { port } = await startAcp({ agent: new ScriptAgents().connect })
  const other = await ask(http2(port), 'GET', {}, undefined, '/other')
  expect(other).toMatchObject({ status: 421, body: { reason: 'misdirected' } })
  expect(await ask(http1(port), 'GET', {}, undefined, '/other')).toMatchObject({ status: 404 })
})

test('B9: the first bytes may come one by one', async () => {
  const { port } = await startAcp({ agent: new ScriptAgents().connect })
  for (const text of ['PUT /acp HTTP/1.1\r\nhost: x\r\n\r\n', 'PROPFIND /acp HTTP/1.1\r\nhost: x\r\n\r\n']) {
    const socket = dial(port)
    socket.setNoDelay(true)
    await once(socket, 'connect')
    for (const byte of text) {
      socket.write(byte)
      await new Promise(resolve => setImmediate(resolve))
    }
    const [chunk] = await once(socket, 'data')
    expect(String(chunk)).toMatch(/^HTTP\/1.1 405 /)
  }
})

test('B9: a socket without its first bytes ends after 10 s', async () => {
  const { port, server } = await startAcp({ agent: new ScriptAgents().connect })
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const accepted = once(server, 'connection')
  const silent = dial(port)
  const started = dial(port)
  started.write('PR')
  await accepted
  while (vi.getTimerCount() < 2) await new Promise(resolve => setImmediate(resolve))
  vi.advanceTimersByTime(9_999)
  expect([silent.destroyed, started.destroyed]).toEqual([false, false])
  const ends = [silent, started].map(socket => closeOf(socket.resume()))
  vi.advanceTimersByTime(1)
  vi.useRealTimers()
  await Promise.all(ends)
})

test('a shutdown ends silent sockets and sessions of HTTP/2, so that the server can close', async () => {
  const { port, server, group } = await startAcp({ agent: new ScriptAgents().connect })
  const client = await TestClient.open(http2(port))
  const stream = await client.open()
  const accepted = once(server, 'connection')
  const silent = dial(port)
  await accepted
  const closed = closeOf(silent.resume())
  await group.close({ graceMs: 1_000 })
  expect(await stream.end()).toBe('clean')
  await closed
  await new Promise<void>(resolve => server.close(() => resolve()))
})

/** The preface of a client, and an empty SETTINGS frame (RFC 9113, sections 3.4 and 6.5). */
const hello = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])])

/** Opens a session that ends nothing by itself, and waits for the server's first frame. */
async function halfOpen(port: number, first: Buffer, reads: boolean): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  socket.on('error', () => {})
  onTestFinished(() => void socket.destroy())
  socket.write(first)
  await once(socket, 'data')
  if (!reads) socket.pause()
  return socket
}

test.each([
  ['keeps its half of the socket open', hello, true],
  ['reads nothing', hello, false],
  ['has sent a part of the preface', hello.subarray(0, 16), true],
])('a shutdown ends the HTTP/2 of a client that %s', async (_, first, reads) => {
  const { port, server, group } = await startAcp({ agent: new ScriptAgents().connect })
  const client = await halfOpen(port, first, reads)
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const closed = closeOf(server)
  server.close()
  await group.close({ graceMs: 5_000 })
  vi.advanceTimersByTime(4_999)
  const count = () => new Promise(resolve => server.getConnections((_error, sockets) => resolve(sockets)))
  expect(await count()).toBe(1)
  vi.advanceTimersByTime(1)
  await closed
  client.destroy()
})

test('HTTP/2 without a stream ends after 75 s, and 10 s later the socket of a client that keeps its half', async () => {
  const { port, server } = await startAcp({ agent: new ScriptAgents().connect })
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const accepted = once(server, 'connection')
  const client = halfOpen(port, hello, true)
  const [socket]: Socket[] = await accepted
  const socketOfClient = await client
  const goingAway = once(socketOfClient, 'end')
  vi.advanceTimersByTime(75_000)
  await goingAway
  vi.advanceTimersByTime(9_999)
  expect(socket?.destroyed).toBe(false)
  vi.advanceTimersByTime(1)
  expect(socket?.destroyed).toBe(true)
  socketOfClient.destroy()
})

/** Returns a sender over HTTP/2 whose windows are large, and a function that leaves all further bytes in the system. */
function stalling(port: number): { socket: Socket; send: Send; stopReading(): void } {
  const socket = dial(port)
  const readable = socket.pipe(new PassThrough())
  const windowBytes = 2 ** 30
  const session = connect2(`http://127.0.0.1:${port}`, {
    settings: { initialWindowSize: windowBytes },
    createConnection: () => Duplex.from({ readable, writable: socket }),
  })
  session.on('error', () => {})
  session.once('connect', () => session.setLocalWindowSize(windowBytes))
  onTestFinished(() => session.destroy())
  return { socket, send: http2(port, session), stopReading: () => void socket.unpipe(readable).pause() }
}

test.each(['shutdown', 'slow reader'])(
  'HTTP/2 of a client that stops reading: a %s leaves no connection',
  async how => {
    const agents = new ScriptAgents()
    const times = { slowReaderMs: how === 'shutdown' ? 60_000 : 50 }
    const { port, group, ends } = await startAcp({ agent: agents.connect, times })
    const { socket, send, stopReading } = stalling(port)
    const client = await TestClient.open(send)
    await client.open()
    stopReading()
    for (let fullTurns = 0; fullTurns < 200 && ends.length === 0; fullTurns++) {
      await new Promise(resolve => setImmediate(resolve))
      if (agents.last.end.full) continue
      fullTurns = 0
      agents.last.send({ method: '_n', params: { text: 'x'.repeat(200_000) } })
    }
    if (how === 'shutdown') await group.close({ graceMs: 10 })
    else await expect.poll(() => ends).toEqual(['slow_reader'])
    expect(group.connections).toBe(0)
    socket.destroy()
  },
)

test('a server without HTTP/2, or one whose path was given back, serves as before', async () => {
  const server = createServer((request, response) => response.end(`served ${request.url}`))
  const group = new ConnectionGroup()
  const port = await listening(server, { groups: [group], cut: true })
  const acp = serveAcp({ server, path: '/agent', group, agent: new ScriptAgents().connect })
  const text = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { connection: 'close' } })
    return response.text()
  }
  expect(await text('/else')).toBe('served /else')
  expect(JSON.parse(await text('/agent?x=1'))).toMatchObject({ reason: 'not_acceptable' })
  acp.stop()
  expect(await text('/agent')).toBe('served /agent')
  const session = connect2(`http://127.0.0.1:${port}`)
  session.on('error', () => {})
  await closeOf(session)
  await group.close({ graceMs: 0 })
})

test.each([
  [{ path: 'acp' }, 'path'],
  [{ replicaId: 'a.b' }, 'replicaId'],
  [{ limits: { maxStreams: 0 } }, 'maxStreams'],
  [{ times: { keepAliveMs: Number.NaN } }, 'keepAliveMs'],
])('the options %j are rejected', (options, name) => {
  const { connect: agent } = new ScriptAgents()
  expect(() => serveAcp({ server: createServer(), group: new ConnectionGroup(), agent, ...options })).toThrow(
    expect.objectContaining({ reason: 'config_invalid', message: expect.stringContaining(name) }),
  )
})

test('a path is served once', () => {
  const server = createServer()
  const options = { server, group: new ConnectionGroup(), agent: new ScriptAgents().connect }
  serveAcp(options)
  expect(() => serveAcp(options)).toThrow('/acp is served already')
})
