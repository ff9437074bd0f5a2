/**
 * Procedures that never return after their calls were settled: a fault of their code, which must stay in its bounds.
 */
import { initTRPC } from '@trpc/server'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createDuplexClient } from '../../../client/rpc/client.js'
import type { ErrorReport } from '../../../server/rpc/responses.js'
import { ConnectionStragglers, Stragglers } from '../../../server/rpc/stragglers.js'
import { leavesNothing } from '../../fixtures/leaves-nothing.js'
import { links } from '../../fixtures/links.js'
import { gate, peer } from '../../fixtures/peer.js'

const t = initTRPC.create()
const maxInFlight = 4

/** Lets every procedure of the running test return. */
let releaseAll = (): void => {}

/** Sources whose return() resolves when the test releases them. */
function stuckRouter() {
  const release = gate()
  releaseAll = release.open
  const [slow, slowStarted] = [gate(), gate()]
  let pulled = 0
  const stuck = () =>
    t.procedure.subscription(() => {
      const iterator: AsyncIterator<string> = {
        next: () => {
          pulled++
          return release.passed.then(() => ({ done: true, value: undefined }))
        },
        return: () => release.passed.then(() => ({ done: true, value: undefined })),
      }
      return { [Symbol.asyncIterator]: () => iterator }
    })
  const router = t.router({
    stuck: stuck(),
    deaf: t.procedure.query(() => release.passed),
    slow: t.procedure.query(async () => {
      slowStarted.open()
      await slow.passed
      return 'slow'
    }),
    hello: t.procedure.query(() => 'hello'),
  })
  return { router, release: release.open, slow: slow.open, slowStarted: slowStarted.passed, pulled: () => pulled }
}

describe.each(links)('procedures that hang, $name', ({ link, dialRaw }) => {
  leavesNothing()
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
  afterEach(() => {
    releaseAll()
    vi.useRealTimers()
  })

  it('a connection half of whose places hang is left for another, and its other calls get their responses', async () => {
    const { router, slow, slowStarted, pulled } = stuckRouter()
    const reports: ErrorReport[] = []
    const { connection, served, group } = link(router, {
      limits: { maxInFlight },
      onError: report => reports.push(report),
    })
    const client = createDuplexClient<typeof router>({ connection })
    const slowCall = client.slow.query(undefined, { context: { timeoutMs: Number.POSITIVE_INFINITY } })
    await slowStarted
    for (let n = 1; n <= 2; n++) {
      const stopped = gate()
      const subscription = client.stuck.subscribe(undefined, { onComplete: stopped.open })
      await vi.waitFor(() => expect(pulled()).toBe(n))
      subscription.unsubscribe()
      await stopped.passed
    }
    expect(await client.hello.query()).toBe('hello')
    await vi.advanceTimersByTimeAsync(29_000)
    expect(served).toHaveLength(1)
    await vi.advanceTimersByTimeAsync(1_500)
    await vi.waitFor(() => expect(served).toHaveLength(2))
    expect(await client.hello.query()).toBe('hello')
    const message = expect.stringMatching(
      /^2 procedures have not returned 30 s after .* maxInFlight 4; the last one is stuck/,
    )
    expect(reports).toMatchObject([{ type: 'unknown', error: { code: 'INTERNAL_SERVER_ERROR', message } }])
    await vi.advanceTimersByTimeAsync(10_000)
    expect(group.connections).toBe(2)
    slow()
    expect(await slowCall).toBe('slow')
    await served[0]?.closed
    expect(group.connections).toBe(1)
  })

  it('a client that does not move is closed with 1001, after its responses', async () => {
    const { router, slow } = stuckRouter()
    const { duplex } = await dialRaw(router, { limits: { maxInFlight } })
    const { send, until, closed, received } = peer(duplex)
    for (const id of [1, 2]) send({ id, method: 'query', params: { path: 'deaf', timeoutMs: 5_000 } })
    send({ id: 3, method: 'query', params: { path: 'slow' } })
    send({ id: 4, method: 'subscription', params: { path: 'stuck' } })
    await until(1) // started
    await vi.advanceTimersByTimeAsync(5_000)
    await until(3)
    await vi.advanceTimersByTimeAsync(30_000)
    expect((await until(4))[3]).toEqual({ id: null, method: 'reconnect' })
    await vi.advanceTimersByTimeAsync(10_000)
    slow()
    expect((await until(5))[4]).toMatchObject({ id: 3, result: { data: 'slow' } })
    await vi.advanceTimersByTimeAsync(2_000)
    expect(await closed).toMatchObject({ code: 1001, message: 'procedures of this connection do not return' })
    expect(received).toHaveLength(5)
  })

  it('a procedure that hangs maxInFlight times is rejected with both numbers; others run, and it too once it returns', async () => {
    const { router, release, pulled } = stuckRouter()
    const { connection, served, group } = link(router, { limits: { maxInFlight } })
    const client = createDuplexClient<typeof router>({ connection })
    for (let n = 1; n <= maxInFlight; n++) {
      const { unsubscribe } = client.stuck.subscribe(undefined, { onData() {} })
      await vi.waitFor(() => expect(pulled()).toBe(n))
      unsubscribe()
      await vi.advanceTimersByTimeAsync(31_000)
      expect(await client.hello.query()).toBe('hello')
    }
    expect(served.length).toBe(3)
    await vi.waitFor(() => expect(group.connections).toBe(1))
    const subscribe = async (): Promise<unknown> => {
      const ended = gate<unknown>()
      client.stuck.subscribe(undefined, { onError: ended.open, onComplete: () => ended.open('complete') })
      return ended.passed
    }
    expect(await subscribe()).toMatchObject({
      message: '4 calls of stuck are over and have not returned; maxInFlight 4 allows no more',
      data: { code: 'TOO_MANY_REQUESTS', reason: 'too_many_calls', mayHaveRun: false },
    })
    release()
    await vi.waitFor(async () => expect(await subscribe()).toBe('complete'))
  })

  it('a shutdown does not wait longer than its grace for what hangs', async () => {
    const { router } = stuckRouter()
    const { duplex, group, served } = await dialRaw(router, { limits: { maxInFlight } })
    const { send, until } = peer(duplex)
    for (const id of [1, 2]) send({ id, method: 'query', params: { path: 'deaf', timeoutMs: 5_000 } })
    send('PING')
    await until(1)
    await vi.advanceTimersByTimeAsync(5_000)
    await until(3)
    await vi.advanceTimersByTimeAsync(33_000)
    await served.closed
    const closing = group.close({ graceMs: 7_000 })
    await vi.advanceTimersByTimeAsync(7_000)
    await vi.waitFor(() => expect(vi.getTimerCount()).toBe(1))
    await vi.advanceTimersByTimeAsync(1_000)
    expect(await closing).toEqual({ drained: 0, aborted: 2 })
  })

  it('a procedure that returns late, before it counts as hanging, is forgotten', async () => {
    const { router, release } = stuckRouter()
    const { duplex, group } = await dialRaw(router, { limits: { maxInFlight } })
    const { send, until, received } = peer(duplex)
    for (const id of [1, 2, 3]) send({ id, method: 'query', params: { path: 'deaf', timeoutMs: 5_000 } })
    send('PING')
    await until(1)
    await vi.advanceTimersByTimeAsync(5_000)
    await until(4)
    await vi.advanceTimersByTimeAsync(29_000)
    release()
    await vi.waitFor(() => expect(group.calls).toBe(0))
    await vi.advanceTimersByTimeAsync(60_000)
    send({ id: 4, method: 'query', params: { path: 'deaf' } })
    expect((await until(5))[4]).toMatchObject({ id: 4, result: { type: 'data' } })
    expect(received).not.toContainEqual({ id: null, method: 'reconnect' })
  })
})

