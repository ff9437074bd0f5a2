/** Whole conversations of this client with servers of agents. */
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { createAcpClient } from '../../../client/acp/acp-client.js'
import type { AcpClientOptions } from '../../../client/acp/options.js'
import { memoryDuplexPair } from '../../../shared/rpc/links/memory-duplex.js'
import { AcpPeer, promptOf } from '../../fixtures/acp/acp-peer.js'
import { startAcp } from '../../fixtures/acp/acp-server.js'
import { ScriptAgents } from '../../fixtures/acp/script-agent.js'
import { duplexOf } from '../../fixtures/acp/sdk-agent.js'
import { startSdkServer } from '../../fixtures/acp/sdk-server.js'
import { makeAgent } from '../../fixtures/acp/stdio-agent.mjs'
import { leavesNothing, opened } from '../../fixtures/leaves-nothing.js'
import { listening } from '../../fixtures/listening.js'

leavesNothing()

async function startOwnServer(): Promise<{ http: string; ws: string }> {
  const { url } = await startAcp({ agent: () => duplexOf(makeAgent()) })
  return { http: url, ws: url.replace('http', 'ws') }
}

const servers = [
  ["the official SDK's server", () => startSdkServer(makeAgent)],
  ['the own server', startOwnServer],
] as const
const transports = ['http', 'ws'] as const
const table = servers.flatMap(([name, start]) => transports.map(transport => [name, transport, start] as const))

describe.each(table)('%s over %s', (_, transport, start) => {
  async function connect() {
    const urls = await start()
    const client = createAcpClient({ url: urls[transport] })
    opened.add({ groups: [], close: () => client.close() })
    return { client, peer: new AcpPeer(client) }
  }

  test('a conversation runs from initialize to load', async () => {
    const { client, peer } = await connect()
    expect(await peer.request('initialize', { protocolVersion: 1 })).toMatchObject({ protocolVersion: 1 })
    const { sessionId } = await peer.request('session/new', { cwd: '/', mcpServers: [] })
    expect(await peer.request('session/prompt', promptOf(sessionId, 'say:one two three'))).toEqual({
      stopReason: 'end_turn',
    })
    expect(peer.texts).toEqual(['one', 'two', 'three'])

    const prompt = peer.ask('session/prompt', promptOf(sessionId, 'ask'))
    const asked = await peer.call('session/request_permission')
    peer.respond(asked.id, { outcome: { outcome: 'selected', optionId: 'yes' } })
    expect((await peer.responseTo(prompt)).result).toEqual({ stopReason: 'end_turn' })
    expect(peer.texts.at(-1)).toBe('selected')

    const waiting = peer.ask('session/prompt', promptOf(sessionId, 'wait'))
    await expect.poll(() => peer.texts.at(-1)).toBe('waiting')
    peer.notify('session/cancel', { sessionId })
    expect((await peer.responseTo(waiting)).result).toEqual({ stopReason: 'cancelled' })

    expect(await peer.request('session/load', { sessionId, cwd: '/', mcpServers: [] })).toEqual({})
    await expect.poll(() => peer.texts.at(-1)).toBe('as before')
    await client.close()
    expect(peer.closes).toEqual([{ code: 1000, message: 'the client has closed' }])
    expect(client.error).toBeUndefined()
  })

  test('two hundred updates arrive once and in order, before the response of their prompt', async () => {
    const { peer } = await connect()
    await peer.request('initialize', { protocolVersion: 1 })
    const { sessionId } = await peer.request('session/new', { cwd: '/', mcpServers: [] })
    await peer.request('session/prompt', promptOf(sessionId, 'many:200'))
    await expect.poll(() => peer.texts.length).toBe(200)
    expect(peer.texts).toEqual(Array.from({ length: 200 }, (_, index) => String(index)))
  })
})

