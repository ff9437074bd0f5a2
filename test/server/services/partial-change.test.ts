/** Every mutation, with a store that fails at each of its calls: the error says whether a part is stored. */
import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { BridgeClient } from '../../../client/bridge-client.js'
import { appRouter } from '../../../server/routers/app.js'
import { createRunChanges } from '../../../server/services/chats/run-changes.js'
import type { Store, TransactionTables } from '../../../server/store/store.js'
import { mayHaveRunOf, RpcError } from '../../../shared/rpc/errors.js'
import { admin, daemon, oneStore, startServer } from './running-server.js'

const store = oneStore()

interface Clients {
  operator: BridgeClient['admin']
  recorder: BridgeClient['recorder']
  configurator: BridgeClient['providerConfigurator']
  conversations: BridgeClient['conversations']
  /** of a new user */
  chatsOf(userId: string): BridgeClient['chats']
}

const at = new Date('2026-03-04T05:06:07.089Z')
const interception = () => ({
  id: randomUUID(),
  initiatorId: randomUUID(),
  apiKeyId: 'abcdefghij',
  provider: 'anthropic',
  model: 'claude',
  startedAt: at,
})
const child = (interceptionId: string) => ({ id: randomUUID(), interceptionId, msgId: 'm', createdAt: at })
const counts = { inputTokens: 1, outputTokens: 2, cacheReadInputTokens: 0, cacheWriteInputTokens: 0 }

async function newUser({ operator }: Clients): Promise<string> {
  return (await operator.users.create.mutate({ username: `u${randomUUID()}`.slice(0, 20) })).id
}

async function newInterception({ recorder }: Clients): Promise<string> {
  const record = interception()
  await recorder.recordInterception.mutate(record)
  return record.id
}

const message = (text: string) => ({ id: randomUUID(), parts: [{ type: 'text' as const, text }] })

async function newChats(clients: Clients): Promise<BridgeClient['chats']> {
  return clients.chatsOf(await newUser(clients))
}

async function newChat(clients: Clients) {
  const [chats, chatId] = [await newChats(clients), randomUUID()]
  await chats.create.mutate({ id: chatId, provider: 'demo', model: 'demo' })
  return { chats, chatId }
}

/** A chat with a turn that nobody runs, and a message that waits. */
async function runningChat(clients: Clients) {
  const { chats, chatId } = await newChat(clients)
  const [first, queued] = [message('go'), message('wait')]
  for (const sent of [first, queued]) await chats.send.mutate({ chatId, ...sent })
  return { chats, chatId, first: first.id, queued: queued.id }
}

const slug = () => `n${randomUUID().slice(0, 8)}`
const mcpUrl = 'https://wiki.example.com/mcp'

