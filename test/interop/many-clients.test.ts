/** 200 stock clients come back within 130 ms (docs/transport.md); the clients of this project spread their dials. */
import { initTRPC } from '@trpc/server'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { connect } from '../../client/rpc/connection.js'
import { serveDuplex } from '../../server/rpc/connection.js'
import { DialError } from '../../shared/rpc/dial-error.js'
import { memoryDuplexPair } from '../../shared/rpc/links/memory-duplex.js'
import { leavesNothing } from '../fixtures/leaves-nothing.js'
import { randomFrom } from '../fixtures/random.js'

const t = initTRPC.context<object>().create()
const router = t.router({ ping: t.procedure.query(() => 'pong') })

describe('200 clients', () => {
  leavesNothing()
  afterEach(() => {
    vi.useRealTimers()
    vi.restoreAllMocks()
  })

  it('clients of a server that was away for 30 s come back over seconds, a few at a time', async () => {
    vi.useFakeTimers()
    vi.spyOn(Math, 'random').mockImplementation(randomFrom())
    let isAway = true
    const cameBack: number[] = []
    const connections = Array.from({ length: 200 }, () =>
      connect({
        dial() {
          if (isAway) throw new DialError('nobody there', { fatal: false })
          cameBack.push(Date.now())
          const [serverEnd, clientEnd] = memoryDuplexPair()
          serveDuplex({ duplex: serverEnd, router })
          return clientEnd
        },
      }),
    )
    await vi.advanceTimersByTimeAsync(30_000)
    isAway = false
    await vi.advanceTimersByTimeAsync(10_000)
    expect(cameBack.length).toBe(200)
    // Evenly over the longest delay of 10 s there are 2.6 in 130 ms.
    const busiest = Math.max(...cameBack.map(at => cameBack.filter(other => other >= at && other < at + 130).length))
    expect(busiest).toBeLessThan(20)
    expect((cameBack.at(-1) ?? 0) - (cameBack[0] ?? 0)).toBeGreaterThan(5_000)
    await Promise.all(connections.map(connection => connection.close()))
  })

  it('clients of a server that cuts all of them at once do not dial in one turn', async () => {
    vi.useFakeTimers()
    vi.spyOn(Math, 'random').mockImplementation(randomFrom())
    const dialled: number[] = []
    const ends: { terminate(reason: { code: number; message: string }): void }[] = []
    const connections = Array.from({ length: 200 }, () =>
      connect({
        dial() {
          dialled.push(Date.now())
          const [serverEnd, clientEnd] = memoryDuplexPair()
          ends.push(serverEnd)
          serveDuplex({ duplex: serverEnd, router })
          return clientEnd
        },
      }),
    )
    await vi.advanceTimersByTimeAsync(20_000)
    for (const end of ends.splice(0)) end.terminate({ code: 1006, message: 'cut by the test' })
    await vi.advanceTimersByTimeAsync(10_000)
    const again = dialled.slice(200)
    expect(again.length).toBe(200)
    const sameMoment = Math.max(...again.map(at => again.filter(other => other === at).length))
    expect(sameMoment).toBeLessThan(20)
    await Promise.all(connections.map(connection => connection.close()))
  })
})
