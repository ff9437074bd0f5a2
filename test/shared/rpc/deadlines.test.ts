import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Deadlines, now } from '../../../shared/rpc/deadlines.js'

describe('deadlines', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  const deadlineIn = (ms: number, fired: number[]) => ({ deadlineAt: now() + ms, onDeadline: () => fired.push(ms) })

  it('deadlines fire in the order of their time, whatever the order of adding, on one timer', () => {
    const deadlines = new Deadlines()
    const fired: number[] = []
    for (const ms of [300, 100, 200]) deadlines.add(deadlineIn(ms, fired))
    expect(vi.getTimerCount()).toBe(1)
    vi.advanceTimersByTime(100)
    expect(fired).toEqual([100])
    vi.advanceTimersByTime(200)
    expect(fired).toEqual([100, 200, 300])
    expect(vi.getTimerCount()).toBe(0)
  })

  it('deadlines of many lists share a timer, and each fires at its time', () => {
    const fired: number[] = []
    const lists = Array.from({ length: 100 }, (_, index) => {
      const list = new Deadlines()
      list.add(deadlineIn(30_000 + index, fired))
      return list
    })
    expect(vi.getTimerCount()).toBe(1)
    for (const list of lists.splice(50)) list.clear()
    vi.advanceTimersByTime(30_010)
    expect(fired).toEqual(Array.from({ length: 11 }, (_, index) => 30_000 + index))
    vi.advanceTimersByTime(60_000)
    expect(fired).toHaveLength(50)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('a deleted deadline does not fire, and the timer ends with the last one', () => {
    const deadlines = new Deadlines()
    const fired: number[] = []
    const deleted = deadlineIn(100, fired)
    deadlines.add(deleted)
    deadlines.delete(deleted)
    vi.advanceTimersByTime(1_000)
    expect(fired).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })

  it('a deadline may be added while another fires', () => {
    const deadlines = new Deadlines()
    const fired: number[] = []
    deadlines.add({ deadlineAt: now() + 10, onDeadline: () => deadlines.add(deadlineIn(20, fired)) })
    vi.advanceTimersByTime(30)
    expect(fired).toEqual([20])
  })

  it('a deadline that is deleted while another fires does not fire', () => {
    for (const end of ['delete', 'clear'] as const) {
      const deadlines = new Deadlines()
      const fired: number[] = []
      const later = deadlineIn(10, fired)
      deadlines.add({ deadlineAt: now() + 10, onDeadline: () => deadlines[end](later) })
      deadlines.add(later)
      vi.advanceTimersByTime(100)
      expect(fired).toEqual([])
      expect(vi.getTimerCount()).toBe(0)
    }
  })

  it('clear() leaves no timer', () => {
    const deadlines = new Deadlines()
    deadlines.add(deadlineIn(100, []))
    deadlines.clear()
    expect(vi.getTimerCount()).toBe(0)
  })
})
