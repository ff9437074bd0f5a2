import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { initTRPC, tracked } from '@trpc/server'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createDuplexClient } from '../../../client/rpc/client.js'
import { readerLimits } from '../../../shared/rpc/limits.js'
import { leavesNothing } from '../../fixtures/leaves-nothing.js'
import { clientLinks } from '../../fixtures/links.js'
import { gate } from '../../fixtures/peer.js'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void // the flag's function

const t = initTRPC.context<object>().create()
const text = 'x'.repeat(128 * 1024)

function testRouter() {
  let produced = 0
  const runs: number[] = []
  let stopped = gate()
  const input = z.object({ to: z.number(), size: z.number(), lastEventId: z.string().optional() })
  const router = t.router({
    events: t.procedure.input(input).subscription(async function* ({ input: { to, size, lastEventId } }) {
      const from = Number(lastEventId ?? 0) + 1
      runs.push(from)
      try {
        for (let id = from; id <= to; id++) {
          produced = id
          yield tracked(String(id), { id, text: text.slice(0, size) })
        }
      } finally {
        stopped.open()
        stopped = gate()
      }
    }),
    ticks: t.procedure.subscription(async function* () {
      try {
        for (let id = 1; ; id++) {
          await new Promise(resolve => setImmediate(resolve))
          yield tracked(String(id), id)
        }
      } finally {
        stopped.open()
        stopped = gate()
      }
    }),
    items: t.procedure.input(input).subscription(async function* ({ input: { to, size } }) {
      try {
        for (let id = 1; id <= to; id++) {
          produced = id
          yield { id, text: text.slice(0, size) }
        }
      } finally {
        stopped.open()
      }
    }),
  })
  return { router, runs, produced: () => produced, stopped: () => stopped.passed }
}

describe.each(clientLinks)('for await over a subscription, $name', ({ link }) => {
  leavesNothing()

  function scene() {
    const test = testRouter()
    const { connection } = link(test.router)
    return { ...test, connection, client: createDuplexClient<typeof test.router>({ connection }) }
  }

  it('a slow reader stops a subscription with event ids, which goes on without a gap or a repeat', async () => {
    const { client, runs, produced, stopped } = scene()
    const to = 128
    const pausedOnce = stopped()
    const read: number[] = []
    for await (const { data } of client.events.subscribe({ to, size: text.length })) {
      // The source is stopped while the reader does nothing.
      if (read.length === 0) await pausedOnce
      if (read.length === 0) expect(produced()).toBeLessThan(to)
      read.push(data.id)
    }
    expect(read).toEqual(Array.from({ length: to }, (_, index) => index + 1))
    expect(runs.length).toBeGreaterThan(1)
    const perPause = readerLimits.pauseBytes / text.length
    for (const [index, from] of runs.entries())
      if (index > 0) expect(from).toBeGreaterThan((runs[index - 1] ?? 0) + perPause / 2)
  })

  it('a slow reader of events without ids gets the events that wait, and then an error', async () => {
    const { client, produced, stopped } = scene()
    const to = 256
    const iterator = client.items.subscribe({ to, size: text.length })[Symbol.asyncIterator]()
    const first = await iterator.next()
    expect(first.value).toMatchObject({ id: 1 })
    await stopped()
    expect(produced()).toBeLessThan(to)
    let last = 1
    const error: unknown = await (async () => {
      for (;;) {
        const next = await iterator.next()
        if (next.done) return undefined
        expect(next.value.id).toBe(last + 1)
        last = next.value.id
      }
    })().catch(thrown => thrown)
    expect(last).toBeGreaterThanOrEqual(readerLimits.failBytes / (text.length + 1024) - 1)
    expect(error).toMatchObject({ data: { code: 'CLIENT_CLOSED_REQUEST', reason: 'slow_reader', mayHaveRun: true } })
    expect(await iterator.next()).toEqual({ value: undefined, done: true })
  })

  it('a reader that stays a little behind keeps no item that it has read', async () => {
    const { client } = scene()
    const items: WeakRef<object>[] = []
    const iterator = client.items.subscribe({ to: 6_000, size: 0 })
    while (items.length < 2_000) {
      items.push(new WeakRef((await iterator.next()).value))
      // One in four items: the others wait.
      if (items.length % 4 === 0) await new Promise(resolve => setImmediate(resolve))
    }
    await new Promise(resolve => setImmediate(resolve))
    collect()
    expect(items.slice(0, 1_000).filter(item => item.deref()).length).toBeLessThan(100)
    await iterator.return?.()
  })

  it('a reader that keeps up gets a long burst of small events as they come', async () => {
    const { client, runs } = scene()
    let count = 0
    for await (const { id } of client.items.subscribe({ to: 3_000, size: 0 })) expect(id).toBe(++count)
    expect(count).toBe(3_000)
    for await (const { id } of client.events.subscribe({ to: 1_000, size: 0 })) if (Number(id) === 1_000) count++
    expect([count, runs]).toEqual([3_001, [1]])
  })

  it('an input that cannot be encoded rejects the first next()', async () => {
    const { client } = scene()
    const cyclic: { to: number; size: number; self?: unknown } = { to: 1, size: 0 }
    cyclic.self = cyclic
    const iterator = client.items.subscribe(cyclic)
    await expect(iterator.next()).rejects.toMatchObject({ data: { reason: 'not_encodable', mayHaveRun: false } })
    expect(await iterator.next()).toEqual({ value: undefined, done: true })
  })

  it('break, return(), an abort and a second loop are as with tRPC’s own iterator', async () => {
    const { client, stopped } = scene()
    let over = stopped()
    for await (const { data } of client.ticks.subscribe(undefined)) if (data === 3) break
    await over
    over = stopped()
    const abort = new AbortController()
    const aborted = client.ticks.subscribe(undefined, { signal: abort.signal })
    for await (const { data } of aborted) if (data === 3) abort.abort()
    await over
    expect(await aborted.next()).toEqual({ value: undefined, done: true })
    expect(() => aborted[Symbol.asyncIterator]()).toThrow('can only be iterated once')
    const given = client.ticks.subscribe(undefined)
    const pending = given.next()
    expect(await given.return?.()).toEqual({ value: undefined, done: true })
    expect(await pending).toEqual({ value: undefined, done: true })
  })
})
