/** The endpoint beside hostile and unlucky clients and servers. */
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { BridgeDaemonOptions } from '../../../../client/bridge/daemon.js'
import { createMemoryOutbox } from '../../../../client/bridge/outbox/memory-outbox.js'
import { createRecordSender } from '../../../../client/bridge/outbox/record-sender.js'
import { rpcError } from '../../../../shared/contract/error-reasons.js'
import { type BridgeLimits, bridgeLimits } from '../../../../shared/contract/limits.js'
import { silentLogger } from '../../../../shared/values/log.js'
import { eventually } from '../../../fixtures/eventually.js'
import { leavesNothing } from '../../../fixtures/leaves-nothing.js'
import { type RunningMcpServer, startScriptedMcpServer } from '../../../fixtures/mcp/mcp-servers.js'
import { begin, type ClientRequest, type RunningBridge, send, startBridge } from '../running-bridge.js'
import { type ScriptedControlPlane, scriptedControlPlane, testKey } from '../scripted-control-plane.js'

leavesNothing()

let plane: ScriptedControlPlane
let bridge: RunningBridge
let server: RunningMcpServer
type Handler = Parameters<typeof startScriptedMcpServer>[0]
let handler: Handler

beforeEach(async () => {
  handler = (_request, response) => void response.end()
  server = await startScriptedMcpServer((...args) => handler(...args), ['first'])
  plane = scriptedControlPlane()
  plane.mcpTokens.set('wiki', { token: 'first' })
  plane.mcpServers = [
    {
      id: 'wiki',
      url: `${server.url}?team=a`,
      toolAllowRegex: null,
      toolDenyRegex: 'secret',
      inject: false,
      needsToken: true,
    },
  ]
})
afterEach(async () => {
  await bridge.close()
  await server.close()
})

async function start(limits: Partial<BridgeLimits> = {}, options: Partial<BridgeDaemonOptions> = {}) {
  bridge = await startBridge(plane, limits, testKey, options)
}

const headers = { authorization: `Bearer ${testKey}`, 'content-type': 'application/json', accept: 'text/event-stream' }

function requestOf(body: unknown, request: ClientRequest = {}): ClientRequest {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return { method: 'POST', path: '/mcp/wiki', body: text, ...request, headers: { ...headers, ...request.headers } }
}

async function post(body: unknown, request: ClientRequest = {}) {
  const response = await send(bridge, requestOf(body, request))
  const text = response.body.toString()
  return { ...response, text, json: text.startsWith('{') || text.startsWith('[') ? JSON.parse(text) : undefined }
}

const stream = (response: ServerResponse) => response.writeHead(200, { 'content-type': 'text/event-stream' })
const event = (message: unknown) => `event: message\ndata: ${JSON.stringify(message)}\n\n`
const answer = (response: ServerResponse, message: unknown, more = {}) =>
  void response.writeHead(200, { 'content-type': 'application/json', ...more }).end(JSON.stringify(message))
const call = (name: string, id: unknown = 1, more = {}) => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name, arguments: { q: 1 }, ...more },
})
const list = { jsonrpc: '2.0', id: 1, method: 'tools/list' }
const result = (id: unknown, value: unknown) => ({ jsonrpc: '2.0', id, result: value })
const ends = () =>
  eventually(() => {
    const records = plane.stored('interceptionEnded')
    expect(records).toHaveLength(plane.stored('interception').length)
    expect(records).not.toEqual([])
    return records
  })

