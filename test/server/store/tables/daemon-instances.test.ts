import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Store } from '../../../../server/store/store.js'
import { stores } from '../../../fixtures/stores.js'
import { interception, secondsLater, someTime } from '../records/records.js'

const [serverA, serverB] = [randomUUID(), randomUUID()]

describe.each(stores)('the presence of daemons: $name', ({ open }) => {
  let store: Store
  const known: string[] = []
  beforeAll(async () => {
    store = await open()
  })
  afterAll(() => store.close())
  afterEach(async () => {
    for (const daemonInstance of known.splice(0)) {
      const [{ lastSeenAt } = { lastSeenAt: undefined }] = await absent(secondsLater(1e6), daemonInstance)
      if (lastSeenAt) await store.settleDaemon({ daemonInstance, lastSeenAt, at: someTime })
    }
  })

  function newDaemon(daemonKeyId: string | null = null): { daemonInstance: string; daemonKeyId: string | null } {
    const daemonInstance = randomUUID()
    known.push(daemonInstance)
    return { daemonInstance, daemonKeyId }
  }
  type Daemon = ReturnType<typeof newDaemon>

  const carried = ({ daemonInstance, daemonKeyId }: Daemon, startedAt = someTime) =>
    store.record([
      { ...interception({ startedAt }), carrier: { daemonInstance, daemonKeyId: daemonKeyId ?? undefined } },
    ])
  const present = (daemon: Daemon, at: number, server = serverA) =>
    store.recordDaemonsPresent([daemon], { server, at: secondsLater(at) })
  const left = ({ daemonInstance }: Daemon, at: number, server = serverA) =>
    store.recordDaemonsLeft([daemonInstance], { server, at: secondsLater(at) })
  async function absent(notSeenSince: Date, daemonInstance: string, at = secondsLater(1e7)) {
    const all = await store.listAbsentDaemons({ notSeenSince, at, limit: 100 })
    return all.filter(row => row.daemonInstance === daemonInstance)
  }

  test('a daemon is absent since it was last seen, and present again when it is seen again', async () => {
    const daemon = newDaemon()
    const { daemonInstance } = daemon
    await present(daemon, 1)
    expect(await absent(secondsLater(1), daemonInstance)).toEqual([])
    const row = { daemonInstance, lastSeenAt: secondsLater(1), isConnected: true, isDeclaredGone: false }
    expect(await absent(secondsLater(2), daemonInstance)).toEqual([row])
    await left(daemon, 5)
    expect(await absent(secondsLater(5), daemonInstance)).toEqual([])
    expect(await absent(secondsLater(6), daemonInstance)).toMatchObject([
      { lastSeenAt: secondsLater(5), isConnected: false },
    ])
    await present(daemon, 7)
    expect(await absent(secondsLater(6), daemonInstance)).toEqual([])
  })

  test('the end of a connection to one server leaves the connection to another', async () => {
    const daemon = newDaemon()
    await present(daemon, 1, serverA)
    await present(daemon, 2, serverB)
    await left(daemon, 3, serverA)
    expect(await absent(secondsLater(9), daemon.daemonInstance)).toMatchObject([
      { isConnected: true, lastSeenAt: secondsLater(2) },
    ])
  })

  test('a daemon with another key does not speak for a noted daemon', async () => {
    const daemon = newDaemon('one')
    await present(daemon, 1)
    await present({ ...daemon, daemonKeyId: 'two' }, 5)
    await present({ ...daemon, daemonKeyId: null }, 5)
    expect(await absent(secondsLater(9), daemon.daemonInstance)).toMatchObject([{ lastSeenAt: secondsLater(1) }])
    await carried({ ...daemon, daemonKeyId: 'two' })
    const at = secondsLater(9)
    expect(await store.declareDaemonsGone([daemon.daemonInstance], { daemonKeyId: 'two', at })).toEqual([])
  })

  test('daemons of interceptions that no server noted are found, once', async () => {
    const [noted, unnoted] = [newDaemon(), newDaemon('key')]
    await present(noted, 1)
    for (const daemon of [noted, unnoted, unnoted]) await carried(daemon)
    for (const at of [3, 4]) await store.recordUnnotedDaemons(secondsLater(at))
    expect(await absent(secondsLater(9), noted.daemonInstance)).toMatchObject([{ lastSeenAt: secondsLater(1) }])
    expect(await absent(secondsLater(9), unnoted.daemonInstance)).toMatchObject([
      { lastSeenAt: secondsLater(3), isConnected: false },
    ])
  })

  test('a daemon with young interceptions lives, and times beyond the present are no sign of life', async () => {
    const [living, ahead] = [newDaemon(), newDaemon()]
    for (const daemon of [living, ahead]) await present(daemon, 1)
    await carried(living, secondsLater(20))
    await carried(ahead, secondsLater(40))
    const now = secondsLater(30)
    expect(await absent(secondsLater(10), living.daemonInstance, now)).toEqual([])
    expect(await absent(secondsLater(10), ahead.daemonInstance, now)).toHaveLength(1)
    expect(await absent(secondsLater(21), living.daemonInstance, now)).toHaveLength(1)
  })

  test('a daemon that was declared gone is absent at once, until it has a new connection', async () => {
    const daemon = newDaemon('key')
    const { daemonInstance } = daemon
    await carried(daemon)
    await present(daemon, 1)
    const declare = (daemonKeyId: string | null) =>
      store.declareDaemonsGone([daemonInstance, randomUUID()], { daemonKeyId, at: secondsLater(2) })
    for (const other of ['other', null]) expect(await declare(other)).toEqual([])
    expect(await absent(secondsLater(0), daemonInstance)).toEqual([])
    const row = { daemonInstance, lastSeenAt: secondsLater(1), isConnected: true, isDeclaredGone: true }
    for (let turn = 0; turn < 2; turn++) expect(await declare('key')).toEqual([row])
    expect(await absent(secondsLater(0), daemonInstance)).toEqual([row])
    await present(daemon, 3)
    expect(await absent(secondsLater(0), daemonInstance)).toEqual([{ ...row, lastSeenAt: secondsLater(3) }])
    await present(daemon, 4, serverB)
    expect(await absent(secondsLater(0), daemonInstance)).toEqual([])
    await declare('key')
    await left(daemon, 5, serverB)
    expect(await absent(secondsLater(0), daemonInstance)).toMatchObject([{ isConnected: false }])
    await present(daemon, 6, serverB)
    expect(await absent(secondsLater(0), daemonInstance)).toEqual([])
  })

  test('a daemon without an interception is not noted because it was declared gone', async () => {
    const { daemonInstance } = newDaemon()
    const at = secondsLater(2)
    expect(await store.declareDaemonsGone([daemonInstance], { daemonKeyId: null, at })).toEqual([])
    expect(await absent(secondsLater(9), daemonInstance)).toEqual([])
  })

  test('a settled daemon is looked for no more, until it is seen again; a daemon seen meanwhile does not settle', async () => {
    const daemon = newDaemon()
    const { daemonInstance } = daemon
    await carried(daemon)
    await present(daemon, 1)
    const settle = (seen: number) =>
      store.settleDaemon({ daemonInstance, lastSeenAt: secondsLater(seen), at: secondsLater(9) })
    await settle(0)
    expect(await absent(secondsLater(9), daemonInstance)).toHaveLength(1)
    await settle(1)
    expect(await absent(secondsLater(9), daemonInstance)).toEqual([])
    expect(await store.declareDaemonsGone([daemonInstance], { daemonKeyId: null, at: secondsLater(9) })).toEqual([])
    await present(daemon, 10)
    expect(await absent(secondsLater(11), daemonInstance)).toHaveLength(1)
  })

  test('daemons of which nothing is stored are forgotten after they have settled', async () => {
    const [empty, carrier, unsettled] = [newDaemon(), newDaemon(), newDaemon()]
    for (const daemon of [empty, carrier, unsettled]) await present(daemon, 1)
    await carried(carrier)
    for (const { daemonInstance } of [empty, carrier]) {
      await store.settleDaemon({ daemonInstance, lastSeenAt: secondsLater(1), at: secondsLater(2) })
    }
    expect(await store.forgetDaemons({ notSeenSince: secondsLater(1) })).toBe(0)
    expect(await store.forgetDaemons({ notSeenSince: secondsLater(2) })).toBe(1)
    await store.recordUnnotedDaemons(secondsLater(3))
    expect(await absent(secondsLater(9), carrier.daemonInstance)).toEqual([])
  })
})
