import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createKeyUse } from '../../../../server/services/daemon/key-use.js'
import { deferred, recordingLogger } from '../running-server.js'

const start = new Date('2026-05-01T12:00:00Z')
const seconds = (count: number) => new Date(start.getTime() + count * 1000)

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'], now: start })
})
afterEach(() => {
  vi.useRealTimers()
})

function keyUse() {
  const recordKeysUsed = vi.fn<(ids: readonly string[], at: Date) => Promise<void>>(async () => {})
  const logger = recordingLogger()
  return { recordKeysUsed, logger, use: createKeyUse({ store: { recordKeysUsed }, logger }) }
}

test('a note returns without a write, and the keys of one second are written together', async () => {
  const { use, recordKeysUsed } = keyUse()
  use.note('a', null)
  vi.advanceTimersByTime(400)
  use.note('b', null)
  use.note('a', null)
  expect(recordKeysUsed).not.toHaveBeenCalled()
  vi.advanceTimersByTime(600)
  expect(recordKeysUsed.mock.calls).toEqual([[['a', 'b'], seconds(1)]])
  await use.stop()
})

test('a key is written once a minute, however often it is used', async () => {
  const { use, recordKeysUsed } = keyUse()
  for (let second = 0; second < 180; second++) {
    use.note('a', null)
    vi.advanceTimersByTime(1_000)
  }
  expect(recordKeysUsed.mock.calls.map(([, at]) => at)).toEqual([seconds(1), seconds(61), seconds(121)])
  await use.stop()
})

test('a key that another server has noted within the minute is not written', async () => {
  const { use, recordKeysUsed } = keyUse()
  use.note('a', seconds(-59))
  use.note('b', seconds(-60))
  await use.stop()
  expect(recordKeysUsed.mock.calls).toEqual([[['b'], start]])
})

test('a write that fails is logged, and the key is written again a minute later', async () => {
  const { use, recordKeysUsed, logger } = keyUse()
  recordKeysUsed.mockRejectedValueOnce(new Error('the database is away'))
  use.note('a', null)
  vi.advanceTimersByTime(60_000)
  use.note('a', null)
  await use.stop()
  expect(recordKeysUsed).toHaveBeenCalledTimes(2)
  expect(logger.lines.map(({ level, message }) => [level, message])).toEqual([
    ['warn', 'the last use of API keys could not be stored'],
  ])
})

test('stopping writes pending notes, waits for the writes, and drops later notes', async () => {
  const { use, recordKeysUsed } = keyUse()
  const first = deferred<void>()
  recordKeysUsed.mockReturnValueOnce(first.promise)
  use.note('a', null)
  vi.advanceTimersByTime(1_000)
  use.note('b', null)
  let stopped = false
  const stop = use.stop().then(() => {
    stopped = true
  })
  use.note('c', null)
  expect(recordKeysUsed.mock.calls.map(([ids]) => ids)).toEqual([['a'], ['b']])
  await Promise.resolve()
  expect(stopped).toBe(false)
  first.resolve()
  await stop
  expect(vi.getTimerCount()).toBe(0)
  expect(recordKeysUsed).toHaveBeenCalledTimes(2)
})
