/** The rules of a client over HTTP, beside a server whose every response the test decides. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type AcpClient, createAcpClient } from '../../../client/acp/acp-client.js'
import type { AcpClientOptions } from '../../../client/acp/options.js'
import { idKey } from '../../../shared/acp/messages.js'
import type { RpcError } from '../../../shared/rpc/errors.js'
import { AcpPeer, promptOf } from '../../fixtures/acp/acp-peer.js'
import {
  initialized,
  openStream,
  reject,
  type Script,
  ScriptedServer,
  sendEvent,
} from '../../fixtures/acp/scripted-server.js'
import { leavesNothing, opened } from '../../fixtures/leaves-nothing.js'

leavesNothing()

/** A script that takes the requests which `handles` returns true for. */
async function connected(script: Script = () => false, options: Partial<AcpClientOptions> = {}) {
  const server = await ScriptedServer.start(script)
  const errors: RpcError<string>[] = []
  const client: AcpClient = createAcpClient({
    url: server.url,
    onError: error => errors.push(error),
    ...options,
    times: { reconnectMinMs: 1, reconnectMaxMs: 5, ...options.times },
  })
  opened.add({ groups: [], close: () => client.close() })
  const peer = new AcpPeer(client)
  const result = await peer.request('initialize', { protocolVersion: 1 })
  return { server, client, peer, errors, result }
}

test('nothing is sent before the first message, which must be initialize', async () => {
  const server = await ScriptedServer.start()
  const client = createAcpClient({ url: server.url })
  const peer = new AcpPeer(client)
  expect(() => peer.ask('session/new')).toThrow(expect.objectContaining({ reason: 'not_initialized' }))
  await client.close()
  expect({ seen: server.seen, closes: peer.closes.length }).toEqual({ seen: [], closes: 1 })
})

test('the response to initialize is handed out when the stream of the connection is open', async () => {
  const server = await ScriptedServer.start(({ method }) => method === 'GET')
  const client = createAcpClient({ url: server.url })
  opened.add({ groups: [], close: () => client.close() })
  const peer = new AcpPeer(client)
  const id = peer.ask('initialize')
  const stream = await server.stream()
  expect(stream.headers).toMatchObject({ 'acp-connection-id': 'c-1', accept: 'text/event-stream' })
  expect(peer.received).toEqual([])
  openStream(stream)
  await peer.responseTo(id)
})

test('a message of a session is posted when the stream of the session is open', async () => {
  const { server, peer } = await connected(({ method, headers }) => method === 'GET' && 'acp-session-id' in headers)
  peer.ask('session/prompt', promptOf('s-1', 'a'))
  const stream = await server.stream('s-1')
  expect(server.seen.some(({ message }) => message.method === 'session/prompt')).toBe(false)
  openStream(stream)
  expect((await server.post('session/prompt')).headers).toMatchObject({ 'acp-session-id': 's-1' })
})

test('the stream of a new session is open before its first prompt', async () => {
  const { server, peer } = await connected()
  const id = peer.ask('session/new', { cwd: '/' })
  const { headers } = await server.post('session/new')
  expect(headers).not.toHaveProperty('acp-session-id')
  sendEvent(await server.stream(), { id, result: { sessionId: 's-1' } })
  await server.stream('s-1')
})

test('the stream of a closed session ends', async () => {
  const { server, peer } = await connected()
  const id = peer.ask('session/close', { sessionId: 's-1' })
  const { response } = await server.stream('s-1')
  await server.post('session/close')
  sendEvent(await server.stream('s-1'), { id, result: {} })
  await peer.responseTo(id)
  await expect.poll(() => response.destroyed).toBe(true)
  expect(server.seen.filter(({ method, headers }) => method === 'GET' && 'acp-session-id' in headers)).toHaveLength(1)
})

test('a response echoes the session of its request', async () => {
  const { server, peer } = await connected()
  peer.notify('session/cancel', { sessionId: 's-1' })
  sendEvent(await server.stream('s-1'), {
    id: 0,
    method: 'fs/read_text_file',
    params: { sessionId: 's-1', path: '/a' },
  })
  sendEvent(await server.stream(), { id: 'e', method: 'elicitation/create', params: {} })
  await peer.call('fs/read_text_file')
  await peer.call('elicitation/create')
  peer.respond(0, { content: '' })
  peer.respond('e', { action: 'cancel' })
  const posted = async (id: unknown) =>
    (await server.request(({ message }) => message.id === id && 'result' in message)).headers
  expect(await posted(0)).toMatchObject({ 'acp-session-id': 's-1' })
  expect(await posted('e')).not.toHaveProperty('acp-session-id')
})

