import { readFileSync } from 'node:fs'
import { initTRPC } from '@trpc/server'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createDuplexClient } from '../../../client/rpc/client.js'
import { serveDuplex } from '../../../server/rpc/connection.js'
import { ConnectionGroup, type GroupMember } from '../../../server/rpc/connection-group.js'
import type { CloseReason } from '../../../shared/rpc/duplex.js'
import { transformer } from '../../../shared/rpc/json/transformer.js'
import { memoryDuplexPair } from '../../../shared/rpc/links/memory-duplex.js'
import { leavesNothing } from '../../fixtures/leaves-nothing.js'
import { linksBothWays } from '../../fixtures/links.js'
import { gate, peer } from '../../fixtures/peer.js'
import { quickTime } from '../../fixtures/quick-time.js'

const t = initTRPC.context<object>().create({ transformer })

function testRouter() {
  const started = gate()
  const release = gate()
  const aborted = gate<unknown>()
  const router = t.router({
    ping: t.procedure.query(() => 'pong'),
    wait: t.procedure.mutation(async ({ signal }) => {
      signal?.addEventListener('abort', () => aborted.open(signal.reason))
      started.open()
      await release.passed
      return 'done'
    }),
    obeys: t.procedure.mutation(({ signal }) => {
      started.open()
      return new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
    }),
    forever: t.procedure.subscription(async function* ({ signal }) {
      yield 1
      await new Promise(resolve => signal?.addEventListener('abort', resolve))
    }),
  })
  return { router, started: started.passed, release: release.open, aborted: aborted.passed }
}

describe.each(linksBothWays)('the time to move, on a clock that stands still, $name', ({ link, dialRaw }) => {
  leavesNothing()
  afterEach(() => {
    vi.useRealTimers()
  })

  it('a shutdown waits for no time where nothing has to move', async () => {
    const { router, started, release } = testRouter()
    const { connection, group } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    const call = client.wait.mutate()
    await started
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const closing = group.close()
    release()
    expect([await call, await closing]).toEqual(['done', { drained: 1, aborted: 0 }])
    vi.useRealTimers()
  })

  it('a client has 2 s to move its subscriptions, and less where the grace is shorter', async () => {
    for (const [graceMs, waitMs] of [
      [30_000, 2_000],
      [500, 500],
    ] as const) {
      const { router } = testRouter()
      const { duplex, group } = await dialRaw(router)
      const { send, until, closed } = peer(duplex)
      send({ id: 1, method: 'subscription', params: { path: 'forever' } })
      await until(2)
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
      const closing = group.close({ graceMs })
      await until(3)
      await vi.advanceTimersByTimeAsync(waitMs - 1)
      expect(group.connections).toBe(1)
      await vi.advanceTimersByTimeAsync(1)
      vi.useRealTimers()
      expect(await closed).toMatchObject({ code: 1001 })
      await closing
    }
  })
})