describe('tokens', () => {
  test('a user without a link gets an error that names the command, and may go on as soon as there is one', async () => {
    await start()
    plane.mcpTokens.clear()
    const { status, json } = await post({ jsonrpc: '2.0', id: 'a', method: 'initialize' })
    expect(status).toBe(200)
    expect(json).toMatchObject({ id: 'a', error: { data: { reason: 'mcp_no_link' } } })
    expect(json.error.message).toContain('aibridge mcp link wiki --user test --access-token-env VARIABLE')
    expect((await post('', { method: 'GET' })).status).toBe(403)
    expect(server.received).toEqual([])
    expect(plane.records).toEqual([])
    plane.mcpTokens.set('wiki', { token: 'first' })
    expect((await post(list)).status).toBe(200)
  })

  test('a server without settings for tokens is called without one', async () => {
    await start()
    plane.mcpTokens.clear()
    for (const one of plane.mcpServers) one.needsToken = false
    server.tokens.clear()
    handler = (_request, response) => answer(response, result(1, { tools: [] }))
    expect((await post(list)).json).toEqual(result(1, { tools: [] }))
    expect(server.received[0]?.headers.authorization).toBeUndefined()
    server.tokens.add('needed')
    expect((await post(list)).json).toMatchObject({ error: { data: { reason: 'mcp_no_link' } } })
  })

  test('a rejected token is read again once, and the request is repeated with the new one', async () => {
    await start()
    handler = (_request, response) => answer(response, result(1, { content: [] }))
    expect((await post(call('read'))).status).toBe(200)
    server.tokens.clear()
    server.tokens.add('second')
    plane.mcpTokens.set('wiki', { token: 'second' })
    expect((await post(call('read'))).json).toEqual(result(1, { content: [] }))
    expect(server.received.map(({ headers }) => headers.authorization)).toEqual([
      'Bearer first',
      'Bearer first',
      'Bearer second',
    ])
    expect(server.received[2]?.body).toBe(JSON.stringify(call('read')))
    expect(plane.stored('interception')).toHaveLength(2)
  })

  test.each([
    ['in the error of a tool', (text: string) => result(1, { isError: true, content: [{ type: 'text', text }] })],
    ['in an error of JSON-RPC', (message: string) => ({ jsonrpc: '2.0', id: 1, error: { code: 1, message } })],
  ])('a token %s is masked in the records, also one that was read again', async (_case, words) => {
    await start()
    const [first, second] = ['first/of+ada-1234567', 'second/of+ada-1234567']
    const writings = [first, second].flatMap(each => [each, each.replaceAll('/', '\\/'), encodeURIComponent(each)])
    server.tokens.add(first)
    plane.mcpTokens.set('wiki', { token: first })
    handler = (_request, response) => answer(response, words(writings.join(' ')))
    await post(list)
    server.tokens.clear()
    server.tokens.add(second)
    plane.mcpTokens.set('wiki', { token: second })
    await post(call('read'))
    await ends()
    expect(plane.stored('toolUsage')).toMatchObject([{ invocationError: writings.map(() => '[secret]').join(' ') }])
    for (const each of writings) expect(JSON.stringify([plane.records, bridge.log])).not.toContain(each)
  })

  test('a token that stays rejected is an error of JSON-RPC, recorded, without the way to the server’s sign-in', async () => {
    await start()
    server.tokens.clear()
    server.tokens.add('another')
    const { status, json, headers: received } = await post(call('read'))
    expect(status).toBe(200)
    expect(json).toMatchObject({ id: 1, error: { data: { reason: 'mcp_token_rejected' } } })
    expect(received['www-authenticate']).toBeUndefined()
    expect(await ends()).toMatchObject([{ errorType: 'unauthorized' }])
    expect(server.received).toHaveLength(1)
  })
})

