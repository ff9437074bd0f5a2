/**
 * The browser's duplex on a scripted socket: limits, times and closes, which a real browser shows slowly or not at all.
 */
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { type BrowserDuplexOptions, browserDuplex } from '../../../../client/rpc/browser/browser-duplex.js'
import type { CloseReason, DuplexReceiver, Message } from '../../../../shared/rpc/duplex.js'
import { leavesNothing } from '../../../fixtures/leaves-nothing.js'
import { ScriptedSocket } from './scripted-socket.js'

function make(options: BrowserDuplexOptions = {}, receiver: Partial<DuplexReceiver> = {}) {
  const socket = new ScriptedSocket()
  const duplex = browserDuplex(socket, options)
  const received: Message[] = []
  const bytes: number[] = []
  const closes: CloseReason[] = []
  const open = (): void =>
    duplex.open({
      onMessage(message, size) {
        received.push(message)
        bytes.push(size)
      },
      onDrain() {},
      onClose: reason => closes.push(reason),
      ...receiver,
    })
  onTestFinished(() => duplex.terminate({ code: 1000, message: 'the test is over' }))
  return { socket, duplex, received, bytes, closes, open }
}

function opened(options: BrowserDuplexOptions = {}, receiver: Partial<DuplexReceiver> = {}) {
  const made = make(options, receiver)
  made.open()
  return made
}

const microtasks = async (): Promise<void> => {
  for (let turn = 0; turn < 5; turn++) await Promise.resolve()
}

/** Lets time pass, step by step, and after each step a turn of the event loop. */
async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 5) {
    vi.advanceTimersByTime(Math.min(5, left))
    await new Promise<void>(resolve => setImmediate(resolve))
  }
}

const small = { pingIntervalMs: 100, pongTimeoutMs: 50, closeTimeoutMs: 50, closeLimitMs: 200 }
const text = (length: number): string => 'x'.repeat(length)

