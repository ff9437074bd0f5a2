import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { createDaemonKeys } from '../../../../server/services/admin/daemon-keys.js'
import { hashSecret } from '../../../../server/services/api-key.js'
import type { AuditEntry, AuditedWrites, DaemonKeyStore, Tables } from '../../../../server/store/store.js'
import type { DaemonKey } from '../../../../shared/contract/admin/daemon-keys.js'
import { RpcError } from '../../../../shared/rpc/errors.js'
import { recordingLogger, rejectionOf } from '../running-server.js'

const start = new Date('2026-05-01T12:00:00Z')
const later = (ms: number) => new Date(start.getTime() + ms)
const id = 'abcdefghij'
const secret = 'S'.repeat(22)
const otherSecret = 'T'.repeat(22)
const key = `${id}-${secret}`

type Found = DaemonKey & { secretHash: Uint8Array }

const good: Found = {
  id,
  name: 'rack 1',
  delegate: false,
  createdAt: start,
  expiresAt: null,
  revokedAt: null,
  lastSeenAt: null,
  buildVersion: null,
  secretHash: hashSecret(secret),
}

/** A service on a store that holds at most one key. */
function service(found: Found | null = good, overrides: Partial<DaemonKeyStore> = {}) {
  const clock = { now: start }
  const row = found && { ...found }
  const seen: { id: string; at: Date; buildVersion: string | null }[] = []
  const logger = recordingLogger()
  const store = {
    createDaemonKey: vi.fn<DaemonKeyStore['createDaemonKey']>(async ({ secretHash: _, ...fields }) => {
      return { ...fields, createdAt: clock.now, revokedAt: null, lastSeenAt: null, buildVersion: null }
    }),
    findDaemonKey: vi.fn<DaemonKeyStore['findDaemonKey']>(async asked => (row?.id === asked ? { ...row } : null)),
    listDaemonKeys: vi.fn<DaemonKeyStore['listDaemonKeys']>(async () => []),
    revokeDaemonKey: vi.fn<DaemonKeyStore['revokeDaemonKey']>(async (asked, at) => {
      if (row?.id !== asked) return null
      row.revokedAt ??= at
      const { secretHash: _, ...shown } = row
      return shown
    }),
    recordDaemonSeen: vi.fn<DaemonKeyStore['recordDaemonSeen']>(async (asked, { at, buildVersion }) => {
      seen.push({ id: asked, at, buildVersion })
      if (row?.id === asked) Object.assign(row, { lastSeenAt: at, buildVersion })
    }),
    recordDaemonsConnected: vi.fn<DaemonKeyStore['recordDaemonsConnected']>(async () => {}),
    findInvalidDaemonKeys: vi.fn<DaemonKeyStore['findInvalidDaemonKeys']>(async () => []),
  }
  Object.assign(store, overrides)
  const entries: AuditEntry[] = []
  const audited: AuditedWrites['audited'] = async (work, entryOf) => {
    const result = await work(store as unknown as Tables) // this service writes daemon keys only
    const entry = entryOf(result)
    if (entry) entries.push(entry)
    return result
  }
  const keys = createDaemonKeys({ store: { ...store, audited }, logger, now: () => clock.now })
  return { ...keys, store, entries, clock, seen, logger }
}

const failed = async () => {
  throw new RpcError('INTERNAL_SERVER_ERROR', 'the database could not answer')
}

describe('a good key', () => {
  test.each([
    [false, 'rack 1', 'rack 1'],
    [true, 'rack 1', 'rack 1'],
    [false, null, id],
  ])('a good key says who comes: delegate %j, name %j', async (delegate, name, shown) => {
    const identity = { role: 'daemon', name: shown, delegate, daemonKeyId: id }
    expect(await service({ ...good, delegate, name }).authenticate(key, null)).toEqual(identity)
  })

  test('a good key is valid until the moment of its expiry, and not at it', async () => {
    const expiring = service({ ...good, expiresAt: later(1) })
    await expect(expiring.authenticate(key, null)).resolves.toMatchObject({ daemonKeyId: id })
    expiring.clock.now = later(1)
    expect(await rejectionOf(expiring.authenticate(key, null))).toMatchObject({
      code: 'UNAUTHORIZED',
      reason: 'key_expired',
    })
  })
})

describe('what is no key', () => {
  test.each([
    '',
    id,
    secret,
    `${id}-`,
    `-${secret}`,
    `${id}_${secret}`,
    `${key}x`,
    ` ${key}`,
    `${key}\n`,
    `${id}-${secret.slice(1)}`,
    `${id}-${secret.slice(1)}é`,
    `abcdefghi\0-${secret}`,
    'x'.repeat(100_000),
  ])('anything but a key is invalid, and the store is not asked: %j', async malformed => {
    const { authenticate, store } = service()
    const rejected = await rejectionOf(authenticate(malformed, null))
    expect(rejected).toMatchObject({ code: 'UNAUTHORIZED', reason: 'key_invalid' })
    expect(rejected.message).not.toContain(secret.slice(0, 5))
    expect(store.findDaemonKey).not.toHaveBeenCalled()
  })
})

