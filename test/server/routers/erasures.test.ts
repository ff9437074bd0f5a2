import { v7 as uuidv7 } from 'uuid'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { BridgeClient } from '../../../client/bridge-client.js'
import type { Erasure } from '../../../shared/contract/erasures.js'
import { erasure as limits } from '../../../shared/contract/limits.js'
import { eventually } from '../../fixtures/eventually.js'
import { stores } from '../../fixtures/stores.js'
import { admin, daemon, deployments, oneStore, rejectionOf, startServer } from '../services/running-server.js'

const at = new Date('2026-05-01T12:00:00.123Z')

/** A daemon that watches for the erasures of an outbox, and confirms as its test says. */
function watchWith({ recorder }: BridgeClient, outboxId: string = uuidv7()) {
  const given: Erasure[] = []
  const subscription = recorder.watchErasures.subscribe(
    { outboxId, isDurable: true },
    { onData: (erasure: Erasure) => void given.push(erasure) },
  )
  onTestFinished(() => subscription.unsubscribe())
  const confirm = (erasures: Erasure[], records = 0) =>
    recorder.confirmErasures.mutate({
      outboxId,
      erasures: erasures.map(({ erasureId }) => ({ erasureId, records })),
    })
  return {
    outboxId,
    given,
    usersGiven: () => given.map(({ userId }) => userId),
    confirm,
    stop: () => subscription.unsubscribe(),
  }
}

/** Makes a user, with an interception that a daemon has recorded. */
async function userOf({ admin: operator }: BridgeClient, { recorder }: BridgeClient) {
  const { id: userId } = await operator.users.create.mutate({ username: `ada-${uuidv7().slice(-8)}` })
  const record = async () => {
    const request = { id: uuidv7(), initiatorId: userId, apiKeyId: 'abcdefghij', provider: 'p', model: 'm' }
    await recorder.recordInterception.mutate({ ...request, startedAt: at })
  }
  await record()
  return { userId, record }
}

const recordedOf = async ({ admin: operator }: BridgeClient, userId: string) =>
  (await operator.interceptions.list.query({ user: userId })).interceptions.length

describe.each(deployments)('$name', deployment => {
  const store = oneStore(deployment)
  async function start() {
    const { connect } = await startServer(store(), {}, deployment)
    return { operator: connect(admin), bridge: connect(daemon), connect }
  }
  const purge = ({ admin: operator }: BridgeClient, user: string) => operator.users.purge.mutate({ user })

  test('a purge reaches a connected daemon, waits for its confirmation and counts what it removed', async () => {
    const { operator, bridge } = await start()
    const watch = watchWith(bridge)
    const { userId } = await userOf(operator, bridge)
    await eventually(async () => expect(await waitedFor(store())).toBe(1))
    const purged = purge(operator, userId)
    await eventually(() => expect(watch.usersGiven()).toEqual([userId]))
    await watch.confirm(watch.given, 3)
    expect((await purged).daemons).toEqual({ reached: 1, records: 3, unreached: [] })
    await bridge.recorder.retireOutbox.mutate(watch)
  })

  test('a daemon that was away is named, gets the erasure when it is back, and then counts as reached', async () => {
    const { operator, bridge } = await start()
    const first = watchWith(bridge)
    const { userId } = await userOf(operator, bridge)
    await eventually(async () => expect(await waitedFor(store())).toBe(1))
    first.stop()
    await eventually(async () => expect(await waitedFor(store())).toBe(0))
    const daemonKeyId = deployment.link === 'WebSocket' ? expect.any(String) : null
    const name = deployment.link === 'WebSocket' ? daemon.name : null
    expect(await purge(operator, userId)).toMatchObject({
      done: true,
      daemons: { reached: 0, unreached: [{ daemonKeyId, name, lastSeenAt: expect.any(Date) }] },
    })
    const again = watchWith(bridge, first.outboxId)
    await eventually(() => expect(again.usersGiven()).toContain(userId))
    await again.confirm(again.given, 2)
    expect((await purge(operator, userId)).daemons).toEqual({ reached: 1, records: 2, unreached: [] })
    await bridge.recorder.retireOutbox.mutate(first)
  })

  test('records that a daemon hands over after the purge are gone when it has confirmed', async () => {
    const { operator, bridge } = await start()
    const { userId, record } = await userOf(operator, bridge)
    expect(await purge(operator, userId)).toMatchObject({ done: true, interceptions: 1 })
    for (let count = 0; count < 3; count++) await record()
    const watch = watchWith(bridge)
    await eventually(() => expect(watch.usersGiven()).toContain(userId))
    expect(await recordedOf(operator, userId)).toBe(3)
    await watch.confirm(watch.given)
    expect(await recordedOf(operator, userId)).toBe(0)
    await bridge.recorder.retireOutbox.mutate(watch)
  })

  test('a daemon that ends with an empty outbox is not named', async () => {
    const { operator, bridge } = await start()
    const watch = watchWith(bridge)
    const { userId } = await userOf(operator, bridge)
    await eventually(async () => expect(await waitedFor(store())).toBe(1))
    await bridge.recorder.retireOutbox.mutate(watch)
    expect((await purge(operator, userId)).daemons).toEqual({ reached: 0, records: 0, unreached: [] })
  })

  test('an outbox that was never watched confirms nothing', async () => {
    const { operator, bridge } = await start()
    const { userId } = await userOf(operator, bridge)
    await purge(operator, userId)
    const erasures = [{ erasureId: (await store().findErasure(userId)) ?? '', records: 0 }]
    const confirmed = bridge.recorder.confirmErasures.mutate({ outboxId: uuidv7(), erasures })
    expect(await rejectionOf(confirmed)).toMatchObject({ code: 'NOT_FOUND', reason: 'unknown_row' })
  })
})

