import { hash } from 'node:crypto'
import type { z } from 'zod'
import { mcpLimits } from '../../../shared/contract/limits.js'
import type {
  AccessTokenError,
  AccessTokensOutput,
  accessTokensInput,
  ServerConfigsOutput,
  serverConfigsInput,
} from '../../../shared/contract/mcp-configurator.js'
import { abortable } from '../../../shared/values/abortable.js'
import type { Logger } from '../../../shared/values/log.js'
import type { AuthLinkRow, ConversationStore, McpServerRow, McpStore } from '../../store/store.js'
import type { SecretBox } from '../secrets.js'
import { httpOAuthClient, type OAuthClient } from '../tools/oauth-client.js'
import { TokenRefresher } from '../tools/token-refresher.js'
import { isExpired, openSecret, TokenRejected } from '../tools/token-secrets.js'

export interface McpConfigurator {
  /** Returns every MCP server, sorted by id, and the user's facts beside them. */
  getServerConfigs(input: z.output<typeof serverConfigsInput>): Promise<ServerConfigsOutput>
  /**
   * Returns a valid token for each server, or the reason for its absence; each id is in exactly one of the two maps,
   * repeated ids once. Tokens are checked in parallel, each within `tokenValidationTimeoutMs`. An expired or rejected
   * token is refreshed, once for all concurrent callers; so is one that the daemon saw rejected.
   * @throws RpcError `INTERNAL_SERVER_ERROR` when the store fails
   */
  getServerAccessTokensBatch(input: z.output<typeof accessTokensInput>): Promise<AccessTokensOutput>
}

export interface McpConfiguratorOptions {
  store: McpStore & Pick<ConversationStore, 'hasConversations'>
  secrets: SecretBox
  logger: Logger
  now?: () => Date
  oauth?: OAuthClient
  /** see {@link mcpLimits} */
  tokenValidationTimeoutMs?: number
  refreshLeaseMs?: number
}

export function createMcpConfigurator(options: McpConfiguratorOptions): McpConfigurator {
  const { store, secrets, logger, now = () => new Date(), oauth = httpOAuthClient } = options
  const { tokenValidationTimeoutMs = mcpLimits.tokenValidationTimeoutMs } = options
  const { refreshLeaseMs = mcpLimits.refreshLeaseMs } = options
  const refresher = new TokenRefresher({
    store,
    secrets,
    oauth,
    now,
    timeoutMs: tokenValidationTimeoutMs,
    leaseMs: refreshLeaseMs,
  })

  /** @throws TokenRejected */
  async function tokenOf(
    server: McpServerRow,
    link: AuthLinkRow,
    rejected: string | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    if (isExpired(link, now())) return abortable(refresher.refresh(server, link), signal)
    const accessToken = openSecret(secrets, link, 'accessToken')
    if (rejected !== undefined && hash('sha256', accessToken, 'hex') === rejected) {
      return abortable(refresher.refresh(server, link), signal)
    }
    if (server.validateUrl === null) return accessToken
    const state = await oauth.validate({ url: server.validateUrl, accessToken, signal })
    return state === 'valid' ? accessToken : abortable(refresher.refresh(server, link), signal)
  }

  async function within(
    server: McpServerRow | undefined,
    link: AuthLinkRow | undefined,
    rejected: string | undefined,
  ): Promise<{ token: string } | { error: AccessTokenError }> {
    if (!server) return { error: 'unknown_server' }
    if (!link) return { error: 'no_link' }
    const timeout = new AbortController()
    const timer = setTimeout(() => timeout.abort(new TokenRejected('timed_out')), tokenValidationTimeoutMs)
    try {
      return { token: await tokenOf(server, link, rejected, timeout.signal) }
    } catch (error) {
      if (timeout.signal.aborted) return { error: 'timed_out' }
      if (error instanceof TokenRejected && error.reason !== 'validation_failed') return { error: error.reason }
      logger.warn({ err: error, server: server.id, user: link.userId }, 'a token could not be validated')
      return { error: 'validation_failed' }
    } finally {
      clearTimeout(timer)
    }
  }

  return {
    async getServerConfigs({ userId }) {
      const [servers, hasConversations] = await Promise.all([store.listMcpServers(), store.hasConversations(userId)])
      return {
        servers: servers.map(({ id, url, toolAllowRegex, toolDenyRegex, inject, tokenUrl, validateUrl }) => ({
          id,
          url,
          toolAllowRegex,
          toolDenyRegex,
          inject,
          needsToken: tokenUrl !== null || validateUrl !== null,
        })),
        hasConversations,
        sessionSecret: secrets.derive(['mcp sessions', userId]).toString('base64url'),
      }
    },

    async getServerAccessTokensBatch({ userId, serverIds, rejectedTokens = {} }) {
      const ids = [...new Set(serverIds)]
      if (ids.length === 0) return { accessTokens: {}, errors: {} }
      const [servers, links] = await Promise.all([
        store.listMcpServers(),
        store.listAuthLinks({ userId, serverIds: ids }),
      ])
      const results = await Promise.all(
        ids.map(async id => {
          const server = servers.find(row => row.id === id)
          const link = links.find(row => row.serverId === id)
          return {
            id,
            ...(await within(server, link, Object.hasOwn(rejectedTokens, id) ? rejectedTokens[id] : undefined)),
          }
        }),
      )
      // An assignment would fail for an id such as `constructor`.
      return {
        accessTokens: Object.fromEntries(
          results.flatMap(result => ('token' in result ? [[result.id, result.token]] : [])),
        ),
        errors: Object.fromEntries(results.flatMap(result => ('error' in result ? [[result.id, result.error]] : []))),
      }
    },
  }
}