test('messages of one session keep their order, and a cancelled request is not overtaken', async () => {
  const held: (() => void)[] = []
  const { server, peer } = await connected(({ message, response }) => {
    if (message.method !== 'session/prompt') return false
    held.push(() => response.writeHead(202).end())
    return true
  })
  const id = peer.ask('session/prompt', promptOf('s-1', 'a'))
  peer.notify('session/cancel', { sessionId: 's-1' })
  peer.notify('$/cancel_request', { requestId: id })
  peer.notify('session/cancel', { sessionId: 's-2' })
  await server.request(({ headers, method }) => method === 'POST' && headers['acp-session-id'] === 's-2')
  await server.post('session/prompt')
  expect(server.seen.filter(({ message }) => message.method === '$/cancel_request')).toEqual([])
  held[0]?.()
  const { headers } = await server.post('$/cancel_request')
  expect(headers).not.toHaveProperty('acp-session-id')
  const methods = server.seen
    .filter(({ headers }) => headers['acp-session-id'] !== 's-2')
    .flatMap(({ message }) => message.method ?? [])
  expect(methods.slice(-3)).toEqual(['session/prompt', 'session/cancel', '$/cancel_request'])
})

describe('streams', () => {
  test('a stream that broke off is opened again behind its last event, and the conversation goes on', async () => {
    const { server, peer, errors } = await connected()
    const id = peer.ask('session/prompt', promptOf('s-1', 'a'))
    const first = await server.stream('s-1')
    sendEvent(first, { method: 'session/update', params: { sessionId: 's-1', update: {} } }, 4)
    await peer.call('session/update')
    first.response.destroy()
    const second = await server.stream('s-1', 2)
    expect(second.headers).toMatchObject({ 'last-event-id': '4', 'acp-session-id': 's-1' })
    sendEvent(second, { id, result: { stopReason: 'end_turn' } }, 5)
    await peer.responseTo(id)
    second.response.end()
    expect((await server.stream('s-1', 3)).headers['last-event-id']).toBe('5')
    expect(errors).toEqual([])
  })

  test('a stream with a gap ends the connection, and open requests fail', async () => {
    let isLost = false
    const { server, peer, client } = await connected(request => {
      if (isLost && request.method === 'GET') reject(request, 409, 'stream_gap')
      return isLost && request.method === 'GET'
    })
    const id = peer.ask('session/prompt', promptOf('s-1', 'a'))
    await server.post('session/prompt')
    isLost = true
    ;(await server.stream('s-1')).response.destroy()
    expect((await peer.responseTo(id)).error?.data).toEqual({ reason: 'stream_gap', mayHaveRun: true })
    expect(await client.closed).toMatchObject({ reason: 'stream_gap' })
    expect(client.error?.cause).toBeDefined()
    expect(server.seen.at(-1)?.method).toBe('DELETE')
  })

  test('a stream that cannot be opened again ends the connection after lostAfterMs', async () => {
    const { server, peer, client } = await connected(() => false, { times: { lostAfterMs: 400 } })
    const id = peer.ask('session/list')
    await server.post('session/list')
    server.script = ({ response, method }) => method === 'GET' && Boolean(response.destroy())
    ;(await server.stream()).response.destroy()
    expect((await peer.responseTo(id)).error?.data).toEqual({ reason: 'stream_lost', mayHaveRun: true })
    expect(await client.closed).toMatchObject({ reason: 'stream_lost' })
    expect(client.error).toMatchObject({ code: 'SERVICE_UNAVAILABLE', cause: { code: expect.any(String) } })
  })

  test('a stream of an unknown session fails the requests of that session alone', async () => {
    const { peer, server, errors } = await connected(request => {
      const isUnknown = request.method === 'GET' && request.headers['acp-session-id'] === 's-x'
      if (isUnknown) reject(request, 404, 'unknown_session')
      return isUnknown
    })
    expect((await peer.failure('session/prompt', promptOf('s-x', 'a'))).data).toMatchObject({
      reason: 'unknown_session',
    })
    peer.notify('session/cancel', { sessionId: 's-1' })
    await server.post('session/cancel')
    expect(errors.map(({ reason }) => reason)).toEqual(['unknown_session'])
  })

  test.each([
    [429, 'too_many_streams'],
    [400, 'invalid_request'],
    [404, 'unknown_session'],
  ])(
    "a session's stream that is rejected with %i %s fails the open requests of the session",
    async (status, reason) => {
      let isLost = false
      const { peer, server, client } = await connected(request => {
        const isRejected = isLost && request.method === 'GET' && request.headers['acp-session-id'] === 's-1'
        if (isRejected) reject(request, status, reason)
        return isRejected
      })
      const other = peer.ask('session/prompt', promptOf('s-2', 'a'))
      const id = peer.ask('session/prompt', promptOf('s-1', 'a'))
      await server.post('session/prompt', 2)
      await expect.poll(() => client.bufferedBytes).toBe(0)
      isLost = true
      ;(await server.stream('s-1')).response.destroy()
      expect((await peer.responseTo(id)).error?.data).toEqual({ reason, mayHaveRun: true })
      sendEvent(await server.stream('s-2'), { id: other, result: { stopReason: 'end_turn' } })
      expect((await peer.responseTo(other)).result).toEqual({ stopReason: 'end_turn' })
    },
  )

  test('requests of the agent in a session that has ended are forgotten, and take no response', async () => {
    const { peer, server } = await connected(() => false, { limits: { maxPendingRequests: 1 } })
    const close = peer.ask('session/close', { sessionId: 's-1' })
    const stream = await server.stream('s-1')
    await server.post('session/close')
    sendEvent(stream, { id: 'a', method: 'session/request_permission', params: { sessionId: 's-1' } })
    await peer.call('session/request_permission')
    sendEvent(stream, { id: close, result: {} })
    await peer.responseTo(close)
    peer.respond('a', {})
    sendEvent(await server.stream(), { id: 'b', method: 'elicitation/create', params: {} })
    await peer.call('elicitation/create')
    peer.respond('b', {})
    await server.request(({ message }) => message.id === 'b')
    expect(server.seen.filter(({ message }) => message.id === 'a')).toEqual([])
  })

  test('the stream of a closed session stays while a request of the session is open', async () => {
    let isClosed = false
    const { peer, server, errors } = await connected(request => {
      const isRejected = isClosed && request.method === 'GET'
      if (isRejected) reject(request, 404, 'unknown_session')
      return isRejected
    })
    const prompt = peer.ask('session/prompt', promptOf('s-1', 'a'))
    const close = peer.ask('session/close', { sessionId: 's-1' })
    await server.post('session/close')
    const stream = await server.stream('s-1')
    sendEvent(stream, { id: close, result: {} })
    await peer.responseTo(close)
    sendEvent(stream, { id: prompt, result: { stopReason: 'cancelled' } })
    expect((await peer.responseTo(prompt)).result).toEqual({ stopReason: 'cancelled' })
    isClosed = true
    stream.response.end()
    await server.stream('s-1', 2)
    expect(await peer.responseTo(peer.ask('session/prompt', promptOf('s-1', 'b')))).toMatchObject({
      error: { data: { reason: 'unknown_session' } },
    })
    expect(errors.map(({ reason }) => reason)).toEqual(['unknown_session'])
  })

  test('a stream with an event that is no message ends the connection', async () => {
    const { server, peer } = await connected()
    ;(await server.stream()).response.write('data: {}\n\n')
    expect(await peer.closed()).toMatchObject({ code: 1002, reason: 'invalid_event' })
  })
})

