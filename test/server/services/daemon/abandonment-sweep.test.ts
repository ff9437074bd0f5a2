import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { createAbandonedInterceptions } from '../../../../server/services/daemon/abandoned-interceptions.js'
import { type AbandonmentSweep, createAbandonmentSweep } from '../../../../server/services/daemon/abandonment-sweep.js'
import { createDaemonPresence, type DaemonPresence } from '../../../../server/services/daemon/daemon-presence.js'
import { abandonment as limits, presence as presenceLimits } from '../../../../shared/contract/limits.js'
import { fc } from '../../../fixtures/random.js'
import { openTemporaryStore } from '../../../fixtures/stores.js'
import { interception, secondsLater, someTime } from '../../store/records/records.js'
import { recordingLogger } from '../running-server.js'
import { EndsModel } from './ends-model.js'

const minuteMs = 60_000
const hourMs = 60 * minuteMs
const dayMs = limits.interceptionAbandonedAfterMs
const begin = new Date('2026-06-01T00:00:00Z')

/** A server with a clock of its own, which may be wrong. */
class Server {
  skewMs = 0
  readonly logger = recordingLogger()
  readonly #store: EndsModel
  #presence: DaemonPresence | undefined
  #sweep: AbandonmentSweep | undefined
  #connections = new Map<string, AbortController>()

  constructor(store: EndsModel) {
    this.#store = store
    this.start()
  }

  start(): void {
    // A dead server writes nothing any more.
    const isDead = () => this.#sweep !== sweep
    const store: EndsModel = new Proxy(this.#store, {
      get:
        (target, name) =>
        (...args: never[]) =>
          isDead() ? new Promise(() => {}) : Reflect.get(target, name).apply(target, args),
    })
    const parts = { store, logger: this.logger, now: () => new Date(Date.now() + this.skewMs) }
    const presence = createDaemonPresence(parts)
    const abandoned = createAbandonedInterceptions({ ...parts, presence, onLeft: () => sweep.hurry() })
    const sweep = createAbandonmentSweep({ ...parts, abandoned })
    this.#presence = presence
    this.#sweep = sweep
    this.declareGone = id => void abandoned.endAbandoned({ daemonInstances: [id] }, {}).catch(() => {})
    sweep.start()
  }

  declareGone: (daemonInstance: string) => void = () => {}

  get isAlive(): boolean {
    return this.#sweep !== undefined
  }

  /** Ends the process, with all its timers, and without a note. */
  kill(): void {
    void this.#sweep?.stop()
    void this.#presence?.stop()
    this.#sweep = undefined
    this.#connections.clear()
  }

  isConnected(daemonInstance: string): boolean {
    return this.#connections.has(daemonInstance)
  }

  connect(daemonInstance: string): void {
    if (!this.isAlive || this.isConnected(daemonInstance)) return
    const connection = new AbortController()
    this.#connections.set(daemonInstance, connection)
    this.#presence?.add({ daemonInstance, daemonKeyId: null }, connection.signal)
  }

  disconnect(daemonInstance: string): void {
    this.#connections.get(daemonInstance)?.abort()
    this.#connections.delete(daemonInstance)
  }
}

beforeEach(() => void vi.useFakeTimers({ now: begin }))
afterEach(() => void vi.useRealTimers())

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)

function openInterception(store: EndsModel, daemonInstance: string | null) {
  const row: EndsModel['interceptions'][number] = { id: randomUUID(), daemonInstance, startedAt: new Date() }
  store.interceptions.push(row)
  return row
}

/** the longest time from an absence of a day to the end: a run, and a second look */
const latestMs = dayMs + limits.intervalMs + presenceLimits.lostMs + minuteMs

