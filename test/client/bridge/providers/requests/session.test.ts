import type { IncomingHttpHeaders } from 'node:http'
import { expect, test } from 'vitest'
import { sessionOf } from '../../../../../client/bridge/providers/requests/session.js'
import type { JsonObject } from '../../../../../shared/values/text.js'

test('the headers of a session count in their order, then the user id, then the key of the cache', () => {
  const headers: IncomingHttpHeaders = {}
  const body: JsonObject = { prompt_cache_key: 'cache' }
  const session = () => sessionOf(body, headers, 'Codex')
  expect(session()).toBe('cache')
  body.metadata = { user_id: 'user_a_account__session_b' }
  expect(session()).toBe('b')
  for (const name of [
    'x-kilocode-taskid',
    'x-client-session-id',
    'vscode-sessionid',
    'x-mux-workspace-id',
    'agent-session-id',
    'x-session-id',
    'session_id',
    'session-id',
    'x-claude-code-session-id',
  ]) {
    headers[name] = ` ${name} `
    expect(session()).toBe(name)
  }
  expect(sessionOf({}, { ...headers, 'x-claude-code-session-id': ' ' }, undefined)).toBe('session-id')
  expect(sessionOf({}, {}, undefined)).toBeUndefined()
})

test.each<[string, string | undefined]>([
  ['Codex', 's'],
  ['OpenCode', 's'],
  ['pi', 's'],
  ['droid', 's'],
  ['Qwen Code', 's'],
  ['Claude Code', undefined],
  ['GitHub Copilot (CLI)', undefined],
  ['', undefined],
])('the key of the cache is the session of some clients: %s', (client, session) => {
  const key = client === 'Qwen Code' ? 'qwen-code:s' : 's'
  expect(sessionOf({ prompt_cache_key: key }, {}, client || undefined)).toBe(session)
  expect(sessionOf({ prompt_cache_key: 7 }, {}, client || undefined)).toBeUndefined()
  expect(sessionOf({ prompt_cache_key: ' ' }, {}, client || undefined)).toBeUndefined()
})
