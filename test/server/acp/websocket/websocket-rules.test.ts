import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { type ClientOptions, WebSocket } from 'ws'
import { startAcp, type TestServer } from '../../../fixtures/acp/acp-server.js'
import { initialize } from '../../../fixtures/acp/http-client.js'
import { ScriptAgents } from '../../../fixtures/acp/script-agent.js'
import { eventually } from '../../../fixtures/eventually.js'
import { leavesNothing } from '../../../fixtures/leaves-nothing.js'

leavesNothing()
afterEach(() => {
  vi.useRealTimers()
})

interface Received {
  id?: unknown
  method?: string
  result?: Record<string, unknown>
  error?: { code: number; data?: unknown }
}

/** A client that sends what a test says. */
class Client {
  readonly socket: WebSocket
  readonly received: Received[] = []
  closed: { code: number; text: string } | undefined
  head: IncomingMessage | undefined

  constructor({ url }: Pick<TestServer, 'url'>, headers: Record<string, string> = {}, options: ClientOptions = {}) {
    this.socket = new WebSocket(url.replace('http', 'ws'), { ...options, headers })
    this.socket.on('upgrade', head => (this.head = head))
    this.socket.on('message', data => this.received.push(JSON.parse(String(data))))
    this.socket.on('close', (code, text) => (this.closed = { code, text: String(text) }))
    this.socket.on('error', () => {})
    onTestFinished(() => this.socket.terminate())
  }

  static async open(...given: ConstructorParameters<typeof Client>): Promise<Client> {
    const client = new Client(...given)
    await once(client.socket, 'open')
    return client
  }

  send(message: object): void {
    this.socket.send(JSON.stringify(message))
  }

  next(): Promise<Received> {
    return eventually(() => {
      const message = this.received.shift()
      if (!message) throw new Error('no message')
      return message
    })
  }

  async initialized(): Promise<this> {
    this.send(initialize)
    await this.next()
    return this
  }

  close(): Promise<{ code: number; text: string }> {
    return eventually(() => {
      if (!this.closed) throw new Error('the socket is open')
      return this.closed
    })
  }
}

async function start(options: Partial<Parameters<typeof startAcp>[0]> = {}) {
  const agents = new ScriptAgents()
  return { agents, ...(await startAcp({ agent: agents.connect, ...options })) }
}

/** Dials, and returns the status and the body of the rejection. */
async function rejected(server: Pick<TestServer, 'url'>, headers?: Record<string, string>) {
  const { socket } = new Client(server, headers)
  const [, response]: IncomingMessage[] = await once(socket, 'unexpected-response')
  let text = ''
  for await (const chunk of response ?? []) text += String(chunk)
  return { status: response?.statusCode, body: JSON.parse(text) }
}

test('A27, B8: the upgrade gets the id and the cookie, and the response to initialize the same id', async () => {
  const server = await start({ replicaId: 'r1' })
  const client = await Client.open(server)
  client.send(initialize)
  const { id, result } = await client.next()
  const connectionId = client.head?.headers['acp-connection-id']
  expect(connectionId).toMatch(/^r1\./)
  expect({ id, result }).toEqual({ id: 0, result: { protocolVersion: 1, connectionId } })
  expect(client.head?.headers['set-cookie']).toEqual(['aibridge_replica=r1; HttpOnly; SameSite=Strict; Path=/acp'])
})

test('A27: a first message that is not initialize closes with 1002, and no agent was made', async () => {
  const server = await start()
  const client = await Client.open(server)
  client.send({ jsonrpc: '2.0', id: 1, method: 'session/new' })
  expect(await client.close()).toMatchObject({ code: 1002 })
  expect({ agents: server.agents.all, ends: server.ends }).toEqual({ agents: [], ends: ['protocol_error'] })
})

