import type { Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { UnauthenticatedPlaces } from '../../../../server/rpc/upgrade/unauthenticated-places.js'

/** Places, and clients that dial for them. */
function listener(total: number) {
  const places = new UnauthenticatedPlaces(total)
  const held: { socket: Socket; address: string }[] = []
  return {
    held,
    /** Returns whether a client of an address gets a place. */
    dial(address: string): boolean {
      try {
        places.check(address)
      } catch {
        return false
      }
      const socket = {} as Socket // only its identity counts
      places.add(socket, address)
      held.push({ socket, address })
      return true
    },
    /** Ends the oldest connection, as its time is over. */
    endOldest(): void {
      const oldest = held.shift()
      if (!oldest) return
      places.delete(oldest.socket)
      places.delete(oldest.socket)
    },
  }
}

describe('places of unauthenticated clients', () => {
  test('one address gets half of the places, and each further one of those that are left', () => {
    const { dial, held } = listener(1_000)
    for (const address of ['a', 'b', 'c']) while (dial(address));
    const shares = ['a', 'b', 'c'].map(address => held.filter(each => each.address === address).length)
    expect(shares).toEqual([500, 250, 125])
  })

  test('a single place is for anybody', () => {
    const { dial, endOldest } = listener(1)
    expect([dial('a'), dial('b')]).toEqual([true, false])
    endOldest()
    expect(dial('b')).toBe(true)
  })

  test.each([1, 10, 40])('beside %d addresses that dial without end, a further one finds places', addresses => {
    const { dial, held, endOldest } = listener(100)
    const dialAll = () => {
      for (let address = 0; address < addresses; address++) while (dial(String(address)));
    }
    dialAll()
    for (let ended = 0; ended < 300; ended++) {
      endOldest()
      dialAll()
      expect(held.length).toBeLessThanOrEqual(100)
    }
    // Shares are whole places, so each address may hold up to one more than its part.
    const part = 100 / (addresses + 1)
    let found = 0
    while (dial('new')) found++
    expect(found).toBeGreaterThanOrEqual(Math.max(1, Math.floor(part / 2) - 1))
  })

  test('rejections name the numbers', () => {
    const places = new UnauthenticatedPlaces(2)
    places.add({} as Socket, 'a')
    const problem = { code: 'SERVICE_UNAVAILABLE', reason: 'too_many_connections' }
    expect(() => places.check('a')).toThrow(
      expect.objectContaining({
        ...problem,
        message: '1 connections of this address wait for connectionParams, as many as places are free: 1',
      }),
    )
    places.add({} as Socket, 'b')
    expect(() => places.check('c')).toThrow(
      expect.objectContaining({ ...problem, message: '2 connections wait for connectionParams, as many as may' }),
    )
  })
})
