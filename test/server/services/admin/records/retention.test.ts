import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createRetention, type RetentionOptions } from '../../../../../server/services/admin/records/retention.js'
import type { Store } from '../../../../../server/store/store.js'
import { retention as limits } from '../../../../../shared/contract/limits.js'
import { stores } from '../../../../fixtures/stores.js'
import { ended, interception, tokenUsage } from '../../../store/records/records.js'
import { deferred, recordingLogger } from '../../running-server.js'

const dayMs = 86_400_000
const time = new Date('2026-06-01T00:00:00Z')
const daysAgo = (days: number) => new Date(time.getTime() - days * dayMs)

describe('with a fake clock', () => {
  beforeEach(() => void vi.useFakeTimers({ now: time }))
  afterEach(() => void vi.useRealTimers())

  type Step = number | null | Error | Promise<number | null>

  /** A store that answers these, and then that nothing is left. */
  function retention(
    interceptions: Step[],
    {
      conversations = [],
      chats = [],
      feed = [],
      ...options
    }: { conversations?: number[]; chats?: number[]; feed?: Step[] } & Partial<RetentionOptions> = {},
  ) {
    const calls: unknown[] = []
    const next = async (name: string, steps: Step[], query: object) => {
      calls.push({ [name]: query })
      const step = await (steps.shift() ?? 0)
      if (step instanceof Error) throw step
      return step
    }
    const logger = recordingLogger()
    const subject = createRetention({
      store: {
        eraseOldInterceptions: async query => {
          const count = await next('erase', interceptions, query)
          return count === null ? null : { interceptions: count, records: 2 * count }
        },
        eraseOldConversations: async query => (await next('forgetTools', conversations, query)) ?? 0,
        eraseOldChats: async query => (await next('eraseChats', chats, query)) ?? 0,
        trimFeed: query => next('trim', feed, query),
        forgetErasures: async query => void calls.push({ forget: query }),
      },
      logger,
      retentionDays: 30,
      ...options,
    })
    return { retention: subject, calls, logger }
  }
  const erase = {
    erase: { startedBefore: daysAgo(30), unendedBefore: daysAgo(31), limit: limits.batchInterceptions },
  }
  const forgetTools = { forgetTools: { usedBefore: daysAgo(30), limit: limits.batchConversations } }
  const eraseChats = { eraseChats: { updatedBefore: daysAgo(30), limit: limits.batchChats } }
  const trim = { trim: { notedBefore: daysAgo(7), limit: limits.batchFeedRows } }
  const forget = { forget: { begunBefore: daysAgo(365), outboxesSeenBefore: daysAgo(30) } }
  const full = limits.batchInterceptions

  test('the first run comes soon after the start, the next an hour later', async () => {
    const { retention: subject, calls } = retention([])
    subject.start()
    await vi.advanceTimersByTimeAsync(limits.firstRunMs - 1)
    expect(calls).toEqual([])
    vi.setSystemTime(time)
    await vi.advanceTimersByTimeAsync(1)
    expect(calls.length).toBe(5)
    await vi.advanceTimersByTimeAsync(limits.intervalMs - 1)
    expect(calls.length).toBe(5)
    await vi.advanceTimersByTimeAsync(1)
    expect(calls.length).toBe(10)
    await subject.stop()
  })

  test('retention goes on, with pauses, while batches are full', async () => {
    const {
      retention: subject,
      calls,
      logger,
    } = retention([full, full, 3], {
      conversations: [limits.batchConversations, 2],
      feed: [limits.batchFeedRows, 7],
      now: () => time,
    })
    subject.start()
    await vi.advanceTimersByTimeAsync(limits.firstRunMs)
    expect(calls).toEqual([erase])
    await vi.advanceTimersByTimeAsync(limits.pauseMs - 1)
    expect(calls).toEqual([erase])
    await vi.advanceTimersByTimeAsync(1)
    expect(calls).toEqual([erase, erase])
    await vi.advanceTimersByTimeAsync(3 * limits.pauseMs)
    expect(calls).toEqual([erase, erase, erase, forgetTools, forgetTools, eraseChats, trim, trim, forget])
    expect(logger.lines).toMatchObject([
      { level: 'info', fields: { interceptions: 2 * full + 3, records: 4 * full + 6, startedBefore: daysAgo(30) } },
      { level: 'info', fields: { conversations: limits.batchConversations + 2, usedBefore: daysAgo(30) } },
    ])
    await subject.stop()
  })

  test('with 0 days interceptions and conversations are kept for ever; the feed is trimmed all the same', async () => {
    const { retention: subject, calls } = retention([], { retentionDays: 0, now: () => time })
    subject.start()
    await vi.advanceTimersByTimeAsync(limits.firstRunMs)
    expect(calls).toEqual([trim, forget])
    await subject.stop()
  })

  test('retention leaves the work to another process that is at it', async () => {
    const { retention: subject, calls } = retention([full, null], { feed: [null], now: () => time })
    subject.start()
    await vi.advanceTimersByTimeAsync(limits.firstRunMs + limits.pauseMs)
    expect(calls).toEqual([erase, erase, forgetTools, eraseChats, trim, forget])
    await vi.advanceTimersByTimeAsync(limits.intervalMs - limits.pauseMs - 1)
    expect(calls.length).toBe(6)
    await subject.stop()
  })

  test('a failure is logged and tried again a minute later', async () => {
    const { retention: subject, calls, logger } = retention([full, new Error('away'), 1], { now: () => time })
    subject.start()
    await vi.advanceTimersByTimeAsync(limits.firstRunMs + limits.pauseMs)
    expect(calls.length).toBe(2)
    expect(logger.lines).toMatchObject([{ level: 'info' }, { level: 'error', fields: { err: { message: 'away' } } }])
    await vi.advanceTimersByTimeAsync(limits.retryMs)
    expect(calls).toEqual([erase, erase, erase, forgetTools, eraseChats, trim, forget])
    await subject.stop()
  })

  test('stop() leaves no timer: before the first run, in a pause, and between runs', async () => {
    for (const elapsedMs of [0, limits.firstRunMs, limits.firstRunMs + limits.pauseMs]) {
      const { retention: subject, calls } = retention([full, 0])
      subject.start()
      await vi.advanceTimersByTimeAsync(elapsedMs)
      await subject.stop()
      expect(vi.getTimerCount()).toBe(0)
      const before = calls.length
      await vi.advanceTimersByTimeAsync(2 * limits.intervalMs)
      expect(calls.length).toBe(before)
    }
  })

  test('stop() waits for the batch that is under way, and no other follows', async () => {
    const batch = deferred<number | null>()
    const { retention: subject, calls } = retention([batch.promise])
    subject.start()
    await vi.advanceTimersByTimeAsync(limits.firstRunMs)
    let stopped = false
    const stopping = subject.stop().then(() => {
      stopped = true
    })
    await vi.advanceTimersByTimeAsync(0)
    expect(stopped).toBe(false)
    batch.resolve(full)
    await stopping
    expect({ calls: calls.length, timers: vi.getTimerCount() }).toEqual({ calls: 1, timers: 0 })
  })
})