test('A27: malformed messages, batches and a second initialize get errors, and the connection lives', async () => {
  const server = await start()
  const client = await (await Client.open(server)).initialized()
  client.socket.send(Buffer.from('binary'), { binary: true })
  for (const text of ['{', '[]', '7', '{"jsonrpc":"2.0","id":null,"method":"x"}']) client.socket.send(text)
  client.send({ ...initialize, id: 'again' })
  const errors = []
  for (let left = 5; left > 0; left--) errors.push(await client.next())
  expect(errors.map(({ id, error }) => [id, error?.code])).toEqual([
    [null, -32_700],
    [null, -32_600],
    [null, -32_600],
    [null, -32_600],
    ['again', -32_600],
  ])
  client.send({ jsonrpc: '2.0', id: 1, method: 'session/new' })
  server.agents.last.answer(await server.agents.last.next('session/new'), { sessionId: 's' })
  expect(await client.next()).toMatchObject({ id: 1, result: { sessionId: 's' } })
})

test('A27: messages that come with initialize are served behind its response, in order', async () => {
  const server = await start()
  server.agents.answersInitialize = false
  const client = await Client.open(server)
  // One chunk.
  client.send(initialize)
  client.send({ jsonrpc: '2.0', id: 1, method: 'session/list' })
  client.send({ jsonrpc: '2.0', method: 'session/cancel', params: { sessionId: 's' } })
  client.send({ ...initialize, id: 'again' })
  await expect.poll(() => server.agents.all.length).toBe(1)
  const agent = server.agents.last
  agent.answer(await agent.next('initialize'), { protocolVersion: 1 })
  expect(await client.next()).toMatchObject({ id: 0, result: { protocolVersion: 1 } })
  agent.answer(await agent.next('session/list'), { sessions: [] })
  await agent.next('session/cancel')
  const replies = [await client.next(), await client.next()]
  expect(replies).toMatchObject([
    { id: 'again', error: { code: -32_600 } },
    { id: 1, result: { sessions: [] } },
  ])
})

test('A27: messages before the response to initialize are bounded, and none is lost', async () => {
  const server = await start({ limits: { maxMessageBytes: 1_000 } })
  server.agents.answersInitialize = false
  const client = await Client.open(server)
  client.send(initialize)
  for (let id = 1; id <= 200; id++)
    client.send({ jsonrpc: '2.0', id, method: 'session/list', params: { x: 'x'.repeat(500) } })
  await expect.poll(() => server.agents.all.length).toBe(1)
  const agent = server.agents.last
  agent.answer(await agent.next('initialize'), { protocolVersion: 1 })
  for (let id = 1; id <= 200; id++) agent.answer(await agent.next('session/list'), {})
  await client.next()
  const ids: unknown[] = []
  while (ids.length < 200) ids.push((await client.next()).id)
  expect(ids).toEqual(Array.from({ length: 200 }, (_, index) => index + 1))
})

test('A8: an initialize that the agent rejects gets the error, and then the socket closes', async () => {
  const server = await start()
  server.agents.answersInitialize = false
  const client = await Client.open(server)
  client.send(initialize)
  await expect.poll(() => server.agents.all.length).toBe(1)
  server.agents.last.send({ id: 0, error: { code: -32_022, message: 'no such version' } })
  expect(await client.next()).toMatchObject({ id: 0, error: { code: -32_022 } })
  expect(await client.close()).toMatchObject({ code: 1000 })
})

test('A28: a socket without initialize closes after 10 s', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const server = await start()
  const client = await Client.open(server)
  vi.advanceTimersByTime(9_999)
  expect(server.acp.connections).toBe(1)
  vi.advanceTimersByTime(1)
  vi.useRealTimers()
  expect(await client.close()).toEqual({ code: 1008, text: 'no initialize within 10,000 ms' })
  expect({ ends: server.ends, agents: server.agents.all }).toEqual({ ends: ['abandoned'], agents: [] })
})

test('A29: a frame above the limit closes with 1009', async () => {
  const server = await start({ limits: { maxMessageBytes: 100_000 } })
  const client = await (await Client.open(server)).initialized()
  client.send({ jsonrpc: '2.0', method: 'x', params: { x: 'x'.repeat(100_000) } })
  expect(await client.close()).toMatchObject({ code: 1009 })
  await expect.poll(() => server.agents.last.closeReason).toMatchObject({ code: 1000 })
})

