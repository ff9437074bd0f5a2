/** MCP servers whose tools may be offered to models. */
import { z } from 'zod'
import { slug, text } from '../fields.js'
import { mcpLimits, recordLimits } from '../limits.js'
import { type AccessTokenError, accessTokenErrors, type McpServerConfig } from '../mcp-configurator.js'
import { regexProblem } from '../regex.js'
import { httpUrl, token } from './fields.js'
import { userRef } from './users.js'

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

/** Lists the tools of an MCP server with a user's token, as a bridge would. */
export const mcpServersTestInput = z.object({ id: slug, user: userRef })

/** How a test of an MCP server can fail: without a token, or at the server. */
export const mcpTestFailures = [
  ...accessTokenErrors,
  /** 401, also with a refreshed token */
  'unauthorized',
  /** no connection */
  'unreachable',
  /** no whole list in time */
  'timeout',
  /** 3xx; redirects are not followed */
  'redirect',
  /** any other status than 2xx */
  'status',
  /** a response above the size limit, or a list without an end */
  'too_large',
  /** a response that is no MCP, or an error in place of a result */
  'no_mcp',
] as const satisfies readonly (AccessTokenError | string)[]

/** One of {@link mcpTestFailures}. */
export type McpTestFailure = (typeof mcpTestFailures)[number]

/** A tool as its server describes it. Texts are the server's, cut. */
export interface McpTestTool {
  name: string
  description: string
  /** whether the server's patterns let users see and call it */
  offered: boolean
}

/** The result of `mcpServers.test`. */
export interface McpServerTest {
  id: string
  username: string
  ok: boolean
  url: string
  /** in the order of the server; empty if the test failed */
  tools: McpTestTool[]
  /** tools without a name, which no client can call */
  unusable: number
  durationMs: number
  failure: McpTestFailure | null
  /** the failure in one sentence, without anything that the server said; null if `ok` */
  message: string | null
}
