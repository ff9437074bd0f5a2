import type { McpServerConfig } from '../../../shared/contract/mcp-configurator.js'
import { compileToolFilter, type ToolFilter } from '../../../shared/contract/tool-filter.js'
import type { Logger } from '../../../shared/values/log.js'

export type { ToolFilter }

/** Compiled filters, by their patterns; operators have a few. */
const maxFilters = 1_000

/**
 * The filters of servers, each compiled once. A pattern that does not compile is logged once, and nothing of its server
 * is offered.
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

  #compile(server: McpServerConfig): ToolFilter {
    try {
      return compileToolFilter(server)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      this.#logger.warn(
        { server: server.id, reason },
        'a tool pattern cannot be used: no tool of the server is offered',
      )
      return () => false
    }
  }
}
