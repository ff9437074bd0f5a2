import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect as connectSocket } from 'node:net'
import Anthropic from '@anthropic-ai/sdk'
import { afterEach, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { createBridgeDaemon } from '../../../client/bridge/daemon.js'
import { type BridgeClient, createBridgeClient } from '../../../client/bridge-client.js'
import { isThisMachine } from '../../../server/http/http-routes.js'
import type { Store } from '../../../server/store/store.js'
import { apiVersion } from '../../../shared/contract/version.js'
import { formatVersion } from '../../../shared/rpc/version.js'
import { eventually } from '../../fixtures/eventually.js'
import {
  admin,
  adminToken,
  daemon,
  deferred,
  oneStore,
  type Running,
  rejectionOf,
  startServer,
} from '../services/running-server.js'

const store = oneStore()
const host = '127.0.0.1'

async function listening(bridge?: Parameters<Running['server']['listen']>[0]['bridge']) {
  const running = await startServer(store())
  const { url } = await running.server.listen({ host, port: 0, ...(bridge && { bridge }) })
  return { ...running, url }
}

const authorization = `Bearer ${adminToken}`

/** Sends bytes as they are and gives all that comes back until the end. */
async function raw(url: string, bytes: string): Promise<string> {
  const socket = connectSocket(Number(new URL(url).port), host)
  socket.end(bytes)
  let answer = ''
  for await (const chunk of socket.setEncoding('latin1')) answer += chunk
  return answer
}

describe('health', () => {
  test('the process lives and is ready', async () => {
    const { url } = await listening()
    const health = await fetch(`${url}/healthz`)
    expect([health.status, await health.json()]).toEqual([200, { status: 'ok' }])
    const ready = await fetch(`${url}/readyz?verbose`)
    expect([ready.status, await ready.json()]).toEqual([
      200,
      { ready: true, store: 'ok', bridge: 'none', draining: false },
    ])
  })

  test('without its bridge it is not ready', async () => {
    let isReady = false
    const { url } = await listening({ handler: (_, response) => response.end(), ready: () => isReady })
    const response = await fetch(`${url}/readyz`)
    expect([response.status, await response.json()]).toMatchObject([
      503,
      { ready: false, store: 'ok', bridge: 'not ready' },
    ])
    expect(response.headers.get('retry-after')).toBe('1')
    isReady = true
    expect((await fetch(`${url}/readyz`)).status).toBe(200)
  })

  test('without its store it is not ready, and lives', async () => {
    const broken = Object.assign(Object.create(store()), { ping: () => Promise.reject(new Error('MARKED')) })
    const running = await startServer(broken)
    const { url } = await running.server.listen({ host, port: 0 })
    const response = await fetch(`${url}/readyz`)
    expect([response.status, await response.json()]).toMatchObject([503, { ready: false, store: 'does not answer' }])
    expect((await fetch(`${url}/healthz`)).status).toBe(200)
  })

  test('health checks of readiness share one write of the store in a second, and never make two at once', async () => {
    const begun: (() => void)[] = []
    const slow = Object.assign(Object.create(store()), {
      ping: () => new Promise<void>(resolve => begun.push(resolve)),
    })
    const running = await startServer(slow)
    const { url } = await running.server.listen({ host, port: 0 })
    const checks = Array.from({ length: 20 }, () => fetch(`${url}/readyz`))
    await eventually(() => expect(begun).toHaveLength(1))
    begun[0]?.()
    for (const response of await Promise.all(checks)) expect(response.status).toBe(200)
    expect((await fetch(`${url}/readyz`)).status).toBe(200)
    expect(begun).toHaveLength(1)
  })
})

describe('upgrades of other paths', () => {
  const request = (path: string, upgrade: string) =>
    `GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: ${upgrade}\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${'A'.repeat(22)}==\r\n\r\n`

  test('a WebSocket of an unserved path gets 404 from the request listener, and the connection ends', async () => {
    const { url } = await listening()
    const answer = await raw(url, request('/elsewhere', 'websocket'))
    expect(answer).toMatch(/^HTTP\/1\.1 404 Not Found\r\n/)
    expect(answer).toContain('"reason":"not_found"}')
  })

  test('a mounted bridge responds to WebSockets below its path, also behind doubled slashes', async () => {
    const { url } = await listening({
      handler: (request, response) => response.writeHead(426).end(request.headers.upgrade),
      ready: () => true,
    })
    for (const path of ['/bridge/a/v1/responses', '//bridge/a']) {
      const answer = await raw(url, request(path, 'websocket'))
      expect(answer).toMatch(/^HTTP\/1\.1 426 Upgrade Required\r\n/)
      expect(answer).toMatch(/\nwebsocket\r\n/)
    }
  })

  test('an upgrade to another protocol is served as any other request', async () => {
    const { url } = await listening()
    const keepAlive = request('/healthz', 'h2c').replace('connection: upgrade', 'connection: upgrade, close')
    expect(await raw(url, keepAlive)).toMatch(/^HTTP\/1\.1 200 /)
  })

  test.each(['', 'connection: upgrade\r\nupgrade: h2c\r\n'])(
    'a target with a host is served by its path',
    async fields => {
      const { url } = await listening()
      expect(await raw(url, `GET http://x/healthz HTTP/1.1\r\nhost: x\r\n${fields}\r\n`)).toMatch(/^HTTP\/1\.1 200 /)
    },
  )

  test('a WebSocket of an unserved path waits for the response to the request before', async () => {
    const { url } = await listening()
    const answer = await raw(url, `GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n${request('/elsewhere', 'websocket')}`)
    expect(answer).toMatch(/^HTTP\/1\.1 200 .*HTTP\/1\.1 404 Not Found\r\n/s)
  })

  test('a client that leaves while its upgrade is rejected does no harm', async () => {
    const { url } = await listening()
    const socket = connectSocket(Number(new URL(url).port), host)
    socket.write(request('/elsewhere', 'websocket'))
    socket.resetAndDestroy()
    expect((await fetch(`${url}/healthz`)).status).toBe(200)
  })
})

describe('RPC over a WebSocket', () => {
  const opened: BridgeClient[] = []
  afterEach(async () => {
    for (const client of opened.splice(0)) await client.close()
  })

  function remote(url: string, key: string): BridgeClient {
    const client = createBridgeClient({ url, key, buildVersion: '9.9.9' })
    opened.push(client)
    return client
  }

  /** What an upgrade with these headers is answered with. */
  async function upgrade(url: string, headers: Record<string, string>, path = '/rpc?version=1.0') {
    const socket = new WebSocket(`${url.replace('http', 'ws')}${path}`, { headers })
    const [, response] = await once(socket, 'unexpected-response')
    let body = ''
    for await (const chunk of response) body += chunk
    socket.on('error', () => {})
    socket.terminate()
    return { status: response.statusCode, body: JSON.parse(body) }
  }

  test('the admin token makes an admin, who may not record', async () => {
    const { url } = await listening()
    const { admin, recorder } = remote(url, adminToken)
    expect(await admin.users.list.query()).toEqual(await store().listUsers())
    const rejected = await rejectionOf(recorder.recordBatch.mutate({ records: [] }))
    expect(rejected.code).toMatch(/FORBIDDEN|BAD_REQUEST/)
    expect(await rejectionOf(remote(url, adminToken).providerConfigurator.getProviders.query())).toMatchObject({
      code: 'FORBIDDEN',
    })
    expect(await rejectionOf(admin.users.delete.mutate({ user: 'nobody' }))).toEqual({
      code: 'NOT_FOUND',
      reason: 'unknown_row',
      message: 'no user has the id or name "nobody"',
    })
  })

  test('a daemon key makes a daemon, which is seen with its build version and may not administer', async () => {
    const { url, connect } = await listening()
    const operator = connect(admin).admin
    const { key, id } = await operator.daemonKeys.create.mutate({ name: 'paris' })
    const daemon = remote(url, key)
    expect(await daemon.providerConfigurator.getProviders.query()).toMatchObject({ providers: expect.any(Array) })
    expect(await rejectionOf(daemon.admin.users.list.query())).toMatchObject({ code: 'FORBIDDEN' })
    const seen = (await operator.daemonKeys.list.query()).find(row => row.id === id)
    expect(seen).toMatchObject({ buildVersion: '9.9.9', lastSeenAt: expect.any(Date) })
    expect(JSON.stringify(seen)).not.toContain(key.slice(11))
  })

  test('only a key with the capability may name a user by a key’s id', async () => {
    const { url, connect } = await listening()
    const operator = connect(admin).admin
    const { id: user } = await operator.users.create.mutate({ username: 'delegated' })
    const { id: keyId } = await operator.apiKeys.create.mutate({ user })
    const plain = await operator.daemonKeys.create.mutate({})
    const delegate = await operator.daemonKeys.create.mutate({ delegate: true })
    expect(await rejectionOf(remote(url, plain.key).authorizer.isAuthorized.query({ keyId }))).toMatchObject({
      code: 'FORBIDDEN',
      reason: 'delegation_not_allowed',
    })
    expect(await remote(url, delegate.key).authorizer.isAuthorized.query({ keyId })).toMatchObject({ ownerId: user })
  })

  test('a key that is revoked closes its connections with 4001, and its client stops', async () => {
    const { url, connect } = await listening()
    const operator = connect(admin).admin
    const { key, id } = await operator.daemonKeys.create.mutate({})
    const other = await operator.daemonKeys.create.mutate({})
    const [revoked, kept] = [remote(url, key), remote(url, other.key)]
    await Promise.all([revoked, kept].map(client => client.providerConfigurator.getProviders.query()))
    await operator.daemonKeys.revoke.mutate({ id })
    expect(await revoked.closed).toMatchObject({ code: 4001, reason: 'key_revoked' })
    await kept.providerConfigurator.getProviders.query()
    expect(await remote(url, key).closed).toMatchObject({ reason: 'key_revoked' })
  })

  test('a key that was revoked elsewhere, or has expired, closes its connections within one heartbeat', async () => {
    const running = await startServer(store(), { heartbeatMs: 25 })
    const { url } = await running.server.listen({ host, port: 0 })
    const operator = running.connect(admin).admin
    const revoked = await operator.daemonKeys.create.mutate({})
    const expiring = await operator.daemonKeys.create.mutate({ expiresAt: new Date(Date.now() + 400) })
    const clients = [remote(url, revoked.key), remote(url, expiring.key)]
    await Promise.all(clients.map(client => client.providerConfigurator.getProviders.query()))
    await store().revokeDaemonKey(revoked.id, new Date()) // as another replica would
    for (const { closed } of clients) expect(await closed).toMatchObject({ code: 4001 })
  })

  test.each<[string, Record<string, string>, number, string]>([
    ['no key', {}, 401, 'key_missing'],
    ['another token', { authorization: `${authorization}x` }, 401, 'key_invalid'],
    ['no bearer', { authorization: adminToken }, 401, 'key_invalid'],
    ['basic credentials', { authorization: `Basic ${adminToken}` }, 401, 'key_invalid'],
    ['an empty token', { authorization: 'Bearer ' }, 401, 'key_invalid'],
    ['an unknown daemon key', { authorization: `Bearer ${'a'.repeat(10)}-${'b'.repeat(22)}` }, 401, 'key_invalid'],
    ['an origin', { authorization, origin: 'http://127.0.0.1' }, 403, 'origin_not_allowed'],
  ])('a WebSocket with %s is rejected before the upgrade', async (_, headers, status, reason) => {
    const { url, logger } = await listening()
    expect(await upgrade(url, headers)).toEqual({ status, body: { message: expect.any(String), reason } })
    expect(logger.text()).not.toContain(adminToken)
  })

  test.each<[string, Record<string, string>]>([
    ['of this address', { origin: '' }],
    ['of a name of this server', { origin: 'http://ops.example.com:4100', host: 'ops.example.com:4100' }],
    ['behind a proxy', { origin: 'https://ops.example.com', host: 'ops.example.com', 'x-forwarded-proto': 'https' }],
  ])('a page %s connects with the key in its first frame', async (_, headers) => {
    const { url } = await listening()
    const address = `${url.replace('http', 'ws')}/rpc?connectionParams=1`
    const socket = new WebSocket(address, { headers: { ...headers, origin: headers.origin || url } })
    await once(socket, 'open')
    const params = { method: 'connectionParams', data: { authorization } }
    const call = { id: 1, method: 'query', params: { path: 'admin.users.list', input: {} } }
    for (const message of [params, call]) socket.send(JSON.stringify(message))
    const [frame] = await once(socket, 'message')
    expect(JSON.parse(frame.toString())).toMatchObject({ id: 1, result: { type: 'data' } })
    socket.close()
    await once(socket, 'close')
  })

  test.each<[string, Record<string, string>]>([
    ['of another site', { origin: 'https://evil.example.com' }],
    ['of another port', { origin: 'http://127.0.0.1:1' }],
    ['of another scheme', { origin: 'https://ops.example.com', host: 'ops.example.com' }],
    ['of a name that only begins alike', { origin: 'http://ops.example.com.evil.example', host: 'ops.example.com' }],
    ['without an origin of its own', { origin: 'null', host: 'null' }],
  ])('a page %s is rejected before its key is asked for', async (_, headers) => {
    const { url } = await listening()
    const response = await upgrade(url, headers, '/rpc?version=1.0&connectionParams=1')
    expect(response).toMatchObject({ status: 403, body: { reason: 'origin_not_allowed' } })
  })

  test.each([
    [
      '/rpc?version=2.0',
      400,
      { reason: 'version_unsupported', clientVersion: '2.0', serverVersion: formatVersion(apiVersion) },
    ],
    [
      '/rpc?version=1.999',
      409,
      { reason: 'server_older', clientVersion: '1.999', serverVersion: formatVersion(apiVersion) },
    ],
    ['/rpc?version=new', 400, { reason: 'version_malformed' }],
    ['/rpc/', 404, { reason: 'not_found' }],
    ['/rpcEVIL', 404, { reason: 'not_found' }],
  ])('%s is answered with %d', async (path, status, body) => {
    const { url } = await listening()
    expect(await upgrade(url, { authorization }, path)).toMatchObject({ status, body })
  })

  test('a store that does not answer is 500, not an invalid key, and the client tries again', async () => {
    let broken = true
    const flaky: Store = Object.assign(Object.create(store()), {
      findDaemonKey: (id: string) => (broken ? Promise.reject(new Error('MARKED')) : store().findDaemonKey(id)),
    })
    const running = await startServer(flaky)
    const { url } = await running.server.listen({ host, port: 0 })
    const { key } = await running.connect(admin).admin.daemonKeys.create.mutate({})
    const { status, body } = await upgrade(url, { authorization: `Bearer ${key}` })
    expect({ status, body }).toEqual({
      status: 500,
      body: { message: 'internal server error', requestId: expect.any(String) },
    })
    const line = running.logger.lines.find(({ level }) => level === 'error')
    expect(line?.fields).toMatchObject({ requestId: body.requestId, err: { message: 'MARKED' } })
    const client = remote(url, key)
    await new Promise<void>(resolve => {
      client.connection.onStateChange(state => state === 'waiting' && resolve())
    })
    broken = false
    expect(await client.providerConfigurator.getProviders.query()).toMatchObject({ providers: expect.any(Array) })
  })

  test('a fault of the server tells nothing of its cause, which is in the log under the same request id', async () => {
    const broken = Object.assign(Object.create(store()), { listUsers: () => Promise.reject(new Error('MARKED')) })
    const running = await startServer(broken)
    const { url } = await running.server.listen({ host, port: 0 })
    for (const client of [remote(url, adminToken), running.connect(admin)]) {
      running.logger.lines.length = 0
      const error: unknown = await client.admin.users.list.query().catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ message: 'internal server error', data: { code: 'INTERNAL_SERVER_ERROR' } })
      expect(JSON.stringify(error)).not.toContain('MARKED')
      const line = running.logger.lines.find(({ level }) => level === 'error')
      expect(line?.fields).toMatchObject({
        requestId: Reflect.get(Object(Reflect.get(Object(error), 'data')), 'requestId'),
        err: { message: 'MARKED' },
      })
    }
  })

  test('an answer that the contract foresees is no error in the log', async () => {
    const { url, logger } = await listening()
    await rejectionOf(remote(url, adminToken).admin.users.delete.mutate({ user: 'nobody' }))
    expect(logger.lines).toMatchObject([{ level: 'debug', fields: { code: 'NOT_FOUND', reason: 'unknown_row' } }])
  })

  test('without an upgrade it is 426', async () => {
    const { url } = await listening()
    const response = await fetch(`${url}/rpc`, { headers: { authorization } })
    expect([response.status, response.headers.get('upgrade')]).toEqual([426, 'websocket'])
  })

  test.each(['TRACE', 'OPTIONS', 'HEAD', 'PUT', 'DELETE', 'PROPFIND'])(
    '%s with the admin token is rejected, and is no fault of the server',
    async method => {
      const { url, logger } = await listening()
      const upgradeHeaders = 'upgrade: websocket\r\nconnection: upgrade\r\n'
      for (const [path, headers] of [
        ['/rpc', ''],
        ['/rpc/admin.users.list', ''],
        ['/demo/v1/messages', ''],
        [
          '/rpc?version=1.0',
          `${upgradeHeaders}sec-websocket-version: 13\r\nsec-websocket-key: ${'A'.repeat(22)}==\r\n`,
        ],
      ]) {
        const request = `${method} ${path} HTTP/1.1\r\nhost: x\r\nauthorization: ${authorization}\r\n${headers}\r\n`
        expect(`${path} ${await raw(url, request)}`).toMatch(/^\S+ HTTP\/1\.1 4\d\d /)
      }
      expect(logger.lines.filter(({ level }) => level === 'error')).toEqual([])
      expect(logger.text()).not.toContain(adminToken)
    },
  )

  test('closing the server waits for a call over the socket, whose client is told to move', async () => {
    const called = deferred<void>()
    const gate = deferred<void>()
    const slow = Object.assign(Object.create(store()), {
      listUsers: async () => {
        called.resolve()
        await gate.promise
        return []
      },
    })
    const { server } = await startServer(slow)
    const { url } = await server.listen({ host, port: 0 })
    const client = remote(url, adminToken)
    const answer = client.admin.users.list.query()
    await called.promise
    const closed = server.close({ graceMs: 10_000 })
    await new Promise<void>(resolve => {
      client.connection.onStateChange(state => state === 'waiting' && resolve())
    })
    gate.resolve()
    expect(await answer).toEqual([])
    expect(await closed).toEqual({ drained: 1, aborted: 0 })
  })
})

