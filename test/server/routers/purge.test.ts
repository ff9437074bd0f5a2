import { v7 as uuidv7 } from 'uuid'
import { describe, expect, test } from 'vitest'
import { admin, daemon, deployments, oneStore, rejectionOf, startServer } from '../services/running-server.js'

describe.each(deployments)('$name', deployment => {
  const store = oneStore(deployment)
  const at = new Date('2026-05-01T12:00:00.123Z')

  test('users.purge erases a user with all keys and records, and leaves others and the audit log', async () => {
    const { connect } = await startServer(store(), {}, deployment)
    const [{ admin: operator }, { recorder, authorizer }] = [connect(admin), connect(daemon)]
    const username = `ada-${uuidv7().slice(-8)}`
    const { id: userId } = await operator.users.create.mutate({ username })
    const { key } = await operator.apiKeys.create.mutate({ user: username })
    const ids = [userId, userId, uuidv7()].map(initiatorId => ({ id: uuidv7(), initiatorId }))
    for (const { id, initiatorId } of ids) {
      const request = { id, initiatorId, apiKeyId: key.slice(0, 10), provider: 'p', model: 'm', startedAt: at }
      await recorder.recordInterception.mutate(request)
      const child = { id: uuidv7(), interceptionId: id, createdAt: at }
      await recorder.recordPromptUsage.mutate({ ...child, msgId: 'm', prompt: 'hello' })
    }
    // A remote daemon that does not watch for erasures.
    const unwatching = { daemonKeyId: expect.any(String), name: daemon.name, lastSeenAt: expect.any(Date) }
    const unreached = deployment.link === 'WebSocket' ? [unwatching] : []
    expect(await operator.users.purge.mutate({ user: username })).toEqual({
      userId,
      done: true,
      interceptions: 2,
      records: 2,
      apiKeys: 1,
      links: 0,
      conversations: 0,
      chats: 0,
      daemons: { reached: 0, records: 0, unreached },
    })
    const [own, , other] = ids
    expect(await rejectionOf(operator.interceptions.get.query({ id: own?.id ?? '' }))).toMatchObject({
      code: 'NOT_FOUND',
    })
    expect(await operator.interceptions.get.query({ id: other?.id ?? '' })).toMatchObject({ promptUsages: [{}] })
    expect(await rejectionOf(authorizer.isAuthorized.query({ key }))).toMatchObject({ reason: 'unknown_key' })
    expect((await operator.users.list.query()).map(({ id }) => id)).not.toContain(userId)
    const { entries } = await operator.audit.list.query({})
    expect(JSON.stringify(entries)).not.toContain(username)
    expect(entries.filter(({ target }) => target === userId).map(({ action }) => action)).toEqual([
      'users.purge',
      'users.purge',
      'users.create',
    ])
    const child = { id: uuidv7(), interceptionId: own?.id ?? '', createdAt: at, content: 'late' }
    expect(await rejectionOf(recorder.recordModelThought.mutate(child))).toMatchObject({
      reason: 'unknown_interception',
    })
  })

  test('users.purge of an unknown user says so, and a daemon may not', async () => {
    const { connect } = await startServer(store(), {}, deployment)
    for (const user of ['nobody', uuidv7()]) {
      const unknown = { code: 'NOT_FOUND', reason: 'unknown_row' }
      expect(await rejectionOf(connect(admin).admin.users.purge.mutate({ user }))).toMatchObject(unknown)
      expect(await rejectionOf(connect(daemon).admin.users.purge.mutate({ user }))).toMatchObject({ code: 'FORBIDDEN' })
    }
  })
})