test.each(transports)('messages right behind the response to initialize arrive behind it, over %s', async transport => {
  const { url } = await startAcp({
    agent() {
      const [serverEnd, agentEnd] = memoryDuplexPair()
      agentEnd.open({
        onMessage(message) {
          if (!('id' in Object(message)) || !('method' in Object(message))) return
          const id = Reflect.get(Object(message), 'id')
          agentEnd.send({ jsonrpc: '2.0', id, result: { protocolVersion: 1 } })
          agentEnd.send({ jsonrpc: '2.0', method: '_auth/status_update', params: {} })
          agentEnd.send({ jsonrpc: '2.0', id: 7, method: 'elicitation/create', params: {} })
        },
        onDrain() {},
        onClose() {},
      })
      return serverEnd
    },
  })
  const client = createAcpClient({ url: url.replace('http', transport) })
  opened.add({ groups: [], close: () => client.close() })
  const peer = new AcpPeer(client)
  const id = peer.ask('initialize', { protocolVersion: 1 })
  await peer.call('elicitation/create')
  expect(peer.received.map(message => message.method ?? message.id)).toEqual([
    id,
    '_auth/status_update',
    'elicitation/create',
  ])
})

describe('a WebSocket', () => {
  async function initialized(options: AcpClientOptions) {
    const client = createAcpClient(options)
    opened.add({ groups: [], close: () => client.close() })
    const peer = new AcpPeer(client)
    return { client, peer, first: await peer.responseTo(peer.ask('initialize', { protocolVersion: 1 })) }
  }

  test('a WebSocket that its server ends fails the open requests, which may have run', async () => {
    const { url, group } = await startAcp({ agent: () => duplexOf(makeAgent()) })
    const { client, peer } = await initialized({ url: url.replace('http', 'ws') })
    const { sessionId } = await peer.request('session/new', { cwd: '/', mcpServers: [] })
    const prompt = peer.ask('session/prompt', promptOf(sessionId, 'wait'))
    await expect.poll(() => peer.texts).toEqual(['waiting'])
    await group.close({ graceMs: 0 })
    const { error } = await peer.responseTo(prompt)
    expect(error?.data).toMatchObject({ reason: expect.any(String) })
    await client.closed
    expect(client.error).toMatchObject({ reason: 'connection_lost', cause: expect.any(Error) })
  })

  test('a WebSocket whose upgrade is rejected has the reason of the server', async () => {
    const { url } = await startAcp({
      agent: () => duplexOf(makeAgent()),
      limits: { maxConnections: 1 },
    })
    await initialized({ url: url.replace('http', 'ws') })
    const { first, client } = await initialized({
      url: url.replace('http', 'ws'),
      times: { initializeTimeoutMs: 100 },
    })
    expect(first.error?.data).toEqual({ reason: 'too_many_connections', mayHaveRun: false })
    expect(await client.closed).toMatchObject({ reason: 'too_many_connections' })
  })
  test('a close during the upgrade leaves no socket, and no response', async () => {
    const server = createServer()
    const port = await listening(server, { cut: true })
    const accepted = once(server, 'connection')
    const client = createAcpClient({ url: `ws://127.0.0.1:${port}/acp` })
    const peer = new AcpPeer(client)
    peer.ask('initialize')
    const [socket]: Socket[] = await accepted
    const gone = once(socket as Socket, 'close') // of the event
    socket?.resume().on('error', () => {})
    await client.close()
    await gone
    expect(peer.received).toEqual([])
  })

  test('a close during initialize ends the connection at the server, and has no response', async () => {
    const agents = new ScriptAgents()
    agents.answersInitialize = false
    const { url, acp, ends } = await startAcp({ agent: agents.connect })
    const client = createAcpClient({ url: url.replace('http', 'ws') })
    const peer = new AcpPeer(client)
    peer.ask('initialize')
    await expect.poll(() => agents.all.length).toBe(1)
    await client.close()
    expect(peer.received).toEqual([])
    await expect.poll(() => [acp.connections, ends]).toEqual([0, ['closed']])
  })
})
