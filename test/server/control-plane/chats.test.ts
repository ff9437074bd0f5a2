/** Chats of a whole server: procedures of a user, the runner, the bridge in the process, and the provider `demo`. */
import { randomUUID } from 'node:crypto'
import { expect, onTestFinished, test } from 'vitest'
import { createBridgeDaemon } from '../../../client/bridge/daemon.js'
import { createBridgeClient } from '../../../client/bridge-client.js'
import { createChatModels } from '../../../client/chats/chat-models.js'
import { createBridgeServer } from '../../../server/control-plane/server.js'
import { createServerMetrics } from '../../../server/metrics/prometheus.js'
import type { ChatModels } from '../../../server/services/chats/model.js'
import { createGate } from '../../fixtures/provider.js'
import { admin, oneStore, recordingLogger } from '../services/running-server.js'

const store = oneStore()

async function openServer(own?: ChatModels) {
  const logger = recordingLogger()
  const metrics = createServerMetrics()
  const server = await createBridgeServer({
    store: store(),
    logger,
    metrics,
    config: { encryptionKeys: [new Uint8Array(32).fill(7)] },
  })
  await server.listen({ host: '127.0.0.1', port: 0 })
  const identity = { role: 'daemon', name: 'embedded', delegate: true } as const
  const client = createBridgeClient({ dial: () => server.connectInMemory({ identity }) })
  const daemon = createBridgeDaemon({ client, logger })
  const chats = server.runChats({ models: own ?? createChatModels({ daemon }) })
  const operator = createBridgeClient({ dial: () => server.connectInMemory({ identity: admin }) })
  const user = await operator.admin.users.create.mutate({ username: `user-${randomUUID().slice(0, 8)}` })
  const close = async () => {
    await chats.close({ graceMs: 1_000 })
    await daemon.close({ graceMs: 1_000 })
    await client.close()
    await operator.close()
    await server.close({ graceMs: 0 })
  }
  onTestFinished(close)
  return { server, operator, user, metrics, logger, close }
}

test('a chat with the provider demo is served, recorded and shown to its watcher', async () => {
  const { server, operator, user, metrics } = await openServer()
  const key = await operator.admin.apiKeys.create.mutate({ user: user.id })
  const identity = { role: 'user', name: user.username, userId: user.id, apiKeyId: key.id } as const
  const { chats, ...client } = createBridgeClient({ dial: () => server.connectInMemory({ identity }) })
  onTestFinished(async () => void (await client.close()))
  const id = randomUUID()
  const parts = [{ type: 'text' as const, text: 'hello there' }]
  await chats.create.mutate({ id, provider: 'demo', model: 'demo', message: { id: randomUUID(), parts } })
  const kinds = await new Promise<string[]>((resolve, reject) => {
    const seen: string[] = []
    const watch = chats.watch.subscribe(
      { chatId: id },
      {
        onData({ data }) {
          seen.push(data.kind)
          if (data.kind !== 'status' || data.status !== 'waiting') return
          watch.unsubscribe()
          resolve(seen)
        },
        onError: reject,
      },
    )
  })
  expect(kinds[0]).toBe('watching')
  expect(kinds.filter(kind => kind === 'message')).toHaveLength(2)
  expect(kinds).toContain('message_part')
  const { messages } = await chats.messages.query({ chatId: id })
  expect(messages[1]).toMatchObject({
    role: 'assistant',
    parts: [{ type: 'text', text: expect.stringContaining('“hello there”') }],
    finishReason: 'end',
  })
  const interceptionId = messages[1]?.interceptionId ?? ''
  const { interception } = await operator.admin.interceptions.get.query({ id: interceptionId })
  expect(interception).toMatchObject({ initiatorId: user.id, clientSessionId: id, providerName: 'demo' })
  expect(await metrics.text()).toMatch(/^chats_running 0$/m)
})

test('an operator who watches the chat of a user, or all chats, stands in the audit log with the name of the user', async () => {
  const { server, operator, user } = await openServer()
  const key = await operator.admin.apiKeys.create.mutate({ user: user.id })
  const identity = { role: 'user', name: user.username, userId: user.id, apiKeyId: key.id } as const
  const { chats, ...client } = createBridgeClient({ dial: () => server.connectInMemory({ identity }) })
  onTestFinished(async () => void (await client.close()))
  const id = randomUUID()
  await chats.create.mutate({ id, provider: 'demo', model: 'demo' })
  for await (const _ of chats.watch.subscribe({ chatId: id })) break
  const entries = async () => (await operator.admin.audit.list.query({ limit: 50, target: id })).entries
  expect(await entries()).toEqual([])
  for await (const _ of operator.chats.watch.subscribe({ chatId: id })) break
  expect(await entries()).toMatchObject([{ actor: admin.name, action: 'chats.read', username: user.username }])
  const watchAll = operator.chats.watchAll.subscribe(undefined, { onData() {} })
  onTestFinished(() => watchAll.unsubscribe())
  await expect
    .poll(async () => (await operator.admin.audit.list.query({ limit: 1, action: 'chats.list' })).entries)
    .toMatchObject([{ actor: admin.name, target: null, username: null }])
})

test('a watcher of a turn whose key is revoked is shown not_allowed within 5 s', async () => {
  const called = createGate()
  const models: ChatModels = {
    call: () => {
      called.open()
      return new Promise(() => {})
    },
  }
  const { server, operator, user } = await openServer(models)
  const key = await operator.admin.apiKeys.create.mutate({ user: user.id })
  const identity = { role: 'user', name: user.username, userId: user.id, apiKeyId: key.id } as const
  const { chats, ...client } = createBridgeClient({ dial: () => server.connectInMemory({ identity }) })
  onTestFinished(async () => void (await client.close()))
  const id = randomUUID()
  const parts = [{ type: 'text' as const, text: 'hello' }]
  await chats.create.mutate({ id, provider: 'demo', model: 'demo', message: { id: randomUUID(), parts } })
  const failed = (async () => {
    for await (const { data } of chats.watch.subscribe({ chatId: id }))
      if (data.kind === 'error' && data.error) return data
    return expect.fail('the watch has ended')
  })()
  await called.opened
  const own = (await operator.admin.apiKeys.list.query({ user: user.id })).find(({ name }) => name === 'chats')
  const revokedAt = performance.now()
  await operator.admin.apiKeys.expire.mutate({ id: own?.id ?? '' })
  expect(await failed).toMatchObject({ error: { reason: 'not_allowed' } })
  expect(performance.now() - revokedAt).toBeLessThan(5_000)
})

test('a server runs chats once', async () => {
  const { server } = await openServer()
  const models = { call: () => Promise.reject(new Error('not called')) }
  expect(() => server.runChats({ models })).toThrow('the server runs chats already')
})
