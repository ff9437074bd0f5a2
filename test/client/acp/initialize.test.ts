/** Servers that break the rules of `initialize`: each failure is an error of its own, and nothing is left. */
import { describe, expect, test } from 'vitest'
import { createAcpClient } from '../../../client/acp/acp-client.js'
import type { AcpReason } from '../../../shared/acp/errors.js'
import type { RpcError } from '../../../shared/rpc/errors.js'
import { AcpPeer } from '../../fixtures/acp/acp-peer.js'
import {
  initialized,
  reject,
  type Script,
  ScriptedServer,
  type SeenRequest,
} from '../../fixtures/acp/scripted-server.js'
import { leavesNothing, opened } from '../../fixtures/leaves-nothing.js'

leavesNothing()

const head = { 'content-type': 'application/json', 'acp-connection-id': 'c-1' }

function responds(body: (request: SeenRequest) => unknown, headers: Record<string, string> = head): Script {
  return request => {
    if (request.method !== 'POST') return false
    const text = body(request)
    request.response.writeHead(200, headers)
    request.response.end(typeof text === 'string' ? text : JSON.stringify(text))
    return true
  }
}

const ok = { protocolVersion: 1 }
const rejects = (status: number, reason?: string): Script => {
  return request => {
    if (request.method === 'POST') reject(request, status, reason)
    return request.method === 'POST'
  }
}

interface Row {
  fault: string
  script: Script
  reason: AcpReason
  code: string
  mayHaveRun?: boolean
  cause?: true
  deletes?: true
  timeoutMs?: number
}

const rows: Row[] = [
  {
    fault: 'a 500',
    script: rejects(500),
    reason: 'http_rejected',
    code: 'INTERNAL_SERVER_ERROR',
    mayHaveRun: true,
    cause: true,
  },
  {
    fault: 'a 502',
    script: rejects(502),
    reason: 'http_rejected',
    code: 'SERVICE_UNAVAILABLE',
    mayHaveRun: true,
    cause: true,
  },
  {
    fault: 'a 401',
    script: rejects(401),
    reason: 'http_rejected',
    code: 'UNAUTHORIZED',
    mayHaveRun: false,
    cause: true,
  },
  {
    fault: 'a 302',
    script: rejects(302),
    reason: 'http_rejected',
    code: 'BAD_REQUEST',
    mayHaveRun: false,
    cause: true,
  },
  {
    fault: 'a 403 with a reason',
    script: rejects(403, 'origin_not_allowed'),
    reason: 'origin_not_allowed',
    code: 'FORBIDDEN',
    mayHaveRun: false,
    cause: true,
  },
  {
    fault: 'no connection id',
    script: responds(({ message: { id } }) => ({ jsonrpc: '2.0', id, result: ok }), {}),
    reason: 'response_without_connection',
    code: 'PARSE_ERROR',
  },
  {
    fault: 'no JSON',
    script: responds(() => '<p>'),
    reason: 'response_not_json',
    code: 'PARSE_ERROR',
    cause: true,
    deletes: true,
  },
  {
    fault: 'no JSON-RPC',
    script: responds(() => ({ ok: true })),
    reason: 'response_invalid',
    code: 'PARSE_ERROR',
    cause: true,
    deletes: true,
  },
  {
    fault: 'the id of another request',
    script: responds(({ message: { id } }) => ({ jsonrpc: '2.0', id: String(id), result: ok })),
    reason: 'response_id_differs',
    code: 'CONFLICT',
    deletes: true,
  },
  {
    fault: 'another protocol version',
    script: responds(({ message: { id } }) => ({ jsonrpc: '2.0', id, result: { protocolVersion: 2 } })),
    reason: 'protocol_version',
    code: 'PRECONDITION_FAILED',
    deletes: true,
  },
  {
    fault: 'an endless response',
    script: responds(({ message: { id } }) => ({ jsonrpc: '2.0', id, result: { ...ok, pad: 'x'.repeat(20_000) } })),
    reason: 'message_too_large',
    code: 'PAYLOAD_TOO_LARGE',
    mayHaveRun: true,
  },
  {
    fault: 'silence',
    script: () => true,
    reason: 'response_timeout',
    code: 'TIMEOUT',
    mayHaveRun: true,
    cause: true,
    timeoutMs: 50,
  },
  {
    fault: 'a cut connection',
    script: ({ response }) => Boolean(response.destroy()),
    reason: 'response_lost',
    code: 'SERVICE_UNAVAILABLE',
    mayHaveRun: true,
    cause: true,
  },
]