describe.each(linksBothWays)('shutting down, $name', ({ link, dialRaw }) => {
  leavesNothing()
  beforeEach(quickTime())

  it('a shutdown waits for a call in flight, which gets its response', async () => {
    const { router, started, release } = testRouter()
    const { connection, group } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    const call = client.wait.mutate()
    await started
    const closing = group.close()
    expect(group.state).toBe('draining')
    release()
    expect(await call).toBe('done')
    expect(await closing).toEqual({ drained: 1, aborted: 0 })
    expect({ state: group.state, connections: group.connections, calls: group.calls }).toEqual({
      state: 'closed',
      connections: 0,
      calls: 0,
    })
  })

  it('a shutdown asks the peer to move, rejects later calls with draining, and closes with 1001', async () => {
    const { router, started, release } = testRouter()
    const { duplex, group } = await dialRaw(router)
    const { send, until, closed } = peer(duplex)
    send({ id: 1, method: 'mutation', params: { path: 'wait' } })
    await started
    const closing = group.close()
    expect(await until(1)).toEqual([{ id: null, method: 'reconnect' }])
    send({ id: 2, method: 'query', params: { path: 'ping' } })
    expect((await until(2))[1]).toMatchObject({
      id: 2,
      error: { json: { data: { code: 'SERVICE_UNAVAILABLE', reason: 'draining', mayHaveRun: false } } },
    })
    release()
    expect((await until(3))[2]).toEqual({ id: 1, result: { type: 'data', data: { json: 'done' } } })
    expect(await closed).toMatchObject({ code: 1001, reason: 'draining' })
    await closing
  })

  it('an infinite grace waits for every call; a grace that is no time is rejected', async () => {
    const { router, started, release } = testRouter()
    const { connection, group } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    const response = client.wait.mutate()
    await started
    for (const graceMs of [Number.NaN, -1]) {
      expect(() => group.close({ graceMs })).toThrow(expect.objectContaining({ reason: 'config_invalid' }))
    }
    const closing = group.close({ graceMs: Number.POSITIVE_INFINITY })
    // A timer that overflows is one of 1 ms, and fires before this one.
    await new Promise(resolve => setTimeout(resolve, 1))
    release()
    expect(await response).toBe('done')
    expect(await closing).toEqual({ drained: 1, aborted: 0 })
  })

  it('a second close() gets the same promise', () => {
    const { group } = link(testRouter().router)
    const first = group.close()
    expect(group.close({ graceMs: 0 })).toBe(first)
    return first
  })

  it('after graceMs running calls are aborted, get an error and are counted', async () => {
    const { router, started } = testRouter()
    const { duplex, group } = await dialRaw(router)
    const { send, until, closed } = peer(duplex)
    send({ id: 1, method: 'mutation', params: { path: 'obeys' } })
    await started
    const closing = group.close({ graceMs: 10 })
    expect((await until(2))[1]).toMatchObject({
      id: 1,
      error: { json: { data: { code: 'SERVICE_UNAVAILABLE', mayHaveRun: true } } },
    })
    expect(await closing).toEqual({ drained: 0, aborted: 1 })
    expect(await closed).toMatchObject({ code: 1001 })
    expect(group.calls).toBe(0)
  })

  it('a procedure that ignores its signal cannot hold close() for ever', async () => {
    const { router, started, aborted, release } = testRouter()
    const { duplex, group } = await dialRaw(router)
    peer(duplex).send({ id: 1, method: 'mutation', params: { path: 'wait' } })
    await started
    expect(await group.close({ graceMs: 10 })).toEqual({ drained: 0, aborted: 1 })
    await aborted
    release()
  })

  it('a subscription does not hold close(), is not completed, and its source is cleaned up', async () => {
    const { router } = testRouter()
    const { duplex, group } = await dialRaw(router)
    const { send, until, received, closed } = peer(duplex)
    send({ id: 1, method: 'subscription', params: { path: 'forever' } })
    await until(2)
    expect(await group.close()).toEqual({ drained: 0, aborted: 0 })
    await closed
    expect(received.slice(2)).toEqual([{ id: null, method: 'reconnect' }])
  })

  it('a shutdown also waits for a procedure whose connection was lost', async () => {
    const { router, started, aborted, release } = testRouter()
    const { connection, group, sever, served } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    const lost = client.wait.mutate().catch(() => {})
    await started
    const again = new Promise<void>(resolve => connection.onStateChange(state => state === 'open' && resolve()))
    sever()
    await Promise.all([aborted, lost, again])
    await served[0]?.closed
    expect({ connections: group.connections, calls: group.calls }).toEqual({ connections: 1, calls: 1 })
    let closed = false
    const closing = group.close().then(() => {
      closed = true
    })
    await connection.close()
    await new Promise(resolve => setImmediate(resolve))
    expect(closed).toBe(false)
    release()
    await closing
  })

  it('an idle connection stays open for a while: a call that is under way is rejected, not lost', async () => {
    const { duplex, group } = await dialRaw(testRouter().router)
    const { send, until, closed } = peer(duplex)
    const closing = group.close()
    await until(1)
    send({ id: 1, method: 'mutation', params: { path: 'wait' } })
    expect((await until(2))[1]).toMatchObject({
      id: 1,
      error: { json: { data: { code: 'SERVICE_UNAVAILABLE', reason: 'draining', mayHaveRun: false } } },
      refused: 'draining',
    })
    duplex.close({ code: 1000, message: 'moved' })
    await Promise.all([closing, closed])
  })

  it('a mutation that an idle connection sends while the server begins to drain runs once, elsewhere', async () => {
    let runs = 0
    const router = t.router({ add: t.procedure.mutation(() => ++runs) })
    const { connection, group, replace } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    expect(await client.add.mutate()).toBe(1)
    replace()
    const closing = group.close()
    expect(await client.add.mutate()).toBe(2)
    expect(await closing).toEqual({ drained: 0, aborted: 0 })
    expect(runs).toBe(2)
  })

  it('a connection after close() is rejected and closed', async () => {
    const { router } = testRouter()
    const { group } = link(router)
    await group.close()
    const [serverEnd, clientEnd] = memoryDuplexPair()
    const { closed } = peer(clientEnd)
    expect(() => serveDuplex({ duplex: serverEnd, router, group })).toThrow(
      expect.objectContaining({ code: 'SERVICE_UNAVAILABLE', reason: 'draining' }),
    )
    expect(await closed).toMatchObject({ code: 1001 })
  })
})

