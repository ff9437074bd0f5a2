import { initTRPC, tracked } from '@trpc/server'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import type { CallObserver } from '../../../client/rpc/call-observer.js'
import { createDuplexClient } from '../../../client/rpc/client.js'
import { type Connection, type ConnectionState, type ConnectOptions, connect } from '../../../client/rpc/connection.js'
import { serveDuplex } from '../../../server/rpc/connection.js'
import { ConnectionGroup } from '../../../server/rpc/connection-group.js'
import { DialError } from '../../../shared/rpc/dial-error.js'
import type { Duplex } from '../../../shared/rpc/duplex.js'
import { transformer } from '../../../shared/rpc/json/transformer.js'
import { memoryDuplexPair } from '../../../shared/rpc/links/memory-duplex.js'
import { leavesNothing, opened } from '../../fixtures/leaves-nothing.js'
import { clientLinks, reversedLinks } from '../../fixtures/links.js'
import { gate, peer } from '../../fixtures/peer.js'

const t = initTRPC.context<object>().create()

/** Events 1, 2, 3, … of which the test says how many there are; each goes out as soon as it is. */
function counter() {
  let last = 0
  let wake = gate()
  const rewind: number[] = []
  const source = async function* (from: number, signal: AbortSignal | undefined) {
    rewind.push(from)
    for (let id = from; ; id++) {
      while (id > last && !signal?.aborted) {
        const aborted = new Promise(resolve => signal?.addEventListener('abort', resolve, { once: true }))
        await Promise.race([wake.passed, aborted])
      }
      if (signal?.aborted) return
      yield tracked(String(id), id)
    }
  }
  const advance = (to: number): void => {
    last = to
    wake.open()
    wake = gate()
  }
  return { source, advance, rewind }
}

function testRouter() {
  const started = gate()
  const release = gate()
  const events = counter()
  let runs = 0
  const router = t.router({
    ping: t.procedure.query(() => 'pong'),
    add: t.procedure.mutation(() => ++runs),
    wait: t.procedure.mutation(async () => {
      started.open()
      await release.passed
      return 'done'
    }),
    count: t.procedure
      .input(z.object({ lastEventId: z.string().optional() }).optional())
      .subscription(({ input, signal }) => events.source(Number(input?.lastEventId ?? 0) + 1, signal)),
  })
  return { router, started: started.passed, release: release.open, events, runs: () => runs }
}

const failure = (promise: Promise<unknown>): Promise<{ message: string; data: unknown }> =>
  promise.then(
    value => expect.fail(`resolved with ${String(value)}`),
    error => error,
  )

const silent: CallObserver = { onData() {}, onError() {} }

/** Resolves when the connection is in this state. */
function until(connection: Connection, state: ConnectionState): Promise<void> {
  if (connection.state === state) return Promise.resolve()
  return new Promise(resolve => {
    const stop = connection.onStateChange(now => {
      if (now !== state) return
      stop()
      resolve()
    })
  })
}

/** A connection to scripted servers; the test closes nothing itself. */
function connectTo(dial: ConnectOptions['dial'], options: Omit<ConnectOptions, 'dial'> = {}): Connection {
  const connection = connect({ dial, ...options })
  opened.add({ groups: [], close: () => connection.close() })
  return connection
}

/** A dial that hangs until its signal aborts. */
function hangingDial(signal: AbortSignal): Promise<Duplex> {
  return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
}

describe.each([...clientLinks, ...reversedLinks])('a server that drains, $name', ({ link }) => {
  leavesNothing()

  it('a client leaves a draining server: calls in flight end there, new calls go to the next server', async () => {
    const { router, started, release } = testRouter()
    const { connection, group, replace } = link(router)
    const client = createDuplexClient<typeof router>({ connection })
    const slow = client.wait.mutate()
    await started
    const other = replace()
    const closing = group.close()
    expect(await client.ping.query()).toBe('pong')
    expect(other.connections).toBe(1)
    expect({ old: group.connections, calls: group.calls }).toEqual({ old: 1, calls: 1 })
    release()
    expect(await slow).toBe('done')
    expect(await closing).toEqual({ drained: 1, aborted: 0 })
  })

  it('subscriptions move to the next server without gap or repeat, and run on the old one until then', async () => {
    const { router, events, started, release } = testRouter()
    const { connection, group, replace } = link(router)
    const client = createDuplexClient<typeof router>({ connection })
    const observed: number[] = []
    const states: ConnectionState[] = []
    const subscription = client.count.subscribe(undefined, { onData: event => observed.push(event.data) })
    events.advance(3)
    await expect.poll(() => observed).toEqual([1, 2, 3])
    const slow = client.wait.mutate() // keeps the old connection open
    await started
    connection.onStateChange(state => states.push(state))
    const other = replace()
    const closing = group.close()
    events.advance(5)
    await expect.poll(() => other.connections).toBe(1)
    events.advance(8)
    await expect.poll(() => observed.length).toBe(8)
    expect(observed).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    expect(states).toEqual(['waiting', 'connecting', 'open'])
    expect(events.rewind.length).toBe(2)
    release()
    await slow
    await closing
    subscription.unsubscribe()
  })

  it('a call that a draining server rejects runs on the next server, also a mutation', async () => {
    const { router, started, release, runs } = testRouter()
    const { connection, group, replace } = link(router)
    const client = createDuplexClient<typeof router>({ connection })
    const slow = client.wait.mutate()
    await started
    replace()
    // In the same turn: the client has not received the reconnect yet.
    const closing = group.close()
    const calls = [client.add.mutate(), client.add.mutate()]
    expect(await Promise.all(calls)).toEqual([1, 2])
    expect(runs()).toBe(2)
    release()
    await slow
    await closing
  })

  it('without another server, calls wait and fail at their deadline with the reason', async () => {
    const { router } = testRouter()
    const { connection, group } = link(router)
    const client = createDuplexClient<typeof router>({ connection })
    await client.ping.query()
    await group.close()
    const error = await failure(client.add.mutate(undefined, { context: { timeoutMs: 120 } }))
    expect(error.data).toMatchObject({ code: 'TIMEOUT', mayHaveRun: false })
    expect(error.message).toMatch(/^add: no connection before the deadline \(.+\)$/)
  })
})

