/** The life of connections over HTTP: limits, ends, slow readers, shutdown. */

import { request } from 'node:http'
import { connect } from 'node:net'
import { afterEach, expect, test, vi } from 'vitest'
import { ConnectionGroup } from '../../../../server/rpc/connection-group.js'
import { memoryDuplexPair } from '../../../../shared/rpc/links/memory-duplex.js'
import { startAcp } from '../../../fixtures/acp/acp-server.js'
import { ask, http1, initialize, json, TestClient } from '../../../fixtures/acp/http-client.js'
import { ScriptAgents } from '../../../fixtures/acp/script-agent.js'
import { eventually } from '../../../fixtures/eventually.js'
import { leavesNothing } from '../../../fixtures/leaves-nothing.js'

leavesNothing()
afterEach(() => {
  vi.useRealTimers()
})

const fakeTimers = () => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
const turn = () => new Promise(resolve => setImmediate(resolve))
const initializeText = JSON.stringify(initialize)

async function start(options: Partial<Parameters<typeof startAcp>[0]> = {}) {
  const agents = new ScriptAgents()
  const server = await startAcp({ agent: agents.connect, ...options })
  return { agents, ...server, send: http1(server.port) }
}

test('B1, A25: the connection above a limit gets 503 with Retry-After, and no agent is made', async () => {
  const { send, agents } = await start({
    authenticate: ({ authorization = '' }) => ({ userId: authorization }),
    limits: { maxConnections: 3, maxConnectionsPerUser: 2 },
  })
  const first = await TestClient.open(send, { authorization: 'ada' })
  await TestClient.open(send, { authorization: 'ada' })
  const third = await ask(send, 'POST', { ...json, authorization: 'ada' }, initializeText)
  expect(third).toMatchObject({
    status: 503,
    headers: { 'retry-after': '1' },
    body: { reason: 'too_many_connections' },
  })
  await TestClient.open(send, { authorization: 'bob' })
  expect(await ask(send, 'POST', { ...json, authorization: 'eve' }, initializeText)).toMatchObject({ status: 503 })
  expect(agents.all).toHaveLength(3)
  await first.delete()
  await TestClient.open(send, { authorization: 'ada' })
})

test('an application may refuse admission, and learns of the end', async () => {
  const notes: string[] = []
  const { send, agents } = await start({
    admit: () => {
      notes.push('admitted')
      return () => notes.push('released')
    },
  })
  const client = await TestClient.open(send)
  expect(notes).toEqual(['admitted'])
  await client.delete()
  expect(notes).toEqual(['admitted', 'released'])
  expect(agents.all).toHaveLength(1)
})

test('B1: an agent that does not respond to initialize within 30 s is 504, and its end is closed', async () => {
  const { send, agents, acp } = await start()
  agents.answersInitialize = false
  fakeTimers()
  const reply = ask(send, 'POST', json, initializeText)
  while (agents.all[0]?.received.length !== 1) await turn()
  vi.advanceTimersByTime(29_999)
  expect(acp.connections).toBe(1)
  vi.advanceTimersByTime(1)
  vi.useRealTimers()
  expect(await reply).toMatchObject({
    status: 504,
    body: { reason: 'initialize_timeout', requestId: expect.any(String) },
  })
  await expect.poll(() => agents.last.closeReason).toMatchObject({ reason: 'initialize_failed' })
  expect(acp.connections).toBe(0)
})

test('a client that leaves during initialize leaves no agent, also one that is still being made', async () => {
  const [serverEnd, agentEnd] = memoryDuplexPair()
  let make = (): void => {}
  let isClosed = false
  agentEnd.open({ onMessage() {}, onDrain() {}, onClose: () => (isClosed = true) })
  const { port, acp, ends } = await start({
    agent: () => new Promise(resolve => (make = () => resolve(serverEnd))),
  })
  const socket = connect(port, '127.0.0.1')
  socket.write(
    `POST /acp HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${initializeText.length}\r\n\r\n${initializeText}`,
  )
  await expect.poll(() => acp.connections).toBe(1)
  socket.destroy()
  await expect.poll(() => ends).toEqual(['closed'])
  make()
  await expect.poll(() => isClosed).toBe(true)
  expect(acp.connections).toBe(0)
})

test('a body that does not arrive within 30 s gets 408', async () => {
  const { port } = await start()
  fakeTimers()
  const socket = connect(port, '127.0.0.1')
  let response = ''
  socket.setEncoding('utf8').on('data', chunk => (response += chunk))
  socket.write('POST /acp HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{')
  // The timer of the body is the last one that is set.
  await eventuallyTurn(() => vi.getTimerCount() > 0 && socket.bytesWritten > 0)
  for (let turns = 0; turns < 20; turns++) await turn()
  vi.advanceTimersByTime(30_000)
  vi.useRealTimers()
  await expect.poll(() => response).toContain('408')
  expect(response).toContain('body_timeout')
  socket.destroy()
})

