import { hash, randomBytes } from 'node:crypto'
import type {
  AccessTokenError,
  McpServerConfig,
  ServerConfigsOutput,
} from '../../../shared/contract/mcp-configurator.js'
import { abortable } from '../../../shared/values/abortable.js'
import type { Logger } from '../../../shared/values/log.js'
import type { ControlPlane } from '../control-plane/control-plane.js'
import { CachedRead } from './cached-read.js'
import { type ToolFilter, ToolFilters } from './tool-filter.js'

/** A user's token for a server, undefined if the server needs none; or the reason for its absence. */
export type ServerToken = { token: string | undefined } | { error: AccessTokenError }

/** The MCP servers of users, and users' tokens for them. */
export interface ServerDirectory {
  /**
   * Returns the servers of a user, sorted by id, from the cache or the control plane. Concurrent callers share a read.
   * If a read fails, the last list is used.
   * @throws the error of the read if there is no earlier list; the signal's reason
   */
  servers(userId: string, signal?: AbortSignal): Promise<readonly McpServerConfig[]>
  /** Returns the servers as {@link servers} does, and whether the user has stored conversations. */
  user(userId: string, signal?: AbortSignal): Promise<Readonly<ServerConfigsOutput>>
  /** Returns the same without waiting; undefined if it has to be read. */
  known(userId: string): Readonly<ServerConfigsOutput> | undefined
  /**
   * Returns the secret that seals the ids of a user's sessions: 32 bytes, the same on all bridges, and with a control
   * plane below 1.6 this daemon's own.
   * @throws like {@link servers}
   */
  sessionSecret(userId: string, signal?: AbortSignal): Promise<Buffer>
  /**
   * Returns a token of a user for a server, from the cache or the control plane. Errors are not kept: a new link works
   * at once.
   * @param options.rejected the token that the server did not accept: another one is read, once for all callers
   * @throws the error of the read if there is no earlier token; the signal's reason
   */
  token(
    userId: string,
    serverId: string,
    options?: { rejected?: string | undefined; signal?: AbortSignal | undefined },
  ): Promise<ServerToken>
  /** Returns the test of a server's bare tool names: whether users are offered a tool. */
  toolFilter(server: McpServerConfig): ToolFilter
  /** Aborts the reads that are under way. */
  close(): void
}

/** Options of {@link createServerDirectory}. */
export interface ServerDirectoryOptions {
  client: Pick<ControlPlane, 'mcpConfigurator'>
  logger: Logger
  /** see `bridgeLimits` */
  limits: { mcpTtlMs: number; mcpMaxUsers: number; controlPlaneDeadlineMs: number }
}

/** The cached facts of one user. */
interface KnownUser {
  configs: CachedRead<ServerConfigsOutput>
  /** by the server's id; of the user's servers only */
  tokens: Map<string, KnownToken>
}

interface KnownToken {
  read: CachedRead<ServerToken>
  /** the last token that the server did not accept, and the time until which it is not sent again */
  rejected: { token: string; until: number } | undefined
}

/** shortest time between two refreshes of a user's token for a server because of rejections */
const minRefreshMs = 10_000

