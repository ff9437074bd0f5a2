/** The rules of the front door, each as a kind, on a real server and over every API. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { KeyGuesses } from '../../../../shared/values/key-guesses.js'
import { eventually } from '../../../fixtures/eventually.js'
import { json, raw } from '../../../fixtures/provider.js'
import { sample } from '../../../fixtures/samples.js'
import { apiRows } from '../apis.js'
import { type ClientRequest, type ClientResponse, send } from '../running-bridge.js'
import { startWholeServer, type WholeServer } from '../whole-server.js'

const origin = 'https://app.example.com'
let whole: WholeServer

beforeAll(async () => {
  // The growing wait of an address for its rejections has tests of its own.
  const guess = { release: () => {}, reject: async () => {} }
  const begin = vi.spyOn(KeyGuesses.prototype, 'begin').mockResolvedValue(guess)
  whole = await startWholeServer({
    allowedOrigins: [origin],
    withheldHeaders: ['x-corp-*'],
    limits: { maxBodyBytes: 100_000 },
  })
  return () => begin.mockRestore()
})
afterAll(async () => {
  await whole.close()
  expect(whole.provider.unexpected).toBe(0)
})

const user = () => ({ 'x-api-key': whole.key })
const calls = () => whole.provider.calls.length
const errorOf = ({ body }: ClientResponse) => JSON.parse(body.toString()).error

describe.each(apiRows)('$name', ({ provider, path, upstreamPath }) => {
  const prompt = 'hello there'
  const body = JSON.stringify({
    model: 'm',
    max_tokens: 9,
    messages: [{ role: 'user', content: prompt }],
    input: prompt,
  })
  const ask = (request: Partial<ClientRequest> = {}) => send(whole, { path, headers: user(), body, ...request })
  const rest = upstreamPath.slice('/v1'.length)

  test.each<[string, () => Record<string, string | string[]>]>([
    ['X-Bridge-Token', () => ({ 'x-bridge-token': whole.key })],
    ['Authorization', () => ({ authorization: `bearer ${whole.key}` })],
    ['X-Api-Key', () => ({ 'x-api-key': whole.key })],
    ['Api-Key', () => ({ 'api-key': whole.key })],
    ['X-Api-Key beside a foreign Bearer', () => ({ authorization: 'Bearer eyJhbGciOi', 'x-api-key': whole.key })],
    ['Api-Key beside two foreign keys', () => ({ authorization: 'Bearer x', 'x-api-key': 'y', 'api-key': whole.key })],
    ['Authorization behind a tab', () => ({ authorization: `Bearer\t${whole.key}` })],
    ['Authorization behind tabs and spaces', () => ({ authorization: `BEARER \t  ${whole.key}\t` })],
    ['two X-Api-Key', () => ({ 'x-api-key': [whole.key, whole.key] })],
    ['two Api-Key', () => ({ 'api-key': [whole.key, whole.key] })],
    ['three X-Bridge-Token', () => ({ 'x-bridge-token': [whole.key, whole.key, whole.key] })],
  ])('a key in %s is accepted', async (_, headers) => {
    whole.provider.respondWith(json({}))
    expect((await ask({ headers: headers() })).status).toBe(200)
    expect(whole.provider.calls.at(-1)?.rawHeaders.join(' ')).not.toContain(whole.key)
  })

  test.each([
    ['no key', {}],
    ['text that is no key', { authorization: 'Bearer sk-foreign' }],
    [
      'two keys in one header',
      { 'x-api-key': [`${'a'.repeat(10)}-${'b'.repeat(22)}`, `${'a'.repeat(10)}-${'c'.repeat(22)}`] },
    ],
    ['an unknown key', { 'x-api-key': `${'a'.repeat(10)}-${'b'.repeat(22)}` }],
  ])('%s gets 401, which token helpers act on, and no retry', async (_, headers) => {
    const before = calls()
    const response = await ask({ headers })
    expect([response.status, response.headers['x-should-retry'], typeof errorOf(response).message]).toEqual([
      401,
      'false',
      'string',
    ])
    expect(calls()).toBe(before)
  })

  test('a suspended owner gets 403 and no retry', async () => {
    const { id, username } = await whole.admin.users.create.mutate({ username: `suspended-${calls()}` })
    const { key } = await whole.admin.apiKeys.create.mutate({ user: username })
    await whole.admin.users.setStatus.mutate({ user: id, status: 'suspended' })
    const response = await ask({ headers: { 'x-api-key': key } })
    expect([response.status, response.headers['x-should-retry']]).toEqual([403, 'false'])
  })

  test.each([
    ['with /v1 in the base URL', () => `/bridge/${provider}/v1${rest}`],
    ['without /v1 in the base URL', () => `/bridge/${provider}${rest}`],
    ['with /v1 in the base URL and in the path', () => `/bridge/${provider}/v1/v1${rest}`],
    ['with doubled slashes', () => `//bridge//${provider}//v1//${rest.slice(1)}`],
    ['with a slash at the end', () => `/bridge/${provider}/v1${rest}/`],
  ])('a client %s reaches the same path of the provider', async (_, pathOf) => {
    whole.provider.respondWith(json({}))
    expect((await ask({ path: `${pathOf()}?a=/x//y` })).status).toBe(200)
    expect(whole.provider.calls.at(-1)?.url).toBe(`${upstreamPath}?a=/x//y`)
  })

  test('an unknown route gets 404 with the base URL that clients are to be given', async () => {
    const response = await ask({ path: `/bridge/${provider}/v1/nothing` })
    const mounted = `${whole.url}/bridge/${provider}${provider === 'openai' ? '/v1' : ''}`
    expect([response.status, errorOf(response).message]).toEqual([404, expect.stringMatching(`is ${mounted}$`)])
  })

  test.each([
    '/v1/models/../../admin',
    '/v1/models/%2e%2e/x',
    '/v1/models/%252e%252e%252fx',
    '/v1/models/..;/..;/x',
    '/models/..',
  ])('the path %s does not leave the mount', async outside => {
    const before = calls()
    expect((await ask({ method: 'GET', path: `/bridge/${provider}${outside}`, body: '' })).status).toBe(404)
    expect(calls()).toBe(before)
  })

  test.each<[string, (text: string) => Buffer, boolean]>([
    ['gzip', text => gzipSync(text), true],
    ['x-gzip', text => gzipSync(text), true],
    ['GZIP', text => gzipSync(text), true],
    ['deflate', text => deflateSync(text), true],
    ['br', text => brotliCompressSync(text), true],
    ['gzip, br', text => brotliCompressSync(gzipSync(text)), true],
    ['identity', text => Buffer.from(text), true],
    ['zstd', text => zstdFrame(text), true],
    ['zstd', text => Buffer.concat([skippableFrame, zstdFrame(text)]), true],
    ['zstd', text => zstdFrame(text).subarray(0, -3), false],
    ['gzip', text => gzipSync(text).subarray(0, 30), false],
    ['compress', text => Buffer.from(text), false],
    ['gzip, gzip, gzip', text => gzipSync(gzipSync(gzipSync(text))), false],
  ])('a body in %s reaches the provider as it came (%#)', async (encoding, encode, isReadable) => {
    whole.provider.respondWith(json({}))
    const encoded = encode(body)
    const response = await ask({ headers: { ...user(), 'content-encoding': encoding }, body: encoded })
    expect(response.status).toBe(200)
    expect(whole.provider.calls.at(-1)?.body).toEqual(encoded)
    expect(whole.provider.calls.at(-1)?.headers['content-encoding']).toBe(encoding)
    expect((await whole.newest()).prompts).toEqual(isReadable ? [prompt] : [])
  })

  test.each<[string, () => Buffer]>([
    ['gzip', () => gzipSync(Buffer.alloc(200_000, 32))],
    ['br', () => brotliCompressSync(Buffer.alloc(200_000, 32))],
    ['gzip, gzip', () => gzipSync(gzipSync(Buffer.alloc(50_000_000, 32)))],
    ['zstd', () => zstdBomb(2)],
    ['zstd', () => zstdBomb(20_000)],
  ])('a bomb in %s gets 413 (%#)', async (encoding, bomb) => {
    const before = calls()
    const encoded = bomb()
    expect(encoded.length).toBeLessThan(100_000)
    const response = await ask({ headers: { ...user(), 'content-encoding': encoding }, body: encoded })
    expect([response.status, errorOf(response).message]).toEqual([413, expect.stringContaining('maxBodyBytes 100,000')])
    expect(calls()).toBe(before)
  })

  test('a byte order mark before a body is no error, and reaches the provider', async () => {
    whole.provider.respondWith(json({}))
    expect((await ask({ body: `\ufeff${body}` })).status).toBe(200)
    expect(whole.provider.calls.at(-1)?.body.toString()).toBe(`\ufeff${body}`)
    expect((await whole.newest()).prompts).toEqual([prompt])
  })

  test('a WebSocket gets 426 with or without a key, and the connection ends', async () => {
    for (const key of [whole.key, 'wrong', '']) {
      const response = await upgrade(path, key)
      expect(response).toMatch(/^HTTP\/1\.1 426 Upgrade Required\r\n/)
      expect(response).toMatch(/\r\nupgrade: HTTP\/1\.1\r\n/i)
      expect(response).toContain('WebSockets are not supported')
    }
  })

  test.each([
    ['HEAD', ''],
    ['HEAD', '/'],
    ['HEAD', '/v1'],
    ['HEAD', '/api/hello'],
    ['HEAD', '/v1/api/hello'],
    ['POST', '/api/event_logging/batch'],
    ['POST', '/api/event_logging/v2/batch'],
  ])('%s %j needs no key, for any name, and is never sent on', async (method, below) => {
    const before = calls()
    for (const name of [provider, 'nobody']) {
      const response = await send(whole, { method, path: `/bridge/${name}${below}`, headers: {}, body: '' })
      expect([response.status, response.body.toString()]).toEqual([200, method === 'HEAD' ? '' : '{}'])
    }
    expect(calls()).toBe(before)
  })

  test('cookies and forwarding headers stay here; cookies of the provider too', async () => {
    whole.provider.respondWith(json({}, 200, { 'set-cookie': 'p=1', 'x-request-id': 'r' }))
    const sent = { cookie: 'a=1', 'x-forwarded-for': '1.2.3.4', 'cf-ray': 'x', 'x-corp-user': 'me', traceparent: 't' }
    const response = await ask({ headers: { ...user(), ...sent, 'openai-project': 'theirs' } })
    const received = whole.provider.calls.at(-1)?.headers ?? {}
    expect(Object.keys(sent).filter(name => name in received)).toEqual(['traceparent'])
    expect(received['openai-project']).toBeUndefined()
    expect([response.headers['set-cookie'], response.headers['x-request-id']]).toEqual([undefined, 'r'])
  })

  test('a page of an allowed origin may call; the provider and other origins have no say', async () => {
    const preflight = { method: 'OPTIONS', body: '', headers: { 'access-control-request-method': 'POST' } }
    const before = calls()
    const allowed = await ask({
      ...preflight,
      headers: { ...preflight.headers, origin, 'access-control-request-headers': 'x-api-key,content-type' },
    })
    expect([allowed.status, allowed.headers]).toEqual([
      204,
      expect.objectContaining({
        'access-control-allow-origin': origin,
        'access-control-allow-headers': 'x-api-key,content-type',
        'access-control-allow-methods': expect.stringContaining('POST'),
        vary: 'Origin',
      }),
    ])
    const other = await ask({ ...preflight, headers: { ...preflight.headers, origin: 'https://other.example.com' } })
    expect([other.status, other.headers['access-control-allow-origin']]).toEqual([401, undefined])
    expect(calls()).toBe(before)
    const theirs = { 'access-control-allow-origin': '*', 'Access-Control-Allow-Credentials': 'true', vary: 'Accept' }
    whole.provider.respondWith(json({}, 200, theirs), json({}, 200, theirs))
    const response = await ask({ headers: { ...user(), origin } })
    expect([response.status, response.headers]).toEqual([
      200,
      expect.objectContaining({ 'access-control-allow-origin': origin, vary: 'Accept, Origin' }),
    ])
    const elsewhere = await ask({ headers: { ...user(), origin: 'https://other.example.com' } })
    expect([elsewhere.status, elsewhere.headers.vary]).toEqual([200, 'Accept'])
    expect(elsewhere.headers['access-control-allow-origin']).toBeUndefined()
    for (const { headers } of [response, elsewhere]) {
      expect(headers['access-control-allow-credentials']).toBeUndefined()
    }
    const rejected = await ask({ headers: { origin } })
    expect([rejected.status, rejected.headers['access-control-allow-origin']]).toEqual([401, origin])
  })

  test('a provider that leads back to a bridge is rejected, not nested', async () => {
    const name = `loop-${provider}`
    const base = `${whole.url}/bridge/${provider}${provider === 'openai' ? '/v1' : ''}`
    await whole.admin.providers.upsert.mutate({ name, type: provider, baseUrl: base, keys: [whole.key] })
    const before = calls()
    const response = await eventually(async () => {
      const found = await ask({ path: path.replace(provider, name) })
      if (found.status === 404) throw new Error('the bridge does not know the provider yet')
      return found
    })
    expect([response.status, response.headers['x-should-retry']]).toEqual([508, 'false'])
    expect(errorOf(response).message).toContain('leads back to a bridge')
    expect(calls()).toBe(before)
  })

  test.each([
    ['100 Continue', 'HTTP/1.1 100 Continue\r\n\r\n'],
    ['100 Continue twice', 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100\r\nx-a: 1\r\n\r\n'],
    ['103 Early Hints', 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'],
    ['100 and 103', 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'],
    ['102 and 100 of HTTP/1.0', 'HTTP/1.1 102 Processing\r\n\r\nHTTP/1.0 100 Continue\r\n\r\n'],
  ])('%s before a response is ignored, whole and in pieces', async (_, interim) => {
    const sent = `${interim}HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{"id":"r"}`
    whole.provider.respondWith(raw(sent), async ({ socket }) => {
      for (const byte of sent) {
        socket?.write(byte)
        await new Promise(setImmediate)
      }
      socket?.end()
    })
    for (let time = 0; time < 2; time++) {
      const response = await ask()
      expect([response.status, response.body.toString()]).toEqual([200, '{"id":"r"}'])
    }
  })

  test('a body that begins like an interim response passes, also on a connection that is used again', async () => {
    const text = 'HTTP/1.1 100 Continue\r\n\r\n{"id":"r"}'
    for (let time = 0; time < 2; time++) {
      whole.provider.respondWith(json(text))
      expect((await ask()).body.toString()).toBe(text)
    }
  })

  test('a provider that repeats its key shows it to nobody, with any status', async () => {
    const key = provider === 'anthropic' ? 'sk-ant-provider-key-0123456789' : 'sk-proj-provider-key-0123456789'
    const shown = JSON.stringify({ error: { type: 'x', message: `Incorrect API key: ${key}. And ${key.slice(0, 9)}` } })
    const expected = shown.replace(key, '*'.repeat(key.length))
    const head = `HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\n`
    const half = shown.indexOf(key) + 7
    const encoded = gzipSync(shown)
    whole.provider.respondWith(
      json(shown, 401),
      async ({ socket }) => {
        socket?.write(`${head}content-length: ${shown.length}\r\n\r\n${shown.slice(0, half)}`)
        await new Promise(resolve => setTimeout(resolve, 20))
        socket?.end(shown.slice(half))
      },
      raw(
        Buffer.concat([
          Buffer.from(`${head}content-encoding: gzip\r\ncontent-length: ${encoded.length}\r\n\r\n`),
          encoded,
        ]),
      ),
      json(shown, 200),
      json(shown, 302, { location: `https://x.example/?key=${key}`, 'www-authenticate': `Bearer ${key}` }),
    )
    for (let time = 0; time < 3; time++) {
      const response = await ask()
      expect([response.status, response.body.toString(), response.whole]).toEqual([401, expected, true])
    }
    expect((await ask()).body.toString()).toBe(expected)
    const redirect = await ask()
    expect([redirect.status, redirect.body.toString()]).toEqual([302, expected])
    expect(redirect.rawHeaders.join()).not.toContain(key)
  })

  test('a rejection is counted by its reason and logged with the address of the client', async () => {
    const count = async () => {
      const text = (await send(whole, { method: 'GET', path: '/metrics', headers: {} })).body.toString()
      return sample(text, 'bridge_rejections_total', { reason: 'unknown_route' }) ?? 0
    }
    const before = await count()
    await ask({ path: `/bridge/${provider}/v1/other` })
    expect(await count()).toBe(before + 1)
    expect(whole.log).toContainEqual({
      level: 'info',
      message: 'a request was rejected',
      fields: expect.objectContaining({ rejection: 'unknown_route', address: '127.0.0.1', status: 404 }),
    })
  })
})

/** Sends the request of a WebSocket, and returns everything until the connection ends. */
async function upgrade(path: string, key: string): Promise<string> {
  const { port } = new URL(whole.url)
  const socket = connect(Number(port), '127.0.0.1')
  await once(socket, 'connect')
  const lines = [
    'Host: x',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  ]
  socket.write(`GET ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n${key && `Authorization: Bearer ${key}\r\n`}\r\n`)
  let text = ''
  for await (const chunk of socket.setEncoding('latin1')) text += chunk
  return text
}

/** A frame of one block that holds its content as it is (RFC 8878, section 3.1.1). */
function zstdFrame(text: string): Buffer {
  const content = Buffer.from(text)
  const header = Buffer.alloc(4 + 2 + 3)
  header.writeUInt32LE(0xfd2fb528)
  header.writeUInt8(0x00, 4)
  header.writeUInt8(0x50, 5)
  header.writeUIntLE((content.length << 3) | 1, 6, 3)
  return Buffer.concat([header, content])
}

const skippableFrame = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3])

/** A frame whose blocks repeat one byte 128 KiB times each. */
function zstdBomb(blocks: number): Buffer {
  const header = zstdFrame('').subarray(0, 6)
  const block = (isLast: number) => Buffer.from([...le24((131_072 << 3) | 2 | isLast), 0x20])
  return Buffer.concat([header, ...Array.from({ length: blocks - 1 }, () => block(0)), block(1)])
}

function le24(value: number): number[] {
  return [value & 255, (value >>> 8) & 255, (value >>> 16) & 255]
}
