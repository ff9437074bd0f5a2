/**
 * Nested values of any depth and size, from a hostile peer of a server and of a client. An error in an event handler
 * would end the process, which Vitest reports.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { initTRPC } from '@trpc/server'
import { describe, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { z } from 'zod'
import { createDuplexClient } from '../../../client/rpc/client.js'
import { type Connection, connect } from '../../../client/rpc/connection.js'
import { webSocketDial } from '../../../client/rpc/websocket.js'
import { serveDuplex } from '../../../server/rpc/connection.js'
import { ConnectionGroup } from '../../../server/rpc/connection-group.js'
import { serveWebSockets } from '../../../server/rpc/upgrade/websocket-listener.js'
import { DialError } from '../../../shared/rpc/dial-error.js'
import type { Duplex } from '../../../shared/rpc/duplex.js'
import { transformer } from '../../../shared/rpc/json/transformer.js'
import { memoryDuplexPair } from '../../../shared/rpc/links/memory-duplex.js'
import { leavesNothing, opened } from '../../fixtures/leaves-nothing.js'
import { listening } from '../../fixtures/listening.js'
import { peer } from '../../fixtures/peer.js'
import { fc } from '../../fixtures/random.js'

const t = initTRPC.create({ transformer })
const router = t.router({ echo: t.procedure.input(z.unknown()).query(({ input }) => input) })
const createClient = (connection: Connection) => createDuplexClient<typeof router>({ connection, transformer })

/** Limits of a victim; a message of `maxMessageBytes` below 768 KiB may arrive in a larger batch. */
const sizes = fc.constantFrom(1_000, 100_000, 4 * 1024 * 1024)

/** JSON text of one value. */
const nested = fc
  .record({
    levels: fc.oneof(
      fc.integer({ min: 1, max: 1_000 }),
      fc.integer({ min: 1_000, max: 1_050 }),
      fc.integer({ min: 5_000, max: 100_000 }),
    ),
    kind: fc.constantFrom('arrays', 'objects', 'both'),
    padding: fc.constantFrom(0, 0, 2_000, 400_000),
  })
  .map(({ levels, kind, padding }) => {
    const isObject = (level: number): boolean => kind === 'objects' || (kind === 'both' && level % 2 === 0)
    const open = Array.from({ length: levels }, (_, level) => (isObject(level) ? '{"a":' : '['))
    const close = Array.from({ length: levels }, (_, level) => (isObject(levels - 1 - level) ? '}' : ']'))
    return `${open.join('')}"${'x'.repeat(padding)}"${close.join('')}`
  })

/** Annotations that send superjson along the same way. */
const asInput = fc.constantFrom(
  (value: string) => `{"json":${value}}`,
  (value: string) => `{"json":${value},"meta":{"values":${value},"v":1}}`,
  (value: string) => `{"json":{"a":1},"meta":{"values":{"a":["Date"]},"referentialEqualities":${value}}}`,
)
const hostileCall = fc.tuple(nested, asInput, fc.boolean()).map(([value, input, isBatch]) => {
  const call = `{"id":1,"method":"query","params":{"path":"echo","input":${input(value)}}}`
  return isBatch ? `[${call},${value}]` : call
})
const hostileResponse = fc
  .tuple(nested, asInput, fc.constantFrom('result', 'error', 'batch', 'bare'))
  .map(([value, input, kind]) => {
    if (kind === 'bare') return value
    if (kind === 'error') return `{"id":1,"error":${input(value)}}`
    const result = `{"id":1,"result":{"type":"data","data":${input(value)}}}`
    return kind === 'batch' ? `[${value},${result}]` : result
  })

/** An end that sends any JSON text, and the end of its connection. */
interface Hostile {
  send(text: string): void
  closed: Promise<unknown>
}

interface Row {
  name: string
  /** Connects a hostile client to a server. */
  server(maxMessageBytes: number): Promise<{ hostile: Hostile; responded: Promise<unknown>; end(): void }>
  /** Connects a client to a hostile server, which gets the first call. */
  client(maxMessageBytes: number): { connection: Connection; called: Promise<Hostile> }
}

/** Sends as far as the link lets it: in memory, the link of this process is a part of the sender. */
function sendValue(duplex: Duplex, text: string): void {
  try {
    duplex.send(JSON.parse(text))
  } catch {
    duplex.close({ code: 1002, message: 'not sent' })
  }
}