describe('a duplex on a browser’s WebSocket', () => {
  leavesNothing()

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('a duplex keeps messages until it is opened, and sizes are those of UTF-8', async () => {
    const { socket, received, bytes, open } = make()
    socket.receive({ a: 'é' })
    socket.receive('PING')
    open()
    expect(received).toEqual([])
    await microtasks()
    socket.receive([1])
    expect(received).toEqual([{ a: 'é' }, 'PING', [1]])
    expect(bytes).toEqual([10, 4, 3])
  })

  it('messages of more than 16 MiB before it is opened close with 1008', async () => {
    const { socket, received, closes, open } = make()
    const large = JSON.stringify({ text: text(4_000_000) })
    for (let count = 0; count < 5; count++) socket.receive(large)
    open()
    await microtasks()
    expect(received).toEqual([])
    expect(closes).toMatchObject([
      { code: 1008, message: 'messages of more than 16,777,216 bytes before any was read' },
    ])
  })

  it('a receiver that closes at the first early message gets no other', async () => {
    const onMessage = vi.fn(() => duplex.close({ code: 1000, message: 'done' }))
    const { socket, duplex, open } = make({}, { onMessage })
    socket.receive({ n: 1 })
    socket.receive({ n: 2 })
    open()
    await microtasks()
    expect(onMessage.mock.calls).toEqual([[{ n: 1 }, 7]])
  })

  it('a second receiver gets a close and no message', async () => {
    const { socket, duplex, received } = opened()
    const onMessage = vi.fn()
    const onClose = vi.fn()
    duplex.open({ onMessage, onDrain() {}, onClose })
    await microtasks()
    socket.receive({})
    expect([received, onMessage.mock.calls, onClose.mock.calls.length]).toEqual([[{}], [], 1])
  })

  it('messages of one turn are one frame, each as it was when it was sent', async () => {
    const { socket, duplex } = opened()
    const message = { n: 1 }
    duplex.send(message)
    message.n = 2
    duplex.send(message)
    duplex.send('PING')
    duplex.send([3])
    duplex.send({ n: 4 })
    await microtasks()
    expect(socket.sent).toEqual(['[{"n":1},{"n":2}]', 'PING', '[3]', '{"n":4}'])
  })

  it('a frame of many messages ends where the peer has enough to begin with', async () => {
    const { socket, duplex } = opened()
    for (let n = 0; n < 10; n++) duplex.send({ a: text(7_500) })
    await microtasks()
    expect(socket.sent.map(frame => JSON.parse(frame).length)).toEqual([4, 4, 2])
  })

  it('a message above maxMessageBytes is not sent, and the error has both numbers', async () => {
    const { socket, duplex } = opened({ maxMessageBytes: 20 })
    expect(() => duplex.send({ a: 'éééééééé' })).toThrow('message of 24 bytes is larger than maxMessageBytes 20')
    expect(() => duplex.send({ a: 1n })).toThrow('cannot be sent as JSON')
    duplex.send({ a: 'ééééé' })
    await microtasks()
    expect(socket.sent).toEqual(['{"a":"ééééé"}'])
  })

  it.each([
    ['a message', { a: text(30) }, 'message of 38 bytes is larger than maxMessageBytes 20'],
    ['a message in a batch', [{ a: 1 }, { a: text(30) }], 'message of 38 bytes is larger than maxMessageBytes 20'],
  ])('%s above maxMessageBytes ends the connection with both numbers', async (_name, message, problem) => {
    const { socket, received, closes } = opened({ maxMessageBytes: 20 })
    await microtasks()
    socket.receive([{ a: text(5) }, { a: text(5) }, { a: text(5) }])
    socket.receive(message)
    socket.receive({ late: true })
    await microtasks()
    expect(received).toHaveLength(1)
    expect(closes).toEqual([{ code: 1009, message: problem, received: true }])
    expect(socket.closes).toEqual([[3009, problem]])
  })

  it('a frame above every batch is not parsed', async () => {
    const { socket, closes } = opened({ maxMessageBytes: 20 })
    await microtasks()
    socket.receive(`[${text(800_000)}`)
    await microtasks()
    expect(closes).toMatchObject([{ code: 1009 }])
  })

  it.each([
    ['binary', new ArrayBuffer(1)],
    ['no JSON', '{'],
    ['a number', '1'],
    ['null', 'null'],
  ])('a frame that is %s ends the connection with 1002', async (_name, data) => {
    const { socket, closes } = opened()
    await microtasks()
    socket.onmessage?.({ data })
    await microtasks()
    expect(closes).toMatchObject([{ code: 1002, message: expect.stringMatching(/^not a valid message/) }])
    expect(socket.closes).toMatchObject([[3002, expect.anything()]])
  })

  it.each([100_000, 1_000_000])(
    'a deeply nested frame ends the connection, with maxMessageBytes %i',
    async maxMessageBytes => {
      const { socket, closes } = opened({ maxMessageBytes })
      await microtasks()
      socket.receive('['.repeat(200_000) + ']'.repeat(200_000))
      await microtasks()
      expect(closes).toMatchObject([{ code: 1002, message: expect.stringContaining('1,024') }])
    },
  )

  it('a full buffer is looked at until it has drained to half, and no longer', async () => {
    const onDrain = vi.fn()
    const { socket, duplex } = opened({ highWaterMarkBytes: 100 }, { onDrain })
    socket.holds = true
    const idle = vi.getTimerCount()
    duplex.send({ a: text(100) })
    expect([duplex.full, vi.getTimerCount()]).toEqual([true, idle + 1])
    await pass(100)
    socket.take(socket.bufferedAmount - 51)
    await pass(100)
    expect([duplex.full, onDrain.mock.calls.length]).toEqual([true, 0])
    socket.take(1)
    await pass(25)
    expect([duplex.full, onDrain.mock.calls.length, vi.getTimerCount()]).toEqual([false, 1, idle])
  })

  it('a message is an occasion to see that the buffer has drained', async () => {
    const onDrain = vi.fn()
    const { socket, duplex } = opened({ highWaterMarkBytes: 100 }, { onDrain })
    socket.holds = true
    const idle = vi.getTimerCount()
    duplex.send({ a: text(100) })
    await microtasks()
    socket.take()
    socket.receive({})
    expect([duplex.full, onDrain.mock.calls.length, vi.getTimerCount()]).toEqual([false, 1, idle])
  })

  it.each([
    [1000, 1000],
    [4401, 4401],
    [4008, 4008],
    [1001, 3001],
    [1002, 3002],
    [1009, 3009],
    [1011, 3011],
    [1006, 3011],
    [2999, 3011],
    [5000, 3011],
  ])('a close with %i is sent as %i, behind the messages, with a text of 123 bytes at most', async (code, sent) => {
    const { socket, duplex, closes } = opened()
    duplex.send({ a: 1 })
    duplex.close({ code, message: `${text(122)}é` })
    expect(socket.sent).toEqual(['{"a":1}'])
    expect(socket.closes).toEqual([[sent, text(122)]])
    socket.receive({ late: true })
    socket.onclose?.({ code: sent, reason: '' })
    await microtasks()
    expect(closes).toEqual([{ code, message: `${text(122)}é` }])
    expect(socket.closes).toHaveLength(1)
  })

  it.each([
    [1006, '', { code: 1006, message: 'the connection was lost' }],
    [1001, '', { code: 1001, message: 'the peer goes away', reason: 'draining' }],
    [4401, 'no such key', { code: 4401, message: 'no such key' }],
  ])('the peer’s end with %i is the end, once', async (code, reason, expected) => {
    const { socket, duplex, closes } = opened()
    socket.onclose?.({ code, reason })
    duplex.send({ late: true })
    duplex.close({ code: 1000, message: 'late' })
    duplex.terminate({ code: 1000, message: 'late' })
    await pass(60_000)
    expect(closes).toEqual([expected])
    expect(socket.sent).toEqual([])
  })

  it('terminate reports the end without a wait for the peer', async () => {
    const { socket, duplex, closes } = opened()
    duplex.send({ dropped: true })
    duplex.terminate({ code: 1006, message: 'given up' })
    socket.onclose?.({ code: 1000, reason: '' })
    await microtasks()
    expect(closes).toEqual([{ code: 1006, message: 'given up' }])
    expect([socket.sent, duplex.bufferedBytes]).toEqual([[], 0])
  })

  it('a receiver that throws ends the connection', async () => {
    const { socket, closes } = opened(
      {},
      {
        onMessage() {
          throw new Error('oh')
        },
      },
    )
    await microtasks()
    socket.receive({})
    await microtasks()
    expect(closes).toEqual([{ code: 1011, message: 'the receiver failed: Error: oh' }])
  })

  it('a peer without a response to the close is given up after closeTimeoutMs', async () => {
    const { duplex, closes } = opened(small)
    duplex.close({ code: 1000, message: 'done' })
    await pass(45)
    expect(closes).toEqual([])
    await pass(10)
    expect(closes).toEqual([{ code: 1000, message: 'done' }])
  })

  it('a peer that takes the messages before the close may go on until closeLimitMs', async () => {
    const { socket, duplex, closes } = opened(small)
    socket.holds = true
    duplex.send({ a: text(1000) })
    duplex.close({ code: 1000, message: 'done' })
    for (let ms = 0; ms < 190; ms += 10) {
      socket.take(10)
      await pass(10)
    }
    expect(closes).toEqual([])
    await pass(60)
    expect(closes).toHaveLength(1)
  })

  it('a close may have patience for an upload that the system holds', async () => {
    const { duplex, closes } = opened(small)
    duplex.send({ a: text(100_000) })
    await microtasks()
    duplex.close({ code: 1000, message: 'done' }, 500)
    await pass(480)
    expect(closes).toEqual([])
    await pass(80)
    expect(closes).toHaveLength(1)
  })

  it('a silent peer gets a PING after pingIntervalMs, and is closed after pongTimeoutMs more', async () => {
    const { socket, closes } = opened(small)
    const startedAt = performance.now()
    while (socket.sent.length === 0) await pass(5)
    expect(socket.sent).toEqual(['PING'])
    expect(performance.now() - startedAt).toBeLessThanOrEqual(110)
    while (closes.length === 0) await pass(5)
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(100)
    expect(performance.now() - startedAt).toBeLessThanOrEqual(165)
    expect(closes).toEqual([{ code: 1006, message: 'no response to a PING within 50 ms' }])
  })

  it('the PONG for a PING keeps the connection, and is not delivered; another PONG is', async () => {
    const { socket, closes, received } = opened(small)
    for (let round = 1; round <= 5; round++) {
      while (socket.sent.length < round) await pass(5)
      socket.receive('PONG')
    }
    await pass(40)
    expect([closes, received]).toEqual([[], []])
    socket.receive('PONG')
    expect(received).toEqual(['PONG'])
  })

  it('any message is a sign of life: a peer that sends gets no PING', async () => {
    const { socket } = opened(small)
    for (let ms = 0; ms < 500; ms += 20) {
      await pass(20)
      socket.receive({})
    }
    expect(socket.sent).toEqual([])
  })

  it('bytes that leave the buffer while others wait are a sign of life; a buffer at rest is none', async () => {
    const { socket, duplex, closes } = opened(small)
    socket.holds = true
    duplex.send({ a: text(1_000) })
    for (let ms = 0; ms < 500; ms += 10) {
      await pass(10)
      socket.take(1)
    }
    expect(closes).toEqual([])
    await pass(2_000)
    expect(closes).toMatchObject([{ code: 1006 }])
  })

  it('a peer has time for the bytes before the PING, which the system hides', async () => {
    const { socket, duplex, closes } = opened(small)
    duplex.send({ a: text(320_000) })
    await pass(5_000)
    expect(closes).toEqual([])
    expect(socket.sent.filter(frame => frame === 'PING')).toHaveLength(1)
    socket.receive('PONG')
    await pass(300)
    expect(closes).toHaveLength(1)
  })

  it('a PING behind each large upload keeps the time for the next PONG short', async () => {
    const { socket, duplex } = opened(small)
    duplex.send({ a: text(320_000) })
    socket.receive({})
    await pass(30)
    expect(socket.sent.at(-1)).toBe('PING')
  })

  it('a PONG that came while the page slept is read before the peer is given up', async () => {
    const { socket, closes } = opened(small)
    while (socket.sent.length === 0) await pass(5)
    vi.advanceTimersByTime(60_000)
    socket.receive('PONG')
    await pass(20)
    expect(closes).toEqual([])
  })

  it('a page that loses its network asks the peer at once', async () => {
    const listeners = new Set<() => void>()
    vi.stubGlobal(
      'addEventListener',
      (name: string, listener: () => void) => name === 'offline' && listeners.add(listener),
    )
    vi.stubGlobal('removeEventListener', (_name: string, listener: () => void) => listeners.delete(listener))
    onTestFinished(() => void vi.unstubAllGlobals())
    const { socket, closes } = opened({ ...small, pingIntervalMs: 60_000 })
    await pass(20)
    for (const listener of listeners) listener()
    await microtasks()
    expect(socket.sent).toEqual(['PING'])
    await pass(60)
    expect(closes).toMatchObject([{ code: 1006 }])
    expect(listeners.size).toBe(0)
  })
})
