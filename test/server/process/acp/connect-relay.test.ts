/** An editor and a remote agent, with connections that are lost. */
import { expect, test } from 'vitest'
import { createAcpClient } from '../../../../client/acp/acp-client.js'
import { ConnectRelay } from '../../../../server/process/acp/connect-relay.js'
import { memoryDuplexPair } from '../../../../shared/rpc/links/memory-duplex.js'
import { silentLogger } from '../../../../shared/values/log.js'
import { AcpPeer, promptOf } from '../../../fixtures/acp/acp-peer.js'
import {
  reject,
  type Script,
  ScriptedServer,
  type SeenRequest,
  sendEvent,
} from '../../../fixtures/acp/scripted-server.js'
import { leavesNothing, opened } from '../../../fixtures/leaves-nothing.js'

leavesNothing()

const capabilities = { loadSession: true }

function answers(request: SeenRequest, connectionId: string, agentCapabilities: object = capabilities): boolean {
  if (request.message.method !== 'initialize') return false
  request.response.writeHead(200, { 'content-type': 'application/json', 'acp-connection-id': connectionId })
  const result = { protocolVersion: 1, agentCapabilities }
  request.response.end(JSON.stringify({ jsonrpc: '2.0', id: request.message.id, result }))
  return true
}

async function relayed(script: Script, lostAfterMs = 60_000) {
  const server = await ScriptedServer.start(script)
  const [near, far] = memoryDuplexPair()
  const backoff = { reconnectMinMs: 1, reconnectMaxMs: 20 }
  const relay = new ConnectRelay({
    editor: near,
    connect: () => createAcpClient({ url: server.url, times: backoff }),
    logger: silentLogger,
    times: { ...backoff, lostAfterMs },
  })
  opened.add({ groups: [], close: () => relay.close() })
  return { server, relay, editor: new AcpPeer(far), end: () => far.close({ code: 1000, message: 'bye' }) }
}

/** The connection of a request. */
const on = (id: string, method: string) => (request: SeenRequest) =>
  request.headers['acp-connection-id'] === id && (request.message.method ?? request.method) === method

test('a lost connection is made again, its session is continued, and its open requests fail', async () => {
  let connections = 0
  let isGone = false
  const { server, editor } = await relayed(request => {
    if (isGone && request.headers['acp-connection-id'] === 'c-1') {
      reject(request, 404, 'unknown_connection')
      return true
    }
    return request.message.method === 'initialize' && answers(request, `c-${++connections}`)
  })
  await editor.request('initialize', { protocolVersion: 1, clientInfo: { name: 'editor' } })
  const created = editor.ask('session/new', { cwd: '/a', mcpServers: [] })
  await server.post('session/new')
  sendEvent(await server.stream(), { id: created, result: { sessionId: 's-1' } })
  await editor.responseTo(created)
  const prompt = editor.ask('session/prompt', promptOf('s-1', 'a'))
  sendEvent(await server.stream('s-1'), { id: 'p', method: 'session/request_permission', params: { sessionId: 's-1' } })
  await editor.call('session/request_permission')
  await server.post('session/prompt')
  isGone = true
  ;(await server.stream()).response.destroy()
  expect((await editor.responseTo(prompt)).error?.data).toEqual({ reason: 'unknown_connection', mayHaveRun: true })

  const later = editor.ask('session/prompt', promptOf('s-1', 'b'))
  editor.respond('p', {})
  const load = await server.request(on('c-2', 'session/load'))
  expect(load.message.params).toEqual({ sessionId: 's-1', cwd: '/a', mcpServers: [] })
  const [first, again] = server.seen.filter(({ message }) => message.method === 'initialize')
  expect(again?.message.params).toEqual(first?.message.params)
  const session = await server.stream('s-1', 2)
  sendEvent(session, { method: 'session/update', params: { sessionId: 's-1', update: { content: { text: 'old' } } } })
  sendEvent(session, { id: load.message.id, result: {} })
  await server.request(on('c-2', 'session/prompt'))
  sendEvent(session, { method: 'session/update', params: { sessionId: 's-1', update: { content: { text: 'new' } } } })
  sendEvent(session, { id: later, result: { stopReason: 'end_turn' } })
  expect((await editor.responseTo(later)).result).toEqual({ stopReason: 'end_turn' })
  expect(editor.texts).toEqual(['new'])
  expect(server.seen.filter(({ message }) => message.id === 'p')).toEqual([])
})