/** Mutation → what prepares one call of it; the call fails at each use of the store in turn. */
const mutations: Readonly<Record<string, (clients: Clients) => Promise<() => Promise<unknown>>>> = {
  'recorder.recordInterception':
    async ({ recorder }) =>
    () =>
      recorder.recordInterception.mutate(interception()),
  'recorder.recordInterceptionEnded': async clients => {
    const id = await newInterception(clients)
    return () => clients.recorder.recordInterceptionEnded.mutate({ id, endedAt: at })
  },
  'recorder.recordTokenUsage': async clients => {
    const id = await newInterception(clients)
    return () => clients.recorder.recordTokenUsage.mutate({ ...child(id), ...counts })
  },
  'recorder.recordPromptUsage': async clients => {
    const id = await newInterception(clients)
    return () => clients.recorder.recordPromptUsage.mutate({ ...child(id), prompt: 'hello' })
  },
  'recorder.recordToolUsage': async clients => {
    const id = await newInterception(clients)
    const tool = { tool: 'read', input: '{}', injected: false }
    return () => clients.recorder.recordToolUsage.mutate({ ...child(id), ...tool })
  },
  'recorder.recordModelThought': async clients => {
    const { msgId: _, ...thought } = child(await newInterception(clients))
    return () => clients.recorder.recordModelThought.mutate({ ...thought, content: 'hm' })
  },
  'recorder.recordBatch': async ({ recorder }) => {
    const records = [{ kind: 'interception' as const, ...interception() }]
    return () => recorder.recordBatch.mutate({ records })
  },
  'recorder.endAbandoned': async ({ recorder }) => {
    const [record, daemonInstance] = [interception(), randomUUID()]
    const stored = { ...record, providerName: 'p', credentialKind: 'centralized' as const }
    const carrier = { daemonInstance }
    await store().record([{ kind: 'interception', record: stored, contentHash: new Uint8Array(32), carrier }])
    return () => recorder.endAbandoned.mutate({ daemonInstances: [daemonInstance] })
  },
  'recorder.confirmErasures': async ({ recorder }) => {
    const [outboxId, erasureId, userId] = [randomUUID(), randomUUID(), randomUUID()]
    const outbox = { outboxId, daemonKeyId: null, isDurable: true }
    await store().recordOutboxWatched(outbox, { watch: randomUUID(), at })
    // A purge that has ended: its late records are erased with the confirmation.
    const purge = async (tables: TransactionTables) => {
      await tables.beginErasure({ erasureId, userId, at })
      await tables.eraseUser(userId)
    }
    await store().audited(purge, () => null)
    return () => recorder.confirmErasures.mutate({ outboxId, erasures: [{ erasureId, records: 1 }] })
  },
  'recorder.retireOutbox':
    async ({ recorder }) =>
    () =>
      recorder.retireOutbox.mutate({ outboxId: randomUUID() }),
  'conversations.pin': async clients => {
    const place = { userId: await newUser(clients), key: '0'.repeat(64) }
    const tool = { fullName: 'bmcp_wiki_find', bareName: 'find', serverId: 'wiki', serverUrl: mcpUrl, description: '' }
    return () => clients.conversations.pin.mutate({ ...place, tools: [{ ...tool, inputSchema: { type: 'object' } }] })
  },
  'conversations.keep': async clients => {
    const place = { userId: await newUser(clients), key: '0'.repeat(64) }
    const turn = { api: 'anthropic/messages', anchors: ['a'], rounds: [{}] }
    return () => clients.conversations.keep.mutate({ ...place, id: randomUUID(), turn })
  },
  'chats.create': async clients => {
    const chats = await newChats(clients)
    const first = message('go')
    return () => chats.create.mutate({ id: randomUUID(), provider: 'demo', model: 'demo', message: first })
  },
  'chats.send': async clients => {
    const { chats, chatId } = await newChat(clients)
    return () => chats.send.mutate({ chatId, ...message('go') })
  },
  'chats.edit': async clients => {
    const { chats, chatId, first } = await runningChat(clients)
    return () => chats.edit.mutate({ chatId, messageId: first, ...message('went') })
  },
  'chats.interrupt': async clients => {
    const { chats, chatId } = await runningChat(clients)
    return () => chats.interrupt.mutate({ chatId })
  },
  'chats.dequeue': async clients => {
    const { chats, chatId, queued } = await runningChat(clients)
    return () => chats.dequeue.mutate({ chatId, id: queued })
  },
  'chats.promote': async clients => {
    const { chats, chatId, queued } = await runningChat(clients)
    return () => chats.promote.mutate({ chatId, id: queued })
  },
  'chats.retry': async clients => {
    const { chats, chatId } = await runningChat(clients)
    const row = await store().takeChat({ id: chatId, runner: randomUUID(), leaseMs: 60_000 })
    const run = { chatId, runner: row?.runner ?? '', fence: row?.fence ?? 0, historyVersion: row?.historyVersion ?? 0 }
    await createRunChanges(store()).failTurn(run, { reason: 'rejected', message: 'no' })
    return () => chats.retry.mutate({ chatId })
  },
  'chats.archive': async clients => {
    const { chats, chatId } = await newChat(clients)
    return () => chats.archive.mutate({ chatId, archived: true })
  },
  'providerConfigurator.reportKey': async ({ operator, configurator }) => {
    const { name, keyDetails, updatedAt } = await operator.providers.upsert.mutate({ name: slug(), keys: ['k1'] })
    const report = { provider: name, keyId: keyDetails[0]?.id ?? '', revision: updatedAt.toISOString() }
    return () => configurator.reportKey.mutate({ ...report, status: 401 })
  },
  'admin.users.create':
    async ({ operator }) =>
    () =>
      operator.users.create.mutate({ username: slug() }),
  'admin.users.setStatus': async clients => {
    const user = await newUser(clients)
    return () => clients.operator.users.setStatus.mutate({ user, status: 'suspended' })
  },
  'admin.users.delete': async clients => {
    const user = await newUser(clients)
    return () => clients.operator.users.delete.mutate({ user })
  },
  'admin.users.purge': async clients => {
    const user = await newUser(clients)
    await clients.recorder.recordInterception.mutate({ ...interception(), initiatorId: user })
    return () => clients.operator.users.purge.mutate({ user })
  },
  'admin.apiKeys.create': async clients => {
    const user = await newUser(clients)
    return () => clients.operator.apiKeys.create.mutate({ user })
  },
  'admin.apiKeys.expire': async clients => {
    const { id } = await clients.operator.apiKeys.create.mutate({ user: await newUser(clients) })
    return () => clients.operator.apiKeys.expire.mutate({ id })
  },
  'admin.apiKeys.delete': async clients => {
    const { id } = await clients.operator.apiKeys.create.mutate({ user: await newUser(clients) })
    return () => clients.operator.apiKeys.delete.mutate({ id })
  },
  'admin.daemonKeys.create':
    async ({ operator }) =>
    () =>
      operator.daemonKeys.create.mutate({}),
  'admin.daemonKeys.revoke': async ({ operator }) => {
    const { id } = await operator.daemonKeys.create.mutate({})
    return () => operator.daemonKeys.revoke.mutate({ id })
  },
  'admin.providers.upsert': async ({ operator }) => {
    const name = slug()
    return () => operator.providers.upsert.mutate({ name, keys: ['k1'], settings: { maxBodyBytes: 1024 } })
  },
  'admin.providers.setEnabled': async ({ operator }) => {
    const { name } = await operator.providers.upsert.mutate({ name: slug() })
    return () => operator.providers.setEnabled.mutate({ name, enabled: false })
  },
  'admin.providers.remove': async ({ operator }) => {
    const { name } = await operator.providers.upsert.mutate({ name: slug() })
    return () => operator.providers.remove.mutate({ name })
  },
  'admin.prices.set': async ({ operator }) => {
    const rates = { input: { base: '1' }, output: { base: '2' } }
    return () => operator.prices.set.mutate({ model: slug(), rates })
  },
  'admin.prices.remove': async ({ operator }) => {
    const { model } = await operator.prices.set.mutate({ model: slug(), multipliers: { priority: '2' } })
    return () => operator.prices.remove.mutate({ model })
  },
  'admin.prices.backfill': async clients => {
    const model = slug()
    const record = { ...interception(), providerName: 'demo', model }
    await clients.recorder.recordInterception.mutate(record)
    await clients.recorder.recordTokenUsage.mutate({ ...child(record.id), ...counts })
    await clients.operator.prices.set.mutate({ model, rates: { input: { base: '1' }, output: { base: '2' } } })
    return () => clients.operator.prices.backfill.mutate({ limit: 1 })
  },
  'admin.providers.test': async ({ operator }) => {
    const { name } = await operator.providers.upsert.mutate({ name: slug(), baseUrl: 'http://127.0.0.1:1' })
    return () => operator.providers.test.mutate({ name })
  },
  'admin.providers.keys.add': async ({ operator }) => {
    const { name } = await operator.providers.upsert.mutate({ name: slug(), keys: ['k1'] })
    return () => operator.providers.keys.add.mutate({ name, keys: ['k2'] })
  },
  'admin.providers.keys.remove': async ({ operator }) => {
    const { name, keyDetails } = await operator.providers.upsert.mutate({ name: slug(), keys: ['k1'] })
    return () => operator.providers.keys.remove.mutate({ name, ids: keyDetails.map(({ id }) => id) })
  },
  'admin.providers.keys.order': async ({ operator }) => {
    const { name, keyDetails } = await operator.providers.upsert.mutate({ name: slug(), keys: ['k1', 'k2'] })
    return () => operator.providers.keys.order.mutate({ name, ids: keyDetails.map(({ id }) => id).reverse() })
  },
  'admin.mcpServers.upsert': async ({ operator }) => {
    const id = slug()
    return () => operator.mcpServers.upsert.mutate({ id, url: mcpUrl })
  },
  'admin.mcpServers.remove': async ({ operator }) => {
    const { id } = await operator.mcpServers.upsert.mutate({ id: slug(), url: mcpUrl })
    return () => operator.mcpServers.remove.mutate({ id })
  },
  'admin.externalAuthLinks.set': async clients => {
    const { id: serverId } = await clients.operator.mcpServers.upsert.mutate({ id: slug(), url: mcpUrl })
    const user = await newUser(clients)
    return () => clients.operator.externalAuthLinks.set.mutate({ user, serverId, accessToken: 'token' })
  },
  'admin.externalAuthLinks.remove': async clients => {
    const { id: serverId } = await clients.operator.mcpServers.upsert.mutate({ id: slug(), url: mcpUrl })
    const user = await newUser(clients)
    await clients.operator.externalAuthLinks.set.mutate({ user, serverId, accessToken: 'token' })
    return () => clients.operator.externalAuthLinks.remove.mutate({ user, serverId })
  },
  'admin.agents.create': async clients => {
    const user = await newUser(clients)
    return () => clients.operator.agents.create.mutate({ name: slug(), user })
  },
  'admin.agents.revoke': async clients => {
    const name = slug()
    await clients.operator.agents.create.mutate({ name, user: await newUser(clients) })
    return () => clients.operator.agents.revoke.mutate({ agent: name })
  },
  'admin.mcpServers.test': async clients => {
    const [user, id] = [await newUser(clients), slug()]
    await clients.operator.mcpServers.upsert.mutate({ id, url: 'http://127.0.0.1:9/mcp' })
    return () => clients.operator.mcpServers.test.mutate({ id, user })
  },
  'admin.secrets.rotate': async ({ operator }) => {
    await operator.providers.upsert.mutate({ name: slug(), keys: ['k1'] })
    return () => operator.secrets.rotate.mutate()
  },
}

