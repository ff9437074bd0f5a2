/** The patterns of an MCP server, as daemons and the control plane read them. */
import type { McpServerConfig } from './mcp-configurator.js'

/** Returns whether a user is offered the tool of this bare name. */
export type ToolFilter = (bareName: string) => boolean

/**
 * A longer name is not offered: the patterns of an operator run on names that a foreign server chose, and the time of
 * a pattern may grow with a power of the length. MCP recommends 128 characters.
 */
const maxNameLength = 1024

/**
 * Compiles the patterns of a server: a tool is offered if the allow pattern matches, where there is one, and the deny
 * pattern does not.
 * @throws SyntaxError if a pattern does not compile
 */
export function compileToolFilter(server: Pick<McpServerConfig, 'toolAllowRegex' | 'toolDenyRegex'>): ToolFilter {
  const { toolAllowRegex, toolDenyRegex } = server
  const allow = toolAllowRegex === null ? undefined : new RegExp(toolAllowRegex, 'u')
  const deny = toolDenyRegex === null ? undefined : new RegExp(toolDenyRegex, 'u')
  return name => name.length <= maxNameLength && (allow === undefined || allow.test(name)) && deny?.test(name) !== true
}