describe('one server', () => {
  test('an interception is ended when its daemon was not connected for a day, and not before', async () => {
    const store = new EndsModel()
    const server = new Server(store)
    server.connect('a')
    const row = openInterception(store, 'a')
    await pass(3 * dayMs)
    server.disconnect('a')
    await pass(dayMs)
    expect(row.endedAt).toBeUndefined()
    await pass(latestMs - dayMs)
    expect(row.endedAt).toBeInstanceOf(Date)
    expect(server.logger.lines).toMatchObject([{ level: 'info', fields: { daemonInstance: 'a', ended: 1 } }])
    server.kill()
  })

  test('a daemon that no server noted is gone a day after it was found', async () => {
    const store = new EndsModel()
    const row = openInterception(store, 'a')
    const server = new Server(store)
    await pass(dayMs)
    expect(row.endedAt).toBeUndefined()
    await pass(latestMs - dayMs)
    expect(row.endedAt).toBeInstanceOf(Date)
    server.kill()
  })

  test('an interception that names no daemon is ended a day after its start, also one that is stored late', async () => {
    const store = new EndsModel()
    const server = new Server(store)
    const row = openInterception(store, null)
    await pass(dayMs)
    expect(row.endedAt).toBeUndefined()
    const late = openInterception(store, null)
    late.startedAt = new Date(Date.now() - dayMs)
    await pass(3 * limits.intervalMs)
    expect([row.endedAt, late.endedAt]).toEqual([expect.any(Date), expect.any(Date)])
    server.kill()
  })

  test('a clock that is wrong for less than an hour ends no interception without a daemon', async () => {
    const store = new EndsModel()
    const server = new Server(store)
    await pass(hourMs)
    const row = openInterception(store, null)
    server.skewMs = 2 * dayMs
    await pass(limits.intervalMs - minuteMs)
    server.skewMs = 0
    await pass(4 * hourMs)
    expect(row.endedAt).toBeUndefined()
    server.kill()
  })

  test('daemons that were declared gone are ended at once, or soon after their dead server is no sign of life', async () => {
    const store = new EndsModel()
    const [dead, server] = [new Server(store), new Server(store)]
    dead.connect('a')
    server.connect('b')
    const rows = ['a', 'b'].map(id => openInterception(store, id))
    await pass(minuteMs)
    dead.kill()
    server.disconnect('b')
    await pass(1)
    for (const id of ['a', 'b']) server.declareGone(id)
    await pass(1)
    expect(rows.map(row => row.endedAt !== undefined)).toEqual([false, true])
    await pass(2 * presenceLimits.lostMs)
    expect(rows.map(row => row.endedAt !== undefined)).toEqual([true, true])
    server.kill()
  })

  test('a daemon that was declared gone before its server noticed the death is ended soon after', async () => {
    const store = new EndsModel()
    const server = new Server(store)
    server.connect('a')
    const row = openInterception(store, 'a')
    await pass(hourMs)
    server.declareGone('a')
    await pass(10 * minuteMs)
    expect(row.endedAt).toBeUndefined()
    server.disconnect('a')
    await pass(2 * presenceLimits.lostMs)
    expect(row.endedAt).toBeInstanceOf(Date)
    server.kill()
  })

  test('a stopped sweep leaves no timer, and does not begin another part', async () => {
    const store = new EndsModel()
    const server = new Server(store)
    await pass(limits.firstRunMs)
    server.kill()
    await pass(1)
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('several servers, whose clocks jump, and a database that is away at times', () => {
  const daemon = fc.constantFrom('a', 'b')
  const server = fc.constantFrom(0, 1)
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ pass: fc.constantFrom(1, 3, 61, 200, 1500).map(value => value * minuteMs) }) },
    { weight: 2, arbitrary: fc.record({ connect: daemon, to: server }) },
    { weight: 2, arbitrary: fc.record({ disconnect: daemon, from: server }) },
    fc.record({ request: daemon }),
    fc.record({ declareGone: daemon, at: server }),
    fc.record({ kill: server }),
    fc.record({ start: server }),
    fc.record({ skew: fc.constantFrom(-50, -1, 1, 50).map(value => value * hourMs), of: server }),
    fc.record({ isDown: fc.boolean() }),
  )
  type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

  class World {
    readonly store = new EndsModel()
    readonly servers = [new Server(this.store), new Server(this.store)]
    /** ends that no server should have written; a throw would be a failure of the store */
    readonly wrongEnds: string[] = []
    /** since when a connected daemon's server could have noted it, by the daemon's instance */
    readonly notedSince = new Map<string, number>()

    constructor() {
      this.store.onEnd = ({ daemonInstance }) => {
        if (daemonInstance === null || !this.isConnected(daemonInstance)) return
        const since = this.notedSince.get(daemonInstance) ?? Number.POSITIVE_INFINITY
        // Servers renew their notes within seconds after the database is back.
        if (performance.now() - since > presenceLimits.retryMs) this.wrongEnds.push(daemonInstance)
      }
    }

    isConnected(id: string): boolean {
      return this.servers.some(one => one.isConnected(id))
    }

    async take(next: Step): Promise<void> {
      const at = (index: number) => this.servers[index] as Server // the generators know two servers
      if ('pass' in next) await pass(next.pass)
      else if ('connect' in next && at(next.to).isAlive) {
        at(next.to).connect(next.connect)
        // As when a server asks it to move.
        at(1 - next.to).disconnect(next.connect)
      } else if ('disconnect' in next) at(next.from).disconnect(next.disconnect)
      else if ('request' in next && this.isConnected(next.request)) openInterception(this.store, next.request)
      else if ('declareGone' in next && at(next.at).isAlive) at(next.at).declareGone(next.declareGone)
      else if ('kill' in next) at(next.kill).kill()
      else if ('start' in next && !at(next.start).isAlive) at(next.start).start()
      else if ('skew' in next) at(next.of).skewMs = next.skew
      else if ('isDown' in next) {
        this.store.isDown = next.isDown
        if (!next.isDown) for (const id of ['a', 'b']) this.notedSince.set(id, performance.now())
      }
      for (const id of ['a', 'b']) {
        if (!this.isConnected(id)) this.notedSince.delete(id)
        else if (!this.notedSince.has(id)) this.notedSince.set(id, performance.now())
      }
      await pass(1)
    }
  }

  test('no interception of a connected daemon is ended, and in the end those of gone daemons are', {
    timeout: 60_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async steps => {
        const world = new World()
        await world.take({ connect: 'a', to: 1 })
        await world.take({ request: 'a' })
        for (const next of steps) await world.take(next)
        const [first] = world.servers
        if (!first?.isAlive) first?.start()
        world.store.isDown = false
        for (const one of world.servers) {
          one.skewMs = 0
          for (const id of ['a', 'b']) one.disconnect(id)
        }
        // Rows and times of a clock that was ahead are as old as the others after that time.
        await pass(latestMs + 51 * hourMs)
        expect(world.wrongEnds).toEqual([])
        expect(world.store.interceptions.filter(({ endedAt }) => !endedAt)).toEqual([])
        for (const one of world.servers) one.kill()
      }),
      { numRuns: 20 },
    )
  })
})