describe.each([401, 403, 404, 410])('the status %i', status => {
  test('the status of a message is final', async () => {
    const { peer, client, server } = await connected(request => {
      const isPost = request.message.method === 'session/list'
      if (isPost) reject(request, status)
      return isPost
    })
    const other = peer.ask('session/new')
    await server.post('session/new')
    expect((await peer.failure('session/list')).data).toEqual({ reason: 'http_rejected', mayHaveRun: false })
    expect((await peer.responseTo(other)).error?.data).toEqual({ reason: 'http_rejected', mayHaveRun: true })
    await client.closed
    expect(client.error?.message).toContain(`no: ${status}`)
  })
})

describe('messages', () => {
  test.each([
    [400, 'invalid_request', 'invalid_request', false],
    [413, 'message_too_large', 'message_too_large', false],
    [429, 'too_many_requests', 'too_many_requests', false],
    [500, undefined, 'http_rejected', true],
    [503, 'draining', 'draining', false],
  ])('a message that is rejected with %i %s fails alone', async (status, given, reason, mayHaveRun) => {
    const { peer } = await connected(request => {
      const isList = request.message.method === 'session/list'
      if (isList) reject(request, status, given)
      return isList
    })
    expect((await peer.failure('session/list')).data).toEqual({ reason, mayHaveRun })
    expect(peer.closes).toEqual([])
  })

  test('a message whose response was lost may have run, is not repeated, and its late response is dropped', async () => {
    const { peer, server, errors } = await connected(
      ({ message, response }) => message.method === 'session/list' && Boolean(response.destroy()),
    )
    const id = peer.ask('session/list')
    expect((await peer.responseTo(id)).error?.data).toEqual({ reason: 'response_lost', mayHaveRun: true })
    expect(errors[0]).toMatchObject({ code: 'SERVICE_UNAVAILABLE', cause: { code: 'UND_ERR_SOCKET' } })
    const stream = await server.stream()
    sendEvent(stream, { id, result: {} })
    sendEvent(stream, { method: 'last' })
    await peer.call('last')
    expect(peer.received.filter(message => message.id === id)).toHaveLength(1)
    expect(server.seen.filter(({ message }) => message.method === 'session/list')).toHaveLength(1)
  })

  test('a message that changes nothing when it arrives twice is repeated', async () => {
    let losses = 2
    const { peer, server } = await connected(({ method, message, response }) => {
      const isLost = method === 'POST' && message.method !== 'initialize' && losses-- > 0
      return isLost && Boolean(response.destroy())
    })
    peer.notify('session/cancel', { sessionId: 's-1' })
    await server.post('session/cancel', 3)
    losses = 1
    sendEvent(await server.stream(), { id: 7, method: 'elicitation/create', params: {} })
    await peer.call('elicitation/create')
    peer.respond(7, {})
    await server.request(({ message }) => message.id === 7, 2)
  })

  test('a message that finds no server is sent when the server is back', async () => {
    const { peer, server } = await connected()
    await server.stream()
    await server.stop()
    const id = peer.ask('session/list')
    await server.listen()
    await server.post('session/list')
    sendEvent(await server.stream(undefined, 2), { id, result: {} })
    expect((await peer.responseTo(id)).result).toEqual({})
  })

  test('a message without a response of the server in time may have run', async () => {
    const { peer } = await connected(({ message }) => message.method === 'session/list', {
      times: { responseTimeoutMs: 300 },
    })
    expect((await peer.failure('session/list')).data).toEqual({ reason: 'response_timeout', mayHaveRun: true })
  })
})

