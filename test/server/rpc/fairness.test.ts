/**
 * Turns of the event loop beside work that would never give one. Each piece of work says how long it takes and only
 * that time is measured, so a busy machine changes nothing.
 */
import { initTRPC } from '@trpc/server'
import { observable } from '@trpc/server/observable'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { createDuplexClient } from '../../../client/rpc/client.js'
import { memoryDuplexPair } from '../../../shared/rpc/links/memory-duplex.js'
import { leavesNothing } from '../../fixtures/leaves-nothing.js'
import { clientLinks, links } from '../../fixtures/links.js'
import { gate, peer } from '../../fixtures/peer.js'

const t = initTRPC.create()

/** Work between two turns, in milliseconds: the contract's limit. */
const limitMs = 10

let clock = 0

/** Lets the clock go on, as work of this time would. */
function work(ms: number): void {
  clock += ms
}

/**
 * Watches the turns until `stop`, which returns the longest time between two of them. Begins when no work of the test
 * before waits for its turn: behind such work the first turn would come late.
 */
async function watchTurns(): Promise<{ stop(): { longestMs: number } }> {
  for (let count = 0; count < 3; count++) await new Promise(resolve => setImmediate(resolve))
  let [last, longestMs] = [clock, 0]
  let next: NodeJS.Immediate
  const turn = (): void => {
    longestMs = Math.max(longestMs, clock - last)
    last = clock
    next = setImmediate(turn)
  }
  next = setImmediate(turn)
  return {
    stop() {
      clearImmediate(next)
      return { longestMs: Math.max(longestMs, clock - last) }
    },
  }
}

/** A source that is always ready. */
function replay(events: number, msOf: (index: number) => number): AsyncIterable<number> {
  let index = 0
  const iterator = {
    next: async () => {
      if (index === events) return { done: true as const, value: undefined }
      work(msOf(index))
      return { value: index++ }
    },
  }
  return { [Symbol.asyncIterator]: () => iterator }
}

const kinds: { name: string; sources: number; events: number; msOf: (index: number) => number }[] = [
  { name: 'a long replay', sources: 1, events: 3_000, msOf: () => 0.01 },
  { name: 'events that each take a while', sources: 1, events: 50, msOf: () => 4 },
  { name: 'events that become slow', sources: 1, events: 1_000, msOf: index => (index < 900 ? 0.003 : 0.06) },
  { name: 'many replays at once', sources: 100, events: 30, msOf: () => 0.02 },
  { name: 'many replays of slow events', sources: 100, events: 4, msOf: () => 2 },
]

describe.each(links)('fairness, $name', ({ link, dialRaw }) => {
  leavesNothing()
  ownClock()

  it.each(kinds)('the event loop has a turn every 10 ms beside $name', async ({ sources, events, msOf }) => {
    const router = t.router({ replay: t.procedure.subscription(() => replay(events, msOf)) })
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection })
    const turns = await watchTurns()
    let received = 0
    const over = Array.from({ length: sources }, () => {
      const { passed, open, fail } = gate()
      client.replay.subscribe(undefined, { onData: () => received++, onComplete: open, onError: fail })
      return passed
    })
    await Promise.all(over)
    const { longestMs } = turns.stop()
    expect(received).toBe(sources * events)
    expect(longestMs).toBeGreaterThan(0)
    expect(longestMs).toBeLessThanOrEqual(limitMs)
  })

  it.each([
    { name: 'quick calls', ms: 0.02, calls: 400 },
    { name: 'slow calls, once their cost is known', ms: 1, calls: 100 },
  ])('the event loop has a turn every 10 ms beside frames of $name', async ({ ms, calls }) => {
    const ran: number[] = []
    const run = (index: number): number => {
      work(ms)
      ran.push(index)
      return index
    }
    const router = t.router({
      // One works before its first await, the other one after.
      atOnce: t.procedure.query(() => run(-1)),
      later: t.procedure.input(z.number()).query(({ input }) => run(input)),
    })
    const { duplex } = await dialRaw(router)
    const { send, until, received } = peer(duplex)
    const frame = async (path: string, length: number): Promise<void> => {
      const expected = received.length + length
      send(Array.from({ length }, (_, id) => ({ id, method: 'query', params: { path, input: id } })))
      await until(expected)
    }
    await frame('later', 64)
    for (const path of ['atOnce', 'later']) {
      ran.length = 0
      const turns = await watchTurns()
      await frame(path, calls)
      expect(turns.stop().longestMs).toBeLessThanOrEqual(limitMs)
      expect(ran).toHaveLength(calls)
    }
    // In the order of the frame.
    expect(ran).toEqual(Array.from({ length: calls }, (_, id) => id))
  })

  it.each([
    { name: 'rejected calls', first: 1, message: (id: number) => ({ id, method: 'query', params: { path: 'wait' } }) },
    { name: 'invalid messages', first: 0, message: (id: number) => ({ id, method: 'nonsense' }) },
  ])('the event loop has a turn every 10 ms beside a frame of $name; the order stays', async ({ first, message }) => {
    const errors = initTRPC.create({
      errorFormatter({ shape }) {
        work(0.02)
        return shape
      },
    })
    const release = gate()
    const router = errors.router({
      wait: errors.procedure.query(() => release.passed),
      hello: errors.procedure.query(() => 'hello'),
    })
    const { duplex, served } = await dialRaw(router, { limits: { maxInFlight: 1 } })
    const { send, until } = peer(duplex)
    const calls = 3_000
    const turns = await watchTurns()
    send(Array.from({ length: calls }, (_, id) => message(id)))
    // Behind the frame.
    send('PING')
    send([{ id: calls, method: 'nonsense' }])
    const received = await until(calls - first + 2)
    expect(turns.stop().longestMs).toBeLessThanOrEqual(limitMs)
    const ids = received.map(response => (response === 'PONG' ? response : Reflect.get(Object(response), 'id')))
    expect(ids).toEqual([...Array.from({ length: calls - first }, (_, index) => first + index), 'PONG', calls])
    // A peer that leaves is reported behind its messages.
    send(Array.from({ length: calls }, (_, id) => message(id)))
    duplex.close({ code: 1000, message: 'the peer leaves' })
    expect(await served.closed).toMatchObject({ code: 1000 })
    release.open()
  })

  it('a query, a ping, a stop and a deadline get through beside sources that are always ready', async () => {
    let events = 0
    const router = t.router({
      endless: t.procedure.subscription(() =>
        replay(Number.POSITIVE_INFINITY, () => {
          events++
          return 0.01
        }),
      ),
      hello: t.procedure.query(() => 'hello'),
      never: t.procedure.query(({ signal }) => new Promise((_, reject) => signal?.addEventListener('abort', reject))),
    })
    const { duplex } = await dialRaw(router)
    const { send, received, until } = peer(duplex)
    for (let id = 1; id <= 100; id++) send({ id, method: 'subscription', params: { path: 'endless' } })
    await until(1_000)
    const other = peer((await dialRaw(router)).duplex)
    other.send({ id: 1, method: 'query', params: { path: 'hello' } })
    other.send({ id: 2, method: 'query', params: { path: 'never', timeoutMs: 20 } })
    other.send('PING')
    await other.until(2)
    send({ id: 101, method: 'query', params: { path: 'hello' } })
    for (let id = 1; id <= 100; id++) send({ id, method: 'subscription.stop' })
    const stopped = (): number =>
      received.filter(message => Reflect.get(Object(Reflect.get(Object(message), 'result')), 'type') === 'stopped')
        .length
    await expect.poll(stopped).toBe(100)
    const atStop = events
    expect(received).toContainEqual({ id: 101, result: { type: 'data', data: 'hello' } })
    await other.until(3)
    expect(other.received).toContain('PONG')
    expect(other.received).toContainEqual(expect.objectContaining({ id: 1, result: { type: 'data', data: 'hello' } }))
    const timedOut = { data: expect.objectContaining({ code: 'TIMEOUT' }) }
    expect(other.received).toContainEqual({ id: 2, error: expect.objectContaining(timedOut) })
    expect(events).toBe(atStop)
  })
})

