import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type BreakerPass, Breakers, maxFailures, openMs } from '../../../../client/bridge/upstreams/breakers.js'

const place = { provider: 'p', endpoint: 'http://a', model: 'm' }

function breakersOf(options: { max?: number } = {}) {
  const clock = { now: 0 }
  const opened: string[] = []
  const breakers = new Breakers({ now: () => clock.now, onOpened: ({ model }) => opened.push(model), ...options })
  /** Begins a call; undefined if the breaker rejects it. */
  const begin = (model = 'm'): BreakerPass | undefined => {
    const pass = breakers.enter({ ...place, model })
    return 'waitMs' in pass ? undefined : pass
  }
  const fail = (times: number, model = 'm') => {
    for (let time = 0; time < times; time++) begin(model)?.failed()
  }
  const state = () => breakers.states()[0]?.state
  return { clock, opened, breakers, begin, fail, state }
}

/** event → what it does to a call that has begun */
const ends = ['responded', 'succeeded', 'failed', 'lost', 'released'] as const

/**
 * The table of ARCHITECTURE's kind: state, end of a call that began in this state, state afterwards. A closed breaker
 * that has noted nothing is none.
 */
const table: [state: string, end: (typeof ends)[number], after: string | undefined][] = [
  ['4 failures', 'responded', 'closed'],
  ['4 failures', 'succeeded', undefined],
  ['4 failures', 'failed', 'open'],
  ['4 failures', 'lost', 'closed'],
  ['4 failures', 'released', 'closed'],
  ['half-open', 'responded', undefined],
  ['half-open', 'succeeded', undefined],
  ['half-open', 'failed', 'open'],
  ['half-open', 'lost', 'open'],
  ['half-open', 'released', 'half-open'],
]

test.each(table)('a breaker with %s, whose call has %s, is then %s', (state, end, after) => {
  const { clock, begin, fail, state: current } = breakersOf()
  fail(state === 'half-open' ? 5 : 4)
  clock.now += openMs
  begin()?.[end]()
  expect(current()).toBe(after)
})

test('an open breaker rejects calls until its time is over, with the time that is left', () => {
  const { breakers, clock, fail, opened } = breakersOf()
  fail(maxFailures)
  clock.now += 12_000
  expect(breakers.enter(place)).toEqual({ waitMs: 18_000 })
  expect('waitMs' in breakers.enter({ ...place, model: 'other' })).toBe(false)
  expect('waitMs' in breakers.enter({ ...place, endpoint: 'http://b' })).toBe(false)
  expect(opened).toEqual(['m'])
})

test('a half-open breaker lets one call through, and another when that one takes too long', () => {
  const { clock, begin, fail } = breakersOf()
  fail(5)
  clock.now += openMs
  const first = begin()
  expect([first === undefined, begin()]).toEqual([false, undefined])
  clock.now += openMs
  const second = begin()
  expect(second).toBeDefined()
  first?.failed() // is not the trial any more
  second?.succeeded()
  expect(begin()).toBeDefined()
})

test('calls from before a breaker opened neither close nor open it', () => {
  const { clock, begin, fail, state } = breakersOf()
  const [slow, slower, slowest] = [begin(), begin(), begin()]
  fail(5)
  slow?.succeeded()
  expect(state()).toBe('open')
  clock.now += openMs
  expect(begin()).toBeDefined()
  slower?.failed()
  slowest?.succeeded()
  expect(state()).toBe('half-open')
})

test('after any calls a breaker is open exactly if five failures without a success came before it, or a trial failed', () => {
  const event = fc.constantFrom(...ends, 'wait' as const)
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40 }), events => {
      const { clock, begin, state } = breakersOf()
      let [failures, openUntil, isHalfOpen] = [0, Number.NEGATIVE_INFINITY, false]
      for (const end of events) {
        if (end === 'wait') {
          clock.now += openMs / 2
          continue
        }
        const pass = begin()
        const isOpen = clock.now < openUntil
        expect(pass === undefined).toBe(isOpen)
        if (isOpen) continue
        isHalfOpen ||= openUntil > Number.NEGATIVE_INFINITY
        pass?.[end]()
        const works = end === 'succeeded' || (isHalfOpen && end === 'responded')
        const fails = end === 'failed' || (isHalfOpen && end === 'lost')
        if (works) [failures, openUntil, isHalfOpen] = [0, Number.NEGATIVE_INFINITY, false]
        if (fails) failures++
        if (fails && (isHalfOpen || failures >= maxFailures)) {
          ;[failures, openUntil, isHalfOpen] = [0, clock.now + openMs, false]
        }
      }
      const isOpen = clock.now < openUntil
      expect(state() === 'open').toBe(isOpen)
    }),
  )
})

test('endpoints that work leave no breaker, and endpoints that fail a bounded number', () => {
  const { breakers, begin, fail } = breakersOf({ max: 10 })
  for (let model = 0; model < 100; model++) begin(`good ${model}`)?.succeeded()
  expect(breakers.states()).toEqual([])
  fail(5, 'sick')
  for (let model = 0; model < 100; model++) fail(1, `bad ${model}`)
  expect(breakers.states()).toHaveLength(10)
  expect(breakers.states()[0]).toMatchObject({ model: 'sick', state: 'open' })
})

test('a breaker without calls is forgotten after an hour', () => {
  const { breakers, clock, fail } = breakersOf()
  fail(5)
  clock.now += 3_600_001
  expect(breakers.states()).toEqual([])
})
