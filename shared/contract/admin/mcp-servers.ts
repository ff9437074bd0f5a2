/** MCP servers whose tools may be offered to models. */
import { z } from 'zod'
import { slug, text } from '../fields.js'
import { mcpLimits, recordLimits } from '../limits.js'
import type { McpServerConfig } from '../mcp-configurator.js'
import { regexProblem } from '../regex.js'
import { httpUrl, token } from './fields.js'

const toolRegex = z
  .string()
  .max(mcpLimits.maxRegexLength)
  .superRefine((pattern, context) => {
    const problem = regexProblem(pattern)
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
  })

/**
 * Adds an MCP server, or changes the server of this id: absent fields stay, null removes a field. The tools of a new
 * server are not injected unless `inject` says so. The last four fields are for users' linked tokens: `tokenUrl` with
 * `clientId` refreshes a token (RFC 6749, section 6), `validateUrl` says whether a token is still valid (2xx, else 401
 * or 403).
 */
export const mcpServersUpsertInput = z.object({
  id: slug,
  url: httpUrl,
  toolAllowRegex: toolRegex.nullish(),
  toolDenyRegex: toolRegex.nullish(),
  inject: z.boolean().optional(),
  tokenUrl: httpUrl.nullish(),
  clientId: text(recordLimits.maxNameLength).min(1).nullish(),
  clientSecret: token.nullish(),
  validateUrl: httpUrl.nullish(),
})

/** Removes an MCP server and all users' links to it. */
export const mcpServersRemoveInput = z.object({ id: slug })

/** An MCP server as an operator sees it. */
export interface McpServer extends Omit<McpServerConfig, 'needsToken'> {
  tokenUrl: string | null
  clientId: string | null
  hasClientSecret: boolean
  validateUrl: string | null
  createdAt: Date
  updatedAt: Date
}