describe('other routes', () => {
  test('/ is a page that names the address of the request', async () => {
    const { url } = await listening()
    const response = await fetch(url, { headers: { accept: 'text/html' } })
    expect(await response.text()).toContain(`${url}/bridge/anthropic`)
  })

  test.each(['/rpc/', '/bridge/demo', '/demo', '/healthz/', '/nothing', '//healthz', '/%00'])(
    '%s is not found',
    async path => {
      const { url } = await listening()
      const response = await fetch(url + path)
      expect(response.status).toBe(404)
      expect(await response.json()).toMatchObject({ reason: 'not_found' })
    },
  )

  test('what is no HTTP is answered and closed', async () => {
    const { url } = await listening()
    expect(await raw(url, 'nonsense\r\n\r\n')).toMatch(/^HTTP\/1.1 400 Bad Request\r\n/)
    expect(await raw(url, `GET / HTTP/1.1\r\nhost: x\r\nx: ${'a'.repeat(100_000)}\r\n\r\n`)).toMatch(/^HTTP\/1.1 431 /)
    expect((await fetch(`${url}/healthz`)).status).toBe(200)
  })

  test('a malformed request with credentials leaves none of them in the log', async () => {
    const { url, logger } = await listening()
    await raw(url, `GET / HTTP/1.1\r\nauthorization: ${authorization}\r\nno header\r\n\r\n`)
    const [line] = logger.lines
    expect(line).toEqual({
      level: 'debug',
      fields: { code: expect.stringMatching(/^HPE_/) },
      message: 'a connection sent no valid HTTP request',
    })
  })

  test('a bridge handler that throws answers 500 and ends nothing', async () => {
    const { url, logger } = await listening({
      handler: () => {
        throw new Error('MARKED')
      },
      ready: () => true,
    })
    const response = await fetch(`${url}/bridge/x`)
    expect([response.status, await response.text()]).toEqual([500, '{"message":"internal server error"}'])
    expect(logger.text()).toContain('MARKED')
  })
})

