/** Runners of chats on one database, with a real bridge, a stand-in provider that counts, and a real agent. */
import { randomUUID } from 'node:crypto'
import { createBridgeDaemon } from '../../../../../client/bridge/daemon.js'
import { createBridgeClient } from '../../../../../client/bridge-client.js'
import { createChatModels } from '../../../../../client/chats/chat-models.js'
import { createBridgeServer } from '../../../../../server/control-plane/server.js'
import type { AgentHosts } from '../../../../../server/services/agent-hosts.js'
import { createChatKeys } from '../../../../../server/services/chats/chat-keys.js'
import { Episodes } from '../../../../../server/services/chats/episodes.js'
import type { ChatModels, StoredPart } from '../../../../../server/services/chats/model.js'
import { createRunChanges, type RunChanges } from '../../../../../server/services/chats/run-changes.js'
import { ChatRunner, type ChatRunnerOptions } from '../../../../../server/services/chats/runner/chat-runner.js'
import { partsOf, storedParts } from '../../../../../server/services/chats/stored-parts.js'
import { beginTurn } from '../../../../../server/services/chats/turns.js'
import { createAuthorizer } from '../../../../../server/services/daemon/authorizer.js'
import type { ChatRow, Store } from '../../../../../server/store/store.js'
import type { ProcessHost } from '../../../../../shared/contract/agents.js'
import type { ChatStatus } from '../../../../../shared/contract/chats.js'
import { rpcError } from '../../../../../shared/contract/error-reasons.js'
import { anthropicProvider, memoryLogger } from '../../../../client/bridge/running-bridge.js'
import { startProvider } from '../../../../fixtures/provider.js'

/** An agent at hand, in place of one behind a link: the same checks of instances. */
export function hostsOf(agent: { host: ProcessHost; instanceId: string; isAway?: boolean }): AgentHosts {
  return {
    async call(_agentId, { instanceId, ...call }, work) {
      if (agent.isAway) throw rpcError('agent_unreachable', 'the agent is not connected')
      const { host, instanceId: own } = agent
      if (instanceId !== undefined && instanceId !== own) throw rpcError('agent_restarted', 'the agent was restarted')
      return work(host, own, { ...call, waitedMs: 0 })
    },
  }
}

/** Makes everything for chats of one user, on a store that the caller closes. */
export async function openChats(store: Store) {
  const { logger, lines } = memoryLogger()
  const provider = await startProvider()
  const server = await createBridgeServer({ store, config: { encryptionKeys: [new Uint8Array(32)] }, logger })
  const { admin, ...adminClient } = createBridgeClient({
    dial: () => server.connectInMemory({ identity: { role: 'admin', name: 'test' } }),
  })
  const { name, type, baseUrl, keys } = anthropicProvider(provider.url)
  await admin.providers.upsert.mutate({ name, type, baseUrl, keys })
  const user = await admin.users.create.mutate({ username: 'test' })
  const agent = await admin.agents.create.mutate({ name: 'builder', user: user.id })
  const identity = { role: 'daemon', name: 'embedded', delegate: true } as const
  const client = createBridgeClient({ dial: () => server.connectInMemory({ identity }) })
  const daemon = createBridgeDaemon({ client, logger, limits: { authCacheTtlMs: 100, outboxFlushMs: 100 } })
  const models = createChatModels({ daemon })
  const runners = new Set<ChatRunner>()
  const episodes = new Set<Episodes>()

  async function historyOf(id: string) {
    const history = await store.readHistory(id)
    if (!history) throw new Error('the chat is gone')
    return {
      row: history.row,
      messages: history.messages.map(({ parts, ...message }) => ({ ...message, parts: partsOf({ parts }) })),
    }
  }

  return {
    provider,
    admin,
    user,
    lines,
    models,
    daemon,
    historyOf,

    /** Starts a runner of its own: a server process, as far as chats see. */
    startRunner(
      options: Partial<ChatRunnerOptions> & {
        wrapModels?: (models: ChatModels) => ChatModels
        wrapChanges?: (changes: RunChanges) => RunChanges
      } = {},
    ) {
      const { wrapModels = same, wrapChanges = same, limits, ...more } = options
      const own = new Episodes()
      episodes.add(own)
      const runner = new ChatRunner({
        store,
        changes: wrapChanges(createRunChanges(store)),
        models: wrapModels(models),
        keys: createChatKeys({ store, authorizer: createAuthorizer({ store }) }),
        hosts: hostsOf({ host: {} as ProcessHost, instanceId: '', isAway: true }), // no call reaches it
        episodes: own,
        logger,
        limits: { pollMs: 50, renewMs: 50, keyCheckMs: 50, retryMinMs: 1, retryMaxMs: 2, ...limits },
        ...more,
      })
      runners.add(runner)
      runner.start()
      return { runner, episodes: own }
    },

    /** Creates a chat whose turn waits for a runner. */
    async newChat(text: string, changes: { withAgent?: boolean; cwd?: string } = {}): Promise<string> {
      const id = randomUUID()
      await store.createChat({
        id,
        ownerId: user.id,
        agentId: changes.withAgent ? agent.id : null,
        provider: 'anthropic',
        model: 'claude-test-1',
        api: 'anthropic-messages',
        title: null,
        system: null,
        cwd: changes.cwd ?? null,
        contentHash: new Uint8Array(32),
      })
      await send(id, text)
      return id
    },

    send,

    /** Interrupts a chat as a user does; returns it. */
    async interrupt(id: string): Promise<ChatRow> {
      const changed = await store.changeChat(id, chat => chat.update({ status: 'interrupting' }))
      if (!changed) throw new Error('the chat is gone')
      return changed.row
    },

    /** Resolves with the chat when it has a status, and a version above the given one. */
    async until(id: string, status: ChatStatus, isMet: (row: ChatRow) => boolean = () => true) {
      for (;;) {
        const changed = new Promise<void>(resolve => {
          const stop = store.onChatChange(chatId => {
            if (chatId !== id && chatId !== null) return
            stop()
            resolve()
          })
        })
        const history = await historyOf(id)
        if (history.row.status === status && isMet(history.row)) return history
        await changed
      }
    },

    async close(): Promise<void> {
      for (const runner of runners) await runner.close({ graceMs: 0 })
      for (const own of episodes) own.close()
      await daemon.close({ graceMs: 0 })
      await client.close()
      await adminClient.close()
      await server.close({ graceMs: 0 })
      await provider.close()
    },
  }

  async function send(id: string, text: string): Promise<void> {
    const parts: StoredPart[] = [{ type: 'text', text }]
    await store.changeChat(id, async chat => {
      const message = { id: randomUUID(), ...storedParts(parts) }
      if (chat.row.status === 'running' || chat.row.status === 'interrupting') await chat.enqueue(message)
      else await beginTurn(chat, message)
    })
  }
}

function same<T>(value: T): T {
  return value
}
