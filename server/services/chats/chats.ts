import { createHash } from 'node:crypto'
import type { z } from 'zod'
import type {
  Chat,
  ChatApi,
  ChatList,
  ChatMessages,
  CreateChat,
  chatInput,
  chatsArchiveInput,
  chatsInterruptInput,
  chatsListInput,
  chatsMessagesInput,
  chatsQueuedInput,
  EditMessage,
  SendMessage,
  SentMessage,
} from '../../../shared/contract/chats.js'
import { rpcError } from '../../../shared/contract/error-reasons.js'
import { adminLimits, chatLimits } from '../../../shared/contract/limits.js'
import type { ProviderType } from '../../../shared/contract/provider-configurator.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import type {
  AgentStore,
  AuditedWrites,
  ChatChange,
  ChatRow,
  ChatStore,
  ProviderStore,
  ShortIdStore,
  UserStore,
} from '../../store/store.js'
import { initiatorOf } from '../admin/find-user.js'
import { pageOf } from '../admin/pages.js'
import { afterChange } from '../partial-change.js'
import { unknownRow } from '../unknown-row.js'
import { ReadTrace } from './read-trace.js'
import { type MessageCalls, openStepOf } from './runner/history.js'
import { shownChat, shownMessage, shownQueued } from './shown-chat.js'
import type { ToolAgent } from './tools/process-tools.js'
import * as changes from './user-changes.js'

/** The caller of a procedure: a user, whose chats are the own ones, or an operator, who reads all. */
export type ChatReader = { role: 'user'; userId: string } | { role: 'admin'; name: string }

/**
 * The chats of users. A chat of another user is unknown (`NOT_FOUND`, unknown_chat). On a server that does not record
 * content every procedure is `PRECONDITION_FAILED` (chats_need_content). What names the id of a chat or a message that
 * the caller made may be repeated; `interrupt`, `promote` and `retry` would act on whatever the chat does by then.
 * A read of an operator leaves an audit entry, one a minute for each chat at this server, and fails without it.
 */
export interface Chats {
  /**
   * @throws RpcError `CONFLICT` (content_differs) if the id was used for another chat; unknown_row for an unknown
   *   provider or agent; `BAD_REQUEST` for an API that the provider does not have
   */
  create(input: CreateChat, userId: string): Promise<Chat>
  /** @throws RpcError as `send` of user-changes.ts; the same holds for the procedures below */
  send(input: SendMessage, userId: string): Promise<SentMessage>
  edit(input: EditMessage, userId: string): Promise<SentMessage>
  interrupt(input: z.output<typeof chatsInterruptInput>, userId: string): Promise<Record<string, never>>
  dequeue(input: z.output<typeof chatsQueuedInput>, userId: string): Promise<Record<string, never>>
  promote(input: z.output<typeof chatsQueuedInput>, userId: string): Promise<Record<string, never>>
  retry(input: z.output<typeof chatInput>, userId: string): Promise<Record<string, never>>
  archive(input: z.output<typeof chatsArchiveInput>, userId: string): Promise<Record<string, never>>
  get(input: z.output<typeof chatInput>, reader: ChatReader): Promise<Chat>
  list(input: z.output<typeof chatsListInput>, reader: ChatReader): Promise<ChatList>
  messages(input: z.output<typeof chatsMessagesInput>, reader: ChatReader): Promise<ChatMessages>
  /** Checks a watch of all chats of the reader. @throws RpcError chats_need_content on a server without chats */
  openWatchAll(reader: ChatReader): Promise<void>
  /** Returns the id of the workspace agent of a user who has one that is not revoked; else null. */
  onlyAgentOf(userId: string): Promise<string | null>
  /** Returns the row of a chat that the reader may see. */
  find(chatId: string, reader: ChatReader): Promise<ChatRow>
}

/** Settings of {@link createChats}. */
export interface ChatsOptions {
  store: ChatStore &
    ProviderStore &
    Pick<AgentStore, 'findAgent' | 'listAgents'> &
    Pick<UserStore, 'findUser'> &
    ShortIdStore &
    AuditedWrites
  /** whether prompts and responses are recorded; without them no chats */
  recordsContent: boolean
  /** notified when this server has stored an interrupt, so that it can end a turn whose runner does not respond */
  onInterrupt?: (chat: ChatRow) => void
  /** notified when a change has dropped calls whose commands may run, so that they end although their server is dead */
  onDropped?: (agent: ToolAgent, dropped: MessageCalls) => void
  /** the clock of audit entries about reads, in ms; a test's clock */
  clockMs?: () => number
}