/** Makes a directory that reads from the control plane and keeps each result for `mcpTtlMs`. */
export function createServerDirectory({ client, logger, limits }: ServerDirectoryOptions): ServerDirectory {
  const { mcpTtlMs: ttlMs, mcpMaxUsers, controlPlaneDeadlineMs: timeoutMs } = limits
  const { mcpConfigurator } = client
  const closed = new AbortController()
  const filters = new ToolFilters(logger)
  /** in the order of the last use */
  const users = new Map<string, KnownUser>()
  const ownSecret = randomBytes(32)
  const configs = (userId: string, signal?: AbortSignal) => within(knownUser(userId).configs.value(), signal)

  return {
    servers: async (userId, signal) => (await configs(userId, signal)).servers,
    known: userId => users.get(userId)?.configs.known(),
    user: configs,

    async sessionSecret(userId, signal) {
      const { sessionSecret } = await configs(userId, signal)
      return sessionSecret === undefined ? ownSecret : Buffer.from(sessionSecret, 'base64url')
    },

    async token(userId, serverId, { rejected, signal } = {}) {
      const { servers } = await configs(userId, signal)
      const server = servers.find(({ id }) => id === serverId)
      if (!server) return { error: 'unknown_server' }
      const known = knownToken(knownUser(userId), userId, serverId)
      if (rejected !== undefined && rejected !== known.rejected?.token) {
        const now = performance.now()
        // A server that rejects each fresh token would make every request a refresh.
        if (known.rejected && now < known.rejected.until - ttlMs + minRefreshMs) return { error: 'expired_or_invalid' }
        known.rejected = { token: rejected, until: now + ttlMs }
        known.read.forget()
      }
      try {
        const result = await within(known.read.value(), signal)
        const isOpen = server.needsToken === false && 'error' in result && result.error === 'no_link'
        return isOpen ? { token: undefined } : result
      } catch (error) {
        if (error instanceof TokenUnchecked) return { error: error.reason }
        throw error
      }
    },

    toolFilter: server => filters.of(server),
    close: () => closed.abort(new Error('the bridge is closed')),
  }

  function within<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    return signal ? abortable(promise, signal) : promise
  }

  function knownUser(userId: string): KnownUser {
    let user = users.get(userId)
    users.delete(userId)
    user ??= { configs: new CachedRead({ read: () => readConfigs(userId), ttlMs }), tokens: new Map() }
    users.set(userId, user)
    const [oldest] = users.keys()
    if (users.size > mcpMaxUsers && oldest !== undefined) users.delete(oldest)
    return user
  }

  function knownToken(user: KnownUser, userId: string, serverId: string): KnownToken {
    let known = user.tokens.get(serverId)
    if (!known) {
      const read = new CachedRead<ServerToken>({
        read: () => readToken(userId, serverId, known?.rejected),
        ttlMs,
        isKept: result => 'token' in result,
      })
      known = { read, rejected: undefined }
      user.tokens.set(serverId, known)
    }
    return known
  }

  async function readConfigs(userId: string): Promise<ServerConfigsOutput> {
    const configs = await call(signal => mcpConfigurator.getServerConfigs.query({ userId }, { signal }))
    const tokens = users.get(userId)?.tokens
    const ids = new Set(configs.servers.map(({ id }) => id))
    for (const id of tokens?.keys() ?? []) if (!ids.has(id)) tokens?.delete(id)
    return configs
  }

  /** @throws TokenUnchecked if the control plane does not know whether the token is valid */
  async function readToken(userId: string, serverId: string, rejected: KnownToken['rejected']): Promise<ServerToken> {
    const rejectedTokens = rejected && { [serverId]: hash('sha256', rejected.token) }
    const input = { userId, serverIds: [serverId], ...(rejectedTokens && { rejectedTokens }) }
    const { accessTokens, errors } = await call(signal =>
      mcpConfigurator.getServerAccessTokensBatch.query(input, { signal }),
    )
    const token = Object.hasOwn(accessTokens, serverId) ? accessTokens[serverId] : undefined
    if (token !== undefined) {
      const isRejected = token === rejected?.token && performance.now() < rejected.until
      return isRejected ? { error: 'expired_or_invalid' } : { token }
    }
    const reason = errors[serverId] ?? 'validation_failed'
    if (reason === 'validation_failed' || reason === 'timed_out') throw new TokenUnchecked(reason)
    return { error: reason }
  }

  async function call<T>(run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    closed.signal.throwIfAborted()
    const deadline = new AbortController()
    const onClose = () => deadline.abort(closed.signal.reason)
    closed.signal.addEventListener('abort', onClose, { once: true })
    const timer = setTimeout(() => deadline.abort(late(timeoutMs)), timeoutMs)
    try {
      // A client of the control plane may not see the signal at once.
      return await abortable(run(deadline.signal), deadline.signal)
    } finally {
      clearTimeout(timer)
      closed.signal.removeEventListener('abort', onClose)
    }
  }
}

/** The token could not be checked, which says nothing about an earlier one. */
class TokenUnchecked extends Error {
  override readonly name = 'TokenUnchecked'
  readonly reason: AccessTokenError

  constructor(reason: AccessTokenError) {
    super(reason)
    this.reason = reason
  }
}

function late(timeoutMs: number): Error {
  return new Error(`the control plane did not respond within ${timeoutMs.toLocaleString('en')} ms`)
}