test('A20: a silent stream gets a comment every 15 s, and none while events come', async () => {
  const { send, agents } = await start()
  const client = await TestClient.open(send)
  fakeTimers()
  const stream = await client.open('s')
  vi.advanceTimersByTime(14_999)
  agents.last.update('s', 1)
  await eventuallyTurn(() => stream.events.length === 1)
  vi.advanceTimersByTime(14_999)
  for (let turns = 0; turns < 10; turns++) await turn()
  expect(stream.comments).toBe(0)
  vi.advanceTimersByTime(1)
  await eventuallyTurn(() => stream.comments === 1)
  vi.advanceTimersByTime(15_000)
  await eventuallyTurn(() => stream.comments === 2)
  stream.destroy()
})

test('A31: a connection ends 60 s after its last stream and its last request', async () => {
  const { send, agents, acp, ends } = await start()
  fakeTimers()
  const client = await TestClient.open(send)
  vi.advanceTimersByTime(59_999)
  await client.post({ method: '_vendor/x' })
  const stream = await client.open()
  vi.advanceTimersByTime(600_000)
  expect(acp.connections).toBe(1)
  stream.destroy()
  await eventuallyTurn(() => vi.getTimerCount() > 0)
  for (let turns = 0; turns < 10; turns++) await turn()
  vi.advanceTimersByTime(59_999)
  expect(acp.connections).toBe(1)
  vi.advanceTimersByTime(1)
  expect(acp.connections).toBe(0)
  vi.useRealTimers()
  await expect.poll(() => agents.last.closeReason).toMatchObject({ code: 1008, reason: 'abandoned' })
  expect(ends).toEqual(['abandoned'])
})

test('A18, A19: a prompt before its GET gets all events once, and a cut stream goes on where it stopped', async () => {
  const { send, agents } = await start()
  const client = await TestClient.open(send)
  await client.postTo('s', { id: 1, method: 'session/prompt', params: { sessionId: 's' } })
  const prompt = await agents.last.next('session/prompt')
  for (let index = 0; index < 100; index++) agents.last.update('s', index)
  const first = await client.open('s')
  await expect.poll(() => first.events.length).toBe(100)
  first.destroy()
  for (let index = 100; index < 200; index++) agents.last.update('s', index)
  agents.last.answer(prompt, { stopReason: 'end_turn' })
  const second = await client.open('s', { 'last-event-id': '50' })
  await expect.poll(() => second.events.length).toBe(151)
  expect(second.events.map(({ id }) => id)).toEqual(Array.from({ length: 151 }, (_, index) => index + 51))
  expect(second.events.at(-1)?.data).toMatchObject({ id: 1, result: { stopReason: 'end_turn' } })
  expect((await client.open('s')).status).toBe(409)
  expect((await client.open('s', { 'last-event-id': '500' })).status).toBe(409)
})

test('B4: the stream of a session that was dropped goes on with the next id', async () => {
  const { send, agents } = await start()
  const client = await TestClient.open(send)
  const own = await client.open()
  const first = await client.open('s')
  agents.last.update('s', 1)
  await first.next()
  fakeTimers()
  first.destroy()
  await eventuallyTurn(() => vi.getTimerCount() > 0)
  for (let turns = 0; turns < 10; turns++) await turn()
  vi.advanceTimersByTime(60_000)
  vi.useRealTimers()
  expect((await client.open('s', { 'last-event-id': '0' })).status).toBe(409)
  agents.last.update('s', 2)
  const second = await client.open('s', { 'last-event-id': '1' })
  expect(await second.next()).toMatchObject({ id: 2 })
  own.destroy()
})

test.each(['before any GET', 'while its stream is cut'])(
  'B2: a session that is closed %s has its last response for a reader that comes later',
  async when => {
    const { send, agents } = await start()
    const client = await TestClient.open(send)
    const lastEventId = when === 'before any GET' ? {} : { 'last-event-id': '1' }
    if (when !== 'before any GET') {
      const cut = await client.open('s')
      agents.last.update('s', 1)
      await cut.next()
      cut.destroy()
    }
    await client.postTo('s', { id: 7, method: 'session/close', params: { sessionId: 's' } })
    agents.last.answer(await agents.last.next('session/close'), {})
    await turn()
    const stream = await client.open('s', lastEventId)
    expect(await stream.next()).toMatchObject({ data: { id: 7, result: {} } })
    expect(await stream.end()).toBe('clean')
  },
)

