import { randomUUID } from 'node:crypto'
import type { AuthLinkRow, McpServerRow, McpStore } from '../../store/store.js'
import type { SecretBox } from '../secrets.js'
import { InvalidGrant, type OAuthClient } from './oauth-client.js'
import { clientSecretPlace, isExpired, openSecret, TokenRejected, tokenPlace } from './token-secrets.js'

export interface TokenRefresherOptions {
  store: McpStore
  secrets: SecretBox
  oauth: OAuthClient
  now: () => Date
  /** for one refresh, the wait for another process included */
  timeoutMs: number
  /** longer than a refresh and its write may take */
  leaseMs: number
}

/** Pause between two looks for another process's refreshed token. */
const lookAgainMs = 50

/**
 * Refreshes tokens, one refresh at a time for a user and a server: all callers in this process share the refresh, and
 * other processes wait for the result. An authorization server that rotates refresh tokens takes a second use of one
 * token for theft, and revokes all.
 */
export class TokenRefresher {
  readonly #options: TokenRefresherOptions
  readonly #running = new Map<string, Promise<string>>()

  constructor(options: TokenRefresherOptions) {
    this.#options = options
  }

  /**
   * Returns a new access token in place of the token in `link`, stored before the return.
   * @throws TokenRejected, and the errors of the OAuth client
   */
  refresh(server: McpServerRow, link: AuthLinkRow): Promise<string> {
    const key = `${link.userId} ${link.serverId}`
    const running = this.#running.get(key)
    if (running) return running
    const refresh = this.#refresh(server, link).finally(() => this.#running.delete(key))
    this.#running.set(key, refresh)
    // All callers may have stopped waiting.
    refresh.catch(() => {})
    return refresh
  }

  async #refresh(server: McpServerRow, rejected: AuthLinkRow): Promise<string> {
    const { store, secrets, now, timeoutMs, leaseMs } = this.#options
    const giveUpAt = performance.now() + timeoutMs
    const { userId, serverId } = rejected
    for (let link: AuthLinkRow | undefined = rejected; ; ) {
      const { refreshToken } = link
      if (refreshToken === null || server.tokenUrl === null || server.clientId === null) {
        throw new TokenRejected('expired_or_invalid')
      }
      const lease = randomUUID()
      if (await store.claimRefresh({ userId, serverId, refreshToken, lease, leaseMs })) {
        return this.#refreshClaimed(server, link, lease)
      }
      // Another process refreshes, or has refreshed.
      if (performance.now() + lookAgainMs > giveUpAt) throw new TokenRejected('timed_out')
      await new Promise(resolve => setTimeout(resolve, lookAgainMs * (0.5 + Math.random())))
      ;[link] = await store.listAuthLinks({ userId, serverIds: [serverId] })
      if (!link) throw new TokenRejected('no_link')
      const isNew = !Buffer.from(link.accessToken).equals(rejected.accessToken)
      if (isNew && !isExpired(link, now())) return openSecret(secrets, link, 'accessToken')
    }
  }

  async #refreshClaimed(server: McpServerRow, link: AuthLinkRow, lease: string): Promise<string> {
    const { store, secrets, oauth, now, timeoutMs } = this.#options
    const claim = { userId: link.userId, serverId: link.serverId, lease }
    try {
      const tokens = await oauth.refresh({
        url: server.tokenUrl ?? '',
        clientId: server.clientId ?? '',
        clientSecret: server.clientSecret && secrets.open(server.clientSecret, clientSecretPlace(server)),
        refreshToken: openSecret(secrets, link, 'refreshToken'),
        signal: AbortSignal.timeout(timeoutMs),
      })
      const { accessToken, refreshToken, expiresInSeconds } = tokens
      const stored = {
        accessToken: secrets.seal(accessToken, tokenPlace(link, 'accessToken')),
        refreshToken:
          refreshToken === null ? link.refreshToken : secrets.seal(refreshToken, tokenPlace(link, 'refreshToken')),
        expiresAt: expiresInSeconds === null ? null : new Date(now().getTime() + expiresInSeconds * 1000),
      }
      // A link that the user made meanwhile stays; this token is as good as the new link's.
      await store.finishRefresh(claim, stored)
      return accessToken
    } catch (error) {
      if (error instanceof InvalidGrant) {
        // The refresh token will never be valid again, so no later caller has to ask.
        await store.finishRefresh(claim, { ...link, refreshToken: null, expiresAt: link.expiresAt ?? now() })
        throw new TokenRejected('expired_or_invalid', error)
      }
      await store.finishRefresh(claim, null)
      throw error
    }
  }
}
