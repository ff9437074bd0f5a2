import { hash } from 'node:crypto'
import type { z } from 'zod'
import type { McpServerTest, mcpServersTestInput } from '../../../shared/contract/admin/mcp-servers.js'
import { adminLimits } from '../../../shared/contract/limits.js'
import type {
  AccessTokenError,
  AccessTokensOutput,
  accessTokensInput,
} from '../../../shared/contract/mcp-configurator.js'
import { compileToolFilter, type ToolFilter } from '../../../shared/contract/tool-filter.js'
import type { AuditedWrites, McpServerRow, McpStore } from '../../store/store.js'
import { auditEntry } from '../audit-entry.js'
import { type ListedTools, ListingFailed, listMcpTools } from '../tools/mcp-tools.js'
import { unknownRow } from '../unknown-row.js'
import { findUser, type UserFinder } from './find-user.js'

/** Listing the tools of an MCP server as a user sees them. */
export interface McpServerTester {
  /**
   * Lists the tools of a server with a user's token, from this server, as a bridge would: the token is validated, and
   * refreshed if it is rejected. The result holds no token. The audit log gets an entry.
   * @throws RpcError `NOT_FOUND` (unknown_row) for an unknown server or user
   */
  test(
    input: z.output<typeof mcpServersTestInput>,
    actor: string,
    signal: AbortSignal | undefined,
  ): Promise<McpServerTest>
}

/** The parts of {@link createMcpServerTester}. */
export interface McpServerTesterOptions {
  store: McpStore & UserFinder & AuditedWrites
  /** the tokens as daemons get them */
  accessTokens: (input: z.output<typeof accessTokensInput>) => Promise<AccessTokensOutput>
  /** default 15 s */
  mcpTestTimeoutMs?: number
}

/** Creates the test of MCP servers. */
export function createMcpServerTester(options: McpServerTesterOptions): McpServerTester {
  const { store, accessTokens, mcpTestTimeoutMs: timeoutMs = adminLimits.mcpTestTimeoutMs } = options

  async function list(server: McpServerRow, userId: string, signal: AbortSignal): Promise<ListedTools> {
    const token = await tokenOf(server, userId)
    try {
      return await listMcpTools(server.url, token, signal)
    } catch (error) {
      if (token === undefined || !(error instanceof ListingFailed) || error.failure !== 'unauthorized') throw error
      const fresh = await tokenOf(server, userId, token)
      if (fresh === token) throw error
      return listMcpTools(server.url, fresh, signal)
    }
  }

  /** Returns the token; undefined for a server without settings for tokens. @throws ListingFailed */
  async function tokenOf(
    { id, tokenUrl, validateUrl }: McpServerRow,
    userId: string,
    rejected?: string,
  ): Promise<string | undefined> {
    const rejectedTokens = rejected === undefined ? undefined : { [id]: hash('sha256', rejected) }
    const found = await accessTokens({ userId, serverIds: [id], rejectedTokens })
    const token = Object.hasOwn(found.accessTokens, id) ? found.accessTokens[id] : undefined
    if (token !== undefined) return token
    const reason = found.errors[id] ?? 'validation_failed'
    if (reason === 'no_link' && tokenUrl === null && validateUrl === null) return undefined
    throw new ListingFailed(reason, tokenMessages[reason])
  }

  return {
    async test({ id, user: ref }, actor, signal) {
      const { id: userId, username } = await findUser(store, ref)
      const server = (await store.listMcpServers()).find(row => row.id === id)
      if (!server) throw unknownRow('MCP server', id)
      const startedAt = performance.now()
      const timeout = AbortSignal.timeout(timeoutMs)
      const ended = AbortSignal.any(signal ? [signal, timeout] : [timeout])
      const outcome = await list(server, userId, ended).catch((error: unknown) => {
        signal?.throwIfAborted()
        if (timeout.aborted)
          return new ListingFailed('timeout', `no whole list within ${timeoutMs.toLocaleString('en')} ms`)
        if (error instanceof ListingFailed) return error
        throw error
      })
      const failed = outcome instanceof ListingFailed ? outcome : undefined
      const { tools, unusable } = outcome instanceof ListingFailed ? { tools: [], unusable: 0 } : outcome
      const offers = filterOf(server)
      const failure = failed?.failure ?? null
      await store.audited(
        async () => {},
        () => auditEntry(actor, 'mcpServers.test', id, { userId, tools: tools.length, failure }),
      )
      return {
        id,
        username,
        ok: failure === null,
        url: server.url,
        tools: tools.map(tool => ({ ...tool, offered: offers(tool.name) })),
        unusable,
        durationMs: Math.round(performance.now() - startedAt),
        failure,
        message: failed?.message ?? null,
      }
    },
  }
}

/** A pattern that does not compile offers nothing, as on bridges; only older servers have let one in. */
function filterOf(server: McpServerRow): ToolFilter {
  try {
    return compileToolFilter(server)
  } catch {
    return () => false
  }
}

const tokenMessages: Readonly<Record<AccessTokenError, string>> = {
  unknown_server: 'there is no such MCP server',
  no_link: 'the user is not linked to the MCP server',
  expired_or_invalid: 'the token of the user is expired or invalid, and cannot be refreshed',
  validation_failed: 'the token of the user could not be checked',
  timed_out: 'the token of the user was not checked in time',
}