test('a sweep of a store ends abandoned interceptions of all kinds, and no young ones', async () => {
  vi.useRealTimers()
  const store = await openTemporaryStore()
  onTestFinished(() => store.close())
  const [gone, unnoted, alive] = [randomUUID(), randomUUID(), randomUUID()]
  const clock = { now: secondsLater(0) }
  const stored = async (daemonInstance: string | undefined, startedAt: Date) => {
    const record = { ...interception({ startedAt }), carrier: { daemonInstance } }
    await store.record([record])
    return record.record.id
  }
  const old = [await stored(gone, someTime), await stored(unnoted, someTime), await stored(undefined, someTime)]
  const present = (daemonInstance: string) =>
    store.recordDaemonsPresent([{ daemonInstance, daemonKeyId: null }], { server: randomUUID(), at: clock.now })
  await present(gone)
  await store.recordUnnotedDaemons(clock.now)
  clock.now = new Date(someTime.getTime() + dayMs + minuteMs)
  await present(alive)
  const young = [await stored(alive, someTime), await stored(undefined, clock.now)]

  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  const parts = { store, logger: recordingLogger(), now: () => clock.now }
  const abandoned = createAbandonedInterceptions({ ...parts, presence: { isConnected: () => false } })
  const sweep = createAbandonmentSweep({ ...parts, abandoned })
  sweep.start()
  onTestFinished(() => sweep.stop())
  const read = (ids: string[]) =>
    Promise.all(ids.map(async id => (await store.getInterception(id))?.interception.endedBy))
  // Each wait is for the timer of the next run, which a run sets when it has ended.
  for (let run = 0; run < 3; run++) {
    await vi.waitUntil(() => vi.getTimerCount() > 0)
    vi.advanceTimersByTime(presenceLimits.lostMs)
    await vi.waitUntil(() => vi.getTimerCount() > 0)
  }
  expect(await read(old)).toEqual(Array(3).fill('control_plane'))
  expect(await read(young)).toEqual([null, null])
  expect(parts.logger.lines.filter(({ level }) => level !== 'info')).toEqual([])
})
