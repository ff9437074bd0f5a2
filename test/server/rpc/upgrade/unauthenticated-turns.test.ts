import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { UnauthenticatedTurns } from '../../../../server/rpc/upgrade/unauthenticated-turns.js'

let time = 0

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

describe('turns of unauthenticated peers', () => {
  beforeEach(() => {
    time = 1_000
    vi.spyOn(performance, 'now').mockImplementation(() => time)
  })
  afterEach(() => void vi.restoreAllMocks())

  /** Waits with pieces of work of a time each, and returns the names of those that ran. */
  function waiting(turns: UnauthenticatedTurns, pieces: number, ms: number): string[] {
    const ran: string[] = []
    for (let piece = 0; piece < pieces; piece++) {
      turns.waitToWork(() => {
        time += ms
        ran.push(`work ${piece}`)
      })
    }
    return ran
  }

  it('work takes 1 ms of a turn, in order; one piece may take longer', async () => {
    const turns = new UnauthenticatedTurns()
    const ran = waiting(turns, 5, 0.5)
    expect(ran).toEqual([])
    await turn()
    expect(ran).toEqual(['work 0', 'work 1'])
    await turn()
    await turn()
    expect(ran).toEqual(['work 0', 'work 1', 'work 2', 'work 3', 'work 4'])
    const long = waiting(turns, 2, 3)
    await turn()
    expect(long).toEqual(['work 0'])
    await turn()
  })

  it('work that stops at the end of its time and waits again is behind the others', async () => {
    const turns = new UnauthenticatedTurns()
    const ran: string[] = []
    const piece = (name: string) => (endAt: number) => {
      ran.push(name)
      time = endAt
      if (ran.length < 5) turns.waitToWork(piece(name))
    }
    turns.waitToWork(piece('a'))
    turns.waitToWork(piece('b'))
    for (let count = 0; count < 6; count++) await turn()
    expect(ran).toEqual(['a', 'b', 'a', 'b', 'a', 'b'])
  })

  it('two sockets read in a turn, and none while work waits', async () => {
    const turns = new UnauthenticatedTurns()
    const ran = waiting(turns, 4, 0.6)
    for (let socket = 0; socket < 5; socket++) turns.waitToRead(() => void ran.push(`read ${socket}`))
    await turn()
    expect(ran).toEqual(['work 0', 'work 1'])
    await turn()
    expect(ran).toEqual(['work 0', 'work 1', 'work 2', 'work 3', 'read 0', 'read 1'])
    await turn()
    await turn()
    expect(ran.slice(-3)).toEqual(['read 2', 'read 3', 'read 4'])
  })

  it('while connections arrive, four times as much time as such work took passes before the next', async () => {
    const turns = new UnauthenticatedTurns()
    const ran = waiting(turns, 3, 1)
    const turnWithAccept = async (): Promise<number> => {
      turns.noteAccept()
      await turn()
      return ran.length
    }
    expect(await turnWithAccept()).toBe(1)
    expect(await turnWithAccept()).toBe(1)
    time += 3.9
    expect(await turnWithAccept()).toBe(1)
    time += 0.2
    expect(await turnWithAccept()).toBe(2)
    // Without a new connection nothing has to be let through.
    await turn()
    expect(ran).toHaveLength(3)
  })
})
