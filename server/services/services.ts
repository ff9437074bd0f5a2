import type { Logger } from '../../shared/values/log.js'
import type { ChatRow, Store } from '../store/store.js'
import { type Admin, createAdmin } from './admin/admin.js'
import { type AgentKeys, createAgentKeys } from './admin/agent-keys.js'
import { createDaemonKeys, type DaemonKeys } from './admin/daemon-keys.js'
import type { RotateKeys } from './admin/secret-rotation.js'
import { createUserKeys, type UserKeys } from './admin/user-keys.js'
import { type AgentHosts, noAgents } from './agent-hosts.js'
import { type Chats, createChats } from './chats/chats.js'
import type { LivePartsOf } from './chats/live-parts.js'
import { endCommands } from './chats/runner/commands.js'
import { type ChatWatch, createChatWatch } from './chats/watch/chat-watch.js'
import { type ChatsWatch, createChatsWatch } from './chats/watch/chats-watch.js'
import { type AbandonedInterceptions, createAbandonedInterceptions } from './daemon/abandoned-interceptions.js'
import { type AbandonmentSweep, createAbandonmentSweep } from './daemon/abandonment-sweep.js'
import { type Authorizer, createAuthorizer } from './daemon/authorizer.js'
import { type Conversations, createConversations } from './daemon/conversations.js'
import { createDaemonPresence, type DaemonPresence } from './daemon/daemon-presence.js'
import { createErasures, type Erasures } from './daemon/erasures.js'
import { createKeyUse, type KeyUse } from './daemon/key-use.js'
import { createMcpConfigurator, type McpConfigurator } from './daemon/mcp-configurator.js'
import { createProviderConfigurator, type ProviderConfigurator } from './daemon/provider-configurator.js'
import { createRecorder, type Recorder } from './daemon/recorder.js'
import { createPriceBook, type PriceBook } from './prices/price-book.js'
import { createRecordPricer } from './prices/record-pricer.js'
import type { SecretBox } from './secrets.js'

/** All services, for the routers and for the links below. */
export interface Services {
  readonly recorder: Recorder
  readonly erasures: Erasures
  readonly authorizer: Authorizer
  readonly mcpConfigurator: McpConfigurator
  readonly conversations: Conversations
  readonly providerConfigurator: ProviderConfigurator
  readonly admin: Admin
  /** stopped by the server */
  readonly priceBook: PriceBook
  readonly daemonKeys: DaemonKeys
  readonly agentKeys: AgentKeys
  readonly userKeys: UserKeys
  readonly chats: Chats
  readonly chatWatch: ChatWatch & ChatsWatch
  /** stopped by the server, behind the last call */
  readonly keyUse: KeyUse
  /** stopped by the server, behind the last connection */
  readonly presence: DaemonPresence
  readonly abandoned: AbandonedInterceptions
  /** started and stopped by the server */
  readonly abandonmentSweep: AbandonmentSweep
}

export interface ServicesOptions {
  store: Store
  secrets: SecretBox
  logger: Logger
  /** base URL of this server from its own machine, without a slash at the end; undefined until the server listens */
  ownUrl: () => string | undefined
  /** Returns whether the store takes writes. Never rejects. */
  isStoreWritable: () => Promise<boolean>
  /** each record is also a log line */
  structuredLogging?: boolean
  /** whether prompts and responses are recorded, without which there are no chats; default true */
  recordsContent?: boolean
  /** notified of a chat in which a user has interrupted a turn at this server */
  onChatInterrupt?: (chat: ChatRow) => void
  /** the live parts of running chats, here and at other servers; default: watchers get stored messages only */
  livePartsOf?: LivePartsOf
  /** the agents that are reached; default: none */
  agentHosts?: AgentHosts
  /** the current time; a test's clock */
  now?: () => Date
  /** makes a new key for `secrets`; only if the keys are the server's own */
  rotateKeys?: RotateKeys
  /** longest time that one call of a purge erases */
  purgeSliceMs?: number
  /** absence after which a daemon is gone; default a day */
  interceptionAbandonedAfterMs?: number
  /** called with each record of tokens that has no price, and the reason */
  onUnpriced?: (reason: string) => void
  /** called with the number of interceptions that were ended because their daemon is gone */
  onAbandoned?: (interceptions: number) => void
}

/** Creates the services of one server. */
export function createServices(options: ServicesOptions): Services {
  const daemonKeys = createDaemonKeys(options)
  const agentKeys = createAgentKeys(options)
  const keyUse = createKeyUse(options)
  const presence = createDaemonPresence(options)
  const mcpConfigurator = createMcpConfigurator(options)
  const abandoned = createAbandonedInterceptions({ ...options, presence, onLeft: () => abandonmentSweep.hurry() })
  const abandonmentSweep = createAbandonmentSweep({ ...options, abandoned })
  const authorizer = createAuthorizer({ ...options, keyUse })
  const { store, onUnpriced } = options
  const priceBook = createPriceBook(options)
  const recordPricer = createRecordPricer({ book: priceBook, store, onUnpriced })
  return {
    recorder: createRecorder({ ...options, recordPricer }),
    erasures: createErasures(options),
    authorizer,
    mcpConfigurator,
    conversations: createConversations(options),
    providerConfigurator: createProviderConfigurator(options),
    admin: createAdmin({
      agentHosts: noAgents,
      ...options,
      priceBook,
      daemonKeys,
      agentKeys,
      accessTokens: mcpConfigurator.getServerAccessTokensBatch,
    }),
    priceBook,
    daemonKeys,
    agentKeys,
    userKeys: createUserKeys({ ...options, authorizer }),
    chats: createChats({
      store: options.store,
      recordsContent: options.recordsContent ?? true,
      ...(options.onChatInterrupt && { onInterrupt: options.onChatInterrupt }),
      onDropped: (agent, dropped) =>
        void endCommands({ hosts: options.agentHosts ?? noAgents, logger: options.logger }, agent, dropped, 0),
    }),
    chatWatch: {
      ...createChatWatch({ livePartsOf: () => undefined, ...options }),
      ...createChatsWatch(options),
    },
    keyUse,
    presence,
    abandoned,
    abandonmentSweep,
  }
}
