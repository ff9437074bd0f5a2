import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createDaemonPresence } from '../../../../server/services/daemon/daemon-presence.js'
import { presence as limits } from '../../../../shared/contract/limits.js'
import { deferred, recordingLogger } from '../running-server.js'

describe('with a fake clock', () => {
  beforeEach(() => void vi.useFakeTimers({ now: new Date('2026-06-01T00:00:00Z') }))
  afterEach(() => void vi.useRealTimers())

  /** A presence whose store takes notes as `take` says. */
  function presenceOf(take: () => Promise<void> = async () => {}) {
    const notes: string[] = []
    const logger = recordingLogger()
    const note = async (kind: string, ids: string[]) => {
      if (ids.length > 0) notes.push(`${kind} ${ids.join(' ')}`)
      await take()
    }
    const presence = createDaemonPresence({
      store: {
        recordDaemonsPresent: daemons =>
          note(
            '+',
            daemons.map(({ daemonInstance }) => daemonInstance),
          ),
        recordDaemonsLeft: ids => note('-', [...ids]),
      },
      logger,
    })
    const connect = (daemonInstance: string) => {
      const connection = new AbortController()
      presence.add({ daemonInstance, daemonKeyId: null }, connection.signal)
      return () => connection.abort()
    }
    return { presence, notes, logger, connect }
  }
  const settle = () => vi.advanceTimersByTimeAsync(0)

  test('daemons that come together are one note, and so are those that go together', async () => {
    const { presence, notes, connect } = presenceOf()
    const closes = ['a', 'b', 'c'].map(connect)
    await settle()
    for (const close of closes.slice(1)) close()
    expect(['a', 'b'].map(presence.isConnected)).toEqual([true, false])
    await settle()
    expect(notes).toEqual(['+ a b c', '- b c'])
    await presence.stop()
    expect(notes.slice(2)).toEqual(['- a'])
  })

  test('a daemon is connected until the last of its connections has closed', async () => {
    const { presence, notes, connect } = presenceOf()
    const [first, second] = [connect('a'), connect('a')]
    await settle()
    first()
    await settle()
    expect([presence.isConnected('a'), notes]).toEqual([true, ['+ a']])
    second()
    await settle()
    expect([presence.isConnected('a'), notes]).toEqual([false, ['+ a', '- a']])
  })

  test('connected daemons are noted again every minute, and nothing runs without one', async () => {
    const { notes, connect } = presenceOf()
    const close = connect('a')
    await vi.advanceTimersByTimeAsync(3 * limits.renewMs)
    expect(notes).toEqual(Array(4).fill('+ a'))
    close()
    await vi.advanceTimersByTimeAsync(limits.renewMs)
    expect([notes.length, vi.getTimerCount()]).toEqual([5, 0])
  })

  test('daemons that come while the store writes share the next note, which tells their newest state', async () => {
    const turn = deferred<void>()
    const { notes, connect } = presenceOf(() => turn.promise)
    connect('a')
    await settle()
    connect('b')
    connect('c')()
    connect('d')
    turn.resolve()
    await settle()
    expect(notes).toEqual(['+ a', '+ b d', '- c'])
  })

  test('a store that fails delays no connection, and the next note is as if it had not failed', async () => {
    let isFailing = true
    const { notes, logger, connect } = presenceOf(async () => {
      if (isFailing) throw new Error('away')
    })
    connect('a')
    await settle()
    expect(logger.lines).toMatchObject([{ level: 'warn', fields: { daemons: 1 } }])
    isFailing = false
    await vi.advanceTimersByTimeAsync(limits.renewMs)
    expect(notes).toEqual(['+ a', '+ a'])
  })

  test('a store that hangs keeps no server from ending', async () => {
    const { presence, connect } = presenceOf(() => new Promise(() => {}))
    connect('a')
    const stopped = presence.stop()
    await vi.advanceTimersByTimeAsync(limits.stopMs)
    await stopped
    expect(vi.getTimerCount()).toBe(0)
  })
})