/** Mutations that change something at an agent, not in the store; test/server/control-plane/agents.test.ts has them. */
const elsewhere = new Set(['admin.agents.start', 'admin.agents.signal'])

/** Methods of a store that a procedure may use and that change nothing. */
const readsOnly = /^(list|find|get|read|holds|feedEnd|onChange|sync|settle$)/

/** A store that fails at a chosen call, and says so as a store does that was not reached. */
class FailingStore {
  /** calls that pass until one fails */
  left = Number.POSITIVE_INFINITY
  /** calls since `left` was set that may have changed something */
  changes = 0

  readonly store: Store = new Proxy(store(), {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name)
      if (typeof member !== 'function' || name === 'onChange' || name === 'onChatChange') return member
      return (...args: unknown[]) => {
        if (this.left-- <= 0) {
          return Promise.reject(new RpcError('INTERNAL_SERVER_ERROR', 'away', { mayHaveRun: false }))
        }
        if (!readsOnly.test(String(name))) this.changes++
        return member.apply(target, args)
      }
    },
  })
}

test('every mutation has a row', () => {
  const procedures: Readonly<Record<string, { _def: { type: string } }>> = Object(appRouter._def.procedures)
  const all = Object.keys(procedures).filter(path => procedures[path]?._def.type === 'mutation' && !elsewhere.has(path))
  expect(Object.keys(mutations).sort()).toEqual(all.sort())
})

