import { describe, expect, test } from 'vitest'
import { EventStream, type StreamReader } from '../../../../server/acp/streams/event-stream.js'
import { fc } from '../../../fixtures/random.js'

const limits = { maxReplayBytes: 1024 ** 2, maxReplayEvents: 1_000 }

/** A response of which a test takes as much as it wants. */
class Reader implements StreamReader {
  text = ''
  ended: 'no' | 'end' | 'destroy' = 'no'
  #waiting: { text: string; onTaken: () => void } | undefined

  /** @param isSlow whether each write waits for {@link take} */
  constructor(readonly isSlow = false) {}

  write(text: string, onTaken: () => void): void {
    if (this.#waiting) throw new Error('a write before the last one was taken')
    if (this.isSlow) this.#waiting = { text, onTaken }
    else {
      this.text += text
      queueMicrotask(onTaken)
    }
  }

  /** Takes the write that waits. */
  take(): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    this.text += waiting?.text ?? ''
    waiting?.onTaken()
  }

  end(): void {
    this.ended = 'end'
  }

  destroy(): void {
    this.ended = 'destroy'
  }

  /** `[id, data]` of each complete event. */
  get events(): [number, unknown][] {
    return this.text
      .split('\n\n')
      .slice(0, -1)
      .map(frame => {
        const [, id, data] = /^id: (\d+)\ndata: (.*)$/.exec(frame) ?? []
        return [Number(id), JSON.parse(data ?? '')]
      })
  }
}

function makeStream(own = limits) {
  const owner = {
    unread: 0,
    finished: 0,
    onUnread: (change: number) => (owner.unread += change),
    onFinished: () => owner.finished++,
  }
  return { stream: new EventStream(owner, own), owner }
}

const turn = () => new Promise(resolve => setImmediate(resolve))

test('A18: events without a reader wait for one, in order and with ids from 1', async () => {
  const { stream, owner } = makeStream()
  for (const value of ['a', 'b', 'c']) stream.push(JSON.stringify(value))
  expect(owner.unread).toBeGreaterThan(0)
  const reader = new Reader()
  stream.attach(reader)
  await turn()
  expect(reader.events).toEqual([
    [1, 'a'],
    [2, 'b'],
    [3, 'c'],
  ])
  expect({ unread: owner.unread, bytes: stream.unreadBytes }).toEqual({ unread: 0, bytes: 0 })
})

test('A11: a second reader is rejected, and with Last-Event-ID it replaces the first', async () => {
  const { stream } = makeStream()
  const first = new Reader()
  stream.attach(first)
  stream.push('1')
  await turn()
  expect(() => stream.attach(new Reader())).toThrow(expect.objectContaining({ reason: 'stream_taken' }))
  const second = new Reader()
  stream.attach(second, '1')
  expect(first.ended).toBe('destroy')
  stream.push('2')
  await turn()
  expect([first.events, second.events]).toEqual([[[1, 1]], [[2, 2]]])
  // The response of the first one closes later.
  stream.detach(first)
  expect(stream.hasReader).toBe(true)
})

test.each(['0', '1', '2', '3'])('B4: a reader goes on behind event %s', async last => {
  const { stream } = makeStream()
  const first = new Reader()
  stream.attach(first)
  for (const value of [1, 2, 3]) stream.push(String(value))
  await turn()
  stream.detach(first)
  stream.push('4')
  const second = new Reader()
  stream.attach(second, last)
  await turn()
  expect(second.events.map(([id]) => id)).toEqual([1, 2, 3, 4].slice(Number(last)))
})

test.each(['4', '5', '-1', '1.5', '', 'x', '99999999999999999999'])(
  'B4: Last-Event-ID %j of a stream that has sent three events is a gap, and its reader stays',
  async last => {
    const { stream } = makeStream()
    const reader = new Reader()
    stream.attach(reader)
    for (const value of [1, 2, 3]) stream.push(String(value))
    await turn()
    expect(() => stream.attach(new Reader(), last)).toThrow(expect.objectContaining({ reason: 'stream_gap' }))
    expect(stream.hasReader).toBe(true)
  },
)

describe('B4: sent events are kept', () => {
  test('until 1,000 are behind', async () => {
    const { stream } = makeStream()
    const reader = new Reader()
    stream.attach(reader)
    for (let value = 1; value <= 1_500; value++) stream.push(String(value))
    await turn()
    expect(() => stream.attach(new Reader(), '499')).toThrow(expect.objectContaining({ reason: 'stream_gap' }))
    const again = new Reader()
    stream.attach(again, '500')
    await turn()
    expect(again.events.map(([id]) => id)).toEqual(Array.from({ length: 1_000 }, (_, index) => index + 501))
  })

  test('until 1 MiB is behind, and one larger event too', async () => {
    const { stream } = makeStream()
    const reader = new Reader()
    stream.attach(reader)
    const large = JSON.stringify('x'.repeat(2 * 1024 ** 2))
    stream.push('1')
    stream.push(large)
    await turn()
    const again = new Reader()
    stream.attach(again, '1')
    await turn()
    expect(again.events.map(([id]) => id)).toEqual([2])
    expect(() => stream.attach(new Reader(), '0')).toThrow(expect.objectContaining({ reason: 'stream_gap' }))
  })
})

