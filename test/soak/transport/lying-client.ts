/** A server under scripts of lying clients. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { initTRPC, tracked } from '@trpc/server'
import { observable } from '@trpc/server/observable'
import { z } from 'zod'
import { createDuplexClient } from '../../../client/rpc/client.js'
import { connect } from '../../../client/rpc/connection.js'
import { serveDuplex } from '../../../server/rpc/connection.js'
import { ConnectionGroup } from '../../../server/rpc/connection-group.js'
import { serveWebSockets } from '../../../server/rpc/upgrade/websocket-listener.js'
import { transformer } from '../../../shared/rpc/json/transformer.js'
import { connectionLimits } from '../../../shared/rpc/limits.js'
import { memoryDuplexPair } from '../../../shared/rpc/links/memory-duplex.js'
import { type Target, turn } from './campaign.js'
import { Choice } from './choice.js'
import { readFrames, textFrame } from './frames.js'
import { Ledger } from './ledger.js'
import { clientText, connectionParamsText, messageOf } from './messages.js'
import { NetworkSocket } from './network-socket.js'
import { chunksOf, makeSteps, type Script, type Step } from './script.js'
import { ScriptedSocket } from './scripted-socket.js'

const t = initTRPC.context<object>().create({ transformer, isDev: false })

const untilAbort = (signal: AbortSignal | undefined): Promise<never> =>
  new Promise((_resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
  })

const router = t.router({
  echo: t.procedure.input(z.unknown()).query(({ input }) => input),
  strict: t.procedure.input(z.object({ n: z.number() })).mutation(({ input }) => input.n),
  later: t.procedure.query(async () => {
    await turn()
    return new Map([['late', 1n]])
  }),
  hang: t.procedure.query(({ signal }) => untilAbort(signal)),
  fails: t.procedure.input(z.unknown()).query(({ input }) => {
    throw input
  }),
  odd: t.procedure.query(() => ({ f: () => 1, s: Symbol('x'), get g() { throw new Error('made up') } })), // biome-ignore format: one line
  big: t.procedure.query(() => 'x'.repeat(20_000)),
  nested: t.router({ deep: t.procedure.query(() => undefined) }),
  events: t.procedure.input(z.unknown()).subscription(async function* () {
    for (const id of ['1', '2', '3']) yield tracked(id, { at: new Date(0) })
  }),
  endless: t.procedure.subscription(async function* ({ signal }) {
    for (let n = 0; !signal?.aborted; n++) {
      yield 'x'.repeat(500)
      if (n % 3 === 0) await turn()
    }
  }),
  observed: t.procedure.subscription(() =>
    observable<number>(observer => {
      observer.next(1)
      void turn().then(() => observer.complete())
    }),
  ),
  broken: t.procedure.subscription(
    () => ({ [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve(null) }) }) as never,
  ), // a source against its type
})

const smallLimits = {
  maxInFlight: 3,
  maxSubscriptions: 1,
  maxBufferedBytes: 30_000,
  highWaterMarkBytes: 4_000,
  maxMessageBytes: 2_000,
}

const contexts = ['none', 'none', 'none', 'at once', 'later', 'rejects', 'throws'] as const

function makeScript(seed: number, overTcp: boolean): Script {
  const choice = new Choice(seed)
  const link = overTcp ? 'tcp' : choice.chance(socketShare) ? 'websocket' : 'memory'
  const settings = {
    limits: choice.chance(0.2) ? 'small' : 'usual',
    context: choice.pick(contexts),
    params: choice.chance(0.1),
    batch: choice.chance(0.5),
    request: link !== 'memory' ? choice.pick(requests) : undefined,
  }
  const steps = makeSteps(choice, link, clientText, true)
  if (settings.params && choice.chance(0.9)) steps.unshift({ do: 'send', text: connectionParamsText(choice) })
  return { seed, link, chunks: choice.pick(['whole', 'whole', 'cuts', 'bytes']), settings, steps }
}

/** A WebSocket takes the time of ten connections in memory. */
const socketShare = 0.05

const requests = ['sound', 'sound', 'sound', 'sound', 'sound', 'half', 'pipelined', 'no key', 'version 12', 'other path', 'with a body', 'h2c'] as const // biome-ignore format: a list

