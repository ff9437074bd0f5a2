/** The tables of one connection. */
import { expect, test } from 'vitest'
import { KnownSessions } from '../../../../server/acp/connection/known-sessions.js'
import { PendingRequests } from '../../../../server/acp/connection/pending-requests.js'
import { fc } from '../../../fixtures/random.js'

const request = (id: number | string) => ({ jsonrpc: '2.0', id, method: 'x' }) as const

test('open requests are found by their ids, in which 1 and "1" differ', () => {
  const id = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.constantFrom('-1', '0', '1', '2', ''))
  fc.assert(
    fc.property(fc.array(fc.tuple(id, fc.boolean())), steps => {
      const requests = new PendingRequests(1_000)
      const model = new Set<string>()
      for (const [one, isTake] of steps) {
        const key = JSON.stringify(one)
        if (isTake) expect(requests.take(one)?.id).toBe(model.delete(key) ? one : undefined)
        else if (model.has(key)) expect(() => requests.add(request(one), undefined, undefined)).toThrow()
        else {
          requests.add(request(one), undefined, undefined)
          model.add(key)
        }
        expect(requests.size).toBe(model.size)
      }
    }),
  )
})

test('requests of a session are dropped or rerouted with it', () => {
  const requests = new PendingRequests(10)
  requests.add(request(1), 's', 's')
  requests.add(request(2), 's', undefined)
  requests.add(request(3), 't', 't')
  requests.rerouteOf('s')
  expect([1, 2, 3].map(id => requests.get(id)?.route)).toEqual([undefined, undefined, 't'])
  requests.deleteOf('s')
  expect([1, 2, 3].map(id => requests.get(id)?.id)).toEqual([undefined, undefined, 3])
  expect(requests.clear().map(({ id }) => id)).toEqual([3])
  expect(requests.size).toBe(0)
})

test('the newest sessions are remembered, with the ids of their next events', () => {
  const sessions = new KnownSessions(2)
  sessions.add('a', 7)
  sessions.add('b')
  sessions.add('a')
  sessions.add('c')
  expect(['a', 'b', 'c'].map(id => sessions.has(id))).toEqual([true, false, true])
  expect([sessions.nextIdOf('a'), sessions.nextIdOf('b'), sessions.size]).toEqual([7, 1, 2])
})
