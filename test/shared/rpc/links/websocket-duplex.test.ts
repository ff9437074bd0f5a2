import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { WebSocket } from 'ws'
import type { CloseReason, Duplex, DuplexReceiver, Message } from '../../../../shared/rpc/duplex.js'
import { framesPerTurn } from '../../../../shared/rpc/limits.js'
import { duplexServer } from '../../../../shared/rpc/links/duplex-socket.js'
import { webSocketDuplex } from '../../../../shared/rpc/links/websocket-duplex.js'
import type { WebSocketDuplexOptions } from '../../../../shared/rpc/links/websocket-settings.js'
import { leavesNothing } from '../../../fixtures/leaves-nothing.js'
import { gate } from '../../../fixtures/peer.js'

const opened: (() => Promise<unknown> | unknown)[] = []

/**
 * Makes a duplex on the server's side of a WebSocket, whose client is a bare `ws`.
 * @param beforeOpen runs while the duplex has no receiver yet
 */
async function pair(
  options: WebSocketDuplexOptions = {},
  receiver: Partial<DuplexReceiver> = {},
  beforeOpen?: (client: WebSocket, duplex: Duplex) => Promise<unknown>,
) {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const wss = duplexServer(options, { server })
  const accepted = gate<{ duplex: Duplex; raw: Socket }>()
  wss.on('connection', (socket, request) => {
    accepted.open({ duplex: webSocketDuplex(socket, request.socket, options), raw: request.socket })
  })
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`, { autoPong: false }) // it listens on TCP
  await once(client, 'open')
  const frames: string[] = []
  client.on('message', data => frames.push(data.toString()))
  const clientClosed = gate<{ code: number; text: string }>()
  client.on('close', (code, text) => clientClosed.open({ code, text: text.toString() }))
  client.on('error', () => {})
  const { duplex, raw } = await accepted.passed
  opened.push(async () => {
    client.terminate()
    duplex.terminate({ code: 1000, message: 'the test is over' })
    wss.close()
    server.close()
    await once(server, 'close')
  })
  await beforeOpen?.(client, duplex)
  return { duplex, raw, client, frames, clientClosed: clientClosed.passed, ...listen(duplex, receiver) }
}

/**
 * Stops the clock of timers until the end of the test; {@link pass} moves it. A busy machine then changes no result.
 */
function fakeTime(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] })
}

/** Lets time pass in a turn of the event loop, and waits for the next one: sockets are read between the two. */
async function pass(ms: number, before = () => {}): Promise<void> {
  await nextTurn()
  before()
  vi.advanceTimersByTime(ms)
  await nextTurn()
  await nextTurn()
}

const nextTurn = () => new Promise<void>(resolve => setImmediate(resolve))

/** Lets time pass until a ping is sent, and returns its data when it has arrived. */
async function nextPing(client: WebSocket, raw: Socket): Promise<Buffer> {
  const arrived = once(client, 'ping')
  const { bytesWritten } = raw
  while (raw.bytesWritten === bytesWritten) await pass(1)
  return (await arrived)[0]
}

/** Sends something and waits until it has arrived. */
async function received(raw: Socket, send: () => void): Promise<void> {
  const { bytesRead } = raw
  send()
  while (raw.bytesRead === bytesRead) await nextTurn()
}

/**
 * Reads all there is, while 1 ms passes for every second portion of the network. Returns the time that has passed, in
 * ms.
 */
async function readSlowly(client: WebSocket): Promise<number> {
  const raw: Socket = Reflect.get(client, '_socket')
  const begun = performance.now()
  const message = once(client, 'message')
  let portions = 0
  raw.on('data', () => {
    if (++portions % 2) return
    raw.pause()
    void pass(1).then(() => raw.resume())
  })
  client.resume()
  await message
  return performance.now() - begun
}

/** Records the events of a duplex, and passes each on to the receiver. */
function listen(duplex: Duplex, receiver: Partial<DuplexReceiver>) {
  const messages: Message[] = []
  const drained = gate()
  const closed = gate<CloseReason>()
  duplex.open({
    onMessage(message, bytes) {
      messages.push(message)
      receiver.onMessage?.(message, bytes)
    },
    onDrain() {
      drained.open()
      receiver.onDrain?.()
    },
    onClose(reason) {
      closed.open(reason)
      receiver.onClose?.(reason)
    },
  })
  return { messages, drained: drained.passed, closed: closed.passed }
}

describe('a WebSocket as a duplex', () => {
  leavesNothing()
  afterEach(async () => {
    vi.useRealTimers()
    for (const close of opened.splice(0)) await close()
  })

  it('each message is one frame, also several of one turn', async () => {
    const { duplex, frames } = await pair()
    duplex.send({ a: 1 })
    duplex.send('PONG')
    duplex.send([{ b: 2 }])
    await expect.poll(() => frames).toEqual(['{"a":1}', 'PONG', '[{"b":2}]'])
  })

  it('a batching duplex sends messages of one turn as one array; PONG and arrays keep their place', async () => {
    const { duplex, frames } = await pair({ batch: true })
    duplex.send({ a: 1 })
    duplex.send({ b: 2 })
    duplex.send('PONG')
    duplex.send({ c: 3 })
    duplex.send([{ d: 4 }])
    duplex.send({ e: 5 })
    duplex.send({ f: 6 })
    await expect.poll(() => frames).toEqual(['[{"a":1},{"b":2}]', 'PONG', '{"c":3}', '[{"d":4}]', '[{"e":5},{"f":6}]'])
  })

  it('a batching duplex sends no frame of more than 32 Ki characters, and fills them', async () => {
    const { duplex, frames } = await pair({ batch: true })
    for (let index = 0; index < 50; index++) duplex.send({ text: '€'.repeat(10_000) })
    await expect.poll(() => frames.flatMap(frame => JSON.parse(frame)).length).toBe(50)
    expect(frames).toHaveLength(17)
    for (const frame of frames) expect(frame.length).toBeLessThanOrEqual(32 * 1024 + 2)
  })

  it('a batch may be larger than maxMessageBytes, none of its messages may', async () => {
    const { client, closed, messages } = await pair({ maxMessageBytes: 100 })
    const small = { text: 'x'.repeat(80) }
    client.send(JSON.stringify([small, small]))
    await expect.poll(() => messages).toEqual([[small, small]])
    client.send(JSON.stringify([small, { text: '€'.repeat(30) }]))
    expect(await closed).toMatchObject({ code: 1009, message: 'message is larger than maxMessageBytes 100' })
  })

  it('a change of a message after send() is not sent', async () => {
    const { duplex, frames } = await pair()
    const message = { list: [1] }
    duplex.send(message)
    message.list.push(2)
    await expect.poll(() => frames).toEqual(['{"list":[1]}'])
  })

  it('a message above maxMessageBytes is rejected with both numbers, counted in bytes, and the duplex goes on', async () => {
    const { duplex, frames } = await pair({ maxMessageBytes: 100 })
    duplex.send({ text: 'x'.repeat(89) })
    expect(() => duplex.send({ text: 'x'.repeat(90) })).toThrow(
      expect.objectContaining({
        code: 'PAYLOAD_TOO_LARGE',
        message: 'message of 101 bytes is larger than maxMessageBytes 100',
      }),
    )
    expect(() => duplex.send({ text: '€'.repeat(40) })).toThrow(expect.objectContaining({ code: 'PAYLOAD_TOO_LARGE' }))
    duplex.send({ text: '€'.repeat(29) })
    await expect.poll(() => frames.length).toBe(2)
  })

  it('a received message above maxMessageBytes closes with 1009, and both sides can read the limit', async () => {
    const { client, closed, clientClosed, messages } = await pair({ maxMessageBytes: 100 })
    client.send(JSON.stringify({ text: 'x'.repeat(200) }))
    expect(await closed).toEqual({
      code: 1009,
      message: 'message is larger than maxMessageBytes 100',
      received: true,
    })
    expect(await clientClosed).toEqual({ code: 1009, text: 'message is larger than maxMessageBytes 100' })
    expect(messages).toEqual([])
  })

  it.each([
    ['a binary frame', Buffer.from('{}')],
    ['no JSON', '{"id":'],
    ['a number', '5'],
    ['null', 'null'],
    ['a JSON string', '"PING"'],
    ['nothing', ''],
  ])('%s closes with 1002 and the cause', async (_name, frame) => {
    const { client, closed, clientClosed, messages } = await pair()
    client.send(frame)
    expect(await closed).toMatchObject({ code: 1002, message: expect.stringMatching(/^not a valid message: /) })
    expect(await clientClosed).toMatchObject({ code: 1002, text: expect.stringMatching(/^not a valid message: /) })
    expect(messages).toEqual([])
  })

  it('bytes that are no frame close with 1002', async () => {
    const { client, closed } = await pair()
    Reflect.get(client, '_socket').write(Buffer.from([0xff, 0xff, 0xff, 0xff]))
    expect(await closed).toMatchObject({ code: 1002 })
  })

  it('messages received before open() are delivered in order', async () => {
    const messages: Message[] = []
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const wss = duplexServer({}, { server })
    const accepted = gate<Duplex>()
    wss.on('connection', (socket, request) => accepted.open(webSocketDuplex(socket, request.socket)))
    const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`) // it listens on TCP
    await once(client, 'open')
    for (const id of [1, 2, 3]) client.send(`{"id":${id}}`)
    client.close(1000, 'done')
    const duplex = await accepted.passed
    await once(client, 'close')
    const closed = new Promise<CloseReason>(resolve => {
      duplex.open({ onMessage: message => messages.push(message), onDrain() {}, onClose: resolve })
    })
    expect(await closed).toEqual({ code: 1000, message: 'done' })
    expect(messages).toEqual([{ id: 1 }, { id: 2 }, { id: 3 }])
    wss.close()
    server.close()
  })

  it('close() flushes earlier messages, then sends the code and the text, cut at a character to fit a frame', async () => {
    const { duplex, frames, clientClosed, closed } = await pair()
    duplex.send({ last: true })
    duplex.close({ code: 4001, message: `${'x'.repeat(122)}€ and more` })
    duplex.send({ never: true })
    expect(await clientClosed).toEqual({ code: 4001, text: 'x'.repeat(122) })
    expect(frames).toEqual(['{"last":true}'])
    expect(await closed).toMatchObject({ code: 4001, message: expect.stringMatching(/ and more$/) })
  })

  it('messages that a peer sends after close() are not delivered', async () => {
    const { duplex, client, clientClosed, closed, messages } = await pair()
    client.send('{"before":true}')
    await expect.poll(() => messages).toEqual([{ before: true }])
    duplex.close({ code: 4001, message: 'the key was revoked' })
    // It has not seen the close yet: that comes in a later turn.
    for (let count = 0; count < 100; count++) client.send('{"after":true}')
    await Promise.all([clientClosed, closed])
    expect(messages).toEqual([{ before: true }])
  })

  it('messages kept for a receiver are dropped once the receiver closes', async () => {
    const receiver: Partial<DuplexReceiver> = {}
    const { closed, messages } = await pair({}, receiver, async (client, duplex) => {
      receiver.onMessage = () => duplex.close({ code: 1000, message: 'one is enough' })
      for (const id of [1, 2]) client.send(JSON.stringify({ id }))
      client.ping()
      // The pong follows both messages.
      await once(client, 'pong')
    })
    expect(await closed).toEqual({ code: 1000, message: 'one is enough' })
    expect(messages).toEqual([{ id: 1 }])
  })

  it('messages sent before a fault of the peer arrive before the close', async () => {
    const receiver: Partial<DuplexReceiver> = {}
    const { duplex, client, frames, clientClosed } = await pair({}, receiver)
    receiver.onMessage = () => duplex.send({ id: 1 })
    const raw: Socket = Reflect.get(client, '_socket')
    // Both frames arrive together: the response to the first is still queued at the fault in the second.
    raw.cork()
    client.send('{}')
    client.send('no JSON')
    raw.uncork()
    await clientClosed
    expect(frames).toEqual(['{"id":1}'])
  })

  it('a flood of short frames leaves the other sockets their turns', async () => {
    let inTurn = 0
    let most = 0
    let all = 0
    const receiver = {
      onMessage() {
        all++
        if (++inTurn === 1) setImmediate(() => (inTurn = 0))
        most = Math.max(most, inTurn)
      },
    }
    const { client, raw } = await pair({}, receiver)
    // The system fills up first.
    raw.pause()
    const clientRaw: Socket = Reflect.get(client, '_socket')
    clientRaw.cork()
    for (let frame = 0; frame < 16_000; frame++) client.send(JSON.stringify(['x'.repeat(118)]))
    clientRaw.uncork()
    for (let turn = 0; turn < 20; turn++) await nextTurn()
    raw.resume()
    await expect.poll(() => all).toBe(16_000)
    // A frame here has 128 bytes, and Node reads 64 KiB at once.
    expect(most).toBeLessThanOrEqual(2 * framesPerTurn)
  })

  it('a pause that the receiver asks for lasts longer than the turn for the other sockets', async () => {
    const receiver: Partial<DuplexReceiver> = {}
    const { duplex, client, messages } = await pair({}, receiver)
    const paused = gate()
    receiver.onMessage = () => {
      if (messages.length !== framesPerTurn + 1) return
      duplex.pauseReading?.()
      paused.open()
    }
    const raw: Socket = Reflect.get(client, '_socket')
    raw.cork()
    for (let frame = 0; frame <= framesPerTurn; frame++) client.send('{}')
    raw.uncork()
    await paused.passed
    client.send('{"last":true}')
    for (let turn = 0; turn < 50; turn++) await nextTurn()
    expect(messages).toHaveLength(framesPerTurn + 1)
    duplex.resumeReading?.()
    await expect.poll(() => messages.at(-1)).toEqual({ last: true })
  })

  it('close codes that may not be sent become 1011', async () => {
    const { duplex, clientClosed } = await pair()
    duplex.close({ code: 1006, message: 'lost' })
    expect(await clientClosed).toEqual({ code: 1011, text: 'lost' })
  })

  it.each([
    [1001, '', { code: 1001, message: 'the peer goes away', reason: 'draining' }],
    [4001, 'gone', { code: 4001, message: 'gone' }],
    [4999, 'odd', { code: 4999, message: 'odd' }],
    [undefined, '', { code: 1005, message: 'the peer closed' }],
  ])('a peer that closes with %s is understood', async (code, text, expected) => {
    const { client, closed } = await pair()
    client.close(code, text)
    expect(await closed).toEqual(expected)
  })

  it('a peer that sends no response to a close is cut off after closeTimeoutMs', async () => {
    const { duplex, client, closed } = await pair({ closeTimeoutMs: 20 })
    client.pause()
    duplex.close({ code: 1001, message: 'bye' })
    expect(await closed).toEqual({ code: 1001, message: 'bye' })
  })

  it('messages and pings of a peer do not prolong the wait after a close', async () => {
    const { duplex, client, closed } = await pair({ closeTimeoutMs: 30 })
    client.pause()
    duplex.close({ code: 4001, message: 'revoked' })
    const flood = setInterval(() => {
      client.send('{"still":"here"}')
      client.ping()
    }, 1)
    expect(await closed).toEqual({ code: 4001, message: 'revoked' })
    clearInterval(flood)
  })

  it('signs of life prolong the wait after a close, up to closeLimitMs', async () => {
    fakeTime()
    const { duplex, raw, client, closed } = await pair({ closeTimeoutMs: 30, closeLimitMs: 300 })
    client.pause()
    const begun = performance.now()
    let gone = false
    void closed.then(() => {
      gone = true
    })
    duplex.close({ code: 1001, message: 'bye' })
    while (!gone) {
      const { bytesRead } = raw
      client.pong()
      while (!gone && raw.bytesRead === bytesRead) await nextTurn()
      await pass(10)
    }
    expect(await closed).toEqual({ code: 1001, message: 'bye' })
    expect(performance.now() - begun).toBeGreaterThanOrEqual(300)
  })

  it('a close with patience waits for unconfirmed bytes although the peer is silent', async () => {
    fakeTime()
    const { duplex, client, frames, clientClosed, closed } = await pair({ closeTimeoutMs: 10 })
    client.pause()
    const text = 'x'.repeat(100_000) // the system takes it at once
    duplex.send({ text })
    await expect.poll(() => duplex.bufferedBytes).toBe(0)
    duplex.close({ code: 1001, message: 'bye' }, 5_000)
    let gone = false
    void closed.then(() => {
      gone = true
    })
    await pass(100)
    expect(gone).toBe(false)
    client.resume()
    expect(await clientClosed).toEqual({ code: 1001, text: 'bye' })
    expect(await closed).toEqual({ code: 1001, message: 'bye' })
    expect(frames[0]?.length).toBe(text.length + 11)
  })

  it('a close with patience does not wait for a peer that has confirmed all sent bytes', async () => {
    const { duplex, client, closed } = await pair({ closeTimeoutMs: 10, pingIntervalMs: 10, pongTimeoutMs: 1_000 })
    duplex.send({ text: 'x'.repeat(100_000) })
    await new Promise<void>(resolve => client.once('ping', data => client.pong(data, undefined, () => resolve())))
    await once(client, 'ping') // the next one: the pong has come
    client.pause()
    duplex.close({ code: 1001, message: 'bye' }, 60_000)
    expect(await closed).toEqual({ code: 1001, message: 'bye' })
  })

  it.each(['closes first', 'responds to a close'])(
    'a peer that %s and keeps the socket open is gone at once, and its socket after closeTimeoutMs',
    async which => {
      const { duplex, raw, client, closed } = await pair({ closeTimeoutMs: 20 })
      const socketClosed = once(raw, 'close')
      const peerRaw: Socket = Reflect.get(client, '_socket')
      // Frames by hand: `ws` would end the socket itself, and so would Node.
      client.removeAllListeners()
      peerRaw.allowHalfOpen = true
      peerRaw.removeAllListeners('data').removeAllListeners('end').resume()
      const closeFrame = Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]) // 1000, masked with zeros
      if (which === 'closes first') {
        peerRaw.write(closeFrame)
        expect(await closed).toMatchObject({ code: 1000 })
      } else {
        duplex.close({ code: 1001, message: 'bye' })
        peerRaw.write(closeFrame)
        expect(await closed).toMatchObject({ code: 1001 })
      }
      expect(raw.destroyed).toBe(false)
      await socketClosed
    },
  )

  it('a duplex that is opened and terminated in one turn reports one close', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const wss = duplexServer({}, { server })
    const observed: CloseReason[] = []
    wss.on('connection', (socket, request) => {
      const duplex = webSocketDuplex(socket, request.socket)
      duplex.open({ onMessage() {}, onDrain() {}, onClose: reason => observed.push(reason) })
      duplex.terminate({ code: 4001, message: 'at once' })
    })
    const late = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`) // it listens on TCP
    await once(late, 'close')
    wss.close()
    server.close()
    await once(server, 'close')
    expect(observed).toEqual([{ code: 4001, message: 'at once' }])
  })

  it('a close waits for a peer that is slow but reads on', async () => {
    fakeTime()
    const { duplex, client, frames, clientClosed } = await pair({ closeTimeoutMs: 30, maxMessageBytes: 64_000_000 })
    client.pause()
    const text = 'x'.repeat(32_000_000)
    duplex.send({ text })
    duplex.close({ code: 1001, message: 'bye' })
    // A little at a time, for several times the timeout.
    expect(await readSlowly(client)).toBeGreaterThan(100)
    expect(await clientClosed).toEqual({ code: 1001, text: 'bye' })
    expect(frames[0]?.length).toBe(text.length + 11)
  })

  it('terminate() closes at once, delivers nothing more, and does not wait for the peer', async () => {
    const { duplex, client, closed, messages, clientClosed } = await pair()
    client.pause()
    duplex.send({ lost: true })
    duplex.terminate({ code: 4008, message: 'too slow' })
    duplex.terminate({ code: 1000, message: 'a second time' })
    expect(await closed).toEqual({ code: 4008, message: 'too slow' })
    client.resume()
    expect(await clientClosed).toMatchObject({ code: 1006 })
    expect(messages).toEqual([])
  })

  it('a duplex is full above the high-water mark, and drained at half of the mark', async () => {
    const { duplex, client, drained } = await pair({ highWaterMarkBytes: 1_000_000 })
    client.pause()
    let sent = 0
    while (!duplex.full && sent < 200) {
      duplex.send({ text: 'x'.repeat(100_000) })
      sent++
      await new Promise(resolve => setImmediate(resolve))
    }
    expect(duplex.full).toBe(true)
    expect(duplex.bufferedBytes).toBeGreaterThan(1_000_000)
    client.resume()
    await drained
    expect(duplex.full).toBe(false)
    expect(duplex.bufferedBytes).toBeLessThanOrEqual(500_000)
  })

  it('a pong has the bytes of its ping', async () => {
    const { client } = await pair()
    const pong = once(client, 'pong')
    client.ping('are you there')
    expect(String((await pong)[0])).toBe('are you there')
  })

  it('pings of one turn get one pong, for the newest', async () => {
    const { client, raw } = await pair()
    const pongs: string[] = []
    client.on('pong', data => pongs.push(data.toString()))
    const { bytesRead } = raw
    raw.pause()
    for (let count = 1; count <= 1_000; count++) client.ping(`ping ${count}`)
    raw.resume()
    await expect.poll(() => pongs.at(-1)).toBe('ping 1000')
    expect(raw.bytesRead - bytesRead).toBeGreaterThan(10_000)
    expect(pongs.length).toBeLessThan(10)
  })

  it('a peer that pings and does not read is owed one pong, and then one for the newest ping', async () => {
    const { duplex, client } = await pair({ maxMessageBytes: 64_000_000 })
    client.pause()
    duplex.send({ text: 'x'.repeat(16_000_000) })
    await expect.poll(() => duplex.bufferedBytes).toBeGreaterThan(1_000_000)
    const before = duplex.bufferedBytes
    const pongs: string[] = []
    client.on('pong', data => pongs.push(data.toString()))
    for (let count = 1; count <= 1_000; count++) {
      client.ping(`ping ${count}`)
      if (count % 100 === 0) await nextTurn()
    }
    client.send('{"after":"the pings"}')
    await nextTurn()
    expect(duplex.bufferedBytes - before).toBeLessThan(200)
    client.resume()
    await expect.poll(() => pongs.at(-1)).toBe('ping 1000')
    expect(pongs.length).toBeLessThanOrEqual(2)
  })

  const batchOf = (messages: number): string => `[${Array(messages).fill('{}').join(',')}]`

  it.each<[string, (client: WebSocket) => void]>([
    ['messages', client => client.send('PING')],
    ['messages in batches', client => client.send(batchOf(50))],
    ['pings', client => client.ping()],
    ['pongs', client => client.pong()],
  ])('a flood of %s leaves the other sockets their turns', async (_, sendOne) => {
    const { client, raw } = await pair()
    // So much that a turn finds many chunks.
    raw.pause()
    const socket: Socket = Reflect.get(client, '_socket')
    while (socket.bytesWritten < 400_000) {
      socket.cork()
      for (let count = 0; count < 1_000; count++) sendOne(client)
      socket.uncork()
    }
    await nextTurn()
    raw.resume()
    let longest = 0
    let { bytesRead } = raw
    const before = bytesRead
    while (raw.bytesRead < socket.bytesWritten) {
      await nextTurn()
      longest = Math.max(longest, raw.bytesRead - bytesRead)
      bytesRead = raw.bytesRead
    }
    expect(bytesRead - before).toBeGreaterThan(200_000)
    // One chunk, and one that was under way.
    expect(longest).toBeLessThanOrEqual(2 * 64 * 1024)
  })

  it('messages before the duplex is opened are kept up to maxBufferedBytes, in memory; more of them close with 1008', async () => {
    const { closed, clientClosed, messages } = await pair({ maxBufferedBytes: 100_000 }, {}, async client => {
      const end = once(client, 'close')
      const small = JSON.stringify([[], [], []])
      for (let count = 0; count < 1_000; count++) client.send(small)
      await end
    })
    const text = 'messages of more than 100,000 bytes before any was read'
    expect(await closed).toEqual({ code: 1008, message: text })
    expect(await clientClosed).toEqual({ code: 1008, text })
    expect(messages).toEqual([])
  })

  it('a receiver that throws ends its connection with 1011, not the process', async () => {
    const fails = (): never => {
      throw new Error('made up')
    }
    const { client, closed } = await pair({}, { onMessage: fails })
    client.send('{}')
    expect(await closed).toMatchObject({ code: 1011 })
  })

  it('a receiver that throws in onDrain or onClose does not end the process', async () => {
    const fails = (): never => {
      throw new Error('made up')
    }
    const { duplex, client, closed } = await pair({ highWaterMarkBytes: 1_000 }, { onDrain: fails, onClose: fails })
    client.pause()
    duplex.send({ text: 'x'.repeat(2_000_000) })
    client.resume()
    expect(await closed).toMatchObject({ code: 1011, message: 'the receiver failed: Error: made up' })
  })

  it('a socket that is reset is a lost connection', async () => {
    const { client, closed } = await pair()
    const raw: Socket = Reflect.get(client, '_socket')
    raw.resetAndDestroy()
    expect(await closed).toMatchObject({ code: 1006, message: expect.stringMatching(/^the connection was lost/) })
  })
})

describe('silence', () => {
  leavesNothing()
  afterEach(async () => {
    vi.useRealTimers()
    for (const close of opened.splice(0)) await close()
  })
  const quick = { pingIntervalMs: 10, pongTimeoutMs: 30 }

  it('a peer that sends pongs stays connected, with one ping outstanding at a time', async () => {
    fakeTime()
    const { client, duplex, raw } = await pair(quick)
    let pings = 0
    client.on('ping', () => pings++)
    for (let count = 1; count <= 5; count++) {
      const data = await nextPing(client, raw)
      await pass(quick.pongTimeoutMs - 1)
      await received(raw, () => client.pong(data))
      expect(pings).toBe(count)
      await pass(1)
    }
    duplex.send({ still: 'open' })
    await once(client, 'message')
  })

  it('a peer that sends no pong is cut off at once, without a wait for its close', async () => {
    const { closed } = await pair(quick) // with a client that sends no pongs
    expect(await closed).toEqual({ code: 1006, message: 'no response to a ping within 30 ms' })
  })

  it('any message counts as a pong', async () => {
    fakeTime()
    const { client, raw, duplex } = await pair(quick)
    for (let count = 1; count <= 3; count++) {
      await nextPing(client, raw)
      await received(raw, () => client.send('{"not":"a pong"}'))
      await pass(quick.pongTimeoutMs)
    }
    duplex.send({ still: 'open' })
    await once(client, 'message')
  })

  it('a pong that arrived while this process was busy counts', async () => {
    fakeTime()
    const { client, raw, duplex, messages } = await pair(quick)
    for (let count = 1; count <= 3; count++) {
      const data = await nextPing(client, raw)
      // The pong is under way while both ends stand still, longer than the timeout.
      await pass(quick.pongTimeoutMs, () => {
        client.pong(data)
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
      })
    }
    duplex.send({ still: 'open' })
    await once(client, 'message')
    expect(messages).toEqual([])
  })

  it('a silent peer that reads on slowly stays connected', async () => {
    fakeTime()
    const { duplex, client, frames } = await pair({ ...quick, maxMessageBytes: 64_000_000 })
    client.pause()
    duplex.send({ text: 'x'.repeat(32_000_000) })
    client.on('ping', data => client.pong(data))
    expect(await readSlowly(client)).toBeGreaterThan(100)
    await expect.poll(() => frames.length).toBe(1)
  })

  it('a vanished peer is noticed although this side goes on sending', async () => {
    const { duplex, client, closed } = await pair(quick)
    client.pause()
    const sending = setInterval(() => duplex.send({ ping: 1 }), 2)
    expect(await closed).toMatchObject({ code: 1006 })
    clearInterval(sending)
  })
})
