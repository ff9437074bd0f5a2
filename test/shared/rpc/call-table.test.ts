import { describe, expect, it } from 'vitest'
import { CallTable } from '../../../shared/rpc/call-table.js'
import { fc } from '../../fixtures/random.js'

describe('the table of calls', () => {
  const anyId = fc.oneof(
    fc.integer({ min: 0, max: 200 }),
    fc.constantFrom(-1, 0.5, 4096, 8192, 2 ** 31, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER, 1e300),
    fc.constantFrom('0', '1', 'a', ''),
  )
  const step = fc.record({ id: anyId, action: fc.constantFrom('add', 'add', 'delete', 'clear') })

  it('it holds the same calls as a Map, after any additions and deletions', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), steps => {
        const table = new CallTable<{ id: string | number }>()
        const map = new Map<string | number, { id: string | number }>()
        for (const { id, action } of steps) {
          if (action === 'clear' && map.size > 100) {
            table.clear()
            map.clear()
          } else if (action === 'delete') {
            table.delete(id)
            map.delete(id)
          } else if (!map.has(id)) {
            const call = { id }
            table.add(call)
            map.set(id, call)
          }
          expect(table.get(id)).toBe(map.get(id))
          expect(table.size).toBe(map.size)
        }
        expect(new Set(table.values())).toEqual(new Set(map.values()))
        for (const id of map.keys()) expect(table.get(id)).toBe(map.get(id))
      }),
    )
  })

  it('a call that stays is found after thousands of later ones', () => {
    const table = new CallTable<{ id: number }>()
    const stays = { id: 3 }
    table.add(stays)
    for (let id = 4; id < 20_000; id++) {
      table.add({ id })
      table.delete(id)
    }
    expect({ found: table.get(3), size: table.size, all: table.values() }).toEqual({
      found: stays,
      size: 1,
      all: [stays],
    })
  })
})