test('a request that passes its deadline fails, and its late response is dropped', async () => {
  const { peer, server, errors } = await connected(() => false, {
    deadlineMs: ({ method }) => (method === 'session/list' ? 20 : undefined),
  })
  const id = peer.ask('session/list')
  expect((await peer.responseTo(id)).error?.data).toEqual({ reason: 'deadline_passed', mayHaveRun: true })
  expect(errors).toMatchObject([{ code: 'TIMEOUT', reason: 'deadline_passed' }])
  const stream = await server.stream()
  sendEvent(stream, { id, result: {} })
  sendEvent(stream, { method: 'last' })
  await peer.call('last')
  expect(peer.received.filter(message => message.id === id)).toHaveLength(1)
})

test('cookies of every response are sent with every later request', async () => {
  const { peer, server, client } = await connected(request => {
    if (request.message.method === 'initialize')
      initialized(request, { 'set-cookie': 'replica=a; Path=/acp; HttpOnly' })
    else if (request.message.method === 'session/list') request.response.writeHead(202, { 'set-cookie': 'b=2' }).end()
    return request.message.method === 'initialize' || request.message.method === 'session/list'
  })
  expect((await server.stream()).headers.cookie).toBe('replica=a')
  peer.ask('session/list')
  await server.post('session/list')
  await expect.poll(() => client.bufferedBytes).toBe(0)
  await client.close()
  expect(server.seen.at(-1)).toMatchObject({ method: 'DELETE', headers: { cookie: 'replica=a; b=2' } })
})

test('headers of the caller are sent with every request', async () => {
  const { client, server } = await connected(() => false, { headers: { authorization: 'Bearer secret' } })
  await client.close()
  expect(server.seen.map(({ method, headers }) => [method, headers.authorization])).toEqual(
    ['POST', 'GET', 'DELETE'].map(method => [method, 'Bearer secret']),
  )
})

