import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { TurnBudget } from '../../../shared/rpc/turn-budget.js'

let clock = 0
beforeEach(() => {
  clock = 0
  vi.spyOn(performance, 'now').mockImplementation(() => clock)
})
afterEach(() => void vi.restoreAllMocks())

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/** Resolves in the next run, before the event loop has a turn. */
const run = (): Promise<void> =>
  new Promise(resolve => queueMicrotask(() => process.nextTick(() => queueMicrotask(resolve))))

test('the runs of one turn share its time, and the time between them does not count', async () => {
  const budget = new TurnBudget()
  await turn()
  for (const expected of [true, true, false]) {
    expect(budget.pull()).toBe(expected)
    clock += 3
    await run()
    clock += 100
  }
  const gone: string[] = []
  budget.wait('pull', () => gone.push('pull'))
  await run()
  expect(gone).toEqual([])
  await turn()
  expect(gone).toEqual(['pull'])
})

test('the runs between two turns count in the second one', async () => {
  const budget = new TurnBudget()
  await turn()
  const gone: string[] = []
  const wait = (): void => budget.wait('delivery', () => void gone.push('delivery'))
  wait()
  await turn()
  expect(budget.pull()).toBe(true)
  clock += 6
  await run()
  wait()
  // The event loop has had its turn before these 6 ms, and has the next one before anything else goes on.
  await turn()
  expect(gone).toEqual(['delivery'])
  await turn()
  expect(gone).toEqual(['delivery', 'delivery'])
  expect(budget.pull()).toBe(true)
})

test('a clock that is set back gives no time', async () => {
  const budget = new TurnBudget()
  clock = 1_000
  await turn()
  expect(budget.pull()).toBe(true)
  clock = 0
  await run()
  expect(budget.pull()).toBe(true)
  clock += 6
  await run()
  expect(budget.pull()).toBe(false)
})

test('deliveries go first, and one pull goes on in each turn whatever calls take', async () => {
  const budget = new TurnBudget()
  const gone: string[] = []
  const call = (): void => {
    gone.push('call')
    clock += 20
    if (gone.length < 6) budget.wait('call', call)
  }
  budget.wait('call', call)
  budget.wait('pull', () => gone.push('pull'))
  budget.wait('pull', () => gone.push('pull'))
  budget.wait('delivery', () => gone.push('delivery'))
  for (let turns = 0; turns < 4; turns++) await turn()
  expect(gone).toEqual(['delivery', 'call', 'pull', 'call', 'pull', 'call'])
})

test('those that wait again stand behind those that have not gone on', async () => {
  const budget = new TurnBudget()
  const gone: number[] = []
  const slow = (name: number) => (): void => {
    gone.push(name)
    clock += 20
    budget.wait('call', slow(name))
  }
  for (const name of [1, 2, 3]) budget.wait('call', slow(name))
  while (gone.length < 7) await turn()
  expect(gone).toEqual([1, 2, 3, 1, 2, 3, 1])
})