describe.each([...clientLinks, ...reversedLinks])('a connection that is lost, $name', ({ link }) => {
  leavesNothing()

  it('a mutation on a lost connection fails with mayHaveRun', async () => {
    const { router, started, release } = testRouter()
    const { connection, sever } = link(router)
    const client = createDuplexClient<typeof router>({ connection })
    const lost = failure(client.wait.mutate())
    await started
    sever()
    expect((await lost).data).toMatchObject({
      code: 'SERVICE_UNAVAILABLE',
      reason: 'connection_lost',
      mayHaveRun: true,
    })
    release()
  })

  it('a lost call that resend allows is sent again', async () => {
    const { router, started, release } = testRouter()
    const { connection, sever, served } = link(router, { client: { resend: () => true } })
    const client = createDuplexClient<typeof router>({ connection })
    const call = client.wait.mutate()
    await started
    sever()
    release()
    expect(await call).toBe('done')
    expect(served.length).toBe(2)
  })

  it('a call that is sent again has its own input, whatever the first attempt did to its input', async () => {
    const seen: unknown[] = []
    let firstAttempt = gate()
    const t = initTRPC.create({ transformer })
    const change = async (input: { list: number[] }): Promise<number> => {
      seen.push(structuredClone(input))
      input.list.push(input.list.length)
      if (seen.length === 1) await firstAttempt.passed
      return input.list.length
    }
    const any = t.procedure.input((input: unknown) => input as { list: number[] }) // the test's own
    const router = t.router({
      ask: any.query(({ input }) => change(input)),
      change: any.mutation(({ input }) => change(input)),
    })
    const { connection, sever } = link(router, { client: { resend: () => true } })
    const client = createDuplexClient<typeof router>({ connection, transformer })
    for (const call of [client.ask.query, client.change.mutate]) {
      seen.length = 0
      firstAttempt = gate()
      const response = call({ list: [0] })
      await expect.poll(() => seen.length).toBe(1)
      sever()
      firstAttempt.open()
      expect(await response).toBe(2)
      expect(seen).toEqual([{ list: [0] }, { list: [0] }])
    }
  })

  it('a resend that throws counts as false, and onError gets the error', async () => {
    const errors: string[] = []
    const { router, started, release } = testRouter()
    const resend = (): boolean => {
      throw new Error('made up')
    }
    const onError = (error: Error): void => void errors.push(error.message)
    const { connection, sever } = link(router, { client: { resend, onError } })
    const client = createDuplexClient<typeof router>({ connection })
    const call = failure(client.wait.mutate())
    await started
    sever()
    release()
    expect((await call).data).toMatchObject({ reason: 'connection_lost' })
    expect(errors).toContain('made up')
    expect(await client.ping.query()).toBe('pong')
  })

  it.each([true, false])('every lost call fails once if resend closes the connection and returns %s', async again => {
    const { router, started, release } = testRouter()
    let asked = 0
    const resend = (): boolean => {
      asked++
      void connection.close()
      return again
    }
    const { connection, sever, served } = link(router, { client: { resend, maxInFlight: 2 } })
    const ends: unknown[] = []
    const states: ConnectionState[] = []
    connection.onStateChange(state => states.push(state))
    await until(connection, 'open')
    for (const path of ['wait', 'wait', 'ping']) {
      const type = path === 'ping' ? 'query' : 'mutation'
      const end = (name: string) => (outcome: unknown) => ends.push([path, name, outcome])
      connection.call({ type, path, input: undefined }, { onData: end('data'), onError: end('error') })
    }
    await started
    sever()
    release()
    expect(await connection.closed).toMatchObject({ code: 1000, message: 'closed by this side' })
    expect({ asked, connections: served.length, states: states.at(-1) }).toEqual({
      asked: 1,
      connections: 1,
      states: 'closed',
    })
    const local = (reason: string, mayHaveRun: boolean) => ({ local: { reason, mayHaveRun } })
    expect(ends).toHaveLength(3)
    expect(ends).toMatchObject([
      ['ping', 'error', local('connection_closed', false)],
      ['wait', 'error', local('connection_lost', true)],
      ['wait', 'error', local('connection_lost', true)],
    ])
  })

  it('a lost call is sent again twice, not a third time', async () => {
    let runs = 0
    let cut = (): void => {}
    const router = t.router({
      fatal: t.procedure.query(({ signal }) => {
        runs++
        cut()
        return new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
      }),
    })
    const { connection, sever } = link(router)
    cut = sever
    const client = createDuplexClient<typeof router>({ connection })
    expect((await failure(client.fatal.query())).data).toMatchObject({ reason: 'connection_lost', mayHaveRun: true })
    expect(runs).toBe(3)
  })

  it('onError gets the close code of a lost connection', async () => {
    const errors: Error[] = []
    const { router } = testRouter()
    const { connection, sever } = link(router, { client: { onError: error => errors.push(error) } })
    await createDuplexClient<typeof router>({ connection }).ping.query()
    const waiting = until(connection, 'waiting')
    sever()
    await waiting
    expect(errors).toMatchObject([{ code: 'SERVICE_UNAVAILABLE', message: expect.stringMatching(/lost.*\(1006\)$/) }])
  })
})

