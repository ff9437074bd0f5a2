import type { IncomingHttpHeaders } from 'node:http'
import { expect, test } from 'vitest'
import { recogniseClient } from '../../../../../client/bridge/providers/requests/client-recognition.js'

const claudeSession = { 'x-claude-code-session-id': 's' }

test.each<[string, IncomingHttpHeaders, string | undefined]>([
  // Seen in requests of these versions.
  ['claude-cli/2.1.332 (external, sdk-cli)', claudeSession, 'Claude Code'],
  ['codex_exec/0.171.0 (Debian 12.0.0; x86_64) dumb (codex_exec; 0.171.0)', {}, 'Codex'],
  ['opencode/1.18.33 ai-sdk/provider-utils/4.0.46 runtime/bun/1.3.14', {}, 'OpenCode'],
  ['opencode/1.18.33 (linux 6.18.44; x64) ai-sdk/provider-utils/4.0.40', { 'session-id': 's' }, 'OpenCode'],
  ['Kilo-Code/7.7.7 ai-sdk/provider-utils/4.0.27 runtime/bun/1.3.14', { 'x-title': 'Kilo Code' }, 'Kilo Code'],
  ['Anthropic/JS 0.94.0', { 'x-initiator': 'user' }, 'GitHub Copilot (CLI)'],
  ['OpenAI/JS 5.20.1', { 'x-initiator': 'agent' }, 'GitHub Copilot (CLI)'],
  ['QwenCode/0.24.4 (linux; x64)', {}, 'Qwen Code'],
  ['claude-cli/0.24.4 (external, cli)', { 'anthropic-beta': 'interleaved-thinking-2025-05-14' }, 'Qwen Code'],
  ['', { 'agent-session-id': '20261130_1' }, 'goose'],
  ['pi/1.6.0 (linux; node/v22.23.3; x64)', { 'session-id': 's' }, 'pi'],
  ['factory-cli/0.215.0', {}, 'droid'],
  // Known from their sources.
  ['claude-cli/2.0.1 (external, cli)', {}, 'Claude Code'],
  ['claude-cli/0.2.9 (external, cli)', { 'anthropic-beta': 'claude-code-20250219' }, 'Claude Code'],
  ['Claude-Code/1', {}, 'Claude Code'],
  ['codex_cli_rs/0.50.0 (Mac OS)', {}, 'Codex'],
  ['codex_vscode/0.50.0', {}, 'Codex'],
  ['Zed/0.200.0', {}, 'Zed'],
  ['GitHubCopilotChat/0.35.0', { 'x-initiator': 'user' }, 'GitHub Copilot (VS Code)'],
  ['copilot/1.0', {}, 'GitHub Copilot (CLI)'],
  ['kilo/latest', {}, 'Kilo Code'],
  ['Roo-Code/3', {}, 'Roo Code'],
  ['RooCode/3.30.0', {}, 'Roo Code'],
  ['OpenAI/JS 5.20.1', { 'x-title': 'Roo Code' }, 'Roo Code'],
  ['Charm Crush/0.9', {}, 'Charm Crush'],
  ['Charm-Crush/v0.97.1 (https://charm.land/crush)', {}, 'Charm Crush'],
  ['mux/1', {}, 'Mux'],
  ['Cline/3.38.1', {}, 'Cline'],
  ['Continue/IDE', {}, 'Continue'],
  ['GeminiCLI/0.20.0/gemini-2.5-pro (linux; x64)', {}, 'Gemini CLI'],
  ['GeminiCLI-vscode/0.20.0', {}, 'Gemini CLI'],
  ['x', { 'x-cursor-client-version': '1.2' }, 'Cursor'],
  // SDKs and others
  ['Anthropic/JS 1.11.0', {}, undefined],
  ['OpenAI/JS 6.30.1', {}, undefined],
  ['node-fetch', { 'x-initiator': 'user' }, undefined],
  ['not claude', {}, undefined],
  ['', { 'x-title': 'constructor' }, undefined],
  ['', {}, undefined],
])('the user agent %j with the headers %j is of %s', (userAgent, headers, client) => {
  expect(recogniseClient({ 'user-agent': userAgent, ...headers })).toBe(client)
})