describe('messages', () => {
  const hostile: [string, string][] = [
    ['a repeated name', '{"id":1,"method":"tools/call","params":{"name":"secret","name":"read"}}'],
    ['a name in another case', '{"id":1,"method":"tools/call","params":{"name":"read","Name":"secret"}}'],
    ['an escaped repetition', '{"id":1,"method":"tools/call","params":{"name":"secret","n\\u0061me":"read"}}'],
    ['repeated parameters', '{"id":1,"method":"tools/call","params":{"name":"secret"},"params":{"name":"read"}}'],
    ['a repeated method', '{"id":1,"method":"tools/call","method":"ping","params":{"name":"secret"}}'],
    ['a method in another case', '{"id":1,"Method":"tools/call","params":{"name":"secret"}}'],
    ['letters that fold', '{"id":1,"method":"tools/call","paramſ":{"name":"secret"}}'],
    ['two requests with one id', `[${JSON.stringify(call('read'))},${JSON.stringify(call('read'))}]`],
    ['no JSON', '{"id":1,'],
    ['no object', '[1]'],
    ['too many messages', JSON.stringify(Array.from({ length: 101 }, (_, id) => call('read', id)))],
  ]
  test.each(hostile)('a message with %s is rejected before the server gets it', async (_, body) => {
    await start()
    expect(await post(body)).toMatchObject({ status: 400, json: { id: null, error: { code: -32700 } } })
    expect(server.received).toEqual([])
  })

  test.each([
    ['a byte that stands nowhere', [0xff]],
    ['half a character', [0xc3]],
    ['a longer writing of a letter', [0xc1, 0xb3]],
    ['half of a surrogate pair', [0xed, 0xa0, 0x80]],
  ])('a message with %s, which is no UTF-8, is rejected before the server gets it', async (_, bytes) => {
    await start()
    const [before = '', after = ''] = JSON.stringify(call('cut')).split('cut')
    const body = Buffer.concat([Buffer.from(before), Buffer.from(bytes), Buffer.from(after)])
    const { status } = await send(bridge, { ...requestOf(''), body })
    expect(status).toBe(400)
    expect(server.received).toEqual([])
  })

  const encoded: [string, Record<string, string>][] = [
    ['another charset', { 'content-type': 'application/json; charset=utf-7' }],
    ['another type', { 'content-type': 'text/plain' }],
    ['an encoding', { 'content-encoding': 'gzip' }],
  ]
  test.each(encoded)('a message in %s is rejected', async (_, given) => {
    await start()
    expect((await post(call('read'), { headers: given })).status).toBe(415)
    expect(server.received).toEqual([])
  })

  test('headers that name another method or tool than the message are rejected', async () => {
    await start()
    const names = { 'mcp-method': 'tools/call', 'mcp-name': 'read' }
    expect((await post(call('read'), { headers: names })).status).toBe(200)
    expect((await post(call('read'), { headers: { ...names, 'mcp-name': 'secret' } })).status).toBe(400)
    expect((await post(list, { headers: names })).status).toBe(400)
    const encodedName = `=?base64?${Buffer.from('lesen ü').toString('base64')}?=`
    expect((await post(call('lesen ü'), { headers: { ...names, 'mcp-name': encodedName } })).status).toBe(200)
  })

  test('a message passes byte by byte, with the headers of the transport and without those of the way', async () => {
    await start()
    const body = '{ "jsonrpc":"2.0", "id":12345678901234567890, "method":"x/y", "params":{"big":1e400,"a":"\\u0061"} }'
    const more = { 'mcp-protocol-version': '2025-06-18', 'last-event-id': 'e-1', 'x-any': 'y' }
    const dropped = {
      cookie: 'a=b',
      origin: 'http://page.test',
      'sec-fetch-mode': 'cors',
      'x-forwarded-for': '1.2.3.4',
    }
    await post(body, { headers: { ...more, ...dropped } })
    const [received] = server.received
    expect(received?.body).toBe(body)
    expect(received?.headers).toMatchObject({ ...more, authorization: 'Bearer first', 'x-bridge-loop': '1' })
    expect(Object.keys(dropped).filter(name => received?.headers[name] !== undefined)).toEqual([])
  })

  test('a message above the limit is rejected', async () => {
    await start({ mcpMaxMessageBytes: 1000 })
    const { status, json } = await post(call('read', 1, { x: 'y'.repeat(1000) }))
    expect(status).toBe(413)
    expect(json.error.message).toContain('larger than mcpMaxMessageBytes 1,000')
    expect(server.received).toEqual([])
  })

  test('a batch with a call that is not offered runs nothing, and each of its requests gets the error', async () => {
    await start()
    const { json } = await post([call('read', 1), { jsonrpc: '2.0', method: 'note' }, call('a secret', 'b')])
    expect(json).toMatchObject([
      { id: 1, error: { code: -32602 } },
      { id: 'b', error: {} },
    ])
    expect(server.received).toEqual([])
    expect(plane.records).toEqual([])
    const notification = { jsonrpc: '2.0', method: 'tools/call', params: { name: 'secret' } }
    expect((await post(notification)).status).toBe(403)
    expect((await post({ ...call('x'), params: {} })).json).toMatchObject({
      error: { message: 'a call names no tool' },
    })
  })

  test('each call of a batch is recorded with its own result', async () => {
    await start()
    handler = (_request, response) => {
      stream(response).write(event([result('b', { isError: true, content: [{ type: 'text', text: 'broken' }] })]))
      response.end(event(result(1, { content: [] })) + event({ id: 3, error: { code: 1, message: 'no such tool' } }))
    }
    await post([call('one', 1), call('two', 'b'), call('three', 3), call('four', 4)])
    await ends()
    const errors = plane.stored('toolUsage').map(({ tool, invocationError }) => [tool, invocationError])
    expect(Object.fromEntries(errors)).toEqual({
      one: undefined,
      two: 'broken',
      three: 'no such tool',
      four: 'the MCP server ended its response without the result of the call',
    })
  })

  test.each(['read', 'x'.repeat(128), 'a tool/with space', '__proto__'])(
    'a tool named %s can be called',
    async name => {
      await start()
      handler = (_request, response) => answer(response, result(1, { content: [] }))
      expect((await post(call(name))).status).toBe(200)
      await ends()
      expect(plane.stored('toolUsage')).toMatchObject([{ tool: name, input: '{"q":1}' }])
    },
  )

  test('without content, arguments and errors stay out of the record', async () => {
    await start({}, { recordContent: false })
    handler = (_request, response) =>
      answer(response, result(1, { isError: true, content: [{ type: 'text', text: 'the words' }] }))
    await post(call('read', 1, { arguments: { q: 'the question' } }))
    await ends()
    expect(JSON.stringify(plane.records)).not.toMatch(/the words|the question/)
    expect(plane.stored('toolUsage')).toMatchObject([{ tool: 'read', input: '' }])
  })

  test('a call belongs to the session and the tool call that the client names', async () => {
    await start()
    handler = (_request, response) => answer(response, result(1, { content: [] }))
    await post(call('read', 1, { _meta: { 'claudecode/toolUseId': 'toolu_1' } }), {
      headers: { 'user-agent': 'claude-code/2.1.0', 'x-claude-code-session-id': 's-1' },
    })
    const turn = { 'x-codex-turn-metadata': { session_id: 's-2', turn_id: 't-1' } }
    await post(call('read', 1, { _meta: { callId: 'other' } }))
    await post(call('read', 1, { _meta: { callId: 'call_1', ...turn } }), {
      headers: { 'user-agent': 'codex_cli_rs/0.1' },
    })
    expect(plane.stored('interception')[1]?.correlatingToolCallId).toBeUndefined()
    expect(plane.stored('interception')).toMatchObject([
      { client: 'Claude Code', clientSessionId: 's-1', correlatingToolCallId: 'toolu_1' },
      { model: 'read' },
      { client: 'Codex', clientSessionId: 's-2', correlatingToolCallId: 'call_1', metadata: { prompt_id: 't-1' } },
    ])
  })

  test('a call is not sent if it cannot be recorded', async () => {
    await start()
    plane.before = path => {
      if (path === 'recorder.recordInterception') throw new Error('no store')
    }
    expect(await post(call('read'))).toMatchObject({
      status: 503,
      json: { error: { data: { reason: 'not_recorded' } } },
    })
    expect(server.received).toEqual([])
  })
})

