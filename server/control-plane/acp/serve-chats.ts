/** The door `/acp`: the chats of users, for clients of the Agent Client Protocol. */
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { type CloseReason, closeCodes } from '../../../shared/rpc/duplex.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import type { Logger } from '../../../shared/values/log.js'
import type { AcpObserver } from '../../acp/options.js'
import { type AcpListener, serveAcp } from '../../acp/serve-acp.js'
import type { ConnectionGroup } from '../../rpc/connection-group.js'
import type { Credentials } from '../../rpc/upgrade/listener-options.js'
import type { Chats } from '../../services/chats/chats.js'
import type { ChatWatch } from '../../services/chats/watch/chat-watch.js'
import type { UserIdentity } from '../../services/identity.js'
import type { UserPlaces } from '../user-places.js'
import { isChatId } from './agent-params.js'
import { createChatAgent } from './chat-agent.js'

/** Settings of {@link serveChats}. */
export interface ServeChatsOptions {
  server: Server
  path: string
  group: ConnectionGroup
  chats: Chats
  chatWatch: ChatWatch
  /** the provider and the model of new sessions whose client names none */
  defaults: { provider: string; model: string }
  /** Identifies a user by a key; bounds guesses. */
  authenticate(credentials: Credentials): Promise<UserIdentity>
  /** shared with the users' connections to `/rpc` */
  places: UserPlaces
  /** Closes a connection when its key may not be used any more. */
  watchKey(keyId: string, connection: { signal: AbortSignal; close(reason: CloseReason): void }): void
  allowedOrigins: readonly string[]
  /** this process among several behind one address */
  replicaId: string
  buildVersion: string
  /** Called with a socket that the HTTP/1.1 server does not serve. */
  onHttp2Socket(socket: Socket): void
  logger: Logger
  observer?: AcpObserver
}

/** Serves the chats of users as sessions. A lost connection ends no turn. */
export function serveChats({
  chats,
  chatWatch,
  defaults,
  authenticate,
  places,
  watchKey,
  buildVersion,
  logger,
  ...options
}: ServeChatsOptions): AcpListener {
  return serveAcp<UserIdentity>({
    ...options,
    logger,
    requests: 'leave',
    otherUpgrades: 'leave',
    authenticate: credentials => authenticate({ ...credentials, connectionParams: null }),
    admit({ userId }) {
      const ended = new AbortController()
      places.take(userId, ended.signal)
      return () => ended.abort()
    },
    agent({ identity: { userId, apiKeyId }, signal }) {
      const { duplex, close } = createChatAgent({ chats, chatWatch, userId, defaults, buildVersion, logger })
      // The connection ends by a decision about its user, not by a fault of the agent.
      watchKey(apiKeyId, { signal, close: reason => close({ ...reason, code: closeCodes.unauthorized }) })
      return duplex
    },
    async ownsSession({ userId }, sessionId) {
      if (!isChatId(sessionId)) return false
      const reader = { role: 'user', userId } as const
      try {
        await chats.find(sessionId, reader)
        return true
      } catch (error) {
        if (error instanceof RpcError && error.reason === 'unknown_chat') return false
        throw error
      }
    },
  })
}
