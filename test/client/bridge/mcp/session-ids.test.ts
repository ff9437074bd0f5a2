import fc from 'fast-check'
import { expect, test } from 'vitest'
import { openSessionId, sealSessionId } from '../../../../client/bridge/mcp/session-ids.js'

const place = { secret: Buffer.alloc(32, 1), userId: 'ada', serverId: 'wiki' }

test('a sealed id opens for its user and server only, and is the same each time', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1, maxLength: 300, unit: 'grapheme-ascii' }), id => {
      const sealed = sealSessionId(place, id)
      expect(sealed).toBe(sealSessionId(place, id))
      expect(openSessionId(place, sealed)).toBe(id)
      expect(openSessionId({ ...place, userId: 'bob' }, sealed)).toBeUndefined()
      expect(openSessionId({ ...place, serverId: 'other' }, sealed)).toBeUndefined()
      expect(openSessionId({ ...place, secret: Buffer.alloc(32, 2) }, sealed)).toBeUndefined()
    }),
    { numRuns: 50 },
  )
})

test('a changed id does not open', () => {
  const sealed = sealSessionId(place, 'session')
  for (let index = 0; index < sealed.length; index++) {
    const changed = `${sealed.slice(0, index)}${sealed[index] === 'A' ? 'Q' : 'A'}${sealed.slice(index + 1)}`
    expect({ index, opened: openSessionId(place, changed) }).toEqual({ index, opened: undefined })
  }
  for (const wrong of ['', 'A', sealed.slice(1), `${sealed}AAAA`, 'A'.repeat(10_000), `${sealed}=`, ` ${sealed}`]) {
    expect(openSessionId(place, wrong)).toBeUndefined()
  }
})
