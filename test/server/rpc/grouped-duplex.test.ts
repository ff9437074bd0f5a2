/** A group's close() with duplexes over which this process calls, in every state of theirs. */
import { initTRPC } from '@trpc/server'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { createDuplexClient } from '../../../client/rpc/client.js'
import { connect } from '../../../client/rpc/connection.js'
import { ConnectionGroup } from '../../../server/rpc/connection-group.js'
import { groupDuplex } from '../../../server/rpc/grouped-duplex.js'
import { memoryDuplexPair } from '../../../shared/rpc/links/memory-duplex.js'
import { ParkedDial } from '../../../shared/rpc/links/parked-dial.js'
import { leavesNothing, opened } from '../../fixtures/leaves-nothing.js'
import { reversedLinks } from '../../fixtures/links.js'
import { gate, peer } from '../../fixtures/peer.js'
import { quickTime } from '../../fixtures/quick-time.js'

const t = initTRPC.context<object>().create()

function testRouter() {
  const started = gate()
  const release = gate()
  const aborted = gate<unknown>()
  const router = t.router({
    ping: t.procedure.query(() => 'pong'),
    wait: t.procedure.mutation(async ({ signal }) => {
      signal?.addEventListener('abort', () => aborted.open(signal.reason))
      started.open()
      await Promise.race([release.passed, aborted.passed])
      return 'done'
    }),
    forever: t.procedure.subscription(async function* ({ signal }) {
      yield 1
      await new Promise(resolve => signal?.addEventListener('abort', resolve))
    }),
  })
  return { router, started: started.passed, release: () => release.open(), aborted: aborted.passed }
}

describe.each(reversedLinks)('the caller drains, $name', ({ link }) => {
  leavesNothing()

  function reversed() {
    const test = testRouter()
    const linked = link(test.router, { client: { random: () => 0 } })
    const { callers } = linked
    if (!callers) throw new Error('the link is not reversed')
    const client = createDuplexClient<typeof test.router>({ connection: linked.connection })
    return { ...test, ...linked, callers, client }
  }

  const draining = { data: { code: 'SERVICE_UNAVAILABLE', reason: 'draining', mayHaveRun: false } }

  it('an unused connection closes with 1001 at once, and is not dialled again', async () => {
    const { client, callers, served, connection } = reversed()
    await client.ping.query()
    expect(callers.connections).toBe(1)
    expect(await callers.close()).toEqual({ drained: 0, aborted: 0 })
    expect(await served[0]?.closed).toMatchObject({ code: 1001 })
    expect(await connection.closed).toMatchObject({ reason: 'draining' })
    expect(served).toHaveLength(1)
    await expect(client.ping.query()).rejects.toMatchObject(draining)
  })

  it('a call in flight is counted and gets its response, and no further call starts', async () => {
    const { client, callers, served, started, release } = reversed()
    const response = client.wait.mutate()
    await started
    expect(callers.calls).toBe(1)
    const closing = callers.close()
    await expect(client.ping.query()).rejects.toMatchObject(draining)
    release()
    expect([await response, await closing]).toEqual(['done', { drained: 1, aborted: 0 }])
    expect(await served[0]?.closed).toMatchObject({ code: 1001 })
    expect(callers.calls).toBe(0)
  })

  it('a call that its caller cancels meanwhile is waited for no longer', async () => {
    const { client, callers, started, aborted } = reversed()
    const abort = new AbortController()
    const cancelled = expect(client.wait.mutate(undefined, { signal: abort.signal })).rejects.toMatchObject({
      data: { code: 'CLIENT_CLOSED_REQUEST' },
    })
    await started
    const closing = callers.close({ graceMs: Number.POSITIVE_INFINITY })
    abort.abort()
    await cancelled
    expect(await closing).toMatchObject({ aborted: 0 })
    await aborted
  })

  it('after graceMs a call in flight is cut off, aborted at the far side and counted', async () => {
    const { client, callers, started, aborted } = reversed()
    const lost = expect(client.wait.mutate()).rejects.toMatchObject({
      data: { code: 'SERVICE_UNAVAILABLE', reason: 'connection_lost', mayHaveRun: true },
    })
    await started
    expect(await callers.close({ graceMs: 20 })).toEqual({ drained: 0, aborted: 1 })
    await lost
    expect(await aborted).toMatchObject({ reason: 'connection_lost' })
  })

  it('a subscription fails with draining, and delays nothing', async () => {
    const { client, callers } = reversed()
    const [first, failed] = [gate(), gate<unknown>()]
    client.forever.subscribe(undefined, { onData: () => first.open(), onError: failed.open })
    await first.passed
    expect(await callers.close({ graceMs: Number.POSITIVE_INFINITY })).toEqual({ drained: 0, aborted: 0 })
    expect(await failed.passed).toMatchObject({ data: { reason: 'draining' } })
  })
})