/** From the last check to the first: each row fails its own check and all that come after it. */
const expired = { ...good, expiresAt: start }
const revoked = { ...expired, revokedAt: start }
const table: [code: string, reason: string, what: string, found: Found | null, key: string][] = [
  ['UNAUTHORIZED', 'key_expired', 'an expired key', expired, key],
  ['FORBIDDEN', 'key_revoked', 'a revoked key that has expired too', revoked, key],
  ['FORBIDDEN', 'key_revoked', 'a revoked key', { ...good, revokedAt: start }, key],
  ['UNAUTHORIZED', 'key_invalid', 'another secret of a good key', good, `${id}-${otherSecret}`],
  ['UNAUTHORIZED', 'key_invalid', 'another secret of a revoked key', revoked, `${id}-${otherSecret}`],
  ['UNAUTHORIZED', 'key_invalid', 'another secret of an expired key', expired, `${id}-${otherSecret}`],
  ['UNAUTHORIZED', 'key_invalid', 'an id that no key has', null, key],
]

describe('the first check that fails decides', () => {
  test.each(table)('%s %s: %s', async (code, reason, _what, found, given) => {
    const { authenticate, store } = service(found)
    const rejected = await rejectionOf(authenticate(given, '1.0'))
    expect(rejected).toMatchObject({ code, reason })
    expect(rejected.message).not.toMatch(/SSSS|TTTT/)
    expect(store.recordDaemonSeen).not.toHaveBeenCalled()
  })

  test('whoever has no secret learns nothing of a key, not even whether it is there', async () => {
    const rejections = await Promise.all(
      table
        .filter(([, reason]) => reason === 'key_invalid')
        .map(row => rejectionOf(service(row[3]).authenticate(row[4], null))),
    )
    expect(new Set(rejections.map(rejection => JSON.stringify(rejection))).size).toBe(1)
  })

  test('an id that no key has costs the same hash and comparison as another secret', async () => {
    // The functions as they are; what they were asked is what an observer could measure.
    const createHash = vi.spyOn(crypto, 'createHash')
    const timingSafeEqual = vi.spyOn(crypto, 'timingSafeEqual')
    syncBuiltinESMExports()
    onTestFinished(() => {
      vi.restoreAllMocks()
      syncBuiltinESMExports()
    })
    const work = async (found: Found | null) => {
      vi.clearAllMocks()
      await rejectionOf(service(found).authenticate(`${id}-${otherSecret}`, null))
      return { hashes: createHash.mock.calls, comparisons: timingSafeEqual.mock.calls.length }
    }
    const known = await work(good)
    expect(known).toEqual({ hashes: [['sha256']], comparisons: 1 })
    expect(await work(null)).toEqual(known)
  })
})

test('a store that fails is an internal error, never an invalid key', async () => {
  const rejected = await rejectionOf(service(good, { findDaemonKey: failed }).authenticate(key, null))
  expect(rejected).toMatchObject({ code: 'INTERNAL_SERVER_ERROR', reason: undefined })
})

describe('that a daemon was seen', () => {
  test('the time of a daemon is stored at its first connection, then once a minute', async () => {
    const { authenticate, clock, seen } = service()
    for (const ms of [0, 1, 59_999, 60_000, 60_001, 119_999, 120_000]) {
      clock.now = later(ms)
      await authenticate(key, '1.0')
    }
    expect(seen).toEqual([0, 60_000, 120_000].map(ms => ({ id, at: later(ms), buildVersion: '1.0' })))
  })

  test('the time of a daemon is stored at once where the daemon has another build', async () => {
    const { authenticate, clock, seen } = service()
    for (const [ms, buildVersion] of [
      [0, '1.0'],
      [1, '1.1'],
      [2, '1.1'],
      [3, null],
      [4, null],
    ] as const) {
      clock.now = later(ms)
      await authenticate(key, buildVersion)
    }
    expect(seen.map(({ buildVersion }) => buildVersion)).toEqual(['1.0', '1.1', null])
  })

  test('a time of a daemon that cannot be stored is logged, without the key, and rejects no daemon', async () => {
    const { authenticate, logger } = service(good, { recordDaemonSeen: failed })
    await expect(authenticate(key, '1.0')).resolves.toMatchObject({ daemonKeyId: id })
    expect(logger.lines).toMatchObject([{ level: 'warn', fields: { daemonKeyId: id, err: expect.any(RpcError) } }])
    expect(logger.text()).not.toContain(secret)
  })
})

