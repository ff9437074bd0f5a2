/** The methods of the agent of chats: their parameters, their results and their errors. */
import { describe, expect, test } from 'vitest'
import { rpcError } from '../../../../shared/contract/error-reasons.js'
import { promptOf } from '../../../fixtures/acp/acp-peer.js'
import { chatAgent, known, unknown } from '../../../fixtures/acp/chat-agent.js'

const opening = { cwd: '/work', mcpServers: [] }

describe('initialize', () => {
  test.each([1, 2, 99])('version %i is answered with 1', async protocolVersion => {
    const { peer } = chatAgent()
    const result = await peer.request('initialize', { protocolVersion })
    expect(result).toMatchObject({
      protocolVersion: 1,
      agentCapabilities: { loadSession: true, sessionCapabilities: { list: {}, resume: {}, close: {} } },
      agentInfo: { name: 'aibridge', version: '1.2.3' },
    })
  })

  test.each([0, -1])('version %i is rejected', async protocolVersion => {
    const { peer } = chatAgent()
    expect(await peer.failure('initialize', { protocolVersion })).toMatchObject({ code: -32_022 })
  })
})

test.each(['session/new', 'session/load', 'session/resume'])('%s takes no MCP servers of the client', async method => {
  const { peer, created, watches } = chatAgent()
  const mcpServers = [{ name: 'files', command: 'files', args: [], env: [] }]
  const { code, message } = await peer.failure(method, { sessionId: known, cwd: '/', mcpServers })
  expect({ code, message }).toEqual({ code: -32_602, message: expect.stringContaining('no MCP servers') })
  expect([...created, ...watches]).toEqual([])
})

test.each([
  ['session/load', opening],
  ['session/resume', opening],
  ['session/prompt', { prompt: [{ type: 'text', text: 'hi' }] }],
  ['session/close', {}],
])('%s of a session that is none of the user is -32002', async (method, params) => {
  const { peer, watches, calls } = chatAgent()
  for (const sessionId of [unknown, 'no id of a chat', known.toUpperCase()]) {
    expect(await peer.failure(method, { ...params, sessionId })).toMatchObject({ code: -32_002 })
  }
  expect([...watches, ...calls]).toEqual([])
})

test('a prompt in a session that the connection has not opened is -32002, and is not sent', async () => {
  const { peer, calls } = chatAgent()
  const { code, message } = await peer.failure('session/prompt', promptOf(known, 'hi'))
  expect({ code, message }).toEqual({ code: -32_002, message: expect.stringContaining('load or resume it first') })
  expect(calls).toEqual([])
})

test('a method that the agent does not have is -32601', async () => {
  const { peer } = chatAgent()
  expect(await peer.failure('session/fork', { sessionId: known })).toMatchObject({ code: -32_601 })
})

test('a failure of the server is logged, and the client learns nothing of it', async () => {
  const { peer, logged } = chatAgent({ list: async () => Promise.reject(new Error('the disk of db-7 is full')) })
  const { code, message } = await peer.failure('session/list')
  expect({ code, message }).toEqual({ code: -32_603, message: 'the server failed; the cause is in its log' })
  expect(logged).toEqual(['a request of an ACP client failed'])
})

describe('a new session', () => {
  test.each([
    ['has no agent if the user has none, or several', null, {}, {}],
    ['has the only agent of the user, and its directory', 'one', {}, { agent: 'one', cwd: '/work' }],
    ['has the agent that its client names', 'one', { agentId: 'two' }, { agent: 'two', cwd: '/work' }],
    ['has the settings of its client', null, { provider: 'p', model: 'x' }, { provider: 'p', model: 'x' }],
  ])('%s', async (_, only, meta, expected) => {
    const { peer, created } = chatAgent({ onlyAgentOf: async () => only })
    const { sessionId } = await peer.request('session/new', { ...opening, _meta: meta })
    expect(created).toEqual([{ id: sessionId, provider: 'demo', model: 'm', ...expected }])
  })
})

test('the list of sessions has pages, and a directory for each session', async () => {
  const chat = { id: known, cwd: null, title: null, updatedAt: new Date(0) }
  const asked: unknown[] = []
  const { peer } = chatAgent({
    async list(input, reader) {
      asked.push(input, reader)
      return { chats: [chat, { ...chat, cwd: '/a', title: 'A' }], nextCursor: 'more' } as never // of what is shown
    },
  })
  const updatedAt = '1970-01-01T00:00:00.000Z'
  expect(await peer.request('session/list', { cursor: 'c' })).toEqual({
    sessions: [
      { sessionId: known, cwd: '/', updatedAt },
      { sessionId: known, cwd: '/a', title: 'A', updatedAt },
    ],
    nextCursor: 'more',
  })
  expect(asked).toEqual([{ cursor: 'c' }, { role: 'user', userId: 'ada' }])
})

describe('session/close', () => {
  test('interrupts the turn, cancels its prompt and ends the updates', async () => {
    const { peer, live, calls } = chatAgent()
    await peer.request('session/load', { ...opening, sessionId: known })
    const prompt = peer.ask('session/prompt', promptOf(known, 'hi'))
    expect(await peer.request('session/close', { sessionId: known })).toEqual({})
    expect((await peer.responseTo(prompt)).result).toEqual({ stopReason: 'cancelled' })
    expect(calls).toEqual(['send', 'interrupt'])
    expect(live.size).toBe(0)
    expect(await peer.failure('session/prompt', promptOf(known, 'hi'))).toMatchObject({ code: -32_002 })
  })

  test('session/close of an archived chat ends its session', async () => {
    const interrupt = async () => Promise.reject(rpcError('chat_archived', 'archived'))
    const { peer, live } = chatAgent({ interrupt })
    await peer.request('session/load', { ...opening, sessionId: known })
    expect(await peer.request('session/close', { sessionId: known })).toEqual({})
    expect(live.size).toBe(0)
  })
})
