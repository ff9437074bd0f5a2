import { randomUUID } from 'node:crypto'
import type { AuthLinkRow, McpServerRow, McpStore } from '../../store/store.js'
import type { SecretBox } from '../secrets.js'
import { InvalidGrant, type OAuthClient } from './oauth-client.js'
import { clientSecretPlace, isExpired, openSecret, TokenRefused, tokenPlace } from './token-secrets.js'

export interface TokenRefresherOptions {
  store: McpStore
  secrets: SecretBox
  oauth: OAuthClient
  now: () => Date
  /** for one refresh, its waiting for another process included */
  timeoutMs: number
  /** longer than a refresh and storing it may take */
  leaseMs: number
}

/** How often somebody who waits for another process's refresh looks whether it is there. */
const lookAgainMs = 50

/**
 * Refreshes tokens, one refresh at a time for a user and a server: all who ask in this process share it, and other processes wait for it. An authorization server
 * that rotates refresh tokens takes a second use of the same one for theft, and revokes all.
 */
export class TokenRefresher {
  readonly #options: TokenRefresherOptions
  readonly #running = new Map<string, Promise<string>>()

  constructor(options: TokenRefresherOptions) {
    this.#options = options
  }

  /**
   * A new access token in place of the one in `link`, stored before it is answered.
   * @throws TokenRefused; what the OAuth client throws
   */
  refresh(server: McpServerRow, link: AuthLinkRow): Promise<string> {
    const key = `${link.userId} ${link.serverId}`
    const running = this.#running.get(key)
    if (running) return running
    const refresh = this.#refresh(server, link).finally(() => this.#running.delete(key))
    this.#running.set(key, refresh)
    // Those who asked may all have stopped waiting.
    refresh.catch(() => {})
    return refresh
  }

  async #refresh(server: McpServerRow, refused: AuthLinkRow): Promise<string> {
    const { store, secrets, now, timeoutMs, leaseMs } = this.#options
    const giveUpAt = performance.now() + timeoutMs
    const { userId, serverId } = refused
    for (let link: AuthLinkRow | undefined = refused; ; ) {
      const { refreshToken } = link
      if (refreshToken === null || server.tokenUrl === null || server.clientId === null) {
        throw new TokenRefused('expired_or_invalid')
      }
      const lease = randomUUID()
      if (await store.claimRefresh({ userId, serverId, refreshToken, lease, leaseMs })) {
        return this.#refreshClaimed(server, link, lease)
      }
      // Somebody else refreshes, or has.
      if (performance.now() + lookAgainMs > giveUpAt) throw new TokenRefused('timed_out')
      await new Promise(resolve => setTimeout(resolve, lookAgainMs * (0.5 + Math.random())))
      ;[link] = await store.listAuthLinks({ userId, serverIds: [serverId] })
      if (!link) throw new TokenRefused('no_link')
      const isNew = !Buffer.from(link.accessToken).equals(refused.accessToken)
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
      // If the user has linked anew meanwhile, that link stays; the token is as good as that one.
      await store.finishRefresh(claim, stored)
      return accessToken
    } catch (error) {
      if (error instanceof InvalidGrant) {
        // It will never be good again, so nobody has to ask again.
        await store.finishRefresh(claim, { ...link, refreshToken: null, expiresAt: link.expiresAt ?? now() })
        throw new TokenRefused('expired_or_invalid', error)
      }
      await store.finishRefresh(claim, null)
      throw error
    }
  }
}
