import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ConversationKeys } from '../../../../client/bridge/upstreams/conversations.js'
import { KeyRing } from '../../../../client/bridge/upstreams/key-ring.js'

const keys = ['a', 'b', 'c'].map(id => ({ id, text: `text of ${id}` }))
const none: ReadonlySet<string> = new Set()

/** A ring of three keys, and its clock. */
function ringOf(before?: KeyRing, clock = { now: 0 }) {
  return { clock, ring: new KeyRing(keys, before, () => clock.now) }
}

type Step =
  | { kind: 'cool'; id: string; scope: string; forMs: number }
  | { kind: 'out'; id: string; scope: string | undefined }
  | { kind: 'pass'; ms: number }
  | { kind: 'change' }

const id = fc.constantFrom('a', 'b', 'c')
const scope = fc.constantFrom('opus', 'haiku')
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('cool' as const), id, scope, forMs: fc.integer({ min: 0, max: 50 }) }),
  fc.record({ kind: fc.constant('out' as const), id, scope: fc.option(scope, { nil: undefined }) }),
  fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 30 }) }),
  fc.record({ kind: fc.constant('change' as const) }),
)

test('a ring gives the first key that is neither limited, nor out, nor tried, after any events', () => {
  const wish = fc.record({ scope, preferred: fc.option(id, { nil: undefined }), tried: fc.uniqueArray(id) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), wish, (steps, { tried, ...wish }) => {
      let { clock, ring } = ringOf()
      // The model: every event so far, looked at anew.
      const cooling = new Map<string, number>()
      let out = new Set<string>()
      for (const event of steps) {
        if (event.kind === 'cool') {
          const name = `${event.id} ${event.scope}`
          cooling.set(name, Math.max(cooling.get(name) ?? 0, clock.now + event.forMs))
          ring.cool(event.id, event.scope, event.forMs)
        } else if (event.kind === 'out') {
          out.add(`${event.id} ${event.scope}`)
          ring.takeOut(event.id, event.scope)
        } else if (event.kind === 'pass') clock.now += event.ms
        else {
          ring = ringOf(ring, clock).ring
          out = new Set()
        }
      }
      const isOut = (key: string) => out.has(`${key} undefined`) || out.has(`${key} ${wish.scope}`)
      const restMs = (key: string) => Math.max(0, (cooling.get(`${key} ${wish.scope}`) ?? 0) - clock.now)
      const inOrder = [...(wish.preferred ? [wish.preferred] : []), ...(['a', 'b', 'c'] as const)]
      const best = inOrder.find(key => !isOut(key) && restMs(key) === 0 && !tried.includes(key))
      const rests = ['a', 'b', 'c'].filter(key => !isOut(key)).map(restMs)
      const choice = ring.choose({ ...wish, tried: new Set(tried) })
      if (best !== undefined) expect(choice.key?.id).toBe(best)
      else if (rests.length === 0) expect(choice).toEqual({ key: undefined, reason: 'out' })
      else expect(choice).toEqual({ key: undefined, reason: 'cooling', waitMs: Math.min(...rests) })
    }),
  )
})

test('a rejection is news once for each key, and again if it concerns all models', () => {
  const { ring } = ringOf()
  expect(ring.takeOut('a', 'opus')).toBe(true)
  expect(ring.takeOut('a', 'haiku')).toBe(false)
  expect(ring.takeOut('a')).toBe(true)
  expect(ring.takeOut('a')).toBe(false)
  expect(ring.takeOut('unknown')).toBe(false)
})

test('a limit that a request of the last configuration meets holds in the current one too', () => {
  const { ring: last, clock } = ringOf()
  const { ring } = ringOf(last, clock)
  last.cool('a', 'opus', 10)
  expect(ring.choose({ scope: 'opus', tried: none }).key?.id).toBe('b')
  expect(ring.states()).toEqual([
    { id: 'a', state: 'cooling' },
    { id: 'b', state: 'usable' },
    { id: 'c', state: 'usable' },
  ])
})

test('a key remembers a bounded number of models', () => {
  const { ring } = ringOf()
  for (let model = 0; model <= 256; model++) {
    ring.takeOut('a', `model ${model}`)
    ring.cool('b', `model ${model}`, 1000)
  }
  expect(ring.choose({ scope: 'model 0', tried: none }).key?.id).toBe('a')
  expect(ring.choose({ scope: 'model 256', tried: none }).key?.id).toBe('c')
  ring.takeOut('a')
  expect(ring.choose({ scope: 'model 0', tried: none }).key?.id).toBe('b')
})

test('the conversation that was not used for the longest time is forgotten first', () => {
  const conversations = new ConversationKeys(2)
  conversations.used('one', 'a')
  conversations.used('two', 'b')
  conversations.used('one', 'c')
  conversations.used('three', 'a')
  expect(['one', 'two', 'three'].map(name => conversations.keyOf(name))).toEqual(['c', undefined, 'a'])
  expect(conversations.size).toBe(2)
})