test('A31: the last response of a closed session waits 60 s for a reader', async () => {
  const { send, agents, acp } = await start()
  const client = await TestClient.open(send)
  const own = await client.open()
  fakeTimers()
  await client.postTo('s', { id: 7, method: 'session/close', params: { sessionId: 's' } })
  agents.last.answer(await agents.last.next('session/close'), {})
  await turn()
  vi.advanceTimersByTime(60_000)
  vi.useRealTimers()
  expect((await client.open('s', { 'last-event-id': '0' })).status).toBe(409)
  expect(acp.connections).toBe(1)
  own.destroy()
})

test('B1: output of more sessions than may be unread ends the connection', async () => {
  const { send, agents, ends, logged } = await start({ limits: { maxUnreadSessions: 2 } })
  await TestClient.open(send)
  for (const sessionId of ['a', 'b', 'c']) agents.last.update(sessionId, 1)
  await expect.poll(() => ends).toEqual(['slow_reader'])
  expect(logged).toContainEqual(expect.objectContaining({ level: 'warn' }))
})

test('B2: a reader that stops under 5,000 messages gets all of them, in order', async () => {
  const { send, agents } = await start()
  const client = await TestClient.open(send)
  const stream = await client.open('s')
  stream.pause()
  const agent = agents.last
  let sent = 0
  const push = async (): Promise<void> => {
    while (sent < 5_000) {
      if (agent.end.full) await turn()
      else agent.update('s', [sent++, 'x'.repeat(1_000)])
    }
  }
  const pushing = push()
  await eventually(() => expect(agent.end.full).toBe(true))
  stream.resume()
  await pushing
  await expect.poll(() => stream.events.length).toBe(5_000)
  expect(stream.events.map(({ id, data }) => [id, data.params?.text])).toEqual(
    Array.from({ length: 5_000 }, (_, index) => [index + 1, [index, 'x'.repeat(1_000)]]),
  )
})

test('B2, A18: output for a session that nobody opens holds the agent, and costs the connection after 60 s', async () => {
  const { send, agents, acp, ends, logged, held } = await start()
  const client = await TestClient.open(send)
  const own = await client.open()
  fakeTimers()
  const agent = agents.last
  // 9 MiB: this agent does not care that its end is full.
  for (let count = 0; count < 9; count++) agent.update('s', 'x'.repeat(1024 ** 2))
  await eventuallyTurn(() => held.length === 1)
  expect(agent.end.full).toBe(true)
  vi.advanceTimersByTime(59_999)
  expect(acp.connections).toBe(1)
  vi.advanceTimersByTime(1)
  vi.useRealTimers()
  expect(ends).toEqual(['slow_reader'])
  expect(await own.end()).toBe('cut')
  expect(logged).toContainEqual(
    expect.objectContaining({ level: 'warn', message: expect.stringContaining('has read none for 60,000 ms') }),
  )
  await expect.poll(() => agent.closeReason).toMatchObject({ code: 4008, reason: 'slow_reader' })
})

test('B2: posts wait while the agent takes nothing more', async () => {
  const [serverEnd, agentEnd] = memoryDuplexPair()
  const received: unknown[] = []
  agentEnd.open({
    onMessage: message => {
      received.push(message)
      if (Reflect.get(message as object, 'method') === 'initialize') {
        agentEnd.send({ jsonrpc: '2.0', id: 0, result: {} })
      }
    },
    onDrain() {},
    onClose() {},
  })
  const { send } = await start({ agent: () => serverEnd })
  const client = await TestClient.open(send)
  agentEnd.pauseReading?.()
  const large = { method: '_vendor/x', params: { x: 'x'.repeat(2 * 1024 ** 2) } }
  expect((await client.post(large)).status).toBe(202)
  let isTaken = false
  const second = client.post({ method: '_vendor/y' }).then(reply => {
    isTaken = true
    return reply
  })
  for (let turns = 0; turns < 50; turns++) await turn()
  expect(isTaken).toBe(false)
  agentEnd.resumeReading?.()
  expect((await second).status).toBe(202)
  await expect
    .poll(() => received.map(message => Reflect.get(Object(message), 'method')))
    .toEqual(['initialize', '_vendor/x', '_vendor/y'])
})

test.each([
  ['small', 10, 'is given up at once'],
  ['large', 2 * 1024 ** 2, 'ends with its connection'],
])('A31: a %s post (%d bytes) that waits for a full agent %s when its client leaves', async (_, length) => {
  const { port, send, agents, acp, ends, rejections } = await start()
  const client = await TestClient.open(send)
  agents.last.end.pauseReading?.()
  await client.post({ method: '_vendor/x', params: { x: 'x'.repeat(2 * 1024 ** 2) } })
  const body = JSON.stringify({ jsonrpc: '2.0', method: '_vendor/y', params: { y: 'y'.repeat(length) } })
  fakeTimers()
  const leaving = request({ port, path: '/acp', method: 'POST', headers: { ...json, ...client.headers } })
  leaving.on('error', () => {})
  leaving.end(body)
  await eventuallyTurn(() => vi.getTimerCount() > 0)
  for (let turns = 0; turns < 50; turns++) await turn()
  leaving.destroy()
  if (length < 1_000) await eventuallyTurn(() => rejections.includes('CLIENT_CLOSED_REQUEST'))
  vi.advanceTimersByTime(60_000)
  expect({ connections: acp.connections, ends }).toEqual({ connections: 0, ends: ['abandoned'] })
})

