/**
 * The rules that tRPC does not document, by their numbers in docs/transport.md: as a server to any peer, and as a
 * client of any server.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createTRPCClient } from '@trpc/client'
import { initTRPC, TRPCError, tracked } from '@trpc/server'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createDuplexClient } from '../../client/rpc/client.js'
import { connect } from '../../client/rpc/connection.js'
import { duplexLink } from '../../client/rpc/link.js'
import type { Duplex, Message } from '../../shared/rpc/duplex.js'
import { memoryDuplexPair } from '../../shared/rpc/links/memory-duplex.js'
import { leavesNothing } from '../fixtures/leaves-nothing.js'
import { links } from '../fixtures/links.js'
import { gate, peer } from '../fixtures/peer.js'
import { closedAfterTest, servers, stockClient } from './ends.js'
import { type TestRouter, testRouter } from './test-router.js'

const t = initTRPC.context<object>().create()
const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

describe.each(links)('unwritten rules, as a server, $name', ({ dialRaw, link }) => {
  leavesNothing()

  it('1: PONG comes after everything sent before, and no event of a stopped subscription comes after PONG', async () => {
    const { router } = testRouter()
    const { duplex } = await dialRaw(router, { createContext: () => ({}) })
    const { send, received, until } = peer(duplex)
    send({ id: 1, method: 'subscription', params: { path: 'endless' } })
    send({ id: 2, method: 'subscription', params: { path: 'endless' } })
    await until(20)
    send({ id: 1, method: 'subscription.stop' })
    send('PING')
    await expect.poll(() => received.indexOf('PONG')).toBeGreaterThan(0)
    await until(received.length + 10)
    const idAt = (message: unknown): unknown => Reflect.get(Object(message), 'id')
    const pong = received.indexOf('PONG')
    expect(received.slice(0, pong)).toContainEqual({ id: 1, result: { type: 'stopped' } })
    expect(received.slice(pong + 1).filter(message => idAt(message) === 1)).toEqual([])
    expect(received.slice(pong + 1).filter(message => idAt(message) === 2).length).toBeGreaterThan(5)
    send({ id: 2, method: 'subscription.stop' })
    await until(received.length + 1)
  })

  it('1: PONG waits for messages that a slow reader has not read', async () => {
    const three = gate()
    let runs = 0
    const router = t.router({
      big: t.procedure.query(() => {
        if (++runs === 3) three.open()
        return 'x'.repeat(500_000)
      }),
    })
    const { duplex } = await dialRaw(router)
    for (const id of [1, 2, 3, 4, 5, 6]) duplex.send({ id, method: 'query', params: { path: 'big' } })
    await three.passed
    await turn() // in which the three get their responses
    duplex.send('PING')
    await turn()
    const { until } = peer(duplex)
    const ids = (await until(7)).map(message => (message === 'PONG' ? 'PONG' : Reflect.get(Object(message), 'id')))
    expect(ids.filter(id => id !== 'PONG')).toEqual([1, 2, 3, 4, 5, 6])
    expect(ids.indexOf('PONG')).toBeGreaterThanOrEqual(3)
  })

  it('2: the error of a failing context is sent under id null before the close', async () => {
    const { router } = testRouter()
    const createContext = async (): Promise<never> => {
      throw new TRPCError({ code: 'UNAUTHORIZED', message: 'not you' })
    }
    const { duplex } = await dialRaw(router, { createContext })
    const { received, closed } = peer(duplex)
    expect(await closed).toMatchObject({ code: 4401 })
    expect(received).toMatchObject([{ id: null, error: { message: 'not you', data: { code: 'UNAUTHORIZED' } } }])
  })

  it('3: started is the first frame of a resumed subscription, before stored events', async () => {
    const { router } = testRouter()
    const { duplex } = await dialRaw(router, { createContext: () => ({}) })
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'subscription', params: { path: 'count', lastEventId: '99' } })
    expect(await until(3)).toEqual([
      { id: 1, result: { type: 'started' } },
      { id: 1, result: { type: 'data', id: '100', data: { id: '100', data: 100 } } },
      { id: 1, result: { type: 'stopped' } },
    ])
  })

  it('6: tracked(id, d) is result.id and {id, data: d}; another event has no id', async () => {
    const router = t.router({
      events: t.procedure.subscription(async function* () {
        yield tracked('seven', { n: 7 })
        yield { n: 8 }
      }),
    })
    const { duplex } = await dialRaw(router)
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'subscription', params: { path: 'events' } })
    expect((await until(4)).slice(1, 3)).toEqual([
      { id: 1, result: { type: 'data', id: 'seven', data: { id: 'seven', data: { n: 7 } } } },
      { id: 1, result: { type: 'data', data: { n: 8 } } },
    ])
  })

  it('7: jsonrpc is in a response exactly if the call has it, in every kind of response', async () => {
    const { router } = testRouter()
    const { duplex } = await dialRaw(router, { createContext: () => ({}) })
    const { send, until } = peer(duplex)
    for (const jsonrpc of [{ jsonrpc: '2.0' }, {}]) {
      const id = 'jsonrpc' in jsonrpc ? 10 : 20
      send({ id: id + 1, ...jsonrpc, method: 'query', params: { path: 'me' } })
      send({ id: id + 2, ...jsonrpc, method: 'mutation', params: { path: 'fail' } })
      send({ id: id + 3, ...jsonrpc, method: 'subscription', params: { path: 'count', lastEventId: '99' } })
    }
    const responses = await until(10)
    const reported = responses.map(response => [
      Number(Reflect.get(Object(response), 'id')) < 20,
      'jsonrpc' in Object(response),
    ])
    expect(reported.filter(([sent]) => sent).length).toBe(5)
    for (const [sent, echoed] of reported) expect(echoed).toBe(sent)
  })

  it('8: a subscription keeps none of the values that it has sent', async () => {
    setFlagsFromString('--expose-gc')
    const collect: () => void = runInNewContext('gc')
    const count = 200
    const values: WeakRef<object>[] = []
    const more = gate()
    // No variable of the source holds a value.
    const make = (n: number): object => {
      const value = { text: `${n}`.repeat(100) }
      values.push(new WeakRef(value))
      return value
    }
    const router = t.router({
      events: t.procedure.subscription(async function* ({ signal }): AsyncGenerator<unknown> {
        for (let n = 0; n < count; n++) yield make(n)
        await Promise.race([more.passed, new Promise(resolve => signal?.addEventListener('abort', resolve))])
        yield 'the last'
      }),
    })
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection })
    let observed = 0
    const [all, last] = [gate(), gate()]
    const subscription = client.events.subscribe(undefined, {
      onData() {
        observed++
        if (observed === count) all.open()
        if (observed > count) last.open()
      },
    })
    await all.passed
    await turn()
    await expect
      .poll(() => {
        collect()
        return values.filter(value => value.deref() !== undefined).length
      })
      .toBe(0)
    more.open()
    await last.passed // it was alive all the time
    subscription.unsubscribe()
  })

  it('the response to a stop before there is a context is stopped, and no error', async () => {
    const { router } = testRouter()
    const context = gate<object>()
    const reports: unknown[] = []
    const { duplex } = await dialRaw(router, {
      createContext: () => context.passed,
      onError: report => reports.push(report),
    })
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'subscription', params: { path: 'count' } })
    send({ id: 1, method: 'subscription.stop' })
    const responses = await until(1)
    context.open({})
    expect(responses).toEqual([{ id: 1, result: { type: 'stopped' } }])
    expect(reports).toEqual([])
  })
})

describe.each(servers)('unwritten rules, a stock client that moves, server $name', ({ serve }) => {
  leavesNothing()

  it('5: its subscription runs on both connections until the new one has started', async () => {
    const running = { now: 0, most: 0 }
    const begin = gate()
    const both = gate()
    const held = gate()
    const inFlight = gate()
    const router = t.router({
      hold: t.procedure.mutation(async () => {
        inFlight.open()
        await held.passed
      }),
      events: t.procedure
        .input(z.object({ lastEventId: z.string().optional() }).optional())
        .subscription(async function* ({ input, signal }) {
          running.now++
          running.most = Math.max(running.most, running.now)
          if (running.now === 2) both.open()
          try {
            for (let id = Number(input?.lastEventId ?? 0) + 1; !signal?.aborted; id++) {
              yield tracked(String(id), id)
              await turn()
            }
          } finally {
            running.now--
          }
        }),
    })
    const [first, second] = [await serve(router), await serve(router)]
    let { url } = first
    const { client } = stockClient({ url: () => url })
    const { wsLink } = await import('@trpc/client')
    const api = createTRPCClient<typeof router>({ links: [wsLink({ client })] })
    const observed: number[] = []
    const moved = gate()
    const subscription = api.events.subscribe(undefined, {
      onData({ data }) {
        observed.push(data)
        begin.open()
        if (running.most === 2 && running.now === 1) moved.open()
      },
    })
    const holding = api.hold.mutate() // keeps the old connection
    await Promise.all([begin.passed, inFlight.passed])
    url = second.url
    first.move()
    await both.passed
    await moved.passed
    expect(observed).toEqual(observed.map((_, index) => index + 1))
    held.open()
    await holding
    subscription.unsubscribe()
    await expect.poll(() => running.now).toBe(0)
  })
})

/** A scripted server: its messages for each call. */
function scripted(response: (call: { id: number; path: string }, say: (message: Message) => void) => void) {
  const ends: Duplex[] = []
  const stops: number[] = []
  const errors: string[] = []
  const connection = closedAfterTest(
    connect({
      dial() {
        const [serverEnd, clientEnd] = memoryDuplexPair()
        ends.push(serverEnd)
        serverEnd.open({
          onMessage(message) {
            if (typeof message === 'string') return
            const { id, method, params } = message as { id: number; method: string; params: { path: string } } // the messages of a client
            if (method === 'subscription.stop') stops.push(id)
            else response({ id, path: params.path }, said => serverEnd.send(said))
          },
          onDrain() {},
          onClose() {},
        })
        return clientEnd
      },
      onError: error => errors.push(error.message),
    }),
  )
  return { connection, ends, stops, errors }
}

