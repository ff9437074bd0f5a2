import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { connect as connectSocket } from 'node:net'
import Anthropic from '@anthropic-ai/sdk'
import { createTRPCClient, httpBatchLink, httpLink } from '@trpc/client'
import { afterEach, describe, expect, test } from 'vitest'
import { createBridgeDaemon } from '../../client/bridge/daemon.js'
import { isThisMachine } from '../../server/http-routes.js'
import type { AppRouter } from '../../server/routers/app.js'
import { transformer } from '../../shared/transformer.js'
import {
  admin,
  adminToken,
  daemon,
  deferred,
  oneStore,
  type Running,
  refusalOf,
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
})

describe('RPC over HTTP', () => {
  test('serves the admin router to a stock client, in batches too', async () => {
    const { url } = await listening()
    for (const link of [httpLink<AppRouter>, httpBatchLink<AppRouter>]) {
      const client = createTRPCClient<AppRouter>({
        links: [link({ url: `${url}/rpc`, transformer, headers: { authorization } })],
      })
      const [users, providers] = await Promise.all([
        client.admin.users.list.query(),
        client.admin.providers.list.query(),
      ])
      expect(users).toEqual(await store().listUsers())
      expect(providers.map(({ name }) => name)).toContain('demo')
      const refused = await refusalOf(client.admin.users.delete.mutate({ user: 'nobody' }))
      expect(refused).toEqual({
        code: 'NOT_FOUND',
        reason: 'unknown_row',
        message: 'no user has the id or name "nobody"',
      })
    }
  })

  test('refuses the recorder to an admin', async () => {
    const { url } = await listening()
    const response = await fetch(`${url}/rpc/providerConfigurator.getProviders`, { headers: { authorization } })
    expect(response.status).toBe(403)
  })

  test.each<[string, Record<string, string>, number, string]>([
    ['no token', {}, 401, 'key_missing'],
    ['another token', { authorization: `${authorization}x` }, 401, 'key_invalid'],
    ['no bearer', { authorization: adminToken }, 401, 'key_invalid'],
    ['basic credentials', { authorization: `Basic ${adminToken}` }, 401, 'key_invalid'],
    ['an empty token', { authorization: 'Bearer ' }, 401, 'key_invalid'],
    ['an origin', { authorization, origin: 'http://127.0.0.1' }, 403, 'origin_not_allowed'],
  ])('with %s is refused in the shape of tRPC', async (_, headers, status, reason) => {
    const { url, logger } = await listening()
    const response = await fetch(`${url}/rpc/admin.users.list`, { headers })
    expect(response.status).toBe(status)
    expect(await response.json()).toMatchObject({
      error: {
        json: { message: expect.any(String), data: { httpStatus: status, reason, requestId: expect.any(String) } },
      },
    })
    expect(logger.text()).not.toContain(adminToken)
    const client = createTRPCClient<AppRouter>({ links: [httpLink({ url: `${url}/rpc`, transformer, headers })] })
    expect(await refusalOf(client.admin.users.list.query())).toMatchObject({ reason })
  })

  test('refuses a body above maxMessageBytes with both numbers, and goes on', async () => {
    const { url } = await listening()
    const response = await fetch(`${url}/rpc/admin.users.create`, {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json' },
      body: `{"json":{"username":"${'x'.repeat(5_000_000)}"}}`,
    })
    expect(response.status).toBe(413)
    expect(await response.text()).toContain('5,000,024 bytes is larger than maxMessageBytes 4,194,304')
    expect((await fetch(`${url}/healthz`)).status).toBe(200)
  })

  test('refuses such a body also when its length is not announced', async () => {
    const { url } = await listening()
    const chunk = new Uint8Array(1024 * 1024).fill(0x20)
    let chunks = 6
    const response = await fetch(`${url}/rpc/admin.users.create`, {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json' },
      body: new ReadableStream({
        pull(controller) {
          controller.enqueue(chunk)
          if (--chunks === 0) controller.close()
        },
      }),
      duplex: 'half',
    } as RequestInit) // Node's fetch takes `duplex`; its type does not
    expect(response.status).toBe(413)
  })
  test.each([
    ['admin.users.create', '{"json":', 400],
    ['admin.users.create', 'null', 400],
    ['admin.users.create', '{"json":{"username":5}}', 400],
    ['admin.nothing', '{}', 404],
    ['', '{}', 404],
    ['%ff', '{}', 400],
  ])('%s with the body %j answers %d without a stack', async (path, body, status) => {
    const { url } = await listening()
    const response = await fetch(`${url}/rpc/${path}`, {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json' },
      body,
    })
    expect(response.status).toBe(status)
    const text = await response.text()
    expect(JSON.parse(text)).toMatchObject({ error: { json: { data: { httpStatus: status } } } })
    expect(text).not.toMatch(/stack|node_modules|\.ts:/)
  })

  test('a fault of the server tells nothing of its cause, which is in the log under the same request id', async () => {
    const broken = Object.assign(Object.create(store()), { listUsers: () => Promise.reject(new Error('MARKED')) })
    const running = await startServer(broken)
    const { url } = await running.server.listen({ host, port: 0 })
    const response = await fetch(`${url}/rpc/admin.users.list`, { headers: { authorization } })
    expect(response.status).toBe(500)
    const body: unknown = await response.json()
    const json: unknown = Reflect.get(Reflect.get(Object(body), 'error'), 'json')
    const requestId: unknown = Reflect.get(Reflect.get(Object(json), 'data'), 'requestId')
    expect(json).toMatchObject({ message: 'internal server error', data: { code: 'INTERNAL_SERVER_ERROR' } })
    expect(JSON.stringify(json)).not.toContain('MARKED')
    const line = running.logger.lines.find(({ level }) => level === 'error')
    expect(line?.fields).toMatchObject({ requestId, err: { message: 'MARKED' } })
    const inMemory = await refusalOf(running.connect(admin).admin.users.list.query())
    expect(inMemory).toMatchObject({ code: 'INTERNAL_SERVER_ERROR', message: 'internal server error' })
  })
})