test('A30: the second of two open requests with one id gets the error duplicate_id', async () => {
  const server = await start()
  const client = await (await Client.open(server)).initialized()
  const list = { jsonrpc: '2.0', id: 1, method: 'session/list' }
  client.send(list)
  client.send(list)
  expect(await client.next()).toMatchObject({ id: 1, error: { code: -32_600, data: { reason: 'duplicate_id' } } })
  server.agents.last.answer(await server.agents.last.next('session/list'), { sessions: [] })
  expect(await client.next()).toMatchObject({ id: 1, result: { sessions: [] } })
})

describe('an upgrade is rejected', () => {
  test('A24: of a page of another origin', async () => {
    const server = await start({ allowedOrigins: ['https://editor.example'] })
    expect(await rejected(server, { origin: 'https://evil.example' })).toMatchObject({
      status: 403,
      body: { reason: 'origin_not_allowed' },
    })
    const { socket } = await Client.open(server, { origin: 'https://editor.example' })
    expect(socket.readyState).toBe(WebSocket.OPEN)
  })

  test('B1: above the limit of connections, and the place of a closed one is free', async () => {
    const server = await start({ limits: { maxConnections: 1 } })
    const client = await Client.open(server)
    expect(await rejected(server)).toMatchObject({ status: 503, body: { reason: 'too_many_connections' } })
    client.socket.close()
    await client.close()
    await expect.poll(() => server.acp.connections).toBe(0)
    await Client.open(server)
    expect(server.agents.all).toEqual([])
  })

  test('B7: with the application’s fault in the log alone', async () => {
    const server = await start({
      authenticate: () => {
        throw new Error('the database is at 10.0.0.7')
      },
    })
    const { status, body } = await rejected(server)
    expect({ status, body }).toEqual({
      status: 500,
      body: { message: 'internal server error', requestId: expect.any(String) },
    })
    expect(server.logged.map(({ fields }) => fields.requestId)).toContain(body.requestId)
  })

  test('B6: while the server drains', async () => {
    const server = await start()
    await server.group.close({ graceMs: 0 })
    expect(await rejected(server)).toMatchObject({ status: 503, body: { reason: 'draining' } })
  })

  test('under a path that is not served', async () => {
    const server = await start()
    const url = server.url.replace('/acp', '/other')
    expect(await rejected({ url })).toMatchObject({ status: 404, body: { reason: 'not_found' } })
  })
})

test('B7: an agent that does not start is an error without its cause, and the socket closes', async () => {
  const server = await start({
    agent: () => {
      throw new Error('spawn /opt/secret/agent ENOENT')
    },
  })
  const client = await Client.open(server)
  client.send(initialize)
  const { error } = await client.next()
  expect(error).toEqual({
    code: -32_603,
    message: 'the agent could not be started',
    data: { reason: 'agent_failed' },
  })
  await client.close()
  expect(server.logged.map(({ fields }) => String(fields.err))).toContain('Error: spawn /opt/secret/agent ENOENT')
})

test('B2: a client that stops reading gets all messages afterwards, and the agent was held meanwhile', async () => {
  const server = await start()
  const client = await (await Client.open(server)).initialized()
  client.socket.pause()
  const agent = server.agents.last
  let sent = 0
  await eventually(() => {
    while (!agent.end.full && sent < 10_000) agent.update('s', [sent++, 'x'.repeat(2_000)])
    expect(agent.end.full).toBe(true)
  })
  client.socket.resume()
  await expect.poll(() => client.received.length).toBe(sent)
  expect(client.received.map(message => Reflect.get(Object(message), 'params').text[0])).toEqual(
    Array.from({ length: sent }, (_, index) => index),
  )
})

