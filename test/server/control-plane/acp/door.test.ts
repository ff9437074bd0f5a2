/** The door `/acp` of a control plane: keys that end, and faults of the store. */
import { once } from 'node:events'
import { expect, onTestFinished, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { http1, initialize, TestClient } from '../../../fixtures/acp/http-client.js'
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
