import { bridgeLimits, toolLimits } from '../../../shared/contract/limits.js'
import { abortable } from '../../../shared/values/abortable.js'
import type { Logger } from '../../../shared/values/log.js'
import type { JsonObject } from '../../../shared/values/text.js'
import type { InjectedTool, ToolResult } from './injected-tool.js'
import { maskedSession, TokenMask } from './masked-session.js'
import { beginSession, type McpSession } from './mcp-session.js'
import { parameterHeaders } from './parameter-headers.js'
import type { ServerDirectory } from './server-directory.js'
import { Deadline, SessionError, type SessionFailure, sessionErrorOf } from './session-error.js'
import { createSessionFetch } from './session-fetch.js'
import { type SessionPlace, SessionPool } from './session-pool.js'
import { ToolLister } from './tool-lister.js'
import { readToolResult } from './tool-result.js'

/** The tools of users for models, and their calls. */
export interface ToolClient {
  /**
   * Returns the tools of the user's servers that are marked for injection, sorted by full name, at most a minute old.
   * All servers are asked at once; one that fails is logged, and its tools are absent.
   * @throws the error of the directory, or the signal's reason
   */
  listTools(userId: string, signal?: AbortSignal): Promise<readonly InjectedTool[]>
  /**
   * Calls a tool. Never rejects: a failure is a result with the error flag, whose text says nothing of the inside, and
   * whose `error` does. A signal that aborts cancels the call at the server.
   */
  call(call: ToolCall, signal?: AbortSignal): Promise<ToolResult>
  /** Ends all sessions with servers. */
  close(): Promise<void>
}

/** A call of a tool. */
export interface ToolCall {
  userId: string
  /** the key of the conversation: its calls share a session with each server */
  conversation: string
  tool: InjectedTool
  arguments: JsonObject
}

/** Options of {@link createToolClient}. */
export interface ToolClientOptions {
  directory: Pick<ServerDirectory, 'servers' | 'token' | 'toolFilter'>
  logger: Logger
  /** see `bridgeLimits` */
  mcpCallTimeoutMs?: number
  /** see `toolLimits` */
  listTimeoutMs?: number
  idleSessionMs?: number
}

/** Makes a tool client. The MCP client is loaded with the first session. */
export function createToolClient(options: ToolClientOptions): ToolClient {
  const { directory, logger, listTimeoutMs = toolLimits.listTimeoutMs } = options
  const { mcpCallTimeoutMs = bridgeLimits.mcpCallTimeoutMs, idleSessionMs = toolLimits.idleSessionMs } = options
  const { maxSessions, maxSessionsOfUser } = toolLimits
  const sessions = new SessionPool(begin, { maxSessions, maxSessionsOfUser, idleSessionMs })
  const lister = new ToolLister({ directory, sessions, logger, listTimeoutMs })

  return {
    async listTools(userId, signal) {
      const servers = await directory.servers(userId, signal)
      const injected = servers.filter(({ inject }) => inject)
      const list = lister.list(userId, injected)
      return signal ? abortable(list, signal) : list
    },

    async call({ userId, conversation, tool, arguments: args }, signal) {
      const startedAt = performance.now()
      const deadline = new Deadline(mcpCallTimeoutMs, signal)
      try {
        const servers = await deadline.race(directory.servers(userId, deadline.signal))
        const server = servers.find(({ id, inject }) => id === tool.serverId && inject)
        if (!server || !directory.toolFilter(server)(tool.bareName)) return failed('unavailable', 'not configured')
        const place = { userId, serverId: server.id, serverUrl: server.url, conversation }
        const params = { name: tool.bareName, arguments: args }
        const headers = parameterHeaders(tool.inputSchema, args)
        const result = await sessions.run(
          place,
          session => session.request('tools/call', params, { signal: deadline.signal, headers }),
          { signal: deadline.signal, isLost },
        )
        if (needsInput(result)) return failed('needs_input', 'the server asks for input of the user')
        const { isError, parts, error } = readToolResult(result)
        return { isError, parts, error, durationMs: performance.now() - startedAt }
      } catch (thrown) {
        const { failure, message } = deadline.errorFor(sessionErrorOf(thrown, false))
        return failed(failure, message)
      } finally {
        deadline.clear()
      }

      function failed(failure: Failure, reason: string): ToolResult {
        const error = `${failure}: ${reason.slice(0, maxReasonLength)}`
        if (failure !== 'cancelled') {
          logger.warn({ user: userId, server: tool.serverId, tool: tool.bareName, failure }, 'a call of a tool failed')
        }
        const parts = [{ type: 'text' as const, text: failureTexts[failure] }]
        return { isError: true, parts, error, durationMs: performance.now() - startedAt }
      }
    },

    close: () => sessions.close(),
  }

  function begin({ userId, serverId, serverUrl }: SessionPlace): Promise<McpSession> {
    const mask = new TokenMask()
    const fetch = createSessionFetch({
      async token(rejected, signal) {
        const found = await directory.token(userId, serverId, { rejected, signal })
        if ('token' in found && found.token !== undefined) mask.add(found.token)
        return found
      },
    })
    return maskedSession(beginSession(serverUrl, fetch, toolLimits.beginTimeoutMs), mask)
  }
}

type Failure = SessionFailure | 'unavailable' | 'needs_input'

/** The results that the model gets. Servers' own words may hold addresses, paths and other people's data. */
const failureTexts: Readonly<Record<Failure, string>> = {
  unavailable: 'This tool is not available any more.',
  needs_input: 'This tool needs input of the user that cannot be given here.',
  no_token: 'This tool is not available: the user has to link the account of its server.',
  timed_out: 'This tool did not respond in time.',
  cancelled: 'The call was cancelled.',
  too_large: 'The response of this tool is too large.',
  rejected: 'This tool rejected the call.',
  session_lost: 'This tool could not be reached.',
  broken: 'This tool could not be reached.',
}

const maxReasonLength = 1_000

function isLost(error: unknown): boolean {
  return error instanceof SessionError && error.failure === 'session_lost'
}

function needsInput(result: unknown): boolean {
  return typeof result === 'object' && result !== null && Reflect.get(result, 'resultType') === 'input_required'
}
