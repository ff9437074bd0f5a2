/** Users at the control plane: an API key opens the chats of its owner, and nothing else. */
import { randomUUID } from 'node:crypto'
import { expect, onTestFinished, test } from 'vitest'
import { type BridgeClient, createBridgeClient, dialRemote } from '../../../client/bridge-client.js'
import { createBridgeServer } from '../../../server/control-plane/server.js'
import { UserPlaces } from '../../../server/control-plane/user-places.js'
import type { DialError } from '../../../shared/rpc/dial-error.js'
import { adminToken, oneStore, recordingLogger, rejectionOf } from '../services/running-server.js'

const store = oneStore()

async function openServer() {
  const logger = recordingLogger()
  const server = await createBridgeServer({
    store: store(),
    logger,
    config: { adminToken, encryptionKeys: [new Uint8Array(32).fill(7)], heartbeatMs: 100 },
  })
  const { url } = await server.listen({ host: '127.0.0.1', port: 0 })
  const open: BridgeClient[] = []
  const connect = (key: string) => {
    const client = createBridgeClient({ url, key })
    open.push(client)
    return client
  }
  onTestFinished(async () => {
    await Promise.all(open.map(client => client.close()))
    await server.close({ graceMs: 0 })
  })
  const admin = connect(adminToken).admin
  return { url, admin, connect, logger }
}

async function makeUser({ admin }: Awaited<ReturnType<typeof openServer>>) {
  const username = `user-${randomUUID().slice(0, 8)}`
  const { id: userId } = await admin.users.create.mutate({ username })
  const key = await admin.apiKeys.create.mutate({ user: username })
  return { username, userId, keyId: key.id, key: key.key }
}

/** The rejection of an upgrade with a key. */
async function rejectedDial(url: string, key: string): Promise<DialError> {
  const dial = dialRemote({ url, key })
  return Promise.resolve(dial({ signal: new AbortController().signal })).then(
    () => Promise.reject(new Error('the key was accepted')),
    (error: DialError) => error,
  )
}

test('a user has the own chats over a WebSocket, and no other procedure', async () => {
  const server = await openServer()
  const { key, userId } = await makeUser(server)
  const client = server.connect(key)
  const id = randomUUID()
  expect(await client.chats.create.mutate({ id, provider: 'demo', model: 'demo' })).toMatchObject({
    id,
    ownerId: userId,
    status: 'waiting',
  })
  expect(await client.chats.list.query()).toMatchObject({ chats: [{ id }], nextCursor: null })
  for (const call of [
    client.admin.users.list.query(),
    client.recorder.ready.query(),
    client.authorizer.isAuthorized.query({ key }),
    client.providerConfigurator.getProviders.query(),
  ]) {
    expect(await rejectionOf(call)).toMatchObject({ code: 'FORBIDDEN' })
  }
})

test('an operator reads the chats of all users, and writes none', async () => {
  const server = await openServer()
  const { key, username } = await makeUser(server)
  const id = randomUUID()
  await server.connect(key).chats.create.mutate({ id, provider: 'demo', model: 'demo' })
  const { chats } = server.connect(adminToken)
  expect(await chats.get.query({ chatId: id })).toMatchObject({ username })
  expect(await rejectionOf(chats.interrupt.mutate({ chatId: id }))).toMatchObject({ code: 'FORBIDDEN' })
})

test('keys of users that are expired, unknown or of a suspended user are rejected, each with its reason', async () => {
  const server = await openServer()
  const { url, admin } = server
  const user = await makeUser(server)
  expect(await rejectedDial(url, `${user.keyId}-${'x'.repeat(22)}`)).toMatchObject({
    status: 401,
    reason: 'key_invalid',
  })
  expect(await rejectedDial(url, `0123456789-${'x'.repeat(22)}`)).toMatchObject({ status: 401, reason: 'key_invalid' })
  await admin.users.setStatus.mutate({ user: user.username, status: 'suspended' })
  expect(await rejectedDial(url, user.key)).toMatchObject({ status: 403, reason: 'key_revoked' })
  await admin.users.setStatus.mutate({ user: user.username, status: 'active' })
  await admin.apiKeys.expire.mutate({ id: user.keyId })
  expect(await rejectedDial(url, user.key)).toMatchObject({ status: 401, reason: 'key_expired' })
  expect(server.logger.text()).not.toContain(user.key)
})

test('the key of an agent opens no chats', async () => {
  const server = await openServer()
  const { username } = await makeUser(server)
  const agent = await server.admin.agents.create.mutate({ name: `agent-${username}`, user: username })
  expect(await rejectedDial(server.url, agent.key)).toMatchObject({ status: 401, reason: 'key_invalid' })
})

test('a key that expires closes the connections of its user within a heartbeat, for good', async () => {
  const server = await openServer()
  const { key, keyId } = await makeUser(server)
  const client = server.connect(key)
  await client.chats.list.query()
  await server.admin.apiKeys.expire.mutate({ id: keyId })
  expect(await client.closed).toMatchObject({ code: 4001, reason: 'key_revoked' })
})

test('the connections of one user and of all users have bounds, and closed ones give their places back', async () => {
  const places = new UserPlaces({ maxConnections: 4, maxConnectionsOfUser: 2 })
  const closed = new AbortController()
  places.take('ada', closed.signal)
  places.take('ada', new AbortController().signal)
  expect(() => places.check('ada')).toThrow(expect.objectContaining({ reason: 'too_many_connections' }))
  places.take('bob', new AbortController().signal)
  places.take('eve', new AbortController().signal)
  expect(() => places.take('joe', closed.signal)).toThrow(expect.objectContaining({ reason: 'too_many_connections' }))
  closed.abort()
  places.check('ada')
  places.check('joe')
})