describe.each(stores)('$name', ({ open, openTwo }) => {
  test('a purge on one server reaches a daemon of the other', async () => {
    const [one, two] = await openTwo()
    onTestFinished(async () => void (await Promise.all([...new Set([one, two])].map(store => store.close()))))
    const operator = (await startServer(one)).connect(admin)
    const bridge = (await startServer(two)).connect(daemon)
    const watch = watchWith(bridge)
    const { userId } = await userOf(operator, bridge)
    await eventually(async () => expect(await waitedFor(one)).toBe(1))
    const purged = operator.admin.users.purge.mutate({ user: userId })
    await eventually(() => expect(watch.usersGiven()).toEqual([userId]))
    await watch.confirm(watch.given, 1)
    expect((await purged).daemons).toEqual({ reached: 1, records: 1, unreached: [] })
  })

  test('an outbox is given a bounded number of erasures at once, and more when it has confirmed some', async () => {
    const store = await open()
    onTestFinished(() => store.close())
    const bridge = (await startServer(store)).connect(daemon)
    const max = limits.maxUnconfirmed
    const users = Array.from({ length: max + 3 }, () => uuidv7())
    for (const userId of users.slice(0, -1)) await store.beginErasure({ erasureId: uuidv7(), userId, at: new Date() })
    const watch = watchWith(bridge)
    await eventually(() => expect(watch.given).toHaveLength(max))
    await store.beginErasure({ erasureId: uuidv7(), userId: users.at(-1) ?? '', at: new Date() })
    expect(watch.given).toHaveLength(max)
    await watch.confirm(watch.given.slice(0, 2))
    await eventually(() => expect(watch.given).toHaveLength(max + 2))
    await watch.confirm(watch.given.slice(2, max))
    await eventually(() => expect(new Set(watch.usersGiven())).toEqual(new Set(users)))
    expect(watch.given).toHaveLength(users.length)
  })
})

/** The number of outboxes that a purge would wait for now. */
async function waitedFor(store: Parameters<typeof startServer>[0]): Promise<number> {
  const horizon = { seenSince: new Date(), memorySeenSince: new Date(), connectedSince: new Date(0) }
  const ever = new Date(0)
  const state = await store.readErasure(uuidv7(), { ...horizon, seenSince: ever, memorySeenSince: ever })
  return state.unreached.filter(({ isConnected }) => isConnected).length
}