describe.each([...clientLinks, ...reversedLinks])('a client that may not connect, $name', ({ link, dialRaw }) => {
  leavesNothing()

  it.each([
    ['UNAUTHORIZED', 4401],
    ['FORBIDDEN', 4403],
  ] as const)('%s closes with %d, and the client stops', async (code, closeCode) => {
    const { router } = testRouter()
    const { TRPCError } = await import('@trpc/server')
    let asked = 0
    const { connection } = link(router, {
      createContext: async () => {
        asked++
        throw new TRPCError({ code, message: 'not you' })
      },
    })
    const client = createDuplexClient<typeof router>({ connection })
    const rejected = failure(client.ping.query())
    expect(await connection.closed).toMatchObject({ code: closeCode, message: 'not you' })
    expect((await rejected).data).toMatchObject({ code, mayHaveRun: false })
    expect(connection.state).toBe('closed')
    expect(asked).toBe(1)
  })

  it('a context that fails for another reason closes with 1011 without its message, and the client dials again', async () => {
    const { router } = testRouter()
    let asked = 0
    const { connection } = link(router, {
      createContext: async () => {
        asked++
        if (asked < 3) throw new Error('MARKED')
        return {}
      },
    })
    expect(await createDuplexClient<typeof router>({ connection }).ping.query()).toBe('pong')
    expect(asked).toBe(3)
    const { duplex } = await dialRaw(router, { createContext: () => Promise.reject(new Error('MARKED')) })
    const { received, closed } = peer(duplex)
    expect(await closed).toMatchObject({ code: 1011 })
    expect(received).toMatchObject([{ id: null, error: { message: 'internal server error' } }])
  })

  it.each(['rejects', 'throws'])(
    'a context in a promise of another library that %s closes the connection, and no call runs',
    async how => {
      const { router } = testRouter()
      const { TRPCError } = await import('@trpc/server')
      const error = new TRPCError({ code: 'UNAUTHORIZED', message: 'not you' })
      const then = (_: unknown, reject: (thrown: unknown) => void): void => {
        if (how === 'throws') throw error
        reject(error)
      }
      // A promise of the language by its type only.
      const { connection } = link(router, {
        createContext: () => ({ ['then' as string]: then }) as Promise<object> & object,
      })
      const rejected = failure(createDuplexClient<typeof router>({ connection }).ping.query())
      expect(await connection.closed).toMatchObject({ code: 4401, message: 'not you' })
      expect((await rejected).data).toMatchObject({ code: 'UNAUTHORIZED', mayHaveRun: false })
    },
  )

  it('a context that never comes closes the connection after handshakeTimeoutMs', async () => {
    const { router } = testRouter()
    const { duplex } = await dialRaw(router, { createContext: () => new Promise(() => {}), handshakeTimeoutMs: 20 })
    const { send, received, closed } = peer(duplex)
    send({ id: 1, method: 'query', params: { path: 'ping' } })
    expect(await closed).toMatchObject({ code: 1011, message: expect.stringContaining('handshakeTimeoutMs 20') })
    expect(received).toMatchObject([{ id: null, error: { data: { code: 'TIMEOUT', reason: 'handshake_timeout' } } }])
  })
})

