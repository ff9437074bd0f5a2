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
}

/** The servers are sorted by id. */
export interface ServerConfigsOutput {
  servers: McpServerConfig[]
  /** whether a conversation of the user is stored: its requests need it, also when no tool is injected any more */
  hasConversations: boolean
}

/** Reads tokens of a user for MCP servers, each named by its id. */
export const accessTokensInput = z.object({ userId: uuid, serverIds: z.array(slug).max(mcpLimits.maxServers) })

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
