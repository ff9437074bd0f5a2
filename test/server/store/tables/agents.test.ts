import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Store } from '../../../../server/store/store.js'
import { stores } from '../../../fixtures/stores.js'
import { secondsLater } from '../records/records.js'

describe.each(stores)('agents in the store: $name', ({ open }) => {
  let store: Store
  const userId = randomUUID()
  beforeAll(async () => {
    store = await open()
    await store.createUser({ id: userId, username: `owner-${userId}` })
  })
  afterAll(() => store.close())

  type NewAgent = Parameters<Store['createAgent']>[0]
  const fieldsOf = (fields: Partial<NewAgent> = {}): NewAgent => ({
    id: randomUUID(),
    keyId: randomBytes(5).toString('hex'),
    secretHash: randomBytes(32),
    name: `agent-${randomUUID().slice(0, 8)}`,
    userId,
    expiresAt: null,
    ...fields,
  })
  const newAgent = async (fields: Partial<NewAgent> = {}) => {
    const agent = await store.createAgent(fieldsOf(fields))
    if (!agent) throw new Error('the name or id is taken')
    return agent
  }
  const connected = (replica: string, instance: string, at = secondsLater(1)) => ({
    replica,
    instance,
    buildVersion: '1.0',
    at,
    livesSince: secondsLater(0),
  })

  test('a new agent is found by id, by name and by key, with its owner and the hash of its secret', async () => {
    const fields = fieldsOf({ expiresAt: secondsLater(9) })
    const agent = await store.createAgent(fields)
    expect(agent).toEqual({
      id: fields.id,
      keyId: fields.keyId,
      name: fields.name,
      userId,
      username: `owner-${userId}`,
      createdAt: expect.any(Date),
      expiresAt: secondsLater(9),
      revokedAt: null,
      lastSeenAt: null,
      instance: null,
      buildVersion: null,
      replica: null,
    })
    expect(await store.findAgent(fields.id)).toEqual(agent)
    expect(await store.findAgent(fields.name)).toEqual(agent)
    const found = await store.findAgentByKey(fields.keyId)
    expect(found).toMatchObject({ agent, owner: { id: userId, status: 'active' } })
    expect(Buffer.from(found?.secretHash ?? [])).toEqual(fields.secretHash)
  })

  test('an agent whose name or key is taken is null; the name of a revoked one is free', async () => {
    const { id, name, keyId } = await newAgent()
    expect(await store.createAgent(fieldsOf({ name }))).toBeNull()
    expect(await store.createAgent(fieldsOf({ keyId }))).toBeNull()
    await store.revokeAgent(id, secondsLater(0))
    expect(await store.findAgent(name)).toBeNull()
    const next = await newAgent({ name })
    expect(await store.findAgent(name)).toEqual(next)
    expect(await store.findAgent(id)).toMatchObject({ id, revokedAt: secondsLater(0) })
  })

  test('an unknown agent is null everywhere', async () => {
    const id = randomUUID()
    expect(await store.findAgent(id)).toBeNull()
    expect(await store.findAgentByKey('unknown000')).toBeNull()
    expect(await store.revokeAgent(id, secondsLater(0))).toBeNull()
    expect(await store.recordAgentConnected(id, connected(randomUUID(), randomUUID()))).toBeNull()
    expect(await store.readAgentLinks([id], secondsLater(0))).toEqual([])
  })

  test('an agent is revoked once: the first time wins', async () => {
    const { id } = await newAgent()
    expect(await store.revokeAgent(id, secondsLater(3))).toMatchObject({ revokedAt: secondsLater(3) })
    expect(await store.revokeAgent(id, secondsLater(5))).toMatchObject({ revokedAt: secondsLater(3) })
  })

  test('the list has every agent, newest first', async () => {
    const agents = await Promise.all(Array.from({ length: 5 }, () => newAgent()))
    const ids = new Set(agents.map(({ id }) => id))
    expect((await store.listAgents()).filter(({ id }) => ids.has(id))).toEqual(
      agents.toSorted((a, b) => b.createdAt.getTime() - a.createdAt.getTime() || (a.id < b.id ? -1 : 1)),
    )
  })

  test('each connection of an agent has a higher number, and names the instance that was connected', async () => {
    const { id } = await newAgent()
    const [one, two, replica] = [randomUUID(), randomUUID(), randomUUID()]
    expect(await store.recordAgentConnected(id, connected(replica, one))).toEqual({ epoch: 1, replaced: null })
    expect(await store.recordAgentConnected(id, connected(replica, one))).toEqual({ epoch: 2, replaced: one })
    expect(await store.recordAgentConnected(id, connected(randomUUID(), two))).toEqual({ epoch: 3, replaced: one })
    const later = { ...connected(replica, one), livesSince: secondsLater(2) }
    expect(await store.recordAgentConnected(id, later), 'its server was killed').toEqual({ epoch: 4, replaced: null })
    expect(await store.findAgent(id)).toMatchObject({ instance: one, buildVersion: '1.0', lastSeenAt: secondsLater(1) })
  })

  test('a server that lost an agent to a newer connection changes nothing', async () => {
    const { id } = await newAgent()
    const replica = randomUUID()
    await store.recordAgentConnected(id, connected(randomUUID(), randomUUID()))
    await store.recordAgentConnected(id, connected(replica, randomUUID()))
    await store.recordAgentLeft({ id, epoch: 1 }, secondsLater(5))
    await store.recordAgentsPresent([{ id, epoch: 1 }], secondsLater(5))
    expect(await store.findAgent(id)).toMatchObject({ replica, lastSeenAt: secondsLater(1) })
    await store.recordAgentsPresent([{ id, epoch: 2 }], secondsLater(6))
    expect(await store.findAgent(id)).toMatchObject({ replica, lastSeenAt: secondsLater(6) })
    await store.recordAgentLeft({ id, epoch: 2 }, secondsLater(7))
    expect(await store.findAgent(id)).toMatchObject({ replica: null, lastSeenAt: secondsLater(7) })
    const again = await store.recordAgentConnected(id, connected(replica, randomUUID()))
    expect(again).toEqual({ epoch: 3, replaced: null })
  })

  test('an agent is valid until it is revoked or expired, or its owner is suspended or deleted', async () => {
    const at = secondsLater(100)
    const owner = async () => {
      const id = randomUUID()
      await store.createUser({ id, username: `user-${id}` })
      return id
    }
    const [suspended, deleted] = [await owner(), await owner()]
    await store.setUserStatus(suspended, 'suspended')
    await store.deleteUser(deleted)
    const agents = {
      valid: await newAgent({ expiresAt: new Date(at.getTime() + 1) }),
      expired: await newAgent({ expiresAt: at }),
      revoked: await newAgent(),
      ofSuspended: await newAgent({ userId: suspended }),
      ofDeleted: await newAgent({ userId: deleted }),
    }
    await store.revokeAgent(agents.revoked.id, secondsLater(0))
    const links = await store.readAgentLinks(
      Object.values(agents).map(({ id }) => id),
      at,
    )
    expect(links).toHaveLength(5)
    expect(links.filter(({ isValid }) => isValid)).toEqual([
      { id: agents.valid.id, isValid: true, epoch: 0, instance: null, replica: null },
    ])
  })

  test('a change of key or connection is notified', async () => {
    const { id } = await newAgent()
    let notify = () => {}
    const stop = store.onChange('agents', () => notify())
    for (const change of [
      () => store.recordAgentConnected(id, connected(randomUUID(), randomUUID())),
      () => store.revokeAgent(id, secondsLater(0)),
    ]) {
      const notified = new Promise<void>(resolve => {
        notify = resolve
      })
      await change()
      await notified
    }
    stop()
  })

  test('a server process is found until it stops, or is not seen any more', async () => {
    const [one, two] = [randomUUID(), randomUUID()]
    const minute = 60_000
    await store.recordReplicaSeen({ id: one, advertiseUrl: 'http://one' })
    await store.recordReplicaSeen({ id: two, advertiseUrl: 'http://before' })
    await store.recordReplicaSeen({ id: two, advertiseUrl: 'http://two' })
    expect(await store.findReplica(two, minute)).toEqual({ id: two, advertiseUrl: 'http://two' })
    expect(await store.findReplica(two, -minute)).toBeNull()
    expect(await store.findReplica(randomUUID(), minute)).toBeNull()
    await store.forgetReplicas({ id: one, notSeenForMs: minute })
    expect(await store.findReplica(one, minute)).toBeNull()
    expect(await store.findReplica(two, minute)).not.toBeNull()
    await store.forgetReplicas({ id: null, notSeenForMs: -minute })
    expect(await store.findReplica(two, minute)).toBeNull()
  })
})