describe('connectionParams', () => {
  leavesNothing()

  function serve(handshakeTimeoutMs = 10_000) {
    const { router } = testRouter()
    const [serverEnd, clientEnd] = memoryDuplexPair()
    const group = new ConnectionGroup()
    const seen: unknown[] = []
    serveDuplex({
      duplex: serverEnd,
      router,
      group,
      expectConnectionParams: true,
      handshakeTimeoutMs,
      createContext: ({ connectionParams }) => {
        seen.push(connectionParams)
        return {}
      },
    })
    opened.add({ groups: [group], close: async () => clientEnd.close({ code: 1000, message: 'over' }) })
    return { ...peer(clientEnd), seen }
  }

  it('no call runs before connectionParams have arrived, and the context gets them', async () => {
    const { send, until, seen } = serve()
    send('PING')
    send({ method: 'connectionParams', data: { authorization: 'x' } })
    send({ id: 1, method: 'query', params: { path: 'ping' } })
    expect(await until(2)).toEqual(['PONG', { id: 1, result: { type: 'data', data: 'pong' } }])
    expect(seen).toEqual([{ authorization: 'x' }])
  })

  it('connectionParams that never arrive close the connection after handshakeTimeoutMs', async () => {
    const { closed, received } = serve(20)
    expect(await closed).toMatchObject({ message: expect.stringContaining('handshakeTimeoutMs 20') })
    expect(received).toMatchObject([{ id: null, error: { data: { reason: 'handshake_timeout' } } }])
  })

  it.each([
    [{ id: 1, method: 'query', params: { path: 'ping' } }],
    [{ method: 'connectionParams', data: { a: 1 } }],
    [{ method: 'connectionParams', data: ['a'] }],
    [[{ method: 'connectionParams', data: null }]],
  ])('a first message that is no connectionParams closes with 1002, and nothing runs: %j', async message => {
    const { send, closed, received, seen } = serve()
    send(message)
    send({ id: 2, method: 'query', params: { path: 'ping' } })
    expect(await closed).toMatchObject({ code: 1002 })
    expect(received).toMatchObject([{ id: null, error: { data: { code: 'PARSE_ERROR' } } }])
    expect(seen).toEqual([])
  })
})