function requestBytes(kind: unknown, query: string): string {
  const whole = (
    path: string,
    key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n',
    version = 13,
    protocol = 'websocket',
  ) =>
    `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\nSec-WebSocket-Version: ${version}\r\n${key}`
  const path = `/rpc${query}`
  switch (kind) {
    case 'half':
      return whole(path)
    case 'pipelined':
      return `GET / HTTP/1.1\r\nHost: x\r\n\r\n${whole(path)}\r\n`
    case 'no key':
      return `${whole(path, '')}\r\n`
    case 'version 12':
      return `${whole(path, undefined, 12)}\r\n`
    case 'other path':
      return `${whole('/rpcEVIL')}\r\n`
    case 'with a body':
      return `${whole(path)}Content-Length: 5\r\n\r\n`
    case 'h2c':
      return `${whole(path, '', 13, 'h2c')}\r\n`
    default:
      return `${whole(path)}\r\n`
  }
}

/** The peer's side of one connection. */
interface Wire {
  send(text: string): void
  step(step: Step): void
  /** all messages so far */
  received(): readonly unknown[]
  /** the code with which the server closed, or undefined */
  closed(): boolean
  end(): void
}

/**
 * A server with its group, and a good client beside the lying ones.
 * @param overTcp on real sockets, which take ten times as long; else most without sockets
 */
export function lyingClients({ overTcp = false } = {}): Target {
  const group = new ConnectionGroup()
  const groups = new Set<ConnectionGroup>()
  const [serverEnd, clientEnd] = memoryDuplexPair()
  serveDuplex({ duplex: serverEnd, router, group, createContext: () => ({}) })
  const connection = connect({ dial: () => clientEnd })
  const good = createDuplexClient<typeof router>({ connection, transformer })
  let asked = 0

  const run = async (script: Script): Promise<string | undefined> => {
    // A drain ends the group.
    const own = script.steps.some(step => step.do === 'drain') ? new ConnectionGroup() : group
    if (own !== group) groups.add(own)
    const wire = script.link === 'memory' ? memoryWire(script, own) : await socketWire(script, own)
    const ledger = new Ledger()
    let draining: Promise<unknown> | undefined
    for (const step of script.steps) {
      if (step.do === 'send') {
        ledger.send(step.text)
        wire.send(step.text)
      } else if (step.do === 'turn') await turn()
      else if (step.do === 'stall') for (let turns = 0; turns < 5; turns++) await turn()
      else if (step.do === 'wait') await new Promise(resolve => setTimeout(resolve, 2))
      else if (step.do === 'drain') draining = own.close({ graceMs: 0 })
      else wire.step(step)
      if (step.do === 'bytes' || step.do === 'cut' || step.do === 'close' || step.do === 'end') ledger.isExact = false
      if (step.do === 'bytes') ledger.sendUnknown()
      if (step.do === 'stop reading') ledger.isExact = false
    }
    const { settings } = script
    const isQuiet = draining === undefined && settings.limits !== 'small' && settings.request !== 'half'
    if (!isQuiet || settings.params || !['none', 'at once', 'later'].includes(String(settings.context)))
      ledger.isExact = false
    // On a network nobody knows when all has arrived.
    if (script.link === 'tcp') ledger.isExact = false
    if (settings.request !== undefined && settings.request !== 'sound' && settings.request !== 'pipelined')
      ledger.isExact = false
    // An invalid message of a peer without a context closes the connection.
    if (settings.context === 'later') ledger.mayBeClosed = true
    let problem: string | undefined
    if (ledger.isExact) {
      for (const text of ledger.stops()) wire.send(text)
      // Sources and procedures that were stopped end within some turns.
      for (let turns = 0; turns < 400; turns++) {
        problem = wire.closed() ? undefined : ledger.missing(wire.received())
        if (problem === undefined) break
        await turn()
      }
      if (wire.closed() && !ledger.mayBeClosed) problem = 'the server closed the connection of valid messages'
    } else await turn()
    problem ??= ledger.surplus(wire.received())
    wire.end()
    await draining
    groups.delete(own)
    const number = ++asked
    if ((await good.echo.query(number)) !== number) problem ??= 'a good client got another response'
    return problem
  }

  const { memoryWire, socketWire } = wires()
  return {
    make: seed => makeScript(seed, overTcp),
    run,
    left() {
      if (group.connections !== 1) return `${group.connections - 1} connections are left`
      return group.calls === 0 ? undefined : `${group.calls} calls are left`
    },
    async close() {
      await connection.close()
      await group.close({ graceMs: 0 })
    },
  }
}