test('B2: a client that never reads loses the connection after 60 s', async () => {
  const server = await start()
  const client = await (await Client.open(server)).initialized()
  client.socket.pause()
  const agent = server.agents.last
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  for (let turns = 0; !agent.end.full && turns < 2_000; turns++) {
    for (let count = 0; count < 20; count++) agent.update('s', 'x'.repeat(10_000))
    await new Promise(resolve => setImmediate(resolve))
  }
  expect(agent.end.full).toBe(true)
  // The system's buffers fill up in the first span.
  for (let span = 0; span < 3; span++) {
    await new Promise(resolve => setImmediate(resolve))
    vi.advanceTimersByTime(60_000)
  }
  vi.useRealTimers()
  expect(server.ends).toEqual(['slow_reader'])
  client.socket.terminate()
  await expect.poll(() => agent.closeReason).toMatchObject({ code: 4008, reason: 'slow_reader' })
})

/** Lets time pass for timers and for the clock, with turns of the event loop in between. */
async function pass(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 1_000) {
    vi.advanceTimersByTime(1_000)
    for (let turns = 0; turns < 3; turns++) await new Promise(resolve => setImmediate(resolve))
  }
}

test('A31: a socket whose client has gone without a word ends within 60 s', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  const server = await start()
  const client = await (await Client.open(server, {}, { autoPong: false })).initialized()
  await pass(29_000)
  expect(server.acp.connections).toBe(1)
  await pass(31_000)
  expect(server.ends).toEqual(['closed'])
  await expect.poll(() => server.agents.last.closeReason).toMatchObject({ reason: 'closed' })
  client.socket.terminate()
})

test('A31: a socket whose client leaves while the agent is full ends within 60 s', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  const server = await start()
  const client = await (await Client.open(server)).initialized()
  const agent = server.agents.last
  agent.end.pauseReading?.()
  for (let count = 0; count < 8; count++) {
    client.send({ jsonrpc: '2.0', method: '_vendor/x', params: { x: 'x'.repeat(1024 ** 2) } })
  }
  for (let turns = 0; turns < 100; turns++) await new Promise(resolve => setImmediate(resolve))
  client.socket.terminate()
  await pass(60_000)
  vi.useRealTimers()
  await expect
    .poll(() => ({ ends: server.ends, connections: server.acp.connections }))
    .toEqual({ ends: ['closed'], connections: 0 })
})

test('B6: the agent of a lost socket is closed, and a socket closes with its agent', async () => {
  const server = await start()
  const first = await (await Client.open(server)).initialized()
  first.socket.terminate()
  await expect.poll(() => server.agents.last.closeReason).toMatchObject({ reason: 'closed' })
  const second = await (await Client.open(server)).initialized()
  second.send({ jsonrpc: '2.0', id: 1, method: 'session/list' })
  await server.agents.last.next('session/list')
  server.agents.last.update('s', 'last words')
  server.agents.last.close()
  expect(await second.next()).toMatchObject({ method: 'session/update' })
  expect(await second.next()).toMatchObject({ id: 1, error: { data: { reason: 'agent_failed' } } })
  expect(await second.close()).toMatchObject({ code: 1000 })
  expect({ ends: server.ends, connections: server.acp.connections }).toEqual({
    ends: ['closed', 'agent_ended'],
    connections: 0,
  })
})

test('B6: a shutdown waits for an open prompt, rejects a new one and closes with 1001', async () => {
  const server = await start()
  const client = await (await Client.open(server)).initialized()
  client.send({ jsonrpc: '2.0', id: 1, method: 'session/prompt', params: { sessionId: 's' } })
  const prompt = await server.agents.last.next('session/prompt')
  const closed = server.group.close({ graceMs: 10_000 })
  client.send({ jsonrpc: '2.0', id: 2, method: 'session/prompt', params: { sessionId: 's' } })
  expect(await client.next()).toMatchObject({ id: 2, error: { data: { reason: 'draining' } } })
  server.agents.last.answer(prompt, { stopReason: 'end_turn' })
  expect(await client.next()).toMatchObject({ id: 1, result: { stopReason: 'end_turn' } })
  expect(await client.close()).toMatchObject({ code: 1001 })
  expect(await closed).toEqual({ drained: 1, aborted: 0 })
})