describe('dialling', () => {
  leavesNothing()
  afterEach(() => {
    vi.restoreAllMocks() // before the timers, whose fakes end with the next line
    vi.useRealTimers()
  })

  it('a fatal rejection stops the connection with its reason; queued calls fail, and later ones too', async () => {
    const connection = connectTo(() =>
      Promise.reject(new DialError('go away', { fatal: true, reason: 'ticket_revoked' })),
    )
    const client = createDuplexClient<typeof router>({ connection })
    const { router } = testRouter()
    const waiting = failure(client.ping.query())
    expect(await connection.closed).toEqual({ code: 1006, message: 'go away', reason: 'ticket_revoked' })
    for (const call of [waiting, failure(client.ping.query())]) {
      expect(await call).toMatchObject({
        message: 'the connection is closed: go away',
        data: { reason: 'connection_closed', mayHaveRun: false },
      })
    }
  })

  it('the wait for a dial is a random part of half of the time since the loss, of 1 s to 10 s', async () => {
    vi.useFakeTimers()
    const schedule = vi.spyOn(globalThis, 'setTimeout')
    const connection = connectTo(() => Promise.reject(new DialError('not now', { fatal: false })), {
      random: () => 0.5,
    })
    const delays: number[] = []
    for (let attempt = 0; attempt < 14; attempt++) {
      await vi.advanceTimersByTimeAsync(0)
      const delay = schedule.mock.calls.at(-1)?.[1] ?? 0
      delays.push(delay)
      await vi.advanceTimersByTimeAsync(delay)
    }
    let lostForMs = 0
    for (const delay of delays) {
      expect(Math.abs(delay - Math.max(1_000, lostForMs / 2) / 2)).toBeLessThan(5)
      lostForMs += delay
    }
    expect(lostForMs).toBeGreaterThan(15_000)
    await vi.advanceTimersByTimeAsync(30_000)
    expect(schedule.mock.calls.at(-1)?.[1]).toBe(5_000)
    await connection.close()
    schedule.mockRestore()
  })

  it('a client that is told to move dials within half a second, and less often if it is told so each time', async () => {
    vi.useFakeTimers()
    const schedule = vi.spyOn(globalThis, 'setTimeout')
    const ends: Duplex[] = []
    const connection = connectTo(
      () => {
        const [serverEnd, clientEnd] = memoryDuplexPair()
        ends.push(serverEnd)
        serverEnd.open({ onMessage() {}, onDrain() {}, onClose() {} })
        serverEnd.send({ id: null, method: 'reconnect' })
        return clientEnd
      },
      { random: () => 1 },
    )
    const delays: number[] = []
    for (let move = 0; move < 10; move++) {
      await vi.advanceTimersByTimeAsync(0)
      const delay = schedule.mock.calls.at(-1)?.[1] ?? 0
      delays.push(Math.round(delay))
      await vi.advanceTimersByTimeAsync(delay)
    }
    expect(delays.slice(0, 4)).toEqual([500, 500, 500, 750])
    for (const [index, delay] of delays.slice(4).entries()) expect(delay).toBeCloseTo(750 * 1.5 ** (index + 1), -1)
    await connection.close()
    for (const end of ends) end.terminate({ code: 1000, message: 'the test is over' })
    schedule.mockRestore()
  })

  it('the wait for a dial is at least what the server asks for, at most 10 s more', async () => {
    vi.useFakeTimers()
    vi.spyOn(Math, 'random').mockReturnValue(0)
    const asked = [2_000, 86_400_000]
    const dials: number[] = []
    const connection = connectTo(() => {
      dials.push(Date.now())
      return Promise.reject(new DialError('full', { fatal: false, retryAfterMs: asked[dials.length - 1] ?? 0 }))
    })
    await vi.advanceTimersByTimeAsync(12_000)
    expect(dials.slice(0, 3).map(at => at - (dials[0] ?? 0))).toEqual([0, 2_000, 12_000])
    await connection.close()
    vi.mocked(Math.random).mockRestore()
  })

  it.each([
    ['has responded to a call', 500],
    ['has sent an event', 500],
    ['has stayed up for 10 s', 500],
    ['has stayed up for less', 3125],
    ['has said of a subscription that it started, no more', 625],
  ])('a connection that %s is dialled again after %d ms, half of the bound', async (what, delayMs) => {
    vi.useFakeTimers()
    vi.spyOn(Math, 'random').mockReturnValue(0.5)
    const schedule = vi.spyOn(globalThis, 'setTimeout')
    const lastDelay = (): number => schedule.mock.calls.at(-1)?.[1] ?? 0
    const [serverEnd, clientEnd] = memoryDuplexPair()
    let dials = 0
    const connection = connectTo(() => {
      if (++dials <= 5) throw new DialError('not now', { fatal: false })
      return clientEnd
    })
    for (let failed = 0; failed < 5; failed++) {
      await vi.advanceTimersByTimeAsync(0)
      await vi.advanceTimersByTimeAsync(lastDelay())
    }
    await until(connection, 'open')
    const { closed, until: received } = peer(serverEnd)
    const type = what === 'has responded to a call' ? 'query' : 'subscription'
    connection.call({ type, path: 'count', input: undefined }, silent)
    await received(1)
    if (what.includes('started')) serverEnd.send({ id: 1, result: { type: 'started' } })
    if (what.includes('event') || what.includes('responded')) serverEnd.send({ id: 1, result: { type: 'data' } })
    if (what.includes('10 s')) await vi.advanceTimersByTimeAsync(10_000)
    if (what.includes('less')) await vi.advanceTimersByTimeAsync(9_999)
    await vi.advanceTimersByTimeAsync(0) // delivered
    serverEnd.terminate({ code: 1006, message: 'lost' })
    await closed
    await until(connection, 'waiting')
    expect(lastDelay()).toBeCloseTo(delayMs, -1)
    await connection.close()
  })

  it('a server that says reconnect on every new connection is not dialled in a loop', async () => {
    vi.useFakeTimers()
    vi.spyOn(Math, 'random').mockReturnValue(1)
    let dials = 0
    const connection = connectTo(() => {
      dials++
      const [serverEnd, clientEnd] = memoryDuplexPair()
      serverEnd.open({ onMessage() {}, onDrain() {}, onClose() {} })
      serverEnd.send({ id: null, method: 'reconnect' })
      return clientEnd
    })
    await vi.advanceTimersByTimeAsync(10_000)
    expect(dials).toBeLessThan(10)
    await connection.close()
    vi.mocked(Math.random).mockRestore()
  })

  it('a server that rejects every call as draining gets the call again only after a pause, until the deadline', async () => {
    const { router } = testRouter()
    let sends = 0
    const connection = connectTo(() => {
      const [serverEnd, clientEnd] = memoryDuplexPair()
      serverEnd.open({
        onMessage(message) {
          sends++
          serverEnd.send({ id: Reflect.get(Object(message), 'id'), error: {}, refused: 'draining' })
        },
        onDrain() {},
        onClose() {},
      })
      return clientEnd
    })
    const client = createDuplexClient<typeof router>({ connection })
    const error = await failure(client.add.mutate(undefined, { context: { timeoutMs: 200 } }))
    expect(error.data).toMatchObject({ code: 'TIMEOUT', mayHaveRun: false })
    expect(sends).toBeLessThan(30)
  })

  const finalCloseCodes = { 4001: 'ticket_revoked' }

  it.each([
    [4001, { reason: 'ticket_revoked' }],
    [4401, {}],
    [4403, {}],
  ])('no duplex follows one that closes with the final code %d', async (code, reason) => {
    let dials = 0
    const closing = (): Duplex => {
      dials++
      const [serverEnd, clientEnd] = memoryDuplexPair()
      serverEnd.open({ onMessage() {}, onDrain() {}, onClose() {} })
      serverEnd.close({ code, message: 'no more' })
      return clientEnd
    }
    const connection = connectTo(closing, { finalCloseCodes })
    expect(await connection.closed).toEqual({ code, message: 'no more', ...reason })
    expect(dials).toBe(1)
  })

  it('the reason of a close counts before the reason of its final code', async () => {
    const connection = connectTo(
      () => {
        const [serverEnd, clientEnd] = memoryDuplexPair()
        serverEnd.open({ onMessage() {}, onDrain() {}, onClose() {} })
        serverEnd.close({ code: 4001, message: 'no more', reason: 'ticket_expired' })
        return clientEnd
      },
      { finalCloseCodes },
    )
    expect(await connection.closed).toEqual({ code: 4001, message: 'no more', reason: 'ticket_expired' })
  })

  it('a close code of 4000 and above that is not named as final leads to another dial', async () => {
    const redialled = gate()
    let dials = 0
    connectTo(
      () => {
        if (++dials === 2) redialled.open()
        const [serverEnd, clientEnd] = memoryDuplexPair()
        serverEnd.open({ onMessage() {}, onDrain() {}, onClose() {} })
        if (dials === 1) serverEnd.close({ code: 4002, message: 'not now' })
        return clientEnd
      },
      { finalCloseCodes },
    )
    await redialled.passed
  })

  it('close() from onError or from a listener is final: nothing is dialled after it', async () => {
    vi.useFakeTimers()
    for (const where of ['onError', 'waiting', 'connecting'] as const) {
      const dialledIn: ConnectionState[] = []
      let ended = false
      const connection: Connection = connectTo(
        () => {
          dialledIn.push(ended ? 'closed' : 'open')
          return Promise.reject(new DialError('not now', { fatal: false }))
        },
        { onError: () => where === 'onError' && end() },
      )
      const end = (): void => {
        ended = true
        void connection.close()
      }
      connection.onStateChange(state => state === where && end())
      // The first two close it before any pause; the third while it dials again.
      await vi.advanceTimersByTimeAsync(0)
      expect(ended).toBe(where !== 'connecting')
      if (ended) expect(vi.getTimerCount()).toBe(0)
      // Past every pause that a client takes.
      await vi.advanceTimersByTimeAsync(30_000)
      expect(connection.state).toBe('closed')
      expect(dialledIn).not.toContain('closed')
    }
  })

  it('after a fatal rejection by the next server, calls in flight end on the draining one', async () => {
    const { router, started, release } = testRouter()
    const group = new ConnectionGroup()
    let dials = 0
    const connection = connectTo(() => {
      if (dials++ > 0) throw new DialError('the key is not known here', { fatal: true, reason: 'ticket_invalid' })
      const [serverEnd, clientEnd] = memoryDuplexPair()
      serveDuplex({ duplex: serverEnd, router, group })
      return clientEnd
    })
    const client = createDuplexClient<typeof router>({ connection })
    const ended = gate<unknown>()
    client.count.subscribe(undefined, { onError: ended.open })
    const inFlight = client.wait.mutate()
    await started
    const closing = group.close()
    expect(await ended.passed).toMatchObject({ data: { reason: 'connection_closed' } })
    expect(connection.state).toBe('closed')
    expect(await failure(client.ping.query())).toMatchObject({
      data: { reason: 'connection_closed', mayHaveRun: false },
    })
    release()
    expect(await inFlight).toBe('done')
    expect(await connection.closed).toEqual({
      code: 1006,
      message: 'the key is not known here',
      reason: 'ticket_invalid',
    })
    expect(await closing).toEqual({ drained: 1, aborted: 0 })
  })

  it.each(['close()', 'the server’s end'])('%s ends calls that a fatal rejection has left in flight', async how => {
    const { router, started, release } = testRouter()
    const group = new ConnectionGroup()
    const serverEnds: Duplex[] = []
    const connection = connectTo(() => {
      if (serverEnds.length > 0) throw new DialError('the key is not known here', { fatal: true })
      const [serverEnd, clientEnd] = memoryDuplexPair()
      serverEnds.push(serverEnd)
      serveDuplex({ duplex: serverEnd, router, group })
      return clientEnd
    })
    const client = createDuplexClient<typeof router>({ connection })
    const inFlight = failure(client.wait.mutate())
    await started
    const rejected = until(connection, 'closed')
    const closing = group.close()
    await rejected
    if (how === 'close()') await connection.close()
    else serverEnds[0]?.terminate({ code: 1006, message: 'lost' })
    const reason = how === 'close()' ? 'connection_closed' : 'connection_lost'
    expect(await inFlight).toMatchObject({ data: { reason, mayHaveRun: true } })
    expect(await connection.closed).toMatchObject({ message: 'the key is not known here' })
    release()
    await closing
  })

  it('close() ends a hanging dial, and closes the duplex of a dial that succeeds late', async () => {
    const dialled = gate<Duplex>()
    const aborted = gate()
    const connection = connectTo(({ signal }) => {
      signal.addEventListener('abort', () => aborted.open())
      return dialled.passed
    })
    expect(await connection.close()).toMatchObject({ code: 1000 })
    await aborted.passed
    const [serverEnd, clientEnd] = memoryDuplexPair()
    const { closed } = peer(serverEnd)
    dialled.open(clientEnd)
    expect(await closed).toMatchObject({ code: 1000 })
  })

  it('close() also closes a duplex that is not current any more', async () => {
    const ends: Duplex[] = []
    const connection = connectTo(() => {
      const [serverEnd, clientEnd] = memoryDuplexPair()
      ends.push(serverEnd)
      return clientEnd
    })
    const { router } = testRouter()
    const lost = failure(createDuplexClient<typeof router>({ connection }).add.mutate())
    await expect.poll(() => ends.length).toBe(1)
    const first = peer(ends[0] as Duplex) // dialled once, see above
    await first.until(1)
    first.send({ id: null, method: 'reconnect' })
    await expect.poll(() => ends.length).toBe(2)
    const second = peer(ends[1] as Duplex) // dialled twice, see above
    await until(connection, 'open')
    await connection.close()
    expect(await Promise.all([first.closed, second.closed])).toMatchObject([{ code: 1000 }, { code: 1000 }])
    expect((await lost).data).toMatchObject({ reason: 'connection_closed', mayHaveRun: true })
  })

  it('a call to be sent again is sent as soon as a duplex has room, also as the only call', async () => {
    const ends: Duplex[] = []
    const dial = (): Duplex => {
      const [serverEnd, clientEnd] = memoryDuplexPair()
      ends.push(serverEnd)
      return clientEnd
    }
    const connection = connectTo(dial, { maxInFlight: 1, resend: () => true })
    const { router } = testRouter()
    const client = createDuplexClient<typeof router>({ connection })
    const moved = client.add.mutate()
    await expect.poll(() => ends.length).toBe(1)
    const first = peer(ends[0] as Duplex) // dialled once, see above
    await first.until(1)
    first.send({ id: null, method: 'reconnect' })
    await expect.poll(() => ends.length).toBe(2)
    const second = peer(ends[1] as Duplex) // dialled twice, see above
    const other = client.ping.query()
    await second.until(1)
    ends[0]?.terminate({ code: 1006, message: 'lost' })
    await first.closed
    second.send({ id: 2, result: { type: 'data', data: 'pong' } })
    expect((await second.until(2))[1]).toMatchObject({ id: 1, method: 'mutation' })
    second.send({ id: 1, result: { type: 'data', data: 1 } })
    expect(await Promise.all([moved, other])).toEqual([1, 'pong'])
  })

  it('calls that two duplexes have lost are sent again oldest first, whichever was lost first', async () => {
    const ends: Duplex[] = []
    const third = gate()
    const connection = connectTo(
      async () => {
        if (ends.length === 2) await third.passed
        const [serverEnd, clientEnd] = memoryDuplexPair()
        ends.push(serverEnd)
        return clientEnd
      },
      { resend: () => true },
    )
    const call = (): unknown => connection.call({ type: 'mutation', path: 'add', input: null }, silent)
    const servers: ReturnType<typeof peer>[] = []
    for (const [index, calls] of [2, 1].entries()) {
      await expect.poll(() => ends.length).toBe(index + 1)
      const server = peer(ends[index] as Duplex) // dialled so often, see above
      servers.push(server)
      await until(connection, 'open')
      for (let count = 0; count < calls; count++) call()
      await server.until(calls)
      if (index === 0) server.send({ id: null, method: 'reconnect' })
    }
    for (const index of [1, 0]) {
      ends[index]?.terminate({ code: 1006, message: 'lost' })
      await servers[index]?.closed
    }
    third.open()
    await expect.poll(() => ends.length).toBe(3)
    const received = await peer(ends[2] as Duplex).until(3) // dialled a third time, see above
    expect(received).toMatchObject([{ id: 1 }, { id: 2 }, { id: 3 }])
  })

  it('a queued call and a call that is sent again carry the rest of their time', async () => {
    vi.useFakeTimers()
    vi.spyOn(Math, 'random').mockReturnValue(0)
    const ends: Duplex[] = []
    const dialled = [gate(), gate()]
    const connection = connectTo(async () => {
      await dialled[ends.length]?.passed
      const [serverEnd, clientEnd] = memoryDuplexPair()
      ends.push(serverEnd)
      return clientEnd
    })
    connection.call({ type: 'query', path: 'ping', input: null, timeoutMs: 60_000 }, silent)
    const reported: unknown[] = []
    for (const index of [0, 1]) {
      await vi.advanceTimersByTimeAsync(5_000)
      dialled[index]?.open()
      await vi.advanceTimersByTimeAsync(0)
      const [message] = await peer(ends[index] as Duplex).until(1) // dialled so often, see above
      reported.push(Reflect.get(Object(Reflect.get(Object(message), 'params')), 'timeoutMs'))
      ends[index]?.terminate({ code: 1006, message: 'lost' })
    }
    expect(reported).toEqual([55_000, 50_000])
    await connection.close()
  })

  it('a server that sends PING and does not read is closed with 4008', async () => {
    const errors: string[] = []
    const [serverEnd, clientEnd] = memoryDuplexPair({ highWaterMarkBytes: 32 * 1024 * 1024 })
    const ends = [clientEnd]
    const onError = (error: Error): unknown => errors.push(error.message)
    const connection = connectTo(({ signal }) => ends.pop() ?? hangingDial(signal), { onError })
    await until(connection, 'open')
    // Nearly all that may wait: pongs alone would need 60,000.
    const input = 'x'.repeat(4_000_000)
    for (let count = 0; count < 4; count++) connection.call({ type: 'query', path: 'size', input }, silent)
    let pings = 0
    const flood = setInterval(() => {
      for (let count = 0; count < 100; count++) serverEnd.send('PING')
      pings += 100
    })
    await until(connection, 'connecting')
    clearInterval(flood)
    expect(errors).toEqual(['the connection was lost: the server sends PING and does not read (4008)'])
    expect(pings).toBeGreaterThan(2_000)
  })

  it('a fatal rejection by the next server stops subscriptions on the old one, and no other call', async () => {
    const ends: Duplex[] = []
    const connection = connectTo(() => {
      if (ends.length > 0) throw new DialError('the key is not known here', { fatal: true, reason: 'ticket_invalid' })
      const [serverEnd, clientEnd] = memoryDuplexPair()
      ends.push(serverEnd)
      return clientEnd
    })
    await until(connection, 'open')
    const server = peer(ends[0] as Duplex) // it is open
    const responded = gate<unknown>()
    connection.call({ type: 'query', path: 'ping', input: null }, { onData: responded.open, onError: responded.fail })
    connection.call({ type: 'subscription', path: 'count', input: null }, silent)
    await server.until(2)
    server.send({ id: null, method: 'reconnect' })
    expect((await server.until(3))[2]).toEqual({ id: 2, method: 'subscription.stop' })
    server.send({ id: 1, result: { type: 'data', data: 'pong' } })
    expect(await responded.passed).toBe('pong')
    await server.closed
    expect(server.received.length).toBe(3)
  })

  it('the cost of a rejected call does not grow with the number of queued calls', async () => {
    const rejectAll = async (waiting: number): Promise<number> => {
      const [serverEnd, clientEnd] = memoryDuplexPair()
      const ends = [clientEnd]
      const connection = connectTo(({ signal }) => ends.pop() ?? hangingDial(signal))
      const server = peer(serverEnd)
      await until(connection, 'open')
      const call = { type: 'mutation', path: 'add', input: undefined } as const
      for (let index = 0; index < 1_024 + waiting; index++) connection.call(call, silent)
      await server.until(1_024)
      const begun = performance.now()
      for (let id = 1; id <= 1_024; id++) server.send({ id, error: {}, refused: 'draining' })
      serverEnd.close({ code: 1001, message: 'bye' })
      await server.closed
      return performance.now() - begun
    }
    const alone = Math.max(20, await rejectAll(0))
    // With all queued calls sorted at each rejection, this took tens of times as long.
    expect(await rejectAll(20_000)).toBeLessThan(8 * alone)
  })

  it('a dial that returns the same duplex twice is a failed dial, and close() resolves', async () => {
    const { router } = testRouter()
    const [serverEnd, clientEnd] = memoryDuplexPair()
    const group = new ConnectionGroup()
    serveDuplex({ duplex: serverEnd, router, group })
    const errors = gate<string>()
    const connection = connectTo(() => clientEnd, { onError: ({ message }) => errors.open(message) })
    await until(connection, 'open')
    await group.close()
    expect(await errors.passed).toContain('a duplex that was opened before')
    await connection.close()
  })

  it('the largest call of a connection that closed with 1009 is not sent again, whatever its type', async () => {
    const ends: Duplex[] = []
    const connection = connectTo(
      () => {
        const [serverEnd, clientEnd] = memoryDuplexPair()
        ends.push(serverEnd)
        return clientEnd
      },
      { resend: () => true },
    )
    const failed: unknown[] = []
    const begin = (type: 'query' | 'mutation' | 'subscription', length: number): void => {
      const onError = (error: object): unknown => failed.push([type, length, Reflect.get(error, 'local')])
      connection.call({ type, path: 'p', input: 'x'.repeat(length) }, { onData() {}, onError })
    }
    begin('query', 10)
    begin('subscription', 1_000)
    begin('mutation', 100)
    for (let round = 1; round <= 3; round++) {
      await until(connection, 'open')
      const server = peer(ends[round - 1] as Duplex) // dialled so often, see above
      await server.until(4 - round)
      const waiting = until(connection, 'waiting')
      ends[round - 1]?.close({ code: 1009, message: 'no' })
      await waiting
      expect(failed.length).toBe(round)
    }
    const data = { code: 'PAYLOAD_TOO_LARGE', reason: 'message_too_large', mayHaveRun: true }
    expect(failed).toMatchObject([
      ['subscription', 1_000, data],
      ['mutation', 100, data],
      ['query', 10, data],
    ])
  })

  it('a listener gets each change of state until the listener is removed', async () => {
    const observed: ConnectionState[] = []
    const { router } = testRouter()
    const [serverEnd, clientEnd] = memoryDuplexPair()
    serveDuplex({ duplex: serverEnd, router })
    const connection = connectTo(() => clientEnd)
    const stop = connection.onStateChange(state => observed.push(state))
    connection.onStateChange(() => {
      throw new Error('an observer that throws')
    })
    await until(connection, 'open')
    stop()
    await connection.close()
    expect(observed).toEqual(['open'])
  })
})