test('B3, B6: the last message of an agent arrives before the streams end, and then nothing is left', async () => {
  const { send, agents, acp, ends } = await start()
  const client = await TestClient.open(send)
  const streams = [await client.open(), await client.open('s')]
  await client.postTo('s', { id: 1, method: 'session/prompt', params: { sessionId: 's' } })
  await agents.last.next('session/prompt')
  agents.last.update('s', 'last words')
  agents.last.close()
  expect(await streams[1]?.next()).toMatchObject({ data: { params: { text: 'last words' } } })
  expect(await streams[1]?.next()).toMatchObject({ data: { id: 1, error: { data: { reason: 'agent_failed' } } } })
  expect(await Promise.all(streams.map(stream => stream.end()))).toEqual(['clean', 'clean'])
  expect({ connections: acp.connections, ends }).toEqual({ connections: 0, ends: ['agent_ended'] })
  expect((await client.post({ method: 'x' })).status).toBe(404)
})

test('an agent that breaks the protocol ends with its connection, and the log has the cause', async () => {
  const { send, agents, ends, logged } = await start()
  const client = await TestClient.open(send)
  const own = await client.open()
  agents.last.end.send([{ jsonrpc: '2.0', method: 'x' }])
  expect(await own.end()).toBe('clean')
  expect(ends).toEqual(['agent_failed'])
  expect(logged).toContainEqual(
    expect.objectContaining({ level: 'error', message: expect.stringContaining('no valid message') }),
  )
})

test('an agent’s second open request with one id is rejected, and so is one above the limit', async () => {
  const { send, agents } = await start({ limits: { maxPendingRequests: 2 } })
  await TestClient.open(send)
  for (const id of [1, 1, 2, 3]) agents.last.send({ id, method: 'elicitation/create', params: {} })
  await expect
    .poll(() => agents.last.received.map(message => Reflect.get(message, 'error')?.data?.reason).filter(Boolean))
    .toEqual(['duplicate_id', 'too_many_requests'])
})

test('B6: a shutdown rejects initialize, lets an open prompt end, and ends idle connections at once', async () => {
  const group = new ConnectionGroup()
  const { send, agents, ends } = await start({ group })
  const idle = await TestClient.open(send)
  const idleStream = await idle.open()
  const busy = await TestClient.open(send)
  const stream = await busy.open('s')
  const agent = agents.last
  await busy.postTo('s', { id: 1, method: 'session/prompt', params: { sessionId: 's' } })
  const prompt = await agent.next('session/prompt')
  agent.send({ id: 7, method: 'session/request_permission', params: { sessionId: 's' } })
  const closed = group.close({ graceMs: 10_000 })
  expect(await idleStream.end()).toBe('clean')
  expect(await ask(send, 'POST', json, initializeText)).toMatchObject({ status: 503, body: { reason: 'draining' } })
  const next = { id: 2, method: 'session/prompt', params: { sessionId: 's' } }
  expect(await busy.postTo('s', next)).toMatchObject({ status: 503, body: { reason: 'draining' } })
  // What the running prompt needs still passes.
  expect((await busy.postTo('s', { id: 7, result: {} })).status).toBe(202)
  agent.answer(prompt, { stopReason: 'end_turn' })
  expect(await closed).toEqual({ drained: 1, aborted: 0 })
  expect(await stream.end()).toBe('clean')
  expect(stream.events.map(({ data }) => data.id)).toEqual([7, 1])
  expect(ends).toEqual(['draining', 'draining'])
})

test('B6: a prompt that outlasts the grace gets an error before its stream ends', async () => {
  const { send, group, agents } = await start()
  const client = await TestClient.open(send)
  const stream = await client.open('s')
  await client.postTo('s', { id: 1, method: 'session/prompt', params: { sessionId: 's' } })
  await agents.last.next('session/prompt')
  expect(await group.close({ graceMs: 10 })).toEqual({ drained: 0, aborted: 1 })
  await stream.end()
  expect(stream.events).toMatchObject([{ data: { id: 1, error: { data: { reason: 'draining' } } } }])
})

/** Waits by turns of the event loop, for tests whose timers stand still. */
async function eventuallyTurn(fact: () => boolean): Promise<void> {
  const giveUpAt = performance.now() + 10_000
  while (!fact()) {
    if (performance.now() > giveUpAt) throw new Error('the fact did not come true')
    await turn()
  }
}