describe('keys of open connections', () => {
  test('keys of open connections are checked as of now by the store; the others were seen now, once a minute', async () => {
    const { authenticate, checkConnected, store, clock } = service()
    await authenticate(key, '1')
    store.findInvalidDaemonKeys.mockResolvedValue(['b'])
    clock.now = later(59_999)
    expect(await checkConnected([id, 'b'])).toEqual(['b'])
    expect(store.findInvalidDaemonKeys.mock.calls).toEqual([[[id, 'b'], later(59_999)]])
    expect(store.recordDaemonsConnected).not.toHaveBeenCalled()
    for (const ms of [60_000, 60_001, 119_999, 120_000]) {
      clock.now = later(ms)
      await checkConnected([id, 'b'])
    }
    expect(store.recordDaemonsConnected.mock.calls).toEqual([
      [[id], later(60_000)],
      [[id], later(120_000)],
    ])
  })

  test('keys of open connections are known to this process also where another one saw them a moment before', async () => {
    const { authenticate, checkConnected, store, clock } = service({ ...good, lastSeenAt: start, buildVersion: '1' })
    clock.now = later(1)
    await authenticate(key, '1')
    expect(store.recordDaemonSeen).not.toHaveBeenCalled()
    clock.now = later(60_000)
    await checkConnected([id])
    expect(store.recordDaemonsConnected.mock.calls).toEqual([[[id], later(60_000)]])
  })

  test('keys of open connections whose being seen cannot be stored are checked all the same, and it is logged', async () => {
    const { authenticate, checkConnected, clock, logger } = service(good, { recordDaemonsConnected: failed })
    await authenticate(key, '1')
    clock.now = later(60_000)
    expect(await checkConnected([id])).toEqual([])
    expect(logger.lines).toMatchObject([{ level: 'warn' }])
  })
})

describe('revoking', () => {
  test('sets the time once, and is noted in the audit log', async () => {
    const { revoke, entries, clock } = service()
    expect(await revoke({ id }, 'ada')).toMatchObject({ id, revokedAt: start })
    clock.now = later(5)
    expect(await revoke({ id }, 'ada')).toMatchObject({ id, revokedAt: start })
    const entry = { actor: 'ada', action: 'daemonKeys.revoke', target: id, details: null }
    expect(entries).toEqual([entry, entry])
  })

  test('what is not there, or could not be revoked, is noted nowhere', async () => {
    const unknown = service(null)
    expect(await rejectionOf(unknown.revoke({ id }, 'ada'))).toMatchObject({ code: 'NOT_FOUND', reason: 'unknown_row' })
    const failing = service(good, { revokeDaemonKey: failed })
    expect(await rejectionOf(failing.revoke({ id }, 'ada'))).toMatchObject({ code: 'INTERNAL_SERVER_ERROR' })
    expect([...unknown.entries, ...failing.entries]).toEqual([])
  })
})

describe('making a key', () => {
  test('making a key stores the hash of its secret, never the secret', async () => {
    const { create, store } = service()
    const created = await create({ delegate: true, name: 'rack 2', expiresAt: later(1) }, 'ada')
    const [createdId = '', createdSecret = ''] = created.key.split('-')
    expect(created).toMatchObject({ id: createdId, name: 'rack 2', delegate: true, expiresAt: later(1) })
    expect(store.createDaemonKey.mock.calls).toEqual([
      [{ id: createdId, name: 'rack 2', delegate: true, expiresAt: later(1), secretHash: hashSecret(createdSecret) }],
    ])
  })

  test.each([-1, 0])('making a key that would have expired is rejected with both times: %i ms', async ms => {
    const { create, store } = service()
    const rejected = await rejectionOf(create({ delegate: false, expiresAt: later(ms) }, 'ada'))
    expect(rejected.code).toBe('BAD_REQUEST')
    expect(rejected.message).toContain(`${later(ms).toISOString()} is not after ${start.toISOString()}`)
    expect(store.createDaemonKey).not.toHaveBeenCalled()
  })

  test('making a key takes another id where the first is taken, and gives up where the second is too', async () => {
    const { create, store } = service()
    store.createDaemonKey.mockResolvedValueOnce(null)
    const { key: made } = await create({ delegate: false }, 'ada')
    const [first, second] = store.createDaemonKey.mock.calls.map(([{ id: asked }]) => asked)
    expect(first).not.toBe(second)
    expect(made.slice(0, 10)).toBe(second)
    store.createDaemonKey.mockResolvedValue(null)
    await expect(create({ delegate: false }, 'ada')).rejects.toThrow('the store rejected two new ids')
    expect(store.createDaemonKey).toHaveBeenCalledTimes(4)
  })
})
