/** The door `/acp` of a control plane: keys that end, and faults of the store. */
import { once } from 'node:events'
import { expect, onTestFinished, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { ask, http1, http2, initialize, json, TestClient } from '../../../fixtures/acp/http-client.js'
import { admin, oneStore, startServer } from '../../services/running-server.js'

const store = oneStore()

/** A server, and a user with a key. */
async function listening() {
  const running = await startServer(store())
  const { url } = await running.server.listen({ host: '127.0.0.1', port: 0 })
  const operator = running.connect(admin)
  const { id } = await operator.admin.users.create.mutate({ username: `u${Math.random()}`.replace('.', '') })
  const made = await operator.admin.apiKeys.create.mutate({ user: id })
  const authorization = `Bearer ${made.key}`
  const send = http1(Number(new URL(url).port))
  return {
    ...running,
    url,
    operator,
    authorization,
    send,
    revoke: () => operator.admin.apiKeys.expire.mutate({ id: made.id }),
  }
}

test('a session that the store cannot look up is a fault of the server, and none of the client', async () => {
  const { send, authorization, logger } = await listening()
  const client = await TestClient.open(send, { authorization })
  const sessionId = crypto.randomUUID()
  expect((await client.open(sessionId)).status).toBe(404)
  const fault = vi.spyOn(store(), 'findChat').mockRejectedValueOnce(new Error('MARKED'))
  onTestFinished(() => fault.mockRestore())
  expect((await client.open(sessionId)).status).toBe(500)
  expect(logger.text()).toContain('MARKED')
})

test.each([
  ['a word', 'unknown'],
  ['in capital letters', '0190A5A0-0000-7000-8000-000000000001'],
  ['long', 'x'.repeat(256)],
])('a session whose id is %s is unknown, and no error of the server', async (_, sessionId) => {
  const { send, authorization, logger } = await listening()
  const client = await TestClient.open(send, { authorization })
  const headers = { accept: 'text/event-stream', ...client.headers, 'acp-session-id': sessionId }
  expect(await ask(send, 'GET', headers)).toMatchObject({ status: 404, body: { reason: 'unknown_session' } })
  expect(logger.lines.filter(({ level }) => level === 'error')).toEqual([])
})

test('a revoked key ends its connection over HTTP as unauthorized, without an error in the log', async () => {
  const { send, authorization, revoke, logger } = await listening()
  const client = await TestClient.open(send, { authorization })
  const own = await client.open()
  await revoke()
  expect(await own.end()).toBe('clean')
  expect((await client.post({ method: 'x' })).status).toBe(401)
  expect(logger.lines.filter(({ level }) => level === 'error' || level === 'warn')).toEqual([])
  expect(logger.text()).toContain('unauthorized')
})

test('a revoked key closes its WebSocket with 4401', async () => {
  const { url, authorization, revoke, logger } = await listening()
  const socket = new WebSocket(`${url.replace('http', 'ws')}/acp`, { headers: { authorization } })
  onTestFinished(() => socket.terminate())
  await once(socket, 'open')
  socket.send(JSON.stringify(initialize))
  await once(socket, 'message')
  const closed = once(socket, 'close')
  await revoke()
  const [code, text] = await closed
  expect([code, String(text)]).toEqual([4401, expect.stringMatching(/key/)])
  expect(logger.lines.filter(({ level }) => level === 'error' || level === 'warn')).toEqual([])
})

test('HTTP/2 without TLS serves /acp of a control plane', async () => {
  const { url, authorization } = await listening()
  const client = await TestClient.open(http2(Number(new URL(url).port)), { authorization })
  const own = await client.open()
  await client.post({ id: 1, method: 'session/list', params: {} })
  expect((await own.next()).data).toMatchObject({ id: 1, result: { sessions: [] } })
  expect(await client.delete()).toBe(202)
})

test('B5: a wrong key at /acp is rejected, and logged with its address', async () => {
  const { send, logger } = await listening()
  const authorization = `Bearer ${'0'.repeat(10)}-${'b'.repeat(22)}`
  const reply = await ask(send, 'POST', { ...json, authorization }, JSON.stringify(initialize))
  expect(reply).toMatchObject({ status: 401, body: { reason: 'key_invalid' } })
  expect(logger.lines).toContainEqual({
    level: 'info',
    fields: { code: 'UNAUTHORIZED', reason: 'key_invalid', address: '127.0.0.1' },
    message: 'a connection was rejected',
  })
})

test('B5: a user has 64 places at /rpc and /acp together, at most 32 of them at /acp', async () => {
  const { url, send, authorization } = await listening()
  const openAcp = () => ask(send, 'POST', { ...json, authorization }, JSON.stringify(initialize))
  const openRpc = async () => {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/rpc`, { headers: { authorization } })
    socket.on('error', () => {})
    onTestFinished(() => socket.terminate())
    return Promise.race([
      once(socket, 'open').then(() => 101),
      once(socket, 'unexpected-response').then(([, { statusCode }]) => statusCode),
    ])
  }
  const replies = await Promise.all(Array.from({ length: 32 }, openAcp))
  expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200]))
  expect(await openAcp()).toMatchObject({ status: 503, body: { reason: 'too_many_connections' } })
  expect(new Set(await Promise.all(Array.from({ length: 32 }, openRpc)))).toEqual(new Set([101]))
  expect(await openRpc()).toBe(503)
  const connection = { 'acp-connection-id': String(replies[0]?.headers['acp-connection-id']) }
  expect(await ask(send, 'DELETE', { authorization, ...connection })).toMatchObject({ status: 202 })
  expect(await openRpc()).toBe(101)
})
