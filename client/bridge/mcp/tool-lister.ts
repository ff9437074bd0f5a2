/** The tools of a user, of all servers that are marked for injection. */
import { conversationLimits, toolLimits } from '../../../shared/contract/limits.js'
import type { McpServerConfig } from '../../../shared/contract/mcp-configurator.js'
import { jsonShape } from '../../../shared/rpc/json/json-shape.js'
import type { Logger } from '../../../shared/values/log.js'
import type { InjectedTool } from './injected-tool.js'
import { type ListedTool, readToolPage } from './listed-tools.js'
import type { ServerDirectory } from './server-directory.js'
import { Deadline, SessionError, sessionErrorOf } from './session-error.js'
import type { SessionPool } from './session-pool.js'
import { namedTools } from './tool-names.js'

/** Options of {@link ToolLister}. */
export interface ToolListerOptions {
  directory: Pick<ServerDirectory, 'toolFilter'>
  sessions: SessionPool
  logger: Logger
  /** see `toolLimits` */
  listTimeoutMs: number
}

/** The tools of one user, for one configuration of the servers. */
interface KnownTools {
  configuration: string
  tools: Promise<readonly InjectedTool[]>
  /** null while servers are asked */
  listAgainAt: number | null
  /** server → the last failure, which is logged once */
  failures: Map<string, string>
}

/** Lists tools, and keeps the lists of each user for a while. Concurrent callers share a list. */
export class ToolLister {
  readonly #options: ToolListerOptions
  /** in the order of the last list */
  readonly #users = new Map<string, KnownTools>()

  constructor(options: ToolListerOptions) {
    this.#options = options
  }

  /** Returns the tools of servers, sorted by full name. A server that fails has none. Never rejects. */
  list(userId: string, servers: readonly McpServerConfig[]): Promise<readonly InjectedTool[]> {
    if (servers.length === 0) return Promise.resolve([])
    const configuration = JSON.stringify(servers)
    const known = this.#users.get(userId)
    const isFresh = known && (known.listAgainAt === null || performance.now() < known.listAgainAt)
    if (isFresh && known.configuration === configuration) return known.tools
    const failures = known?.failures ?? new Map<string, string>()
    const fresh: KnownTools = { configuration, tools: Promise.resolve([]), listAgainAt: null, failures }
    fresh.tools = this.#listAll(userId, servers, fresh)
    this.#users.delete(userId)
    this.#users.set(userId, fresh)
    const [oldest] = this.#users.keys()
    if (this.#users.size > toolLimits.maxListedUsers && oldest !== undefined) this.#users.delete(oldest)
    return fresh.tools
  }

  async #listAll(
    userId: string,
    servers: readonly McpServerConfig[],
    known: KnownTools,
  ): Promise<readonly InjectedTool[]> {
    let hasFailed = false
    const lists = await Promise.all(
      servers.map(async server => {
        try {
          const tools = await this.#listOne(userId, server)
          known.failures.delete(server.id)
          return tools.map(tool => ({ ...tool, serverId: server.id, serverUrl: server.url }))
        } catch (error) {
          hasFailed = true
          this.#report(userId, server, sessionErrorOf(error, false), known.failures)
          return []
        }
      }),
    )
    known.listAgainAt = performance.now() + (hasFailed ? toolLimits.failedListTtlMs : toolLimits.listTtlMs)
    const named = namedTools(lists.flat())
    const bounded = withinBounds(named)
    if (bounded.length < named.length) {
      const fields = { user: userId, tools: named.length, offered: bounded.length }
      this.#options.logger.warn(fields, 'the tools of a user are too many or too large: the last ones are left out')
    }
    return bounded
  }

  /** @throws SessionError */
  async #listOne(userId: string, server: McpServerConfig): Promise<ListedTool[]> {
    const { directory, sessions, listTimeoutMs } = this.#options
    const isOffered = directory.toolFilter(server)
    const deadline = new Deadline(listTimeoutMs)
    const place = { userId, serverId: server.id, serverUrl: server.url, conversation: '' }
    try {
      return await sessions.run(
        place,
        async session => {
          const tools: ListedTool[] = []
          const cursors = new Set<string>()
          let cursor: string | undefined
          let leftOut = 0
          do {
            const params = cursor === undefined ? {} : { cursor }
            const page = readToolPage(await session.request('tools/list', params, { signal: deadline.signal }))
            tools.push(...page.tools.filter(({ bareName }) => isOffered(bareName)))
            leftOut += page.leftOut
            cursor = page.nextCursor
            if (cursor === undefined) break
            // A cursor that comes again leads in a circle.
            if (cursors.has(cursor) || cursors.size + 1 >= toolLimits.maxPages) {
              this.#options.logger.warn({ server: server.id, pages: cursors.size + 1 }, 'a list of tools does not end')
              break
            }
            cursors.add(cursor)
          } while (tools.length < toolLimits.maxToolsOfServer)
          if (leftOut > 0) {
            this.#options.logger.warn(
              { server: server.id, tools: leftOut },
              'tools that models cannot take are left out',
            )
          }
          return tools.slice(0, toolLimits.maxToolsOfServer)
        },
        { signal: deadline.signal, isLost: error => error instanceof SessionError && error.failure === 'session_lost' },
      )
    } catch (error) {
      throw deadline.errorFor(error)
    } finally {
      deadline.clear()
    }
  }

  #report(userId: string, { id }: McpServerConfig, { failure, message }: SessionError, known: Map<string, string>) {
    if (known.get(id) === failure) return
    known.set(id, failure)
    const fields = { user: userId, server: id, failure, reason: message.slice(0, 200) }
    this.#options.logger.warn(fields, 'the tools of an MCP server cannot be listed, and are not offered')
  }
}

/** The first tools, as many as a conversation takes. */
function withinBounds(tools: readonly InjectedTool[]): InjectedTool[] {
  // The brackets of the list.
  let [bytes, containers] = [2, 1]
  const kept: InjectedTool[] = []
  for (const tool of tools.slice(0, conversationLimits.maxTools)) {
    const text = JSON.stringify(tool)
    bytes += Buffer.byteLength(text) + 1
    containers += jsonShape(text).containers
    const { maxToolsBytes, maxToolsContainers } = conversationLimits
    if (bytes > maxToolsBytes || containers > maxToolsContainers) break
    kept.push(tool)
  }
  return kept
}
