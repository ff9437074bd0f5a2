import { mcpLimits } from '../../../shared/contract/limits.js'
import type { AccessTokenError } from '../../../shared/contract/mcp-configurator.js'
import type { AuthLinkRow, McpServerRow } from '../../store/store.js'
import { type SecretBox, type SecretPlace, SecretUnreadable } from '../secrets.js'

/** The reason for a missing token. */
export class TokenRejected extends Error {
  override readonly name = 'TokenRejected'
  readonly reason: Exclude<AccessTokenError, 'unknown_server'>

  constructor(reason: Exclude<AccessTokenError, 'unknown_server'>, cause?: unknown) {
    super(reason, { cause })
    this.reason = reason
  }
}

/** The place of a user's token for a server. */
export function tokenPlace(
  { userId, serverId }: Pick<AuthLinkRow, 'userId' | 'serverId'>,
  kind: 'accessToken' | 'refreshToken',
): SecretPlace {
  return ['external-auth-link', kind, userId, serverId]
}

/** The place of the client secret for an MCP server's OAuth server. */
export function clientSecretPlace({ id }: Pick<McpServerRow, 'id'>): SecretPlace {
  return ['mcp-server', 'clientSecret', id]
}

/** @throws TokenRejected `validation_failed` if the key that sealed the secret is not configured */
export function openSecret(
  secrets: SecretBox,
  link: Pick<AuthLinkRow, 'userId' | 'serverId' | 'accessToken' | 'refreshToken'>,
  kind: 'accessToken' | 'refreshToken',
): string {
  const sealed = link[kind]
  if (!sealed) throw new TokenRejected('expired_or_invalid')
  try {
    return secrets.open(sealed, tokenPlace(link, kind))
  } catch (error) {
    throw error instanceof SecretUnreadable ? new TokenRejected('validation_failed', error) : error
  }
}

/** A token that expires within the skew would not last for its request. */
export function isExpired({ expiresAt }: Pick<AuthLinkRow, 'expiresAt'>, now: Date): boolean {
  return expiresAt !== null && expiresAt.getTime() - mcpLimits.tokenExpirySkewMs <= now.getTime()
}
