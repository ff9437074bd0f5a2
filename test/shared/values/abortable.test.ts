import { getEventListeners } from 'node:events'
import { afterEach, expect, test, vi } from 'vitest'
import { abortable, abortablePause } from '../../../shared/values/abortable.js'

afterEach(() => void vi.useRealTimers())

const reason = new Error('enough')
const never = new Promise<never>(() => {})

function controller() {
  const abort = new AbortController()
  return { abort, listeners: () => getEventListeners(abort.signal, 'abort').length }
}

test('an abortable promise keeps its own outcome while the signal is quiet', async () => {
  const { abort, listeners } = controller()
  expect(await abortable(Promise.resolve(1), abort.signal)).toBe(1)
  await expect(abortable(Promise.reject(new Error('its own')), abort.signal)).rejects.toThrow('its own')
  expect(listeners()).toBe(0)
})

test('an abort rejects with the reason of the signal and leaves no listener', async () => {
  const { abort, listeners } = controller()
  const waiting = abortable(never, abort.signal)
  expect(listeners()).toBe(1)
  abort.abort(reason)
  await expect(waiting).rejects.toBe(reason)
  expect(listeners()).toBe(0)
})

test('a signal that has aborted before rejects even a settled promise', async () => {
  await expect(abortable(Promise.resolve(1), AbortSignal.abort(reason))).rejects.toBe(reason)
})

test('a rejection after the abort is no unhandled one', async () => {
  const late = new Promise((_, reject) => setImmediate(reject, new Error('late')))
  await expect(abortable(late, AbortSignal.abort(reason))).rejects.toBe(reason)
  await new Promise(setImmediate)
})

test('a pause ends after its time and leaves no listener', async () => {
  vi.useFakeTimers()
  const { abort, listeners } = controller()
  const over = vi.fn()
  void abortablePause(1_000, abort.signal).then(over)
  await vi.advanceTimersByTimeAsync(999)
  expect(over).not.toHaveBeenCalled()
  await vi.advanceTimersByTimeAsync(1)
  expect(over).toHaveBeenCalledOnce()
  expect(listeners()).toBe(0)
})

test('a pause ends at once when its signal aborts or has aborted, and leaves no timer', async () => {
  vi.useFakeTimers()
  const { abort } = controller()
  const waiting = abortablePause(1_000, abort.signal)
  abort.abort()
  await waiting
  await abortablePause(1_000, abort.signal)
  expect(vi.getTimerCount()).toBe(0)
})

test('a pause without a signal lasts its time', async () => {
  vi.useFakeTimers()
  const over = vi.fn()
  void abortablePause(1_000, undefined).then(over)
  await vi.advanceTimersByTimeAsync(1_000)
  expect(over).toHaveBeenCalledOnce()
})
