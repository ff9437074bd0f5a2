/**
 * The mcpConfigurator: the MCP servers that a user's requests may use, and the tokens for them. Responses hold secrets
 * and are never logged.
 */
import { z } from 'zod'
import { slug, uuid } from './fields.js'
import { mcpLimits } from './limits.js'

/** Reads the MCP servers that a user may use. `userId` is a UUID. */
export const serverConfigsInput = z.object({ userId: uuid })

/** An MCP server as a daemon gets it. */
export interface McpServerConfig {
  /** slug */
  id: string
  /** of its streamable HTTP endpoint */
  url: string
  /** a tool is offered if its bare name matches this pattern, where given (JavaScript, flag `u`), */
  toolAllowRegex: string | null
  /** and does not match this */
  toolDenyRegex: string | null
  /** whether bridges put its tools into model requests and run their calls */
  inject: boolean
  /**
   * false: the server has no settings for tokens, so it is called without one where the user has no link; true, or from
   * a control plane below 1.6 undefined: a user without a link cannot use the server
   */
  needsToken?: boolean
}

/** The servers are sorted by id. */
export interface ServerConfigsOutput {
  servers: McpServerConfig[]
  /** whether a conversation of the user is stored: its requests need it, also when no tool is injected any more */
  hasConversations: boolean
  /**
   * 32 bytes in base64url, the same for all daemons until the control plane's own key changes: seals the ids of the
   * user's MCP sessions
   */
  sessionSecret?: string
}

/**
 * Reads tokens of a user for MCP servers, each named by its id.
 * - `rejectedTokens` server's id → SHA-256 (hex) of a token that the server did not accept; the token with this hash is
 *   refreshed, whatever its expiry
 */
export const accessTokensInput = z.object({
  userId: uuid,
  serverIds: z.array(slug).max(mcpLimits.maxServers),
  rejectedTokens: z.record(slug, z.string().regex(/^[0-9a-f]{64}$/)).optional(),
})

/** The reason for a missing token. */
export const accessTokenErrors = [
  'unknown_server',
  /** the user never linked the server */
  'no_link',
  /** the user has to link the server again */
  'expired_or_invalid',
  /** the token's server could not be reached, or sent an unexpected response */
  'validation_failed',
  'timed_out',
] as const

/** One of {@link accessTokenErrors}. */
export type AccessTokenError = (typeof accessTokenErrors)[number]

/** Each requested id is in exactly one of the two maps. */
export interface AccessTokensOutput {
  accessTokens: Record<string, string>
  errors: Record<string, AccessTokenError>
}