test('an answer that the contract foresees is no error in the log', async () => {
  const { url, logger } = await listening()
  const response = await fetch(`${url}/rpc/admin.users.delete`, {
    method: 'POST',
    headers: { authorization, 'content-type': 'application/json' },
    body: '{"json":{"user":"nobody"}}',
  })
  expect(response.status).toBe(404)
  expect(logger.lines).toMatchObject([{ level: 'debug', fields: { code: 'NOT_FOUND', reason: 'unknown_row' } }])
})

describe('other routes', () => {
  test.each(['/', '/rpc', '/bridge/demo', '/demo', '/healthz/', '/nothing', '//healthz', '/%00'])(
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

describe('listening', () => {
  test('a port in use is named', async () => {
    const { url } = await listening()
    const port = Number(new URL(url).port)
    const { server } = await startServer(store())
    expect(await refusalOf(server.listen({ host, port }))).toEqual({
      code: 'PRECONDITION_FAILED',
      reason: 'port_in_use',
      message: `another process listens on 127.0.0.1:${port}`,
    })
    await expect(server.listen({ host, port: 0 })).resolves.toMatchObject({ url: expect.any(String) })
  })

  test('is done once', async () => {
    const { server, url } = await listening()
    const refused = await refusalOf(server.listen({ host, port: 0 }))
    expect(refused).toMatchObject({ code: 'PRECONDITION_FAILED', message: `the server listens already at ${url}` })
  })

  test('on every address it gives the loopback one', async () => {
    const { server } = await startServer(store())
    const { url } = await server.listen({ host: '0.0.0.0', port: 0 })
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    expect((await fetch(`${url}/demo/v1/models`)).status).toBe(200)
  })
})

describe('closing', () => {
  test('waits for a request in flight, and not for connections without one', async () => {
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

  test('refuses what comes after it', async () => {
    const { server } = await listening()
    const closed = server.close()
    expect(() => server.connectInMemory({ identity: daemon })).toThrow(/draining|clos/)
    expect(await refusalOf(server.listen({ host, port: 0 }))).toMatchObject({ reason: 'draining' })
    await closed
  })

  test('ends a call in memory that is in flight with its answer', async () => {
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

  test('is reached by the bridge like any other, and its answer recorded', async () => {
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
  ])('answers this machine only: %s at %s is it: %s', (peer, local, expected) => {
    expect(isThisMachine(peer, local)).toBe(expected)
  })
})
