/** A client under scripts of lying servers. */
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { initTRPC } from '@trpc/server'
import { z } from 'zod'
import { browserDuplex } from '../../../client/rpc/browser/browser-duplex.js'
import type { CallObserver } from '../../../client/rpc/call-observer.js'
import { createDuplexClient } from '../../../client/rpc/client.js'
import { type Connection, connect } from '../../../client/rpc/connection.js'
import { duplexLink } from '../../../client/rpc/link.js'
import { createTRPCUntypedClient } from '../../../client/rpc/trpc-internals.js'
import { webSocketDial } from '../../../client/rpc/websocket.js'
import { serveDuplex } from '../../../server/rpc/connection.js'
import { ConnectionGroup } from '../../../server/rpc/connection-group.js'
import { groupDuplex } from '../../../server/rpc/grouped-duplex.js'
import { DialError } from '../../../shared/rpc/dial-error.js'
import type { Duplex } from '../../../shared/rpc/duplex.js'
import { transformer } from '../../../shared/rpc/json/transformer.js'
import { DuplexSocket } from '../../../shared/rpc/links/duplex-socket.js'
import { memoryDuplexPair } from '../../../shared/rpc/links/memory-duplex.js'
import { ParkedDial } from '../../../shared/rpc/links/parked-dial.js'
import { webSocketDuplex } from '../../../shared/rpc/links/websocket-duplex.js'
import { webSocketSettings } from '../../../shared/rpc/links/websocket-settings.js'
import { ScriptedSocket as BrowserScriptedSocket } from '../../client/rpc/browser/scripted-socket.js'
import { type Target, turn } from './campaign.js'
import { Choice } from './choice.js'
import { textFrame } from './frames.js'
import { messageOf, serverText } from './messages.js'
import { NetworkSocket } from './network-socket.js'
import { chunksOf, makeSteps, type Script, type Step } from './script.js'
import { ScriptedSocket } from './scripted-socket.js'
import { upgradeResponse } from './upgrade.js'

const t = initTRPC.create({ transformer, isDev: false })
const router = t.router({
  echo: t.procedure.input(z.unknown()).query(({ input }) => input),
  write: t.procedure.input(z.unknown()).mutation(({ input }) => input),
  events: t.procedure.subscription(async function* (): AsyncGenerator<number> {}),
})

const kinds = ['query', 'mutation', 'subscription', 'iteration', 'chain query', 'chain subscription', 'raw query', 'raw subscription'] as const // biome-ignore format: a list
type Kind = (typeof kinds)[number]

/** The server's side of one duplex of the client. */
interface Wire {
  duplex: Duplex | Promise<Duplex>
  send(text: string): void
  step(step: Step): void
  end(): void
}

/** dials that get a duplex */
const mostDials = 3

function makeScript(seed: number, overTcp: boolean): Script {
  const choice = new Choice(seed)
  const dice = choice.next()
  const link = overTcp ? 'tcp' : dice < 0.88 ? 'memory' : dice < 0.95 ? 'browser' : 'websocket'
  const settings = {
    calls: [choice.pick(kinds), ...choice.list(4, () => choice.pick(kinds))],
    resend: choice.pick(['queries', 'all', 'throws']),
    maxMessageBytes: choice.chance(0.2) ? 1_000 : 4_194_304,
    timeoutMs: choice.pick([1, 30_000, 30_000, 30_000, Number.POSITIVE_INFINITY]),
    cancels: choice.chance(0.2),
    // The client is dialled, and drains at the end at times.
    reversed: overTcp
      ? undefined
      : choice.pick([undefined, undefined, undefined, 'closes', 'closes', reversedEnd(choice)]),
    response: overTcp ? choice.pick(responses) : undefined,
  }
  const steps = makeSteps(choice, link, serverText, false)
  return { seed, link, chunks: choice.pick(['whole', 'whole', 'cuts', 'bytes']), settings, steps }
}

/** A drain takes the time of timers, so it is rare. */
function reversedEnd(choice: Choice): string {
  return choice.chance(0.2) ? 'drains' : 'closes'
}

/** What a call's callbacks did against their contract. */
class Watched implements CallObserver {
  broken: string | undefined
  readonly over: Promise<void>
  readonly #isSubscription: boolean
  #values = 0
  #ends = 0
  #resolve: () => void = () => {}

  constructor(isSubscription: boolean) {
    this.#isSubscription = isSubscription
    this.over = new Promise(resolve => {
      this.#resolve = resolve
    })
  }

  onStarted(): void {
    this.#note('started')
  }

