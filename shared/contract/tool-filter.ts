/** The patterns of an MCP server, as daemons and the control plane read them. */
import { conversationLimits } from './limits.js'
import type { McpServerConfig } from './mcp-configurator.js'

/** Returns whether a user is offered the tool of this bare name. */
export type ToolFilter = (bareName: string) => boolean

/**
 * Compiles the patterns of a server: a tool is offered if the allow pattern matches, where there is one, and the deny
 * pattern does not. Longer names than `maxBareNameLength` are not offered: the patterns run on names that a foreign
 * server or any user chose, and the time of a pattern may grow with a power of the length.
 * @throws SyntaxError if a pattern does not compile
 */
export function compileToolFilter(server: Pick<McpServerConfig, 'toolAllowRegex' | 'toolDenyRegex'>): ToolFilter {
  const { toolAllowRegex, toolDenyRegex } = server
  const allow = toolAllowRegex === null ? undefined : new RegExp(toolAllowRegex, 'u')
  const deny = toolDenyRegex === null ? undefined : new RegExp(toolDenyRegex, 'u')
  const { maxBareNameLength } = conversationLimits
  return name =>
    name.length <= maxBareNameLength && (allow === undefined || allow.test(name)) && deny?.test(name) !== true
}