describe('responses', () => {
  const tools = [{ name: 'read', big: 1 }, { name: 'a secret' }, 'odd', { name: 7 }]
  test('hidden tools are left out of JSON, of events and of the streams that clients resume', async () => {
    await start()
    const [whole, kept] = [
      result(1, { tools, next: 'x' }),
      result(1, { tools: [tools[0], 'odd', { name: 7 }], next: 'x' }),
    ]
    handler = (_request, response) => answer(response, whole)
    expect((await post(list)).json).toEqual(kept)
    handler = (_request, response) => void stream(response).end(`: hi\n\nid: 4\n${event(whole)}`)
    expect((await post(list)).text).toBe(`: hi\n\nid: 4\n${event(kept)}`)
    expect((await post('', { method: 'GET' })).text).toBe(`: hi\n\nid: 4\n${event(kept)}`)
  })

  test('a list above the limit does not pass', async () => {
    await start({ mcpMaxMessageBytes: 1000 })
    handler = (_request, response) => answer(response, result(1, { tools: [{ name: 'x'.repeat(2000) }] }))
    expect(await post(list)).toMatchObject({ status: 502, json: { error: { data: { reason: 'mcp_server_failed' } } } })
    handler = (_request, response) =>
      void stream(response).end(event(result(1, { tools: [{ name: 'x'.repeat(2000) }] })))
    expect((await post(list)).whole).toBe(false)
  })

  test('a list that is no JSON does not pass, and a page with an error does', async () => {
    await start()
    const text = `${JSON.stringify(result(1, { tools }))}}`
    handler = (_request, response) => void response.writeHead(200, { 'content-type': 'application/json' }).end(text)
    expect(await post(list)).toMatchObject({ status: 502, json: { error: { data: { reason: 'mcp_server_failed' } } } })
    handler = (_request, response) => void stream(response).end(`: hi\n\ndata: ${text}\n\n`)
    expect(await post(list)).toMatchObject({ whole: false })
    handler = (_request, response) => void response.writeHead(503, { 'content-type': 'text/html' }).end('<p>down')
    expect(await post(list)).toMatchObject({ status: 503, text: '<p>down' })
  })

  test('a call of a tool with a name of more than 128 characters is rejected unread by the patterns', async () => {
    await start()
    handler = (_request, response) => answer(response, result(1, {}))
    expect((await post(call('x'.repeat(128)))).json).toEqual(result(1, {}))
    expect((await post(call('x'.repeat(129)))).json.error.data.reason).toBe('tool_not_offered')
    expect(server.received).toHaveLength(1)
  })

  test('the result of a call passes whatever its size', async () => {
    await start({ mcpMaxMessageBytes: 1000, maxInspectedBytes: 1000 })
    const text = 'x'.repeat(100_000)
    handler = (_request, response) => answer(response, result(1, { content: [{ type: 'text', text }] }))
    expect((await post(call('read'))).json.result.content[0].text).toBe(text)
    expect((await ends())[0]?.errorType).toBeUndefined()
  })

  test.each([301, 307])('a redirect (%i) does not pass', async status => {
    await start()
    handler = (_request, response) => void response.writeHead(status, { location: 'http://else.test/' }).end()
    const { status: shown, headers: received, json } = await post(call('read'))
    expect({ shown, reason: json.error.data.reason }).toEqual({ shown: 502, reason: 'mcp_server_failed' })
    expect(received.location).toBeUndefined()
  })

  test.each([400, 403, 404, 500, 503])(
    'an error of the server (%i) passes as it came, and is recorded',
    async status => {
      await start()
      const given = { 'x-any': 'y', 'www-authenticate': 'Bearer' }
      handler = (_request, response) => void response.writeHead(status, given).end('what?')
      const { headers: received, ...shown } = await post(call('read'))
      expect(shown).toMatchObject({ status, text: 'what?' })
      expect(received['x-any']).toBe('y')
      expect(received['www-authenticate']).toBeUndefined()
      expect(await ends()).toMatchObject([{ errorMessage: `the MCP server responded with status ${status}` }])
    },
  )

  test('a server that cannot be reached is a 502, and is recorded', async () => {
    await start()
    await server.close()
    const { status, json } = await post(call('read'))
    expect(status).toBe(502)
    expect(json.error.message).toContain('the MCP server could not be reached')
    expect(await ends()).toMatchObject([{ errorType: 'unreachable' }])
    expect(plane.stored('toolUsage')).toMatchObject([{ tool: 'read', invocationError: expect.stringContaining('MCP') }])
  })

  test('the result of a call does not pass before its record is kept, in a stream that goes on too', async () => {
    const outbox = createMemoryOutbox({ send: createRecordSender(plane), logger: silentLogger, limits: bridgeLimits })
    await start({}, { outbox: Object.assign(outbox, { put: () => Promise.reject(new Error('no disk')) }) })
    handler = (_request, response) => void stream(response).write(event(result(1, { content: [] })))
    expect((await post(call('read'))).text).not.toContain('"content"')
  })

  test('a client that leaves a call of a server that streams for ever ends it, and the record says so', async () => {
    await start()
    const closed = new Promise<void>(resolve => {
      handler = (_request, response) => {
        stream(response)
        const more = () => response.write(event({ method: 'notifications/progress' }), () => setImmediate(more))
        more()
        response.on('close', resolve)
      }
    })
    const response = await begin(bridge, requestOf(call('read')))
    await once(response, 'data')
    response.destroy()
    await closed
    expect(await ends()).toMatchObject([{ errorType: 'client_closed' }])
  })
})