describe('stragglers', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
  afterEach(() => void vi.useRealTimers())

  it('a procedure hangs 30 s after its call, until it returns; no timer is left', () => {
    const all = new Stragglers()
    const onHanging = vi.fn()
    const [late, hanging] = [all.add('a', onHanging), all.add('a', onHanging)]
    vi.advanceTimersByTime(29_000)
    all.delete(late)
    expect(vi.getTimerCount()).toBe(1)
    vi.advanceTimersByTime(1_001)
    expect([late.state, hanging.state, all.hanging('a'), all.hanging('b')]).toEqual(['gone', 'hanging', 1, 0])
    expect(onHanging).toHaveBeenCalledOnce()
    all.delete(hanging)
    expect([hanging.state, all.hanging('a')]).toEqual(['gone', 0])
    all.delete(all.add('a', onHanging))
    expect(vi.getTimerCount()).toBe(0)
    all.add('a', onHanging)
    all.stop()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('a connection counts its own procedures that hang, whatever has returned in time', () => {
    const all = new Stragglers()
    const onTooMany = vi.fn()
    const one = new ConnectionStragglers(all, 4, { moveAway: onTooMany })
    const other = new ConnectionStragglers(all, 4, { moveAway: vi.fn() })
    one.delete(one.add('a'))
    for (const path of ['a', 'b']) other.add(path)
    one.add('a')
    vi.advanceTimersByTime(31_000)
    expect(onTooMany).not.toHaveBeenCalled()
    one.add('b')
    vi.advanceTimersByTime(31_000)
    expect(onTooMany).toHaveBeenCalledOnce()
    expect([all.hanging('a'), all.hanging('b')]).toEqual([2, 2])
    expect(one.rejectionOf('a')).toBeUndefined()
  })
})
