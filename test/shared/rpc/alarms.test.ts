import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, test, vi } from 'vitest'
import { cancelAlarm, type Sleeper, setAlarm } from '../../../shared/rpc/alarms.js'

function sleeper(onAlarm: () => void): Sleeper {
  return { onAlarm, alarms: undefined, alarmAt: 0, alarmOrder: 0, alarmIndex: 0 }
}

describe('alarms', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
  afterEach(() => void vi.useRealTimers())

  const count = 40
  const which = fc.nat(count - 1)
  const action = fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({ kind: fc.constant('set' as const), which, ms: fc.integer({ min: -2, max: 60 }) }),
    },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('cancel' as const), which }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(25) }) },
  )

  it('alarms come in the order of their times, equal ones in the order of their setting, on one timer', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 120, size: 'max' }), actions => {
        const rung: [number, number][] = []
        const expected: [number, number][] = []
        const start = performance.now()
        const sleepers = Array.from({ length: count }, (_, index) =>
          sleeper(() => rung.push([index, Math.round(performance.now() - start)])),
        )
        /** sleepers and their times, in the order of their setting */
        let waiting: [number, number][] = []
        let passed = 0
        let timers = 0
        const without = (index: number) => waiting.filter(([other]) => other !== index)
        for (const step of actions) {
          const one = step.kind === 'pass' ? undefined : sleepers[step.which]
          if (step.kind === 'pass') {
            vi.advanceTimersByTime(step.ms)
            // A time of the past is this moment, and this moment is over as soon as time passes.
            const due = waiting.filter(([, at]) => at <= passed + step.ms)
            due.sort(([, one], [, other]) => one - other)
            expected.push(...due.map(([index, at]): [number, number] => [index, Math.max(at, passed)]))
            waiting = waiting.filter(entry => !due.includes(entry))
            passed += step.ms
          } else if (one && step.kind === 'set') {
            setAlarm(one, start + passed + step.ms)
            waiting = [...without(step.which), [step.which, passed + step.ms]]
          } else if (one) {
            cancelAlarm(one)
            waiting = without(step.which)
          }
          timers = Math.max(timers, vi.getTimerCount())
        }
        expect(rung).toEqual(expected)
        expect(timers).toBeLessThanOrEqual(1)
        for (const one of sleepers) cancelAlarm(one)
        expect(vi.getTimerCount()).toBe(0)
      }),
      { numRuns: 40 },
    )
  })

  it('a sleeper that throws holds up no other', () => {
    const onAlarm = vi.fn()
    const throws = () => {
      throw new Error('a fault')
    }
    setAlarm(sleeper(throws), performance.now() + 10)
    setAlarm(sleeper(onAlarm), performance.now() + 10)
    expect(() => vi.advanceTimersByTime(10)).toThrow('a fault')
    vi.advanceTimersByTime(1)
    expect(onAlarm).toHaveBeenCalledOnce()
  })

  it('a sleeper whose next alarm is due at once lets time pass', () => {
    let times = 0
    const restless = sleeper(() => {
      times++
      setAlarm(restless, performance.now())
    })
    setAlarm(restless, performance.now())
    vi.advanceTimersByTime(5)
    expect(times).toBeGreaterThan(1)
    expect(times).toBeLessThan(10)
    cancelAlarm(restless)
  })

  it('an alarm that another sleeper takes back at the same moment does not come', () => {
    const cancelled = vi.fn()
    const [one, other] = [sleeper(() => cancelAlarm(other)), sleeper(cancelled)]
    setAlarm(one, performance.now() + 10)
    setAlarm(other, performance.now() + 10)
    vi.advanceTimersByTime(100)
    expect(cancelled).not.toHaveBeenCalled()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('an alarm of one clock does not wait for a timer of another', () => {
    const onAlarm = vi.fn()
    setAlarm(sleeper(onAlarm), performance.now() + 1)
    vi.useRealTimers()
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    setAlarm(sleeper(onAlarm), performance.now() + 100)
    expect(vi.getTimerCount()).toBe(1)
    vi.advanceTimersByTime(100)
    expect(onAlarm).toHaveBeenCalledOnce()
  })
})

describe('alarms of a clock that is gone', () => {
  /** A clock whose timers the test fires. */
  function otherClock() {
    const timer = { unref: vi.fn() }
    const clock = { timer, now: 0, setTimeout: vi.fn((_run: () => void, _ms: number) => timer), clearTimeout: vi.fn() }
    vi.stubGlobal('setTimeout', clock.setTimeout)
    vi.stubGlobal('clearTimeout', clock.clearTimeout)
    vi.stubGlobal('performance', { now: () => clock.now })
    onTestFinished(() => void vi.unstubAllGlobals())
    return clock
  }

  test('alarms come by the times and timers of the clock by which they were set', () => {
    const clock = otherClock()
    const rung: string[] = []
    for (const at of [10, 20.5])
      setAlarm(
        sleeper(() => rung.push(`${at}`)),
        at,
      )
    vi.unstubAllGlobals()
    const fire = () => clock.setTimeout.mock.lastCall?.[0]()
    clock.now = 9.9
    fire()
    expect(rung).toEqual([])
    clock.now = 10
    fire()
    expect(rung).toEqual(['10'])
    clock.now = 20.5
    fire()
    expect(rung).toEqual(['10', '20.5'])
    expect(clock.setTimeout.mock.calls.map(([, ms]) => ms)).toEqual([10, 1, 11])
  })

  test('no timer is longer than the platform allows', () => {
    const clock = otherClock()
    const patient = sleeper(() => {})
    setAlarm(patient, Number.MAX_SAFE_INTEGER)
    expect(clock.setTimeout.mock.lastCall?.[1]).toBe(2 ** 31 - 1)
    cancelAlarm(patient)
  })

  test('the timer keeps no process alive, and ends with the last alarm', () => {
    const { timer, clearTimeout } = otherClock()
    const [one, other] = [sleeper(() => {}), sleeper(() => {})]
    setAlarm(one, 10)
    setAlarm(other, 20)
    vi.unstubAllGlobals()
    expect(timer.unref).toHaveBeenCalledOnce()
    cancelAlarm(one)
    expect(clearTimeout).not.toHaveBeenCalledWith(timer)
    cancelAlarm(other)
    expect(clearTimeout).toHaveBeenCalledWith(timer)
  })
})