test('a session is resumed where the agent can, without its history', async () => {
  let connections = 0
  const { server, editor } = await relayed(request => {
    if (request.headers['acp-connection-id'] === 'c-1' && connections > 0 && request.headers['last-event-id']) {
      reject(request, 409, 'stream_gap')
      return true
    }
    if (request.message.method !== 'initialize') return false
    return answers(request, `c-${++connections}`, { sessionCapabilities: { resume: {} } })
  })
  await editor.request('initialize')
  const created = editor.ask('session/new', { cwd: '/a' })
  await server.post('session/new')
  sendEvent(await server.stream(), { id: created, result: { sessionId: 's-1' } })
  await editor.responseTo(created)
  ;(await server.stream()).response.destroy()
  await server.request(on('c-2', 'session/resume'))
})

test('requests that wait for a connection too long fail, and the relay goes on', async () => {
  let isAway = false
  const { server, editor } = await relayed(request => {
    if (isAway) reject(request, request.message.method === 'initialize' ? 502 : 404)
    return isAway || answers(request, 'c-1')
  }, 30)
  await editor.request('initialize')
  isAway = true
  ;(await server.stream()).response.destroy()
  await server.request(({ method }) => method === 'DELETE')
  expect((await editor.failure('session/list')).data).toEqual({ reason: 'http_rejected', mayHaveRun: false })
  isAway = false
  const id = editor.ask('session/list')
  await server.post('session/list')
  sendEvent(await server.stream(undefined, server.seen.filter(({ method }) => method === 'GET').length), {
    id,
    result: {},
  })
})

test('requests that wait for a connection fail when the next one is rejected', async () => {
  let isRevoked = false
  const held: SeenRequest[] = []
  const { server, editor, relay } = await relayed(request => {
    const isAgain = isRevoked && request.message.method === 'initialize'
    if (isAgain) held.push(request)
    else if (isRevoked) reject(request, 404, 'unknown_connection')
    return isRevoked || answers(request, 'c-1')
  })
  await editor.request('initialize')
  isRevoked = true
  ;(await server.stream()).response.destroy()
  await expect.poll(() => held.length, { interval: 2 }).toBe(1)
  const id = editor.ask('session/list')
  reject(await server.post('initialize', 2), 403)
  expect((await editor.responseTo(id)).error?.data).toEqual({ reason: 'http_rejected', mayHaveRun: false })
  expect(await relay.ended).toMatchObject({ code: 'FORBIDDEN' })
})

test('a rejected key ends the relay, at the first connection and at a later one', async () => {
  const first = await relayed(request => {
    reject(request, 401)
    return true
  })
  expect((await first.editor.failure('initialize')).data).toMatchObject({ reason: 'http_rejected' })
  expect(await first.relay.ended).toMatchObject({ code: 'UNAUTHORIZED' })

  let isRevoked = false
  const { server, editor, relay } = await relayed(request => {
    if (isRevoked) reject(request, 403)
    return isRevoked || answers(request, 'c-1')
  })
  await editor.request('initialize')
  isRevoked = true
  ;(await server.stream()).response.destroy()
  expect(await relay.ended).toMatchObject({ code: 'FORBIDDEN' })
})

test('the end of the editor ends the connection', async () => {
  const { server, editor, relay, end } = await relayed(request => answers(request, 'c-1'))
  await editor.request('initialize')
  end()
  expect(await relay.ended).toBeUndefined()
  expect(server.seen.at(-1)?.method).toBe('DELETE')
})
