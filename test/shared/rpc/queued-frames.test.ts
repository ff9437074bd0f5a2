import { once } from 'node:events'
import { createServer } from 'node:http'
import type { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import type { Duplex } from '../../../shared/rpc/duplex.js'
import { heapBytes } from '../../../shared/rpc/json/heap-bytes.js'
import { frameOverheadBytes } from '../../../shared/rpc/limits.js'
import { duplexServer } from '../../../shared/rpc/links/duplex-socket.js'
import { memoryDuplexPair } from '../../../shared/rpc/links/memory-duplex.js'
import { webSocketDuplex } from '../../../shared/rpc/links/websocket-duplex.js'
import { leavesNothing, opened } from '../../fixtures/leaves-nothing.js'
import { listening } from '../../fixtures/listening.js'

/** Makes an end whose peer reads nothing until `read()`, and whose link is full to the next byte. */
interface Row {
  name: string
  blocked(): Promise<{ duplex: Duplex; read(): void; drained: Promise<void> }>
}

const highWaterMarkBytes = 100_000

const inMemory: Row = {
  name: 'in memory',
  async blocked() {
    const [duplex, far] = memoryDuplexPair({ highWaterMarkBytes })
    const drained = onDrainOf(duplex)
    return { duplex, drained, read: () => far.open({ onMessage() {}, onDrain() {}, onClose() {} }) }
  },
}

const overWebSocket: Row = {
  name: 'over a WebSocket',
  async blocked() {
    const server = createServer()
    const sockets = duplexServer({}, { server })
    const connected = once(sockets, 'connection')
    // Before the server, whose end waits for its sockets.
    opened.add({ groups: [], close: async () => sockets.clients.forEach(each => void each.terminate()) })
    const client = new WebSocket(`ws://127.0.0.1:${await listening(server, { cut: true })}`)
    await once(client, 'open')
    const [socket, request] = await connected
    client.pause()
    const raw: Socket = request.socket
    // Fills the buffers of the system.
    while (raw.writableLength === 0) socket.send('x'.repeat(1_000_000))
    const duplex = webSocketDuplex(socket, raw, { highWaterMarkBytes })
    const drained = onDrainOf(duplex)
    return { duplex, drained, read: () => client.resume() }
  },
}

function onDrainOf(duplex: Duplex): Promise<void> {
  return new Promise(resolve => duplex.open({ onMessage() {}, onDrain: resolve, onClose() {} }))
}

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

describe.each([inMemory, overWebSocket])('queued frames, $name', ({ blocked }) => {
  leavesNothing()

  it.each([
    ['alone in its turn', turn],
    ['of one turn', async () => {}],
  ])('each frame %s counts with its memory until the peer takes the frame', async (_, between) => {
    const { duplex, read, drained } = await blocked()
    const before = duplex.bufferedBytes
    for (let count = 0; count < 1_000; count++) {
      duplex.send('PONG')
      await between()
    }
    const counted = duplex.bufferedBytes - before
    expect(counted).toBeGreaterThanOrEqual(1_000 * (frameOverheadBytes + 4))
    expect(counted).toBeLessThan(1_000 * (frameOverheadBytes + 20))
    await turn()
    expect(duplex.bufferedBytes - before).toBeGreaterThanOrEqual(1_000 * (frameOverheadBytes + 4))
    expect(duplex.full).toBe(true)
    read()
    await drained
    await expect.poll(() => duplex.bufferedBytes).toBe(0)
    expect(duplex.full).toBe(false)
  })

  it('frames that a reading peer takes leave nothing counted', async () => {
    const { duplex, read } = await blocked()
    read()
    for (let count = 0; count < 300; count++) {
      for (let frame = 0; frame <= count % 3; frame++) duplex.send({ count })
      if (count % 2 === 0) await turn()
    }
    await expect.poll(() => duplex.bufferedBytes).toBe(0)
  })
})

describe('the memory of a value', () => {
  it.each([
    ['text', { text: 'x'.repeat(10_000) }, 10_000],
    ['empty arrays', Array.from({ length: 1_000 }, () => []), 40_000],
    ['fields', Array.from({ length: 1_000 }, (_, id) => ({ id, kind: 'x' })), 60_000],
  ])('the memory of a value is at least the measured memory, and not many times as much: %s', (_, value, measured) => {
    expect(heapBytes(value)).toBeGreaterThanOrEqual(measured)
    expect(heapBytes(value)).toBeLessThan(measured * 3)
  })

  it('a value of any depth is measured without recursion', () => {
    expect(heapBytes(JSON.parse('['.repeat(100_000) + ']'.repeat(100_000)))).toBe(100_000 * 56)
  })

  it('the measure stops above its limit', () => {
    const value = new Array<unknown>(1_000).fill([])
    expect(heapBytes(value, 100)).toBeLessThan(200)
  })
})