describe('the error of a mutation says whether something may have been changed', () => {
  test.each(Object.entries(mutations))('%s', async (_path, prepare) => {
    const failing = new FailingStore()
    // New keys, so that there is something to rotate.
    const [key, older] = [new Uint8Array(32).fill(8), new Uint8Array(32).fill(7)]
    const { connect } = await startServer(failing.store, {
      encryptionKeys: [older],
      rotateKeys: async () => {
        failing.changes++
        return { keys: [key, older], finish: async () => {} }
      },
    })
    const { recorder, providerConfigurator: configurator, conversations } = connect(daemon)
    const chatsOf = (userId: string) => connect({ role: 'user', name: 'ada', userId, apiKeyId: 'abcdefghij' }).chats
    const clients = { operator: connect(admin).admin, recorder, configurator, conversations, chatsOf }
    let isDone = false
    for (let calls = 0; !isDone; calls++) {
      const call = await prepare(clients)
      Object.assign(failing, { left: calls, changes: 0 })
      const error: unknown = await call().then(
        () => undefined,
        (thrown: unknown) => thrown,
      )
      const { changes } = failing
      failing.left = Number.POSITIVE_INFINITY
      isDone = error === undefined
      if (!isDone) expect({ calls, mayHaveRun: mayHaveRunOf(error) }).toEqual({ calls, mayHaveRun: changes > 0 })
      else expect(calls).toBeGreaterThan(0)
    }
  })
})