describe.each([
  ['a GET', { method: 'GET', body: '' }],
  ['a subscription', { body: '{"jsonrpc":"2.0","id":"listen:0","method":"subscriptions/listen"}' }],
])('streams by %s', (_, opening) => {
  async function openStream() {
    handler = (_request, response) => void stream(response).write(event({ method: 'hello' }))
    const response = await begin(bridge, { path: '/mcp/wiki', headers, ...opening })
    let text = ''
    response.on('data', chunk => {
      text += chunk
    })
    const ended = once(response, 'end')
    await once(response, 'data')
    return { ended, text: () => text }
  }

  test('a stream ends well when the daemon closes, and does not hold it up', async () => {
    await start()
    const { ended, text } = await openStream()
    const closed = bridge.daemon.close({ graceMs: 60_000 })
    await ended
    await closed
    expect(text()).toBe(event({ method: 'hello' }))
  })

  test('a stream ends when its key was revoked, and goes on while the control plane is away', async () => {
    await start({ mcpStreamCheckMs: 5, authCacheTtlMs: 0 })
    const { ended } = await openStream()
    const looks = () => plane.calls.filter(path => path === 'authorizer.isAuthorized').length
    plane.before = () => {
      throw new Error('away')
    }
    const before = looks()
    await eventually(async () => expect(looks()).toBeGreaterThan(before + 2))
    plane.before = path => {
      if (path === 'authorizer.isAuthorized') throw rpcError('unknown_key', 'the key was revoked')
    }
    await ended
  })

  test('a stream that its client leaves is no line in the log', async () => {
    await start()
    handler = (_request, response) => void stream(response).write(event({ method: 'hello' }))
    const response = await begin(bridge, { path: '/mcp/wiki', headers, ...opening })
    await once(response, 'data')
    response.destroy()
    await eventually(async () => expect(bridge.log).toMatchObject([{ level: 'debug' }]))
  })

  test('a stream that is silent for too long ends well', async () => {
    await start({ mcpSessionIdleMs: 20 })
    await (await openStream()).ended
  })
})