describe.each(clientLinks)('fairness of a client, $name', ({ link }) => {
  leavesNothing()
  ownClock()

  it('the event loop has a turn every 10 ms beside a burst of events, in their order', async () => {
    const items = 5_000
    const router = t.router({
      burst: t.procedure.subscription(() =>
        observable<number>(emit => {
          for (let item = 0; item < items; item++) emit.next(item)
          emit.complete()
        }),
      ),
    })
    const { connection } = link(router)
    const client = createDuplexClient<typeof router>({ connection })
    const received: number[] = []
    const { passed, open, fail } = gate()
    const onData = (item: number): void => {
      work(0.03)
      received.push(item)
    }
    const turns = await watchTurns()
    client.burst.subscribe(undefined, { onData, onComplete: open, onError: fail })
    await passed
    expect(turns.stop().longestMs).toBeLessThanOrEqual(limitMs)
    expect(received).toEqual(Array.from({ length: items }, (_, item) => item))
  })
})

describe('deliveries in memory', () => {
  ownClock()

  it.each(['ends', 'is cut off'])(
    'the event loop has a turn every 10 ms beside slow receivers; the order stays, and the duplex %s behind them',
    async end => {
      const [near, far] = memoryDuplexPair()
      const received: unknown[] = []
      const closed = gate()
      const over = { code: 1000, message: 'over' }
      near.open({ onMessage() {}, onDrain() {}, onClose() {} })
      const turns = await watchTurns()
      far.open({
        onMessage(message) {
          work(1)
          received.push(Reflect.get(Object(message), 'n'))
          if (received.length === 50) {
            near.send({ n: 100 }) // behind the others
            if (end === 'ends') near.close(over)
          }
          if (received.length === 101) near.terminate(over)
        },
        onDrain() {},
        onClose: () => closed.open(),
      })
      for (let n = 0; n < 100; n++) near.send({ n })
      await closed.passed
      expect(turns.stop().longestMs).toBeLessThanOrEqual(limitMs)
      expect(received).toEqual(Array.from({ length: 101 }, (_, n) => n))
    },
  )

  it('a cut drops the rest of a delivery that waits for a turn', async () => {
    const [near, far] = memoryDuplexPair()
    const closed = gate()
    let received = 0
    far.open({
      onMessage() {
        work(10)
        received++
      },
      onDrain() {},
      onClose: () => closed.open(),
    })
    for (let n = 0; n < 100; n++) near.send({ n })
    // The first one may wait for a turn too, behind what ran before this test.
    while (received === 0) await new Promise(resolve => setImmediate(resolve))
    expect(received).toBe(1)
    near.terminate({ code: 1006, message: 'cut' })
    await closed.passed
    await new Promise(resolve => setImmediate(resolve))
    expect(received).toBe(1)
  })
})

/** Adds the time of {@link work} to the clock. */
function ownClock(): void {
  beforeEach(() => {
    const time = performance.now.bind(performance)
    clock = 0
    vi.spyOn(performance, 'now').mockImplementation(() => time() + clock)
  })
  afterEach(async () => {
    // The clock is set back between two callbacks of the event loop.
    await new Promise(resolve => setImmediate(resolve))
    vi.restoreAllMocks()
  })
}
