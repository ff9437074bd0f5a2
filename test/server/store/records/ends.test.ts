import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { OpenInterceptionsQuery, Store } from '../../../../server/store/store.js'
import { stores } from '../../../fixtures/stores.js'
import { ended, interception, secondsLater, someTime } from './records.js'

const errorMessage = 'its daemon is gone'

describe.each(stores)('ends by the control plane: $name', ({ openTwo }) => {
  let store: Store
  let other: Store
  beforeAll(async () => {
    const opened = await openTwo()
    store = opened[0]
    other = opened[1]
  })
  afterAll(async () => {
    await Promise.all([store.close(), other.close()])
  })

  type Start = Parameters<typeof interception>[0] & { daemonKeyId?: string }

  /** Stores interceptions that a daemon carried, and returns their ids. */
  async function carried(daemonInstance: string | undefined, starts: Start[]): Promise<string[]> {
    const records = starts.map(({ daemonKeyId, ...start }) => ({
      ...interception(start),
      carrier: { daemonInstance, daemonKeyId },
    }))
    await store.record(records)
    return records.map(({ record }) => record.id)
  }
  const read = async (id: string) => (await store.getInterception(id))?.interception
  const end = (query: Omit<OpenInterceptionsQuery, 'limit'>, { limit = 100, at = secondsLater(60), by = store } = {}) =>
    by.endOpenInterceptions({ ...query, limit }, { at, errorMessage })
  const provisional = { endedAt: secondsLater(60), errorType: 'unknown', errorMessage, endedBy: 'control_plane' }

  test('an open interception is ended, with an error that says why', async () => {
    const daemonInstance = randomUUID()
    const [id = ''] = await carried(daemonInstance, [{}])
    expect(await end({ daemonInstance })).toEqual({
      ended: [{ id, endedAt: secondsLater(60) }],
      skipped: 0,
      next: null,
    })
    expect(await read(id)).toMatchObject(provisional)
  })

  /** C: an end by the control plane; digits: the daemon's own ends, at these seconds */
  test.each([
    ['C', 'C'],
    ['CC', 'C'],
    ['C1', '1'],
    ['1C', '1'],
    ['CC1', '1'],
    ['C12', '1'],
    ['C11', '1'],
    ['C1C2', '1'],
    ['12C', '1'],
    ['C2C1C', '2'],
  ])('the first end of the daemon replaces an end by the control plane, once: %s gives %s', async (ends, winner) => {
    const daemonInstance = randomUUID()
    const [id = ''] = await carried(daemonInstance, [{}])
    for (const [turn, author] of [...ends].entries()) {
      if (author === 'C') await end({ daemonInstance }, { at: secondsLater(60 + turn) })
      else expect(await store.record([ended(id, { endedAt: secondsLater(Number(author)) })])).toEqual([{ ok: true }])
    }
    const own = { endedAt: secondsLater(Number(winner)), errorType: null, errorMessage: null, endedBy: null }
    expect(await read(id)).toMatchObject(winner === 'C' ? provisional : own)
  })

  test('the feed has the end by the control plane and the own end after it, and no repeat of either', async () => {
    const daemonInstance = randomUUID()
    const from = await store.feedEnd()
    const [id = ''] = await carried(daemonInstance, [{}])
    for (let turn = 0; turn < 2; turn++) await end({ daemonInstance })
    const middle = await store.feedEnd()
    const before = await store.readFeed({ after: from, limit: 10 })
    expect(before.events.map(({ record }) => record)).toMatchObject([
      { kind: 'interception', record: { id, endedBy: 'control_plane' } },
      { kind: 'interceptionEnded', record: { id, ...provisional } },
    ])
    for (let turn = 0; turn < 2; turn++) await store.record([ended(id, { endedAt: secondsLater(1) })])
    const after = await store.readFeed({ after: middle, limit: 10 })
    expect(after.events.map(({ record }) => record)).toMatchObject([
      { kind: 'interceptionEnded', record: { id, endedAt: secondsLater(1), errorType: null, endedBy: null } },
    ])
  })

  test('no end, of either author, lies before the start', async () => {
    const daemonInstance = randomUUID()
    const startedAt = secondsLater(3600)
    const [own = '', foreign = ''] = await carried(daemonInstance, [{ startedAt }, { startedAt }])
    await store.record([ended(own, { endedAt: someTime })])
    expect((await end({ daemonInstance }, { at: someTime })).ended).toEqual([{ id: foreign, endedAt: startedAt }])
    expect([await read(own), await read(foreign)]).toMatchObject([{ endedAt: startedAt }, { endedAt: startedAt }])
  })

  test('parts go from the newest interception to the oldest, and leave ended ones and those of others', async () => {
    const [daemonInstance, another] = [randomUUID(), randomUUID()]
    const starts = Array.from({ length: 7 }, (_, second) => ({ startedAt: secondsLater(second) }))
    const ids = await carried(daemonInstance, starts)
    const [foreign = ''] = await carried(another, [{}])
    await store.record([ended(ids[3] ?? '')])
    const parts: string[][] = []
    let before: OpenInterceptionsQuery['before']
    do {
      const part = await end({ daemonInstance, before }, { limit: 3 })
      parts.push(part.ended.map(({ id }) => id).toSorted())
      before = part.next ?? undefined
    } while (before)
    expect(parts).toEqual([[ids[6], ids[5], ids[4]].toSorted(), [ids[2], ids[1]].toSorted(), [ids[0]]])
    expect(await read(foreign)).toMatchObject({ endedAt: null, endedBy: null })
  })

  test('with a key, interceptions of other keys and of none stay open', async () => {
    const daemonInstance = randomUUID()
    const [own = '', foreign = '', keyless = ''] = await carried(daemonInstance, [
      { daemonKeyId: 'own' },
      { daemonKeyId: 'foreign' },
      {},
    ])
    const idsOf = async (daemonKeyId: string | null) =>
      (await end({ daemonInstance, daemonKeyId })).ended.map(({ id }) => id)
    expect(await idsOf('own')).toEqual([own])
    expect(await idsOf(null)).toEqual([keyless])
    expect(await read(foreign)).toMatchObject({ endedAt: null })
  })

  test('interceptions that name no daemon are ended by the time of their start', async () => {
    const ids = await carried(
      undefined,
      [10, 20, 30, 40].map(second => ({ startedAt: secondsLater(second) })),
    )
    const query = { daemonInstance: null, startedFrom: secondsLater(20), startedBefore: secondsLater(40) }
    const first = await end(query, { limit: 1 })
    expect(first.ended.map(({ id }) => id)).toEqual([ids[2]])
    const second = await end({ ...query, before: first.next ?? undefined }, { limit: 100 })
    expect(second).toMatchObject({ ended: [{ id: ids[1] }], next: null })
  })

  test('servers and daemons that end the same interceptions at once: each gets one end, and the own end is kept', async () => {
    const daemonInstance = randomUUID()
    const ids = await carried(
      daemonInstance,
      Array.from({ length: 40 }, () => ({})),
    )
    const own = ids.filter((_, index) => index % 2 === 0)
    const from = await store.feedEnd()
    const results = await Promise.all([
      end({ daemonInstance }),
      store.record(own.map(id => ended(id))),
      end({ daemonInstance }, { by: other }),
      ...own.map(id => other.record([ended(id)])),
      end({ daemonInstance }, { by: other }),
    ])
    const rest = await end({ daemonInstance })
    const endings = [...results, rest].flatMap(result => ('ended' in result ? result.ended : []))
    expect(new Set(endings.map(({ id }) => id)).size).toBe(endings.length)
    const found = await Promise.all(ids.map(read))
    expect(found.map(row => row?.endedBy)).toEqual(ids.map((_, index) => (index % 2 === 0 ? null : 'control_plane')))
    const events = (await store.readFeed({ after: from, limit: 1000 })).events
    expect(events.length).toBe(endings.length + own.length)
  })

  test('lists and usage are filtered by the author of the end', async () => {
    const daemonInstance = randomUUID()
    const initiatorId = randomUUID()
    const [open = '', closed = ''] = await carried(daemonInstance, [{ initiatorId }, { initiatorId }])
    await store.record([ended(closed)])
    await end({ daemonInstance })
    const filter = { initiatorId, endedBy: 'control_plane' } as const
    expect((await store.listInterceptions({ ...filter, limit: 9 })).map(({ id }) => id)).toEqual([open])
    expect(await store.readUsage({ ...filter, by: [], limit: 9 })).toMatchObject([{ interceptions: 1 }])
    const newest = await store.listInterceptions({ endedBy: 'control_plane', limit: 200 })
    expect(newest.map(({ id }) => id)).toContain(open)
    expect(newest.every(({ endedBy }) => endedBy === 'control_plane')).toBe(true)
  })
})
