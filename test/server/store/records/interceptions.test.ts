import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { InterceptionQuery, Store } from '../../../../server/store/store.js'
import { internalRequestKinds } from '../../../../shared/contract/request-kinds.js'
import { stores } from '../../../fixtures/stores.js'
import { ended, interception, secondsLater, toolUsage } from './records.js'

describe.each(stores)('the list of interceptions: $name', ({ open }) => {
  let store: Store
  beforeAll(async () => {
    store = await open()
  })
  afterAll(() => store.close())

  const idsOf = async (query: Partial<InterceptionQuery>) =>
    (await store.listInterceptions({ limit: 100, ...query })).map(({ id }) => id)

  test('the list of interceptions is newest first, by start and then id', async () => {
    const initiatorId = randomUUID()
    const ids = Array.from({ length: 6 }, () => randomUUID()).sort()
    const started = [2, 0, 1, 1, 1, 3]
    await store.record(ids.map((id, i) => interception({ id, initiatorId, startedAt: secondsLater(started[i] ?? 0) })))
    expect(await idsOf({ initiatorId })).toEqual([5, 0, 4, 3, 2, 1].map(i => ids[i]))
  })

  test('the list of interceptions goes on behind a position without a gap or a repeat, also among equal times', async () => {
    const initiatorId = randomUUID()
    const records = Array.from({ length: 11 }, (_, i) => interception({ initiatorId, startedAt: secondsLater(i % 3) }))
    await store.record(records)
    const all = await idsOf({ initiatorId })
    expect(all).toHaveLength(11)
    const paged: string[] = []
    let before: InterceptionQuery['before']
    do {
      const page = await store.listInterceptions({ limit: 2, initiatorId, before })
      paged.push(...page.map(({ id }) => id))
      before = page.at(-1)
    } while (before)
    expect(paged).toEqual(all)
  })

  test('the list of interceptions has all initiators where none is asked for', async () => {
    const startedAt = new Date('2099-01-01T00:00:00Z')
    const records = [interception({ startedAt }), interception({ startedAt })]
    await store.record(records)
    expect((await idsOf({ limit: 2 })).sort()).toEqual(records.map(({ record }) => record.id).sort())
  })

  test('rows have the name of their initiator, deleted or not; null where no such user is stored', async () => {
    const user = await store.createUser({ id: randomUUID(), username: 'ada' })
    const initiatorId = user?.id ?? ''
    await store.record([interception({ initiatorId }), interception({ initiatorId: randomUUID() })])
    await store.deleteUser(initiatorId)
    const names = (await store.listInterceptions({ limit: 100 })).map(row => [row.initiatorId, row.username])
    expect(names.filter(([, username]) => username !== null)).toEqual([[initiatorId, 'ada']])
  })

  test('rows are as those read by id', async () => {
    const initiatorId = randomUUID()
    const parent = interception({ initiatorId })
    const child = interception({
      initiatorId,
      correlatingToolCallId: 'call',
      metadata: { request_user_agent: 'agent' },
      startedAt: secondsLater(1),
    })
    await store.record([parent, toolUsage(parent.record.id, { toolCallId: 'call' }), child, ended(child.record.id)])
    const [newest] = await store.listInterceptions({ limit: 1, initiatorId })
    expect(newest).toEqual((await store.getInterception(child.record.id))?.interception)
    expect(newest).toMatchObject({ parentId: parent.record.id, userAgent: 'agent', endedAt: secondsLater(1) })
  })

  test('the list of interceptions can be narrowed by each filter and by all together', async () => {
    const initiatorId = randomUUID()
    const fields = { initiatorId, providerName: 'team', model: 'm', client: 'c', clientSessionId: 's' }
    const wanted = interception({ ...fields, startedAt: secondsLater(10) })
    const other = interception({ initiatorId, provider: 'other', providerName: 'other', startedAt: secondsLater(20) })
    await store.record([wanted, other, ended(wanted.record.id, { errorType: 'timeout' })])
    const filters: Partial<InterceptionQuery>[] = [
      { provider: 'team' },
      { provider: 'anthropic' },
      { model: 'm' },
      { client: 'c' },
      { clientSessionId: 's' },
      { errorType: 'timeout' },
      { to: secondsLater(20) },
    ]
    for (const filter of [...filters, Object.assign({}, ...filters)]) {
      expect(await idsOf({ initiatorId, ...filter })).toEqual([wanted.record.id])
    }
    expect(await idsOf({ initiatorId, provider: 'other' })).toEqual([other.record.id])
    expect(await idsOf({ initiatorId, errorType: 'no such type' })).toEqual([])
    expect(await idsOf({ initiatorId: randomUUID(), model: 'm' })).toEqual([])
  })

  test('the list of interceptions has one kind on demand, alone and with other filters', async () => {
    const initiatorId = randomUUID()
    const model = interception({ initiatorId, client: 'c' })
    const tool = interception({ initiatorId, client: 'c', interceptionKind: 'mcp' })
    await store.record([model, tool])
    const both = await store.listInterceptions({ initiatorId, limit: 9 })
    expect(Object.fromEntries(both.map(row => [row.id, row.interceptionKind]))).toEqual({
      [model.record.id]: 'model',
      [tool.record.id]: 'mcp',
    })
    for (const filter of [{ initiatorId }, { initiatorId, client: 'c' }]) {
      expect(await idsOf({ ...filter, interceptionKind: 'model' })).toEqual([model.record.id])
      expect(await idsOf({ ...filter, interceptionKind: 'mcp' })).toEqual([tool.record.id])
    }
    const tools = await store.listInterceptions({ interceptionKind: 'mcp', limit: 200 })
    expect(tools.every(row => row.interceptionKind === 'mcp')).toBe(true)
    expect(tools.map(({ id }) => id)).toContain(tool.record.id)
  })

  test("the list of interceptions leaves out the clients' own requests on demand, alone and with other filters", async () => {
    const initiatorId = randomUUID()
    const kinds = [undefined, 'turn', 'user', 'agent', 'main', ...internalRequestKinds]
    const records = kinds.map(kind =>
      interception({ initiatorId, client: 'c', ...(kind !== undefined && { metadata: { request_kind: kind } }) }),
    )
    const withoutKind = interception({ initiatorId, client: 'c', metadata: { agent_id: 'a' } })
    await store.record([...records, withoutKind])
    const users = [...records.slice(0, 5), withoutKind].map(({ record }) => record.id).sort()
    expect((await idsOf({ initiatorId, excludeInternal: true })).sort()).toEqual(users)
    expect((await idsOf({ initiatorId, client: 'c', excludeInternal: true })).sort()).toEqual(users)
    expect((await idsOf({ initiatorId, provider: 'anthropic', excludeInternal: true })).sort()).toEqual(users)
    expect(await idsOf({ initiatorId, excludeInternal: false })).toHaveLength(kinds.length + 1)
  })

  test('a range of time has its begin in it and its end not', async () => {
    const initiatorId = randomUUID()
    const records = [0, 1, 2].map(i => interception({ initiatorId, startedAt: secondsLater(i) }))
    await store.record(records)
    expect(await idsOf({ initiatorId, from: secondsLater(1), to: secondsLater(2) })).toEqual([records[1]?.record.id])
    expect(await idsOf({ initiatorId, from: secondsLater(1) })).toHaveLength(2)
  })
})