describe.each(stores)('two servers on $name', ({ openTwo }) => {
  let pair: [Store, Store]
  beforeEach(async () => {
    pair = await openTwo()
  })
  afterEach(async () => {
    vi.useRealTimers()
    for (const store of pair) await store.close()
  })

  /** Stores interceptions that have ended, each with one record. */
  async function store(count: number, startedAt: Date): Promise<void> {
    for (let left = count; left > 0; left -= 500) {
      const rows = Array.from({ length: Math.min(left, 500) }, () => interception({ startedAt }))
      const ids = rows.map(({ record }) => record.id)
      await pair[0].record([...rows, ...ids.map(id => tokenUsage(id)), ...ids.map(id => ended(id))])
    }
  }

  /** One run from begin to end. `fake` clock for the start alone: databases need a real one. */
  async function runOf(store: RetentionOptions['store']) {
    const logger = recordingLogger()
    const done = deferred<void>()
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const retention = createRetention({
      store: {
        ...store,
        eraseOldInterceptions: query => store.eraseOldInterceptions(query),
        async trimFeed(query) {
          const trimmed = await store.trimFeed(query)
          if (trimmed !== query.limit) done.resolve()
          return trimmed
        },
        forgetErasures: store.forgetErasures,
      },
      logger,
      retentionDays: 30,
      now: () => time,
      pauseMs: 0,
    })
    retention.start()
    vi.advanceTimersByTime(limits.firstRunMs)
    vi.useRealTimers()
    await done.promise
    await retention.stop()
    expect(logger.lines.filter(({ level }) => level === 'error')).toEqual([])
  }

  test('erase each interception once, and leave what is younger', async () => {
    await store(2_000, daysAgo(31))
    await store(1, daysAgo(29))
    const erased: number[] = []
    const counting = (one: Store): RetentionOptions['store'] => ({
      ...one,
      async eraseOldInterceptions(query) {
        const batch = await one.eraseOldInterceptions({ ...query, limit: query.limit })
        if (batch) erased.push(batch.interceptions)
        return batch
      },
    })
    await Promise.all(pair.map(one => runOf(counting(one))))
    // Both may have left the rest to each other in the same moment.
    await runOf(counting(pair[0]))
    expect(erased.reduce((sum, count) => sum + count, 0)).toBe(2_000)
    expect(await pair[1].listInterceptions({ limit: 5 })).toHaveLength(1)
  })

  test('3,000 old rows delay a record by one batch at most', async () => {
    await store(3_000, daysAgo(31))
    let erased = 0
    let begun = 0
    /** the batches that have ended: which one in the order of their begins */
    const batchesEnded: number[] = []
    const run = runOf({
      ...pair[0],
      async eraseOldInterceptions(query) {
        const batch = ++begun
        const result = await pair[0].eraseOldInterceptions(query)
        batchesEnded.push(batch)
        erased += result?.interceptions ?? 0
        return result
      },
    })
    let running = true
    void run.finally(() => {
      running = false
    })
    let recorded = 0
    while (running) {
      const [begunBefore, endedBefore] = [begun, batchesEnded.length]
      await pair[1].record([interception({ startedAt: time })])
      recorded++
      // Those that both began and ended while the record waited.
      expect(batchesEnded.slice(endedBefore).filter(batch => batch > begunBefore).length).toBeLessThanOrEqual(1)
    }
    await run
    expect(erased).toBe(3_000)
    expect(recorded).toBeGreaterThan(5)
  })
})
