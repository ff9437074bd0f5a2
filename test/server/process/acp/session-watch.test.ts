import { expect, test } from 'vitest'
import { SessionWatch } from '../../../../server/process/acp/session-watch.js'
import type { AcpMessage } from '../../../../shared/acp/messages.js'

const sessionId = 's-1'
const request = (id: string | number, method: string, params: object = { sessionId }): AcpMessage => {
  return { jsonrpc: '2.0', id, method, params }
}
const response = (id: string | number, result: object = {}): AcpMessage => ({ jsonrpc: '2.0', id, result })
const update = (fields: object): AcpMessage => {
  return { jsonrpc: '2.0', method: 'session/update', params: { sessionId, update: fields } }
}
const failed = (toolCallId: string) => update({ sessionUpdate: 'tool_call_update', toolCallId, status: 'failed' })

function watchOf(responses: AcpMessage[] = []) {
  const watch = new SessionWatch(one => responses.push(one))
  watch.fromEditor(request(0, 'session/new', { cwd: '/', mcpServers: [] }))
  watch.fromAgent(response(0, { sessionId }))
  return watch
}

const cancelled = { outcome: { outcome: 'cancelled' } }

test('a cancel settles the permission requests of its session, and the late response of the editor is dropped', () => {
  const responses: AcpMessage[] = []
  const watch = watchOf(responses)
  watch.fromAgent(request(0, 'session/request_permission'))
  watch.fromAgent(request('0', 'session/request_permission'))
  watch.fromAgent(request(1, 'session/request_permission', { sessionId: 's-2' }))
  watch.fromAgent(request(2, 'fs/read_text_file'))
  watch.cancelPermissions(sessionId)
  expect(responses).toEqual([response(0, cancelled), response('0', cancelled)])
  const passes = [response(0, { outcome: { outcome: 'selected' } }), response('0'), response(1), response(2)]
  expect(passes.map(one => watch.fromEditor(one))).toEqual([false, false, true, true])
})

test('a permission request that comes behind the cancel of its turn does not reach the editor', () => {
  const responses: AcpMessage[] = []
  const watch = watchOf(responses)
  watch.fromEditor(request(5, 'session/prompt'))
  watch.cancelPermissions(sessionId)
  expect(watch.fromAgent(request(9, 'session/request_permission'))).toEqual([])
  expect(responses).toEqual([response(9, cancelled)])
  watch.fromAgent(response(5, { stopReason: 'cancelled' }))
  const next = request(10, 'session/request_permission')
  expect(watch.fromAgent(next)).toEqual([next])
})

test('a cancel behind the end of a turn leaves the next turn its permission requests', () => {
  const responses: AcpMessage[] = []
  const watch = watchOf(responses)
  watch.fromEditor(request(5, 'session/prompt'))
  watch.fromAgent(response(5, { stopReason: 'end_turn' }))
  watch.cancelPermissions(sessionId)
  watch.fromEditor(request(6, 'session/prompt'))
  const asked = request(9, 'session/request_permission')
  expect(watch.fromAgent(asked)).toEqual([asked])
  expect(responses).toEqual([])
})

test('a prompt behind a cancel gets its permission requests once the cancelled turn has ended', () => {
  const responses: AcpMessage[] = []
  const watch = watchOf(responses)
  watch.fromEditor(request(5, 'session/prompt'))
  watch.cancelPermissions(sessionId)
  watch.fromEditor(request(6, 'session/prompt'))
  expect(watch.fromAgent(request(9, 'session/request_permission'))).toEqual([])
  watch.fromAgent(response(5, { stopReason: 'cancelled' }))
  const asked = request(10, 'session/request_permission')
  expect(watch.fromAgent(asked)).toEqual([asked])
  expect(responses).toEqual([response(9, cancelled)])
})

test('a permission request whose id the agent uses again is the new one', () => {
  const watch = watchOf()
  watch.fromEditor(request(5, 'session/prompt'))
  watch.fromAgent(request(0, 'session/request_permission'))
  watch.cancelPermissions(sessionId)
  watch.fromAgent(response(5, { stopReason: 'cancelled' }))
  watch.fromAgent(request(0, 'session/request_permission'))
  expect(watch.fromEditor(response(0))).toBe(true)
})

test('tool calls that are open at the end of a cancelled turn fail before its response', () => {
  const watch = watchOf()
  watch.fromEditor(request(5, 'session/prompt'))
  for (const toolCallId of ['a', 'b', 'c']) {
    watch.fromAgent(update({ sessionUpdate: 'tool_call', toolCallId, status: 'pending' }))
  }
  watch.fromAgent(update({ sessionUpdate: 'tool_call_update', toolCallId: 'a', status: 'in_progress' }))
  watch.fromAgent(update({ sessionUpdate: 'tool_call_update', toolCallId: 'b', status: 'completed' }))
  const end = response(5, { stopReason: 'cancelled' })
  expect(watch.fromAgent(end)).toEqual([failed('a'), failed('c'), end])
})

test('tool calls of a turn that ends by itself stay as the agent left them', () => {
  const watch = watchOf()
  watch.fromEditor(request(5, 'session/prompt'))
  watch.fromAgent(update({ sessionUpdate: 'tool_call', toolCallId: 'a' }))
  const end = response(5, { stopReason: 'end_turn' })
  expect(watch.fromAgent(end)).toEqual([end])
  const error: AcpMessage = { jsonrpc: '2.0', id: 6, error: { code: -32_603, message: 'lost' } }
  watch.fromEditor(request(6, 'session/prompt'))
  expect(watch.fromAgent(error)).toEqual([failed('a'), error])
})

test('sessions are known from their beginning to their close, with the params that attach to them', () => {
  const watch = watchOf()
  watch.fromEditor(request(1, 'session/load', { sessionId: 's-2', cwd: '/b' }))
  expect(watch.sessions).toHaveLength(1)
  watch.fromAgent(response(1))
  expect(watch.sessions).toEqual([
    ['s-1', { cwd: '/', mcpServers: [], sessionId: 's-1' }],
    ['s-2', { cwd: '/b', sessionId: 's-2' }],
  ])
  watch.fromEditor(request(2, 'session/close'))
  watch.fromAgent(response(2))
  expect(watch.sessions.map(([id]) => id)).toEqual(['s-2'])
})

test('a lost connection awaits no response of the editor', () => {
  const watch = watchOf()
  watch.fromAgent(request(3, 'fs/read_text_file'))
  watch.onConnectionLost()
  expect(watch.fromEditor(response(3))).toBe(false)
})

test('a response to a message whose id could not be read passes', () => {
  const error: AcpMessage = { jsonrpc: '2.0', id: null, error: { code: -32_700, message: 'no JSON' } }
  expect(watchOf().fromAgent(error)).toEqual([error])
})
