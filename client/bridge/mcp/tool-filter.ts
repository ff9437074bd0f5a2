import type { McpServerConfig } from '../../../shared/contract/mcp-configurator.js'
import type { Logger } from '../../../shared/values/log.js'

/** Returns whether a user is offered the tool of this bare name. */
export type ToolFilter = (bareName: string) => boolean

/**
 * A longer name is not offered: the patterns of an operator run on names that a foreign server chose, and the time of
 * a pattern may grow with a power of the length. MCP recommends 128 characters.
 */
const maxNameLength = 1024

/** Compiled filters, by their patterns; operators have a few. */
const maxFilters = 1_000

/**
 * The filters of servers, each compiled once. A tool is offered if the allow pattern matches, where there is one, and
 * the deny pattern does not. A pattern that does not compile is logged once, and nothing of its server is offered.
 */
export class ToolFilters {
  readonly #logger: Logger
  readonly #filters = new Map<string, ToolFilter>()

  constructor(logger: Logger) {
    this.#logger = logger
  }

  /** Returns the filter of a server. */
  of(server: McpServerConfig): ToolFilter {
    const key = JSON.stringify([server.toolAllowRegex, server.toolDenyRegex])
    let filter = this.#filters.get(key)
    if (!filter) {
      filter = this.#compile(server)
      if (this.#filters.size >= maxFilters) this.#filters.clear()
      this.#filters.set(key, filter)
    }
    return filter
  }

  #compile({ id, toolAllowRegex, toolDenyRegex }: McpServerConfig): ToolFilter {
    try {
      const allow = toolAllowRegex === null ? undefined : new RegExp(toolAllowRegex, 'u')
      const deny = toolDenyRegex === null ? undefined : new RegExp(toolDenyRegex, 'u')
      return name =>
        name.length <= maxNameLength && (allow === undefined || allow.test(name)) && deny?.test(name) !== true
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      this.#logger.warn({ server: id, reason }, 'a tool pattern cannot be used: no tool of the server is offered')
      return () => false
    }
  }
}
