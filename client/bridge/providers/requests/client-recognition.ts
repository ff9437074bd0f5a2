/** Recognises the AI client that sent a request by the request's headers. */
import type { IncomingHttpHeaders } from 'node:http'

/** Prefix of the `User-Agent` in lower case → the client's name. */
const userAgents: readonly (readonly [string, string])[] = [
  ['claude', 'Claude Code'],
  ['codex', 'Codex'],
  ['cursor/', 'Cursor'],
  ['zed/', 'Zed'],
  ['githubcopilotchat/', 'GitHub Copilot (VS Code)'],
  ['copilot/', 'GitHub Copilot (CLI)'],
  ['kilo-code/', 'Kilo Code'],
  ['kilo/', 'Kilo Code'],
  ['roo-code/', 'Roo Code'],
  ['roocode/', 'Roo Code'],
  ['charm-crush/', 'Charm Crush'],
  ['charm crush/', 'Charm Crush'],
  ['mux/', 'Mux'],
  ['opencode', 'OpenCode'],
  ['qwencode/', 'Qwen Code'],
  ['goose/', 'goose'],
  ['pi/', 'pi'],
  ['factory-cli/', 'droid'],
  ['cline/', 'Cline'],
  ['continue/', 'Continue'],
  ['geminicli/', 'Gemini CLI'],
  ['geminicli-', 'Gemini CLI'],
]

/** `X-Title` in lower case → the name of a client that sends an SDK's user agent. */
const titles: Readonly<Record<string, string>> = {
  'kilo code': 'Kilo Code',
  'roo code': 'Roo Code',
  cline: 'Cline',
  goose: 'goose',
  crush: 'Charm Crush',
  opencode: 'OpenCode',
}

/** Returns the name of the client; undefined for an unknown client. */
export function recogniseClient(headers: IncomingHttpHeaders): string | undefined {
  const userAgent = headers['user-agent']?.trim().toLowerCase() ?? ''
  const known = userAgents.find(([prefix]) => userAgent.startsWith(prefix))
  if (known) return isQwenCode(userAgent, headers) ? 'Qwen Code' : known[1]
  if (headers['x-cursor-client-version'] !== undefined) return 'Cursor'
  // Copilot CLI calls a provider of the user's own through an SDK, and says only who began: the user or the agent.
  if (headers['x-initiator'] !== undefined && /^(?:anthropic|openai)\/js /.test(userAgent))
    return 'GitHub Copilot (CLI)'
  if (headers['agent-session-id'] !== undefined) return 'goose'
  const title = headers['x-title']
  const name = typeof title === 'string' ? title.trim().toLowerCase() : ''
  return Object.hasOwn(titles, name) ? titles[name] : undefined
}

/**
 * Returns whether a request of `claude-cli` is Qwen Code's, which takes that name for Anthropic's API. Claude Code
 * sends a session or, in its older versions, a beta of its own; its version 1.0 is older than both.
 */
function isQwenCode(userAgent: string, headers: IncomingHttpHeaders): boolean {
  if (!userAgent.startsWith('claude-cli/0.') || headers['x-claude-code-session-id'] !== undefined) return false
  return !String(headers['anthropic-beta'] ?? '').includes('claude-code-')
}
