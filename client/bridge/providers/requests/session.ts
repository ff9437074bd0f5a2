/** Finds the session of a request, as the client names it. */
import type { IncomingHttpHeaders } from 'node:http'
import { isPlainObject, type JsonObject } from '../../../../shared/values/text.js'
import { parsed, textOf } from '../reading.js'

/**
 * Headers that carry a session, in order of precedence: Claude Code, Codex (now and formerly), OpenCode and Kilo Code,
 * goose, Mux, Copilot in VS Code, Copilot CLI, Kilo Code (formerly).
 */
const sessionHeaders = [
  'x-claude-code-session-id',
  'session-id',
  'session_id',
  'x-session-id',
  'agent-session-id',
  'x-mux-workspace-id',
  'vscode-sessionid',
  'x-client-session-id',
  'x-kilocode-taskid',
] as const

/** Clients whose `prompt_cache_key` is their session. Other programs send one constant for all their users. */
const cacheKeyClients: ReadonlySet<string> = new Set(['Codex', 'OpenCode', 'pi', 'droid', 'Qwen Code'])

/** Returns the session: from a header, from `metadata.user_id`, or from the `prompt_cache_key` of some clients. */
export function sessionOf(
  body: JsonObject,
  headers: IncomingHttpHeaders,
  client: string | undefined,
): string | undefined {
  return sessionOfHeaders(headers) ?? sessionOfUserId(body.metadata) ?? sessionOfCacheKey(body, client)
}

/** Returns the session that a request's headers name. */
export function sessionOfHeaders(headers: IncomingHttpHeaders): string | undefined {
  for (const name of sessionHeaders) {
    const value = headers[name]
    if (typeof value === 'string' && value.trim() !== '') return value.trim()
  }
  return undefined
}

/**
 * Returns the session that Claude Code writes into `user_id`: `user_…_account_…_session_<id>`, or JSON with a
 * `session_id`.
 */
function sessionOfUserId(metadata: unknown): string | undefined {
  const userId = isPlainObject(metadata) ? textOf(metadata.user_id) : undefined
  if (userId === undefined) return undefined
  const json = userId.startsWith('{') ? parsed(userId) : undefined
  return isPlainObject(json) ? textOf(json.session_id) : /_session_(.+)$/.exec(userId)?.[1]
}

function sessionOfCacheKey({ prompt_cache_key: key }: JsonObject, client: string | undefined): string | undefined {
  if (client === undefined || !cacheKeyClients.has(client)) return undefined
  const session = textOf(key)?.trim()
  return textOf(client === 'Qwen Code' ? session?.replace(/^qwen-code:/, '') : session)
}