/** API → the type of the providers that have it; the first of a type is the default. */
const apis: readonly (readonly [ChatApi, ProviderType])[] = [
  ['anthropic-messages', 'anthropic'],
  ['openai-responses', 'openai'],
  ['openai-chat', 'openai'],
]

/** Creates {@link Chats}. */
export function createChats({ store, recordsContent, onInterrupt, onDropped, clockMs }: ChatsOptions): Chats {
  const trace = new ReadTrace({ store, clockMs })

  function checkContent(): void {
    if (!recordsContent) throw rpcError('chats_need_content', 'this server does not record content, which chats need')
  }

  async function find(chatId: string, reader: ChatReader): Promise<ChatRow> {
    checkContent()
    const found = await store.findChat(chatId)
    if (!found || !mayRead(found.row, reader)) throw unknownChat(chatId)
    if (reader.role === 'admin') {
      const details = { userId: found.row.ownerId }
      await trace.note({ actor: reader.name, action: 'chats.read', target: chatId, details })
    }
    return found.row
  }

  /** Notes that an operator lists the chats of a user, or of all. */
  async function noteList(reader: ChatReader, userId: string | undefined): Promise<void> {
    if (reader.role !== 'admin') return
    const details = userId === undefined ? null : { userId }
    await trace.note({ actor: reader.name, action: 'chats.list', target: null, details })
  }

  async function change<T>(
    chatId: string,
    userId: string,
    work: (chat: ChatChange) => Promise<T>,
  ): Promise<{ result: T; row: ChatRow }> {
    checkContent()
    let begun: Commands | undefined
    const changed = await store.changeChat(chatId, async chat => {
      if (chat.row.ownerId !== userId) throw unknownChat(chatId)
      begun = await commandsOf(chat)
      return work(chat)
    })
    if (!changed) throw unknownChat(chatId)
    if (begun && changed.row.agentInstance === null) onDropped?.(begun.agent, begun.step)
    return changed
  }

  /** A change whose response is empty. */
  async function act(
    chatId: string,
    userId: string,
    work: (chat: ChatChange) => Promise<void>,
  ): Promise<Record<string, never>> {
    const { row } = await change(chatId, userId, work)
    if (row.status === 'interrupting') onInterrupt?.(row)
    return {}
  }

  async function withQueue(row: ChatRow): Promise<Chat> {
    const sync = await store.syncChat({
      id: row.id,
      afterSeq: chatLimits.maxSeq,
      historyVersion: chatLimits.maxSeq,
      limit: 1,
      maxBytes: 1,
    })
    if (!sync) throw unknownChat(row.id)
    return { ...shownChat(sync.row), queue: sync.queue.map(shownQueued) }
  }

  async function apiOf(input: CreateChat): Promise<ChatApi> {
    const provider = (await store.listProviders()).find(({ name, enabled }) => name === input.provider && enabled)
    if (!provider) throw unknownRow('enabled provider', input.provider)
    const own = apis.filter(([, type]) => type === provider.type).map(([api]) => api)
    const api = input.api ?? own[0]
    if (api === undefined || !own.includes(api)) {
      const message = `api: provider ${input.provider} is of type ${provider.type}, which has ${own.join(' and ')}`
      throw new RpcError('BAD_REQUEST', message)
    }
    return api
  }

  async function agentOf({ agent }: CreateChat, userId: string): Promise<string | null> {
    if (agent === undefined) return null
    const found = await store.findAgent(agent)
    if (!found || found.userId !== userId || found.revokedAt) throw unknownRow('agent', agent)
    return found.id
  }

  return {
    find,

    async openWatchAll(reader) {
      checkContent()
      await noteList(reader, undefined)
    },

    async onlyAgentOf(userId) {
      const own = (await store.listAgents()).filter(agent => agent.userId === userId && !agent.revokedAt)
      return own.length === 1 ? (own[0]?.id ?? null) : null
    },

    async create(input, userId) {
      checkContent()
      const contentHash = createHash('sha256').update(JSON.stringify(input)).digest()
      const { message } = input
      const earlier = await known(input.id, userId, contentHash)
      if (earlier) return withQueue(earlier)
      const [api, agentId] = await Promise.all([apiOf(input), agentOf(input, userId)])
      const { id, provider, model, title = null, system = null, cwd = null } = input
      const chat = { id, ownerId: userId, agentId, provider, model, api, title, system, cwd, contentHash }
      const created = await store.createChat(chat, message && (change => changes.send(change, message)))
      return afterChange(async () => {
        const row = created ?? (await known(id, userId, contentHash))
        if (!row) throw unknownChat(id)
        return withQueue(row)
      })
    },

    async send({ chatId, ...message }, userId) {
      const { result, row } = await change(chatId, userId, chat => changes.send(chat, message))
      if (row.status === 'interrupting') onInterrupt?.(row)
      return result
    },

    async edit({ chatId, ...message }, userId) {
      return (await change(chatId, userId, chat => changes.edit(chat, message))).result
    },

    interrupt: ({ chatId, ...input }, userId) => act(chatId, userId, chat => changes.interrupt(chat, input)),
    dequeue: ({ chatId, id }, userId) => act(chatId, userId, chat => changes.dequeue(chat, { id })),
    promote: ({ chatId, id }, userId) => act(chatId, userId, chat => changes.promote(chat, { id })),
    retry: ({ chatId }, userId) => act(chatId, userId, changes.retry),
    archive: ({ chatId, archived }, userId) => act(chatId, userId, chat => changes.archive(chat, { archived })),

    get: async ({ chatId }, reader) => withQueue(await find(chatId, reader)),

    async list({ limit = adminLimits.defaultPageSize, cursor, archived, user } = {}, reader) {
      checkContent()
      const ownerId =
        reader.role === 'user' ? reader.userId : user === undefined ? undefined : await initiatorOf(store, user)
      await noteList(reader, ownerId)
      const { rows, nextCursor } = await pageOf<ChatRow>({
        limit,
        cursor,
        positionOf: ({ updatedAt, id }) => ({ time: updatedAt, id }),
        read: (before, count) =>
          store.listChats({
            ownerId,
            archived,
            before: before && { updatedAt: before.time, id: before.id },
            limit: count,
          }),
      })
      return { chats: rows.map(shownChat), nextCursor }
    },

    async messages({ chatId, after = 0, limit = adminLimits.defaultPageSize }, reader) {
      await find(chatId, reader)
      const { messages, hasMore } = await store.listMessages({
        chatId,
        after,
        limit,
        maxBytes: chatLimits.maxPageBytes,
      })
      return { messages: messages.map(shownMessage), next: hasMore ? (messages.at(-1)?.seq ?? null) : null }
    },
  }

  /** A chat that a call before this one has created. */
  async function known(id: string, userId: string, contentHash: Uint8Array): Promise<ChatRow | null> {
    const found = await store.findChat(id)
    if (!found) return null
    // The id of another user's chat is as unknown as any id, and as free as one that is taken.
    if (found.row.ownerId !== userId || Buffer.compare(found.contentHash, contentHash) !== 0) {
      throw rpcError('content_differs', `the id ${id} was used for another chat`)
    }
    return found.row
  }
}

interface Commands {
  agent: ToolAgent
  step: MessageCalls
}

/** Returns the open calls of a chat, if commands of theirs were begun. */
async function commandsOf(chat: ChatChange): Promise<Commands | undefined> {
  const { id: chatId, agentId, agentInstance: instanceId, cwd } = chat.row
  if (agentId === null || instanceId === null) return undefined
  const step = openStepOf(await chat.lastTurn())
  return step && { agent: { agentId, chatId, cwd, instanceId }, step }
}

function mayRead(row: ChatRow, reader: ChatReader): boolean {
  return reader.role === 'admin' || row.ownerId === reader.userId
}

function unknownChat(id: string): RpcError<'unknown_chat'> {
  return rpcError('unknown_chat', `no chat has the id ${id}`)
}
