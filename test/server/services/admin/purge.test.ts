import { describe, expect, test } from 'vitest'
import { createPurge, type PurgeOptions } from '../../../../server/services/admin/purge.js'
import { createAuthorizer } from '../../../../server/services/daemon/authorizer.js'
import type { Store } from '../../../../server/store/store.js'
import type { PurgeProgress } from '../../../../shared/contract/admin/users.js'
import { RpcError } from '../../../../shared/rpc/errors.js'
import { interception, promptUsage } from '../../store/records/records.js'
import { deferred, oneStore, rejectionOf } from '../running-server.js'

const noDaemons = { reached: 0, records: 0, unreached: [] }

describe('a purge', () => {
  const store = oneStore()
  const endless = 60_000

  async function userWith(interceptions: number) {
    const username = `user-${crypto.randomUUID().slice(0, 8)}`
    const user = (await store().createUser({ id: crypto.randomUUID(), username })) ?? expect.fail('the name is taken')
    const rows = Array.from({ length: interceptions }, () => interception({ initiatorId: user.id }))
    await store().record([...rows, ...rows.map(({ record }) => promptUsage(record.id))])
    const keyId = crypto.randomUUID().slice(-10)
    await store().createApiKey({ id: keyId, userId: user.id, secretHash: new Uint8Array(32), expiresAt: null })
    return { ...user, keyId }
  }
  /** Batches of two. `erasing` runs before each. */
  const purgeWith = (options: Partial<PurgeOptions>, erasing: () => Promise<unknown> = async () => {}) =>
    createPurge({
      store: {
        ...store(),
        async eraseInterceptionsOf(query) {
          await erasing()
          return store().eraseInterceptionsOf({ ...query, limit: 2 })
        },
      } satisfies Store,
      ...options,
    })
  const entriesOf = async (target: string) => (await store().listAudit({ limit: 50, target })).reverse()

  test('a purge of many records goes slice by slice, and says how far it is', async () => {
    const { id, username, keyId } = await userWith(5)
    const { purge } = purgeWith({ purgeSliceMs: 0 })
    const rest = { apiKeys: 0, links: 0, conversations: 0, chats: 0 }
    const slices: PurgeProgress[] = [
      { userId: id, done: false, interceptions: 2, records: 2, ...rest },
      { userId: id, done: false, interceptions: 4, records: 4, ...rest },
      { userId: id, done: false, interceptions: 5, records: 5, ...rest },
      { userId: id, done: true, interceptions: 5, records: 5, ...rest, apiKeys: 1, daemons: noDaemons },
    ]
    for (const slice of slices) expect(await purge({ user: username }, 'admin', undefined)).toEqual(slice)
    expect(await store().findUser(id)).toBeNull()
    expect(await store().findApiKey(keyId)).toBeNull()
    const counts = slices.map(({ userId: _, daemons: __, ...progress }) => progress)
    expect((await entriesOf(id)).map(({ action, details }) => ({ action, details }))).toEqual(
      [{ done: false, interceptions: 0, records: 0, ...rest }, ...counts].map(details => ({
        action: 'users.purge',
        details,
      })),
    )
  })

  test('a purge that broke off in any place goes on when it is called again', async () => {
    const { id, username } = await userWith(4)
    let batch = 0
    const failing = new Set([2, 4, 6])
    const { purge } = purgeWith({ purgeSliceMs: endless }, async () => {
      if (failing.has(++batch)) throw new RpcError('INTERNAL_SERVER_ERROR', 'away')
    })
    let done = false
    while (!done)
      done = await purge({ user: username }, 'admin', undefined).then(
        progress => progress.done,
        () => false,
      )
    expect(await store().holdsUser(id)).toBe(false)
    expect((await entriesOf(id)).at(-1)).toMatchObject({ action: 'users.purge', details: { done: true } })
  })

  test('a purge ends with its batch when the caller goes away', async () => {
    const { id } = await userWith(4)
    const caller = new AbortController()
    const { purge } = purgeWith({ purgeSliceMs: endless }, async () => caller.abort())
    expect(await purge({ user: id }, 'admin', caller.signal)).toMatchObject({ done: false, interceptions: 2 })
    expect(await purge({ user: id }, 'admin', undefined)).toMatchObject({ done: true, interceptions: 4, apiKeys: 1 })
  })

  test('a purge rejects the keys first, and erases what is recorded meanwhile', async () => {
    const { id, keyId } = await userWith(3)
    const { isAuthorized } = createAuthorizer({ store: store() })
    const rejections: unknown[] = []
    let late = 3
    const { purge } = purgeWith({ purgeSliceMs: endless }, async () => {
      rejections.push(await rejectionOf(isAuthorized({ keyId }, { delegate: true })))
      if (late-- > 0) await store().record([interception({ initiatorId: id })])
    })
    expect(await purge({ user: id }, 'admin', undefined)).toMatchObject({ done: true, interceptions: 6, records: 3 })
    expect(new Set(rejections.map(rejection => (rejection as { reason: string }).reason))).toEqual(new Set(['expired']))
  })

  test('a purge finds users who are deleted or have nothing but records; of others nothing is known', async () => {
    const { purge } = purgeWith({})
    const [deleted, onlyRecords] = [await userWith(1), crypto.randomUUID()]
    await store().deleteUser(deleted.id)
    expect(await purge({ user: deleted.id }, 'admin', undefined)).toMatchObject({ done: true, interceptions: 1 })
    await store().record([interception({ initiatorId: onlyRecords })])
    expect(await purge({ user: onlyRecords }, 'admin', undefined)).toMatchObject({ done: true, interceptions: 1 })
    for (const user of [crypto.randomUUID(), 'nobody', deleted.username]) {
      expect(await rejectionOf(purge({ user }, 'admin', undefined))).toMatchObject({
        code: 'NOT_FOUND',
        reason: 'unknown_row',
      })
    }
  })

  test('a name is that of the user who has it, else of the one deleted user who had it', async () => {
    const { purge } = purgeWith({})
    const { username, ...first } = await userWith(1)
    await store().deleteUser(first.id)
    const second = (await store().createUser({ id: crypto.randomUUID(), username })) ?? expect.fail('it is free')
    await store().deleteUser(second.id)
    const ambiguous = await rejectionOf(purge({ user: username }, 'admin', undefined))
    expect(ambiguous).toMatchObject({ code: 'PRECONDITION_FAILED' })
    for (const id of [first.id, second.id]) expect(ambiguous.message).toContain(id)
    const third = (await store().createUser({ id: crypto.randomUUID(), username })) ?? expect.fail('it is free')
    expect(await purge({ user: username }, 'admin', undefined)).toMatchObject({ userId: third.id, done: true })
    await purge({ user: first.id }, 'admin', undefined)
    expect(await purge({ user: username }, 'admin', undefined)).toMatchObject({ userId: second.id, done: true })
  })

  test('a connected daemon is waited for until it has confirmed, and a silent one for a limited time', async () => {
    const outbox = { outboxId: crypto.randomUUID(), daemonKeyId: null }
    const now = () => new Date('2030-01-01T00:00:00Z')
    const watched = { watch: crypto.randomUUID(), at: new Date(now().getTime() - 60_000) }
    await store().recordOutboxWatched({ ...outbox, isDurable: true }, watched)
    const { purge } = purgeWith({ now, purgeSliceMs: endless, daemonWaitMs: 20 })
    const unreached = [{ daemonKeyId: null, name: null, lastSeenAt: now() }]
    const silent = purge({ user: (await userWith(1)).id }, 'admin', undefined)
    expect(await silent).toMatchObject({ done: true, daemons: { reached: 0, unreached } })

    // The purge has looked once before the daemon confirms.
    const looked = deferred<void>()
    const readErasure: Store['readErasure'] = async (...query) => {
      const state = await store().readErasure(...query)
      looked.resolve()
      return state
    }
    const { purge: patient } = purgeWith({
      now,
      purgeSliceMs: endless,
      daemonWaitMs: endless,
      store: { ...store(), readErasure },
    })
    const confirmed = patient({ user: (await userWith(1)).id }, 'admin', undefined)
    await looked.promise
    const open = await store().listErasures({ outboxId: outbox.outboxId, limit: 100 })
    const erasures = open.map(({ erasureId }) => ({ erasureId, records: 7 }))
    await store().confirmErasures(outbox, { erasures, areRecordsErased: true })
    const reached = { reached: 1, records: 7, unreached: [] }
    expect(await confirmed).toMatchObject({ done: true, daemons: reached })
    await store().recordOutboxEmpty(outbox, now())
  })

  test('a key with several outboxes is one unreached daemon, at the time of its newest sight', async () => {
    const now = () => new Date('2030-02-01T00:00:00Z')
    const daysAgo = (days: number) => new Date(now().getTime() - days * 86_400_000)
    for (const [daemonKeyId, days] of [
      ['rome', 3],
      ['rome', 2],
      ['paris', 29],
      ['gone', 31],
    ] as const) {
      const outbox = { outboxId: crypto.randomUUID(), daemonKeyId, isDurable: true }
      const watch = crypto.randomUUID()
      await store().recordOutboxWatched(outbox, { watch, at: daysAgo(days) })
    }
    const { purge } = purgeWith({ now })
    const { daemons } = await purge({ user: (await userWith(0)).id }, 'admin', undefined)
    expect(daemons?.unreached).toEqual([
      { daemonKeyId: 'rome', name: null, lastSeenAt: daysAgo(2) },
      { daemonKeyId: 'paris', name: null, lastSeenAt: daysAgo(29) },
    ])
    await store().forgetErasures({ begunBefore: now(), outboxesSeenBefore: now() })
  })

  test('again erases what a daemon has handed over since, and without that changes nothing', async () => {
    const { purge } = purgeWith({})
    const { id } = await userWith(1)
    await purge({ user: id }, 'admin', undefined)
    const before = await entriesOf(id)
    const counts = { interceptions: 0, records: 0, apiKeys: 0, links: 0, conversations: 0, chats: 0 }
    const nothing = { userId: id, done: true, ...counts, daemons: noDaemons }
    expect(await purge({ user: id }, 'admin', undefined)).toEqual(nothing)
    expect(await entriesOf(id)).toEqual(before)
    await store().record([interception({ initiatorId: id })])
    expect(await purge({ user: id }, 'admin', undefined)).toEqual({ ...nothing, interceptions: 1 })
    expect(await entriesOf(id)).toHaveLength(before.length + 2)
  })
})
