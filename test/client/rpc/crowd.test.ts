import { afterEach, describe, expect, it, vi } from 'vitest'
import { DialError } from '../../../shared/rpc/dial-error.js'
import { Dialler } from '../../../shared/rpc/dialler.js'
import type { Duplex } from '../../../shared/rpc/duplex.js'
import { memoryDuplexPair } from '../../../shared/rpc/links/memory-duplex.js'
import { randomFrom } from '../../fixtures/random.js'

const clients = 300
const seeds = [1, 2, 3, 4, 5]

/** The dials of 300 clients whose server is away for some time, in milliseconds after its loss. */
interface Crowd {
  dials: number[]
  /** the last client's return, after the server's */
  lastBackMs: number
}

/**
 * Runs the diallers of 300 clients on a clock of their own, until each is connected again. Timers are kept by time: a
 * general fake clock looks through all of them for each that fires.
 */
async function crowd(seed: number, leave: (dialler: Dialler) => void, outageMs: number): Promise<Crowd> {
  const random = randomFrom(seed)
  const dials: number[] = []
  const back: number[] = []
  const timers: { at: number; fire: () => void }[] = []
  let time = 0
  vi.spyOn(performance, 'now').mockImplementation(() => time)
  vi.spyOn(globalThis, 'setTimeout').mockImplementation(((fire: () => void, ms: number) => {
    const at = time + ms
    const index = timers.findIndex(timer => timer.at > at)
    timers.splice(index < 0 ? timers.length : index, 0, { at, fire })
  }) as typeof setTimeout) // the dialler never looks at a handle
  const dial = (): Duplex => {
    dials.push(time)
    if (time < outageMs) throw new DialError('refused', { fatal: false })
    back.push(time - outageMs)
    return memoryDuplexPair()[0]
  }
  const owner = { onDial() {}, onDialled() {}, onDialFailed() {}, onWait() {} }
  for (const dialler of Array.from({ length: clients }, () => new Dialler({ dial, random }, owner))) {
    dialler.lost('cut', true)
    leave(dialler)
  }
  for (let next = timers.shift(); next; next = timers.shift()) {
    time = next.at
    next.fire()
    // A dial's outcome arrives in microtasks.
    for (let turns = 0; turns < 5; turns++) await undefined
  }
  vi.restoreAllMocks()
  expect(back).toHaveLength(clients)
  return { dials, lastBackMs: Math.max(...back) }
}

const within = (dials: readonly number[], ms: number): number => dials.filter(at => at < ms).length
const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN

describe('300 clients of one server', () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  // The figures are of one run; the number of dials in 100 ms is 32 ± 5.
  it.each([
    [1_400, 1_000],
    [4_300, 2_000],
    [10_000, 4_700],
  ])(
    '300 clients of one server are spread, and all back soon, after an outage of %i ms',
    async (outageMs, lastBackMs) => {
      const crowds: Crowd[] = []
      for (const seed of seeds) crowds.push(await crowd(seed, dialler => dialler.redial(), outageMs))
      const first = crowds.map(({ dials }) => within(dials, 100))
      expect(median(first)).toBeLessThanOrEqual(35)
      expect(Math.max(...first)).toBeLessThanOrEqual(50)
      expect(median(crowds.map(run => run.lastBackMs))).toBeLessThanOrEqual(lastBackMs * 1.05)
      // No wait is longer than half of the time since the loss.
      for (const run of crowds) expect(run.lastBackMs).toBeLessThanOrEqual(Math.max(1_000, outageMs / 2))
    },
  )

  it('move within half a second, and not at once', async () => {
    const { dials, lastBackMs } = await crowd(1, dialler => dialler.move(), 0)
    expect(dials).toHaveLength(clients)
    expect(within(dials, 100)).toBeLessThan(85)
    expect(lastBackMs).toBeGreaterThan(450)
    expect(lastBackMs).toBeLessThanOrEqual(500)
  })
})
