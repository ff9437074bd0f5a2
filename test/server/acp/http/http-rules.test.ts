/** The rules of streamable HTTP, over HTTP/1.1 and HTTP/2 alike. */
import { describe, expect, test, vi } from 'vitest'
import type { AcpIdentity } from '../../../../server/acp/options.js'
import { RpcError } from '../../../../shared/rpc/errors.js'
import { startAcp } from '../../../fixtures/acp/acp-server.js'
import { ask, http1, http2, initialize, json, TestClient, textOf } from '../../../fixtures/acp/http-client.js'
import { ScriptAgents } from '../../../fixtures/acp/script-agent.js'
import { leavesNothing } from '../../../fixtures/leaves-nothing.js'

leavesNothing()

const sse = { accept: 'text/event-stream' }

/** Users are named by their authorization. */
function authenticate({ authorization }: { authorization: string | undefined }): AcpIdentity {
  if (authorization === undefined) {
    throw new RpcError<string>('UNAUTHORIZED', 'no key was given', { reason: 'key_missing' })
  }
  return { userId: authorization }
}

describe.each([
  ['HTTP/1.1', http1],
  ['HTTP/2', http2],
] as const)('over %s', (_, sender) => {
  async function start(options: Partial<Parameters<typeof startAcp>[0]> = {}) {
    const agents = new ScriptAgents()
    const server = await startAcp({ agent: agents.connect, ...options })
    return { agents, ...server, send: sender(server.port) }
  }

  test.each([
    [undefined, 415],
    ['text/plain', 415],
    ['application/jsonx', 415],
    ['Application/JSON ; charset=utf-8', 400],
  ])('A1: a POST of the type %s gets %d', async (type, status) => {
    const { send } = await start()
    const headers = type === undefined ? {} : { 'content-type': type }
    const reply = await ask(send, 'POST', headers, '{"jsonrpc":"2.0","method":"x"}')
    expect(reply.status).toBe(status)
    expect(reply.body.reason).toBe(status === 415 ? 'content_type_unsupported' : 'connection_id_missing')
  })

  test('A1: a compressed body gets 415', async () => {
    const { send } = await start()
    const reply = await ask(send, 'POST', { ...json, 'content-encoding': 'gzip' }, 'x')
    expect(reply).toMatchObject({ status: 415, body: { reason: 'content_type_unsupported' } })
  })

  test('A2: a batch gets 501 with JSON', async () => {
    const { send, logged } = await start()
    const reply = await ask(send, 'POST', json, JSON.stringify([initialize]))
    expect(reply).toMatchObject({ status: 501, body: { reason: 'batch_unsupported', code: -32_600 } })
    const { requestId } = reply.body
    expect(logged).toContainEqual(expect.objectContaining({ fields: expect.objectContaining({ requestId }) }))
  })

  test.each([
    ['{', 'parse_error', -32_700],
    [Buffer.from([0x22, 0xff, 0x22]), 'parse_error', -32_700],
    ['7', 'invalid_request', -32_600],
    ['null', 'invalid_request', -32_600],
    ['{"jsonrpc":"1.0","id":1,"method":"initialize"}', 'invalid_request', -32_600],
    ['{"jsonrpc":"2.0","id":1.5,"method":"initialize"}', 'invalid_request', -32_600],
    [`{"jsonrpc":"2.0","x":${'['.repeat(2000)}${']'.repeat(2000)}}`, 'invalid_request', -32_600],
  ])('A3: the body %j gets 400 %s', async (body, reason, code) => {
    const { send, agents } = await start()
    expect(await ask(send, 'POST', json, body)).toMatchObject({ status: 400, body: { reason, code } })
    expect(agents.all).toEqual([])
  })

  test('A4: a request without a connection id gets 400, with an unknown one 404, on each method', async () => {
    const { send } = await start()
    const message = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'session/new' })
    const of = (headers: Record<string, string>) => [
      ask(send, 'POST', { ...json, ...headers }, message),
      ask(send, 'GET', { ...sse, ...headers }),
      ask(send, 'DELETE', headers),
    ]
    for (const reply of await Promise.all(of({}))) {
      expect(reply).toMatchObject({ status: 400, body: { reason: 'connection_id_missing' } })
    }
    for (const reply of await Promise.all(of({ 'acp-connection-id': 'nobody' }))) {
      expect(reply).toMatchObject({ status: 404, body: { reason: 'unknown_connection' } })
    }
  })

  test('A4, B5: the connection of another user is unknown, whatever the request is', async () => {
    const { send, agents } = await start({ authenticate })
    const { connectionId } = await TestClient.open(send, { authorization: 'ada' })
    const headers = { authorization: 'bob', 'acp-connection-id': connectionId }
    const message = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'session/new' })
    const replies = await Promise.all([
      ask(send, 'POST', { ...json, ...headers }, message),
      ask(send, 'GET', { ...sse, ...headers }),
      ask(send, 'DELETE', headers),
    ])
    expect(replies.map(({ status }) => status)).toEqual([404, 404, 404])
    expect(agents.last.received.map(({ method }) => method)).toEqual(['initialize'])
  })

  test('B5: a request without a key gets the application’s rejection, and its other errors stay hidden', async () => {
    const { send, agents, logged } = await start({
      authenticate: credentials => {
        if (credentials.authorization === 'broken') throw new Error('the database is at 10.0.0.7')
        return authenticate(credentials)
      },
    })
    const body = JSON.stringify(initialize)
    expect(await ask(send, 'POST', json, body)).toMatchObject({ status: 401, body: { reason: 'key_missing' } })
    const broken = await ask(send, 'POST', { ...json, authorization: 'broken' }, body)
    expect(broken).toMatchObject({ status: 500, body: { message: 'internal server error' } })
    expect(logged.map(({ fields }) => fields.requestId)).toContain(broken.body.requestId)
    expect(agents.all).toEqual([])
  })

  test('A5, A6, B8: initialize gets the id in the header and in the result, and the cookie of the replica', async () => {
    const { send } = await start({ replicaId: 'replica-1' })
    const { status, headers, body } = await ask(send, 'POST', json, JSON.stringify(initialize))
    const id = headers['acp-connection-id']
    expect({ status, body }).toEqual({
      status: 200,
      body: { jsonrpc: '2.0', id: 0, result: { protocolVersion: 1, connectionId: id } },
    })
    expect(id).toMatch(/^replica-1\./)
    expect(headers['set-cookie']).toEqual(['aibridge_replica=replica-1; HttpOnly; SameSite=Strict; Path=/acp'])
  })

  test('B8: the connection of another replica is wrong here', async () => {
    const { send } = await start({ replicaId: 'replica-1' })
    const reply = await ask(send, 'GET', { ...sse, 'acp-connection-id': 'replica-2.7' })
    expect(reply).toMatchObject({ status: 404, body: { reason: 'wrong_replica' } })
  })

  test('A7: initialize on a connection gets 400', async () => {
    const { send, agents } = await start()
    const client = await TestClient.open(send)
    expect(await client.post({ ...initialize, id: 9 })).toMatchObject({
      status: 400,
      body: { reason: 'already_initialized', code: -32_600 },
    })
    expect(agents.all).toHaveLength(1)
  })

  test('A8: an initialize that the agent rejects gets 200 with the error and no id, and nothing is left', async () => {
    const { send, agents, acp, ends } = await start()
    agents.answersInitialize = false
    const reply = ask(send, 'POST', json, JSON.stringify(initialize))
    await expect.poll(() => agents.all.length).toBe(1)
    await agents.last.next('initialize')
    const error = { code: -32_022, message: 'no such version' }
    agents.last.send({ id: 0, error })
    const { status, headers, body } = await reply
    expect({ status, body }).toEqual({ status: 200, body: { jsonrpc: '2.0', id: 0, error } })
    expect(headers['acp-connection-id']).toBeUndefined()
    await expect.poll(() => agents.last.closeReason).toMatchObject({ code: 1000 })
    expect({ connections: acp.connections, ends }).toEqual({ connections: 0, ends: ['initialize_failed'] })
  })

  test('A9: a GET without Accept gets 406', async () => {
    const { send } = await start()
    const { headers } = await TestClient.open(send)
    for (const accept of [{}, { accept: 'application/json' }]) {
      expect(await ask(send, 'GET', { ...headers, ...accept })).toMatchObject({
        status: 406,
        body: { reason: 'not_acceptable' },
      })
    }
  })

  test('A10: a GET of an unseen session gets 200 if the session is the user’s, else 404', async () => {
    const asked: string[] = []
    const { send, agents } = await start({
      ownsSession: async (_, sessionId) => {
        asked.push(sessionId)
        return sessionId === 'mine'
      },
    })
    const client = await TestClient.open(send)
    const mine = await client.open('mine')
    expect(mine.status).toBe(200)
    const other = await client.send('GET', { ...sse, ...client.headers, 'acp-session-id': 'yours' })
    expect({ status: other.status, body: JSON.parse(await textOf(other)) }).toMatchObject({
      status: 404,
      body: { reason: 'unknown_session' },
    })
    // A session that the agent has named is known.
    await client.post({ id: 1, method: 'session/new' })
    agents.last.answer(await agents.last.next('session/new'), { sessionId: 'new' })
    const own = await client.open()
    await own.next()
    expect((await client.open('new')).status).toBe(200)
    expect(asked).toEqual(['mine', 'yours'])
  })

  test('A11, A19: a second GET of a stream gets 409, and one with Last-Event-ID goes on in place of the first', async () => {
    const { send, agents } = await start()
    const client = await TestClient.open(send)
    for (const sessionId of [undefined, 's']) {
      const first = await client.open(sessionId)
      const params = sessionId === undefined ? {} : { sessionId }
      for (const text of ['one', 'two']) agents.last.send({ method: '_vendor/x', params: { ...params, text } })
      await first.count(2)
      const session = sessionId === undefined ? {} : { 'acp-session-id': sessionId }
      const second = await client.send('GET', { ...sse, ...client.headers, ...session })
      expect({ status: second.status, body: JSON.parse(await textOf(second)) }).toMatchObject({
        status: 409,
        body: { reason: 'stream_taken' },
      })
      const third = await client.open(sessionId, { 'last-event-id': '1' })
      expect(await third.next()).toMatchObject({ id: 2, data: { params: { text: 'two' } } })
      await first.end()
    }
  })

  test('A12, A13: a message of a session needs the header, with the session of its params', async () => {
    const { send } = await start()
    const client = await TestClient.open(send)
    const prompt = { id: 1, method: 'session/prompt', params: { sessionId: 's' } }
    expect(await client.post(prompt)).toMatchObject({ status: 400, body: { reason: 'session_id_missing' } })
    expect(await client.postTo('t', prompt)).toMatchObject({ status: 400, body: { reason: 'session_id_differs' } })
    const vendor = { method: '_vendor/x', params: { sessionId: 's' } }
    expect(await client.post(vendor)).toMatchObject({ status: 400, body: { reason: 'session_id_missing' } })
    expect(await client.postTo('x'.repeat(257), prompt)).toMatchObject({ status: 400 })
    expect(await client.postTo('s', prompt)).toMatchObject({ status: 202, body: {} })
  })

  test('A14, A15: responses travel on the stream of their request’s scope, those of a load on the connection’s', async () => {
    const { send, agents } = await start()
    const client = await TestClient.open(send)
    const own = await client.open()
    const ofSession = await client.open('s')
    await client.postTo('s', { id: 'a', method: 'session/list' })
    agents.last.answer(await agents.last.next('session/list'), { sessions: [] })
    await client.postTo('s', { id: 'b', method: 'session/load', params: { sessionId: 's' } })
    const load = await agents.last.next('session/load')
    agents.last.update('s', 'as before')
    agents.last.answer(load, {})
    await client.postTo('s', { id: 'c', method: 'session/prompt', params: { sessionId: 's' } })
    agents.last.answer(await agents.last.next('session/prompt'), { stopReason: 'end_turn' })
    expect([await own.next(), await own.next()].map(({ data }) => data.id)).toEqual(['a', 'b'])
    expect([await ofSession.next(), await ofSession.next()].map(({ data }) => data.id ?? data.method)).toEqual([
      'session/update',
      'c',
    ])
    expect([...own.events, ...ofSession.events]).toEqual([])
  })

  test('A14: a cancellation by the client needs no session, and one by the agent follows its request', async () => {
    const { send, agents } = await start()
    const client = await TestClient.open(send)
    const own = await client.open()
    const ofSession = await client.open('s')
    const cancel = { method: '$/cancel_request', params: { requestId: 1, sessionId: 's' } }
    expect((await client.post(cancel)).status).toBe(202)
    await agents.last.next('$/cancel_request')
    agents.last.send({ id: 7, method: 'session/request_permission', params: { sessionId: 's' } })
    agents.last.send({ method: '$/cancel_request', params: { requestId: 7 } })
    agents.last.send({ id: 8, method: 'elicitation/create', params: {} })
    agents.last.send({ method: '$/cancel_request', params: { requestId: 8 } })
    agents.last.send({ method: '_auth/status_update', params: {} })
    expect([await ofSession.next(), await ofSession.next()].map(({ data }) => data.method)).toEqual([
      'session/request_permission',
      '$/cancel_request',
    ])
    expect([await own.next(), await own.next(), await own.next()].map(({ data }) => data.method)).toEqual([
      'elicitation/create',
      '$/cancel_request',
      '_auth/status_update',
    ])
  })

  test('A16, A17: a response needs the session of its request, and one that nobody awaits is dropped', async () => {
    const { send, agents, dropped } = await start()
    const client = await TestClient.open(send)
    const stream = await client.open('s')
    agents.last.send({ id: 7, method: 'session/request_permission', params: { sessionId: 's' } })
    await stream.next()
    const response = { id: 7, result: { outcome: { outcome: 'cancelled' } } }
    expect(await client.post(response)).toMatchObject({ status: 400, body: { reason: 'session_id_missing' } })
    expect(await client.postTo('t', response)).toMatchObject({ status: 400, body: { reason: 'session_id_differs' } })
    expect((await client.postTo('s', { ...response, id: '7' })).status).toBe(202)
    expect((await client.post({ id: null, error: { code: -32_700, message: 'not JSON' } })).status).toBe(202)
    expect(dropped).toEqual(['client', 'client'])
    expect((await client.postTo('s', response)).status).toBe(202)
    expect((await client.postTo('s', response)).status).toBe(202)
    expect(dropped).toHaveLength(3)
    expect(agents.last.received.filter(({ id }) => id === 7)).toHaveLength(1)
  })

  test('A17: a response of the agent that nobody awaits is dropped', async () => {
    const { send, agents, dropped } = await start()
    await TestClient.open(send)
    agents.last.send({ id: 'unknown', result: {} })
    await expect.poll(() => dropped).toEqual(['agent'])
  })

  test('A21: DELETE gets 202 and ends the streams, and the connection is unknown afterwards', async () => {
    const { send, agents, acp, ends } = await start()
    const client = await TestClient.open(send)
    const streams = [await client.open(), await client.open('s')]
    expect(await client.delete()).toBe(202)
    expect(await Promise.all(streams.map(stream => stream.end()))).toEqual(['clean', 'clean'])
    expect(await client.delete()).toBe(404)
    await expect.poll(() => agents.last.closeReason).toMatchObject({ code: 1000, reason: 'deleted' })
    expect({ connections: acp.connections, ends }).toEqual({ connections: 0, ends: ['deleted'] })
  })

  test('A22, B10: a body above the limit gets 413, announced or not, and no agent is made', async () => {
    const { send, agents } = await start({ limits: { maxMessageBytes: 100_000 } })
    const body = JSON.stringify({ ...initialize, params: { x: 'x'.repeat(100_000) } })
    const length = { 'content-length': String(body.length) }
    expect(await ask(send, 'POST', { ...json, ...length }, body)).toMatchObject({
      status: 413,
      body: { reason: 'message_too_large' },
    })
    expect(await ask(send, 'POST', json, body)).toMatchObject({ status: 413 })
    expect(agents.all).toEqual([])
  })

  test('B10: a message is parsed once, and the agent gets the parsed object', async () => {
    const { send, agents } = await start()
    const client = await TestClient.open(send)
    const parse = vi.spyOn(JSON, 'parse')
    await client.post({ method: '_vendor/x', params: { text: 'MARKED' } })
    const parsed = parse.mock.calls.filter(([text]) => text.includes('MARKED')).length
    parse.mockRestore()
    expect(parsed).toBe(1)
    expect(await agents.last.next('_vendor/x')).toMatchObject({ params: { text: 'MARKED' } })
  })

  test('A23: another method gets 405 with Allow', async () => {
    const { send } = await start()
    for (const method of ['PUT', 'PATCH', 'OPTIONS']) {
      const { status, headers } = await ask(send, method, {})
      expect({ status, allow: headers.allow }).toEqual({ status: 405, allow: 'POST, GET, DELETE' })
    }
  })

  test('A24: a foreign origin gets 403 on every method before anything is made', async () => {
    let authentications = 0
    const { send, agents } = await start({
      authenticate: () => {
        authentications++
        return { userId: 'ada' }
      },
      allowedOrigins: ['https://editor.example'],
    })
    const origin = 'https://evil.example'
    for (const method of ['POST', 'GET', 'DELETE', 'OPTIONS']) {
      expect(await ask(send, method, { ...json, ...sse, origin })).toMatchObject({
        status: 403,
        body: { reason: 'origin_not_allowed' },
      })
    }
    expect({ authentications, agents: agents.all }).toEqual({ authentications: 0, agents: [] })
  })

  test('A24: a page of an allowed origin may ask, call and read the connection’s id', async () => {
    const { send } = await start({ allowedOrigins: origin => origin.endsWith('.example') })
    const origin = 'https://editor.example'
    const preflight = await send('OPTIONS', { origin, 'access-control-request-method': 'POST' })
    expect(preflight).toMatchObject({
      status: 204,
      headers: { 'access-control-allow-origin': origin, 'access-control-allow-methods': 'POST, GET, DELETE' },
    })
    const { status, headers } = await ask(send, 'POST', { ...json, origin }, JSON.stringify(initialize))
    expect({ status, exposed: headers['access-control-expose-headers'] }).toEqual({
      status: 200,
      exposed: 'Acp-Connection-Id',
    })
  })

  test('A30: the second of two open requests with one id is rejected; another type is another id', async () => {
    const { send, agents } = await start()
    const client = await TestClient.open(send)
    const list = { id: 1, method: 'session/list' }
    expect((await client.post(list)).status).toBe(202)
    expect(await client.post(list)).toMatchObject({ status: 400, body: { reason: 'duplicate_id', code: -32_600 } })
    expect((await client.post({ ...list, id: '1' })).status).toBe(202)
    agents.last.answer(await agents.last.next('session/list'), {})
    const own = await client.open()
    await own.next()
    expect((await client.post(list)).status).toBe(202)
  })

  test('B1: requests above the limit get 429, and streams too', async () => {
    const { send } = await start({ limits: { maxPendingRequests: 2, maxStreams: 2 } })
    const client = await TestClient.open(send)
    const replies = []
    for (const id of [1, 2, 3]) replies.push(await client.post({ id, method: 'session/list' }))
    expect(replies.map(({ status }) => status)).toEqual([202, 202, 429])
    expect(replies[2]?.body.reason).toBe('too_many_requests')
    expect((await client.open()).status).toBe(200)
    expect((await client.open('a')).status).toBe(200)
    const third = await client.send('GET', { ...sse, ...client.headers, 'acp-session-id': 'b' })
    expect({ status: third.status, body: JSON.parse(await textOf(third)) }).toMatchObject({
      status: 429,
      body: { reason: 'too_many_streams' },
    })
  })

  test('B7: the error of a factory stays in the log, under the id of the response', async () => {
    const { send, logged, acp, ends } = await start({
      agent: () => {
        throw new Error('spawn /opt/secret/agent ENOENT')
      },
    })
    const { status, body } = await ask(send, 'POST', json, JSON.stringify(initialize))
    expect({ status, body }).toEqual({
      status: 500,
      body: { message: 'the agent could not be started', reason: 'agent_failed', requestId: expect.any(String) },
    })
    const { requestId } = body
    const [line] = logged.filter(({ fields }) => fields.requestId === requestId)
    expect(line).toMatchObject({ level: 'error', fields: { err: { message: 'spawn /opt/secret/agent ENOENT' } } })
    expect({ connections: acp.connections, ends }).toEqual({ connections: 0, ends: ['initialize_failed'] })
  })

  test('a GET gets its head while nothing was sent', async () => {
    const { send } = await start()
    const client = await TestClient.open(send)
    const stream = await client.open()
    expect({ status: stream.status, events: stream.events }).toEqual({ status: 200, events: [] })
  })
})