async function initializeWith(script: Script, initializeTimeoutMs = 10_000) {
  const server = await ScriptedServer.start(script)
  const errors: RpcError<string>[] = []
  const client = createAcpClient({
    url: server.url,
    limits: { maxMessageBytes: 10_000 },
    times: { initializeTimeoutMs, reconnectMinMs: 1 },
    onError: error => errors.push(error),
  })
  opened.add({ groups: [], close: () => client.close() })
  const peer = new AcpPeer(client)
  return { server, errors, client, peer, id: peer.ask('initialize', { protocolVersion: 1 }) }
}

describe('a response to initialize that is', () => {
  test.each(rows)(
    '$fault has the error $reason',
    async ({ script, reason, code, mayHaveRun, cause, deletes, timeoutMs }) => {
      const { server, errors, client, peer, id } = await initializeWith(script, timeoutMs)
      const { error } = await peer.responseTo(id)
      expect(error?.data).toMatchObject({ reason, ...(mayHaveRun !== undefined && { mayHaveRun }) })
      expect(await peer.closed()).toMatchObject({ reason })
      expect(client.error).toMatchObject({ code, reason })
      expect(errors).toEqual([client.error])
      expect(client.error?.cause !== undefined).toBe(cause ?? false)
      expect(await client.closed).toEqual(peer.closes[0])
      expect(server.seen.map(({ method }) => method)).toEqual(deletes ? ['POST', 'DELETE'] : ['POST'])
    },
  )

  test('an error of the agent passes, and the connection has ended', async () => {
    const error = { code: -32_022, message: 'no such version', data: { supported: [1] } }
    const { client, peer, id } = await initializeWith(
      responds(({ message }) => ({ jsonrpc: '2.0', id: message.id, error }), { 'content-type': 'application/json' }),
    )
    expect((await peer.responseTo(id)).error).toEqual(error)
    expect(await peer.closed()).toMatchObject({ reason: 'initialize_rejected' })
    expect(client.error).toMatchObject({ code: 'PRECONDITION_FAILED', cause: error })
  })
})

test('a server that cannot be reached has the error unreachable, and nothing was sent', async () => {
  const client = createAcpClient({ url: 'http://127.0.0.1:1/acp' })
  const peer = new AcpPeer(client)
  const failed = await peer.failure('initialize')
  expect(failed.data).toEqual({ reason: 'unreachable', mayHaveRun: false })
  await client.closed
  expect(client.error?.cause).toMatchObject({ code: 'ECONNREFUSED' })
})

test('a server without room is asked again after its Retry-After, and not beyond the deadline', async () => {
  const { server, peer, id } = await initializeWith((request, index) => {
    if (index === 0) reject(request, 503, 'too_many_connections', { 'retry-after': '0' })
    else if (request.method === 'POST') initialized(request)
    return index === 0 || request.method === 'POST'
  })
  expect((await peer.responseTo(id)).result).toEqual(ok)
  expect(server.seen.filter(({ method }) => method === 'POST')).toHaveLength(2)

  const late = await initializeWith(request => {
    reject(request, 503, 'draining', { 'retry-after': '1' })
    return true
  }, 900)
  const startedAt = performance.now()
  expect((await late.peer.responseTo(late.id)).error?.data).toEqual({ reason: 'draining', mayHaveRun: false })
  expect(performance.now() - startedAt).toBeLessThan(850)
  await late.client.closed
  expect(late.server.seen).toHaveLength(1)
})

test('the id in the body counts where the header is missing', async () => {
  const { server, peer, id } = await initializeWith(
    responds(({ message }) => ({ jsonrpc: '2.0', id: message.id, result: { ...ok, connectionId: 'c-2' } }), {}),
  )
  await peer.responseTo(id)
  expect((await server.stream()).headers['acp-connection-id']).toBe('c-2')
})

test.each([
  ['ftp://a', /must begin with/],
  ['http://u:p@a', /credentials/],
  ['http://a#b', /fragment/],
  ['nonsense', /parsed/],
])('the URL %s is no option', (url, problem) => {
  expect(() => createAcpClient({ url })).toThrow(problem)
})

test.each([
  { headers: { cookie: 'a=b' } },
  { headers: { 'Acp-Session-Id': 'a' } },
  { headers: { 'a b': 'c' } },
  { headers: { a: 'b\nc' } },
  { times: { lostAfterMs: 0 } },
  { limits: { maxMessageBytes: Number.NaN } },
])('the options %o are rejected', options => {
  expect(() => createAcpClient({ url: 'http://a', ...options })).toThrow(
    expect.objectContaining({ reason: 'config_invalid' }),
  )
})
