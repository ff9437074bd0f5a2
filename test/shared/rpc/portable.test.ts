/** Timers and turns of the event loop where Node's own functions are missing. */
import { expect, onTestFinished, test, vi } from 'vitest'
import { backgroundTimer } from '../../../shared/rpc/background-timer.js'
import { afterRun, afterTurn } from '../../../shared/rpc/turn.js'

test('without setImmediate a turn of the event loop passes before the function runs', async () => {
  vi.stubGlobal('setImmediate', undefined)
  onTestFinished(() => void vi.unstubAllGlobals())
  const order: string[] = []
  await new Promise<void>(resolve => {
    afterTurn(() => {
      order.push('turn')
      resolve()
    })
    queueMicrotask(() => queueMicrotask(() => order.push('microtasks')))
    order.push('now')
  })
  expect(order).toEqual(['now', 'microtasks', 'turn'])
})

test('a function after a run comes behind all microtasks, and before the next callback of the event loop', async () => {
  const order: string[] = []
  await new Promise<void>(resolve => {
    setImmediate(() => {
      afterRun(() => order.push('after the run'))
      queueMicrotask(() => queueMicrotask(() => queueMicrotask(() => order.push('microtasks'))))
    })
    setImmediate(() => {
      order.push('next')
      resolve()
    })
  })
  expect(order).toEqual(['microtasks', 'after the run', 'next'])
})

test('without process a function after a run comes in a microtask', async () => {
  const { process } = globalThis
  Object.defineProperty(globalThis, 'process', { value: undefined, configurable: true, writable: true })
  const ran = new Promise<void>(resolve => afterRun(resolve))
  Object.defineProperty(globalThis, 'process', { value: process, configurable: true, writable: true })
  await ran
})

test('a timer that is a number, as in a browser, runs too', () => {
  const run = vi.fn()
  vi.stubGlobal('setTimeout', (callback: () => void) => {
    callback()
    return 7
  })
  onTestFinished(() => void vi.unstubAllGlobals())
  expect(backgroundTimer(run, 1)).toBe(7)
  expect(run).toHaveBeenCalledOnce()
})