describe('sessions', () => {
  const initialize = { jsonrpc: '2.0', id: 1, method: 'initialize' }
  let open: Set<string>
  beforeEach(() => {
    open = new Set()
    handler = (request, response) => {
      const id = request.headers['mcp-session-id']
      if (id !== undefined && !open.has(String(id))) return void response.writeHead(404).end()
      if (request.method === 'DELETE') {
        open.delete(String(id))
        return void response.writeHead(200).end()
      }
      const given = String(id ?? `session-${server.received.length}`)
      open.add(given)
      answer(response, result(1, {}), { 'mcp-session-id': given })
    }
  })

  async function opened(): Promise<string> {
    const { headers: received } = await post(initialize)
    return String(received['mcp-session-id'])
  }

  test('the server’s id of a session never reaches the client, whose id stays the same', async () => {
    await start()
    const id = await opened()
    expect(id).toMatch(/^[\w-]{40,}$/)
    const { status, headers: received } = await post(list, { headers: { 'mcp-session-id': id } })
    expect({ status, id: received['mcp-session-id'] }).toEqual({ status: 200, id })
    expect(server.received[1]?.headers['mcp-session-id']).toBe('session-1')
  })

  test('an id that was not made for the user and the server is unknown', async () => {
    await start()
    const id = await opened()
    plane.mcpServers.push({ ...(plane.mcpServers[0] ?? expect.fail()), id: 'other' })
    const changed = `${id.slice(0, 20)}${id[20] === 'A' ? 'B' : 'A'}${id.slice(21)}`
    for (const wrong of ['session-1', changed, id.slice(1), '', `${id}, ${id}`]) {
      const { status, json } = await post(list, { headers: { 'mcp-session-id': wrong } })
      expect({ wrong, status, reason: json.error.data.reason }).toEqual({
        wrong,
        status: 404,
        reason: 'unknown_session',
      })
    }
    expect(server.received).toHaveLength(1)
  })

  test('DELETE ends the session at the server, and a server that forgot a session says so itself', async () => {
    await start({ mcpMaxSessions: 1 })
    const id = await opened()
    const given = { headers: { 'mcp-session-id': id } }
    expect((await post('', { method: 'DELETE', ...given })).status).toBe(200)
    expect(open.size).toBe(0)
    // An ended session takes no place, so none has to give way.
    await opened()
    expect((await post(list, given)).status).toBe(404)
    expect(server.received.map(({ method }) => method)).toEqual(['POST', 'DELETE', 'POST', 'POST'])
  })

  test('the session that was unused the longest ends for one above the bound', async () => {
    await start({ mcpMaxSessions: 2 })
    const first = await opened()
    await opened()
    await post(list, { headers: { 'mcp-session-id': first } })
    await opened()
    await eventually(async () => expect([...open]).toEqual(['session-1', 'session-4']))
    expect(server.received.find(({ method }) => method === 'DELETE')?.headers).toMatchObject({
      authorization: 'Bearer first',
      'mcp-session-id': 'session-2',
    })
  })

  test('while all sessions are in use, no other is opened', async () => {
    await start({ mcpMaxSessions: 1 })
    const id = await opened()
    const answers: ServerResponse[] = []
    handler = (_request, response) => void answers.push(response)
    const running = post(list, { headers: { 'mcp-session-id': id } })
    await eventually(async () => expect(answers).toHaveLength(1))
    expect(await post(initialize)).toMatchObject({
      status: 429,
      json: { error: { data: { reason: 'too_many_sessions' } } },
    })
    answers[0]?.end()
    await running
  })

  test('two clients with one session are both served', async () => {
    await start()
    const id = await opened()
    const both = [1, 2].map(() => post(list, { headers: { 'mcp-session-id': id } }))
    expect((await Promise.all(both)).map(({ status }) => status)).toEqual([200, 200])
  })

  test('a session without a request is ended at its server', async () => {
    await start({ mcpSessionIdleMs: 30 })
    await opened()
    await eventually(async () => expect(open.size).toBe(0))
  })

  test('requests above the bound of a user are rejected', async () => {
    await start({ mcpMaxRequests: 1 })
    const answers: ServerResponse[] = []
    handler = (_request, response) => void answers.push(response)
    const running = post(list)
    await eventually(async () => expect(answers).toHaveLength(1))
    expect((await post(list)).json).toMatchObject({ error: { data: { reason: 'too_many_requests' } } })
    answers[0]?.end()
    await running
  })
})

