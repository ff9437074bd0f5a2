import { expect, test } from 'vitest'
import {
  recogniseClient,
  recogniseSession,
} from '../../../../../client/bridge/providers/requests/client-recognition.js'

test.each([
  ['claude-cli/2.0.1 (external, cli)', 'Claude Code'],
  ['Claude-Code/1', 'Claude Code'],
  ['codex_cli_rs/0.50.0 (Mac OS)', 'Codex'],
  ['Zed/0.200.0', 'Zed'],
  ['GitHubCopilotChat/0.31', 'GitHub Copilot (VS Code)'],
  ['copilot/1.0', 'GitHub Copilot (CLI)'],
  ['Kilo-Code/4', 'Kilo Code'],
  ['Roo-Code/3', 'Roo Code'],
  ['Charm Crush/0.9', 'Charm Crush'],
  ['mux/1', 'Mux'],
  ['opencode/1.0', 'OpenCode'],
  ['Anthropic/JS 1.11.0', undefined],
  ['not claude', undefined],
  ['', undefined],
])('the user agent %j is of %s', (userAgent, client) => {
  expect(recogniseClient({ 'user-agent': userAgent })).toBe(client)
})

test('Cursor is recognised by its own header', () => {
  expect(recogniseClient({ 'x-cursor-client-version': '1.2' })).toBe('Cursor')
})

test("Claude Code's session header wins over any other", () => {
  expect(recogniseSession({ session_id: 'codex', 'x-claude-code-session-id': 'claude' })).toBe('claude')
  expect(recogniseSession({ session_id: 'codex', 'x-claude-code-session-id': ' ' })).toBe('codex')
  expect(recogniseSession({})).toBeUndefined()
})

test('OpenCode 1.18.33 names its session in x-session-id', () => {
  expect(recogniseSession({ 'x-session-id': 'ses_1', 'x-session-affinity': 'ses_1' })).toBe('ses_1')
})
