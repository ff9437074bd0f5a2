/** Floods of clients that are authenticated after the upgrade, as bytes on their sockets. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect as dialTcp, type Socket } from 'node:net'
import { initTRPC } from '@trpc/server'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { WebSocket } from 'ws'
import { ConnectionGroup } from '../../../../server/rpc/connection-group.js'
import { serveWebSockets } from '../../../../server/rpc/upgrade/websocket-listener.js'
import { RpcError } from '../../../../shared/rpc/errors.js'
import { leavesNothing, opened } from '../../../fixtures/leaves-nothing.js'
import { listening } from '../../../fixtures/listening.js'
import { gate } from '../../../fixtures/peer.js'

const t = initTRPC.context<object>().create()
const router = t.router({ echo: t.procedure.query(() => 'here') })

async function serve(
  createContext: () => object | Promise<object> = () => ({}),
): Promise<{ port: number; connections: () => number; accepted: readonly Socket[]; group: ConnectionGroup }> {
  const server = createServer()
  const accepted: Socket[] = []
  server.on('connection', socket => accepted.push(socket))
  const group = new ConnectionGroup()
  const listener = serveWebSockets({
    server,
    path: '/rpc',
    router,
    group,
    authenticate({ authorization }) {
      if (authorization !== 'Bearer good') throw new RpcError('UNAUTHORIZED', 'no')
    },
    createContext,
  })
  return {
    accepted,
    group,
    port: await listening(server, { groups: [group], cut: true }),
    connections: () => listener.connections,
  }
}

/** A socket whose upgrade has succeeded. */
async function upgraded(port: number): Promise<Socket> {
  const socket = dialTcp(port, '127.0.0.1').on('error', () => {})
  opened.add({ groups: [], close: async () => socket.destroy() })
  socket.write(
    'GET /rpc?connectionParams=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  )
  await once(socket, 'data')
  return socket
}

/** The socket's end, also by a reset: bytes that nobody reads any more are under way. */
const ended = (socket: Socket): Promise<unknown> => new Promise(resolve => socket.once('close', resolve))

/** The payload of the frame that closes a connection, of a server that sends 1008. */
async function closeFrame(socket: Socket): Promise<Buffer> {
  let received = Buffer.alloc(0)
  for (;;) {
    const [chunk] = await once(socket, 'data')
    received = Buffer.concat([received, chunk])
    const start = received.lastIndexOf(Buffer.from([0x03, 0xf0]))
    if (start >= 0) return received.subarray(start)
  }
}

const mask = Buffer.alloc(4)

/** One frame of at most 125 bytes; the mask is 0. */
function frame(firstByte: number, text = ''): Buffer {
  return Buffer.concat([Buffer.from([firstByte, 0x80 | text.length]), mask, Buffer.from(text)])
}

/** The beginning of a text frame of 4 MiB. */
const longFrame = Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0])
const repeat = (one: Buffer, count: number): Buffer => Buffer.concat(new Array<Buffer>(count).fill(one))
const firstFrame = '{"method":"connectionParams","data":{"authorization":"Bearer bad"}}'