describe('the caller drains', () => {
  leavesNothing()
  const passQuickly = quickTime()

  it('a call that waits for a duplex fails with draining', async () => {
    const group = new ConnectionGroup()
    const connection = connect({ dial: new ParkedDial({ group }).dial })
    const client = createDuplexClient<ReturnType<typeof testRouter>['router']>({ connection })
    const failed = expect(client.ping.query()).rejects.toMatchObject({ data: { reason: 'draining' } })
    await group.close()
    await failed
  })

  it('a duplex without a receiver closes with 1001 at once', async () => {
    const group = new ConnectionGroup()
    const [near, far] = memoryDuplexPair()
    groupDuplex(near, group)
    const { closed } = peer(far)
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const closing = group.close()
    expect(await closed).toMatchObject({ code: 1001, reason: 'draining' })
    await closing
  })

  it('the far side is asked to move before its connection is closed', async () => {
    const group = new ConnectionGroup()
    const [near, far] = memoryDuplexPair()
    const { closed: left } = peer(groupDuplex(near, group))
    const { closed, received } = peer(far)
    passQuickly()
    await group.close()
    expect([await closed, await left]).toMatchObject([{ code: 1001 }, { code: 1001 }])
    expect(received).toEqual([{ id: null, method: 'reconnect' }])
  })

  it('a duplex of a closing group is closed with 1001, and rejected', async () => {
    const group = new ConnectionGroup()
    await group.close()
    const [near, far] = memoryDuplexPair()
    expect(() => groupDuplex(near, group)).toThrow(expect.objectContaining({ reason: 'draining' }))
    expect(await peer(far).closed).toMatchObject({ code: 1001 })
  })

  it('a call that its caller cancels is waited for no longer, while a subscription goes on', async () => {
    const group = new ConnectionGroup()
    const [near, far] = memoryDuplexPair()
    const parked = new ParkedDial()
    parked.bring(groupDuplex(near, group))
    const connection = connect({ dial: parked.dial })
    opened.add({ groups: [group], close: () => connection.close() })
    const { until } = peer(far)
    const client = createDuplexClient<ReturnType<typeof testRouter>['router']>({ connection })
    client.forever.subscribe(undefined, { onError: () => {} })
    const abort = new AbortController()
    const cancelled = expect(client.wait.mutate(undefined, { signal: abort.signal })).rejects.toMatchObject({
      data: { code: 'CLIENT_CLOSED_REQUEST' },
    })
    await until(2)
    passQuickly()
    const closing = group.close({ graceMs: Number.POSITIVE_INFINITY })
    await until(3)
    abort.abort()
    await cancelled
    expect(await closing).toMatchObject({ aborted: 0 })
  })

  it('a response at the end of a batch that takes many turns ends the wait, while a subscription goes on', async () => {
    const group = new ConnectionGroup()
    const [near, far] = memoryDuplexPair()
    const parked = new ParkedDial()
    parked.bring(groupDuplex(near, group))
    const connection = connect({ dial: parked.dial })
    opened.add({ groups: [group], close: () => connection.close() })
    const { send, until } = peer(far)
    const client = createDuplexClient<ReturnType<typeof testRouter>['router']>({ connection })
    let events = 0
    client.forever.subscribe(undefined, {
      onData() {
        events++
        for (const end = performance.now() + 0.05; performance.now() < end; );
      },
      onError: () => {},
    })
    const response = client.wait.mutate()
    const [subscription, mutation] = (await until(2)) as { id: number }[] // the two calls above
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const closing = group.close({ graceMs: Number.POSITIVE_INFINITY })
    // The subscription may move for 2 s, and has nowhere to go.
    await vi.advanceTimersByTimeAsync(2_000)
    const item = { id: subscription?.id, result: { data: 1 } }
    send([...new Array(1_000).fill(item), { id: mutation?.id, result: { data: 'done' } }])
    expect([await response, await closing]).toEqual(['done', { drained: 1, aborted: 0 }])
    expect(events).toBe(1_000)
  })
})
