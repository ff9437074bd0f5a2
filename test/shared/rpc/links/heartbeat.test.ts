import type { Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Heartbeat } from '../../../../shared/rpc/links/heartbeat.js'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** A heartbeat with the times of the contract, over a socket whose numbers the test sets. */
function heartbeat() {
  const socket = { bytesRead: 0, bytesWritten: 0, writableLength: 0 }
  const observed: string[] = []
  const start = Date.now()
  const note = (what: string): void => void observed.push(`${what} ${Math.round((Date.now() - start) / 1000)}`)
  const options = {
    intervalMs: 30_000,
    timeoutMs: 10_000,
    isPaused: false,
    ping: () => note('ping'),
    pong: () => note('pong'),
    onSilence: () => note('silence'),
  }
  const beat = new Heartbeat(socket as Socket, options)
  return { socket, observed, beat, options }
}

/** Lets seconds pass, and calls `each` at the start of every one. */
async function pass(seconds: number, each: () => void = () => {}): Promise<void> {
  for (let second = 0; second < seconds; second++) {
    each()
    await vi.advanceTimersByTimeAsync(1_000)
  }
}

describe('a heartbeat', () => {
  test.each([0, 256 * 1024, 16 * 1024 * 1024])(
    'a heartbeat finds a peer that vanishes after %d bytes were sent within interval and timeout',
    async bytes => {
      const { socket, observed, beat } = heartbeat()
      await pass(3)
      socket.bytesRead += 1
      socket.bytesWritten += bytes
      await pass(45)
      expect(observed[0]).toMatch(/^ping (2\d|3[0-3])$/)
      expect(observed[1]).toMatch(/^silence (3\d|4[0-3])$/)
      beat.stop()
    },
  )

  test('a heartbeat sends no ping while bytes arrive, and one ping after each silence', async () => {
    const { socket, observed, beat } = heartbeat()
    await pass(120, () => socket.bytesRead++)
    expect(observed).toEqual([])
    await pass(32)
    expect(observed).toEqual([expect.stringMatching(/^ping /)])
    socket.bytesRead++
    await pass(32)
    expect(observed).toEqual([expect.stringMatching(/^ping /), expect.stringMatching(/^ping /)])
    beat.stop()
  })

  test('a heartbeat sends a sign of life during a long message, often enough for a timeout of 10 s', async () => {
    const { socket, observed, beat } = heartbeat()
    await pass(60, () => {
      socket.bytesRead += 1_000
    })
    expect(observed.length).toBeGreaterThanOrEqual(11)
    expect(new Set(observed.map(line => line.split(' ')[0]))).toEqual(new Set(['pong']))
    beat.stop()
  })

  test('a heartbeat sends no sign of life beside other messages, or while only pongs arrive', async () => {
    const { socket, observed, beat } = heartbeat()
    await pass(60, () => {
      socket.bytesRead += 1_000
      socket.bytesWritten += 100
    })
    await pass(60, () => {
      socket.bytesRead += 6
    })
    expect(observed).toEqual([])
    beat.stop()
  })

  test('a peer is not silent while this end does not read', async () => {
    const { observed, beat, options } = heartbeat()
    options.isPaused = true
    await pass(121)
    // The writes fail if the peer has gone.
    const pings = observed.splice(0)
    expect(pings).toHaveLength(4)
    expect(pings[0]).toMatch(/^ping 3[0-5]$/)
    options.isPaused = false
    await pass(45)
    expect(observed).toEqual([expect.stringMatching(/^ping /), expect.stringMatching(/^silence /)])
    beat.stop()
  })

  test('a stopped heartbeat leaves no timer', async () => {
    const { beat } = heartbeat()
    await pass(35)
    beat.stop()
    expect(vi.getTimerCount()).toBe(0)
  })
})
