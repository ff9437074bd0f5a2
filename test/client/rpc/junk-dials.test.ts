import { initTRPC } from '@trpc/server'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createDuplexClient } from '../../../client/rpc/client.js'
import { type Connection, type ConnectOptions, connect } from '../../../client/rpc/connection.js'
import { serveDuplex } from '../../../server/rpc/connection.js'
import { ConnectionGroup } from '../../../server/rpc/connection-group.js'
import { DialError } from '../../../shared/rpc/dial-error.js'
import type { Duplex } from '../../../shared/rpc/duplex.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { memoryDuplexPair } from '../../../shared/rpc/links/memory-duplex.js'
import { leavesNothing, opened } from '../../fixtures/leaves-nothing.js'

const router = initTRPC.create().router({ ping: initTRPC.create().procedure.query(() => 'pong') })

const fault = (): never => {
  throw new Error('broken')
}
const unreadable = new Proxy({}, { get: fault, getPrototypeOf: fault, has: fault })

/** The client's end of a served pair. */
function served(): Duplex {
  const [serverEnd, clientEnd] = memoryDuplexPair()
  const group = new ConnectionGroup()
  serveDuplex({ duplex: serverEnd, router, group })
  opened.add({ groups: [group], close: async () => clientEnd.terminate({ code: 1000, message: 'the test is over' }) })
  return clientEnd
}

/** A duplex with functions of its own. */
function faulty(functions: Partial<Record<keyof Duplex, (...given: never[]) => unknown>>): unknown {
  const duplex = served()
  const own = (name: 'open' | 'send' | 'close' | 'terminate') => functions[name] ?? duplex[name].bind(duplex)
  return {
    open: own('open'),
    send: own('send'),
    close: own('close'),
    terminate: own('terminate'),
    full: false,
    bufferedBytes: 0,
  }
}

const again = served

const junk: [name: string, dial: () => unknown][] = [
  ['undefined', () => undefined],
  ['null', () => null],
  ['a number', () => 5],
  ['a text', () => 'ws://localhost'],
  ['an object', () => ({})],
  ['a part of a duplex', () => ({ open() {}, send() {} })],
  ['a function', () => again],
  ['an object that throws when it is looked at', () => unreadable],
  ['a promise of nothing', () => Promise.resolve()],
  ['an error', () => new Error('returned, not thrown')],
  ['a duplex whose open() throws', () => faulty({ open: fault })],
  ['a duplex whose open() throws nonsense', () => faulty({ open: () => Promise.reject.call(null) })],
  ['a throw of undefined', () => Promise.reject(undefined)],
  ['a throw of a symbol', () => Promise.reject(Symbol('thrown'))],
  ['a throw of an object without a prototype', () => Promise.reject(Object.create(null))],
  ['a throw of an object that throws when it is looked at', () => Promise.reject(unreadable)],
  ['a pause that is no number', () => Promise.reject(new DialError('no', { fatal: false, retryAfterMs: Number.NaN }))],
  ['a pause below 0', () => Promise.reject(new DialError('no', { fatal: false, retryAfterMs: -5_000 }))],
  ['a pause without an end', () => Promise.reject(new DialError('no', { fatal: false, retryAfterMs: Infinity }))],
]

describe('a dial that returns junk', () => {
  leavesNothing()
  afterEach(() => {
    vi.useRealTimers()
  })

  function connectTo(dial: () => unknown, options: Omit<ConnectOptions, 'dial'> = {}): Connection {
    const connection = connect({ ...options, dial: dial as () => Duplex }) // an untyped caller's
    opened.add({ groups: [], close: () => connection.close() })
    return connection
  }

  it.each(junk)('%s: is reported, tried again after a wait, and a good dial follows', async (_name, dial) => {
    vi.useFakeTimers()
    const errors: unknown[] = []
    let good = false
    let dials = 0
    const connection = connectTo(() => (++dials && good ? served() : dial()), {
      onError: error => errors.push(error),
      random: () => 0.5,
    })
    await vi.advanceTimersByTimeAsync(10_400)
    // One each half second for 2 s, then less often; a server that asks for a pause of no end gets one of 10 s.
    expect(dials).toBeGreaterThanOrEqual(1)
    expect(dials).toBeLessThanOrEqual(14)
    expect(errors).toHaveLength(dials)
    for (const error of errors) {
      // Awaiting a result reads its `then`, and an error of that read is the dial's own.
      if (String(error) !== 'Error: broken') expect(error).toBeInstanceOf(DialError)
      expect(error).toMatchObject({ message: expect.stringMatching(/./) })
    }
    expect(connection.state).toBe('waiting')
    good = true
    await vi.advanceTimersByTimeAsync(20_000)
    expect(connection.state).toBe('open')
    vi.useRealTimers()
    expect(await createDuplexClient<typeof router>({ connection }).ping.query()).toBe('pong')
  })

  it('a duplex of another connection is a failed dial, and the other connection goes on', async () => {
    const duplex = served()
    const first = connectTo(() => duplex)
    const client = createDuplexClient<typeof router>({ connection: first })
    expect(await client.ping.query()).toBe('pong')
    const error = await new Promise(resolve => connectTo(() => duplex, { onError: resolve }))
    expect(error).toBeInstanceOf(DialError)
    expect(error).toMatchObject({ fatal: false, message: 'dial returned a duplex that was opened before' })
    expect(await client.ping.query()).toBe('pong')
  })

  it.each([
    ['send', 'a call'],
    ['close', 'close()'],
    ['terminate', 'a call'],
  ] as const)(
    'a duplex whose %s() throws breaks down, fails %s at most, and another dial follows',
    async (name, _fails) => {
      const errors: Error[] = []
      let dials = 0
      const broken = () => faulty({ send: fault, [name]: fault })
      const connection = connectTo(() => (++dials < 3 ? broken() : served()), {
        onError: error => errors.push(error),
        random: () => 0,
      })
      const client = createDuplexClient<typeof router>({ connection })
      for (let call = 0; call < 2; call++) {
        await expect(client.ping.query()).rejects.toMatchObject({
          data: { code: 'SERVICE_UNAVAILABLE', reason: 'connection_lost', mayHaveRun: true },
        })
      }
      expect(await client.ping.query()).toBe('pong')
      expect(dials).toBe(3)
      expect(errors.filter(error => error.message === 'the duplex broke down: broken')).toHaveLength(2)
      for (const error of errors) expect(error).toBeInstanceOf(RpcError)
    },
  )

  it('a duplex whose close() throws does not keep close() waiting', async () => {
    const connection = connectTo(() => faulty({ close: fault }))
    await createDuplexClient<typeof router>({ connection }).ping.query()
    expect(await connection.close()).toMatchObject({ code: 1000 })
  })

  it('a duplex that closes within open() is dialled again after a wait', async () => {
    vi.useFakeTimers()
    let dials = 0
    const closing = () => {
      dials++
      return faulty({
        open: (receiver: { onClose(reason: object): void }) => receiver.onClose({ code: 1006, message: 'closed' }),
      })
    }
    const connection = connectTo(closing, { random: () => 0.5 })
    await vi.advanceTimersByTimeAsync(10_400)
    expect(connection.state).toBe('waiting')
    expect(dials).toBeLessThanOrEqual(14)
    expect(dials).toBeGreaterThan(5)
  })
})