describe('admission', () => {
  test('a client without a good key learns nothing about servers', async () => {
    await start()
    for (const path of ['/mcp/wiki', '/mcp/none', '/mcp/', '/mcp/a/b']) {
      const wrong = await post(list, { path, headers: { authorization: 'Bearer wrong' } })
      expect({ path, status: wrong.status }).toEqual({ path, status: 401 })
      const { status, json } = await send(bridge, { method: 'POST', path, body: '', headers: {} }).then(response => ({
        status: response.status,
        json: JSON.parse(response.body.toString()),
      }))
      expect({ status, json }).toMatchObject({ status: 401, json: { error: { data: { reason: 'no_key' } } } })
    }
    expect(server.received).toEqual([])
  })

  const rejected: [string, ClientRequest, number, string][] = [
    ['an unknown server', { path: '/mcp/none' }, 404, 'unknown_mcp_server'],
    ['no server', { path: '/mcp/' }, 404, 'unknown_mcp_server'],
    ['a path below a server', { path: '/mcp/wiki/x' }, 404, 'unknown_mcp_server'],
    ['another method', { method: 'PUT' }, 405, 'method_not_allowed'],
    ['a request of a bridge', { headers: { 'x-bridge-loop': '1' } }, 508, 'loop'],
    ['a WebSocket', { headers: { upgrade: 'websocket', connection: 'upgrade' } }, 426, 'websocket'],
  ]
  test.each(rejected)('%s is rejected', async (_, request, status, reason) => {
    await start()
    expect(await post(list, request)).toMatchObject({ status, json: { error: { data: { reason } } } })
    expect(server.received).toEqual([])
  })

  test('a key that is the token for the server is a loop', async () => {
    await start()
    plane.mcpTokens.set('wiki', { token: testKey })
    expect((await post(list)).status).toBe(508)
    expect(server.received).toEqual([])
  })

  test.each(['x-api-key', 'x-bridge-token'])('a key in %s is a key too, and reaches no server', async name => {
    await start()
    const own = name === 'x-bridge-token' ? { authorization: 'Bearer of-the-client' } : {}
    const { authorization: _, ...rest } = headers
    const response = await send(bridge, {
      ...requestOf(list),
      headers: { ...rest, ...own, [name]: testKey },
    })
    expect(response.status).toBe(200)
    expect(server.received[0]?.headers.authorization).toBe('Bearer first')
    expect(JSON.stringify(server.received)).not.toContain(testKey)
  })

  test('pages of allowed origins may call, and others get no leave', async () => {
    await start({}, { allowedOrigins: ['https://app.test'] })
    const preflight = { origin: 'https://app.test', 'access-control-request-method': 'POST' }
    const allowed = await send(bridge, { method: 'OPTIONS', path: '/mcp/wiki', headers: preflight })
    expect(allowed.headers['access-control-allow-methods']).toContain('DELETE')
    const { headers: received } = await post(list, { headers: { origin: 'https://app.test' } })
    expect(received['access-control-allow-origin']).toBe('https://app.test')
  })
})