describe.each(['createDuplexClient', 'duplexLink'])('unwritten rules, as a client, %s', kind => {
  leavesNothing()

  const create = (connection: ReturnType<typeof connect>) =>
    kind === 'duplexLink'
      ? createTRPCClient<TestRouter>({ links: [duplexLink({ connection })] })
      : createDuplexClient<TestRouter>({ connection })
  const error = { code: -32009, message: 'taken', data: { code: 'CONFLICT' } }

  it('4: unsubscribe() fires onComplete, once, and no callback follows', async () => {
    const said: ((message: Message) => void)[] = []
    const { connection, stops } = scripted(({ id, path }, say) => {
      if (path === 'me') return say({ id, result: { type: 'data', data: null } })
      said.push(more => say(more))
      say({ id, result: { type: 'started' } })
      say({ id, result: { type: 'data', data: { id: 'a', data: 1 } } })
    })
    const client = create(connection)
    const observed: unknown[] = []
    const first = gate()
    const subscription = client.endless.subscribe(undefined, {
      onData(event) {
        observed.push(event)
        first.open()
      },
      onStopped: () => observed.push('stopped'),
      onError: thrown => observed.push(thrown),
      onComplete: () => observed.push('complete'),
    })
    await first.passed
    subscription.unsubscribe()
    subscription.unsubscribe()
    for (const say of said) say({ id: 1, result: { type: 'data', data: { id: 'b', data: 2 } } })
    for (const say of said) say({ id: 1, result: { type: 'stopped' } })
    await client.me.query()
    expect(observed).toEqual([{ id: 'a', data: 1 }, 'complete'])
    expect(stops).toEqual([1])
  })

  it.each([
    ['error, then stopped', ['error', 'stopped'], ['taken']],
    ['stopped, then error', ['stopped', 'error'], ['stopped', 'complete']],
    ['error alone', ['error'], ['taken']],
    ['stopped alone', ['stopped'], ['stopped', 'complete']],
    ['error twice', ['error', 'error'], ['taken']],
    ['no started', ['data', 'stopped'], [1, 'stopped', 'complete']],
  ])('9: %s ends a subscription once', async (_name, script, expected) => {
    const { connection, stops, errors } = scripted(({ id, path }, say) => {
      if (path === 'me') return say({ id, result: { type: 'data', data: null } })
      for (const step of script) {
        if (step === 'error') say({ id, error })
        else if (step === 'data') say({ id, result: { type: 'data', data: 1 } })
        else say({ id, result: { type: 'stopped' } })
      }
    })
    const client = create(connection)
    const observed: unknown[] = []
    client.endless.subscribe(undefined, {
      onData: event => observed.push(event),
      onStopped: () => observed.push('stopped'),
      onError: thrown => observed.push(thrown.message),
      onComplete: () => observed.push('complete'),
    })
    await client.me.query()
    expect({ observed, stops, errors }).toEqual({ observed: expected, stops: [], errors: [] })
  })

  it('the response to a query is data: stopped without data is an error, and started is ignored', async () => {
    const { connection } = scripted(({ id, path }, say) => {
      say({ id, result: { type: 'started' } })
      if (path === 'me') say({ id, result: { type: 'data', data: 'ann' } })
      else say({ id, result: { type: 'stopped' } })
    })
    const client = create(connection)
    expect(await client.me.query()).toBe('ann')
    await expect(client.echo.query('x')).rejects.toMatchObject({
      message: 'the server ended the call without a response',
      data: { code: 'INTERNAL_SERVER_ERROR', mayHaveRun: true },
    })
  })

  it('a response without a type, a PING, and a response to no pending call are accepted', async () => {
    const { connection, ends, errors } = scripted(({ id }, say) => {
      say('PING')
      say({ id: 4711, result: { type: 'data', data: 'for nobody' } })
      say({ id, jsonrpc: '2.0', result: { data: 'ann' } })
    })
    expect(await create(connection).me.query()).toBe('ann')
    expect({ dials: ends.length, errors }).toEqual({ dials: 1, errors: [] })
  })
})
