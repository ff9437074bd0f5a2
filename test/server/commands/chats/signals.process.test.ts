/** `aibridge chats` as a process that a signal ends. */
import { randomUUID } from 'node:crypto'
import { afterEach, expect, test } from 'vitest'
import { createRunChanges } from '../../../../server/services/chats/run-changes.js'
import { cleanUp, follow } from '../../../e2e/process.js'
import { admin, oneStore, startServer } from '../../services/running-server.js'

const store = oneStore()
afterEach(cleanUp)

async function user() {
  const { server, connect } = await startServer(store())
  const { port } = new URL((await server.listen({ host: '127.0.0.1', port: 0 })).url)
  const { users, apiKeys } = connect(admin).admin
  const { id } = await users.create.mutate({ username: `user-${randomUUID().slice(0, 8)}` })
  const { key } = await apiKeys.create.mutate({ user: id })
  return { port, key, server }
}

test('Ctrl-C ends a new chat with 130, and its turn goes on', async () => {
  const { port, key } = await user()
  const command = follow(['chats', 'new', 'Hello', '--port', port], { AIBRIDGE_KEY: key })
  const id = await command.line()
  await expect.poll(async () => (await store().findChat(id))?.row.status).toBe('running')
  command.kill('SIGINT')
  expect(await command.exited).toEqual({ code: 130, signal: null })
  expect((await store().findChat(id))?.row.status).toBe('running')
})

test('a watch that follows goes on when its server comes back, and ends with 0 at Ctrl-C', async () => {
  const first = await user()
  const { port, key } = first
  const start = follow(['chats', 'new', 'Hello', '--no-watch', '--port', port], { AIBRIDGE_KEY: key })
  const id = await start.line()
  const watch = follow(['chats', 'watch', id, '--follow', '--port', port], { AIBRIDGE_KEY: key })
  expect(await watch.line()).toBe('> Hello')
  await first.server.close({ graceMs: 100 })

  const runner = randomUUID()
  const row = await store().takeChat({ id, runner, leaseMs: 60_000 })
  const run = { chatId: id, runner, fence: row?.fence ?? 0, historyVersion: row?.historyVersion ?? 0 }
  await createRunChanges(store()).finishTurn(run, [{ role: 'assistant', parts: [{ type: 'text', text: 'Yes.' }] }])
  const second = await startServer(store())
  await second.server.listen({ host: '127.0.0.1', port: Number(port) })
  expect(await watch.line()).toBe('Yes.')
  watch.kill('SIGINT')
  expect(await watch.exited).toEqual({ code: 0, signal: null })
})
