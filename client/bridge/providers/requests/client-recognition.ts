/** Recognises the AI client that sent a request, and its session, by the request's headers. */
import type { IncomingHttpHeaders } from 'node:http'

/** Prefix of the `User-Agent` in lower case → the client's name. */
const userAgents: readonly (readonly [string, string])[] = [
  ['claude', 'Claude Code'],
  ['codex', 'Codex'],
  ['zed/', 'Zed'],
  ['githubcopilotchat/', 'GitHub Copilot (VS Code)'],
  ['copilot/', 'GitHub Copilot (CLI)'],
  ['kilo-code/', 'Kilo Code'],
  ['roo-code/', 'Roo Code'],
  ['charm crush/', 'Charm Crush'],
  ['mux/', 'Mux'],
  ['opencode', 'OpenCode'],
]

/**
 * Headers that carry a session, in order of precedence: Claude Code, Codex (now and formerly), OpenCode and Kilo Code,
 * Mux, Copilot in VS Code, Copilot CLI, Kilo Code (formerly).
 */
const sessionHeaders = [
  'x-claude-code-session-id',
  'session-id',
  'session_id',
  'x-session-id',
  'x-mux-workspace-id',
  'vscode-sessionid',
  'x-client-session-id',
  'x-kilocode-taskid',
] as const

/** Returns the name of the client; undefined for an unknown client. */
export function recogniseClient(headers: IncomingHttpHeaders): string | undefined {
  const userAgent = headers['user-agent']?.toLowerCase() ?? ''
  const known = userAgents.find(([prefix]) => userAgent.startsWith(prefix))
  if (known) return known[1]
  return headers['x-cursor-client-version'] === undefined ? undefined : 'Cursor'
}

/** Returns the session that a header names. The API of a provider may know further places in the body. */
export function recogniseSession(headers: IncomingHttpHeaders): string | undefined {
  for (const name of sessionHeaders) {
    const value = headers[name]
    if (typeof value === 'string' && value.trim() !== '') return value.trim()
  }
  return undefined
}