describe('the end', () => {
  test('close sends what is under way and DELETE, and opens nothing afterwards', async () => {
    const { peer, client, server } = await connected()
    peer.notify('session/cancel', { sessionId: 's-1' })
    await client.close()
    const methods = server.seen.map(({ method, message }) => message.method ?? method)
    expect(methods).toEqual(['initialize', 'GET', 'GET', 'session/cancel', 'DELETE'])
    peer.notify('session/cancel', { sessionId: 's-1' })
    expect(client.droppedMessages).toBe(1)
    await client.close()
    expect(server.seen).toHaveLength(5)
    expect(peer.closes).toHaveLength(1)
  })

  test('close gives a silent server up', async () => {
    const { client, server } = await connected(({ method }) => method === 'DELETE', { times: { closeTimeoutMs: 30 } })
    await client.close()
    expect(server.seen.at(-1)?.method).toBe('DELETE')
  })

  test('close during initialize ends the request', async () => {
    const server = await ScriptedServer.start(() => true)
    const client = createAcpClient({ url: server.url })
    const peer = new AcpPeer(client)
    peer.ask('initialize')
    const { response } = await server.post('initialize')
    await client.close()
    await expect.poll(() => response.destroyed).toBe(true)
    expect(peer.received).toEqual([])
  })

  test('close by terminate sends nothing that is queued', async () => {
    const { peer, client, server } = await connected()
    peer.notify('session/cancel', { sessionId: 's-1' })
    client.terminate({ code: 1001, message: 'gone' })
    expect(await client.closed).toEqual({ code: 1001, message: 'gone' })
    expect(server.seen.map(({ message, method }) => message.method ?? method)).not.toContain('session/cancel')
  })
})

describe('send', () => {
  const cases: [string, object, string][] = [
    ['a second initialize', { id: 9, method: 'initialize' }, 'already_initialized'],
    ['a second request with one id', { id: 'open', method: 'session/list' }, 'duplicate_id'],
    ['a message above the limit', { id: 9, method: 'a', params: { text: 'x'.repeat(5_000) } }, 'message_too_large'],
    ['a message that is none', { id: null, method: 'a' }, 'invalid_request'],
    [
      'a session id that no header holds',
      { id: 9, method: 'session/prompt', params: { sessionId: 'ü' } },
      'invalid_request',
    ],
    ['one request too many', { id: 9, method: 'session/list' }, 'too_many_requests'],
  ]
  test.each(cases)('send rejects %s, and the connection goes on', async (name, message, reason) => {
    const { peer, client, server } = await connected(() => false, {
      limits: { maxMessageBytes: 2_000, maxPendingRequests: name.startsWith('one') ? 1 : 10 },
    })
    peer.ask('session/list', {}, 'open')
    expect(() => client.send({ jsonrpc: '2.0', ...message })).toThrow(expect.objectContaining({ reason }))
    sendEvent(await server.stream(), { id: 'open', result: {} })
    await peer.responseTo('open')
    await peer.ask('session/list', {}, 9)
    await server.post('session/list', 2)
  })
})

test('any ids of requests are matched by type and value', async () => {
  const { peer, server, client } = await connected()
  const stream = await server.stream()
  const id = fc.oneof(fc.maxSafeInteger(), fc.string({ maxLength: 20 }), fc.nat(20), fc.nat(20).map(String))
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(id, { selector: idKey, maxLength: 6 }), async ids => {
      peer.received.length = 0
      for (const one of ids) client.send({ jsonrpc: '2.0', id: one, method: 'session/list' })
      for (const one of ids) sendEvent(stream, { id: one, result: { of: one } })
      await expect.poll(() => peer.received.length, { interval: 2 }).toBe(ids.length)
      expect(peer.received).toEqual(ids.map(one => ({ jsonrpc: '2.0', id: one, result: { of: one } })))
    }),
    { numRuns: 10 },
  )
})

test('the client is full while the server takes nothing, and drains', async () => {
  const held: (() => void)[] = []
  const { client, peer, server } = await connected(
    ({ message, response }) => message.method === 'a/b' && held.push(() => response.writeHead(202).end()) > 0,
    { limits: { highWaterMarkBytes: 1_000 } },
  )
  peer.notify('a/b', { text: 'x'.repeat(1_000) })
  expect({ full: client.full, drains: peer.drains }).toEqual({ full: true, drains: 0 })
  await server.post('a/b')
  held[0]?.()
  await expect.poll(() => peer.drains).toBe(1)
  expect({ full: client.full, bytes: client.bufferedBytes }).toEqual({ full: false, bytes: 0 })
})

test('messages behind initialize wait for its response', async () => {
  const server = await ScriptedServer.start()
  const client = createAcpClient({ url: server.url })
  opened.add({ groups: [], close: () => client.close() })
  const peer = new AcpPeer(client)
  peer.ask('initialize')
  const params = { cwd: '/a' }
  peer.ask('session/new', params)
  params.cwd = '/b'
  expect((await server.post('session/new')).message.params).toEqual({ cwd: '/a' })
})
