/** Timers and turns of the event loop where Node's own functions are missing. */
import { expect, onTestFinished, test, vi } from 'vitest'
import { backgroundTimer } from '../../../shared/rpc/background-timer.js'
import { afterTurn } from '../../../shared/rpc/turn.js'

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