describe('a flood before authentication', () => {
  leavesNothing()

  it.each<[string, Buffer, RegExp]>([
    ['pings', repeat(frame(0x89), 1_025), /^more than 1,024 pings before authentication$/],
    ['pongs', repeat(frame(0x8a), 1_025), /^more than 1,024 pings before authentication$/],
    ['a first frame that does not end', Buffer.concat([longFrame, Buffer.alloc(200_000)]), /^a first frame of more/],
    ['parts of a first frame', Buffer.concat([frame(0x01, '{'), repeat(frame(0x00, ' '), 300)]), /^$/],
  ])(
    'a flood before authentication of %s closes the connection with 1008 and ends the socket',
    async (_, bytes, text) => {
      const { port, connections } = await serve()
      const socket = await upgraded(port)
      const end = ended(socket)
      socket.write(bytes)
      const close = await closeFrame(socket)
      expect(close.readUInt16BE()).toBe(1008)
      expect(close.subarray(2).toString()).toMatch(text)
      // A peer that respects the close ends its socket.
      socket.end()
      await end
      await expect.poll(connections).toBe(0)
    },
  )

  it('after a rejection the socket of a peer that sends on is read no further', async () => {
    const { port, accepted } = await serve()
    const socket = await upgraded(port)
    socket.write(frame(0x81, firstFrame))
    await once(socket, 'data')
    const chunk = repeat(frame(0x81, '{}'), 5_000)
    const send = (): unknown => socket.write(chunk, error => !error && setImmediate(send))
    send()
    const bytesRead = (): number => Number(accepted[0]?.bytesRead)
    let before: number
    do {
      before = bytesRead()
      for (let turn = 0; turn < 100; turn++) await new Promise(resolve => setImmediate(resolve))
    } while (bytesRead() > before || before < 250_000)
    expect(before).toBeLessThan(1_000_000)
  })

  it('a peer that was cut off and stays keeps its place for half of handshakeTimeoutMs or more, and no longer', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    onTestFinished(() => void vi.useRealTimers())
    vi.spyOn(Math, 'random').mockReturnValueOnce(0.5)
    onTestFinished(() => void vi.restoreAllMocks())
    const { port, connections } = await serve()
    const socket = await upgraded(port)
    socket.write(repeat(frame(0x89), 1_025))
    await closeFrame(socket)
    const end = ended(socket)
    vi.advanceTimersByTime(7_000)
    await new Promise(resolve => setImmediate(resolve))
    expect(connections()).toBe(1)
    vi.advanceTimersByTime(1_000)
    await end
    vi.useRealTimers()
    await expect.poll(connections).toBe(0)
  })

  it('a shutdown waits for no peer that was cut off', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const { port, connections, group } = await serve()
    const socket = await upgraded(port)
    socket.write(repeat(frame(0x89), 1_025))
    await closeFrame(socket)
    const end = ended(socket)
    await group.close()
    await end
    vi.useRealTimers()
    await expect.poll(connections).toBe(0)
  })

  it('a long message that would take too much memory is not parsed', async () => {
    const reading = gate()
    const { port } = await serve(() => {
      reading.open()
      return new Promise<never>(() => {})
    })
    const socket = await upgraded(port)
    socket.write(frame(0x81, firstFrame.replace('bad', 'good')))
    await reading.passed
    const parse = vi.spyOn(JSON, 'parse')
    const text = `[${'[],'.repeat(200_000)}0]`
    const head = Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    head.writeUInt32BE(text.length, 6)
    socket.write(Buffer.concat([head, Buffer.from(text)]))
    const [close] = await once(socket, 'data')
    expect(close.readUInt16BE(2)).toBe(1008)
    expect(parse).not.toHaveBeenCalled()
    parse.mockRestore()
  })

  it('a socket that is lost in the moment of authentication ends no process', async () => {
    const reading = gate()
    const authenticated = gate()
    const { port, accepted, connections } = await serve(async () => {
      reading.open()
      await authenticated.passed
      return {}
    })
    const client = await upgraded(port)
    for (let peer = 0; peer < 6; peer++) await upgraded(port)
    const [socket, ...others] = accepted
    client.write(frame(0x81, firstFrame.replace('bad', 'good')))
    await reading.passed
    // Each chunk waits for its turn, the last one longest. Before that the context comes, and the connection is lost.
    for (const other of others) other.emit('data', frame(0x89))
    socket?.emit('data', frame(0x81, '{"id":1,"method":"query","params":{"path":"echo"}}'))
    authenticated.open()
    for (let microtask = 0; microtask < 20; microtask++) await undefined
    for (const one of accepted) one.destroy()
    await expect.poll(connections).toBe(0)
  })

  it('a flood before authentication leaves clients with a key alone: their pings have no such limit', async () => {
    const { port } = await serve()
    const client = new WebSocket(`ws://127.0.0.1:${port}/rpc`, { headers: { authorization: 'Bearer good' } })
    await once(client, 'open')
    for (let count = 0; count < 3_000; count++) client.ping()
    client.send('{"id":1,"method":"query","params":{"path":"echo"}}')
    expect(String((await once(client, 'message'))[0])).toContain('here')
    client.close()
    await once(client, 'close')
  })
})
