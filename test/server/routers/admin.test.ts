import { randomUUID } from 'node:crypto'
import { v7 as uuidv7 } from 'uuid'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { appRouter } from '../../../server/routers/app.js'
import { createSecretBox } from '../../../server/services/secrets.js'
import { createServices } from '../../../server/services/services.js'
import { auditActions } from '../../../shared/contract/admin/audit.js'
import {
  admin,
  daemon,
  deployments,
  oneStore,
  type Rejected,
  recordingLogger,
  rejectionOf,
  startServer,
} from '../services/running-server.js'

/** from the use of a key to its record in the database */
const keyUseMs = 1_000

describe.each(deployments)('$name', deployment => {
  afterEach(() => void vi.useRealTimers())
  const store = oneStore(deployment)
  const uniqueName = (prefix: string) => `${prefix}-${uuidv7().slice(-12)}`
  const unknownRow = { code: 'NOT_FOUND', reason: 'unknown_row' }

  async function operator() {
    const running = await startServer(store(), {}, deployment)
    return { ...running, admin: running.connect(admin).admin }
  }

  describe('users', () => {
    test('users are created, suspended, activated and deleted, by name or id', async () => {
      const { admin } = await operator()
      const username = uniqueName('ada')
      const user = await admin.users.create.mutate({ username })
      expect(user).toMatchObject({ username, status: 'active', isSystem: false, deletedAt: null })
      expect(user.createdAt).toBeInstanceOf(Date)
      expect(await admin.users.setStatus.mutate({ user: username, status: 'suspended' })).toMatchObject({
        id: user.id,
        status: 'suspended',
      })
      expect(await admin.users.setStatus.mutate({ user: user.id.toUpperCase(), status: 'active' })).toEqual(user)
      const deleted = await admin.users.delete.mutate({ user: username })
      expect(deleted.deletedAt).toBeInstanceOf(Date)
      expect(await admin.users.list.query()).toContainEqual(deleted)
    })

    test('share no name while they live', async () => {
      const { admin } = await operator()
      const username = uniqueName('grace')
      await admin.users.create.mutate({ username })
      expect(await rejectionOf(admin.users.create.mutate({ username }))).toMatchObject({
        code: 'CONFLICT',
        reason: 'name_taken',
      })
      await admin.users.delete.mutate({ user: username })
      await expect(admin.users.create.mutate({ username })).resolves.toMatchObject({ username })
    })

    test('users that do not exist are unknown', async () => {
      const { admin } = await operator()
      for (const user of ['nobody', uuidv7()]) {
        expect(await rejectionOf(admin.users.delete.mutate({ user }))).toMatchObject(unknownRow)
        expect(await rejectionOf(admin.users.setStatus.mutate({ user, status: 'active' }))).toMatchObject(unknownRow)
        expect(await rejectionOf(admin.apiKeys.create.mutate({ user }))).toMatchObject(unknownRow)
      }
    })

    test.each(['', '-a', 'a b', 'a/b', 'ä', 'a\0', 'x'.repeat(65), uuidv7()])(
      'users are not called %j',
      async username => {
        const { admin } = await operator()
        const rejected = await rejectionOf(admin.users.create.mutate({ username }))
        expect(rejected.code).toBe('BAD_REQUEST')
        expect(rejected.message).toMatch(/^username: /)
      },
    )
  })

  describe('users by the short form of an id', () => {
    const ending = () => randomUUID().slice(-12)
    const withEnding = (end: string) => `${randomUUID().slice(0, -12)}${end}`

    test('users by the short form of an id are found wherever a user is named, deleted or not', async () => {
      const { admin } = await operator()
      const { id, username } = await admin.users.create.mutate({ username: uniqueName('short') })
      const user = id.slice(-12).toUpperCase()
      expect(await admin.apiKeys.create.mutate({ user })).toMatchObject({ userId: id })
      expect(await admin.apiKeys.list.query({ user })).toMatchObject([{ userId: id }])
      expect(await admin.interceptions.list.query({ user })).toMatchObject({ interceptions: [] })
      expect(await admin.users.delete.mutate({ user })).toMatchObject({ id, username })
      expect(await admin.users.purge.mutate({ user })).toMatchObject({ userId: id, done: true })
      expect(await rejectionOf(admin.users.delete.mutate({ user }))).toMatchObject(unknownRow)
    })

    test('users by the short form of an id are ambiguous when two ids end alike, or one ends as another is called; the message has the candidates', async () => {
      const { admin } = await operator()
      const end = ending()
      const ids = [withEnding(end), withEnding(end)].sort()
      for (const id of ids) await store().createUser({ id, username: uniqueName('alike') })
      const alike = await rejectionOf(admin.users.setStatus.mutate({ user: end, status: 'suspended' }))
      expect(alike).toMatchObject({ code: 'BAD_REQUEST', reason: 'ambiguous_id' })
      expect(alike.message).toBe(`${end} stands for several users: ${ids.join(', ')}; give a whole id`)
      const named = await admin.users.create.mutate({ username: ending() })
      expect(await admin.users.setStatus.mutate({ user: named.username, status: 'active' })).toEqual(named)
      await store().createUser({ id: withEnding(named.username), username: uniqueName('other') })
      expect(await rejectionOf(admin.users.delete.mutate({ user: named.username }))).toMatchObject({
        reason: 'ambiguous_id',
        message: expect.stringContaining(named.id),
      })
    })
  })

  describe('API keys', () => {
    test('API keys are returned whole once, and listed without their secret', async () => {
      const { admin } = await operator()
      const { id: userId, username } = await admin.users.create.mutate({ username: uniqueName('keys') })
      const expiresAt = new Date(Date.now() + 60_000)
      const { key, ...created } = await admin.apiKeys.create.mutate({ user: username, expiresAt })
      expect(key).toMatch(/^[A-Za-z0-9]{10}-[A-Za-z0-9]{22}$/)
      expect(created).toMatchObject({ id: key.slice(0, 10), userId, username, expiresAt })
      expect(await admin.apiKeys.list.query({ user: username })).toEqual([created])
      expect(await admin.apiKeys.list.query({})).toContainEqual(created)
    })

    test('API keys have a name and the time of their last use, which the response to a request does not wait for', async () => {
      const { admin, connect } = await operator()
      const { username } = await admin.users.create.mutate({ username: uniqueName('keys') })
      const created = await admin.apiKeys.create.mutate({ user: username, name: 'laptop' })
      expect(created).toMatchObject({ name: 'laptop', lastUsedAt: null })
      const before = Date.now()
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
      await connect(daemon).authorizer.isAuthorized.query({ key: created.key })
      expect((await admin.apiKeys.list.query({ user: username }))[0]).toMatchObject({ lastUsedAt: null })
      vi.advanceTimersByTime(keyUseMs)
      vi.useRealTimers()
      const lastUse = async () => (await admin.apiKeys.list.query({ user: username }))[0]?.lastUsedAt?.getTime()
      await expect.poll(lastUse).toBeGreaterThanOrEqual(before)
    })

    test('API keys that a server was about to note as used are noted when it closes', async () => {
      const { admin, connect, server } = await operator()
      const { username } = await admin.users.create.mutate({ username: uniqueName('keys') })
      const { key, id } = await admin.apiKeys.create.mutate({ user: username })
      await connect(daemon).authorizer.isAuthorized.query({ key })
      await server.close({ graceMs: 1_000 })
      expect(await store().findApiKey(id)).toMatchObject({ lastUsedAt: expect.any(Date) })
    })

    test('without a name, or with one that is none, are made or rejected', async () => {
      const { admin } = await operator()
      const { username } = await admin.users.create.mutate({ username: uniqueName('keys') })
      expect(await admin.apiKeys.create.mutate({ user: username })).toMatchObject({ name: null })
      for (const name of ['', 'x'.repeat(257)]) {
        const rejected = await rejectionOf(admin.apiKeys.create.mutate({ user: username, name }))
        expect(rejected).toMatchObject({ code: 'BAD_REQUEST', message: expect.stringMatching(/^name: /) })
      }
    })

    test('expire now, unless they already have, and can be deleted', async () => {
      const { admin } = await operator()
      const { username } = await admin.users.create.mutate({ username: uniqueName('keys') })
      const { id } = await admin.apiKeys.create.mutate({ user: username })
      const { expiresAt } = await admin.apiKeys.expire.mutate({ id })
      expect(expiresAt?.getTime()).toBeLessThanOrEqual(Date.now())
      expect((await admin.apiKeys.expire.mutate({ id })).expiresAt).toEqual(expiresAt)
      expect(await admin.apiKeys.delete.mutate({ id })).toEqual({})
      expect(await rejectionOf(admin.apiKeys.delete.mutate({ id }))).toMatchObject(unknownRow)
      expect(await rejectionOf(admin.apiKeys.expire.mutate({ id }))).toMatchObject(unknownRow)
    })

    test('API keys are not made for the past, nor for a deleted user', async () => {
      const { admin } = await operator()
      const { id, username } = await admin.users.create.mutate({ username: uniqueName('keys') })
      const past = await rejectionOf(admin.apiKeys.create.mutate({ user: username, expiresAt: new Date(1_000) }))
      expect(past.code).toBe('BAD_REQUEST')
      expect(past.message).toContain('1970-01-01T00:00:01.000Z')
      await admin.users.delete.mutate({ user: username })
      expect(await rejectionOf(admin.apiKeys.create.mutate({ user: id }))).toMatchObject({
        code: 'PRECONDITION_FAILED',
        reason: 'deleted_user',
      })
    })
  })

  describe('daemon keys', () => {
    test('daemon keys are returned whole once, and listed without their secret', async () => {
      const { admin } = await operator()
      const expiresAt = new Date(Date.now() + 60_000)
      const { key, ...created } = await admin.daemonKeys.create.mutate({ name: 'rack 1', delegate: true, expiresAt })
      expect(key).toMatch(/^[A-Za-z0-9]{10}-[A-Za-z0-9]{22}$/)
      expect(created).toMatchObject({ id: key.slice(0, 10), name: 'rack 1', delegate: true, expiresAt })
      const listed = (await admin.daemonKeys.list.query()).find(({ id }) => id === created.id)
      expect(listed).toEqual({
        id: created.id,
        name: 'rack 1',
        delegate: true,
        createdAt: created.createdAt,
        expiresAt,
        revokedAt: null,
        lastSeenAt: null,
        buildVersion: null,
      })
      expect(created.createdAt).toBeInstanceOf(Date)
    })

    test('daemon keys may do the least unless more is asked for', async () => {
      const { admin } = await operator()
      const created = await admin.daemonKeys.create.mutate({})
      expect(created).toMatchObject({ name: null, delegate: false, expiresAt: null })
    })

    test('daemon keys are listed newest first', async () => {
      const { admin } = await operator()
      const older = await admin.daemonKeys.create.mutate({})
      while (Date.now() <= older.createdAt.getTime()) await admin.daemonKeys.list.query()
      const newer = await admin.daemonKeys.create.mutate({})
      const ids = (await admin.daemonKeys.list.query()).map(({ id }) => id)
      expect(ids.slice(0, 2)).toEqual([newer.id, older.id])
    })

    test('daemon keys are revoked once: a second time succeeds and changes nothing', async () => {
      const { admin } = await operator()
      const { id } = await admin.daemonKeys.create.mutate({})
      const revoked = await admin.daemonKeys.revoke.mutate({ id })
      expect(revoked).toMatchObject({ id, revokedAt: expect.any(Date) })
      while (Date.now() <= (revoked.revokedAt?.getTime() ?? 0)) await admin.daemonKeys.list.query()
      expect(await admin.daemonKeys.revoke.mutate({ id })).toEqual(revoked)
      expect(await admin.daemonKeys.list.query()).toContainEqual(revoked)
    })

    test('daemon keys that do not exist are unknown', async () => {
      const { admin } = await operator()
      expect(await rejectionOf(admin.daemonKeys.revoke.mutate({ id: 'unknown000' }))).toMatchObject(unknownRow)
    })

    test('a whole key where its id belongs is rejected, and not shown', async () => {
      const { admin, logger } = await operator()
      const { key } = await admin.daemonKeys.create.mutate({})
      const rejected = await rejectionOf(admin.daemonKeys.revoke.mutate({ id: key }))
      expect(rejected.code).toBe('BAD_REQUEST')
      expect(rejected.message).toMatch(/^id: /)
      for (const text of [rejected.message, logger.text()]) expect(text).not.toContain(key.slice(11))
    })

    test.each<[string, object, RegExp]>([
      ['the past', { expiresAt: new Date(1_000) }, /^expiresAt: .*1970-01-01T00:00:01\.000Z/],
      ['a year that no Date of ours has', { expiresAt: new Date('+010000-01-01T00:00:00Z') }, /^expiresAt: /],
      ['an empty name', { name: '' }, /^name: /],
      ['a name above 256', { name: 'x'.repeat(257) }, /^name: /],
      ['a delegate that is no boolean', { delegate: 'yes' }, /^delegate: /],
    ])('daemon keys are not made for %s', async (_what, input, message) => {
      const { admin } = await operator()
      const before = await admin.daemonKeys.list.query()
      const rejected = await rejectionOf(admin.daemonKeys.create.mutate(input))
      expect(rejected.code).toBe('BAD_REQUEST')
      expect(rejected.message).toMatch(message)
      expect(await admin.daemonKeys.list.query()).toEqual(before)
    })

    test('daemon keys have a name that the database can hold', async () => {
      const { admin } = await operator()
      const created = await admin.daemonKeys.create.mutate({ name: 'a\0b\ud800' })
      expect(created.name).toBe('a\uFFFDb\uFFFD')
    })

    test('daemon keys and API keys are not taken for each other', async () => {
      const { admin, connect } = await operator()
      const services = createServices({
        store: store(),
        secrets: createSecretBox([new Uint8Array(32)]),
        logger: recordingLogger(),
        ownUrl: () => undefined,
        isStoreWritable: async () => true,
      })
      const { username } = await admin.users.create.mutate({ username: uniqueName('keys') })
      const { key: apiKey } = await admin.apiKeys.create.mutate({ user: username })
      const { key: daemonKey, id } = await admin.daemonKeys.create.mutate({})
      const asDaemon = await rejectionOf(services.daemonKeys.authenticate(apiKey, null))
      expect(asDaemon).toMatchObject({ code: 'UNAUTHORIZED', reason: 'key_invalid' })
      const asUser = await rejectionOf(connect(daemon).authorizer.isAuthorized.query({ key: daemonKey }))
      expect(asUser).toMatchObject({ code: 'UNAUTHORIZED', reason: 'unknown_key' })
      expect(await services.daemonKeys.authenticate(daemonKey, '1.0')).toMatchObject({
        role: 'daemon',
        daemonKeyId: id,
      })
    })

    test('daemon keys that were used are listed with the time and the build of their daemon', async () => {
      const { admin } = await operator()
      const { key, id } = await admin.daemonKeys.create.mutate({})
      const seenAt = new Date('2026-05-01T12:00:00.123Z')
      const services = createServices({
        store: store(),
        secrets: createSecretBox([new Uint8Array(32)]),
        logger: recordingLogger(),
        ownUrl: () => undefined,
        isStoreWritable: async () => true,
        now: () => seenAt,
      })
      await services.daemonKeys.authenticate(key, '1.2.3')
      const listed = (await admin.daemonKeys.list.query()).find(row => row.id === id)
      expect(listed).toMatchObject({ lastSeenAt: seenAt, buildVersion: '1.2.3' })
    })
  })

  describe('providers', () => {
    test('demo is there from the first start', async () => {
      const { admin } = await operator()
      const demo = (await admin.providers.list.query()).find(({ name }) => name === 'demo')
      expect(demo).toMatchObject({ type: 'anthropic', enabled: true, baseUrl: '/demo', keys: [] })
    })

    test('removed stays removed at the next start', async () => {
      const first = await operator()
      await first.admin.providers.remove.mutate({ name: 'demo' })
      const second = await operator()
      expect((await second.admin.providers.list.query()).map(({ name }) => name)).not.toContain('demo')
    })

    test('providers have the default base URL of their type, and keep their keys when none are given', async () => {
      const { admin, connect } = await operator()
      const key = 'sk-ant-api03-0123456789-wxyz'
      const added = await admin.providers.upsert.mutate({ name: 'one', type: 'anthropic', keys: [key] })
      expect(added).toMatchObject({
        name: 'one',
        type: 'anthropic',
        enabled: true,
        baseUrl: 'https://api.anthropic.com',
        keys: ['sk-a…wxyz'],
      })
      const baseUrl = 'http://localhost:8080/x/'
      const changed = await admin.providers.upsert.mutate({ name: 'one', type: 'anthropic', baseUrl })
      expect(changed).toMatchObject({ baseUrl: 'http://localhost:8080/x', keys: ['sk-a…wxyz'] })
      const { providers } = await connect(daemon).providerConfigurator.getProviders.query()
      expect(providers).toContainEqual({
        name: 'one',
        type: 'anthropic',
        enabled: true,
        baseUrl: 'http://localhost:8080/x',
        keys: [key],
        keyIds: changed.keyDetails.map(({ id }) => id),
        revision: changed.updatedAt.toISOString(),
      })
      expect(await admin.providers.upsert.mutate({ name: 'one', type: 'anthropic', keys: [] })).toMatchObject({
        keys: [],
      })
    })

    test('keep what is left out when they are changed: state, base URL, type and keys', async () => {
      const { admin } = await operator()
      const name = 'kept'
      const added = { type: 'openai', baseUrl: 'https://proxy.example/v1', enabled: false } as const
      const before = await admin.providers.upsert.mutate({
        name,
        ...added,
        keys: ['sk-old-key-of-the-vendor-0123456789'],
      })
      expect(before).toMatchObject({ ...added, keys: ['sk-o…6789'] })
      const rotated = await admin.providers.upsert.mutate({ name, keys: ['sk-new-key-of-the-vendor-9876543210'] })
      expect(rotated).toEqual({
        ...before,
        keys: ['sk-n…3210'],
        keyDetails: expect.any(Array),
        updatedAt: expect.any(Date),
      })
      expect(await admin.providers.upsert.mutate({ name, type: 'openai' })).toMatchObject({
        baseUrl: added.baseUrl,
        enabled: false,
      })
      expect(await admin.providers.upsert.mutate({ name, enabled: true })).toMatchObject({
        type: 'openai',
        baseUrl: added.baseUrl,
        enabled: true,
      })
      const { entries } = await admin.audit.list.query({ action: 'providers.upsert', target: name })
      expect(entries.map(({ details }) => details)).toEqual([
        { type: 'openai', enabled: true, baseUrl: added.baseUrl },
        { type: 'openai', enabled: false, baseUrl: added.baseUrl },
        { type: 'openai', enabled: false, baseUrl: added.baseUrl, keys: ['sk-n…3210'] },
        { type: 'openai', enabled: false, baseUrl: added.baseUrl, keys: ['sk-o…6789'] },
      ])
    })

    test('providers of another type have its base URL, and need keys of it: those of one vendor are not sent to another', async () => {
      const { admin } = await operator()
      const name = 'moved'
      await admin.providers.upsert.mutate({ name, baseUrl: 'https://proxy.example', keys: ['sk-ant-0123456789'] })
      const before = (await admin.providers.list.query()).find(row => row.name === name)
      expect(before).toMatchObject({ type: 'anthropic' })
      expect(await rejectionOf(admin.providers.upsert.mutate({ name, type: 'openai' }))).toMatchObject({
        code: 'PRECONDITION_FAILED',
        message: expect.stringMatching(/moved.*anthropic.*openai/),
      })
      expect((await admin.providers.list.query()).find(row => row.name === name)).toEqual(before)
      expect(await admin.providers.upsert.mutate({ name, type: 'openai', keys: [] })).toMatchObject({
        type: 'openai',
        baseUrl: 'https://api.openai.com/v1',
        keys: [],
      })
      expect(await admin.providers.upsert.mutate({ name, type: 'anthropic' })).toMatchObject({
        baseUrl: 'https://api.anthropic.com',
      })
    })

    test('providers may have U+0000 and an @ in the path of their base URL, but no credentials', async () => {
      const { admin } = await operator()
      const upsert = (baseUrl: string) => admin.providers.upsert.mutate({ name: 'two', type: 'anthropic', baseUrl })
      expect(await upsert('https://host/a\0b\ud800')).toMatchObject({ baseUrl: 'https://host/a\uFFFDb\uFFFD' })
      expect(await upsert('https://host/a//b@c')).toMatchObject({ baseUrl: 'https://host/a//b@c' })
      for (const baseUrl of [
        'https://u:p@host/',
        'HTTPS://u@host',
        'https:///u:p@host',
        'https://\\u:p@host',
        'https://h?k=1',
      ]) {
        expect(await rejectionOf(upsert(baseUrl))).toMatchObject({ code: 'BAD_REQUEST' })
      }
    })

    test('providers that are disabled give a daemon no keys', async () => {
      const { admin, connect } = await operator()
      await admin.providers.upsert.mutate({ name: 'two', type: 'anthropic', keys: ['sk-two'] })
      expect(await admin.providers.setEnabled.mutate({ name: 'two', enabled: false })).toMatchObject({ enabled: false })
      const { providers } = await connect(daemon).providerConfigurator.getProviders.query()
      expect(providers.find(({ name }) => name === 'two')).toMatchObject({ enabled: false, keys: [] })
    })

    test('providers that do not exist are unknown', async () => {
      const { admin } = await operator()
      expect(await rejectionOf(admin.providers.remove.mutate({ name: 'none' }))).toMatchObject(unknownRow)
      expect(await rejectionOf(admin.providers.setEnabled.mutate({ name: 'none', enabled: true }))).toMatchObject(
        unknownRow,
      )
    })

    test('providers can be tested, enabled or not, which the audit log notes', async () => {
      const { admin, connect } = await operator()
      await admin.providers.upsert.mutate({ name: 'tested', baseUrl: 'http://127.0.0.1:1', enabled: false })
      const rejected = { name: 'tested', ok: false, failure: 'refused', status: null, models: null, key: null }
      expect(await admin.providers.test.mutate({ name: 'tested' })).toMatchObject(rejected)
      const { entries } = await admin.audit.list.query({ action: 'providers.test', target: 'tested' })
      expect(entries).toMatchObject([{ details: { failure: 'refused', status: null, models: null } }])
      expect(await rejectionOf(admin.providers.test.mutate({ name: 'none' }))).toMatchObject(unknownRow)
      expect(await rejectionOf(connect(daemon).admin.providers.test.mutate({ name: 'tested' }))).toMatchObject({
        code: 'FORBIDDEN',
      })
    })

    test('a provider key never appears in logs or messages', async () => {
      const { admin, connect, logger } = await operator()
      const marked = 'sk-ant-MARKED-SECRET-0123456789'
      const provider = { name: 'marked', type: 'anthropic' } as const
      const rejections: Rejected[] = []
      const answers: unknown[] = [await admin.providers.upsert.mutate({ ...provider, keys: [marked] })]
      for (const input of [
        { ...provider, keys: [`${marked} `] },
        { ...provider, keys: [marked.repeat(100)] },
        { ...provider, keys: Array.from({ length: 33 }, () => marked) },
        { ...provider, keys: [marked], name: 'Not A Slug' },
        { ...provider, keys: [marked], baseUrl: `http://user:${marked}@host` },
      ]) {
        rejections.push(await rejectionOf(admin.providers.upsert.mutate(input)))
      }
      answers.push(await admin.providers.list.query())
      await connect(daemon).providerConfigurator.getProviders.query()
      // A server with another encryption key, which opens one other secret, cannot open this one, and logs an error.
      const [otherKey, ownKey] = [new Uint8Array(32), new Uint8Array(32).fill(7)]
      const both = await startServer(store(), { encryptionKeys: [otherKey, ownKey] }, deployment)
      await both
        .connect({ role: 'admin', name: 'admin' })
        .admin.providers.upsert.mutate({ name: 'readable', keys: ['sk-other'] })
      const other = await startServer(store(), { encryptionKeys: [otherKey] }, deployment)
      const { providers } = await other.connect(daemon).providerConfigurator.getProviders.query()
      expect(providers.map(({ name }) => name)).not.toContain('marked')
      expect(other.logger.lines.some(({ level }) => level === 'error')).toBe(true)
      expect(rejections.map(({ code }) => code)).toEqual(Array.from({ length: 5 }, () => 'BAD_REQUEST'))
      for (const text of [JSON.stringify(rejections), JSON.stringify(answers), logger.text(), other.logger.text()]) {
        expect(text).not.toContain('MARKED')
      }
    })
  })

  describe('interceptions', () => {
    test('interceptions are listed newest first, page by page, without gap or repeat', async () => {
      const { admin, connect } = await operator()
      const initiatorId = uuidv7()
      const { recorder } = connect(daemon)
      const ids: string[] = []
      for (let index = 0; index < 7; index++) {
        const id = uuidv7()
        ids.unshift(id)
        // Two of each time: the id decides between them.
        const startedAt = new Date(Date.UTC(2026, 4, 1, 12, Math.floor(index / 2)))
        await recorder.recordInterception.mutate({
          id,
          initiatorId,
          apiKeyId: 'abcdefghij',
          provider: 'anthropic',
          model: index % 2 ? 'odd' : 'even',
          startedAt,
        })
      }
      const seen: string[] = []
      let cursor: string | undefined
      for (let page = 0; page < 3; page++) {
        const answer = await admin.interceptions.list.query({ user: initiatorId, limit: 3, ...(cursor && { cursor }) })
        seen.push(...answer.interceptions.map(({ id }) => id))
        cursor = answer.nextCursor ?? undefined
      }
      expect(seen).toEqual(ids)
      expect(cursor).toBeUndefined()
      const odd = await admin.interceptions.list.query({ user: initiatorId, model: 'odd' })
      expect(odd.interceptions).toHaveLength(3)
      expect(odd.nextCursor).toBeNull()
      const exact = await admin.interceptions.list.query({ user: initiatorId, limit: 7 })
      expect(exact.nextCursor).toBeNull()
    })

    test('interceptions are listed once each while others arrive between the pages, before and behind the cursor', async () => {
      const { admin, connect } = await operator()
      const initiatorId = uuidv7()
      const { recorder } = connect(daemon)
      const at = (minute: number) => new Date(Date.UTC(2026, 4, 1, 12, minute))
      const add = async (minute: number) => {
        const id = uuidv7()
        const fields = { initiatorId, apiKeyId: 'abcdefghij', provider: 'anthropic', model: 'm', startedAt: at(minute) }
        await recorder.recordInterception.mutate({ id, ...fields })
        return id
      }
      const before: string[] = []
      for (let minute = 0; minute < 20; minute += 2) before.unshift(await add(minute))
      const seen: string[] = []
      const behind: string[] = []
      let cursor: string | undefined
      do {
        const page: Awaited<ReturnType<typeof admin.interceptions.list.query>> = await admin.interceptions.list.query({
          user: initiatorId,
          limit: 3,
          ...(cursor && { cursor }),
        })
        seen.push(...page.interceptions.map(({ id }) => id))
        cursor = page.nextCursor ?? undefined
        const last = page.interceptions.at(-1)
        if (!cursor || !last) break
        await add(60) // newer than all
        await add(last.startedAt.getUTCMinutes() + 1) // just passed
        behind.push(await add(last.startedAt.getUTCMinutes() - 1)) // comes next
      } while (cursor)
      expect(seen.length).toBe(new Set(seen).size)
      expect(behind.length).toBeGreaterThan(2)
      expect(seen.toSorted()).toEqual([...before, ...behind].toSorted())
    })

    test.each([
      '',
      'x',
      '!!!',
      'bm90IGpzb24',
      Buffer.from('[1]').toString('base64url'),
      Buffer.from('[1,"x"]').toString('base64url'),
      Buffer.from(`[-1,"${uuidv7()}"]`).toString('base64url'),
      Buffer.from(`[1e300,"${uuidv7()}"]`).toString('base64url'),
      'x'.repeat(257),
    ])('a malformed cursor is rejected: %j', async cursor => {
      const { admin } = await operator()
      const rejected = await rejectionOf(admin.interceptions.list.query({ cursor }))
      expect(rejected.code).toBe('BAD_REQUEST')
      expect(rejected.message).toMatch(/^cursor: /)
    })

    test('a filter with U+0000 finds nothing, and is no fault of the server', async () => {
      const { admin } = await operator()
      expect(await admin.interceptions.list.query({ client: 'a\0' })).toEqual({
        interceptions: [],
        nextCursor: null,
      })
    })

    test('interceptions are found by the short form of their id, unless it is unknown or several have it', async () => {
      const { admin, connect } = await operator()
      const { recorder } = connect(daemon)
      const end = randomUUID().slice(-12)
      const ids: string[] = []
      const get = (id: string) => admin.interceptions.get.query({ id })
      expect(await rejectionOf(get(end))).toMatchObject(unknownRow)
      for (let count = 0; count < 7; count++) {
        const id = `${randomUUID().slice(0, -12)}${end}`
        const fields = { initiatorId: uuidv7(), apiKeyId: 'abcdefghij', provider: 'anthropic', model: 'm' }
        await recorder.recordInterception.mutate({ id, ...fields, startedAt: new Date() })
        ids.push(id)
        if (count === 0) expect((await get(end.toUpperCase())).interception.id).toBe(id)
      }
      const candidates = `${ids.toSorted().slice(0, 5).join(', ')} and more`
      expect(await rejectionOf(get(end))).toEqual({
        code: 'BAD_REQUEST',
        reason: 'ambiguous_id',
        message: `${end} stands for several interceptions: ${candidates}; give a whole id`,
      })
      for (const id of ['', end.slice(1), `${end}0`, 'x'.repeat(12)]) {
        expect(await rejectionOf(get(id))).toMatchObject({
          code: 'BAD_REQUEST',
          message: expect.stringContaining("id: must be an interception's id, or its last 12 digits"),
        })
      }
    })

    test('an unknown error type is rejected with the list of all', async () => {
      const { admin } = await operator()
      const errorType = 'rate_limit' as 'rate_limited' // what a caller without the types may send
      const rejected = await rejectionOf(admin.interceptions.list.query({ errorType }))
      expect(rejected.code).toBe('BAD_REQUEST')
      expect(rejected.message).toMatch(/^errorType: .*"rate_limited".*"unknown".* \(got "rate_limit"\)$/)
    })

    test('interceptions of a user without any are none; of an unknown name, an error', async () => {
      const { admin } = await operator()
      const { username } = await admin.users.create.mutate({ username: uniqueName('quiet') })
      expect(await admin.interceptions.list.query({ user: username })).toEqual({ interceptions: [], nextCursor: null })
      expect(await rejectionOf(admin.interceptions.list.query({ user: 'nobody' }))).toMatchObject(unknownRow)
      expect(await rejectionOf(admin.interceptions.get.query({ id: uuidv7() }))).toMatchObject(unknownRow)
    })
  })

  test('an unknown action of the audit log is rejected with the list of all, which has every mutation', async () => {
    const { admin } = await operator()
    const action = 'users.make' as 'users.create' // what a caller without the types may send
    const rejected = await rejectionOf(admin.audit.list.query({ action }))
    expect(rejected.code).toBe('BAD_REQUEST')
    expect(rejected.message).toMatch(/^action: .*"users\.create".*"secrets\.rotate".* \(got "users\.make"\)$/)
    const procedures: object = appRouter._def.procedures // by path; the type is that of the nested router
    const mutations = Object.entries(procedures as Record<string, { _def: { type: string } }>)
      .filter(([path, { _def }]) => path.startsWith('admin.') && _def.type === 'mutation')
      .map(([path]) => path.slice('admin.'.length))
    // Reports of a daemon and of a server, and reads, which are no mutations of operators.
    const reports: readonly string[] = ['providers.keyRejected', 'agents.replaced', 'chats.read', 'chats.list']
    const byOperators = auditActions.filter(action => !reports.includes(action))
    expect(mutations.toSorted()).toEqual(byOperators.toSorted())
  })

  test('a daemon may do none of it, whatever it sends', async () => {
    const { connect } = await startServer(store(), {}, deployment)
    const { admin } = connect(daemon)
    const calls = [
      admin.users.list.query(),
      admin.users.create.mutate({ username: 'eve' }),
      admin.users.create.mutate({ username: 'not a name' }),
      admin.apiKeys.create.mutate({ user: 'ada' }),
      admin.daemonKeys.create.mutate({}),
      admin.daemonKeys.create.mutate({ name: '' }),
      admin.daemonKeys.list.query(),
      admin.daemonKeys.revoke.mutate({ id: 'unknown000' }),
      admin.providers.upsert.mutate({ name: 'x', type: 'anthropic' }),
      admin.interceptions.list.query({}),
    ]
    const rejections = await Promise.all(calls.map(rejectionOf))
    expect(new Set(rejections.map(({ code }) => code))).toEqual(new Set(['FORBIDDEN']))
  })
})