describe('shutting down', () => {
  leavesNothing()
  afterEach(() => void vi.useRealTimers())

  /** A connection whose client leaves after a reconnect. */
  async function left(graceMs: number) {
    const group = new ConnectionGroup()
    const [serverEnd, clientEnd] = memoryDuplexPair()
    const patience: (number | undefined)[] = []
    const close = serverEnd.close.bind(serverEnd)
    serverEnd.close = (reason, patienceMs) => {
      patience.push(patienceMs)
      close(reason)
    }
    serveDuplex({ duplex: serverEnd, router: testRouter().router, group })
    const { until } = peer(clientEnd)
    const closing = group.close({ graceMs })
    await until(1)
    clientEnd.close({ code: 1000, message: 'moved' })
    return { closing, patience }
  }

  it('a shutdown takes no time if every client leaves', async () => {
    vi.useFakeTimers()
    const { closing } = await left(60_000)
    expect(await closing).toEqual({ drained: 0, aborted: 0 })
  })

  it('responses that are under way have the rest of the grace', async () => {
    const { closing, patience } = await left(60_000)
    await closing
    expect(patience).toEqual([expect.closeTo(60_000, -4)])
  })
})

/** A connection with one call, which ends when the test says so or when it is aborted. */
function member() {
  const ended = gate()
  const closed = gate<CloseReason>()
  const observed: string[] = []
  const patience: (number | undefined)[] = []
  let activeCalls = 1
  const end = (): void => {
    activeCalls = 0
    ended.open()
  }
  const connection: GroupMember = {
    get activeCalls() {
      return activeCalls
    },
    drain: () => void observed.push('drain'),
    whenIdle: () => ended.passed,
    whenReleased: () => ended.passed,
    abortCalls() {
      observed.push('abort')
      end()
    },
    close(reason, patienceMs) {
      observed.push('close')
      patience.push(patienceMs)
      closed.open(reason)
    },
    terminate(reason) {
      observed.push('terminate')
      closed.open(reason)
    },
    closed: closed.passed,
    observeClose: observer => void closed.passed.then(() => observer.onMemberClosed(connection)),
  }
  return { connection, end, observed, patience }
}

type State = ConnectionGroup['state']

/** The table in ARCHITECTURE.md: state, event, state afterwards. */
function statesInArchitecture(): [State, string, State][] {
  const text = readFileSync(new URL('../../../ARCHITECTURE.md', import.meta.url), 'utf8')
  const section = text.split('\n## ').find(section => section.startsWith('The connection group')) ?? ''
  const rows = [...section.matchAll(/^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|/gm)].slice(2)
  return rows.flatMap(([, states = '', event = '', after = '']) =>
    states.split(', ').map((state): [State, string, State] => [
      state as State, // the test rejects anything else
      event.replaceAll('`', ''),
      (after === 'the same' ? state : after) as State,
    ]),
  )
}

describe('the states of a connection group', () => {
  leavesNothing()
  beforeEach(quickTime())
  async function inState(state: State, graceMs: number) {
    const group = new ConnectionGroup()
    const first = member()
    group.add(first.connection)
    const closing = state === 'open' ? undefined : group.close({ graceMs })
    if (state === 'closed') {
      first.end()
      await closing
    }
    expect(group.state).toBe(state)
    return { group, first, closing }
  }

  it('all states of a connection group are in the table', () => {
    const events = statesInArchitecture().map(([state, event]) => `${state}: ${event}`)
    expect(events.sort()).toEqual([
      'closed: add',
      'closed: close()',
      'draining: add',
      'draining: close()',
      'draining: every call has ended',
      'draining: graceMs have passed',
      'open: add',
      'open: close()',
    ])
  })

  it.each(statesInArchitecture())('%s, %s: %s', async (before, event, after) => {
    const { group, first, closing } = await inState(before, event === 'graceMs have passed' ? 5 : 60_000)
    const { connections } = group
    switch (event) {
      case 'add': {
        const add = () => group.add(member().connection)
        if (before === 'open') add()
        else expect(add).toThrow(expect.objectContaining({ code: 'SERVICE_UNAVAILABLE', reason: 'draining' }))
        expect(group.connections - connections).toBe(before === 'open' ? 1 : 0)
        break
      }
      case 'close()': {
        const promise = group.close({ graceMs: 60_000 })
        if (closing) expect(promise).toBe(closing)
        expect(first.observed).toContain('drain')
        break
      }
      case 'every call has ended':
        expect(first.observed).toEqual(['drain'])
        first.end()
        expect(await closing).toEqual({ drained: 1, aborted: 0 })
        expect(first.observed).toEqual(['drain', 'close'])
        // Responses may be under way until the end of the grace.
        expect(first.patience).toEqual([expect.closeTo(60_000, -4)])
        break
      default:
        expect(await closing).toEqual({ drained: 0, aborted: 1 })
        expect(first.observed.slice(0, 3)).toEqual(['drain', 'abort', 'close'])
    }
    expect(group.state).toBe(after)
    first.end()
    // An open timer of the grace would keep the process alive.
    await group.close({ graceMs: 0 })
  })
})