  onData(): void {
    this.#note('data')
    if (++this.#values > 1 && !this.#isSubscription) this.broken ??= 'two values for one call'
    if (!this.#isSubscription) this.#end()
  }

  onError(): void {
    this.#note('an error')
    this.#end()
  }

  onStopped(): void {
    this.#note('stopped')
    this.#end()
  }

  /** The caller's own end. */
  cancelled(): void {
    this.#end()
  }

  #note(what: string): void {
    if (this.#ends > 0) this.broken ??= `${what} after the end of a call`
  }

  #end(): void {
    this.#ends++
    this.#resolve()
  }
}

/**
 * A connection for each script, and a good one beside them.
 * @param overTcp on real sockets, with their handshake
 */
export function lyingServers({ overTcp = false } = {}): Target {
  const [serverEnd, clientEnd] = memoryDuplexPair()
  const served = serveDuplex({ duplex: serverEnd, router })
  const goodConnection = connect({ dial: () => clientEnd })
  const good = createDuplexClient<typeof router>({ connection: goodConnection, transformer })
  let asked = 0
  let open = 0

  const run = async (script: Script): Promise<string | undefined> => {
    const { settings, steps } = script
    const wires: Wire[] = []
    let reports = 0
    const group = new ConnectionGroup()
    const parked = new ParkedDial({ group })
    const connection = connect({
      async dial(info) {
        if (wires.length === mostDials) throw new DialError('enough', { fatal: true })
        const wire = makeWire(script, wires.length)
        wires.push(wire)
        if (settings.reversed === undefined) return wire.duplex
        if (group.state === 'open') parked.bring(groupDuplex(await wire.duplex, group))
        return parked.dial(info)
      },
      random: () => 0,
      ...(settings.resend !== 'queries' && { resend: () => settings.resend === 'all' || fail() }),
      onError: () => void reports++,
    })
    open++
    const calls = list<Kind>(settings.calls).map(kind =>
      startCall(connection, kind, Number(settings.timeoutMs ?? 30_000)),
    )
    await turn()
    for (const step of steps) {
      const wire = wires.at(-1)
      if (step.do === 'send') wire?.send(step.text)
      else if (step.do === 'turn') await turn()
      else if (step.do === 'stall') for (let turns = 0; turns < 5; turns++) await turn()
      else if (step.do === 'wait') await new Promise(resolve => setTimeout(resolve, 2))
      else wire?.step(step)
    }
    if (settings.cancels) for (const call of calls) call.cancel()
    await turn()
    const drained = settings.reversed === 'drains' ? group.close({ graceMs: 1 }) : undefined
    const closed = drained ? connection.closed : connection.close()
    let problem: string | undefined
    // The time of the grace, and of the dial that finds the group draining.
    if (drained) await new Promise(resolve => setTimeout(resolve, 3))
    for (const wire of wires) wire.end()
    if (drained && !(await within(drained))) problem = 'the drain does not end'
    if (drained) void connection.close()
    if (!(await within(closed))) problem ??= 'close() does not resolve'
    parked.close()
    // A duplex that was cut says so when its turn of the event loop comes.
    for (let turns = 0; turns < 400 && group.connections > 0; turns++) await turn()
    if (group.connections > 0) problem ??= `${group.connections} connections of the group are left`
    if (group.calls > 0) problem ??= `${group.calls} calls of the group are left`
    for (const { kind, over } of calls) if (!(await within(over))) problem ??= `a ${kind} has no end after close()`
    for (const { watched } of calls) problem ??= watched?.broken
    // A frame is a cause of one report, and so is a call or a loss.
    const most = 4 * (steps.length + calls.length + mostDials)
    if (reports > most) problem ??= `${reports} reports, more than ${most}`
    open--
    const number = ++asked
    if ((await good.echo.query(number)) !== number) problem ??= 'a good server sent another response'
    return problem
  }

  return {
    make: seed => makeScript(seed, overTcp),
    run,
    left: () => (open === 0 ? undefined : `${open} connections are left`),
    async close() {
      await goodConnection.close()
      await served.closed
    },
  }
}

function fail(): never {
  throw new Error('made up')
}

function list<T>(value: unknown): T[] {
  return Array.isArray(value) ? value : [kinds[0] as T] // a minimal script has no settings
}

/** Whether a promise settles within many turns. */
async function within(promise: Promise<unknown>): Promise<boolean> {
  let isOver = false
  const end = (): void => {
    isOver = true
  }
  promise.then(end, end)
  for (let turns = 0; turns < 400 && !isOver; turns++) await turn()
  return isOver
}

interface Started {
  kind: Kind
  over: Promise<unknown>
  cancel(): void
  watched?: Watched
}

function startCall(connection: Connection, kind: Kind, timeoutMs: number): Started {
  const client = createDuplexClient<typeof router>({ connection, transformer })
  const abort = new AbortController()
  const { signal } = abort
  const options = { signal, context: { timeoutMs } }
  const cancel = (): void => abort.abort()
  const settled = (promise: Promise<unknown>): Started => ({ kind, cancel, over: promise.catch(() => {}) })
  switch (kind) {
    case 'query':
      return settled(client.echo.query({ at: new Date(0) }, options))
    case 'mutation':
      return settled(client.write.mutate('x', options))
    case 'iteration':
      return settled(iterate(client.events.subscribe(undefined, { signal }) as unknown as AsyncIterable<unknown>)) // without callbacks
    case 'subscription': {
      const watched = new Watched(true)
      const { unsubscribe } = client.events.subscribe(undefined, callbacksOf(watched))
      return { kind, watched, over: watched.over, cancel: unsubscribe }
    }
    case 'chain query':
      return settled(chainOf(connection).query('echo', 1, options))
    case 'chain subscription': {
      const watched = new Watched(true)
      const { unsubscribe } = chainOf(connection).subscription('events', undefined, callbacksOf(watched))
      return { kind, watched, over: watched.over, cancel: unsubscribe }
    }
    default: {
      const isSubscription = kind === 'raw subscription'
      const watched = new Watched(isSubscription)
      const call = { type: isSubscription ? 'subscription' : 'query', path: 'x', input: 1, timeoutMs } as const
      const end = connection.call(call, watched)
      const cancelRaw = (): void => {
        end()
        watched.cancelled()
      }
      return { kind, watched, over: watched.over, cancel: cancelRaw }
    }
  }
}

function chainOf(connection: Connection) {
  return createTRPCUntypedClient<typeof router>({ links: [duplexLink({ connection, transformer })] })
}

/** tRPC's client starts a subscription before it reports that it has. */
function callbacksOf(watched: Watched) {
  return {
    onData: () => watched.onData(),
    onError: () => watched.onError(),
    onComplete: () => watched.onStopped(),
  }
}

async function iterate(items: AsyncIterable<unknown>): Promise<void> {
  for await (const _item of items);
}

function makeWire(script: Script, dials: number): Wire {
  const maxMessageBytes = Number(script.settings.maxMessageBytes ?? 4_194_304)
  if (script.link === 'memory') return memoryWire(maxMessageBytes)
  if (script.link === 'tcp') return networkWire(script, maxMessageBytes, dials)
  return script.link === 'browser' ? browserWire(maxMessageBytes) : socketWire(script, maxMessageBytes, dials)
}

function memoryWire(maxMessageBytes: number): Wire {
  const [end, duplex] = memoryDuplexPair({ maxMessageBytes })
  end.open({ onMessage() {}, onDrain() {}, onClose() {} })
  return {
    duplex,
    send(text) {
      const message = messageOf(text)
      try {
        if (message !== undefined) end.send(message)
      } catch {
        // A link in this process sends no such message.
      }
    },
    step(step) {
      if (step.do === 'cut') end.terminate({ code: 1006, message: 'cut' })
      if (step.do === 'close') end.close({ code: step.code ?? 1000, message: 'closed' })
    },
    end: () => end.terminate({ code: 1000, message: 'over' }),
  }
}

function browserWire(maxMessageBytes: number): Wire {
  const socket = new BrowserScriptedSocket()
  const duplex = browserDuplex(socket, { maxMessageBytes })
  let isClosed = false
  const close = (code: number): void => {
    if (!isClosed) socket.onclose?.({ code, reason: 'closed' })
    isClosed = true
  }
  return {
    duplex,
    send: text => void (isClosed || socket.receive(text)),
    step(step) {
      if (step.do === 'cut') close(1006)
      if (step.do === 'close') close(step.code ?? 1000)
      if (step.do === 'stop reading') socket.holds = true
      if (step.do === 'read on') {
        socket.holds = false
        socket.take()
      }
    },
    end: () => close(1006),
  }
}

function socketWire(script: Script, maxMessageBytes: number, dials: number): Wire {
  const choice = new Choice(script.seed + 1 + dials)
  const settings = webSocketSettings({ maxMessageBytes })
  const socket = new ScriptedSocket()
  const webSocket = clientSocket(socket, settings)
  const feed = (bytes: Buffer): void => {
    for (const part of chunksOf(bytes, script.chunks, choice)) socket.feed(part)
  }
  return {
    duplex: webSocketDuplex(webSocket, socket as never, { maxMessageBytes, batch: true }), // all of a socket that is used
    send: text => feed(textFrame(text, false)),
    step(step) {
      if (step.do === 'bytes') feed(Buffer.from(step.hex, 'hex'))
      if (step.do === 'cut' || step.do === 'close') socket.destroy()
      if (step.do === 'end') socket.feedEnd()
      if (step.do === 'stop reading') socket.reads = false
      if (step.do === 'read on') socket.resumeReading()
    },
    end() {
      socket.resumeReading()
      socket.destroy()
    },
  }
}

const responses = ['sound', 'sound', 'sound', 'sound', 'wrong key', 'half', '200', '302', '401', '401 for good', '503', 'bytes', 'an extension', 'long'] as const // biome-ignore format: a list

function responseBytes(kind: unknown, request: Buffer): Buffer {
  const sound = upgradeResponse(request)
  const rejection = (status: string, head: string, body: string): Buffer =>
    Buffer.from(`HTTP/1.1 ${status} X\r\n${head}Content-Length: ${body.length}\r\n\r\n${body}`)
  switch (kind) {
    case 'wrong key':
      return upgradeResponse(Buffer.alloc(0))
    case 'half':
      return sound.subarray(0, sound.length / 2)
    case '200':
      return rejection('200', '', 'hello')
    case '302':
      return rejection('302', 'Location: http://127.0.0.1:1/\r\n', '')
    case '401':
      return rejection('401', '', '{"reason":"no_such","message":1}')
    case '401 for good':
      return rejection('401', '', '{"reason":"draining","message":"x"}')
    case '503':
      return rejection('503', 'Retry-After: 99999999999\r\n', '{"reason":')
    case 'bytes':
      return Buffer.from([0, 1, 2, 0x81, 0xff])
    case 'an extension':
      return Buffer.from(
        sound.toString().replace('\r\n\r\n', '\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n'),
      )
    case 'long':
      return Buffer.from(`HTTP/1.1 101 X\r\n${`X-A: ${'x'.repeat(100)}\r\n`.repeat(500)}\r\n`)
    default:
      return sound
  }
}

/** A server on a port of its own, for one dial. */
function networkWire(script: Script, maxMessageBytes: number, dials: number): Wire {
  const choice = new Choice(script.seed + 1 + dials)
  let socket: NetworkSocket | undefined
  let isReady = false
  let waiting: Buffer[] = []
  const feed = (bytes: Buffer): void => {
    if (!socket || !isReady) return void waiting.push(bytes)
    for (const part of chunksOf(bytes, script.chunks, choice)) socket.feed(part)
  }
  const server = createServer(accepted => {
    server.close()
    socket = new NetworkSocket(accepted)
    accepted.once('data', (request: Buffer) => {
      isReady = true
      const first = [responseBytes(script.settings.response, request), ...waiting]
      waiting = []
      // At times one chunk holds the response and frames.
      for (const bytes of choice.chance(0.5) ? [Buffer.concat(first)] : first) feed(bytes)
    })
  })
  const listens = once(server.listen(0, '127.0.0.1'), 'listening')
  const abort = new AbortController()
  return {
    duplex: listens.then(() => {
      const { port } = server.address() as AddressInfo // it listens on TCP
      return webSocketDial({ url: `ws://127.0.0.1:${port}/`, maxMessageBytes, connectTimeoutMs: 50 })(abort)
    }),
    send: text => feed(textFrame(text, false)),
    step(step) {
      if (step.do === 'bytes') feed(Buffer.from(step.hex, 'hex'))
      if (step.do === 'cut' || step.do === 'close') socket?.destroy()
      if (step.do === 'end') socket?.feedEnd()
      if (step.do === 'stop reading' && socket) socket.reads = false
      if (step.do === 'read on') socket?.resumeReading()
    },
    end() {
      abort.abort()
      server.close()
      socket?.destroy()
    },
  }
}

/** The client's end of an open WebSocket, as `ws` makes it after its handshake. */
function clientSocket(socket: ScriptedSocket, settings: ReturnType<typeof webSocketSettings>): DuplexSocket {
  const webSocket: DuplexSocket = Reflect.construct(DuplexSocket, [null, undefined, settings])
  Reflect.set(webSocket, '_isServer', false)
  const options = { allowSynchronousEvents: true, maxPayload: settings.maxPayload, skipUTF8Validation: false }
  Reflect.apply(Reflect.get(webSocket, 'setSocket'), webSocket, [socket, Buffer.alloc(0), options])
  return webSocket
}
