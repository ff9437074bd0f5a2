import { getEventListeners } from 'node:events'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { KeyWatch, type KeyWatchOptions } from '../../../server/control-plane/key-watch.js'
import type { CloseReason } from '../../../shared/rpc/duplex.js'
import { recordingLogger } from '../services/running-server.js'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function watch(findInvalid: KeyWatchOptions['findInvalid'] = async () => []) {
  const listeners = new Set<() => void>()
  const logger = recordingLogger()
  const asked: (readonly string[])[] = []
  const keyWatch = new KeyWatch({
    findInvalid: ids => {
      asked.push(ids)
      return findInvalid(ids)
    },
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    logger,
    intervalMs: 30_000,
  })
  const change = async () => {
    for (const listener of listeners) listener()
    await vi.advanceTimersByTimeAsync(0)
  }
  return { keyWatch, listeners, logger, asked, change }
}

function connection() {
  const closed: CloseReason[] = []
  const controller = new AbortController()
  return { closed, controller, signal: controller.signal, close: (reason: CloseReason) => void closed.push(reason) }
}

describe('the watch over daemon keys', () => {
  test('the watch over daemon keys closes every connection of a key that is revoked as soon as it is notified of a change, and no other', async () => {
    const { keyWatch, asked, change } = watch(async ids => ids.filter(id => id === 'a'))
    await change()
    const [first, second, other] = [connection(), connection(), connection()]
    keyWatch.add('a', first)
    keyWatch.add('a', second)
    keyWatch.add('b', other)
    await change()
    expect(asked).toEqual([['a', 'b']])
    for (const { closed } of [first, second]) expect(closed).toMatchObject([{ code: 4001, reason: 'key_revoked' }])
    expect(other.closed).toEqual([])
    await vi.advanceTimersByTimeAsync(29_999)
    expect(asked.length).toBe(1)
    await vi.advanceTimersByTimeAsync(1)
    expect(asked.length).toBe(2)
    keyWatch.stop()
  })

  test('the watch over daemon keys asks for the keys of open connections once in an interval, and closes those of invalid ones', async () => {
    const { keyWatch, asked } = watch(async ids => ids.filter(id => id === 'b'))
    const [kept, expired] = [connection(), connection()]
    keyWatch.add('a', kept)
    keyWatch.add('b', expired)
    await vi.advanceTimersByTimeAsync(29_999)
    expect(asked).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    expect(asked).toEqual([['a', 'b']])
    expect(expired.closed).toMatchObject([{ code: 4001 }])
    expect(kept.closed).toEqual([])
    await vi.advanceTimersByTimeAsync(30_000)
    expect(asked.length).toBe(2)
    keyWatch.stop()
  })

  test('a store that does not answer cuts nobody off, and is asked again', async () => {
    const { keyWatch, asked, logger } = watch(() => Promise.reject(new Error('away')))
    const one = connection()
    keyWatch.add('a', one)
    await vi.advanceTimersByTimeAsync(60_000)
    expect(asked.length).toBe(2)
    expect(one.closed).toEqual([])
    expect(logger.lines).toMatchObject([{ level: 'warn' }, { level: 'warn' }])
    keyWatch.stop()
  })

  test('forgets a connection that has closed, one that had closed before too, and then stops asking', async () => {
    const { keyWatch, asked } = watch()
    const [one, late] = [connection(), connection()]
    keyWatch.add('a', one)
    late.controller.abort()
    keyWatch.add('b', late)
    one.controller.abort()
    await vi.advanceTimersByTimeAsync(90_000)
    expect(asked).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
    expect(getEventListeners(late.signal, 'abort')).toEqual([])
    keyWatch.stop()
  })

  test('stop() leaves no timer and no listener, also while the store is asked', async () => {
    let answer: (ids: string[]) => void = () => {}
    const { keyWatch, listeners } = watch(
      () =>
        new Promise(resolve => {
          answer = resolve
        }),
    )
    keyWatch.add('a', connection())
    await vi.advanceTimersByTimeAsync(30_000)
    keyWatch.stop()
    answer([])
    await vi.advanceTimersByTimeAsync(0)
    expect({ timers: vi.getTimerCount(), listeners: listeners.size }).toEqual({ timers: 0, listeners: 0 })
  })
})