const inMemory: Row = {
  name: 'in memory',
  async server(maxMessageBytes) {
    const [serverEnd, clientEnd] = memoryDuplexPair({ maxMessageBytes })
    const served = serveDuplex({ duplex: serverEnd, router, limits: { maxMessageBytes } })
    const { until } = peer(clientEnd)
    return {
      hostile: { send: text => sendValue(clientEnd, text), closed: served.closed },
      responded: until(1),
      end: () => clientEnd.terminate({ code: 1000, message: 'the next one' }),
    }
  },
  client(maxMessageBytes) {
    const [serverEnd, clientEnd] = memoryDuplexPair({ maxMessageBytes })
    const { until, closed } = peer(serverEnd)
    const ends = [clientEnd]
    const connection = connect({ dial: () => ends.pop() ?? noSecondDial() })
    return {
      connection,
      called: until(1).then(() => ({ send: text => sendValue(serverEnd, text), closed })),
    }
  },
}

function hostileSocket(socket: WebSocket): Hostile {
  socket.on('error', () => {})
  return { send: text => socket.send(text), closed: once(socket, 'close') }
}

/** One listener for each limit, for all runs. */
const overWebSocket = (): Row => {
  const urls = new Map<number, Promise<string>>()
  const listen = async (maxMessageBytes: number): Promise<string> => {
    const server = createServer()
    const group = new ConnectionGroup()
    serveWebSockets({ server, path: '/rpc', router, group, limits: { maxMessageBytes } })
    return `ws://127.0.0.1:${await listening(server, { groups: [group], cut: true })}/rpc`
  }
  return {
    name: 'over a WebSocket',
    async server(maxMessageBytes) {
      const url = urls.get(maxMessageBytes) ?? listen(maxMessageBytes)
      urls.set(maxMessageBytes, url)
      const socket = new WebSocket(await url)
      await once(socket, 'open')
      return { hostile: hostileSocket(socket), responded: once(socket, 'message'), end: () => socket.terminate() }
    },
    client(maxMessageBytes) {
      const server = createServer()
      const sockets = new WebSocketServer({ server })
      const called = once(sockets, 'connection').then(async ([socket]: WebSocket[]) => {
        sockets.close()
        if (!socket) throw new Error('a connection has a socket')
        await once(socket, 'message')
        return hostileSocket(socket)
      })
      const port = listening(server, { groups: [], cut: true })
      let dials = 0
      const connection = connect({
        dial: async ({ signal }) =>
          dials++ > 0
            ? noSecondDial()
            : webSocketDial({ url: `ws://127.0.0.1:${await port}`, maxMessageBytes })({ signal }),
      })
      return { connection, called }
    },
  }
}

function noSecondDial(): never {
  throw new DialError('one dial is enough', { fatal: true })
}

/** A batch below the largest, with more levels than a recursion survives; each message must be measured. */
const deepBatch = `[${'['.repeat(50_000)}${']'.repeat(50_000)}]`
const smallest = 1_000

const numRuns = process.env.SOAK === undefined ? 20 : 2_000

describe.each([inMemory, overWebSocket()])('nested values, $name', row => {
  leavesNothing()

  it('a nested value of a client gets a response or closes its connection, whatever its depth and size', async () => {
    await fc.assert(
      fc.asyncProperty(hostileCall, sizes, async (text, maxMessageBytes) => {
        const { hostile, responded, end } = await row.server(maxMessageBytes)
        hostile.send(text)
        await Promise.race([hostile.closed, responded])
        end()
        await hostile.closed
        const next = await row.server(maxMessageBytes)
        next.hostile.send('{"id":2,"method":"query","params":{"path":"echo"}}')
        await next.responded
        next.end()
        await next.hostile.closed
      }),
      { numRuns, examples: [[deepBatch, smallest]] },
    )
  })

  it('a nested value of a server ends the call or its connection, whatever its depth and size', async () => {
    await fc.assert(
      fc.asyncProperty(hostileResponse, sizes, async (text, maxMessageBytes) => {
        const { connection, called } = row.client(maxMessageBytes)
        opened.add({ groups: [], close: () => connection.close() })
        const outcome = createClient(connection)
          .echo.query('x')
          .then(
            () => 'a result',
            error => error,
          )
        const hostile = await called
        hostile.send(text)
        await Promise.race([outcome, hostile.closed])
        await connection.close()
        await outcome
        await hostile.closed
      }),
      { numRuns, examples: [[deepBatch, smallest]] },
    )
  })
})