test('events of one turn are one write, and a large queue is several', async () => {
  const { stream } = makeStream()
  const reader = new Reader(true)
  stream.attach(reader)
  for (let value = 0; value < 100; value++) stream.push(JSON.stringify('x'.repeat(1_000)))
  await turn()
  reader.take()
  const first = reader.events.length
  expect(first).toBeGreaterThan(60)
  expect(first).toBeLessThan(70)
  reader.take()
  expect(reader.events).toHaveLength(100)
  expect(stream.unreadBytes).toBe(0)
})

test('B3: a stream ends behind its last event', async () => {
  const { stream, owner } = makeStream()
  const reader = new Reader(true)
  stream.attach(reader)
  stream.push('1')
  await turn()
  stream.push('2')
  stream.finish()
  expect(reader.ended).toBe('no')
  reader.take()
  expect(reader.ended).toBe('no')
  reader.take()
  expect({ events: reader.events, ended: reader.ended }).toEqual({
    events: [
      [1, 1],
      [2, 2],
    ],
    ended: 'end',
  })
  expect({ finished: owner.finished, hasReader: stream.hasReader }).toEqual({ finished: 1, hasReader: false })
})

describe('finish', () => {
  test('a stream without a reader keeps its events for one', async () => {
    const { stream, owner } = makeStream()
    stream.push('1')
    stream.finish()
    await turn()
    expect(owner.finished).toBe(0)
    const reader = new Reader()
    stream.attach(reader)
    await turn()
    await turn()
    expect({ events: reader.events, ended: reader.ended }).toEqual({ events: [[1, 1]], ended: 'end' })
    expect(owner).toMatchObject({ finished: 1, unread: 0 })
  })

  test('a stream that ends goes on behind a cut', async () => {
    const { stream, owner } = makeStream()
    const cut = new Reader(true)
    stream.attach(cut)
    stream.push('1')
    await turn()
    stream.push('2')
    stream.finish()
    stream.detach(cut)
    const reader = new Reader()
    stream.attach(reader, '0')
    await turn()
    await turn()
    expect({ events: reader.events, ended: reader.ended }).toEqual({
      events: [
        [1, 1],
        [2, 2],
      ],
      ended: 'end',
    })
    expect(owner).toMatchObject({ finished: 1, unread: 0 })
  })

  test('a stream without events has ended', () => {
    const { stream, owner } = makeStream()
    stream.finish()
    expect(owner.finished).toBe(1)
  })
})

test('every event arrives once and in order, wherever readers are cut and go on', async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('push' as const), length: fc.nat(3_000) }),
    fc.record({ kind: fc.constant('turn' as const) }),
    // A share of the sent text arrives; then the client comes again with the last event that it has in full.
    fc.record({ kind: fc.constant('cut' as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
    fc.record({ kind: fc.constant('replace' as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.boolean(), async (steps, isSlow) => {
      const { stream, owner } = makeStream({ maxReplayBytes: 1e9, maxReplayEvents: 1e9 })
      const received: [number, unknown][] = []
      let reader = new Reader(isSlow)
      let pushed = 0
      stream.attach(reader)
      const goOn = (share: number, isCut: boolean): void => {
        reader.text = reader.text.slice(0, Math.ceil(reader.text.length * share))
        received.push(...reader.events)
        if (isCut) stream.detach(reader)
        reader = new Reader(isSlow)
        stream.attach(reader, String(received.length))
      }
      for (const one of steps) {
        if (one.kind === 'push') stream.push(JSON.stringify({ n: ++pushed, x: 'x'.repeat(one.length) }))
        else if (one.kind === 'turn') {
          await turn()
          reader.take()
        } else goOn(one.share, one.kind === 'cut')
      }
      for (let left = 0; left < pushed + 2; left++) {
        await turn()
        reader.take()
      }
      received.push(...reader.events)
      expect(received.map(([id, data]) => [id, Reflect.get(Object(data), 'n')])).toEqual(
        Array.from({ length: pushed }, (_, index) => [index + 1, index + 1]),
      )
      expect({ unread: owner.unread, bytes: stream.unreadBytes }).toEqual({ unread: 0, bytes: 0 })
    }),
    { numRuns: 60 },
  )
})