test('a client that would take HTTP/2 (Upgrade: h2c) is served as any other, with its body', async () => {
  const bodies: string[] = []
  const bridge = {
    handler: async (request: IncomingMessage, response: ServerResponse) => {
      let body = ''
      for await (const chunk of request) body += chunk
      bodies.push(`${request.method} ${request.headers['x-kept']} ${request.headers.upgrade} ${body.length}`)
      response.end('served')
    },
    ready: () => true,
  }
  const { url } = await listening(bridge)
  const socket = connectSocket(Number(new URL(url).port), host)
  const answered = async (): Promise<void> => {
    let text = ''
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
      text += chunk
      if (text.endsWith('served\r\n0\r\n\r\n') || text.endsWith('served')) return
    }
  }
  for (const text of ['y'.repeat(300_000), 'short']) {
    socket.write(
      `POST /bridge/x HTTP/1.1\r\nhost: x\r\nX-Kept: \xe9\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n` +
        `HTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
      'latin1',
    )
    await answered()
  }
  socket.destroy()
  expect(bodies).toEqual(['POST \xe9 undefined 300000', 'POST \xe9 undefined 5'])
})

describe('listening', () => {
  test('a port in use is named', async () => {
    const { url } = await listening()
    const port = Number(new URL(url).port)
    const { server } = await startServer(store())
    expect(await rejectionOf(server.listen({ host, port }))).toEqual({
      code: 'PRECONDITION_FAILED',
      reason: 'port_in_use',
      message: `another process listens on 127.0.0.1:${port}; choose another port with --port`,
    })
    await expect(server.listen({ host, port: 0 })).resolves.toMatchObject({ url: expect.any(String) })
  })

  test('listening is done once', async () => {
    const { server, url } = await listening()
    const rejected = await rejectionOf(server.listen({ host, port: 0 }))
    expect(rejected).toMatchObject({ code: 'PRECONDITION_FAILED', message: `the server listens already at ${url}` })
  })

  test('on every address it gives the loopback one', async () => {
    const { server } = await startServer(store())
    const { url } = await server.listen({ host: '0.0.0.0', port: 0 })
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    expect((await fetch(`${url}/demo/v1/models`)).status).toBe(200)
  })
})

describe('closing', () => {
  test('closing waits for a request in flight, and not for connections without one', async () => {
    const asked = deferred<ServerResponse>()
    const { server, url } = await listening({ handler: (_, response) => asked.resolve(response), ready: () => true })
    await (await fetch(`${url}/healthz`)).text() // leaves a connection that waits for its next request
    const silent = connectSocket(Number(new URL(url).port), host)
    await once(silent, 'connect')
    const answer = fetch(`${url}/bridge/x`)
    const response = await asked.promise
    const closed = server.close({ graceMs: 20_000 })
    expect(server.close()).toBe(closed)
    await once(silent, 'close')
    response.end('late')
    expect(await (await answer).text()).toBe('late')
    expect(await closed).toEqual({ drained: 1, aborted: 0 })
    await expect(fetch(`${url}/healthz`)).rejects.toThrow()
  })

  test('cuts a request that outlasts the grace', async () => {
    const { server, url } = await listening({
      handler: (_, response) => response.writeHead(200).write('part'),
      ready: () => true,
    })
    const response = await fetch(`${url}/bridge/x`)
    expect(await server.close({ graceMs: 20 })).toEqual({ drained: 0, aborted: 1 })
    await expect(response.text()).rejects.toThrow()
  })

  test('closing rejects what comes after it', async () => {
    const { server } = await listening()
    const closed = server.close()
    expect(() => server.connectInMemory({ identity: daemon })).toThrow(/draining|clos/)
    expect(await rejectionOf(server.listen({ host, port: 0 }))).toMatchObject({ reason: 'draining' })
    await closed
  })

  test('closing ends a call in memory that is in flight with its response', async () => {
    const gate = deferred<void>()
    const called = deferred<void>()
    const slow = Object.assign(Object.create(store()), {
      listUsers: async () => {
        called.resolve()
        await gate.promise
        return []
      },
    })
    const { server, connect } = await startServer(slow)
    const answer = connect(admin).admin.users.list.query()
    await called.promise
    const closed = server.close({ graceMs: 10_000 })
    gate.resolve()
    expect(await answer).toEqual([])
    expect(await closed).toEqual({ drained: 1, aborted: 0 })
  })
})

describe('the demo provider', () => {
  const stop: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const close of stop.splice(0)) await close()
  })

  test('the demo provider is reached by the bridge like any other, and its response recorded', async () => {
    const { server, connect, logger } = await startServer(store())
    const bridge = createBridgeDaemon({ client: connect(daemon), logger })
    stop.push(() => bridge.close({ graceMs: 1_000 }))
    const { url } = await server.listen({ host, port: 0, bridge })
    const operator = connect(admin).admin
    const { id: user } = await operator.users.create.mutate({ username: 'demo-user' })
    const { key } = await operator.apiKeys.create.mutate({ user })
    const client = new Anthropic({ authToken: key, apiKey: null, baseURL: `${url}/bridge/demo`, maxRetries: 0 })
    const ask = { model: 'demo', max_tokens: 500, messages: [{ role: 'user' as const, content: 'hello there' }] }
    const message = await client.messages.stream(ask).finalMessage()
    expect(JSON.stringify(message.content)).toContain('hello there')
    await bridge.close({ graceMs: 5_000 })
    const { interceptions } = await operator.interceptions.list.query({ user })
    expect(interceptions).toMatchObject([
      { provider: 'anthropic', providerName: 'demo', model: 'demo', errorType: null },
    ])
    const detail = await operator.interceptions.get.query({ id: interceptions[0]?.id ?? '' })
    expect(detail.interception.endedAt).toBeInstanceOf(Date)
    expect(detail.promptUsages).toMatchObject([{ prompt: 'hello there' }])
    expect(detail.tokenUsages).toMatchObject([{ outputTokens: message.usage.output_tokens }])
  })

  test.each([
    ['127.0.0.1', '127.0.0.1', true],
    ['127.8.9.1', '127.0.0.1', true],
    ['::1', '::1', true],
    ['::ffff:127.0.0.1', '::ffff:127.0.0.1', true],
    ['192.168.1.5', '192.168.1.5', true],
    ['::ffff:192.168.1.5', '192.168.1.5', true],
    ['192.168.1.6', '192.168.1.5', false],
    ['::ffff:10.0.0.1', '::ffff:10.0.0.2', false],
    ['fe80::1', 'fe80::2', false],
    ['127.evil', '10.0.0.1', false],
    [undefined, undefined, false],
  ])('the demo provider responds to this machine only: %s at %s is it: %s', (peer, local, expected) => {
    expect(isThisMachine(peer, local)).toBe(expected)
  })
})
