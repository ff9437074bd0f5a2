import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Places } from '../../../../client/bridge/upstreams/places.js'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const signal = new AbortController().signal

test('requests wait in the order of their arrival, and get the places that others give back', async () => {
  const places = new Places()
  places.limit(1)
  const first = await places.enter(signal)
  const order: number[] = []
  const others = [1, 2].map(async number => {
    const leave = await places.enter(signal)
    order.push(number)
    leave()
  })
  expect([places.taken, places.waiting]).toEqual([1, 2])
  first()
  first() // counts once
  await Promise.all(others)
  expect([order, places.taken, places.waiting, vi.getTimerCount()]).toEqual([[1, 2], 0, 0, 0])
})

test('a request that got no place within 5 s is rejected with 503, and leaves nothing', async () => {
  const places = new Places()
  places.limit(1)
  await places.enter(signal)
  const second = expect(places.enter(signal)).rejects.toMatchObject({
    status: 503,
    reason: 'provider_busy',
    retryAfterSeconds: 5,
  })
  await vi.advanceTimersByTimeAsync(5_000)
  await second
  expect([places.taken, places.waiting, vi.getTimerCount()]).toEqual([1, 0, 0])
})

test.each(['before', 'during'])('a client that leaves %s its wait gives up its place in the queue', async moment => {
  const places = new Places()
  places.limit(1)
  await places.enter(signal)
  const abort = new AbortController()
  const reason = new Error('left')
  if (moment === 'before') abort.abort(reason)
  const waited = expect(places.enter(abort.signal)).rejects.toBe(reason)
  abort.abort(reason)
  await waited
  expect([places.waiting, vi.getTimerCount()]).toEqual([0, 0])
})

test('a higher limit lets requests in that wait, and a lower one holds when enough have ended', async () => {
  const places = new Places()
  places.limit(1)
  const first = await places.enter(signal)
  const second = places.enter(signal)
  places.limit(2)
  const leave = await second
  places.limit(1)
  const third = places.enter(signal)
  first()
  expect([places.taken, places.waiting]).toEqual([1, 1])
  leave()
  ;(await third)()
  places.limit()
  expect(places.enter(signal)).not.toBeInstanceOf(Promise)
})

test('no more requests than places are under way, and none waits beside a free place, after any events', () => {
  const event = fc.oneof(
    fc.constant('enter' as const),
    fc.nat(10).map(index => ({ leave: index })),
    fc.integer({ min: 1, max: 4 }).map(max => ({ max })),
  )
  return fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 30 }), async events => {
      const places = new Places()
      let max = 3
      places.limit(max)
      const held: (() => void)[] = []
      let lowered = 0
      for (const event of events) {
        if (event === 'enter') void Promise.resolve(places.enter(signal)).then(leave => held.push(leave))
        else if ('leave' in event) held.splice(event.leave % Math.max(1, held.length), 1)[0]?.()
        else {
          max = event.max
          places.limit(max)
          lowered = Math.max(lowered, places.taken - max)
        }
        await Promise.resolve()
        await Promise.resolve()
        if (places.taken <= max) lowered = 0
        expect(places.taken).toBeLessThanOrEqual(max + lowered)
        if (places.waiting > 0) expect(places.taken).toBeGreaterThanOrEqual(max)
      }
      while (held.length > 0) {
        held.shift()?.()
        await Promise.resolve()
        await Promise.resolve()
      }
      expect([places.taken, places.waiting]).toEqual([0, 0])
    }),
    { numRuns: 100 },
  )
})