function contextOf(kind: unknown): { createContext?: () => object | Promise<object> } {
  switch (kind) {
    case 'at once':
      return { createContext: () => ({}) }
    case 'later':
      return { createContext: () => turn().then(() => ({})) }
    case 'rejects':
      return { createContext: () => turn().then(() => Promise.reject(new Error('made up'))) }
    case 'throws':
      return {
        createContext() {
          throw new Error('made up')
        },
      }
    default:
      return {}
  }
}

const none = Buffer.alloc(0)

function wires() {
  const memoryWire = ({ settings }: Script, group: ConnectionGroup): Wire => {
    const limits = settings.limits === 'small' ? { ...connectionLimits, ...smallLimits } : connectionLimits
    const [serverEnd, end] = memoryDuplexPair(limits)
    const received: unknown[] = []
    let closed = false
    serveDuplex({
      duplex: serverEnd,
      router,
      group,
      limits,
      expectConnectionParams: settings.params === true,
      ...contextOf(settings.context),
    })
    end.open({
      onMessage: message => void received.push(...(Array.isArray(message) ? message : [message])),
      onDrain() {},
      onClose() {
        closed = true
      },
    })
    return {
      send(text) {
        const message = messageOf(text)
        try {
          if (message !== undefined) end.send(message)
          // A link in this process sends no such message.
          else end.close({ code: 1002, message: 'not sent' })
        } catch {
          end.close({ code: 1002, message: 'not sent' })
        }
      },
      step(step) {
        if (step.do === 'cut') end.terminate({ code: 1006, message: 'cut' })
        if (step.do === 'close') end.close({ code: 1000, message: 'closed' })
      },
      received: () => received,
      closed: () => closed,
      end: () => end.terminate({ code: 1000, message: 'over' }),
    }
  }

  const socketWire = async (script: Script, group: ConnectionGroup): Promise<Wire> => {
    const { settings, chunks } = script
    const choice = new Choice(script.seed + 1)
    // A server of its own: settings differ. Over TCP only it listens.
    const server = createServer((_request, response) => response.end())
    serveWebSockets({
      server,
      path: '/rpc',
      router,
      group,
      ...(settings.limits === 'small' && { limits: smallLimits }),
      ...(settings.params === true && {
        authenticate: ({ connectionParams }: { connectionParams: unknown }) => connectionParams,
      }),
      ...contextOf(settings.context),
    })
    let socket: ScriptedSocket | NetworkSocket
    if (script.link === 'tcp') {
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      socket = NetworkSocket.connect((server.address() as AddressInfo).port) // it listens on TCP
      server.once('connection', () => server.close())
    } else {
      socket = new ScriptedSocket()
      server.emit('connection', socket)
    }
    const query = [settings.params && 'connectionParams=1', settings.batch && 'batch=1'].filter(Boolean).join('&')
    const feed = (bytes: Buffer): void => {
      for (const part of chunksOf(bytes, chunks, choice)) socket.feed(part)
    }
    feed(Buffer.from(requestBytes(settings.request, query && `?${query}`)))
    const read = (): ReturnType<typeof readFrames> => {
      const { output } = socket
      const upgraded = output.indexOf('HTTP/1.1 101')
      return readFrames(upgraded < 0 ? none : output.subarray(output.indexOf('\r\n\r\n', upgraded) + 4))
    }
    return {
      send: text => feed(textFrame(text, true)),
      step(step) {
        if (step.do === 'bytes') feed(Buffer.from(step.hex, 'hex'))
        if (step.do === 'cut' || step.do === 'close') socket.destroy()
        if (step.do === 'end') socket.feedEnd()
        if (step.do === 'stop reading') socket.reads = false
        if (step.do === 'read on') socket.resumeReading()
      },
      received: () => read().texts.flatMap((text): unknown => (/^[[{]/.test(text) ? JSON.parse(text) : text)),
      closed: () => socket.destroyed || socket.writableEnded || read().isClosed,
      end() {
        socket.resumeReading()
        socket.destroy()
        server.close()
      },
    }
  }
  return { memoryWire, socketWire }
}
