import { initTRPC } from '@trpc/server'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createDuplexClient } from '../../../../client/rpc/client.js'
import { connect } from '../../../../client/rpc/connection.js'
import { serveDuplex } from '../../../../server/rpc/connection.js'
import type { CloseReason, Duplex } from '../../../../shared/rpc/duplex.js'
import { receiveBatch } from '../../../../shared/rpc/links/backlog.js'
import { memoryDuplexPair } from '../../../../shared/rpc/links/memory-duplex.js'
import { leavesNothing, opened } from '../../../fixtures/leaves-nothing.js'
import { links } from '../../../fixtures/links.js'
import { gate, peer } from '../../../fixtures/peer.js'

/** A receiver that needs 1 ms for each message, with its backlog of a batch of 100. */
function receiver({ canPause = true } = {}) {
  let clock = 0
  const time = performance.now.bind(performance)
  vi.spyOn(performance, 'now').mockImplementation(() => time() + clock)
  const taken: [unknown, number, number | undefined][] = []
  const ended = gate<CloseReason | undefined>()
  const reading: string[] = []
  const owner = {
    take(message: unknown, bytes: number, batchIndex: number | undefined) {
      clock++
      taken.push([message, bytes, batchIndex])
    },
    endBacklog: ended.open,
  }
  const duplex = { pauseReading: () => void reading.push('pause'), resumeReading: () => void reading.push('resume') }
  const batch = Array.from({ length: 100 }, (_, n) => ({ n }))
  const backlog = receiveBatch(batch, 1_000, owner, canPause ? duplex : {})
  if (!backlog) throw new Error('a batch of 100 ms leaves a backlog')
  return { backlog, taken, ended: ended.passed, reading }
}

describe('a backlog', () => {
  beforeEach(() => new Promise<void>(resolve => void setImmediate(resolve)))
  afterEach(async () => {
    await new Promise(resolve => setImmediate(resolve))
    vi.restoreAllMocks()
  })

  it('messages behind a batch are taken in order, each with its bytes and its place; the close comes last', async () => {
    const { backlog, taken, ended, reading } = receiver()
    expect(taken.length).toBeLessThan(10)
    backlog.add('PING', 4)
    backlog.add([{ n: 100 }, { n: 101 }], 50)
    const reason = { code: 1000, message: 'over' }
    backlog.close(reason)
    expect(reading).toEqual(['pause'])
    expect(await ended).toBe(reason)
    expect(taken.slice(0, 100)).toEqual(Array.from({ length: 100 }, (_, n) => [{ n }, 10, n]))
    expect(taken.slice(100)).toEqual([
      ['PING', 4, undefined],
      [{ n: 100 }, 25, 0],
      [{ n: 101 }, 25, 1],
    ])
    await undefined
    expect(reading).toEqual(['pause', 'resume'])
  })

  it('a cleared backlog hands nothing over any more', async () => {
    const { backlog, taken, ended, reading } = receiver()
    const before = taken.length
    backlog.clear()
    expect(await ended).toBeUndefined()
    expect([taken.length, reading]).toEqual([before, ['pause', 'resume']])
  })

  it('memory behind a batch is bounded by maxBufferedBytes, also where the duplex cannot pause', async () => {
    const { backlog, taken, ended } = receiver({ canPause: false })
    const message = { text: 'x'.repeat(1024 * 1024) }
    for (let count = 0; count < 15; count++) backlog.add(message, 1)
    expect(taken.length).toBeLessThan(10)
    backlog.add(message, 1)
    // All of the batch, and as many as bring the rest below the limit.
    expect(taken).toHaveLength(101)
    await ended
    expect(taken).toHaveLength(116)
  })
})

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
const t = initTRPC.create()

describe.each(links)('a pause of a duplex, $name', ({ dialRaw }) => {
  leavesNothing()

  it('a paused end gets messages when it reads on, in their order', async () => {
    const ran = gate()
    const router = t.router({
      hello: t.procedure.input(Number).query(({ input }) => (input === 3 ? ran.open() : input)),
    })
    const { duplex } = await dialRaw(router)
    const { send, received, until } = peer(duplex)
    const call = (id: number): void => send({ id, method: 'query', params: { path: 'hello', input: id } })
    call(0)
    await until(1)
    duplex.pauseReading?.()
    for (const id of [1, 2, 3]) call(id)
    await ran.passed
    for (let count = 0; count < 50; count++) await turn()
    expect(received).toHaveLength(1)
    duplex.resumeReading?.()
    expect(await until(4)).toMatchObject([0, 1, 2, 3].map(id => ({ id })))
  })

  it('a paused end sees a cut, in memory at once', async () => {
    const { duplex, served } = await dialRaw(t.router({}))
    const { closed } = peer(duplex)
    duplex.pauseReading?.()
    duplex.terminate({ code: 1006, message: 'cut' })
    expect(await closed).toMatchObject({ code: 1006 })
    await served.closed
  })
})

/** A duplex of another maker, which has no pause. */
function withoutPause(duplex: Duplex): Duplex {
  return {
    open: receiver => duplex.open(receiver),
    send: message => duplex.send(message),
    close: (...args) => duplex.close(...args),
    terminate: reason => duplex.terminate(reason),
    get full() {
      return duplex.full
    },
    get bufferedBytes() {
      return duplex.bufferedBytes
    },
  }
}

describe('a duplex without a pause', () => {
  leavesNothing()
  const batch = 2_000

  it('messages before the close are taken first, by a server', async () => {
    let rejected = 0
    const errors = initTRPC.create({ errorFormatter: ({ shape }) => ({ ...shape, count: ++rejected }) })
    const [near, far] = memoryDuplexPair()
    const { closed } = serveDuplex({ duplex: withoutPause(far), router: errors.router({}) })
    near.open({ onMessage() {}, onDrain() {}, onClose() {} })
    near.send(Array.from({ length: batch }, (_, id) => ({ id, method: 'nonsense' })))
    near.close({ code: 1000, message: 'that was all' })
    expect(await closed).toMatchObject({ code: 1000 })
    expect(rejected).toBe(batch)
  })

  it('messages before the close are taken first, by a client', async () => {
    const [near, far] = memoryDuplexPair()
    const router = t.router({ hello: t.procedure.query(() => 'hello') })
    const connection = connect({ dial: () => withoutPause(near), maxInFlight: batch })
    opened.add({ groups: [], close: () => connection.close() })
    const client = createDuplexClient<typeof router>({ connection })
    const { received, until } = peer(far)
    const calls = Array.from({ length: batch }, () => client.hello.query())
    await until(batch)
    far.send(received.map(call => ({ id: Reflect.get(Object(call), 'id'), result: { data: 'hello' } })))
    far.close({ code: 4001, message: 'that was all' })
    expect(new Set(await Promise.all(calls))).toEqual(new Set(['hello']))
  })
})
