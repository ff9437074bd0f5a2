import { describe, expect, test } from 'vitest'
import { hashSecret } from '../../../../server/services/api-key.js'
import { createAuthorizer } from '../../../../server/services/daemon/authorizer.js'
import type { ApiKeyStore } from '../../../../server/store/store.js'
import type { User } from '../../../../shared/contract/admin/users.js'
import type { IsAuthorizedInput } from '../../../../shared/contract/authorizer.js'
import { RpcError } from '../../../../shared/rpc/errors.js'
import { rejectionOf } from '../running-server.js'

const now = new Date('2026-05-01T12:00:00Z')
const id = 'abcdefghij'
const secret = 'S'.repeat(22)
const otherSecret = 'T'.repeat(22)
const key = `${id}-${secret}`

type Found = NonNullable<Awaited<ReturnType<ApiKeyStore['findApiKey']>>>

const owner: User = {
  id: '019a0000-0000-7000-8000-000000000001',
  username: 'ada',
  status: 'active',
  isSystem: false,
  createdAt: now,
  deletedAt: null,
}
const good: Found = { id, secretHash: hashSecret(secret), expiresAt: null, lastUsedAt: null, kind: 'user', owner }

function authorizer(found: Found | null) {
  return createAuthorizer({
    store: { findApiKey: async asked => (asked === found?.id ? found : null) },
    now: () => now,
  })
}

function reasonFor(found: Found | null, input: IsAuthorizedInput, delegate = true) {
  return rejectionOf(authorizer(found).isAuthorized(input, { delegate }))
}

test('a good key answers its owner', async () => {
  const answer = { ownerId: owner.id, apiKeyId: id, username: 'ada' }
  expect(await authorizer(good).isAuthorized({ key }, { delegate: false })).toEqual(answer)
  expect(await authorizer(good).isAuthorized({ keyId: id }, { delegate: true })).toEqual(answer)
})

describe('what is no key', () => {
  test('both or neither given is ambiguous', async () => {
    for (const input of [{}, { key, keyId: id }, { key: '', keyId: '' }]) {
      expect(await reasonFor(good, input)).toMatchObject({ code: 'BAD_REQUEST', reason: 'ambiguous_auth' })
    }
  })

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
  ])('a malformed key is invalid: %j', async malformed => {
    expect(await reasonFor(good, { key: malformed })).toMatchObject({ code: 'UNAUTHORIZED', reason: 'invalid_key' })
  })

  test.each(['', key, 'abcdefghi', 'abcdefghijk', 'abcdefghi!'])('a malformed key id is invalid: %j', async keyId => {
    expect(await reasonFor(good, { keyId })).toMatchObject({ code: 'UNAUTHORIZED', reason: 'invalid_key' })
  })

  test('the message holds nothing of a malformed key', async () => {
    const { message } = await reasonFor(good, { key: `${key}x` })
    expect(message).not.toContain(secret.slice(0, 5))
  })
})

/** From the last check to the first: each row fails its own check and all that come after it. */
const expired = new Date(now.getTime())
const table: [reason: string, found: Found | null, key: string][] = [
  ['system_user', { ...good, owner: { ...owner, isSystem: true } }, key],
  ['inactive_user', { ...good, owner: { ...owner, isSystem: true, status: 'suspended' } }, key],
  ['deleted_user', { ...good, owner: { ...owner, isSystem: true, status: 'suspended', deletedAt: now } }, key],
  ['unknown_user', { ...good, owner: null }, key],
  ['invalid_key', { ...good, owner: null }, `${id}-${otherSecret}`],
  ['expired', { ...good, owner: null, expiresAt: expired }, `${id}-${otherSecret}`],
  ['unknown_key', null, `${id}-${otherSecret}`],
]

describe('the first check that fails decides', () => {
  test.each(table)('%s', async (reason, found, given) => {
    const rejected = await reasonFor(found, { key: given })
    expect(rejected).toMatchObject({ code: 'UNAUTHORIZED', reason })
    expect(rejected.message).not.toMatch(/SSSS|TTTT/)
  })

  test.each(table.filter(([reason]) => reason !== 'invalid_key'))('%s, delegated', async (reason, found) => {
    expect(await reasonFor(found, { keyId: id })).toMatchObject({ code: 'UNAUTHORIZED', reason })
  })

  test('also where two meet: a system user who was deleted is a deleted one', async () => {
    const found = { ...good, owner: { ...owner, isSystem: true, deletedAt: now } }
    expect(await reasonFor(found, { key })).toMatchObject({ reason: 'deleted_user' })
  })
})

test('a key is valid until the moment of its expiry, and not at it', async () => {
  const at = (ms: number) => ({ ...good, expiresAt: new Date(now.getTime() + ms) })
  await expect(authorizer(at(1)).isAuthorized({ key }, { delegate: false })).resolves.toMatchObject({ apiKeyId: id })
  expect(await reasonFor(at(0), { key })).toMatchObject({ reason: 'expired' })
})

describe('the delegated path', () => {
  test('the delegated path needs the capability, and without it says nothing of the key', async () => {
    for (const found of [good, null]) {
      for (const keyId of [id, 'malformed']) {
        const rejected = await reasonFor(found, { keyId }, false)
        expect(rejected).toMatchObject({ code: 'FORBIDDEN', reason: 'delegation_not_allowed' })
      }
    }
  })

  test('a whole key needs no capability', async () => {
    expect(await reasonFor(null, { key }, false)).toMatchObject({ reason: 'unknown_key' })
  })
})

test('a store that fails is an internal error, never an unknown key', async () => {
  const failing = createAuthorizer({
    store: {
      findApiKey: async () => {
        throw new RpcError('INTERNAL_SERVER_ERROR', 'internal server error')
      },
    },
  })
  const rejected = await rejectionOf(failing.isAuthorized({ key }, { delegate: false }))
  expect(rejected).toMatchObject({ code: 'INTERNAL_SERVER_ERROR', reason: undefined })
})
